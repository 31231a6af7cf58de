//! The models that translate, behind one face: the Transformer and the recurrent network it replaced share data,
//! trainer, search and evaluation.

use std::sync::Arc;

use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Graph, Params, Pool, Tensor};

use super::cached_decoder::CachedDecoder;
use super::config::TransformerConfig;
use super::recurrent::Recurrent;
use super::recurrent_decoder::RecurrentDecoder;
use super::transformer::Transformer;
use crate::data::batches::PackedBatch;
use crate::families::Config;
use crate::generate::StepDecoder;
use crate::hub::generation::GenerationConfig;

/// The attention weights of a pair, layer by layer: of each a tensor [heads, queries, keys], as the model computes them under
/// teacher forcing.
#[derive(Clone, Default)]
pub struct PairAttention {
    /// Of the source to itself; none of a network that reads it with recurrent layers.
    pub source: Vec<Tensor>,
    /// Of what the decoder reads to itself and what came before; none as above.
    pub target: Vec<Tensor>,
    /// Of what the decoder reads to the source.
    pub cross: Vec<Tensor>,
}

/// A sequence-to-sequence model with its parameters.
pub trait Translator: Send + Sync {
    /// All that determines it but its weights.
    fn config(&self) -> Arc<dyn Config>;

    /// Says whether training computes each layer again in the backward, where the model can, instead of keeping its
    /// activations.
    fn checkpoint_activations(&mut self, _checkpoint: bool) {}

    /// All parameters.
    fn params(&self) -> &Params;

    /// All parameters, to be trained or loaded.
    fn params_mut(&mut self) -> &mut Params;

    /// The training loss of a batch; see [`Graph::cross_entropy`] for `smoothing` and `scale`.
    fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy;

    /// Logits under teacher forcing: [target_tokens, vocab_size].
    #[must_use]
    fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor;

    /// Heads of all its attentions together.
    #[must_use]
    fn heads(&self) -> usize;

    /// The attention weights of a batch of one pair.
    ///
    /// # Panics
    /// If the graph records gradients or the batch has several pairs.
    #[must_use]
    fn attention(&self, g: &mut Graph<'_>, pair: &PackedBatch) -> PairAttention;

    /// Encodes packed source sentences for a search, one row per sentence.
    #[must_use]
    fn decoder<'m>(&'m self, pool: &Pool, source: &[u32], cu_source: &[u32]) -> Box<dyn StepDecoder + 'm>;

    /// Bytes that a search of up to `length` tokens takes for each live hypothesis of a source sentence of `source_len`
    /// tokens: its logits and its part of the decoder's cache, spare buffers included.
    #[must_use]
    fn decoder_row_bytes(&self, source_len: usize, length: usize) -> usize;

    /// The decoder's first token.
    #[must_use]
    fn start_id(&self) -> u32;

    /// Greedy search with the model's own special tokens.
    #[must_use]
    fn generation_defaults(&self) -> GenerationConfig;

    /// The position tables that are not the computed ones, of encoder and decoder.
    #[must_use]
    fn own_positions(&self) -> Option<[&[f32]; 2]> {
        None
    }

    /// Replaces the position tables, where the model has such: those of a checkpoint that stores its own.
    ///
    /// # Shapes
    /// Both: [max_positions, d_model], row-major.
    fn set_positions(&mut self, _source: Vec<f32>, _target: Vec<f32>) {}

    /// Rows of the embedding table.
    #[must_use]
    fn vocab_size(&self) -> usize {
        self.config().sizes().vocab_size
    }

    /// The longest sentence in tokens on either side; `None` where there is no limit.
    #[must_use]
    fn max_positions(&self) -> Option<usize> {
        self.config().sizes().max_positions
    }
}

impl Translator for Transformer {
    fn config(&self) -> Arc<dyn Config> {
        Arc::new(self.config.clone())
    }

    fn checkpoint_activations(&mut self, checkpoint: bool) {
        self.checkpoint_activations = checkpoint;
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        self.loss(g, batch, smoothing, scale)
    }

    fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        self.logits(g, batch)
    }

    fn heads(&self) -> usize {
        let TransformerConfig { encoder_layers, encoder_heads, decoder_layers, decoder_heads, .. } = self.config;
        encoder_layers * encoder_heads + 2 * decoder_layers * decoder_heads
    }

    fn attention(&self, g: &mut Graph<'_>, pair: &PackedBatch) -> PairAttention {
        self.attention(g, pair)
    }

    fn decoder<'m>(&'m self, pool: &Pool, source: &[u32], cu_source: &[u32]) -> Box<dyn StepDecoder + 'm> {
        Box::new(CachedDecoder::new(self, pool, source, cu_source))
    }

    fn decoder_row_bytes(&self, _: usize, length: usize) -> usize {
        // The cache grows by doubling.
        let capacity = length.min(self.config.max_positions).next_power_of_two().max(16);
        let cached = (self.decoder.len() + 1) * capacity * 2 * self.config.d_model;
        (self.config.vocab_size + cached) * size_of::<f32>()
    }

    fn start_id(&self) -> u32 {
        self.config.decoder_start_id
    }

    fn generation_defaults(&self) -> GenerationConfig {
        GenerationConfig::of_model(&self.config)
    }

    fn own_positions(&self) -> Option<[&[f32]; 2]> {
        self.own_positions()
    }

    fn set_positions(&mut self, source: Vec<f32>, target: Vec<f32>) {
        self.set_positions(source, target);
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }
}

impl Translator for Recurrent {
    fn config(&self) -> Arc<dyn Config> {
        Arc::new(self.config.clone())
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        self.loss(g, batch, smoothing, scale)
    }

    fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        self.logits(g, batch)
    }

    fn heads(&self) -> usize {
        1
    }

    fn attention(&self, g: &mut Graph<'_>, pair: &PackedBatch) -> PairAttention {
        self.attention(g, pair)
    }

    fn decoder<'m>(&'m self, pool: &Pool, source: &[u32], cu_source: &[u32]) -> Box<dyn StepDecoder + 'm> {
        Box::new(RecurrentDecoder::new(self, pool, source, cu_source))
    }

    fn decoder_row_bytes(&self, source_len: usize, _: usize) -> usize {
        let cached = (2 * self.config.layers + 3 * source_len) * self.config.hidden;
        (self.config.vocab_size + cached) * size_of::<f32>()
    }

    fn start_id(&self) -> u32 {
        self.config.decoder_start_id
    }

    fn generation_defaults(&self) -> GenerationConfig {
        GenerationConfig::of_recurrent(&self.config)
    }
}

impl From<Transformer> for Box<dyn Translator> {
    fn from(model: Transformer) -> Self {
        Box::new(model)
    }
}

impl From<Recurrent> for Box<dyn Translator> {
    fn from(model: Recurrent) -> Self {
        Box::new(model)
    }
}
