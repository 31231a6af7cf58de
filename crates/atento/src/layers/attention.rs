//! Multi-head attention sub-layers (Vaswani et al. 2017, §3.2.2): projections around the shared attention core.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{AttentionInput, AttentionSpec, Segment};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::Linear;

/// Attention of a sequence to itself; masked when `spec.causal`.
#[derive(Clone, Copy, Debug)]
pub struct SelfAttention {
    /// Queries, keys and values in one product: [3·d_model, d_model].
    pub qkv: Linear,
    /// The output projection.
    pub out: Linear,
    /// Heads, scale, mask.
    pub spec: AttentionSpec,
}

/// Attention of one sequence (queries) to another (keys and values).
#[derive(Clone, Copy, Debug)]
pub struct CrossAttention {
    /// Queries, from the attending sequence.
    pub query: Linear,
    /// Keys and values in one product, from the attended sequence: [2·d_model, d_model].
    pub key_value: Linear,
    /// The output projection.
    pub out: Linear,
    /// Heads and scale.
    pub spec: AttentionSpec,
}

impl SelfAttention {
    /// Random weights, named `{path}.{q,k,v,out}_proj`.
    pub fn init(params: &mut Params, path: &str, d_model: usize, spec: AttentionSpec, rng: &mut Rng) -> Self {
        let paths = ["q", "k", "v"].map(|p| format!("{path}.{p}_proj"));
        let parts = paths.each_ref().map(|path| (path.as_str(), d_model));
        let qkv = Linear::stacked(params, &parts, d_model, true, Init::Xavier, rng);
        let out = Linear::init(params, &format!("{path}.out_proj"), d_model, d_model, rng);
        Self { qkv, out, spec }
    }

    /// Attends within each segment.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, d_model].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor, segments: &Arc<[Segment]>) -> Tensor {
        let qkv = self.qkv.forward(g, x);
        let context = g.attention(self.spec, AttentionInput::Packed(&qkv), None, segments);
        self.out.forward(g, &context)
    }
}

impl CrossAttention {
    /// Random weights, named `{path}.{q,k,v,out}_proj`.
    pub fn init(params: &mut Params, path: &str, d_model: usize, spec: AttentionSpec, rng: &mut Rng) -> Self {
        let query = Linear::init(params, &format!("{path}.q_proj"), d_model, d_model, rng);
        let paths = ["k", "v"].map(|p| format!("{path}.{p}_proj"));
        let parts = paths.each_ref().map(|path| (path.as_str(), d_model));
        let key_value = Linear::stacked(params, &parts, d_model, true, Init::Xavier, rng);
        let out = Linear::init(params, &format!("{path}.out_proj"), d_model, d_model, rng);
        Self { query, key_value, out, spec }
    }

    /// Attends from `x` to `memory`, segment by segment.
    ///
    /// # Shapes
    /// `x` and the result: [target_tokens, d_model]; `memory`: [source_tokens, d_model].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor, memory: &Tensor, segments: &Arc<[Segment]>) -> Tensor {
        let key_value = self.key_value.forward(g, memory);
        self.attend(g, x, &key_value, segments)
    }

    /// As [`CrossAttention::forward`] with keys and values already projected, [source_tokens, 2·d_model].
    #[must_use]
    #[track_caller]
    pub fn attend(&self, g: &mut Graph<'_>, x: &Tensor, key_value: &Tensor, segments: &Arc<[Segment]>) -> Tensor {
        let query = self.query.forward(g, x);
        let context = g.attention(self.spec, AttentionInput::QueryAndPacked(&query, key_value), None, segments);
        self.out.forward(g, &context)
    }
}

/// The segments of a batch of sequences that attend to themselves, from cumulative lengths.
#[must_use]
pub fn self_segments(cu_seqlens: &[u32]) -> Arc<[Segment]> {
    cross_segments(cu_seqlens, cu_seqlens)
}

/// The segments of a batch in which sequence *i* of the queries attends to sequence *i* of the keys.
///
/// # Panics
/// If the numbers of sequences differ.
#[must_use]
#[track_caller]
pub fn cross_segments(cu_queries: &[u32], cu_keys: &[u32]) -> Arc<[Segment]> {
    assert_eq!(cu_queries.len(), cu_keys.len(), "cross_segments: numbers of sequences");
    let bounds = |pair: &[u32]| (pair[0] as usize, (pair[1] - pair[0]) as usize);
    cu_queries
        .windows(2)
        .zip(cu_keys.windows(2))
        .map(|(queries, keys)| {
            let ((query_start, query_len), (key_start, key_len)) = (bounds(queries), bounds(keys));
            Segment { query_start, query_len, key_start, key_len }
        })
        .collect()
}
