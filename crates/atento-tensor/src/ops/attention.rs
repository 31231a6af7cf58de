//! Attention over packed sequences: `softmax(scale · Q Kᵀ + bias, masked) V`, head by head
//! (Vaswani et al. 2017, eq. 1).
//!
//! The kernel ([`atento_kernels::attention`]) works in tiles with an online softmax and never stores the weights; saved
//! for the backward are the inputs, the output and one log-sum-exp per row and head.

use std::sync::Arc;

use atento_kernels::attention::{Attention, Bias, Dropout, Qkv, QkvGrad, Segment};

use crate::{Graph, Tensor};

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
    /// Probability of dropping an attention weight in training.
    pub dropout: f32,
}

/// Where queries, keys and values come from.
#[derive(Clone, Copy)]
pub enum AttentionInput<'a> {
    /// One fused projection: `[tokens, (n_heads + 2·n_kv_heads)·head_dim]`, queries first, then keys, then values.
    Packed(&'a Tensor),
    /// Queries `[query_tokens, n_heads·head_dim]`, and keys and values `[key_tokens, 2·n_kv_heads·head_dim]`.
    QueryAndPacked(&'a Tensor, &'a Tensor),
}

impl AttentionSpec {
    /// The scaled dot-product attention of the paper.
    #[must_use]
    pub fn new(n_heads: usize, head_dim: usize, causal: bool, dropout: f32) -> Self {
        Self { n_heads, n_kv_heads: n_heads, head_dim, scale: (head_dim as f32).powf(-0.5), causal, dropout }
    }

    fn kernel<'a>(&self, segments: &'a [Segment], bias: Option<Bias<'a>>, dropout: Option<Dropout>) -> Attention<'a> {
        Attention {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            scale: self.scale,
            causal: self.causal,
            bias,
            dropout,
            segments,
        }
    }
}

impl Graph<'_> {
    /// Attends within each segment.
    ///
    /// # Shapes
    /// See [`AttentionInput`]; `bias`: [n_heads, max_queries, max_keys], added to the scaled scores of every segment;
    /// result: [query_tokens, n_heads·head_dim]. Rows of queries that see no key are zero.
    ///
    /// # Panics
    /// If the shapes do not fit or a segment reaches beyond them.
    #[track_caller]
    pub fn attention(
        &mut self,
        spec: AttentionSpec,
        input: AttentionInput<'_>,
        bias: Option<&Tensor>,
        segments: &Arc<[Segment]>,
    ) -> Tensor {
        let width = spec.n_heads * spec.head_dim;
        let kv_width = 2 * spec.n_kv_heads * spec.head_dim;
        let (query, key_value) = match input {
            AttentionInput::Packed(x) => (x.clone(), None),
            AttentionInput::QueryAndPacked(q, kv) => (q.clone(), Some(kv.clone())),
        };
        let [rows, query_width] = query.dims();
        match &key_value {
            None => assert_eq!(query_width, width + kv_width, "attention: packed width for {spec:?}"),
            Some(kv) => {
                let [_, found] = kv.dims();
                assert_eq!((query_width, found), (width, kv_width), "attention: query and key-value widths for {spec:?}");
            }
        }
        let bias = bias.cloned();
        let dropout = self.next_dropout(spec.dropout).map(|key| Dropout {
            probability: key.probability,
            seed: key.seed,
            stream: key.stream,
        });
        let mut out = self.pool().take(rows * width);
        // Rows outside every segment would keep stale values.
        if segments.iter().map(|s| s.query_len).sum::<usize>() < rows {
            out.fill(0.0);
        }
        let mut log_sum_exp = self.is_training().then(|| self.pool().take(rows * spec.n_heads));
        spec.kernel(segments, bias_view(bias.as_ref()), dropout).forward(
            &qkv(&query, key_value.as_ref()),
            &mut out,
            log_sum_exp.as_deref_mut(),
        );
        let tracked = [Some(&query), key_value.as_ref(), bias.as_ref()].into_iter().flatten().any(|t| t.node().is_some());
        let y = self.output("attention", out, &[rows, width], tracked);
        if let (Some(node), Some(log_sum_exp)) = (y.node(), log_sum_exp) {
            let (segments, saved) = (Arc::clone(segments), y.detached());
            self.push("attention", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dquery = pass.pool.zeros(query.len());
                let mut dkey_value = key_value.as_ref().map(|kv| pass.pool.zeros(kv.len()));
                let mut dbias = bias.as_ref().filter(|b| b.node().is_some()).map(|b| pass.pool.zeros(b.len()));
                let grad = match &mut dkey_value {
                    None => QkvGrad::Packed(&mut dquery),
                    Some(dkv) => QkvGrad::QueryAndPacked { query: &mut dquery, key_value: dkv },
                };
                spec.kernel(&segments, bias_view(bias.as_ref()), dropout).backward(
                    &qkv(&query, key_value.as_ref()),
                    saved.values(),
                    &log_sum_exp,
                    &dy,
                    grad,
                    dbias.as_deref_mut(),
                );
                let gradients = [(Some(&query), Some(dquery)), (key_value.as_ref(), dkey_value), (bias.as_ref(), dbias)];
                for (input, gradient) in gradients {
                    if let (Some(node), Some(gradient)) = (input.and_then(Tensor::node), gradient) {
                        pass.accumulate(node, gradient);
                    }
                }
            });
        }
        y
    }

    /// Attends over keys and values that live outside the graph: the cache of a decoder. Inference only.
    ///
    /// # Shapes
    /// `query`: [rows, n_heads·head_dim]; `key_value`: rows of 2·n_kv_heads·head_dim; result: as `query`.
    ///
    /// # Panics
    /// If the graph records, or a segment reaches beyond the slices.
    #[must_use]
    #[track_caller]
    pub fn attention_over(
        &mut self,
        spec: AttentionSpec,
        query: &Tensor,
        key_value: &[f32],
        segments: &[Segment],
    ) -> Tensor {
        assert!(!self.is_training(), "attention_over: the cache has no gradient");
        let [rows, width] = query.dims();
        let mut out = self.pool().zeros(rows * width);
        let input = Qkv::QueryAndPacked { query: query.values(), key_value };
        spec.kernel(segments, None, None).forward(&input, &mut out, None);
        self.output("attention", out, &[rows, width], false)
    }
}

fn qkv<'a>(query: &'a Tensor, key_value: Option<&'a Tensor>) -> Qkv<'a> {
    match key_value {
        None => Qkv::Packed(query.values()),
        Some(kv) => Qkv::QueryAndPacked { query: query.values(), key_value: kv.values() },
    }
}

fn bias_view(bias: Option<&Tensor>) -> Option<Bias<'_>> {
    bias.map(|b| {
        let [_, max_queries, max_keys] = b.dims();
        Bias { data: b.values(), max_query_len: max_queries, max_key_len: max_keys }
    })
}
