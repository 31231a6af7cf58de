//! Attention over packed sequences: `softmax(scale · Q Kᵀ + bias, masked) V`, head by head
//! (Vaswani et al. 2017, eq. 1).
//!
//! The kernel ([`atento_kernels::attention`]) works in tiles with an online softmax and never stores the weights; saved
//! for the backward are the inputs, the output and one log-sum-exp per row and head.

use std::sync::Arc;

use atento_kernels::attention::Segment;

use crate::device::{AttentionGradients, AttentionInputs, AttentionSpec, DropoutKey, ScoreBias};
use crate::{Buffer, Graph, Tensor};

/// Where queries, keys and values come from.
#[derive(Clone, Copy)]
pub enum AttentionInput<'a> {
    /// One fused projection: `[tokens, (n_heads + 2·n_kv_heads)·head_dim]`, queries first, then keys, then values.
    Packed(&'a Tensor),
    /// Queries `[query_tokens, n_heads·head_dim]`, and keys and values `[key_tokens, 2·n_kv_heads·head_dim]`.
    QueryAndPacked(&'a Tensor, &'a Tensor),
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
                assert_eq!(
                    (query_width, found),
                    (width, kv_width),
                    "attention: query and key-value widths for {spec:?}"
                );
            }
        }
        let bias = bias.cloned();
        let dropout = self.next_dropout(spec.dropout, 1);
        let device = self.device();
        let products = products_of(spec, segments);
        self.pool().count_operations(4 * products);
        let mut out = self.pool().take_as(query.dtype(), rows * width);
        // Rows outside every segment would keep stale values.
        if segments.iter().map(|s| s.query_len).sum::<usize>() < rows {
            device.fill(out.slice_mut(), 0.0);
        }
        let mut log_sum_exp = self.is_training().then(|| self.pool().take(rows * spec.n_heads));
        let inputs = inputs_of(spec, segments, &query, key_value.as_ref(), bias.as_ref(), dropout);
        device.attention(inputs, out.slice_mut(), log_sum_exp.as_mut().map(Buffer::slice_mut));
        self.keep_attention(spec.n_heads, segments, |segment, out| device.attention_weights(inputs, segment, out));
        let tracked =
            [Some(&query), key_value.as_ref(), bias.as_ref()].into_iter().flatten().any(|t| t.node().is_some());
        let y = self.output("attention", out, &[rows, width], tracked);
        if let (Some(node), Some(log_sum_exp)) = (y.node(), log_sum_exp) {
            let (segments, saved) = (Arc::clone(segments), y.detached());
            self.push("attention", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let zeros = |t: &Tensor| pass.pool.zeros_as(t.dtype(), t.len());
                let (mut dquery, mut dkey_value) = (zeros(&query), key_value.as_ref().map(zeros));
                let mut dbias = bias.as_ref().filter(|b| b.node().is_some()).map(zeros);
                let gradients = AttentionGradients {
                    query: dquery.slice_mut(),
                    key_value: dkey_value.as_mut().map(Buffer::slice_mut),
                    bias: dbias.as_mut().map(Buffer::slice_mut),
                };
                let inputs = inputs_of(spec, &segments, &query, key_value.as_ref(), bias.as_ref(), dropout);
                let (out, log_sum_exp) = (saved.slice(), log_sum_exp.slice());
                pass.pool.count_operations(10 * products);
                pass.device().attention_backward(inputs, out, log_sum_exp, dy.slice(), gradients);
                let gradients =
                    [(Some(&query), Some(dquery)), (key_value.as_ref(), dkey_value), (bias.as_ref(), dbias)];
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
        let mut out = self.pool().zeros_as(query.dtype(), rows * width);
        let inputs =
            AttentionInputs { key_value: Some(key_value.into()), ..inputs_of(spec, segments, query, None, None, None) };
        let device = self.device();
        device.attention(inputs, out.slice_mut(), None);
        self.keep_attention(spec.n_heads, segments, |segment, out| device.attention_weights(inputs, segment, out));
        self.output("attention", out, &[rows, width], false)
    }
}

/// Numbers of a query and a key that are multiplied with each other for the scores of all heads.
fn products_of(spec: AttentionSpec, segments: &[Segment]) -> u64 {
    let pairs: u64 = segments.iter().map(|segment| segment.pairs(spec.causal, spec.window)).sum();
    pairs * (spec.n_heads * spec.head_dim) as u64
}

/// What the kernel reads.
fn inputs_of<'a>(
    spec: AttentionSpec,
    segments: &'a [Segment],
    query: &'a Tensor,
    key_value: Option<&'a Tensor>,
    bias: Option<&'a Tensor>,
    dropout: Option<DropoutKey>,
) -> AttentionInputs<'a> {
    let bias = bias.map(|b| {
        let [_, max_query_len, max_key_len] = b.dims();
        ScoreBias { values: b.slice(), max_query_len, max_key_len }
    });
    AttentionInputs { spec, segments, query: query.slice(), key_value: key_value.map(Tensor::slice), bias, dropout }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{Case, assert_close};
    use super::AttentionInput::{Packed, QueryAndPacked};
    use super::{AttentionSpec, Segment};
    use crate::{Graph, Params, Pool, Tensor};

    fn segments(list: &[(usize, usize, usize, usize)]) -> Arc<[Segment]> {
        list.iter()
            .map(|&(query_start, query_len, key_start, key_len)| Segment { query_start, query_len, key_start, key_len })
            .collect()
    }

    fn packed(spec: AttentionSpec, list: &[(usize, usize, usize, usize)], rows: usize) -> super::super::testing::Found {
        let width = (spec.n_heads + 2 * spec.n_kv_heads) * spec.head_dim;
        let segments = segments(list);
        let found =
            Case::new().leaf(&[rows, width]).check(&|g, x, _| vec![g.attention(spec, Packed(&x[0]), None, &segments)]);
        assert_eq!(found.shapes, [[rows, spec.n_heads * spec.head_dim]]);
        found
    }

    #[test]
    fn packed_sequences_with_and_without_a_mask() {
        for causal in [false, true] {
            packed(AttentionSpec::new(2, 3, causal, 0.0), &[(0, 4, 0, 4), (4, 1, 4, 1), (5, 2, 5, 2)], 7);
        }
    }

    #[test]
    fn heads_may_share_keys_and_values() {
        let spec = AttentionSpec { n_kv_heads: 2, ..AttentionSpec::new(4, 2, true, 0.0) };
        packed(spec, &[(0, 3, 0, 3), (3, 2, 3, 2)], 5);
    }

    #[test]
    fn a_window_hides_the_keys_before_it() {
        for window in [1, 2, 3] {
            let spec = AttentionSpec { window: Some(window), ..AttentionSpec::new(2, 3, true, 0.0) };
            let found = packed(spec, &[(0, 5, 0, 5), (5, 2, 5, 2)], 7);
            let all = packed(AttentionSpec { window: None, ..spec }, &[(0, 5, 0, 5), (5, 2, 5, 2)], 7);
            for (row, (found, all)) in found.outputs[0].chunks(6).zip(all.outputs[0].chunks(6)).enumerate() {
                let position = if row < 5 { row } else { row - 5 };
                assert_eq!(found == all, position < window, "row {row}, window {window}");
            }
        }
    }

    #[test]
    fn a_window_without_a_mask_hides_the_keys_on_both_sides() {
        for window in [1, 2, 3] {
            let spec = AttentionSpec { window: Some(window), ..AttentionSpec::new(2, 3, false, 0.0) };
            let found = packed(spec, &[(0, 5, 0, 5), (5, 2, 5, 2)], 7);
            let all = packed(AttentionSpec { window: None, ..spec }, &[(0, 5, 0, 5), (5, 2, 5, 2)], 7);
            for (row, (found, all)) in found.outputs[0].chunks(6).zip(all.outputs[0].chunks(6)).enumerate() {
                let furthest = if row < 5 { row.max(4 - row) } else { 1 };
                assert_eq!(found == all, furthest < window, "row {row}, window {window}");
            }
        }
    }

    #[test]
    fn dropped_weights_are_dropped_in_the_backward() {
        for causal in [false, true] {
            let found = packed(AttentionSpec::new(2, 3, causal, 0.4), &[(0, 4, 0, 4), (4, 2, 4, 2)], 6);
            let kept = packed(AttentionSpec::new(2, 3, causal, 0.0), &[(0, 4, 0, 4), (4, 2, 4, 2)], 6);
            assert_ne!(found.outputs, kept.outputs);
        }
    }

    #[test]
    fn queries_attend_to_another_sequence() {
        let spec = AttentionSpec::new(2, 2, false, 0.0);
        let segments = segments(&[(0, 3, 0, 2), (3, 1, 2, 3)]);
        let case = Case::new().leaf(&[4, 4]).leaf(&[5, 8]);
        case.check_plain(&|g, x, _| vec![g.attention(spec, QueryAndPacked(&x[0], &x[1]), None, &segments)]);
    }

    #[test]
    fn a_bias_receives_the_gradient_of_every_segment() {
        let spec = AttentionSpec::new(2, 2, false, 0.0);
        let segments = segments(&[(0, 3, 0, 2), (3, 1, 2, 3)]);
        let case = Case::new().leaf(&[4, 4]).leaf(&[5, 8]).leaf(&[2, 3, 3]);
        case.check_plain(&|g, x, _| vec![g.attention(spec, QueryAndPacked(&x[0], &x[1]), Some(&x[2]), &segments)]);
        let spec = AttentionSpec { causal: true, ..spec };
        let segments = self::segments(&[(0, 3, 0, 3), (3, 2, 3, 2)]);
        let case = Case::new().leaf(&[5, 12]).leaf(&[2, 3, 3]);
        case.check_plain(&|g, x, _| vec![g.attention(spec, Packed(&x[0]), Some(&x[1]), &segments)]);
    }

    /// Checks that the weights a graph keeps give its output, from values `[key rows, kv_heads·head_dim]`.
    fn check_kept(spec: AttentionSpec, kept: &[Tensor], segments: &[Segment], values: &[f32], out: &Tensor) {
        let (d, width, kv_width) = (spec.head_dim, spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        assert_eq!(kept.len(), segments.len());
        for (weights, segment) in kept.iter().zip(segments) {
            let [n_heads, queries, keys] = weights.dims();
            assert_eq!([n_heads, queries, keys], [spec.n_heads, segment.query_len, segment.key_len]);
            for (at, row) in weights.values().chunks(keys).enumerate() {
                let (head, i) = (at / queries, at % queries);
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
                for (j, &weight) in row.iter().enumerate() {
                    let (place, other) = (i + keys, j + queries);
                    let is_near = spec.window.is_none_or(|window| place.abs_diff(other) < window);
                    assert_eq!(weight > 0.0, is_near && (!spec.causal || other <= place), "head {head}, {i}, {j}");
                }
                let from = head / (spec.n_heads / spec.n_kv_heads) * d;
                for x in 0..d {
                    let value = |j: usize| values[(segment.key_start + j) * kv_width + from + x];
                    let sum: f32 = row.iter().enumerate().map(|(j, weight)| weight * value(j)).sum();
                    let fused = out.values()[(segment.query_start + i) * width + head * d + x];
                    assert!((sum - fused).abs() < 1e-6, "head {head}, query {i}: {sum} {fused}");
                }
            }
        }
    }

    #[test]
    fn kept_weights_give_the_output_and_what_is_masked_has_none() {
        let (params, pool) = (Params::new(), Pool::new());
        let segments = segments(&[(0, 5, 0, 5), (5, 2, 5, 2)]);
        let base = AttentionSpec { n_kv_heads: 2, ..AttentionSpec::new(4, 3, false, 0.0) };
        for (causal, window) in [(false, None), (true, None), (false, Some(2)), (true, Some(3))] {
            let spec = AttentionSpec { causal, window, ..base };
            let mut g = Graph::infer(&params, &pool);
            let qkv = super::super::testing::wave(7 * 24, 3);
            let packed = g.constant(&qkv, &[7, 24]);
            let _ = g.attention(spec, Packed(&packed), None, &segments);
            assert!(g.take_attention().is_empty(), "nothing is kept unasked");
            g.record_attention();
            let out = g.attention(spec, Packed(&packed), None, &segments);
            let rows = |columns: std::ops::Range<usize>| -> Vec<f32> {
                qkv.chunks(24).flat_map(|row| &row[columns.clone()]).copied().collect()
            };
            check_kept(spec, &g.take_attention()[0], &segments, &rows(18..24), &out);
            let query = g.constant(&rows(0..12), &[7, 12]);
            let cached = g.attention_over(spec, &query, &rows(12..24), &segments);
            check_kept(spec, &g.take_attention()[0], &segments, &rows(18..24), &cached);
            assert!(g.take_attention().is_empty());
        }
    }

    #[test]
    fn one_constant_among_the_inputs_is_left_alone() {
        let spec = AttentionSpec::new(1, 2, false, 0.0);
        let segments = segments(&[(0, 2, 0, 3)]);
        let constant = |len: usize| super::super::testing::wave(len, 5);
        Case::new().leaf(&[3, 4]).check_plain(&|g, x, _| {
            let query = g.constant(&constant(4), &[2, 2]);
            vec![g.attention(spec, QueryAndPacked(&query, &x[0]), None, &segments)]
        });
        Case::new().leaf(&[2, 2]).check_plain(&|g, x, _| {
            let key_value = g.constant(&constant(12), &[3, 4]);
            vec![g.attention(spec, QueryAndPacked(&x[0], &key_value), None, &segments)]
        });
    }

    #[test]
    fn rows_of_a_query_without_keys_or_segment_are_zero() {
        let spec = AttentionSpec::new(1, 2, false, 0.0);
        let segments = segments(&[(0, 1, 0, 2), (1, 1, 2, 0)]);
        let case = Case::new().leaf(&[3, 2]).leaf(&[2, 4]);
        let found = case.check_plain(&|g, x, _| vec![g.attention(spec, QueryAndPacked(&x[0], &x[1]), None, &segments)]);
        assert_eq!(found.outputs[0][2..], [0.0; 4]);
        assert_eq!(found.leaf_grads[0][2..], [0.0; 4]);
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let spec = AttentionSpec::new(2, 2, true, 0.0);
        let segments = segments(&[(0, 2, 0, 2), (2, 1, 2, 1)]);
        let case = Case::new().leaf(&[3, 12]);
        let found = case.run(&|g, x, _| vec![g.attention(spec, Packed(&x[0]), None, &segments)]);
        let y = [
            -0.4345656, 0.9611527, -0.8462204, 0.16648, -0.2380642, 0.6840842, -0.4647726, 0.2701264, -0.9742497,
            0.4809836, 0.3333139, -0.9251418,
        ];
        assert_close(&found.outputs[0], &y);
        let dqkv = [
            [0.0, 0.0, 0.0, 0.0, -0.1550528, 0.2479582],
            [-0.08795583, -0.007160262, 0.07861752, 0.1277582, -0.3637157, 0.179252],
            [-0.2497386, 0.4621588, -0.1836272, 0.01289238, 0.1550528, -0.2479582],
            [0.08795583, 0.007160261, 0.1008464, -0.1469912, 0.2098806, 0.04497405],
            [0.0; 6],
            [0.0, 0.0, -0.8307874, 0.9685857, -0.4599035, -0.3557404],
        ];
        assert_close(&found.leaf_grads[0], dqkv.as_flattened());
    }
}
