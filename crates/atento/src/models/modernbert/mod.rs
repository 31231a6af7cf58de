//! ModernBERT: an encoder with pre-norm blocks, rotary positions, gated feed-forward sublayers, and attention that is local in
//! most blocks (Warner et al. 2024, arXiv:2412.13663, §2.1).
//!
//! Texts are packed: `[total_tokens, d_model]`, never padded. Parameter names are those of `transformers` without the prefix.
//! Random weights are normal with the standard deviation `initializer_range`, those of the projections that end a sublayer divided by
//! `sqrt(2·layers)`; biases are 0. The reference cuts the normal distribution at twice its standard deviation; here it is
//! whole.

mod block;
pub mod config;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_kernels::rope::Pairing;
use atento_tensor::ops::{Rope, Turns, WeightLayout};
use atento_tensor::{Graph, Init, Params, Pool, Tensor, Weight};

use super::trunk::{Texts, Trunk};
use crate::families::{Config, Sizes, Start, parameter_count};
use crate::layers::attention::self_segments;
use crate::layers::{Embedding, LayerNorm};
use block::Block;

pub use config::ModernBertConfig;

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x30de;

/// A ModernBERT and its parameters.
pub struct ModernBert {
    /// Sizes and options.
    pub config: ModernBertConfig,
    /// All parameters.
    pub params: Params,
    /// Whether training recomputes each block in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    tokens: Embedding,
    norm: LayerNorm,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    rope: Rope,
    local_rope: Rope,
}

/// The rotations of a batch's tokens.
#[derive(Clone)]
struct Places {
    global: Turns,
    local: Turns,
}

impl Places {
    /// Those of a block.
    fn of(&self, is_local: bool) -> &Turns {
        if is_local { &self.local } else { &self.global }
    }
}

impl ModernBert {
    /// A model whose weights start so.
    #[must_use]
    pub fn build(config: ModernBertConfig, start: Start) -> Self {
        let (mut params, seed) = match start {
            Start::Random(seed) => (Params::with_room(parameter_count(&config)), seed),
            Start::Unloaded | Start::NewHead(_) => (Params::unloaded(parameter_count(&config)), 0),
            Start::Outline => (Params::outline(), 0),
        };
        let random = start != Start::Outline;
        let (p, rng) = (&mut params, &mut Rng::new(seed, INIT_STREAM));
        let normal = if random { Init::Normal(config.initializer_range) } else { Init::Zeros };
        let shape = [config.vocab_size, config.d_model];
        let table = p.add_matrix("embeddings.tok_embeddings.weight", shape, WeightLayout::OutIn, normal, rng);
        let tokens = Embedding { table, scale: 1.0, padding_id: None };
        let tokens = config.pad_id.map_or(tokens, |pad_id| tokens.with_padding(p, pad_id));
        let norm = block::norm(p, &config, "embeddings.norm", rng);
        let blocks = (0..config.layers).map(|layer| Block::init(p, &config, layer, random, rng)).collect();
        let final_norm = block::norm(p, &config, "final_norm", rng);
        let rope = |theta: f64| Rope::new(config.head_dim(), theta, Pairing::HalfSplit);
        let (rope, local_rope) = (rope(config.rope_theta), rope(config.local_rope_theta));
        Self { config, params, checkpoint_activations: false, tokens, norm, blocks, final_norm, rope, local_rope }
    }

    /// The rotations of each text's tokens, counted from 0.
    fn places(&self, pool: &Pool, cu_seqlens: &[u32]) -> Places {
        let limit = self.config.max_positions as u32;
        let fits = |pair: &[u32]| pair[1] - pair[0] <= limit;
        assert!(cu_seqlens.windows(2).all(fits), "ModernBERT: a text longer than {limit} tokens");
        let ids: Vec<u32> = cu_seqlens.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect();
        Places { global: self.rope.at(pool, &ids), local: self.local_rope.at(pool, &ids) }
    }
}

impl Trunk for ModernBert {
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

    fn token_table(&self) -> Weight {
        self.tokens.table
    }

    fn through(
        &self,
        g: &mut Graph<'_>,
        texts: Texts<'_>,
        each: &mut dyn FnMut(&Tensor),
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        let states = self.all(g, texts, each);
        rows.map_or_else(|| states.clone(), |rows| g.gather_rows(&states, rows))
    }
}

impl ModernBert {
    /// The last states of all tokens.
    fn all(&self, g: &mut Graph<'_>, texts: Texts<'_>, each: &mut dyn FnMut(&Tensor)) -> Tensor {
        let segments = self_segments(texts.cu_seqlens);
        let places = self.places(g.pool(), texts.cu_seqlens);
        g.label(|| "embeddings".into());
        let embedded = self.tokens.forward(g, texts.ids);
        let embedded = self.norm.forward(g, &embedded);
        let mut x = g.dropout(&embedded, self.config.embedding_dropout);
        each(&x);
        if self.checkpoint_activations {
            for (layer, block) in self.blocks.iter().enumerate() {
                g.label(|| format!("layers.{layer}"));
                let (block, places, segments) = (*block, places.clone(), Arc::clone(&segments));
                x = g.checkpoint(&[&x], move |g, x| {
                    let normalised = block.attention_norm.map_or_else(|| x[0].clone(), |norm| norm.forward(g, &x[0]));
                    let (sum, transformed) = block.forward(g, &x[0], &normalised, &places, &segments);
                    g.add(&sum, &transformed)
                });
                each(&x);
            }
            return self.final_norm.forward(g, &x);
        }
        let mut normalised = x.clone();
        for (layer, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("layers.{layer}"));
            let (sum, transformed) = block.forward(g, &x, &normalised, &places, &segments);
            let next = self.blocks.get(layer + 1).and_then(|next| next.attention_norm).unwrap_or(self.final_norm);
            (x, normalised) = next.forward_residual(g, &sum, &transformed, 0.0);
            each(&x);
        }
        normalised
    }
}
