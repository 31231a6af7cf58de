//! Forward pass: blocks of queries against tiles of keys, with the softmax's maximum and sum
//! carried from tile to tile.
//!
//! # Safety
//! As in [`lanes`](super::lanes); the views of a [`Forward`] must hold the segments' rows.
#![allow(unsafe_op_in_unsafe_fn)]

use std::f32::consts::{LN_2, LOG2_E};

use super::few::{FEW, few_queries};
use super::lanes::{Lanes, instantiate};
use super::layout::{View, Views};
use super::product::Store;
use super::split::Part;
use super::tile::{KEYS, QUERIES, Tile, clear_rows, pack};
use super::{Attention, Segment};
use crate::math;

/// Operands of the forward pass.
pub(super) struct Forward<'a> {
    pub attention: &'a Attention<'a>,
    pub views: Views,
    /// `[query tokens, H·D]`.
    pub out: View,
    /// `[query tokens, H]`.
    pub lse: Option<View>,
}

/// Numbers of scratch that a part needs.
pub(super) fn forward_scratch(attention: &Attention<'_>) -> usize {
    let few = |segment: &&Segment| segment.query_len <= FEW;
    let keys = attention.segments.iter().filter(few).map(|s| s.key_len);
    let blocks = QUERIES * attention.head_dim + 2 * QUERIES * KEYS + 4 * QUERIES;
    blocks.max(keys.max().unwrap_or(0))
}

instantiate! {
    /// Runs a part of the forward pass.
    fn forward_at = forward(job: &Forward<'_>, part: &Part, scratch: *mut f32)
}

#[inline(always)]
unsafe fn forward<S: Lanes>(job: &Forward<'_>, part: &Part, scratch: *mut f32) {
    for segment in &job.attention.segments[part.segments.clone()] {
        let blocks = part.blocks.start..part.blocks.end.min(segment.query_len.div_ceil(QUERIES));
        for head in part.heads.clone() {
            if segment.query_len <= FEW && job.attention.dropout.is_none() {
                few_queries::<S>(job, segment, head, scratch);
                continue;
            }
            for block in blocks.clone() {
                query_block::<S>(job, segment, head, block * QUERIES, scratch);
            }
        }
    }
}

/// What a block of queries carries from tile to tile, a number per query.
#[derive(Clone, Copy)]
struct Statistics {
    maximum: *mut f32,
    sum: *mut f32,
    /// Factors of the output so far and of the tile's contribution.
    old: *mut f32,
    new: *mut f32,
}

impl Statistics {
    #[inline(always)]
    unsafe fn begin(start: *mut f32) -> Self {
        for lane in 0..QUERIES {
            // Finite, so that a score of −∞ has weight 0 even where no score is larger.
            *start.add(lane) = f32::MIN;
            *start.add(QUERIES + lane) = 0.0;
        }
        Statistics {
            maximum: start,
            sum: start.add(QUERIES),
            old: start.add(2 * QUERIES),
            new: start.add(3 * QUERIES),
        }
    }

    /// How the tile's contribution joins the output; the last one also divides by the sum.
    #[inline(always)]
    unsafe fn store(&self, first: bool, last: bool) -> Store {
        for lane in 0..QUERIES {
            let sum = *self.sum.add(lane);
            let inverse = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            let factor = if last { inverse } else { 1.0 };
            *self.old.add(lane) *= factor;
            *self.new.add(lane) = factor;
        }
        let (old, new) = (self.old, self.new);
        match first {
            true => Store::Scale { new },
            false => Store::Blend { old, new },
        }
    }

    /// Writes ln Σ exp(score), −∞ where a query saw no key.
    #[inline(always)]
    unsafe fn write_lse<S: Lanes>(&self, queries: usize, to: *mut f32, stride: usize) {
        for lane in 0..QUERIES {
            let sum = *self.sum.add(lane);
            let log = if S::FMA {
                math::ln::<true>(sum)
            } else {
                math::ln::<false>(sum)
            };
            *self.old.add(lane) = *self.maximum.add(lane) * LN_2 + log;
        }
        for lane in 0..queries {
            *to.add(lane * stride) = *self.old.add(lane);
        }
    }
}

/// The outputs of the queries from `query` on, over all their keys.
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Forward<'_>,
    segment: &Segment,
    head: usize,
    query: usize,
    scratch: *mut f32,
) {
    let Attention { head_dim, .. } = *job.attention;
    let block = Tile::block(job.attention, segment, query);
    let row = segment.query_start + query;
    let statistics = Statistics::begin(scratch);
    let packed = scratch.add(4 * QUERIES);
    let scores = packed.add(head_dim * QUERIES);

    let queries = job
        .views
        .query
        .rows_from(row, head, head_dim, block.queries);
    // Softmax runs on powers of two.
    let scale = job.attention.scale * LOG2_E;
    pack::<S>(queries, head_dim, scale, packed, block.row);
    let out = (job.out.at(row, head, head_dim), job.out.stride);
    let visible = block.visible_keys();
    if visible == 0 {
        clear_rows(out, block.queries, head_dim);
    }
    for key in (0..visible).step_by(KEYS) {
        let tile = block.at_key(key);
        weigh::<S>(job, segment, head, &tile, packed, scores, &statistics);
        let store = statistics.store(key == 0, key + tile.keys == visible);
        let kv_head = job.attention.kv_head(head);
        let values = job
            .views
            .value
            .read(segment.key_start + key, kv_head, head_dim);
        tile.sum_over_keys::<S>(scores, values, out, head_dim, store);
    }
    if let Some(lse) = job.lse {
        statistics.write_lse::<S>(block.queries, lse.at(row, head, 1), lse.stride);
    }
}

/// Weights of a tile relative to the maximum so far, after dropout.
#[inline(always)]
unsafe fn weigh<S: Lanes>(
    job: &Forward<'_>,
    segment: &Segment,
    head: usize,
    tile: &Tile,
    packed: *const f32,
    scores: *mut f32,
    statistics: &Statistics,
) {
    let Attention { head_dim, .. } = *job.attention;
    let kv_head = job.attention.kv_head(head);
    let keys = job
        .views
        .key
        .read(segment.key_start + tile.key, kv_head, head_dim);
    let other = scores.add(KEYS * QUERIES);
    tile.times_packed::<S>(keys, packed, head_dim, scores);
    if let Some(bias) = &job.attention.bias {
        tile.add_bias::<S>(scores, bias, head, LOG2_E, other);
    }
    let Statistics {
        maximum, sum, old, ..
    } = *statistics;
    tile.online_softmax::<S>(scores, maximum, sum, old);
    if let Some(dropout) = &job.attention.dropout {
        tile.fill_keep(other, dropout, head, segment.query_start);
        tile.product::<S>(scores, other, scores);
    }
}
