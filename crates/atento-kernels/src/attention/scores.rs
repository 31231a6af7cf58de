//! The passes over the scores of a tile: mask, softmax and its backward, bias and dropout.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says. "Scores" are a pointer to `keys` rows of `row`
//! numbers, as in [`tile`](super::tile), and so are weights, their gradients and dropout factors. "A
//! number a query" is a pointer to `row` numbers.

use super::lanes::{Lanes, WIDEST};
use super::layout::View;
use super::scratch::pack;
use super::tile::Tile;
use super::{Bias, Dropout};
use crate::philox;

/// A vector of queries, from `lane` of the block on. All of them see the tile's keys from `begun` to `full`, if any, and
/// some of them those from `first` to `seen`. The whole vector lies within `row`.
struct Column {
    lane: usize,
    first: usize,
    begun: usize,
    full: usize,
    seen: usize,
}

impl Tile {
    /// The block's vectors of queries.
    #[inline(always)]
    fn columns<S: Lanes>(&self) -> impl Iterator<Item = Column> {
        (0..self.queries).step_by(S::LANES).map(|lane| {
            let last = (lane + S::LANES).min(self.queries) - 1;
            Column {
                lane,
                first: self.first_seen_by_lane(lane),
                begun: self.first_seen_by_lane(last),
                full: self.seen_by_lane(lane),
                seen: self.seen_by_lane(last),
            }
        })
    }

    /// Puts −∞ in the scores that the mask hides, among the keys that some of a column's queries see.
    ///
    /// # Safety
    /// `scores` are scores, and the column is the tile's.
    #[inline(always)]
    unsafe fn hide<S: Lanes>(&self, scores: *mut f32, column: &Column) {
        let &Column { lane, first, begun, full, seen } = column;
        // SAFETY: the keys of a column are rows of the scores, in which its vector lies.
        unsafe {
            let hidden = S::splat(f32::NEG_INFINITY);
            for n in full.max(first)..seen {
                let at = scores.add(n * self.row + lane);
                let from = self.first_lane(n).saturating_sub(lane).min(S::LANES);
                S::store(at, S::from_lane(from, S::load(at), hidden));
            }
            for n in first..begun.min(seen) {
                let at = scores.add(n * self.row + lane);
                let end = self.end_lane(n).saturating_sub(lane).min(S::LANES);
                S::store(at, S::from_lane(end, hidden, S::load(at)));
            }
        }
    }

    /// One step of the online softmax (Milakov and Gimelshein, 2018) in powers of two: raises
    /// `maximum` to the tile's, turns scores into `2^(score − maximum)`, and leaves in `shrink`
    /// the factor by which earlier weights and sums shrink, already applied to `sum`.
    ///
    /// # Safety
    /// `scores` are scores; `maximum`, `sum` and `shrink` are a number a query each.
    #[inline(always)]
    pub unsafe fn online_softmax<S: Lanes>(
        &self,
        scores: *mut f32,
        maximum: *mut f32,
        sum: *mut f32,
        shrink: *mut f32,
    ) {
        for column in self.columns::<S>() {
            let Column { lane, first, seen, .. } = column;
            let fours = first + (seen - first) / 4 * 4;
            // SAFETY: a column's vector lies within `row`, and so in each row of the scores and in what the caller
            // promises to be a number a query. The rows reached are below `seen`, `keys` at most, or below `keys`.
            unsafe {
                self.hide::<S>(scores, &column);
                let at = |n: usize| scores.wrapping_add(n * self.row + lane);
                let before = S::load(maximum.add(lane));
                let mut highest = [before; 4];
                for n in (first..fours).step_by(4) {
                    for i in 0..4 {
                        highest[i] = S::max(S::load(at(n + i)), highest[i]);
                    }
                }
                for n in fours..seen {
                    highest[0] = S::max(S::load(at(n)), highest[0]);
                }
                let [a, b, c, d] = highest;
                let highest = S::max(S::max(a, b), S::max(c, d));
                let shrunk = S::exp2(S::sub(before, highest));
                let mut total = S::mul(S::load(sum.add(lane)), shrunk);
                for n in 0..first {
                    S::store(at(n), S::splat(0.0));
                }
                for n in first..seen {
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
    }

    /// Turns scores into `2^(score − log_sum)`, the weights after softmax.
    ///
    /// # Safety
    /// `scores` are scores, and `log_sum` is a number a query.
    #[inline(always)]
    pub unsafe fn weights<S: Lanes>(&self, scores: *mut f32, log_sum: *const f32) {
        for column in self.columns::<S>() {
            let Column { lane, first, seen, .. } = column;
            // SAFETY: a column's vector lies within `row`, and so in each of the scores' `keys` rows and in `log_sum`.
            unsafe {
                self.hide::<S>(scores, &column);
                let log_sum = S::load(log_sum.add(lane));
                for n in 0..self.keys {
                    let at = scores.add(n * self.row + lane);
                    let is_seen = first <= n && n < seen;
                    let weight = if is_seen { S::exp2(S::sub(S::load(at), log_sum)) } else { S::splat(0.0) };
                    S::store(at, weight);
                }
            }
        }
    }

    /// The softmax's backward: `dscores = weights·(dweights·keep − delta)·scale`, in place of
    /// `dweights`; `keep` is the dropout factors, if any.
    ///
    /// # Safety
    /// `weights`, `dweights` and `keep` are scores, and `delta` is a number a query.
    #[inline(always)]
    pub unsafe fn softmax_backward<S: Lanes>(
        &self,
        weights: *const f32,
        dweights: *mut f32,
        keep: Option<*const f32>,
        delta: *const f32,
        scale: f32,
    ) {
        // SAFETY: the caller promises the instruction set.
        let scale = unsafe { S::splat(scale) };
        for Column { lane, first, seen, .. } in self.columns::<S>() {
            // SAFETY: a column's vector lies within `row`, and so in each of the scores' `keys` rows and in `delta`.
            unsafe {
                let delta = S::load(delta.add(lane));
                for n in 0..self.keys {
                    let at = n * self.row + lane;
                    let mut dscore = S::splat(0.0);
                    if first <= n && n < seen {
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
    }

    /// `out = a·b`, over the tile.
    ///
    /// # Safety
    /// All three are scores.
    #[inline(always)]
    pub unsafe fn product<S: Lanes>(&self, a: *const f32, b: *const f32, out: *mut f32) {
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            // SAFETY: the caller promises `keys·row` numbers, whole vectors of them, as `row` is.
            unsafe { S::store(out.add(at), S::mul(S::load(a.add(at)), S::load(b.add(at)))) };
        }
    }

    /// Multiplies the tile by `factor`.
    ///
    /// # Safety
    /// `scores` are scores.
    #[inline(always)]
    pub unsafe fn scale<S: Lanes>(&self, scores: *mut f32, factor: f32) {
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            // SAFETY: the caller promises `keys·row` numbers, whole vectors of them, as `row` is.
            unsafe {
                let scaled = S::mul(S::load(scores.add(at)), S::splat(factor));
                S::store(scores.add(at), scaled);
            }
        }
    }

    /// `to[query][n] += scores[n][query]`, rows of `to` being `stride` apart.
    ///
    /// # Safety
    /// `scores` are scores; `to` is, for each of the tile's queries, a row of a number for each of its keys.
    #[inline(always)]
    pub unsafe fn add_transposed(&self, scores: *const f32, to: *mut f32, stride: usize) {
        for lane in 0..self.queries {
            for n in 0..self.keys {
                // SAFETY: promised by the caller; `lane` is a query, of which there are at most `row`, and `n` a key.
                unsafe { *to.add(lane * stride + n) += *scores.add(n * self.row + lane) };
            }
        }
    }

    /// Adds `factor` times the bias of `head` to the scores.
    ///
    /// # Safety
    /// `scores` and `scratch` are scores. The bias is as long as its sizes say, no smaller than the tile's segment, and
    /// has the head.
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
        // SAFETY: the tile's queries and keys are the segment's, which the caller promises the bias to cover; so their rows
        // of it hold `keys` numbers. `scratch` has that many rows, and `row` is the queries rounded up to whole vectors.
        unsafe { pack::<S>(rows, self.keys, factor, scratch, self.row) };
        for at in (0..self.keys * self.row).step_by(S::LANES) {
            // SAFETY: the caller promises `keys·row` numbers, whole vectors of them, as `row` is.
            unsafe {
                let sum = S::add(S::load(scores.add(at)), S::load(scratch.add(at)));
                S::store(scores.add(at), sum);
            }
        }
    }

    /// Fills `keep` with the factors of the weights: 0 where dropped, else 1 / (1 − probability).
    ///
    /// # Safety
    /// `keep` is scores.
    #[inline(always)]
    pub unsafe fn fill_keep(&self, keep: *mut f32, dropout: &Dropout, head: usize, query_start: usize) {
        const { assert!(WIDEST.is_multiple_of(philox::BLOCKS)) };
        let (threshold, kept) = (dropout.threshold(), dropout.kept_factor());
        for lane in (0..self.row).step_by(philox::BLOCKS) {
            let row = query_start + self.query + lane;
            for n in (0..self.keys).step_by(Dropout::KEYS_PER_BLOCK) {
                let first = dropout.block(head, row, self.key + n);
                let words = philox::blocks(dropout.seed, dropout.stream, first);
                let keys = Dropout::KEYS_PER_BLOCK.min(self.keys - n);
                for (i, shift) in (0..keys).map(|i| (i % 4, i / 4 * 16)) {
                    // SAFETY: `i + shift / 4` is below `keys`, so `n + i + shift / 4` is below the tile's, a row of `keep`.
                    // A row is whole groups of `BLOCKS` numbers, because `WIDEST` is, and `lane` begins one of them.
                    unsafe {
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
}
