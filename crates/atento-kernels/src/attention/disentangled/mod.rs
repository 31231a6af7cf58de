//! Disentangled attention: scores of contents and of relative positions, forward and backward.
//!
//! For query i and key j of a sequence (He et al., "DeBERTa", 2021, equations 2 to 4; the row δ as in the `DebertaV2` of
//! `transformers`), with relative keys r and relative queries u, of which either may be left out:
//! ```text
//! s_ij = scale·(q_i·k_j + q_i·r_δ + k_j·u_δ)        δ = clamp(bucket(i − j) + span, 0, 2·span − 1)
//! ```
//! Weights, output and dropout are those of [`attention`](super). Every query sees every key of its sequence.
//!
//! **Backward.** With ds as in [`attention`](super), times the scale,
//! ```text
//! dq_i = Σ_j ds_ij·(k_j + r_δ)        dr_δ = Σ ds_ij·q_i over the pairs of row δ
//! dk_j = Σ_i ds_ij·(q_i + u_δ)        du_δ = Σ ds_ij·k_j over the pairs of row δ
//! ```

mod buckets;
pub mod reference;
#[cfg(test)]
mod tests;

use super::{Dropout, Segment};
pub use buckets::Buckets;

/// Disentangled attention of packed sequences: sizes and options, shared by all passes.
#[derive(Clone, Copy, Debug)]
pub struct Disentangled<'a> {
    /// Heads H.
    pub n_heads: usize,
    /// Numbers per head D.
    pub head_dim: usize,
    /// Factor of the scores, usually 1/√(D·(1 + number of relative tables)).
    pub scale: f32,
    /// Half the rows of the relative tables. At least 1.
    pub span: usize,
    /// The bucket of a relative position.
    pub buckets: Buckets,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
    /// The sequences: the queries of a segment are the rows of its keys.
    pub segments: &'a [Segment],
}

/// The relative tables, of which either may be left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relative<'a> {
    /// What queries meet (content to position): `[2·span, H·D]`.
    pub keys: Option<&'a [f32]>,
    /// What keys meet (position to content): `[2·span, H·D]`.
    pub queries: Option<&'a [f32]>,
}

/// Gradients of the relative tables, added to; those left out are not computed.
#[derive(Debug, Default)]
pub struct RelativeGrad<'a> {
    /// `[2·span, H·D]`.
    pub keys: Option<&'a mut [f32]>,
    /// `[2·span, H·D]`.
    pub queries: Option<&'a mut [f32]>,
}

impl Disentangled<'_> {
    /// Computes the attention's output.
    ///
    /// # Shapes
    /// - `qkv`: `[tokens, 3·H·D]`, a token's queries, then its keys, then its values
    /// - `out`: `[tokens, H·D]`; rows that no segment covers are untouched
    /// - `lse`: `[tokens, H]`, the natural logarithm of Σ exp(score), for the backward
    ///
    /// # Panics
    /// If sizes cannot be counted, shapes disagree, a segment leaves its buffers or has keys other than its queries, two
    /// segments share a row, or the buckets are too few.
    #[track_caller]
    pub fn forward(&self, qkv: &[f32], relative: Relative<'_>, out: &mut [f32], lse: Option<&mut [f32]>) {
        self.check(relative);
        let (parts, mut weights) = self.reference_weights(qkv, relative);
        let mut whole = vec![0.0; out.len()];
        reference::forward(self, &parts.inputs(relative), &mut whole, &mut weights);
        let width = self.n_heads * self.head_dim;
        for segment in self.segments {
            let rows = segment.query_start * width..(segment.query_start + segment.query_len) * width;
            out[rows.clone()].copy_from_slice(&whole[rows]);
        }
        if let Some(lse) = lse {
            lse.fill(0.0);
        }
    }

    /// Computes the gradients with respect to queries, keys and values, and adds those of the relative tables.
    ///
    /// # Shapes
    /// - `out`, `lse`: as the forward wrote them
    /// - `dout`: `[tokens, H·D]`
    /// - `dqkv`: as `qkv`, overwritten in the rows that segments cover
    /// - `drelative`: as the tables
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if the gradient of a table is asked for that is left out.
    #[track_caller]
    pub fn backward(
        &self,
        qkv: &[f32],
        relative: Relative<'_>,
        out: &[f32],
        lse: &[f32],
        dout: &[f32],
        dqkv: &mut [f32],
        drelative: RelativeGrad<'_>,
    ) {
        self.check(relative);
        let _ = (out, lse);
        let (parts, weights) = self.reference_weights(qkv, relative);
        let found = reference::backward(self, &parts.inputs(relative), &weights, dout);
        let width = self.n_heads * self.head_dim;
        for segment in self.segments {
            for row in segment.query_start..segment.query_start + segment.query_len {
                let to = &mut dqkv[3 * row * width..3 * (row + 1) * width];
                for (part, gradient) in [&found.query, &found.key, &found.value].into_iter().enumerate() {
                    to[part * width..(part + 1) * width].copy_from_slice(&gradient[row * width..(row + 1) * width]);
                }
            }
        }
        let add = |to: Option<&mut [f32]>, from: &[f32]| {
            for (to, from) in to.into_iter().flatten().zip(from) {
                *to += from;
            }
        };
        add(drelative.keys, &found.relative_keys);
        add(drelative.queries, &found.relative_queries);
    }

    /// That sizes and options make sense, and the tables have their rows.
    #[track_caller]
    fn check(&self, relative: Relative<'_>) {
        self.buckets.check();
        assert!(self.span > 0, "disentangled attention: a span of {}", self.span);
        let len = self.span.checked_mul(2).and_then(|rows| rows.checked_mul(self.n_heads * self.head_dim));
        for (name, table) in [("keys", relative.keys), ("queries", relative.queries)] {
            if let Some(table) = table {
                assert!(
                    len == Some(table.len()),
                    "disentangled attention: relative {name} have {} numbers, not 2 × {} × {} × {}",
                    table.len(),
                    self.span,
                    self.n_heads,
                    self.head_dim
                );
            }
        }
        for segment in self.segments {
            let (queries, keys) = ((segment.query_start, segment.query_len), (segment.key_start, segment.key_len));
            assert!(queries == keys, "disentangled attention: {segment:?} has keys other than its queries");
        }
    }

    fn reference_weights(&self, qkv: &[f32], relative: Relative<'_>) -> (Parts, Vec<f32>) {
        let width = self.n_heads * self.head_dim;
        let part = |i: usize| qkv.chunks(3 * width).flat_map(|row| &row[i * width..(i + 1) * width]).copied().collect();
        let parts = Parts { query: part(0), key: part(1), value: part(2) };
        let pairs = self.segments.iter().map(|segment| segment.query_len * segment.key_len).sum::<usize>();
        let mut weights = vec![0.0; self.n_heads * pairs];
        let mut out = vec![0.0; qkv.len() / 3];
        reference::forward(self, &parts.inputs(relative), &mut out, &mut weights);
        (parts, weights)
    }
}

struct Parts {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Parts {
    fn inputs<'a>(&'a self, relative: Relative<'a>) -> reference::Inputs<'a, f32> {
        let Parts { query, key, value } = self;
        reference::Inputs { query, key, value, relative_keys: relative.keys, relative_queries: relative.queries }
    }
}
