//! Backward pass: the same tiles as the forward, weights recomputed from the saved log-sum-exp.
//!
//! # Safety
//! As in [`lanes`](super::lanes); the views of a [`Backward`] must hold the segments' rows.
#![allow(unsafe_op_in_unsafe_fn)]

use std::f32::consts::LOG2_E;

use super::lanes::{Lanes, instantiate};
use super::layout::{SharedMut, View, Views};
use super::product::Store;
use super::split::Part;
use super::tile::{KEYS, QUERIES, Tile, clear_rows, pack};
use super::{Attention, Segment};

/// Operands of the backward pass.
pub(super) struct Backward<'a> {
    pub attention: &'a Attention<'a>,
    pub views: Views,
    /// `[query tokens, H·D]`.
    pub out: View,
    /// `[query tokens, H]`.
    pub lse: View,
    /// `[query tokens, H·D]`.
    pub dout: View,
    pub grads: Views,
    /// `[H, max_query_len, max_key_len]`, as the bias.
    pub dbias: Option<SharedMut>,
}

/// Numbers of scratch that a part needs.
pub(super) fn backward_scratch(attention: &Attention<'_>) -> usize {
    2 * QUERIES * attention.head_dim + 3 * QUERIES * KEYS + 2 * QUERIES
}

instantiate! {
    /// Runs a part of the backward pass, whose heads are key and value heads.
    fn backward_at = backward(job: &Backward<'_>, part: &Part, scratch: *mut f32)
}

#[inline(always)]
unsafe fn backward<S: Lanes>(job: &Backward<'_>, part: &Part, scratch: *mut f32) {
    let group = job.attention.n_heads / job.attention.n_kv_heads;
    for segment in &job.attention.segments[part.segments.clone()] {
        for kv_head in part.heads.clone() {
            if segment.query_len == 0 {
                clear_keys(job, segment, kv_head, 0);
            }
            for head in kv_head * group..(kv_head + 1) * group {
                for query in (0..segment.query_len).step_by(QUERIES) {
                    let first = query == 0 && head == kv_head * group;
                    query_block::<S>(job, segment, head, query, first, scratch);
                }
            }
        }
    }
}

/// Zeroes the gradients of a segment's keys from `key` on.
#[inline(always)]
unsafe fn clear_keys(job: &Backward<'_>, segment: &Segment, kv_head: usize, key: usize) {
    let head_dim = job.attention.head_dim;
    for view in [job.grads.key, job.grads.value] {
        let rows = (
            view.at(segment.key_start + key, kv_head, head_dim),
            view.stride,
        );
        clear_rows(rows, segment.key_len - key, head_dim);
    }
}

/// Scratch of a block of queries.
#[derive(Clone, Copy)]
struct Scratch {
    /// log₂ Σ 2^score, +∞ where a query saw no key, so that its weights come out as 0.
    log_sum: *mut f32,
    /// Σ dout·out.
    delta: *mut f32,
    /// Queries, transposed and scaled for powers of two.
    packed: *mut f32,
    /// Gradient of the output, transposed.
    packed_dout: *mut f32,
    weights: *mut f32,
    dscores: *mut f32,
    other: *mut f32,
}

impl Scratch {
    #[inline(always)]
    unsafe fn new(start: *mut f32, head_dim: usize) -> Self {
        let packed = start.add(2 * QUERIES);
        let weights = packed.add(2 * QUERIES * head_dim);
        Scratch {
            log_sum: start,
            delta: start.add(QUERIES),
            packed,
            packed_dout: packed.add(QUERIES * head_dim),
            weights,
            dscores: weights.add(QUERIES * KEYS),
            other: weights.add(2 * QUERIES * KEYS),
        }
    }
}

/// What the queries from `query` on contribute; `first` if they are the first to reach the
/// segment's keys, whose gradients they then overwrite.
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Backward<'_>,
    segment: &Segment,
    head: usize,
    query: usize,
    first: bool,
    scratch: *mut f32,
) {
    let head_dim = job.attention.head_dim;
    let scratch = Scratch::new(scratch, head_dim);
    let block = Tile::block(job.attention, segment, query);
    let row = segment.query_start + query;
    let visible = block.visible_keys();
    if first {
        clear_keys(job, segment, job.attention.kv_head(head), visible);
    }
    if visible == 0 {
        let view = job.grads.query;
        let dquery = (view.at(row, head, head_dim), view.stride);
        return clear_rows(dquery, block.queries, head_dim);
    }
    let queries = job
        .views
        .query
        .rows_from(row, head, head_dim, block.queries);
    let scale = job.attention.scale * LOG2_E;
    pack::<S>(queries, head_dim, scale, scratch.packed, block.row);
    let dout = job.dout.rows_from(row, head, head_dim, block.queries);
    pack::<S>(dout, head_dim, 1.0, scratch.packed_dout, block.row);
    row_statistics::<S>(job, row, head, &block, &scratch);
    for key in (0..visible).step_by(KEYS) {
        let tile = block.at_key(key);
        tile_gradients::<S>(job, segment, head, &tile, first, &scratch);
    }
}

/// Fills `log_sum` and `delta`.
#[inline(always)]
unsafe fn row_statistics<S: Lanes>(
    job: &Backward<'_>,
    row: usize,
    head: usize,
    block: &Tile,
    scratch: &Scratch,
) {
    let head_dim = job.attention.head_dim;
    let whole = head_dim / S::LANES * S::LANES;
    for lane in 0..block.queries {
        let lse = *job.lse.at(row + lane, head, 1);
        let none = lse == f32::NEG_INFINITY;
        *scratch.log_sum.add(lane) = if none { f32::INFINITY } else { lse * LOG2_E };
        let out = job.out.at(row + lane, head, head_dim);
        let dout = job.dout.at(row + lane, head, head_dim);
        let mut sum = S::splat(0.0);
        for d in (0..whole).step_by(S::LANES) {
            sum = S::mul_add(S::load(out.add(d)), S::load(dout.add(d)), sum);
        }
        if whole < head_dim {
            let out = S::load_first(out.add(whole), head_dim - whole);
            let dout = S::load_first(dout.add(whole), head_dim - whole);
            sum = S::mul_add(out, dout, sum);
        }
        *scratch.delta.add(lane) = S::sum(sum);
    }
    for lane in block.queries..block.row {
        *scratch.log_sum.add(lane) = f32::INFINITY;
        *scratch.delta.add(lane) = 0.0;
    }
}

/// What a tile contributes to the gradients of its queries, keys and values.
#[inline(always)]
unsafe fn tile_gradients<S: Lanes>(
    job: &Backward<'_>,
    segment: &Segment,
    head: usize,
    tile: &Tile,
    first: bool,
    scratch: &Scratch,
) {
    let attention = job.attention;
    let (head_dim, kv_head) = (attention.head_dim, attention.kv_head(head));
    let query_row = segment.query_start + tile.query;
    let key_row = segment.key_start + tile.key;
    let Scratch {
        weights,
        dscores,
        other,
        ..
    } = *scratch;
    let by_key = if first { Store::Overwrite } else { Store::Add };
    let by_query = if tile.key == 0 {
        Store::Overwrite
    } else {
        Store::Add
    };

    let keys = job.views.key.read(key_row, kv_head, head_dim);
    tile.times_packed::<S>(keys, scratch.packed, head_dim, weights);
    if let Some(bias) = &attention.bias {
        tile.add_bias::<S>(weights, bias, head, LOG2_E, other);
    }
    tile.weights::<S>(weights, scratch.log_sum);

    // dV = Wᵀ·dO, with W after dropout; `dscores` is free to hold it.
    let mut dropped = weights;
    if let Some(dropout) = &attention.dropout {
        dropped = dscores;
        tile.fill_keep(other, dropout, head, segment.query_start);
        tile.product::<S>(weights, other, dropped);
    }
    let dout = job.dout.read(query_row, head, head_dim);
    let dvalue = job.grads.value.write(key_row, kv_head, head_dim);
    tile.sum_over_queries::<S>(dropped, dout, dvalue, head_dim, by_key);

    // dW = dO·Vᵀ, and through the softmax to dS.
    let values = job.views.value.read(key_row, kv_head, head_dim);
    tile.times_packed::<S>(values, scratch.packed_dout, head_dim, dscores);
    let keep = attention.dropout.map(|_| other.cast_const());
    let scale = if job.dbias.is_none() {
        attention.scale
    } else {
        1.0
    };
    tile.softmax_backward::<S>(weights, dscores, keep, scratch.delta, scale);
    if let (Some(dbias), Some(bias)) = (job.dbias, &attention.bias) {
        tile.add_transposed(
            dscores,
            dbias.0.wrapping_add(bias.at(head, tile.query, tile.key)),
            bias.max_key_len,
        );
        tile.scale::<S>(dscores, attention.scale);
    }

    // dK = dSᵀ·Q and dQ = dS·K, of dS times the scale of the scores.
    let queries = job.views.query.read(query_row, head, head_dim);
    let dkey = job.grads.key.write(key_row, kv_head, head_dim);
    tile.sum_over_queries::<S>(dscores, queries, dkey, head_dim, by_key);
    let dquery = job.grads.query.write(query_row, head, head_dim);
    tile.sum_over_keys::<S>(dscores, keys, dquery, head_dim, by_query);
}
