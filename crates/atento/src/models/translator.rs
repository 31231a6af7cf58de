//! The models that translate, behind one face: the Transformer and the recurrent network it replaced share data,
//! trainer, search and evaluation.

use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Graph, Params, Pool, Tensor};
use serde::{Deserialize, Serialize};

use super::cached_decoder::CachedDecoder;
use super::config::TransformerConfig;
use super::recurrent::Recurrent;
use super::recurrent_config::RecurrentConfig;
use super::recurrent_decoder::RecurrentDecoder;
use super::transformer::Transformer;
use crate::data::batches::PackedBatch;
use crate::generate::StepDecoder;
use crate::hub::generation::GenerationConfig;

/// A sequence-to-sequence model with its parameters.
pub enum Translator {
    /// Vaswani et al. 2017.
    Transformer(Box<Transformer>),
    /// Bahdanau et al. 2015.
    Recurrent(Box<Recurrent>),
}

/// Everything that determines a model's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TranslatorConfig {
    /// Of the Transformer.
    Transformer(TransformerConfig),
    /// Of the recurrent network.
    Recurrent(RecurrentConfig),
}

impl Translator {
    /// A model with random weights decided by `seed`.
    #[must_use]
    pub fn init(config: TranslatorConfig, seed: u64) -> Self {
        match config {
            TranslatorConfig::Transformer(config) => Self::Transformer(Box::new(Transformer::init(config, seed))),
            TranslatorConfig::Recurrent(config) => Self::Recurrent(Box::new(Recurrent::init(config, seed))),
        }
    }

    /// The parameters' names and shapes: a model that takes no memory and cannot be used.
    #[must_use]
    pub fn outline(config: TranslatorConfig) -> Self {
        match config {
            TranslatorConfig::Transformer(config) => Self::Transformer(Box::new(Transformer::outline(config))),
            TranslatorConfig::Recurrent(config) => Self::Recurrent(Box::new(Recurrent::outline(config))),
        }
    }

    /// Its sizes and options.
    #[must_use]
    pub fn config(&self) -> TranslatorConfig {
        match self {
            Self::Transformer(model) => TranslatorConfig::Transformer(model.config.clone()),
            Self::Recurrent(model) => TranslatorConfig::Recurrent(model.config.clone()),
        }
    }

    /// Says whether training computes each layer again in the backward, where the model can, instead of keeping its
    /// activations.
    pub fn checkpoint_activations(&mut self, checkpoint: bool) {
        if let Self::Transformer(model) = self {
            model.checkpoint_activations = checkpoint;
        }
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        match self {
            Self::Transformer(model) => &model.params,
            Self::Recurrent(model) => &model.params,
        }
    }

    /// All parameters, to be trained or loaded.
    pub fn params_mut(&mut self) -> &mut Params {
        match self {
            Self::Transformer(model) => &mut model.params,
            Self::Recurrent(model) => &mut model.params,
        }
    }

    /// The training loss of a batch; see [`Graph::cross_entropy`] for `smoothing` and `scale`.
    pub fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        match self {
            Self::Transformer(model) => model.loss(g, batch, smoothing, scale),
            Self::Recurrent(model) => model.loss(g, batch, smoothing, scale),
        }
    }

    /// Logits under teacher forcing: [target_tokens, vocab_size].
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        match self {
            Self::Transformer(model) => model.logits(g, batch),
            Self::Recurrent(model) => model.logits(g, batch),
        }
    }

    /// Encodes packed source sentences for a search, one row per sentence.
    #[must_use]
    pub fn decoder<'m>(&'m self, pool: &Pool, source: &[u32], cu_source: &[u32]) -> Box<dyn StepDecoder + 'm> {
        match self {
            Self::Transformer(model) => Box::new(CachedDecoder::new(model, pool, source, cu_source)),
            Self::Recurrent(model) => Box::new(RecurrentDecoder::new(model, pool, source, cu_source)),
        }
    }

    /// Bytes that a search of up to `length` tokens takes for each live hypothesis of a source sentence of `source_len`
    /// tokens: its logits and its part of the decoder's cache, spare buffers included.
    #[must_use]
    pub fn decoder_row_bytes(&self, source_len: usize, length: usize) -> usize {
        let cached = match self {
            Self::Transformer(model) => {
                // The cache grows by doubling.
                let capacity = length.min(model.config.max_positions).next_power_of_two().max(16);
                (model.decoder.len() + 1) * capacity * 2 * model.config.d_model
            }
            Self::Recurrent(model) => (2 * model.config.layers + 3 * source_len) * model.config.hidden,
        };
        (self.vocab_size() + cached) * size_of::<f32>()
    }

    /// Rows of the embedding table.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Transformer(model) => model.config.vocab_size,
            Self::Recurrent(model) => model.config.vocab_size,
        }
    }

    /// The longest sentence in tokens on either side; `None` where there is no limit.
    #[must_use]
    pub fn max_positions(&self) -> Option<usize> {
        match self {
            Self::Transformer(model) => Some(model.config.max_positions),
            Self::Recurrent(_) => None,
        }
    }

    /// The decoder's first token.
    #[must_use]
    pub fn start_id(&self) -> u32 {
        match self {
            Self::Transformer(model) => model.config.decoder_start_id,
            Self::Recurrent(model) => model.config.decoder_start_id,
        }
    }

    /// Greedy search with the model's own special tokens.
    #[must_use]
    pub fn generation_defaults(&self) -> GenerationConfig {
        match self {
            Self::Transformer(model) => GenerationConfig::of_model(&model.config),
            Self::Recurrent(model) => GenerationConfig::of_recurrent(&model.config),
        }
    }
}
