//! The decoder-only Transformer: GPT-2 (Radford et al. 2019), and GPT-3's larger shapes.
//!
//! Pre-norm, learned positions, one fused projection for queries, keys and values, tanh GELU, and an output projection
//! that is the embedding table unless a checkpoint says otherwise. Documents are packed: `[total_tokens, d_model]`,
//! never padded. Parameter names are those of [`Gpt2Config::parameters`].
//!
//! Random weights are normal with standard deviation 0.02, those that write into the residual stream with 0.02/√(2·layers)
//! ("scaled by 1/√N where N is the number of residual layers", §2.3).

mod block;
pub mod classifier;
pub mod config;
mod decoder;
pub mod precision;

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, CrossEntropy, Positions, Segment, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

use crate::layers::attention::self_segments;
use crate::layers::{Embedding, LayerNorm};
use block::Block;

pub use classifier::{ClassifierConfig, Gpt2Classifier};
pub use config::Gpt2Config;
pub use decoder::CachedGpt2;
pub use precision::Precision;

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x6974;

/// The standard deviation of random weights.
const INIT_STD: f32 = 0.02;

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
    output: Weight,
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
        let p = &mut params;
        let table = |p: &mut Params, name: &str, rows: usize, rng: &mut Rng| {
            p.add(&format!("{name}.weight"), &[rows, config.d_model], normal(INIT_STD), rng)
        };
        let tokens = Embedding { table: table(p, "wte", config.vocab_size, rng), scale: 1.0, padding_id: None };
        let positions = Positions::Learned(table(p, "wpe", config.max_positions, rng));
        let residual = normal(INIT_STD / (2.0 * config.layers as f32).sqrt());
        let blocks = (0..config.layers).map(|i| Block::init(p, &config, i, normal(INIT_STD), residual, rng)).collect();
        let final_norm = LayerNorm::init(p, "ln_f", config.d_model, config.layer_norm_eps, rng);
        let output = if config.tie_embeddings { tokens.table } else { table(p, "lm_head", config.vocab_size, rng) };
        if !config.bias {
            p.make_buffers(|entry| entry.name.ends_with(".bias"));
        }
        Self { config, params, checkpoint_activations: false, tokens, positions, blocks, final_norm, output }
    }

    /// The states that the output projection reads, of packed sequences.
    ///
    /// # Shapes
    /// `ids`: `[tokens]`; `cu_seqlens`: [sequences + 1]; result: [tokens, d_model].
    ///
    /// # Panics
    /// If a sequence is longer than the model's positions or an id is not below its vocabulary.
    #[must_use]
    pub fn hidden(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let segments = self_segments(cu_seqlens);
        let x = self.embed(g, ids, &position_ids(cu_seqlens));
        if self.checkpoint_activations {
            return self.run_checkpointed(g, x, &segments);
        }
        self.run(g, x, |g, _, block, x| block.attention.forward(g, x, &segments), |_| ())
    }

    /// All states, as Hugging Face's `output_hidden_states` gives them: the embeddings, then the residual stream after
    /// each block, the last one normalised.
    ///
    /// # Shapes
    /// As [`Gpt2::hidden`]; `layers + 1` results.
    #[must_use]
    pub fn hidden_states(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Vec<Tensor> {
        let segments = self_segments(cu_seqlens);
        let x = self.embed(g, ids, &position_ids(cu_seqlens));
        let mut states = Vec::with_capacity(self.blocks.len() + 1);
        let attend = |g: &mut Graph<'_>, _: usize, block: &Block, x: &Tensor| block.attention.forward(g, x, &segments);
        let last = self.run(g, x, attend, |state| states.push(state.clone()));
        states.pop();
        states.push(last);
        states
    }

    /// The logits of every position.
    ///
    /// # Shapes
    /// As [`Gpt2::hidden`]; result: [tokens, vocab_size].
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, ids: &[u32], cu_seqlens: &[u32]) -> Tensor {
        let hidden = self.hidden(g, ids, cu_seqlens);
        self.project(g, &hidden)
    }

    /// The training loss: cross-entropy at every position that has a target; see [`Graph::cross_entropy`].
    ///
    /// # Shapes
    /// As [`Gpt2::hidden`]; `targets`: `[tokens]`, each position's next token.
    pub fn loss(
        &self,
        g: &mut Graph<'_>,
        ids: &[u32],
        cu_seqlens: &[u32],
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let hidden = self.hidden(g, ids, cu_seqlens);
        g.label(|| "output projection".into());
        g.cross_entropy(&hidden, self.output, None, targets, smoothing, scale)
    }

    /// Projects states onto the vocabulary.
    ///
    /// # Shapes
    /// `hidden`: [rows, d_model]; result: [rows, vocab_size].
    #[must_use]
    pub fn project(&self, g: &mut Graph<'_>, hidden: &Tensor) -> Tensor {
        g.linear(hidden, self.output, WeightLayout::OutIn, None, Activation::Identity)
    }

    fn embed(&self, g: &mut Graph<'_>, ids: &[u32], position_ids: &[u32]) -> Tensor {
        g.label(|| "embed".into());
        let tokens = self.tokens.forward(g, ids);
        let placed = g.add_positions(&tokens, &self.positions, position_ids);
        g.dropout(&placed, self.config.embedding_dropout)
    }

    /// All blocks and the last norm over embedded tokens. `attend` is the attention sublayer of a block, over whole
    /// sequences in training and over a cache in decoding; `each` sees the residual stream before every block and after
    /// the last.
    fn run(
        &self,
        g: &mut Graph<'_>,
        mut x: Tensor,
        mut attend: impl FnMut(&mut Graph<'_>, usize, &Block, &Tensor) -> Tensor,
        mut each: impl FnMut(&Tensor),
    ) -> Tensor {
        each(&x);
        let mut normalised = self.blocks[0].attention_norm.forward(g, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("h.{i}"));
            let attended = attend(g, i, block, &normalised);
            let (sum, transformed) = block.transform(g, &x, &attended);
            let next = self.blocks.get(i + 1).map_or(&self.final_norm, |next| &next.attention_norm);
            (x, normalised) = next.forward_residual(g, &sum, &transformed, self.config.dropout);
            each(&x);
        }
        normalised
    }

    /// [`Gpt2::run`] keeping one tensor a block, what is inside being computed again in the backward.
    fn run_checkpointed(&self, g: &mut Graph<'_>, mut x: Tensor, segments: &Arc<[Segment]>) -> Tensor {
        for (i, block) in self.blocks.iter().enumerate() {
            g.label(|| format!("h.{i}"));
            let (block, segments) = (*block, Arc::clone(segments));
            x = g.checkpoint(&[&x], move |g, x| {
                let normalised = block.attention_norm.forward(g, &x[0]);
                let attended = block.attention.forward(g, &normalised, &segments);
                let (sum, transformed) = block.transform(g, &x[0], &attended);
                let dropped = g.dropout(&transformed, block.dropout);
                g.add(&sum, &dropped)
            });
        }
        self.final_norm.forward(g, &x)
    }
}

/// Positions of packed sequences: each begins at 0.
fn position_ids(cu_seqlens: &[u32]) -> Vec<u32> {
    cu_seqlens.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect()
}

#[cfg(test)]
mod tests;
