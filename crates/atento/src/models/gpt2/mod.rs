//! The decoder-only Transformer: GPT-2 (Radford et al. 2019), and GPT-3's larger shapes.
//!
//! Pre-norm, learned positions, one fused projection for queries, keys and values, tanh GELU, and an output projection
//! that is the embedding table unless a checkpoint says otherwise. Documents are packed: `[total_tokens, d_model]`,
//! never padded. Parameter names are those of [`Gpt2Config::parameters`].
//!
//! Random weights are normal with the standard deviation `initializer_range`, those that write into the residual stream
//! with that over √(2·layers)
//! ("scaled by 1/√N where N is the number of residual layers", §2.3).

mod block;
pub mod config;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Positions, Segment, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use super::causal::{self, Attend, CausalLm};
use super::trunk::{Texts, Trunk};
use crate::families::{Config, Sizes};
use crate::layers::{Embedding, LayerNorm, Linear};
use block::Block;

pub use config::Gpt2Config;

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x6974;

/// A decoder-only language model and its parameters.
pub struct Gpt2 {
    /// Sizes and options.
    pub config: Gpt2Config,
    /// All parameters, in one arena.
    pub params: Params,
    /// Whether training recomputes each block in the backward instead of keeping its activations.
    pub checkpoint_activations: bool,
    tokens: Embedding,
    positions: Positions,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    output: Linear,
}

impl Gpt2 {
    /// A model with random weights decided by `seed`.
    #[must_use]
    pub fn init(config: Gpt2Config, seed: u64) -> Self {
        let params = Params::with_room(config.parameter_count());
        Self::build(config, params, &mut Rng::new(seed, INIT_STREAM), Init::Normal)
    }

    /// A model whose weights are still to be loaded. Its memory is not touched before they are.
    #[must_use]
    pub fn unloaded(config: Gpt2Config) -> Self {
        let params = Params::unloaded(config.parameter_count());
        Self::build(config, params, &mut Rng::new(0, INIT_STREAM), Init::Normal)
    }

    /// The parameters' names and shapes ([`Params::outline`]): a model that takes no memory and cannot be used.
    #[must_use]
    pub fn outline(config: Gpt2Config) -> Self {
        Self::build(config, Params::outline(), &mut Rng::new(0, INIT_STREAM), |_| Init::Zeros)
    }

    /// A model in an empty arena; `normal` says how a weight of that standard deviation starts.
    fn build(config: Gpt2Config, mut params: Params, rng: &mut Rng, normal: impl Fn(f32) -> Init) -> Self {
        let (p, std) = (&mut params, config.initializer_range);
        let table = |p: &mut Params, name: &str, rows: usize, rng: &mut Rng| {
            p.add_matrix(&format!("{name}.weight"), [rows, config.d_model], WeightLayout::OutIn, normal(std), rng)
        };
        let tokens = Embedding { table: table(p, "wte", config.vocab_size, rng), scale: 1.0, padding_id: None };
        let places = [config.max_positions, config.d_model];
        let positions = Positions::Learned(p.add("wpe.weight", &places, normal(std), rng));
        let residual = normal(std / (2.0 * config.layers as f32).sqrt());
        let blocks = (0..config.layers).map(|i| Block::init(p, &config, i, normal(std), residual, rng)).collect();
        let final_norm = LayerNorm::init(p, "ln_f", config.d_model, config.layer_norm_eps, rng);
        let rows = if config.tie_embeddings { tokens.table } else { table(p, "lm_head", config.vocab_size, rng) };
        let output = Linear::over(rows, None);
        if !config.bias {
            p.make_buffers(|entry| entry.name.ends_with(".bias"));
        }
        Self { config, params, checkpoint_activations: false, tokens, positions, blocks, final_norm, output }
    }

    fn embed(&self, g: &mut Graph<'_>, ids: &[u32], position_ids: &[u32]) -> Tensor {
        g.label(|| "embed".into());
        let tokens = self.tokens.forward(g, ids);
        let placed = g.add_positions(&tokens, &self.positions, position_ids);
        g.dropout(&placed, self.config.embedding_dropout)
    }

    /// All blocks and the last norm over embedded tokens.
    fn run(&self, g: &mut Graph<'_>, mut x: Tensor, mut attend: Attend<'_>, each: &mut dyn FnMut(&Tensor)) -> Tensor {
        each(&x);
        let mut normalised = self.blocks[0].attention_norm.forward(g, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("h.{i}"));
            let attended = block.attention.forward(g, i, &normalised, &mut attend);
            let (sum, transformed) = block.transform(g, &x, &attended);
            let next = self.blocks.get(i + 1).map_or(&self.final_norm, |next| &next.attention_norm);
            (x, normalised) = next.forward_residual(g, &sum, &transformed, self.config.dropout);
            each(&x);
        }
        normalised
    }

    /// [`Gpt2::run`] keeping one tensor a block, what is inside being computed again in the backward.
    fn run_checkpointed(
        &self,
        g: &mut Graph<'_>,
        mut x: Tensor,
        segments: &Arc<[Segment]>,
        each: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        each(&x);
        for (i, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("h.{i}"));
            let (block, segments) = (*block, Arc::clone(segments));
            x = g.checkpoint(&[&x], move |g, x| {
                let normalised = block.attention_norm.forward(g, &x[0]);
                let attended = block.attention.forward(g, i, &normalised, &mut Attend::segments(&segments));
                let (sum, transformed) = block.transform(g, &x[0], &attended);
                let dropped = g.dropout(&transformed, block.dropout);
                g.add(&sum, &dropped)
            });
            each(&x);
        }
        self.final_norm.forward(g, &x)
    }
}

impl Trunk for Gpt2 {
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

impl CausalLm for Gpt2 {
    fn kv_width(&self) -> usize {
        2 * self.config.d_model
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
        let x = self.embed(g, ids, position_ids);
        match attend.whole().filter(|_| self.checkpoint_activations) {
            Some(segments) => self.run_checkpointed(g, x, segments, each),
            None => self.run(g, x, attend, each),
        }
    }
}

impl From<Gpt2> for Box<dyn CausalLm> {
    fn from(model: Gpt2) -> Self {
        Box::new(model)
    }
}

#[cfg(test)]
mod tests;
