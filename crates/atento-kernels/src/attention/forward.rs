//! Forward pass: blocks of queries against tiles of keys, with the softmax's maximum and sum
//! carried from tile to tile.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says, and that the job is valid, as [`Forward`] says; `segment` is one of
//! its segments, `head` one of its heads, and `block` a block of the segment's queries. No other thread touches the outputs
//! of the part, or of the segment's queries and the head.

use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

use super::few::{FEW, few_queries};
use super::lanes::{Lanes, instantiate};
use super::layout::{View, Views};
use super::product::Store;
use super::scratch::{clear_rows, copy_rows, gathered, pack, scratch_len, worth_gathering};
use super::split::Part;
use super::tile::{KEYS, QUERIES, SCORES, Tile};
use super::{Attention, Segment};
use crate::math;

/// Operands of the forward pass.
///
/// # Safety
/// A job is valid if the attention has passed its checks, and the views hold every row that a segment names: in `query` and
/// `out` `head_dim` numbers for each head, in `key` and `value` as many for each key and value head, and in `lse` a number
/// for each head.
pub(super) struct Forward<'a> {
    pub attention: &'a Attention<'a>,
    pub views: Views,
    /// `[query tokens, H·D]`.
    pub out: View,
    /// `[query tokens, H]`.
    pub lse: Option<View>,
}

/// Numbers of scratch that a part needs: gathered keys and values, then what `query_block` uses. That is a row of weights
/// and more, which is all that `few_queries` uses.
#[track_caller]
pub(super) fn forward_scratch(attention: &Attention<'_>) -> usize {
    scratch_len(attention, BLOCK_SCRATCH, QUERIES, 2)
}

pub(super) const BLOCK_STATISTICS: usize = 4 * QUERIES;
/// Numbers of scratch of a block of queries, besides `QUERIES · head_dim`.
const BLOCK_SCRATCH: usize = BLOCK_STATISTICS + 2 * SCORES;

instantiate! {
    /// Runs a part of the forward pass.
    ///
    /// # Safety
    /// The part's heads are heads of the attention, and `scratch` is as long as [`forward_scratch`] says.
    fn forward_at = forward(job: &Forward<'_>, part: &Part, scratch: *mut f32)
}

/// # Safety
/// As [`forward_at`].
#[inline(always)]
unsafe fn forward<S: Lanes>(job: &Forward<'_>, part: &Part, scratch: *mut f32) {
    for segment in &job.attention.segments[part.segments.clone()] {
        for head in part.heads.clone() {
            // SAFETY: promised by the caller; the scratch holds a number for each key, and what a range of blocks needs.
            unsafe {
                if segment.query_len <= FEW && job.attention.dropout.is_none() {
                    few_queries::<S>(job, segment, head, scratch);
                } else {
                    query_blocks::<S>(job, segment, head, part.blocks.clone(), scratch);
                }
            }
        }
    }
}

/// The outputs of a range of query blocks of a head.
///
/// # Safety
/// `scratch` is as long as [`forward_scratch`] says.
#[inline(always)]
unsafe fn query_blocks<S: Lanes>(
    job: &Forward<'_>,
    segment: &Segment,
    head: usize,
    blocks: Range<usize>,
    scratch: *mut f32,
) {
    let (attention, head_dim) = (job.attention, job.attention.head_dim);
    let blocks = blocks.start..blocks.end.min(segment.query_len.div_ceil(QUERIES));
    if blocks.is_empty() {
        return;
    }
    let block_at = |block: usize| Tile::block(attention, segment, block * QUERIES);
    // The keys that the blocks see.
    let (first, end) = (block_at(blocks.start).first_key(), block_at(blocks.end - 1).visible_keys());
    let (kv_head, row, keys) = (attention.kv_head(head), segment.key_start, segment.key_len);
    let mut key = job.views.key.head(row, kv_head, head_dim, keys);
    let mut value = job.views.value.head(row, kv_head, head_dim, keys);
    let mut scratch = scratch;
    if worth_gathering(blocks.len(), end - first) {
        for rows in [&mut key, &mut value] {
            let copy = gathered(end - first, head_dim, scratch);
            // SAFETY: the views hold the segment's keys, of which `first .. end` are some, and the scratch begins with room
            // for two copies of as many rows.
            unsafe {
                copy_rows::<S>(rows.rows_from(first, end - first), copy, head_dim);
                scratch = scratch.add((end - first) * head_dim);
            }
            *rows = copy.preceded_by(first);
        }
    }
    for block in blocks {
        let block = block_at(block);
        // SAFETY: `key` and `value` hold the rows that the blocks see, in place or gathered; after them, the scratch has room
        // for what a block needs.
        unsafe { query_block::<S>(job, segment, head, &block, key, value, scratch) };
    }
}

/// What a block of queries carries from tile to tile, a number per query.
///
/// Made by [`begin`](Self::begin) only, so that the pointers are to `len` numbers each.
#[derive(Clone, Copy)]
pub(super) struct Statistics {
    /// Numbers in each, those of the last vector's missing queries included.
    len: usize,
    pub maximum: *mut f32,
    pub sum: *mut f32,
    /// Factors of the output so far and of the tile's contribution.
    pub old: *mut f32,
    new: *mut f32,
}

impl Statistics {
    /// The statistics before the first tile.
    ///
    /// # Safety
    /// `start` is `4 · len` numbers, for as long as the statistics are used.
    #[inline(always)]
    pub unsafe fn begin(start: *mut f32, len: usize) -> Self {
        // SAFETY: the caller promises four times `len` numbers, of which the first two are written.
        unsafe {
            for lane in 0..len {
                // Finite, so that a score of −∞ has weight 0 even where no score is larger.
                *start.add(lane) = f32::MIN;
                *start.add(len + lane) = 0.0;
            }
            Statistics { len, maximum: start, sum: start.add(len), old: start.add(2 * len), new: start.add(3 * len) }
        }
    }

    /// How the tile's contribution joins the output; the last one also divides by the sum.
    ///
    /// # Safety
    /// As [`begin`](Self::begin).
    #[inline(always)]
    pub unsafe fn store(&self, first: bool, last: bool) -> Store {
        for lane in 0..self.len {
            // SAFETY: the pointers are to `len` numbers each.
            unsafe {
                let sum = *self.sum.add(lane);
                let inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
                let factor = if last { inverse } else { 1.0 };
                *self.old.add(lane) *= factor;
                *self.new.add(lane) = factor;
            }
        }
        let (old, new) = (self.old, self.new);
        match first {
            true => Store::Scale { new },
            false => Store::Blend { old, new },
        }
    }

    /// Writes ln Σ exp(score), −∞ where a query saw no key.
    ///
    /// # Safety
    /// As [`begin`](Self::begin); `to` is `queries` numbers, `stride` apart, and `queries` is at most `len`.
    #[inline(always)]
    pub unsafe fn write_lse<S: Lanes>(&self, queries: usize, to: *mut f32, stride: usize) {
        // SAFETY: the pointers are to `len` numbers each; of `to` the caller promises `queries`, which are no more.
        unsafe {
            for lane in 0..self.len {
                let sum = *self.sum.add(lane);
                let log = if S::FMA { math::ln::<true>(sum) } else { math::ln::<false>(sum) };
                *self.old.add(lane) = *self.maximum.add(lane) * LN_2 + log;
            }
            for lane in 0..queries {
                *to.add(lane * stride) = *self.old.add(lane);
            }
        }
    }
}

/// The outputs of a block of queries, over all their keys.
///
/// # Safety
/// `key` and `value` are the segment's rows, those at least that the block sees, and `scratch` is `BLOCK_SCRATCH + QUERIES · head_dim` numbers.
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Forward<'_>,
    segment: &Segment,
    head: usize,
    block: &Tile,
    key: View,
    value: View,
    scratch: *mut f32,
) {
    let (attention, head_dim) = (job.attention, job.attention.head_dim);
    let row = segment.query_start + block.query;
    // SAFETY: the caller promises the scratch. It is, one after the other, the statistics of up to `QUERIES` queries, two
    // times scores, and `QUERIES` times `head_dim` numbers for the packed queries. The views hold the block's rows of
    // queries, outputs and `lse`, and the rows of keys and values from `first` on, as a block sees only the segment's. The
    // attention's checks passed: `head_dim` fits 32 bits, and the bias covers the segment and the head.
    unsafe {
        let statistics = Statistics::begin(scratch, block.row);
        let scores = scratch.add(BLOCK_STATISTICS);
        let other = scores.add(SCORES);
        let packed = other.add(SCORES);

        let query = job.views.query.head(row, head, head_dim, block.queries);
        // Softmax runs on powers of two.
        pack::<S>(query, head_dim, attention.scale * LOG2_E, packed, block.row);
        let out = job.out.head(row, head, head_dim, block.queries).row_mut(0);
        let (begin, visible) = (block.first_key(), block.visible_keys());
        if visible == 0 {
            clear_rows(out, block.queries, head_dim);
        }
        for first in (begin..visible).step_by(KEYS) {
            let tile = block.at_key(first);
            tile.times_packed::<S>(key.row(first), packed, head_dim, scores);
            if let Some(bias) = &attention.bias {
                tile.add_bias::<S>(scores, bias, head, LOG2_E, other);
            }
            tile.online_softmax::<S>(scores, statistics.maximum, statistics.sum, statistics.old);
            if let Some(dropout) = &attention.dropout {
                tile.fill_keep(other, dropout, head, segment.query_start);
                tile.product::<S>(scores, other, scores);
            }
            let store = statistics.store(first == begin, first + tile.keys == visible);
            tile.sum_over_keys::<S>(scores, value.row(first), out, head_dim, store);
        }
        if let Some(lse) = job.lse {
            statistics.write_lse::<S>(block.queries, lse.at(row, head, 1), lse.stride);
        }
    }
}
