//! Disentangled attention over packed sequences: scores of contents and of relative positions (He et al., "DeBERTa", 2021,
//! equations 2 to 4).
//!
//! The kernel ([`atento_kernels::attention::disentangled`]) has the formula and the derivation. Saved for the backward are the
//! inputs, the output and one log-sum-exp per row and head.

use std::sync::Arc;

use atento_kernels::attention::Segment;

use crate::device::{DisentangledGradients, DisentangledInputs, DisentangledSpec, DropoutKey};
use crate::{Buffer, Graph, Tensor};

#[cfg(test)]
mod tests;

impl Graph<'_> {
    /// Attends within each sequence, in both directions, with either or both of the terms of relative positions.
    ///
    /// The row of a relative position in the tables follows from `spec.buckets` and `spec.span`. Tables of fewer rows around
    /// the middle, with a span as much smaller, give the same where every bucket of the longest sequence lies within them.
    ///
    /// # Shapes
    /// - `qkv`: [tokens, 3·n_heads·head_dim], queries first, then keys, then values
    /// - `relative_keys`, which queries meet, and `relative_queries`, which keys meet: [2·span, n_heads·head_dim]
    /// - result: [tokens, n_heads·head_dim]; rows outside every segment are zero
    ///
    /// # Panics
    /// If the shapes do not fit, or a segment reaches beyond them or has keys other than its queries.
    #[track_caller]
    pub fn disentangled_attention(
        &mut self,
        spec: DisentangledSpec,
        qkv: &Tensor,
        relative_keys: Option<&Tensor>,
        relative_queries: Option<&Tensor>,
        segments: &Arc<[Segment]>,
    ) -> Tensor {
        let width = spec.n_heads * spec.head_dim;
        let [rows, found] = qkv.dims();
        assert_eq!(found, 3 * width, "disentangled attention: packed width for {spec:?}");
        for table in [relative_keys, relative_queries].into_iter().flatten() {
            assert_eq!(table.dims(), [2 * spec.span, width], "disentangled attention: relative table for {spec:?}");
        }
        let dropout = self.next_dropout(spec.dropout, 1);
        let device = self.device();
        let pairs: u64 = segments.iter().map(|segment| segment.pairs(false, None)).sum();
        let tables = [relative_keys, relative_queries].into_iter().flatten().count() as u64;
        let products = pairs * width as u64;
        self.pool().count_operations((4 + 2 * tables) * products);
        let mut out = self.pool().take_as(qkv.dtype(), rows * width);
        // Rows outside every segment would keep stale values.
        if segments.iter().map(|s| s.query_len).sum::<usize>() < rows {
            device.fill(out.slice_mut(), 0.0);
        }
        let mut log_sum_exp = self.is_training().then(|| self.pool().take(rows * spec.n_heads));
        let reads = Reads { qkv: qkv.clone(), keys: relative_keys.cloned(), queries: relative_queries.cloned() };
        let inputs = reads.inputs(spec, segments, dropout);
        device.disentangled_attention(inputs, out.slice_mut(), log_sum_exp.as_mut().map(Buffer::slice_mut));
        self.keep_attention(spec.n_heads, segments, |segment, out| {
            device.disentangled_attention_weights(inputs, segment, out);
        });
        let y = self.output("disentangled_attention", out, &[rows, width], reads.is_tracked());
        if let (Some(node), Some(log_sum_exp)) = (y.node(), log_sum_exp) {
            let (segments, saved) = (Arc::clone(segments), y.detached());
            self.push("disentangled_attention", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let zeros = |t: &Tensor| pass.pool.zeros_as(t.dtype(), t.len());
                let wanted = |table: &Option<Tensor>| table.as_ref().filter(|t| t.node().is_some()).map(zeros);
                let (mut dqkv, mut dkeys, mut dqueries) =
                    (zeros(&reads.qkv), wanted(&reads.keys), wanted(&reads.queries));
                let gradients = DisentangledGradients {
                    qkv: dqkv.slice_mut(),
                    relative_keys: dkeys.as_mut().map(Buffer::slice_mut),
                    relative_queries: dqueries.as_mut().map(Buffer::slice_mut),
                };
                let inputs = reads.inputs(spec, &segments, dropout);
                let (out, log_sum_exp) = (saved.slice(), log_sum_exp.slice());
                pass.pool.count_operations((10 + 6 * tables) * products);
                pass.device().disentangled_attention_backward(inputs, out, log_sum_exp, dy.slice(), gradients);
                let tables = [(&reads.keys, dkeys), (&reads.queries, dqueries)];
                let tables = tables.into_iter().map(|(table, gradient)| (table.as_ref(), gradient));
                for (input, gradient) in tables.chain([(Some(&reads.qkv), Some(dqkv))]) {
                    if let (Some(node), Some(gradient)) = (input.and_then(Tensor::node), gradient) {
                        pass.accumulate(node, gradient);
                    }
                }
            });
        }
        y
    }
}

/// What the attention reads, and its backward again.
struct Reads {
    qkv: Tensor,
    keys: Option<Tensor>,
    queries: Option<Tensor>,
}

impl Reads {
    fn is_tracked(&self) -> bool {
        [Some(&self.qkv), self.keys.as_ref(), self.queries.as_ref()].into_iter().flatten().any(|t| t.node().is_some())
    }

    fn inputs<'a>(
        &'a self,
        spec: DisentangledSpec,
        segments: &'a [Segment],
        dropout: Option<DropoutKey>,
    ) -> DisentangledInputs<'a> {
        DisentangledInputs {
            spec,
            segments,
            qkv: self.qkv.slice(),
            relative_keys: self.keys.as_ref().map(Tensor::slice),
            relative_queries: self.queries.as_ref().map(Tensor::slice),
            dropout,
        }
    }
}
