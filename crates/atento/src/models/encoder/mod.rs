//! Bidirectional Transformer encoders: BERT (Devlin et al. 2019) and, by configuration, RoBERTa, XLM-RoBERTa, DistilBERT and
//! ELECTRA, whose blocks are BERT's.
//!
//! Post-norm, learned positions, types of tokens. Texts are packed: `[total_tokens, d_model]`, never padded. Parameter names
//! are BERT's without a prefix. Random weights are normal with the standard deviation `initializer_range`, biases 0.

mod block;
pub mod config;
mod embeddings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::trunk::{Texts, Trunk};
use crate::families::{Config, Sizes, Start, parameter_count};
use crate::layers::attention::self_segments;
use block::Block;
use embeddings::Embeddings;

pub use config::{EncoderConfig, Kind};

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0xbe27;

/// An encoder and its parameters.
pub struct Encoder {
    /// Sizes and options.
    pub config: EncoderConfig,
    /// All parameters.
    pub params: Params,
    /// Whether training recomputes each block in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    embeddings: Embeddings,
    blocks: Vec<Block>,
}

impl Encoder {
    /// A model whose weights start so.
    #[must_use]
    pub fn build(config: EncoderConfig, start: Start) -> Self {
        let random = Init::Normal(config.initializer_range);
        let (mut params, seed, normal) = match start {
            Start::Random(seed) => (Params::with_room(parameter_count(&config)), seed, random),
            Start::Unloaded | Start::NewHead(_) => (Params::unloaded(parameter_count(&config)), 0, random),
            Start::Outline => (Params::outline(), 0, Init::Zeros),
        };
        let (p, rng) = (&mut params, &mut Rng::new(seed, INIT_STREAM));
        let embeddings = Embeddings::init(p, &config, normal, rng);
        let blocks = (0..config.layers).map(|layer| Block::init(p, &config, layer, normal, rng)).collect();
        Self { config, params, checkpoint_activations: false, embeddings, blocks }
    }
}

impl Trunk for Encoder {
    fn config(&self) -> Arc<dyn Config> {
        Arc::new(self.config.clone())
    }

    fn sizes(&self) -> Sizes {
        self.config.sizes()
    }

    fn layers(&self) -> usize {
        self.config.layers
    }

    fn heads(&self) -> usize {
        self.config.heads
    }

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn checkpoint_activations(&mut self, checkpoint: bool) {
        self.checkpoint_activations = checkpoint;
    }

    /// Keys and values alone take no position.
    fn longest(&self) -> Option<usize> {
        let taken = self.params.prompt().map_or(0, |prompt| prompt.rows);
        Some(self.config.max_positions.saturating_sub(taken))
    }

    fn token_types(&self) -> Option<usize> {
        Some(self.config.token_types).filter(|&types| types > 0)
    }

    fn token_table(&self) -> Weight {
        self.embeddings.tokens.table
    }

    fn through(
        &self,
        g: &mut Graph<'_>,
        texts: Texts<'_>,
        each: &mut dyn FnMut(&Tensor),
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        let segments = self_segments(texts.cu_seqlens);
        let mut x = self.embeddings.forward(g, texts);
        each(&x);
        for (layer, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("encoder.layer.{layer}"));
            let rows = rows.filter(|_| layer + 1 == self.blocks.len());
            x = if self.checkpoint_activations {
                let (block, segments, rows) = (*block, Arc::clone(&segments), rows.cloned());
                g.checkpoint(&[&x], move |g, x| block.forward(g, &x[0], &segments, rows.as_ref()))
            } else {
                block.forward(g, &x, &segments, rows)
            };
            each(&x);
        }
        x
    }
}
