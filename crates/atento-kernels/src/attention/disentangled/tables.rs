//! The relative tables of one head, a row for each relative position that its sequences have, laid out as the products of
//! a tile want them.
//!
//! Between 16 queries and the keys of a tile, or 16 keys and the queries of a block, there are at most 80 relative
//! positions, one after the other. So a table holds its rows in the order of positions, and a product takes a strip of it:
//! ```text
//! relative queries: entry x is of position x − (reach − 1), rising
//! relative keys:    entry y is of position (reach − 1) − y, falling
//! ```
//! for 2·reach entries. The reach is the longest sequence's length, or less where all positions beyond share a row: a strip
//! that lies beyond is then moved to the table's end, whose entries are the same.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says.

use super::super::lanes::{Lanes, WIDEST};
use super::super::layout::View;
use super::super::scratch::{copy_rows, gathered, pack};
use super::super::tile::{QUERIES, Tile};
use super::buckets::held;
use super::{Disentangled, Segment};

/// Queries or keys that meet a strip of a table together; a vector of the widest kind.
pub(super) const BAND: usize = WIDEST;
/// Entries of a strip, at most.
pub(super) const STRIP: usize = QUERIES + BAND;

/// The rows of the relative positions of all segments.
pub(super) struct Positions {
    /// Of the distances from 0 on, those of positive positions. Distances beyond have the bucket of the last.
    buckets: Vec<isize>,
    span: usize,
}

impl Positions {
    pub fn new(attention: &Disentangled<'_>) -> Self {
        let (span, end) = (attention.span, longest(attention.segments) + BAND);
        let mut buckets = Vec::new();
        while buckets.len() <= end && buckets.last().is_none_or(|&bucket| bucket < span as isize) {
            buckets.push(attention.buckets.bucket(buckets.len() as isize));
        }
        Positions { buckets, span }
    }

    /// The reach of tables for some of the segments: whole vectors, and no more than a strip beyond the distance from which
    /// on the positions of a direction share a row.
    pub fn reach(&self, segments: &[Segment]) -> usize {
        longest(segments).min(self.buckets.len() - 1 + STRIP).next_multiple_of(BAND)
    }

    /// The row of a position in the relative tables.
    #[inline(always)]
    pub fn row(&self, relative: isize) -> usize {
        let bucket = self.buckets[relative.unsigned_abs().min(self.buckets.len() - 1)];
        held(bucket * relative.signum(), self.span)
    }
}

fn longest(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.key_len).max().unwrap_or(0)
}

/// A table's entries.
///
/// Made by [`new`](Self::new) only, so that `rows` is `2·reach` rows of `head_dim` numbers, and `packed` is `head_dim` rows
/// of as many entries, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// An entry a row.
    pub rows: View,
    /// An entry a column.
    pub packed: *mut f32,
    /// An odd number of vectors, so that the rows of a strip are spread over the sets of a cache.
    pub stride: usize,
    reach: usize,
    /// Whether positions fall from entry to entry.
    falling: bool,
}

impl Table {
    /// Numbers of scratch, in rows of `head_dim`.
    pub fn scratch_rows(reach: usize) -> usize {
        4 * reach + BAND
    }

    /// Lays out a head's rows of a relative table, times `scale` where they are packed.
    ///
    /// # Safety
    /// `table` is rows of `head_dim` numbers, those that the positions name; `scratch` is as many numbers as
    /// [`scratch_rows`](Self::scratch_rows) says, for as long as the table is used.
    #[inline(always)]
    pub unsafe fn new<S: Lanes>(
        table: View,
        head_dim: usize,
        positions: &Positions,
        reach: usize,
        falling: bool,
        scale: f32,
        scratch: *mut f32,
    ) -> Self {
        let rows = gathered(2 * reach, head_dim, scratch);
        let (packed, stride) = (scratch.wrapping_add(2 * reach * head_dim), 2 * reach + BAND);
        let made = Table { rows, packed, stride, reach, falling };
        for entry in 0..2 * reach {
            let from = table.rows_from(positions.row(made.position(entry)), 1);
            // SAFETY: the caller promises the table's row and scratch, of which `2·reach` rows are entries.
            unsafe { copy_rows::<S>(from, rows.rows_from(entry, 1), head_dim) };
        }
        // SAFETY: the rows are written, and `2·reach` are whole vectors of the widest kind. After them, the scratch has
        // `head_dim` rows of `stride` numbers.
        unsafe { pack::<S>(rows, head_dim, scale, packed, stride) };
        made
    }

    /// The relative position of an entry.
    #[inline(always)]
    pub fn position(&self, entry: usize) -> isize {
        let rising = entry as isize - (self.reach as isize - 1);
        if self.falling { -rising } else { rising }
    }

    /// Where a strip of `len` entries begins. One that would lie beyond an end of the table is of positions that share a
    /// row, which is also that of the entries at that end.
    #[inline(always)]
    fn strip(&self, first: usize, second: usize, len: usize) -> usize {
        (self.reach + first).saturating_sub(second + BAND).min(2 * self.reach - len)
    }

    /// The strip that the queries of a band of the block, from `band` on, and the tile's keys have: query `band + k` and
    /// key n meet in entry `n + 15 − k`.
    #[inline(always)]
    pub fn strip_of_queries(&self, tile: &Tile, band: usize) -> usize {
        self.strip(tile.key, tile.query + band, tile.keys.next_multiple_of(BAND) + BAND)
    }

    /// The strip that the keys of a band of the tile, from `band` on, and the block's queries have: key `band + k` and
    /// query m meet in entry `m + 15 − k`.
    #[inline(always)]
    pub fn strip_of_keys(&self, tile: &Tile, band: usize) -> usize {
        self.strip(tile.query, tile.key + band, tile.row + BAND)
    }
}
