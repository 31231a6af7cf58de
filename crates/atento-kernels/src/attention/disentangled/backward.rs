//! Backward pass: as [that of plain attention](super::super::backward), with the gradients of the relative terms.
//!
//! A part takes some heads of all segments, in order, so the sums over pairs that share a row of a table have one order on
//! any number of threads. They are summed by relative position first, in scratch.
//!
//! # Safety
//! As there. The relative tables and their gradients are rows of `head_dim` numbers for each head, as many as the positions
//! name. No other thread touches the gradients of the part's heads.

use super::super::Segment;
use super::super::backward::{BLOCK_SCRATCH, Backward as Plain, Block, KeyHead, gradients_of_scores};
use super::super::lanes::{Lanes, instantiate};
use super::super::layout::View;
use super::super::scratch::{clear_rows, copy_rows, gathered, scratch_len};
use super::super::split::Part;
use super::super::tile::{KEYS, QUERIES, Tile};
use super::forward::Relatives;
use super::scores::{BAND_SCORES, BORDERED, TableGradients, Tables, relative_gradients, scores};
use super::tables::{Positions, Table};

/// Operands of the backward pass.
pub(super) struct Backward<'a> {
    pub plain: Plain<'a>,
    pub relatives: Relatives,
    /// `[2·span, H·D]`, added to.
    pub dkeys: Option<View>,
    /// `[2·span, H·D]`, added to.
    pub dqueries: Option<View>,
}

/// Numbers of scratch that a part needs: a head's tables and their gradients, gathered keys, values and their gradients,
/// then what a block uses.
#[track_caller]
pub(super) fn backward_scratch(job: &Backward<'_>) -> usize {
    let attention = job.plain.attention;
    let gradients = usize::from(job.dkeys.is_some()) + usize::from(job.dqueries.is_some());
    let entries = 2 * gradients * job.relatives.positions.reach(attention.segments);
    let rows = 2 * QUERIES + job.relatives.scratch_rows(attention.segments) + entries;
    scratch_len(attention, BAND_SCORES + BORDERED + BLOCK_SCRATCH, rows, 4)
}

instantiate! {
    /// Runs a part of the backward pass, which has all segments.
    ///
    /// # Safety
    /// The part's heads are heads of the attention, and `scratch` is as long as [`backward_scratch`] says.
    fn backward_at = backward(job: &Backward<'_>, part: &Part, scratch: *mut f32)
}

/// # Safety
/// As [`backward_at`].
#[inline(always)]
unsafe fn backward<S: Lanes>(job: &Backward<'_>, part: &Part, scratch: *mut f32) {
    let (attention, positions) = (job.plain.attention, &job.relatives.positions);
    let (head_dim, segments) = (attention.head_dim, attention.segments);
    let entries = 2 * positions.reach(segments);
    for head in part.heads.clone() {
        // SAFETY: promised by the caller; the scratch has a row for each entry of a table that has a gradient.
        unsafe {
            let (tables, mut scratch) = job.relatives.tables::<S>(attention, segments, head, scratch);
            let mut sums = |wanted: Option<View>| {
                wanted.map(|_| {
                    let rows = gathered(entries, head_dim, scratch);
                    clear_rows(rows.row_mut(0), entries, head_dim);
                    scratch = scratch.add(entries * head_dim);
                    rows
                })
            };
            let sums = TableGradients { keys: sums(job.dkeys), queries: sums(job.dqueries) };
            for segment in segments {
                segment_head::<S>(&job.plain, segment, head, &tables, &sums, scratch);
            }
            let gradients = [(tables.keys, sums.keys, job.dkeys), (tables.queries, sums.queries, job.dqueries)];
            for (table, sums, to) in gradients {
                if let (Some(table), Some(sums), Some(to)) = (table, sums, to) {
                    add_entries(&table, positions, sums, to.head(0, head, head_dim, to.rows), head_dim);
                }
            }
        }
    }
}

/// Adds the gradients of a table's entries to those of their rows.
///
/// # Safety
/// `sums` has a row of `head_dim` numbers for each entry, and `to` one for each row that the positions name.
#[inline(always)]
unsafe fn add_entries(table: &Table, positions: &Positions, sums: View, to: View, head_dim: usize) {
    for entry in 0..sums.rows {
        let (from, to) = (sums.row(entry).0, to.row_mut(positions.row(table.position(entry))).0);
        for d in 0..head_dim {
            // SAFETY: promised by the caller.
            unsafe { *to.add(d) += *from.add(d) };
        }
    }
}

/// The gradients of a head of a segment, and what it contributes to those of the tables.
///
/// # Safety
/// `tables` are the head's, `sums` have a row for each of their entries, and `scratch` is as long as [`backward_scratch`]
/// says, but for them.
#[inline(always)]
unsafe fn segment_head<S: Lanes>(
    job: &Plain<'_>,
    segment: &Segment,
    head: usize,
    tables: &Tables,
    sums: &TableGradients,
    scratch: *mut f32,
) {
    let (head_dim, keys) = (job.attention.head_dim, segment.key_len);
    let rows = |view: &View| view.head(segment.key_start, head, head_dim, keys);
    let place = KeyHead {
        key: rows(&job.views.key),
        value: rows(&job.views.value),
        dkey: rows(&job.grads.key),
        dvalue: rows(&job.grads.value),
    };
    let gathers = keys > KEYS;
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
    for query in (0..segment.query_len).step_by(QUERIES) {
        // The first block begins the gradients of all keys.
        let begun = if query == 0 { 0 } else { keys };
        // SAFETY: `used` holds the segment's keys, in place or gathered; after them, the scratch has room for what a block
        // needs.
        unsafe { query_block::<S>(job, segment, head, query, &used, begun, tables, sums, scratch) };
    }
    if gathers {
        // SAFETY: as for the keys and values, in the other direction.
        unsafe {
            copy_rows::<S>(used.dkey, place.dkey, head_dim);
            copy_rows::<S>(used.dvalue, place.dvalue, head_dim);
        }
    }
}

/// What a block of queries contributes, from `query` on; the gradients of keys from `begun` on are overwritten.
///
/// # Safety
/// `keys` are the segment's, and `scratch` is room for scores of a band, bordered scores and a [`Block`].
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Plain<'_>,
    segment: &Segment,
    head: usize,
    query: usize,
    keys: &KeyHead,
    begun: usize,
    tables: &Tables,
    sums: &TableGradients,
    scratch: *mut f32,
) {
    let head_dim = job.attention.head_dim;
    let block_tile = Tile::block(job.attention, segment, query);
    // SAFETY: promised by the caller; the tiles' keys are the segment's, whose positions the tables reach. A tile's own
    // gradients begin those of its keys and queries.
    unsafe {
        let (band, bordered) = (scratch, scratch.add(BAND_SCORES));
        let block = Block::new::<S>(job, segment, head, &block_tile, bordered.add(BORDERED));
        for key in (0..segment.key_len).step_by(KEYS) {
            let tile = block_tile.at_key(key);
            scores::<S>(&tile, head_dim, block.packed, keys.key.row(key), tables, block.weights, band);
            gradients_of_scores::<S>(job, segment, head, &tile, &block, keys, begun.saturating_sub(key));
            relative_gradients::<S>(&tile, head_dim, &block, keys, tables, sums, bordered);
        }
    }
}
