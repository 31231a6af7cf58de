//! The models that translate, behind one face: the Transformer and the recurrent network it replaced share data,
//! trainer, search and evaluation.

use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Graph, Params, Pool, Tensor};

use super::cached_decoder::CachedDecoder;
use super::transformer::Transformer;
use crate::data::batches::PackedBatch;
use crate::generate::StepDecoder;
use crate::hub::generation::GenerationConfig;

/// A sequence-to-sequence model with its parameters.
pub enum Translator {
    /// Vaswani et al. 2017.
    Transformer(Box<Transformer>),
}

impl Translator {
    /// All parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        match self {
            Self::Transformer(model) => &model.params,
        }
    }

    /// All parameters, to be trained or loaded.
    pub fn params_mut(&mut self) -> &mut Params {
        match self {
            Self::Transformer(model) => &mut model.params,
        }
    }

    /// The training loss of a batch; see [`Graph::cross_entropy`] for `smoothing` and `scale`.
    pub fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        match self {
            Self::Transformer(model) => model.loss(g, batch, smoothing, scale),
        }
    }

    /// Logits under teacher forcing: [target_tokens, vocab_size].
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        match self {
            Self::Transformer(model) => model.logits(g, batch),
        }
    }

    /// Encodes packed source sentences for a search, one row per sentence.
    #[must_use]
    pub fn decoder<'m>(&'m self, pool: &Pool, source: &[u32], cu_source: &[u32]) -> Box<dyn StepDecoder + 'm> {
        match self {
            Self::Transformer(model) => Box::new(CachedDecoder::new(model, pool, source, cu_source)),
        }
    }

    /// Rows of the embedding table.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Transformer(model) => model.config.vocab_size,
        }
    }

    /// The longest sentence in tokens on either side; `None` where there is no limit.
    #[must_use]
    pub fn max_positions(&self) -> Option<usize> {
        match self {
            Self::Transformer(model) => Some(model.config.max_positions),
        }
    }

    /// The decoder's first token.
    #[must_use]
    pub fn start_id(&self) -> u32 {
        match self {
            Self::Transformer(model) => model.config.decoder_start_id,
        }
    }

    /// Greedy search with the model's own special tokens.
    #[must_use]
    pub fn generation_defaults(&self) -> GenerationConfig {
        match self {
            Self::Transformer(model) => GenerationConfig::of_model(&model.config),
        }
    }
}
