//! Llama-like decoders (Touvron et al. 2023; Jiang et al. 2023 for Mistral; Qwen Team 2024, 2025): pre-norm with RMS norms,
//! rotary positions, gated feed-forward sublayers, key and value heads that several query heads share, and, by option,
//! biases, normalised queries and keys, and attention within a sliding window.
//!
//! Documents are packed: `[total_tokens, d_model]`, never padded. Parameter names are those of [`LlamaConfig::parameters`].
//! Random weights are normal with the standard deviation `initializer_range`; no value is dropped but attention weights, as in the reference.

mod block;
pub mod config;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_kernels::rope::Pairing;
use atento_tensor::ops::{Rope, Segment, Turns, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::causal::{self, Attend, CausalLm};
use super::trunk::{Texts, Trunk};
use crate::families::{Config, Sizes, Start, parameter_count};
use crate::layers::{Embedding, Linear, RmsNorm};
use block::Block;

pub use config::{Class, LlamaConfig};

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x116d;

/// A decoder-only language model and its parameters.
pub struct Llama {
    /// Sizes and options.
    pub config: LlamaConfig,
    /// All parameters.
    pub params: Params,
    /// Whether training recomputes each block in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    tokens: Embedding,
    rope: Rope,
    blocks: Vec<Block>,
    final_norm: RmsNorm,
    output: Linear,
}

impl Llama {
    /// A model whose weights start so.
    #[must_use]
    pub fn build(config: LlamaConfig, start: Start) -> Self {
        let random = Init::Normal(config.initializer_range);
        let (mut params, seed, normal) = match start {
            Start::Random(seed) => (Params::with_room(parameter_count(&config)), seed, random),
            Start::Unloaded | Start::NewHead(_) => (Params::unloaded(parameter_count(&config)), 0, random),
            Start::Outline => (Params::outline(), 0, Init::Zeros),
        };
        let (p, rng) = (&mut params, &mut Rng::new(seed, INIT_STREAM));
        let shape = [config.vocab_size, config.d_model];
        let table = p.add_matrix("embed_tokens.weight", shape, WeightLayout::OutIn, normal, rng);
        let tokens = Embedding { table, scale: 1.0, padding_id: None };
        let rope = Rope::scaled(config.head_dim, config.rope_theta, Pairing::HalfSplit, &config.rope_scaling);
        let blocks = (0..config.layers).map(|layer| Block::init(p, &config, layer, normal, rng)).collect();
        let final_norm = RmsNorm::init(p, "norm", config.d_model, config.norm_eps, rng);
        let output = match config.tie_embeddings {
            true => Linear::over(table, None),
            false => {
                let parts = [("lm_head", config.vocab_size)];
                Linear::stacked(p, &parts, config.d_model, false, normal, rng)
            }
        };
        Self { config, params, checkpoint_activations: false, tokens, rope, blocks, final_norm, output }
    }

    /// All blocks and the last norm over embedded tokens.
    fn run(
        &self,
        g: &mut Graph<'_>,
        mut x: Tensor,
        turns: &Turns,
        mut attend: Attend<'_>,
        each: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        each(&x);
        let mut normalised = self.blocks[0].attention_norm.forward(g, &x);
        for (layer, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("layers.{layer}"));
            let attended = block.attention.forward(g, layer, &normalised, turns, &mut attend);
            let (sum, transformed) = block.transform(g, &x, &attended);
            let next = self.blocks.get(layer + 1).map_or(&self.final_norm, |next| &next.attention_norm);
            (x, normalised) = next.forward_residual(g, &sum, &transformed);
            each(&x);
        }
        normalised
    }

    /// [`Llama::run`] keeping one tensor a block, what is inside being computed again in the backward.
    fn run_checkpointed(
        &self,
        g: &mut Graph<'_>,
        mut x: Tensor,
        turns: &Turns,
        segments: &Arc<[Segment]>,
        each: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        each(&x);
        for (layer, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("layers.{layer}"));
            let (block, turns, segments) = (*block, turns.clone(), Arc::clone(segments));
            x = g.checkpoint(&[&x], move |g, x| {
                let normalised = block.attention_norm.forward(g, &x[0]);
                let attend = &mut Attend::segments(&segments);
                let attended = block.attention.forward(g, layer, &normalised, &turns, attend);
                let (sum, transformed) = block.transform(g, &x[0], &attended);
                g.add(&sum, &transformed)
            });
            each(&x);
        }
        self.final_norm.forward(g, &x)
    }
}

impl Trunk for Llama {
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
        causal::through(self, g, texts, each, rows)
    }
}

impl CausalLm for Llama {
    fn kv_width(&self) -> usize {
        2 * self.config.kv_heads * self.config.head_dim
    }

    fn set_eos_id(&mut self, id: Option<u32>) {
        self.config.eos_id = id;
    }

    fn output(&self) -> Linear {
        self.output
    }

    fn states(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        position_ids: &[u32],
        attend: Attend<'_>,
        each: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let limit = self.config.max_positions;
        assert!(position_ids.iter().all(|&at| (at as usize) < limit), "Llama: a position beyond {limit}");
        g.label(|| "embed_tokens".into());
        let x = self.tokens.forward(g, ids);
        let turns = self.rope.at(g.pool(), position_ids);
        match attend.whole().map(Arc::clone).filter(|_| self.checkpoint_activations) {
            Some(segments) => self.run_checkpointed(g, x, &turns, &segments, each),
            None => self.run(g, x, &turns, attend, each),
        }
    }
}

impl From<Llama> for Box<dyn CausalLm> {
    fn from(model: Llama) -> Self {
        Box::new(model)
    }
}
