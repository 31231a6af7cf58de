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
//!
//! **Tiles.** 16 queries and the 64 keys of a tile have 79 relative positions, one after the other: a product of the queries
//! with a strip of 80 rows of a table has their scores on its diagonals. A row of such a product is computed for 80 positions
//! and used for 64, which makes a term a quarter dearer than its multiply-adds. The same holds for keys, and for gradients.
//!
//! **Memory.** A thread's scratch has a head's rows of the tables in the order of positions, as rows and as columns, and in
//! the backward their gradients: about 4·L·D numbers a table, and 2·L·D more, where L is the longest length or, where that is
//! less, 80 positions beyond the last that has a row of its own. Nothing else is larger than in [`attention`](super).
//!
//! **Numerics.** As in [`attention`](super). Gradients of tables are summed over the sequences by relative position, in
//! order, and then over the positions that share a row. The backward is divided by head alone, the forward by sequence too.
//! Rounding of the logarithms of buckets is that of `transformers`, see [`Buckets::bucket`].
//!
//! One file each: `buckets` rows of positions, `tables` a head's tables, `scores` the products of a tile with strips,
//! `forward`, `backward`, `explain` the weights of a sequence, [`mod@reference`] the definition as plain loops.

mod backward;
mod buckets;
mod explain;
mod forward;
pub mod reference;
mod scores;
mod tables;
#[cfg(test)]
mod tests;

use super::layout::{Views, exclusive, shared};
use super::scratch::with_scratch;
use super::split::{Divide, split};
use super::{Attention, Dropout, Qkv, QkvGrad, Segment, View};
use crate::simd;
use forward::Relatives;
use tables::Positions;

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
        let attention = self.plain();
        let views = self.checked(&attention, &Qkv::Packed(qkv).views(&attention), relative);
        let relatives = self.relatives(relative);
        let rows = views.query.rows;
        let plain = super::forward::Forward {
            attention: &attention,
            views,
            out: View::exact("out", exclusive(out), rows, self.n_heads * self.head_dim),
            lse: lse.map(|lse| View::exact("lse", exclusive(lse), rows, self.n_heads)),
        };
        let job = forward::Forward { plain, relatives };
        let (level, scratch) = (simd::level(), forward::forward_scratch(&job));
        let divide = Divide { segments: true, blocks: true, reach: usize::MAX };
        split(self.segments, self.n_heads, 2 * self.pair_cost(relative), divide, &|part| {
            with_scratch(scratch, |scratch| {
                // SAFETY: `level` is one the processor has. `checked` asserted that the views hold every row of every
                // segment, that no two segments share one, and that the tables have the rows that positions name;
                // `View::exact` that outputs have a row for each. Parts differ in segment, head or query block, and so in
                // the rows or heads they write. The scratch is as long as `forward_scratch` says.
                unsafe { forward::forward_at(level, &job, &part, scratch) }
            });
        });
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
        let attention = self.plain();
        let views = self.checked(&attention, &Qkv::Packed(qkv).views(&attention), relative);
        let grads = self.checked(&attention, &QkvGrad::Packed(dqkv).views(&attention), relative);
        let (rows, width) = (views.query.rows, self.n_heads * self.head_dim);
        let gradient = |name: &str, table: Option<&[f32]>, gradient: Option<&mut [f32]>| {
            gradient.map(|gradient| {
                assert!(table.is_some(), "disentangled attention: a gradient of relative {name}, which are left out");
                View::exact(name, exclusive(gradient), 2 * self.span, width)
            })
        };
        let job = backward::Backward {
            plain: super::backward::Backward {
                attention: &attention,
                views,
                out: View::exact("out", shared(out), rows, width),
                lse: View::exact("lse", shared(lse), rows, self.n_heads),
                dout: View::exact("dout", shared(dout), rows, width),
                grads,
                dbias: None,
            },
            relatives: self.relatives(relative),
            dkeys: gradient("keys", relative.keys, drelative.keys),
            dqueries: gradient("queries", relative.queries, drelative.queries),
        };
        let (level, scratch) = (simd::level(), backward::backward_scratch(&job));
        // All segments add to a head's rows of the tables, so one task takes them, in order.
        let divide = Divide { segments: false, blocks: false, reach: usize::MAX };
        split(self.segments, self.n_heads, 5 * self.pair_cost(relative), divide, &|part| {
            with_scratch(scratch, |scratch| {
                // SAFETY: as for the forward, of the gradients too. Parts differ in heads, and so in what they write. The
                // scratch is as long as `backward_scratch` says.
                unsafe { backward::backward_at(level, &job, &part, scratch) }
            });
        });
    }

    /// The attention without its relative terms.
    fn plain(&self) -> Attention<'_> {
        let &Disentangled { n_heads, head_dim, scale, dropout, segments, .. } = self;
        let (causal, window, bias) = (false, None, None);
        Attention { n_heads, n_kv_heads: n_heads, head_dim, scale, causal, window, bias, dropout, segments }
    }

    /// Multiply-adds of a pair, half of those of the forward.
    fn pair_cost(&self, relative: Relative<'_>) -> usize {
        let terms = usize::from(relative.keys.is_some()) + usize::from(relative.queries.is_some());
        self.head_dim.saturating_mul(2 + terms) / 2
    }

    fn relatives(&self, relative: Relative<'_>) -> Relatives {
        let width = self.n_heads * self.head_dim;
        let view =
            |table: Option<&[f32]>| table.map(|table| View::exact("relative", shared(table), 2 * self.span, width));
        Relatives { positions: Positions::new(self), keys: view(relative.keys), queries: view(relative.queries) }
    }

    /// The views, once everything has been checked.
    #[track_caller]
    fn checked(&self, attention: &Attention<'_>, views: &Views, relative: Relative<'_>) -> Views {
        attention.check();
        self.check(relative);
        views.check("qkv", self.segments);
        attention.check_queries_disjoint();
        *views
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
}
