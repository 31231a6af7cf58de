//! Backward pass: the same tiles as the forward, weights recomputed from the saved log-sum-exp.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says, and that the job is valid, as [`Backward`] says; `segment` is one of
//! its segments, `head` one of its heads, and `tile` of the segment's queries. No other thread touches the gradients of the
//! part, or of the segment and the head.

use std::f32::consts::LOG2_E;

use super::lanes::{Lanes, instantiate};
use super::layout::{SharedMut, View, Views};
use super::product::Store;
use super::scratch::{clear_rows, copy_rows, gathered, pack, scratch_len, worth_gathering};
use super::split::Part;
use super::tile::{KEYS, QUERIES, SCORES, Tile};
use super::{Attention, Segment};

/// Operands of the backward pass.
///
/// # Safety
/// A job is valid if the attention has passed its checks, and the views hold every row that a segment names: in `out`,
/// `dout` and the queries of `views` and `grads` `head_dim` numbers for each head, in their keys and values as many for each
/// key and value head, and in `lse` a number for each head. `dbias` is as long as the bias.
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

/// Numbers of scratch that a part needs: gathered keys, values and their gradients, then what a [`Block`] uses.
#[track_caller]
pub(super) fn backward_scratch(attention: &Attention<'_>) -> usize {
    scratch_len(attention, BLOCK_SCRATCH, 2 * QUERIES, 4)
}

/// Numbers of scratch of a block of queries, besides `2 · QUERIES · head_dim`.
pub(super) const BLOCK_SCRATCH: usize = 2 * QUERIES + 3 * SCORES;

instantiate! {
    /// Runs a part of the backward pass, whose heads are key and value heads.
    ///
    /// # Safety
    /// The part's heads are key and value heads of the attention, and `scratch` is as long as [`backward_scratch`] says.
    fn backward_at = backward(job: &Backward<'_>, part: &Part, scratch: *mut f32)
}

/// # Safety
/// As [`backward_at`].
#[inline(always)]
unsafe fn backward<S: Lanes>(job: &Backward<'_>, part: &Part, scratch: *mut f32) {
    for segment in &job.attention.segments[part.segments.clone()] {
        for kv_head in part.heads.clone() {
            // SAFETY: promised by the caller.
            unsafe { key_head::<S>(job, segment, kv_head, scratch) };
        }
    }
}

/// A head's keys and values, and their gradients: a row for each of a segment's keys.
#[derive(Clone, Copy)]
pub(super) struct KeyHead {
    pub key: View,
    pub value: View,
    pub dkey: View,
    pub dvalue: View,
}

/// The gradients of a key and value head and of the query heads that use it.
///
/// # Safety
/// `scratch` is as long as [`backward_scratch`] says.
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
    let gathers = worth_gathering(segment.query_len.div_ceil(QUERIES) * group, keys);
    let (mut used, mut scratch) = (place, scratch);
    if gathers {
        let copy = |i: usize| gathered(keys, head_dim, scratch.wrapping_add(i * keys * head_dim));
        used = KeyHead { key: copy(0), value: copy(1), dkey: copy(2), dvalue: copy(3) };
        // SAFETY: the views hold the segment's keys, and the scratch begins with room for four copies of as many rows.
        unsafe {
            copy_rows::<S>(place.key, used.key, head_dim);
            copy_rows::<S>(place.value, used.value, head_dim);
            scratch = scratch.add(4 * keys * head_dim);
        }
    }
    // Keys before the first block's are seen by no query.
    let unseen = if segment.query_len == 0 { keys } else { Tile::block(job.attention, segment, 0).first_key() };
    // SAFETY: the caller promises a valid job, whose gradients hold a row for each of the segment's keys, as do gathered ones.
    unsafe {
        clear_rows(used.dkey.row_mut(0), unseen, head_dim);
        clear_rows(used.dvalue.row_mut(0), unseen, head_dim);
    }
    for head in kv_head * group..(kv_head + 1) * group {
        // Keys before this one have their gradients begun by earlier queries.
        let mut begun = if head == kv_head * group { unseen } else { keys };
        for query in (0..segment.query_len).step_by(QUERIES) {
            let block = Tile::block(job.attention, segment, query);
            // SAFETY: `used` holds the segment's keys, in place or gathered; after them, the scratch has room for what a
            // block needs. `head` uses `kv_head`, so it is one of the attention's.
            unsafe { query_block::<S>(job, segment, head, &block, &used, begun, scratch) };
            begun = begun.max(block.visible_keys());
        }
    }
    if gathers {
        // SAFETY: as for the keys and values, in the other direction.
        unsafe {
            copy_rows::<S>(used.dkey, place.dkey, head_dim);
            copy_rows::<S>(used.dvalue, place.dvalue, head_dim);
        }
    }
}

/// A block's operands and its scratch.
///
/// Made by [`new`](Self::new) only, so that `log_sum` and `delta` are [`QUERIES`] numbers each, `packed` and `packed_dout`
/// `head_dim` times as many, and `weights`, `dscores` and `other` [`SCORES`] each.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub query: View,
    dout: View,
    pub dquery: View,
    /// log₂ Σ 2^score, +∞ where a query saw no key, so that its weights come out as 0.
    log_sum: *mut f32,
    /// Σ dout·out.
    delta: *mut f32,
    /// Queries, transposed and scaled for powers of two.
    pub packed: *mut f32,
    /// Gradient of the output, transposed.
    packed_dout: *mut f32,
    pub weights: *mut f32,
    pub dscores: *mut f32,
    other: *mut f32,
}

impl Block {
    /// Packs the block's operands and fills its statistics.
    ///
    /// # Safety
    /// `scratch` is `BLOCK_SCRATCH + 2 · QUERIES · head_dim` numbers, for as long as the block is used.
    #[inline(always)]
    pub unsafe fn new<S: Lanes>(
        job: &Backward<'_>,
        segment: &Segment,
        head: usize,
        tile: &Tile,
        scratch: *mut f32,
    ) -> Self {
        let head_dim = job.attention.head_dim;
        let row = segment.query_start + tile.query;
        let rows = |view: &View| view.head(row, head, head_dim, tile.queries);
        // SAFETY: the caller promises the scratch, whose parts lie one after the other and end at its end.
        let block = unsafe {
            let weights = scratch.add(2 * QUERIES);
            let packed = weights.add(3 * SCORES);
            Block {
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
            }
        };
        let scale = job.attention.scale * LOG2_E;
        // SAFETY: the caller promises a valid job, which holds the block's rows; the packed rows are `tile.row` long, at most
        // `QUERIES`, and no fewer than the block's queries rounded up to whole vectors.
        unsafe {
            pack::<S>(block.query, head_dim, scale, block.packed, tile.row);
            pack::<S>(block.dout, head_dim, 1.0, block.packed_dout, tile.row);
            row_statistics::<S>(job, row, head, tile, &block);
        }
        block
    }
}

/// What a block of queries contributes; the gradients of keys from `begun` on are overwritten.
///
/// # Safety
/// `keys` are the segment's, and `scratch` is as for [`Block::new`].
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
    // SAFETY: promised by the caller; the block's views hold its queries' rows, and its tiles' keys are the segment's.
    unsafe {
        let block = Block::new::<S>(job, segment, head, tile, scratch);
        let (first, visible) = (tile.first_key(), tile.visible_keys());
        if visible == 0 {
            clear_rows(block.dquery.row_mut(0), tile.queries, job.attention.head_dim);
        }
        for key in (first..visible).step_by(KEYS) {
            let tile = tile.at_key(key);
            let fresh = begun.saturating_sub(key);
            tile_gradients::<S>(job, segment, head, &tile, &block, keys, fresh);
        }
    }
}

/// Fills `log_sum` and `delta`.
///
/// # Safety
/// `row` is that of the block's first query, and `block` has room for its `tile.row` numbers.
#[inline(always)]
unsafe fn row_statistics<S: Lanes>(job: &Backward<'_>, row: usize, head: usize, tile: &Tile, block: &Block) {
    let head_dim = job.attention.head_dim;
    let whole = head_dim / S::LANES * S::LANES;
    for lane in 0..tile.queries {
        // SAFETY: `row + lane` is a query's row, which the caller promises `out`, `dout` and `lse` to hold: of the first two,
        // `head_dim` numbers are read, the whole vectors and the rest. `lane` is within `tile.row`.
        unsafe {
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
    }
    for lane in tile.queries..tile.row {
        // SAFETY: `lane` is within `tile.row`.
        unsafe {
            *block.log_sum.add(lane) = f32::INFINITY;
            *block.delta.add(lane) = 0.0;
        }
    }
}

/// What a tile contributes to the gradients of its queries, keys and values; those of the keys
/// from `fresh` of the tile on are overwritten.
///
/// # Safety
/// `tile` is of the block's queries, and `keys` are the segment's.
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
    let attention = job.attention;
    // SAFETY: a block's scratch is as long as scores, or as `head_dim` rows of a number a query. The tile's keys are the
    // segment's, whose rows `keys` hold. The attention's checks passed: `head_dim` fits 32 bits, and the bias covers the
    // segment and the head.
    unsafe {
        tile.times_packed::<S>(keys.key.row(tile.key), block.packed, attention.head_dim, block.weights);
        if let Some(bias) = &attention.bias {
            tile.add_bias::<S>(block.weights, bias, head, LOG2_E, block.other);
        }
        gradients_of_scores::<S>(job, segment, head, tile, block, keys, fresh);
    }
}

/// The same from the tile's scores in powers of two, which are in the block's `weights`; the gradients of the scores, times
/// their scale, are left in its `dscores`.
///
/// # Safety
/// As [`tile_gradients`].
#[inline(always)]
pub(super) unsafe fn gradients_of_scores<S: Lanes>(
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

    // SAFETY: a block's scratch is as long as scores, or as a number a query, or as `head_dim` rows of them. Its views hold
    // the tile's queries, `key` to `dvalue` the tile's keys, as these are the segment's. The attention's checks passed:
    // `head_dim` fits 32 bits, and the bias covers the segment and the head, as does `dbias`, which is as long.
    unsafe {
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
        let by_query = if tile.key == tile.first_key() { Store::Overwrite } else { Store::Add };
        tile.sum_over_keys::<S>(dscores, key, block.dquery.row_mut(0), head_dim, by_query);
    }
}
