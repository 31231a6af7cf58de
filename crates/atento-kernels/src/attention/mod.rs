//! Scaled dot-product attention: tiled, with an online softmax, forward and backward.
//!
//! For query i of a segment and the keys j that it sees (Vaswani et al., "Attention Is All You
//! Need", 2017, equation 1; Dao, "FlashAttention-2", 2023, for the tiling):
//! ```text
//! s_ij = scale·q_i·k_j + bias_ij        L_i = ln Σ_j exp(s_ij)        w_ij = exp(s_ij − L_i)
//! out_i = Σ_j w_ij·z_ij·v_j             z_ij = dropout factor: 0, or 1/(1 − p)
//! ```
//!
//! **Backward.** Nothing but `out` and L is kept from the forward: w is recomputed from L, and z
//! from its counter. With g = dout,
//! ```text
//! dv_j  = Σ_i w_ij·z_ij·g_i             dw_ij = z_ij·g_i·v_j
//! ds_ij = w_ij·(dw_ij − Δ_i)            Δ_i   = Σ_j w_ij·dw_ij = g_i·out_i
//! dq_i  = scale·Σ_j ds_ij·k_j           dk_j  = scale·Σ_i ds_ij·q_i        dbias_ij = ds_ij
//! ```
//! where Δ follows from out_i = Σ_j w_ij·z_ij·v_j, so the sum over keys is a dot product over
//! dimensions.
//!
//! **Window.** Query i at position p = i + key_len − query_len sees the keys at a distance below `window`: those of
//! p − window < j < p + window, and of them those of j ≤ p if causal. Tiles of keys that no query of a block sees are
//! skipped, so a sequence of T tokens costs O(T·window).
//!
//! **Memory.** Scores exist for 64 queries × 64 keys at a time, in scratch that a thread keeps;
//! nothing of the size of queries × keys is ever made, and a call allocates nothing once its
//! threads have their scratch. Sequences beyond 512 keys also gather a head's keys and values, and
//! in the backward their gradients, in scratch: linear in length, and 1.4 times as fast at 2,048,
//! because rows of a fused projection are a page apart and share few cache sets.
//!
//! **Numerics.** All in f32. Sums over dimensions, then over the 64 keys of a tile, then over
//! tiles. The softmax subtracts the maximum so far, in powers of two (2ˣ within 2 units of 2⁻²⁴);
//! weights below 2⁻¹²⁶ are 0. A query that sees no key, or only keys of bias −∞, has output 0, L = −∞ and gives and gets zero
//! gradients. NaN propagates to the queries that see it. Results do not depend on the number of
//! threads nor on which other segments share the call; they differ in the last bits between
//! instruction sets, and between four queries or fewer and more of them.
//!
//! **Speed.** Operations per second of one core's processor time, as a share of its FMA peak (217
//! GFLOP/s, AVX-512), forward and backward together, causal pairs counted once (see
//! `benches/attention.rs`): 60 % for one sequence of 1,024 tokens with 4 heads of 64,
//! 59 % for 256 tokens with 6, 34 % for 28 sentences of 15 tokens with 4, all causal but the last.
//! Larger batches of short sequences are bound by memory: 25 to 30 % for 280 sentences. Rows at a
//! multiple of 64 bytes are read 8 % faster, and operands in huge pages up to 20 %.
//!
//! One file each: `layout` where operands lie and the checks, `split` tasks, `forward`, `backward`,
//! `few` decoding steps and explanation, `tile` the products of a block of queries with a tile of
//! keys, `scores` softmax, bias and dropout of a tile, `scratch` what a thread keeps, `product` the
//! register tiles, `lanes` and `x86` vectors, [`mod@reference`] the definition as plain loops.

mod backward;
pub mod disentangled;
mod dropout;
mod few;
mod forward;
mod lanes;
mod layout;
mod product;
pub mod reference;
mod scores;
mod scratch;
mod split;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::simd;
use layout::{SharedMut, View, check_disjoint, exclusive, shared};
use scratch::with_scratch;
use split::{Divide, split};
use tile::Mask;

pub use dropout::Dropout;
pub use layout::{Qkv, QkvGrad, Rows, RowsMut};

/// A range of queries that attends to a range of keys, both counted in tokens (rows).
///
/// Lists of segments say what packed batches, padded batches with lengths, cross attention and
/// key-value caches have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First query row.
    pub query_start: usize,
    /// Number of queries; may be 0.
    pub query_len: usize,
    /// First key and value row.
    pub key_start: usize,
    /// Number of keys; may be 0.
    pub key_len: usize,
}

impl Segment {
    /// Pairs of a query and a key that it sees, with a mask and a window as [`Attention`] has them. Of each pair and number
    /// of a head the forward makes four operations, the backward ten.
    #[must_use]
    pub fn pairs(&self, causal: bool, window: Option<usize>) -> u64 {
        let (query_len, key_len) = (self.query_len, self.key_len);
        let mask = Mask { causal, window: window.unwrap_or(usize::MAX), query_len, key_len };
        let seen = |query| mask.keys_seen_by(query).saturating_sub(mask.first_key_of(query)) as u64;
        (0..query_len).map(seen).sum()
    }
}

/// Numbers added to the scores, `[H, max_query_len, max_key_len]`, by position within the segment
/// and the same for every segment.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Query positions; no segment may be longer.
    pub max_query_len: usize,
    /// Key positions; no segment may be longer.
    pub max_key_len: usize,
}

impl Bias<'_> {
    /// Index of the bias of query `i` and key `j`.
    #[inline(always)]
    fn at(&self, head: usize, i: usize, j: usize) -> usize {
        (head * self.max_query_len + i) * self.max_key_len + j
    }
}

/// Attention of packed sequences: sizes, mask and options, shared by all passes.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Query heads H.
    pub n_heads: usize,
    /// Key and value heads K, a divisor of H: query head h uses head h / (H / K) (Ainslie et al.,
    /// "GQA", 2023).
    pub n_kv_heads: usize,
    /// Numbers per head D.
    pub head_dim: usize,
    /// Factor of the scores, usually 1/√D.
    pub scale: f32,
    /// Whether query i sees only the keys j ≤ i + key_len − query_len: the last query sees all
    /// keys, as new queries do at the end of a key-value cache.
    pub causal: bool,
    /// How many keys a query sees on each side, its own place counted on both: those at a distance below the window (sliding
    /// window attention, Beltagy et al., "Longformer", 2020, section 3.1). With `causal` there is one side, so these are the
    /// last so many of the keys that causality lets it see.
    pub window: Option<usize>,
    /// Added to the scores.
    pub bias: Option<Bias<'a>>,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
    /// Who attends to whom.
    pub segments: &'a [Segment],
}

impl Attention<'_> {
    /// Computes the attention's output.
    ///
    /// # Shapes
    /// - `out`: `[query tokens, H·D]`; rows that no segment covers are untouched
    /// - `lse`: `[query tokens, H]`, the natural logarithm of Σ exp(score), for the backward
    ///
    /// # Panics
    /// If sizes cannot be counted, shapes disagree, a segment leaves its buffers, or two segments share a query row.
    #[track_caller]
    pub fn forward(&self, qkv: &Qkv<'_>, out: &mut [f32], lse: Option<&mut [f32]>) {
        self.check();
        let views = qkv.views(self);
        views.check("qkv", self.segments);
        self.check_queries_disjoint();
        let rows = views.query.rows;
        let out = View::exact("out", exclusive(out), rows, self.n_heads * self.head_dim);
        let lse = lse.map(|lse| View::exact("lse", exclusive(lse), rows, self.n_heads));
        let job = forward::Forward { attention: self, views, out, lse };
        let (level, scratch) = (simd::level(), forward::forward_scratch(self));
        let divide = Divide { segments: true, blocks: true, reach: self.reach() };
        let unit = 2 * self.head_dim;
        split(self.segments, self.n_heads, unit, divide, &|part| {
            with_scratch(scratch, |scratch| {
                // SAFETY: `level` is one the processor has. `check` passed; `views.check` and `View::exact` asserted that
                // the views hold every row of every segment; `check_queries_disjoint` that no two segments write one row.
                // Parts differ in segment, head or query block, and so in the rows or heads they write. The scratch is as
                // long as `forward_scratch` says.
                unsafe { forward::forward_at(level, &job, &part, scratch) }
            });
        });
    }

    /// Computes the gradients with respect to queries, keys and values, and adds to `dbias`.
    ///
    /// # Shapes
    /// - `out`, `lse`: as the forward wrote them
    /// - `dout`: `[query tokens, H·D]`
    /// - `grad`: as `qkv`, overwritten in the rows that segments cover
    /// - `dbias`: as the bias, accumulated
    ///
    /// # Panics
    /// If sizes cannot be counted, shapes disagree, a segment leaves its buffers, two segments share a query or a key row,
    /// or `dbias` is given without a bias.
    #[track_caller]
    pub fn backward(
        &self,
        qkv: &Qkv<'_>,
        out: &[f32],
        lse: &[f32],
        dout: &[f32],
        mut grad: QkvGrad<'_>,
        dbias: Option<&mut [f32]>,
    ) {
        self.check();
        let (views, grads) = (qkv.views(self), grad.views(self));
        views.check("qkv", self.segments);
        grads.check("grad", self.segments);
        self.check_queries_disjoint();
        let keys = self.segments.iter().map(|s| (s.key_start, s.key_len));
        check_disjoint("key", keys);
        let (rows, width) = (views.query.rows, self.n_heads * self.head_dim);
        let bias_len = self.bias.map_or(0, |bias| bias.data.len());
        let job = backward::Backward {
            attention: self,
            views,
            out: View::exact("out", shared(out), rows, width),
            lse: View::exact("lse", shared(lse), rows, self.n_heads),
            dout: View::exact("dout", shared(dout), rows, width),
            grads,
            dbias: dbias.map(|dbias| {
                assert!(
                    dbias.len() == bias_len,
                    "attention: dbias has {} numbers but the bias {bias_len}",
                    dbias.len()
                );
                SharedMut(dbias.as_mut_ptr())
            }),
        };
        let (level, scratch) = (simd::level(), backward::backward_scratch(self));
        // All segments add to a head's bias gradient, so one task takes them, in order.
        let divide = Divide { segments: job.dbias.is_none(), blocks: false, reach: self.reach() };
        let unit = self.head_dim.saturating_mul(5).saturating_mul(self.n_heads / self.n_kv_heads);
        split(self.segments, self.n_kv_heads, unit, divide, &|part| {
            with_scratch(scratch, |scratch| {
                // SAFETY: `level` is one the processor has. `check` passed; `views.check`, `grads.check` and `View::exact`
                // asserted that the views hold every row of every segment; `check_disjoint` that no two segments write one
                // row. Parts differ in segment or head, and so in the rows or heads they write; `dbias` is as long as the
                // bias, and one task takes a head of it. The scratch is as long as `backward_scratch` says.
                unsafe { backward::backward_at(level, &job, &part, scratch) }
            });
        });
    }

    /// Explains one segment: writes its weights, after softmax and before dropout.
    ///
    /// # Shapes
    /// - `weights`: `[H, query_len, key_len]` of the segment; rows sum to 1, or are 0 where a query
    ///   sees no key
    ///
    /// # Panics
    /// If sizes cannot be counted, shapes disagree or a segment leaves its buffers.
    #[track_caller]
    pub fn weights(&self, qkv: &Qkv<'_>, segment: usize, weights: &mut [f32]) {
        self.check();
        let views = qkv.views(self);
        views.check("qkv", self.segments);
        let segment = &self.segments[segment];
        let len = self.n_heads.checked_mul(segment.query_len).and_then(|n| n.checked_mul(segment.key_len));
        assert!(
            len == Some(weights.len()),
            "attention: weights of {segment:?} are {len:?} numbers, not {}",
            weights.len()
        );
        // SAFETY: `level` is one the processor has. `check` passed, `views.check` asserted that the views hold every row of
        // the segment, and the line above that `weights` holds a number for each of its heads, queries and keys.
        unsafe {
            few::segment_weights_at(simd::level(), self, &views, segment, weights.as_mut_ptr());
        }
    }

    /// Keys that a block of queries meets, at most.
    fn reach(&self) -> usize {
        let sides = if self.causal { 1 } else { 2 };
        self.window.map_or(usize::MAX, |window| window.saturating_mul(sides).saturating_add(tile::QUERIES))
    }

    /// The key and value head of a query head.
    #[inline(always)]
    fn kv_head(&self, head: usize) -> usize {
        head / (self.n_heads / self.n_kv_heads)
    }

    /// That sizes and options make sense, by themselves and for the segments' lengths.
    #[track_caller]
    fn check(&self) {
        let (h, k, d) = (self.n_heads, self.n_kv_heads, self.head_dim);
        assert!(d > 0 && k > 0 && h > 0 && h.is_multiple_of(k), "attention: {h} heads of {d}, {k} key-value heads");
        assert!(u32::try_from(d).is_ok(), "attention: heads of {d} numbers, which 32 bits cannot count");
        if let Some(window) = self.window {
            assert!(window > 0, "attention: a window of no key");
        }
        if let Some(Dropout { probability, .. }) = self.dropout {
            assert!(
                (0.0..1.0).contains(&probability),
                "attention: dropout probability is {probability}, must be in [0, 1)"
            );
        }
        if let Some(Bias { data, max_query_len, max_key_len }) = self.bias {
            let expected = h.checked_mul(max_query_len).and_then(|n| n.checked_mul(max_key_len));
            assert!(
                expected == Some(data.len()),
                "attention: bias has {} numbers, not {h} × {max_query_len} × {max_key_len}",
                data.len()
            );
            for s in self.segments {
                assert!(
                    s.query_len <= max_query_len && s.key_len <= max_key_len,
                    "attention: {s:?} exceeds the bias, {max_query_len} × {max_key_len}"
                );
            }
        }
    }

    #[track_caller]
    fn check_queries_disjoint(&self) {
        let queries = self.segments.iter().map(|s| (s.query_start, s.query_len));
        check_disjoint("query", queries);
    }
}
