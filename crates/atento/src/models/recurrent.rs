//! RNNsearch, the recurrent encoder–decoder that the Transformer replaced (Bahdanau et al. 2015, appendix A.2).
//!
//! * Encoder: a bidirectional GRU; the annotation of a source token is both directions' states side by side,
//!   `h_j = [→h_j; ←h_j]`.
//! * Decoder: `s_0 = tanh(W_s ←h_1)`; at each step the context `c_i` is found with the *previous* state and read
//!   together with the previous token: `s_i = GRU(s_{i−1}, [y_{i−1}; c_i])`.
//! * Output: `t_i = tanh(W_t [s_i; y_{i−1}; c_i])`, projected onto the vocabulary.
//!
//! What differs from the paper, as in most implementations since (dl4mt, Nematus): the output layer sees `s_i` rather
//! than `s_{i−1}` and is a tanh of the embeddings' width rather than a maxout, so that the projection can be the
//! embedding table; dropout; optionally more than one layer, the further ones without attention.
//!
//! Sentences are packed as everywhere. Inside, rows are laid out step by step ([`TimeMajor`]), so each step is one
//! product over all sentences that reach it, and everything that does not depend on the states is one product over all
//! tokens. Parameter names are those of [`RecurrentConfig::parameters`].

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, CrossEntropy, Direction, Memory, TimeSteps};
use atento_tensor::{Graph, Init, Params, Side, Tensor, Weight};

use super::config::TieEmbeddings;
use super::recurrent_config::RecurrentConfig;
use super::translator::PairAttention;
use super::trunk::only_segments;
use crate::data::batches::PackedBatch;
use crate::layers::{AttendingGru, BidirectionalGru, Embedding, Gru, Linear, TimeMajor};

/// The random stream that initial weights are drawn from.
const INIT_STREAM: u64 = 0x1A17;

/// A recurrent encoder–decoder and its parameters.
pub struct Recurrent {
    /// Sizes and options.
    pub config: RecurrentConfig,
    /// All parameters, in one arena.
    pub params: Params,
    source_embedding: Embedding,
    target_embedding: Embedding,
    output: Linear,
    encoder: Vec<BidirectionalGru>,
    /// From the source's first backward state to each decoder layer's initial state.
    initial: Vec<Linear>,
    attending: AttendingGru,
    further: Vec<Gru>,
    readout: Linear,
}

/// What the decoder knows of the source.
pub(super) struct Encoded {
    /// The annotations and their keys.
    pub memory: Memory,
    /// Each decoder layer's initial state: [sentences, hidden].
    pub states: Vec<Tensor>,
}

/// What the decoder made of target tokens, laid out step by step.
pub(super) struct Decoded {
    /// What the output projection reads: [tokens, embedding].
    pub hidden: Tensor,
    /// Each layer's state after each token: [tokens, hidden].
    pub states: Vec<Tensor>,
}

impl Recurrent {
    /// A model with random weights decided by `seed`.
    #[must_use]
    pub fn init(config: RecurrentConfig, seed: u64) -> Self {
        Self::build(config, Params::new(), seed)
    }

    /// The parameters' names and shapes ([`Params::outline`]): a model that takes no memory and cannot be used.
    #[must_use]
    pub fn outline(config: RecurrentConfig) -> Self {
        Self::build(config, Params::outline(), 0)
    }

    fn build(config: RecurrentConfig, mut params: Params, seed: u64) -> Self {
        let rng = &mut Rng::new(seed, INIT_STREAM);
        let p = &mut params;
        let (embedding, hidden) = (config.embedding, config.hidden);
        let (source_embedding, target_embedding, table) = init_embeddings(p, &config, rng);
        let bias = p.add("lm_head.bias", &[config.vocab_size], Init::Zeros, rng);
        let output = Linear::over(table, Some(bias));
        let inputs = |layer: usize| if layer == 0 { embedding } else { 2 * hidden };
        let encoder = (0..config.layers)
            .map(|i| BidirectionalGru::init(p, &format!("encoder.layers.{i}"), inputs(i), hidden, rng))
            .collect();
        let initial =
            (0..config.layers).map(|i| Linear::init(p, &format!("decoder.initial.{i}"), hidden, hidden, rng)).collect();
        let attending = AttendingGru::init(p, "decoder.layers.0", embedding, hidden, 2 * hidden, rng);
        let further = (1..config.layers)
            .map(|i| Gru::init(p, &format!("decoder.layers.{i}"), hidden, hidden, Direction::Forward, rng))
            .collect();
        let readout = Linear::init(p, "decoder.readout", 3 * hidden + embedding, embedding, rng);
        Self {
            config,
            params,
            source_embedding,
            target_embedding,
            output,
            encoder,
            initial,
            attending,
            further,
            readout,
        }
    }

    /// Encodes packed source sentences for a decoder that takes them in the order `sentences`.
    ///
    /// # Shapes
    /// `ids`: `[source_tokens]`; `cu_source`: [sentences + 1].
    pub(super) fn encode(&self, g: &mut Graph<'_>, ids: &[u32], cu_source: &[u32], sentences: &[u32]) -> Encoded {
        let layout = TimeMajor::new(cu_source);
        g.label(|| "encoder.embed_tokens".into());
        g.set_side(Side::Source);
        let mut x = self.embed(g, &self.source_embedding, &layout.arrange(ids), &layout.rows);
        let mut backward = None;
        for (i, layer) in self.encoder.iter().enumerate() {
            g.label(|| format!("encoder.layers.{i}"));
            let (annotations, states) = layer.forward(g, &x, &layout.steps);
            (x, backward) = (g.dropout_of_rows(&annotations, self.config.dropout, &layout.rows), Some(states));
        }
        let backward = backward.expect("RecurrentConfig::validate: at least one layer");
        let (places, tokens, cu_keys) = (layout.places(), tokens_of(cu_source), cumulative(cu_source, sentences));
        let rows: Vec<u32> = sentences.iter().flat_map(|&s| places[tokens(s)].iter().copied()).collect();
        let first_rows: Vec<u32> = sentences.iter().map(|&s| places[tokens(s).start]).collect();
        g.label(|| "decoder.initial".into());
        let first = g.gather_rows(&backward, &first_rows);
        let states = self.initial.iter().map(|layer| layer.forward_activated(g, &first, Activation::Tanh)).collect();
        let annotations = g.gather_rows(&x, &rows);
        Encoded { memory: self.attending.memory(g, annotations, cu_keys), states }
    }

    /// Reads target tokens, laid out step by step, each token seeing the ones before it and the whole source sentence.
    /// `rows` are their rows in the batch, which nothing but dropout asks for.
    ///
    /// # Shapes
    /// `ids`: [tokens of all steps]; `rows`: the same, or none in inference.
    pub(super) fn decode(
        &self,
        g: &mut Graph<'_>,
        source: &Encoded,
        ids: &[u32],
        rows: &Arc<[u32]>,
        steps: &Arc<TimeSteps>,
    ) -> Decoded {
        g.set_side(Side::Target);
        g.label(|| "decoder.embed_tokens".into());
        let tokens = self.embed(g, &self.target_embedding, ids, rows);
        g.label(|| "decoder.layers.0".into());
        let (mut top, contexts) = self.attending.forward(g, &tokens, &source.states[0], &source.memory, steps);
        let mut states = vec![top.clone()];
        for (layer, initial) in self.further.iter().zip(&source.states[1..]) {
            g.label(|| format!("decoder.layers.{}", states.len()));
            let x = g.dropout_of_rows(&top, self.config.dropout, rows);
            top = layer.forward(g, &x, Some(initial), steps);
            states.push(top.clone());
        }
        g.label(|| "decoder.readout".into());
        let seen = g.concat_columns(&top, &tokens);
        let seen = g.concat_columns(&seen, &contexts);
        let readout = self.readout.forward_activated(g, &seen, Activation::Tanh);
        Decoded { hidden: g.dropout_of_rows(&readout, self.config.dropout, rows), states }
    }

    /// The training loss of a batch: cross-entropy of every target token.
    pub fn loss(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scale: f32) -> CrossEntropy {
        let (layout, hidden) = self.teacher_forced(g, batch);
        let targets: Vec<Option<u32>> = layout.arrange(&batch.target_output).into_iter().map(Some).collect();
        g.label(|| "lm_head".into());
        self.output.cross_entropy(g, &hidden, &targets, smoothing, scale)
    }

    /// The logits of every target position (teacher forcing), in the order of the batch.
    ///
    /// # Shapes
    /// result: [target_tokens, vocab_size].
    #[must_use]
    pub fn logits(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> Tensor {
        let (layout, hidden) = self.teacher_forced(g, batch);
        let packed = g.gather_rows(&hidden, &layout.places());
        self.project(g, &packed)
    }

    /// The attention weights of a batch of one pair: those of the one layer that attends, with one head.
    pub(super) fn attention(&self, g: &mut Graph<'_>, pair: &PackedBatch) -> PairAttention {
        g.record_attention();
        let _ = self.teacher_forced(g, pair);
        PairAttention { cross: only_segments(g.take_attention()), ..PairAttention::default() }
    }

    /// What the output projection reads at every target position, laid out step by step.
    fn teacher_forced(&self, g: &mut Graph<'_>, batch: &PackedBatch) -> (TimeMajor, Tensor) {
        let layout = TimeMajor::new(&batch.cu_target);
        let source = self.encode(g, &batch.source, &batch.cu_source, &layout.order);
        let decoded = self.decode(g, &source, &layout.arrange(&batch.target_input), &layout.rows, &layout.steps);
        (layout, decoded.hidden)
    }

    pub(super) fn project(&self, g: &mut Graph<'_>, hidden: &Tensor) -> Tensor {
        self.output.forward(g, hidden)
    }

    fn embed(&self, g: &mut Graph<'_>, embedding: &Embedding, ids: &[u32], rows: &Arc<[u32]>) -> Tensor {
        let tokens = embedding.forward(g, ids);
        g.dropout_of_rows(&tokens, self.config.dropout, rows)
    }
}

/// The tokens of a sentence, from cumulative lengths.
fn tokens_of(cu_seqlens: &[u32]) -> impl Fn(u32) -> std::ops::Range<usize> {
    |sentence| cu_seqlens[sentence as usize] as usize..cu_seqlens[sentence as usize + 1] as usize
}

/// The cumulative lengths of the same sentences in another order, or of a choice of them.
pub(super) fn cumulative(cu_seqlens: &[u32], sentences: &[u32]) -> Arc<[u32]> {
    let tokens = tokens_of(cu_seqlens);
    let ends = sentences.iter().scan(0, |end, &sentence| {
        *end += tokens(sentence).len() as u32;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// Source table, target table and output projection: one, two or three matrices. Vectors are scaled to unit variance:
/// a GRU's gates need inputs of the size of its states.
fn init_embeddings(params: &mut Params, config: &RecurrentConfig, rng: &mut Rng) -> (Embedding, Embedding, Weight) {
    let scale = (config.embedding as f32).sqrt();
    let mut table = |path: &str| Embedding::init(params, path, config.vocab_size, config.embedding, scale, rng);
    match config.tie_embeddings {
        TieEmbeddings::All => {
            let shared = table("shared");
            (shared, shared, shared.table)
        }
        TieEmbeddings::Decoder => {
            let (source, target) = (table("encoder.embed_tokens"), table("decoder.embed_tokens"));
            (source, target, target.table)
        }
        TieEmbeddings::None => {
            let (source, target) = (table("encoder.embed_tokens"), table("decoder.embed_tokens"));
            (source, target, table("lm_head").table)
        }
    }
}

#[cfg(test)]
mod tests;
