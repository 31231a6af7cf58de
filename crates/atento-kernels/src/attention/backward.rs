//! Backward pass: the same tiles as the forward, weights recomputed from the saved log-sum-exp.
//!
//! # Safety
//! As in [`lanes`](super::lanes); the views of a [`Backward`] must hold the segments' rows.
#![allow(unsafe_op_in_unsafe_fn)]

use std::f32::consts::LOG2_E;

use super::lanes::{Lanes, instantiate};
use super::layout::{SharedMut, View, Views};
use super::product::Store;
use super::scratch::{clear_rows, copy_rows, gather_scratch, gathered, pack, worth_gathering};
use super::split::Part;
use super::tile::{KEYS, QUERIES, SCORES, Tile};
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
    let block = 2 * QUERIES + 3 * SCORES + 2 * QUERIES * attention.head_dim;
    block + gather_scratch(attention, 4)
}

instantiate! {
    /// Runs a part of the backward pass, whose heads are key and value heads.
    fn backward_at = backward(job: &Backward<'_>, part: &Part, scratch: *mut f32)
}

#[inline(always)]
unsafe fn backward<S: Lanes>(job: &Backward<'_>, part: &Part, scratch: *mut f32) {
    for segment in &job.attention.segments[part.segments.clone()] {
        for kv_head in part.heads.clone() {
            key_head::<S>(job, segment, kv_head, scratch);
        }
    }
}

/// A head's keys and values, and their gradients.
#[derive(Clone, Copy)]
struct KeyHead {
    key: View,
    value: View,
    dkey: View,
    dvalue: View,
}

/// The gradients of a key and value head and of the query heads that use it.
#[inline(always)]
unsafe fn key_head<S: Lanes>(job: &Backward<'_>, segment: &Segment, kv_head: usize, scratch: *mut f32) {
    let (head_dim, keys) = (job.attention.head_dim, segment.key_len);
    let group = job.attention.n_heads / job.attention.n_kv_heads;
    let rows = |view: &View| view.head(segment.key_start, kv_head, head_dim, keys);
    let place = KeyHead {
        key: rows(&job.views.key),
        value: rows(&job.views.value),
        dkey: rows(&job.grads.key),
        dvalue: rows(&job.grads.value),
    };
    if segment.query_len == 0 {
        clear_rows(place.dkey.row_mut(0), keys, head_dim);
        clear_rows(place.dvalue.row_mut(0), keys, head_dim);
    }
    let gathers = worth_gathering(segment.query_len.div_ceil(QUERIES) * group, keys);
    let (mut used, mut scratch) = (place, scratch);
    if gathers {
        let copy = |i: usize| gathered(keys, head_dim, scratch.wrapping_add(i * keys * head_dim));
        used = KeyHead { key: copy(0), value: copy(1), dkey: copy(2), dvalue: copy(3) };
        copy_rows::<S>(place.key, used.key, head_dim);
        copy_rows::<S>(place.value, used.value, head_dim);
        scratch = scratch.add(4 * keys * head_dim);
    }
    for head in kv_head * group..(kv_head + 1) * group {
        // Keys before this one have their gradients begun by earlier queries.
        let mut begun = if head == kv_head * group { 0 } else { keys };
        for query in (0..segment.query_len).step_by(QUERIES) {
            let block = Tile::block(job.attention, segment, query);
            query_block::<S>(job, segment, head, &block, &used, begun, scratch);
            begun = begun.max(block.visible_keys());
        }
    }
    if gathers {
        copy_rows::<S>(used.dkey, place.dkey, head_dim);
        copy_rows::<S>(used.dvalue, place.dvalue, head_dim);
    }
}

/// A block's operands and its scratch.
#[derive(Clone, Copy)]
struct Block {
    query: View,
    dout: View,
    dquery: View,
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

impl Block {
    #[inline(always)]
    unsafe fn new<S: Lanes>(
        job: &Backward<'_>,
        segment: &Segment,
        head: usize,
        tile: &Tile,
        scratch: *mut f32,
    ) -> Self {
        let head_dim = job.attention.head_dim;
        let row = segment.query_start + tile.query;
        let rows = |view: &View| view.head(row, head, head_dim, tile.queries);
        let weights = scratch.add(2 * QUERIES);
        let packed = weights.add(3 * SCORES);
        let block = Block {
            query: rows(&job.views.query),
            dout: rows(&job.dout),
            dquery: rows(&job.grads.query),
            log_sum: scratch,
            delta: scratch.add(QUERIES),
            packed,
            packed_dout: packed.add(QUERIES * head_dim),
            weights,
            dscores: weights.add(SCORES),
            other: weights.add(2 * SCORES),
        };
        let scale = job.attention.scale * LOG2_E;
        pack::<S>(block.query, head_dim, scale, block.packed, tile.row);
        pack::<S>(block.dout, head_dim, 1.0, block.packed_dout, tile.row);
        row_statistics::<S>(job, row, head, tile, &block);
        block
    }
}

/// What a block of queries contributes; the gradients of keys from `begun` on are overwritten.
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Backward<'_>,
    segment: &Segment,
    head: usize,
    tile: &Tile,
    keys: &KeyHead,
    begun: usize,
    scratch: *mut f32,
) {
    let block = Block::new::<S>(job, segment, head, tile, scratch);
    let visible = tile.visible_keys();
    if visible == 0 {
        clear_rows(block.dquery.row_mut(0), tile.queries, job.attention.head_dim);
    }
    for key in (0..visible).step_by(KEYS) {
        let tile = tile.at_key(key);
        let fresh = begun.saturating_sub(key);
        tile_gradients::<S>(job, segment, head, &tile, &block, keys, fresh);
    }
}

/// Fills `log_sum` and `delta`.
#[inline(always)]
unsafe fn row_statistics<S: Lanes>(job: &Backward<'_>, row: usize, head: usize, tile: &Tile, block: &Block) {
    let head_dim = job.attention.head_dim;
    let whole = head_dim / S::LANES * S::LANES;
    for lane in 0..tile.queries {
        let lse = *job.lse.at(row + lane, head, 1);
        let none = lse == f32::NEG_INFINITY;
        *block.log_sum.add(lane) = if none { f32::INFINITY } else { lse * LOG2_E };
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
        *block.delta.add(lane) = S::sum(sum);
    }
    for lane in tile.queries..tile.row {
        *block.log_sum.add(lane) = f32::INFINITY;
        *block.delta.add(lane) = 0.0;
    }
}

/// What a tile contributes to the gradients of its queries, keys and values; those of the keys
/// from `fresh` of the tile on are overwritten.
#[inline(always)]
unsafe fn tile_gradients<S: Lanes>(
    job: &Backward<'_>,
    segment: &Segment,
    head: usize,
    tile: &Tile,
    block: &Block,
    keys: &KeyHead,
    fresh: usize,
) {
    let (attention, head_dim) = (job.attention, job.attention.head_dim);
    let &Block { weights, dscores, other, .. } = block;
    let (key, value) = (keys.key.row(tile.key), keys.value.row(tile.key));
    let (dkey, dvalue) = (keys.dkey.row_mut(tile.key), keys.dvalue.row_mut(tile.key));

    tile.times_packed::<S>(key, block.packed, head_dim, weights);
    if let Some(bias) = &attention.bias {
        tile.add_bias::<S>(weights, bias, head, LOG2_E, other);
    }
    tile.weights::<S>(weights, block.log_sum);

    // dV = Wᵀ·dO, with W after dropout; `dscores` is free to hold it.
    let mut dropped = weights;
    if let Some(dropout) = &attention.dropout {
        dropped = dscores;
        tile.fill_keep(other, dropout, head, segment.query_start);
        tile.product::<S>(weights, other, dropped);
    }
    tile.sum_over_queries::<S>(dropped, block.dout.row(0), dvalue, head_dim, fresh);

    // dW = dO·Vᵀ, and through the softmax to dS.
    tile.times_packed::<S>(value, block.packed_dout, head_dim, dscores);
    let keep = attention.dropout.map(|_| other.cast_const());
    let scale = if job.dbias.is_none() { attention.scale } else { 1.0 };
    tile.softmax_backward::<S>(weights, dscores, keep, block.delta, scale);
    if let (Some(dbias), Some(bias)) = (job.dbias, &attention.bias) {
        let to = dbias.0.wrapping_add(bias.at(head, tile.query, tile.key));
        tile.add_transposed(dscores, to, bias.max_key_len);
        tile.scale::<S>(dscores, attention.scale);
    }

    // dK = dSᵀ·Q and dQ = dS·K, of dS times the scale of the scores.
    tile.sum_over_queries::<S>(dscores, block.query.row(0), dkey, head_dim, fresh);
    let by_query = if tile.key == 0 { Store::Overwrite } else { Store::Add };
    tile.sum_over_keys::<S>(dscores, key, block.dquery.row_mut(0), head_dim, by_query);
}
