//! A block of queries against a tile of keys: the passes and products the forward and the backward
//! pass are told in.
//!
//! Scores of a tile are kept transposed, `T[key][query]`, with queries along the vector lanes:
//! ```text
//! T[n][m]   = Σ_d K[n][d]·Qᵀ[d][m]      lanes are queries; Qᵀ packed once a block, K in place
//! O[m][d]  += Σ_n T[n][m]·V[n][d]       lanes are dimensions; V and O in place
//! dV[n][d] += Σ_m T[n][m]·dO[m][d]      lanes are dimensions; dO and dV in place
//! ```
//! and likewise `V·dOᵀ`, `dQ` and `dK`. So keys, values and all gradients are used where they lie,
//! the softmax over keys has no horizontal step, and its statistics are vectors over queries.
//!
//! # Safety
//! As in [`lanes`](super::lanes); pointers must be valid for the sizes of the [`Tile`].
#![allow(unsafe_op_in_unsafe_fn)]

use super::lanes::{Lanes, WIDEST};
use super::layout::View;
use super::product::{Product, Store, multiply};
use super::scratch::pack;
use super::{Attention, Bias, Dropout, Segment};
use crate::philox;

/// Queries of a block: four vectors of the widest kind, as wide as a register tile gets.
pub(super) const QUERIES: usize = 64;
/// Keys of a tile: its scores and what they meet share the first-level cache.
pub(super) const KEYS: usize = 64;
/// Numbers of a tile's scores, at most.
pub(super) const SCORES: usize = QUERIES * KEYS;
/// Rows that skip masked scores together.
const BAND: usize = 16;

/// Which keys the queries of a segment see.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    pub causal: bool,
    pub query_len: usize,
    pub key_len: usize,
}

impl Mask {
    #[inline(always)]
    pub fn new(attention: &Attention<'_>, segment: &Segment) -> Self {
        Mask { causal: attention.causal, query_len: segment.query_len, key_len: segment.key_len }
    }

    /// Query `i` sees the keys before this one.
    #[inline(always)]
    pub fn keys_seen_by(&self, i: usize) -> usize {
        if self.causal { (i + 1 + self.key_len).saturating_sub(self.query_len) } else { self.key_len }
    }

    /// Key `j` is seen by the queries from this one on.
    #[inline(always)]
    pub fn first_query_of(&self, j: usize) -> usize {
        if self.causal { (j + self.query_len).saturating_sub(self.key_len) } else { 0 }
    }
}

/// A vector of queries, from `lane` of the block on. All of them see the tile's first `full` keys,
/// and some of them those up to `seen`.
struct Column {
    lane: usize,
    full: usize,
    seen: usize,
}

/// Queries `query .. query + queries` and keys `key .. key + keys` of a segment.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub mask: Mask,
    pub query: usize,
    pub queries: usize,
    pub key: usize,
    pub keys: usize,
    /// Numbers in a row of scores: the queries, rounded up to whole vectors.
    pub row: usize,
}

impl Tile {
    /// The block of queries from `query` on, with no keys yet.
    pub fn block(attention: &Attention<'_>, segment: &Segment, query: usize) -> Self {
        let queries = QUERIES.min(segment.query_len - query);
        Tile {
            mask: Mask::new(attention, segment),
            query,
            queries,
            key: 0,
            keys: 0,
            row: queries.next_multiple_of(WIDEST),
        }
    }

    /// The same queries and the keys from `key` on, of those that any query of the block sees.
    #[inline(always)]
    pub fn at_key(&self, key: usize) -> Self {
        Tile { key, keys: KEYS.min(self.visible_keys() - key), ..*self }
    }

    /// Keys that the block's last query, and so any, sees.
    #[inline(always)]
    pub fn visible_keys(&self) -> usize {
        self.mask.keys_seen_by(self.query + self.queries - 1)
    }

    /// Of the tile's keys, how many query `lane` of the block sees.
    #[inline(always)]
    fn seen_by_lane(&self, lane: usize) -> usize {
        let seen = self.mask.keys_seen_by(self.query + lane);
        seen.saturating_sub(self.key).min(self.keys)
    }

    /// The block's first query that sees key `n` of the tile.
    #[inline(always)]
    fn first_lane(&self, n: usize) -> usize {
        let first = self.mask.first_query_of(self.key + n);
        first.saturating_sub(self.query).min(self.queries)
    }

    /// Whether every query sees every key.
    #[inline(always)]
    fn all_visible(&self) -> bool {
        self.keys == 0 || self.first_lane(self.keys - 1) == 0
    }

    /// Rows that are multiplied together, out of `rows`.
    #[inline(always)]
    fn band(&self, rows: usize) -> usize {
        if self.all_visible() { rows.max(1) } else { BAND }
    }

    /// `out[n][lane] = Σ_d keys[n][d]·packed[d][lane]`, for the lanes' vectors that see key n.
    #[inline(always)]
    pub unsafe fn times_packed<S: Lanes>(
        &self,
        (keys, stride): (*const f32, usize),
        packed: *const f32,
        head_dim: usize,
        out: *mut f32,
    ) {
        for n in (0..self.keys).step_by(self.band(self.keys)) {
            let first = self.first_lane(n) / S::LANES * S::LANES;
            multiply::<S>(&Product {
                a: keys.add(n * stride),
                a_row: stride,
                a_column: 1,
                b: packed.add(first),
                b_row: self.row,
                c: out.add(n * self.row + first),
                c_row: self.row,
                rows: self.band(self.keys).min(self.keys - n),
                columns: self.queries.next_multiple_of(S::LANES) - first,
                depth: head_dim,
                store: Store::Overwrite,
            });
        }
    }

    /// `out[query] (op)= Σ_n scores[n][query]·keys[n]`, rows of `head_dim`.
    #[inline(always)]
    pub unsafe fn sum_over_keys<S: Lanes>(
        &self,
        scores: *const f32,
        keys: (*const f32, usize),
        out: (*mut f32, usize),
        head_dim: usize,
        store: Store,
    ) {
        for m in (0..self.queries).step_by(self.band(self.queries)) {
            let rows = self.band(self.queries).min(self.queries - m);
            multiply::<S>(&Product {
                a: scores.add(m),
                a_row: 1,
                a_column: self.row,
                b: keys.0,
                b_row: keys.1,
                c: out.0.add(m * out.1),
                c_row: out.1,
                rows,
                columns: head_dim,
                depth: self.seen_by_lane(m + rows - 1),
                store: store.of_rows(m),
            });
        }
    }

    /// `out[n] += Σ_query scores[n][query]·queries[query]`, rows of `head_dim`; the rows from key
    /// `fresh` of the tile on are overwritten instead.
    #[inline(always)]
    pub unsafe fn sum_over_queries<S: Lanes>(
        &self,
        scores: *const f32,
        queries: (*const f32, usize),
        out: (*mut f32, usize),
        head_dim: usize,
        fresh: usize,
    ) {
        let mut n = 0;
        while n < self.keys {
            let first = self.first_lane(n);
            let mut rows = self.band(self.keys).min(self.keys - n);
            let mut store = Store::Overwrite;
            if n < fresh {
                rows = rows.min(fresh - n);
                store = Store::Add;
            }
            multiply::<S>(&Product {
                a: scores.add(n * self.row + first),
                a_row: self.row,
                a_column: 1,
                b: queries.0.add(first * queries.1),
                b_row: queries.1,
                c: out.0.add(n * out.1),
                c_row: out.1,
                rows,
                columns: head_dim,
                depth: self.queries - first,
                store,
            });
            n += rows;
        }
    }

    /// The block's vectors of queries.
    #[inline(always)]
    fn columns<S: Lanes>(&self) -> impl Iterator<Item = Column> {
        (0..self.queries).step_by(S::LANES).map(|lane| Column {
            lane,
            full: self.seen_by_lane(lane),
            seen: self.seen_by_lane((lane + S::LANES).min(self.queries) - 1),
        })
    }

    /// Puts −∞ in the scores that the mask hides, among the keys that a column's queries share.
    #[inline(always)]
    unsafe fn hide<S: Lanes>(&self, scores: *mut f32, lane: usize, keys: std::ops::Range<usize>) {
        let hidden = S::splat(f32::NEG_INFINITY);
        for n in keys {
            let at = scores.add(n * self.row + lane);
            let first = self.first_lane(n).saturating_sub(lane).min(S::LANES);
            S::store(at, S::from_lane(first, S::load(at), hidden));
        }
    }

    /// One step of the online softmax (Milakov and Gimelshein, 2018) in powers of two: raises
    /// `maximum` to the tile's, turns scores into `2^(score − maximum)`, and leaves in `shrink`
    /// the factor by which earlier weights and sums shrink, already applied to `sum`.
    #[inline(always)]
    pub unsafe fn online_softmax<S: Lanes>(
        &self,
        scores: *mut f32,
        maximum: *mut f32,
        sum: *mut f32,
        shrink: *mut f32,
    ) {
        for Column { lane, full, seen } in self.columns::<S>() {
            self.hide::<S>(scores, lane, full..seen);
            let at = |n: usize| scores.wrapping_add(n * self.row + lane);
            let before = S::load(maximum.add(lane));
            let mut highest = [before; 4];
            for n in (0..seen / 4 * 4).step_by(4) {
                for i in 0..4 {
                    highest[i] = S::max(S::load(at(n + i)), highest[i]);
                }
            }
            for n in seen / 4 * 4..seen {
                highest[0] = S::max(S::load(at(n)), highest[0]);
            }
            let [a, b, c, d] = highest;
            let highest = S::max(S::max(a, b), S::max(c, d));
            let shrunk = S::exp2(S::sub(before, highest));
            let mut total = S::mul(S::load(sum.add(lane)), shrunk);
            for n in 0..seen {
                let weight = S::exp2(S::sub(S::load(at(n)), highest));
                total = S::add(total, weight);
                S::store(at(n), weight);
            }
            for n in seen..self.keys {
                S::store(at(n), S::splat(0.0));
            }
            S::store(maximum.add(lane), highest);
            S::store(sum.add(lane), total);
            S::store(shrink.add(lane), shrunk);
        }
    }

    /// Turns scores into `2^(score − log_sum)`, the weights after softmax.
    #[inline(always)]
    pub unsafe fn weights<S: Lanes>(&self, scores: *mut f32, log_sum: *const f32) {
        for Column { lane, full, seen } in self.columns::<S>() {
            self.hide::<S>(scores, lane, full..seen);
            let log_sum = S::load(log_sum.add(lane));
            for n in 0..self.keys {
                let at = scores.add(n * self.row + lane);
                let weight = if n < seen { S::exp2(S::sub(S::load(at), log_sum)) } else { S::splat(0.0) };
                S::store(at, weight);
            }
        }
    }

    /// The softmax's backward: `dscores = weights·(dweights·keep − delta)·scale`, in place of
    /// `dweights`; `keep` is the dropout factors, if any.
    #[inline(always)]
    pub unsafe fn softmax_backward<S: Lanes>(
        &self,
        weights: *const f32,
        dweights: *mut f32,
        keep: Option<*const f32>,
        delta: *const f32,
        scale: f32,
    ) {
        let scale = S::splat(scale);
        for Column { lane, seen, .. } in self.columns::<S>() {
            let delta = S::load(delta.add(lane));
            for n in 0..self.keys {
                let at = n * self.row + lane;
                let mut dscore = S::splat(0.0);
                if n < seen {
                    let mut dweight = S::load(dweights.add(at));
                    if let Some(keep) = keep {
                        dweight = S::mul(dweight, S::load(keep.add(at)));
                    }
                    let weight = S::mul(S::load(weights.add(at)), scale);
                    dscore = S::mul(weight, S::sub(dweight, delta));
                }
                S::store(dweights.add(at), dscore);
            }
        }
    }

    /// `out = a·b`, over the tile.
    #[inline(always)]
    pub unsafe fn product<S: Lanes>(&self, a: *const f32, b: *const f32, out: *mut f32) {
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            S::store(out.add(at), S::mul(S::load(a.add(at)), S::load(b.add(at))));
        }
    }

    /// Multiplies the tile by `factor`.
    #[inline(always)]
    pub unsafe fn scale<S: Lanes>(&self, scores: *mut f32, factor: f32) {
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            let scaled = S::mul(S::load(scores.add(at)), S::splat(factor));
            S::store(scores.add(at), scaled);
        }
    }

    /// `to[query][n] += scores[n][query]`, rows of `to` being `stride` apart.
    #[inline(always)]
    pub unsafe fn add_transposed(&self, scores: *const f32, to: *mut f32, stride: usize) {
        for lane in 0..self.queries {
            for n in 0..self.keys {
                *to.add(lane * stride + n) += *scores.add(n * self.row + lane);
            }
        }
    }

    /// Adds `factor` times the bias of `head` to the scores.
    #[inline(always)]
    pub unsafe fn add_bias<S: Lanes>(
        &self,
        scores: *mut f32,
        bias: &Bias<'_>,
        head: usize,
        factor: f32,
        scratch: *mut f32,
    ) {
        let row = bias.at(head, self.query, self.key);
        let rows = View {
            start: bias.data.as_ptr().wrapping_add(row).cast_mut(),
            stride: bias.max_key_len,
            rows: self.queries,
        };
        pack::<S>(rows, self.keys, factor, scratch, self.row);
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            let sum = S::add(S::load(scores.add(at)), S::load(scratch.add(at)));
            S::store(scores.add(at), sum);
        }
    }

    /// Fills `keep` with the factors of the weights: 0 where dropped, else 1 / (1 − probability).
    #[inline(always)]
    pub unsafe fn fill_keep(&self, keep: *mut f32, dropout: &Dropout, head: usize, query_start: usize) {
        let (threshold, kept) = (dropout.threshold(), dropout.kept_factor());
        for lane in (0..self.row).step_by(philox::BLOCKS) {
            let row = query_start + self.query + lane;
            for n in (0..self.keys).step_by(Dropout::KEYS_PER_BLOCK) {
                let first = dropout.block(head, row, self.key + n);
                let words = philox::blocks(dropout.seed, dropout.stream, first);
                let keys = Dropout::KEYS_PER_BLOCK.min(self.keys - n);
                for (i, shift) in (0..keys).map(|i| (i % 4, i / 4 * 16)) {
                    let at = keep.add((n + i + shift / 4) * self.row + lane);
                    for b in 0..philox::BLOCKS {
                        let draw = words[i][b] >> shift & 0xFFFF;
                        *at.add(b) = if draw >= threshold { kept } else { 0.0 };
                    }
                }
            }
        }
    }
}
