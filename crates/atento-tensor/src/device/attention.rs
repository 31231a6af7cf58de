//! Scaled dot-product attention over segments of packed rows: in training, and over a cache; and disentangled attention.

use atento_kernels::attention::Segment;
use atento_kernels::attention::disentangled::Buckets;
use atento_kernels::dropout::DropoutKey;

use crate::slice::{Slice, SliceMut};

/// The part of an attention that does not change from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; a divisor of `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Factor on the scores, usually `1/sqrt(head_dim)`.
    pub scale: f32,
    /// Whether a query sees only keys up to its own position (aligned at the end of the key range).
    pub causal: bool,
    /// How many keys a query sees on each side, its own place counted on both; with `causal`, the last so many of those that
    /// it may see.
    pub window: Option<usize>,
    /// Probability of dropping an attention weight in training.
    pub dropout: f32,
}

impl AttentionSpec {
    /// The scaled dot-product attention of the paper.
    #[must_use]
    pub fn new(n_heads: usize, head_dim: usize, causal: bool, dropout: f32) -> Self {
        let scale = (head_dim as f32).powf(-0.5);
        Self { n_heads, n_kv_heads: n_heads, head_dim, scale, causal, window: None, dropout }
    }
}

/// What an attention reads.
#[derive(Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// The values of heads, and so on.
    pub spec: AttentionSpec,
    /// Which queries attend to which keys.
    pub segments: &'a [Segment],
    /// Queries `[query_tokens, n_heads·head_dim]`; with keys and values behind them in each row where `key_value` is
    /// left out.
    pub query: Slice<'a>,
    /// Keys and values `[key_tokens, 2·n_kv_heads·head_dim]`.
    pub key_value: Option<Slice<'a>>,
    /// Added to the scaled scores.
    pub bias: Option<ScoreBias<'a>>,
    /// The mask of dropped weights; `first` counts rows of queries.
    pub dropout: Option<DropoutKey>,
}

/// Values added to the scores: `[n_heads, max_query_len, max_key_len]`, by position within the segment.
#[derive(Clone, Copy)]
pub struct ScoreBias<'a> {
    /// The values.
    pub values: Slice<'a>,
    /// Query positions.
    pub max_query_len: usize,
    /// Key positions.
    pub max_key_len: usize,
}

/// Gradients of what an attention reads, laid out alike; added to.
pub struct AttentionGradients<'a> {
    /// Of the queries, or of all three.
    pub query: SliceMut<'a>,
    /// Of keys and values, where they lie apart.
    pub key_value: Option<SliceMut<'a>>,
    /// Of the bias, where it is wanted.
    pub bias: Option<SliceMut<'a>>,
}

/// The part of a disentangled attention that does not change from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct DisentangledSpec {
    /// Heads.
    pub n_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Factor on the scores, usually `1/sqrt(head_dim·(1 + number of relative tables))`.
    pub scale: f32,
    /// Probability of dropping an attention weight in training.
    pub dropout: f32,
    /// Half the rows of the relative tables.
    pub span: usize,
    /// The bucket of a relative position.
    pub buckets: Buckets,
}

/// What a disentangled attention reads.
#[derive(Clone, Copy)]
pub struct DisentangledInputs<'a> {
    /// The values of heads, and so on.
    pub spec: DisentangledSpec,
    /// The sequences.
    pub segments: &'a [Segment],
    /// Queries, keys and values `[tokens, 3·n_heads·head_dim]`.
    pub qkv: Slice<'a>,
    /// What queries meet `[2·span, n_heads·head_dim]`.
    pub relative_keys: Option<Slice<'a>>,
    /// What keys meet `[2·span, n_heads·head_dim]`.
    pub relative_queries: Option<Slice<'a>>,
    /// The mask of dropped weights; `first` counts rows of queries.
    pub dropout: Option<DropoutKey>,
}

/// Gradients of what a disentangled attention reads, laid out alike; those of the tables are added to.
pub struct DisentangledGradients<'a> {
    /// Of queries, keys and values; overwritten in the rows of segments.
    pub qkv: SliceMut<'a>,
    /// Of the relative keys, where it is wanted.
    pub relative_keys: Option<SliceMut<'a>>,
    /// Of the relative queries, where it is wanted.
    pub relative_queries: Option<SliceMut<'a>>,
}

/// Attention.
pub trait Attention {
    /// `out = softmax(scale · Q Kᵀ + bias, masked) V`. Rows outside every segment are left alone.
    ///
    /// # Shapes
    /// `out`: [query_tokens, n_heads·head_dim]; `log_sum_exp`, for the backward: [query_tokens, n_heads].
    fn attention(&self, inputs: AttentionInputs<'_>, out: SliceMut<'_>, log_sum_exp: Option<SliceMut<'_>>);

    /// Adds the gradients of all inputs, from what the forward wrote and `dout`.
    fn attention_backward(
        &self,
        inputs: AttentionInputs<'_>,
        out: Slice<'_>,
        log_sum_exp: Slice<'_>,
        dout: Slice<'_>,
        gradients: AttentionGradients<'_>,
    );

    /// The weights of one segment, after the softmax and before dropout, to be looked at. A query gives the keys that it does
    /// not see 0.
    ///
    /// # Shapes
    /// `weights`: [n_heads, query_len, key_len] of the segment.
    fn attention_weights(&self, inputs: AttentionInputs<'_>, segment: usize, weights: SliceMut<'_>);

    /// Attention whose scores also have terms of relative positions, see [`DisentangledInputs`]. Rows outside every segment
    /// are left alone.
    ///
    /// # Shapes
    /// As [`attention`](Self::attention).
    fn disentangled_attention(
        &self,
        inputs: DisentangledInputs<'_>,
        out: SliceMut<'_>,
        log_sum_exp: Option<SliceMut<'_>>,
    );

    /// The weights of one segment of a disentangled attention, as [`attention_weights`](Self::attention_weights).
    fn disentangled_attention_weights(&self, inputs: DisentangledInputs<'_>, segment: usize, weights: SliceMut<'_>);

    /// The gradients of all inputs, from what the forward wrote and `dout`.
    fn disentangled_attention_backward(
        &self,
        inputs: DisentangledInputs<'_>,
        out: Slice<'_>,
        log_sum_exp: Slice<'_>,
        dout: Slice<'_>,
        gradients: DisentangledGradients<'_>,
    );
}
