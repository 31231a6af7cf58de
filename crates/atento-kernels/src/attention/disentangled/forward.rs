//! Forward pass: as [that of plain attention](super::super::forward), with the scores of [`scores`](super::scores).
//!
//! # Safety
//! As there. The relative tables are rows of `head_dim` numbers for each head, as many as the positions name.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::super::forward::{BLOCK_STATISTICS, Forward as Plain, Statistics};
use super::super::lanes::{Lanes, instantiate};
use super::super::layout::View;
use super::super::scratch::{copy_rows, gathered, pack, scratch_len};
use super::super::split::Part;
use super::super::tile::{KEYS, QUERIES, SCORES, Tile};
use super::super::{Attention, Segment};
use super::scores::{BAND_SCORES, Tables, scores};
use super::tables::{Positions, Table};

/// The relative tables, `[2·span, H·D]`, and the rows of positions.
pub(super) struct Relatives {
    pub positions: Positions,
    pub keys: Option<View>,
    pub queries: Option<View>,
}

impl Relatives {
    /// Numbers of scratch for the tables of a head, in rows of `head_dim`.
    pub fn scratch_rows(&self, segments: &[Segment]) -> usize {
        let tables = usize::from(self.keys.is_some()) + usize::from(self.queries.is_some());
        tables * Table::scratch_rows(self.positions.reach(segments))
    }

    /// The tables of a head for some of the segments, and the scratch after them.
    ///
    /// # Safety
    /// The relative tables have the head; `scratch` is as long as [`scratch_rows`](Self::scratch_rows) says.
    #[inline(always)]
    pub unsafe fn tables<S: Lanes>(
        &self,
        attention: &Attention<'_>,
        segments: &[Segment],
        head: usize,
        scratch: *mut f32,
    ) -> (Tables, *mut f32) {
        let (head_dim, positions, mut scratch) = (attention.head_dim, &self.positions, scratch);
        let reach = positions.reach(segments);
        let mut tables = Tables { keys: None, queries: None };
        // SAFETY: the caller promises the head's rows of the tables that there are, and scratch for each.
        unsafe {
            if let Some(view) = self.keys {
                let view = view.head(0, head, head_dim, view.rows);
                // What queries meet is scaled with the queries.
                tables.keys = Some(Table::new::<S>(view, head_dim, positions, reach, true, 1.0, scratch));
                scratch = scratch.add(Table::scratch_rows(reach) * head_dim);
            }
            if let Some(view) = self.queries {
                let (view, scale) = (view.head(0, head, head_dim, view.rows), attention.scale * LOG2_E);
                tables.queries = Some(Table::new::<S>(view, head_dim, positions, reach, false, scale, scratch));
                scratch = scratch.add(Table::scratch_rows(reach) * head_dim);
            }
        }
        (tables, scratch)
    }
}

/// Operands of the forward pass.
pub(super) struct Forward<'a> {
    pub plain: Plain<'a>,
    pub relatives: Relatives,
}

const BLOCK_SCRATCH: usize = BLOCK_STATISTICS + 2 * SCORES + BAND_SCORES;

/// Numbers of scratch that a part needs: a head's tables, gathered keys and values, then what `query_block` uses.
#[track_caller]
pub(super) fn forward_scratch(job: &Forward<'_>) -> usize {
    let attention = job.plain.attention;
    scratch_len(attention, BLOCK_SCRATCH, QUERIES + job.relatives.scratch_rows(attention.segments), 2)
}

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
    let attention = job.plain.attention;
    let segments = &attention.segments[part.segments.clone()];
    for head in part.heads.clone() {
        // SAFETY: promised by the caller; the tables of some segments reach no farther than those of all.
        unsafe {
            let (tables, scratch) = job.relatives.tables::<S>(attention, segments, head, scratch);
            for segment in segments {
                query_blocks::<S>(job, segment, head, &tables, part.blocks.clone(), scratch);
            }
        }
    }
}

/// The outputs of a range of query blocks of a head.
///
/// # Safety
/// `tables` are the head's, and `scratch` is as long as [`forward_scratch`] says, but for them.
#[inline(always)]
unsafe fn query_blocks<S: Lanes>(
    job: &Forward<'_>,
    segment: &Segment,
    head: usize,
    tables: &Tables,
    blocks: Range<usize>,
    scratch: *mut f32,
) {
    let (head_dim, keys) = (job.plain.attention.head_dim, segment.key_len);
    let blocks = blocks.start..blocks.end.min(segment.query_len.div_ceil(QUERIES));
    let views = &job.plain.views;
    let [mut key, mut value] = [views.key, views.value].map(|view| view.head(segment.key_start, head, head_dim, keys));
    let mut scratch = scratch;
    if blocks.len() > 1 {
        for rows in [&mut key, &mut value] {
            let copy = gathered(keys, head_dim, scratch);
            // SAFETY: the views hold the segment's keys, and the scratch begins with room for two copies of as many rows.
            unsafe {
                copy_rows::<S>(*rows, copy, head_dim);
                scratch = scratch.add(keys * head_dim);
            }
            *rows = copy;
        }
    }
    for block in blocks {
        let block = Tile::block(job.plain.attention, segment, block * QUERIES);
        // SAFETY: `key` and `value` hold the segment's rows; after gathered ones, the scratch has room for what a block needs.
        unsafe { query_block::<S>(&job.plain, segment, head, &block, tables, key, value, scratch) };
    }
}

/// The outputs of a block of queries, over all their keys.
///
/// # Safety
/// `tables` are the head's, `key` and `value` the segment's rows, and `scratch` is `BLOCK_SCRATCH + QUERIES · head_dim`
/// numbers.
#[inline(always)]
unsafe fn query_block<S: Lanes>(
    job: &Plain<'_>,
    segment: &Segment,
    head: usize,
    block: &Tile,
    tables: &Tables,
    key: View,
    value: View,
    scratch: *mut f32,
) {
    let (attention, head_dim) = (job.attention, job.attention.head_dim);
    let row = segment.query_start + block.query;
    // SAFETY: the caller promises the scratch. It is, one after the other, the statistics of up to `QUERIES` queries, two
    // times scores, those of a band, and `QUERIES` times `head_dim` numbers for the packed queries. The views hold the
    // block's rows of queries, outputs and `lse`, and the rows of the segment's keys and values. The attention's checks
    // passed: `head_dim` fits 32 bits. The head's tables reach all positions of the segment.
    unsafe {
        let statistics = Statistics::begin(scratch, block.row);
        let weights = scratch.add(BLOCK_STATISTICS);
        let other = weights.add(SCORES);
        let band = other.add(SCORES);
        let packed = band.add(BAND_SCORES);

        // Softmax runs on powers of two.
        let query = job.views.query.head(row, head, head_dim, block.queries);
        pack::<S>(query, head_dim, attention.scale * LOG2_E, packed, block.row);
        let out = job.out.head(row, head, head_dim, block.queries).row_mut(0);
        for first in (0..segment.key_len).step_by(KEYS) {
            let tile = block.at_key(first);
            scores::<S>(&tile, head_dim, packed, key.row(first), tables, weights, band);
            tile.online_softmax::<S>(weights, statistics.maximum, statistics.sum, statistics.old);
            if let Some(dropout) = &attention.dropout {
                tile.fill_keep(other, dropout, head, segment.query_start);
                tile.product::<S>(weights, other, weights);
            }
            let store = statistics.store(first == 0, first + tile.keys == segment.key_len);
            tile.sum_over_keys::<S>(weights, value.row(first), out, head_dim, store);
        }
        if let Some(lse) = job.lse {
            statistics.write_lse::<S>(block.queries, lse.at(row, head, 1), lse.stride);
        }
    }
}
