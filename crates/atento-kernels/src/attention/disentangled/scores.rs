//! The scores of a tile and the gradients of their relative terms, as products of bands of 16 with strips of a table.
//!
//! A band's product has a column for each relative position that it needs, and each of its rows uses all but 15 or so of
//! them, beginning one earlier than the row before: the row's scores lie along a diagonal. With a stride of one number less
//! or more, a diagonal is a column or a row, so nothing is moved but where lanes change from positions to queries.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says. "Scores" and "rows" are as in [`tile`](super::tile).

use super::super::backward::{Block, KeyHead};
use super::super::lanes::Lanes;
use super::super::layout::View;
use super::super::product::{Product, Store, multiply};
use super::super::scratch::pack;
use super::super::tile::{KEYS, Tile};
use super::tables::{BAND, STRIP, Table};

/// Numbers of scratch for [`scores`].
pub(super) const BAND_SCORES: usize = BAND * STRIP;
/// Numbers of scratch for [`relative_gradients`]: a tile's scores with a band of zeros on every side.
pub(super) const BORDERED: usize = (KEYS + 2 * BAND) * STRIP;

/// The tables of a head.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub keys: Option<Table>,
    pub queries: Option<Table>,
}

/// Where gradients of a head's tables are summed: a row for each entry.
#[derive(Clone, Copy)]
pub(super) struct TableGradients {
    pub keys: Option<View>,
    pub queries: Option<View>,
}

/// Starts of the bands of `count` rows, and their lengths.
#[inline(always)]
fn bands(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(BAND).map(move |start| (start, BAND.min(count - start)))
}

/// `out[n][m] = q_m·(k_n + r) + k_n·u`, in powers of two.
///
/// # Safety
/// `packed` is the block's queries, `head_dim` rows of `row` numbers, and `keys` are rows, one of each of the tile's keys.
/// The tables reach the tile's positions, and the queries' are packed with the scale that `packed` has. `out` is scores and
/// `band` [`BAND_SCORES`] numbers.
#[inline(always)]
pub(super) unsafe fn scores<S: Lanes>(
    tile: &Tile,
    head_dim: usize,
    packed: *const f32,
    keys: (*const f32, usize),
    tables: &Tables,
    out: *mut f32,
    band: *mut f32,
) {
    let mut store = Store::Overwrite;
    // Vectors without a query are left alone.
    let lanes = tile.queries.next_multiple_of(S::LANES);
    // SAFETY: the caller promises the operands. A strip begins within the table, and its columns end there. A band is of the
    // block's queries, columns of `packed`, or of the tile's keys. Its product is `BAND` rows of `STRIP` numbers at most.
    // Row k of it is used from column `15 − k` on, for as many columns as there are keys, or numbers in a row of scores;
    // these end within the strip. A band of queries fills whole vectors of `out`, which end within `row`.
    unsafe {
        if let Some(table) = &tables.keys {
            store = Store::Add;
            let columns = tile.keys.next_multiple_of(BAND) + BAND;
            for (first, rows) in bands(tile.queries) {
                multiply::<S>(&Product {
                    a: packed.add(first),
                    a_row: 1,
                    a_column: tile.row,
                    b: table.packed.add(table.strip_of_queries(tile, first)),
                    b_row: table.stride,
                    c: band,
                    c_row: STRIP,
                    rows,
                    columns,
                    depth: head_dim,
                    store: Store::Overwrite,
                });
                let diagonals = View { start: band.add(BAND - 1), stride: STRIP - 1, rows };
                pack::<S>(diagonals, tile.keys, 1.0, out.add(first), tile.row);
            }
        }
        multiply::<S>(&Product {
            a: keys.0,
            a_row: keys.1,
            a_column: 1,
            b: packed,
            b_row: tile.row,
            c: out,
            c_row: tile.row,
            rows: tile.keys,
            columns: lanes,
            depth: head_dim,
            store,
        });
        if let Some(table) = &tables.queries {
            for (first, rows) in bands(tile.keys) {
                multiply::<S>(&Product {
                    a: keys.0.add(first * keys.1),
                    a_row: keys.1,
                    a_column: 1,
                    b: table.packed.add(table.strip_of_keys(tile, first)),
                    b_row: table.stride,
                    c: band,
                    c_row: STRIP,
                    rows,
                    columns: lanes + BAND,
                    depth: head_dim,
                    store: Store::Overwrite,
                });
                for k in 0..rows {
                    let (to, from) = (out.add((first + k) * tile.row), band.add(k * STRIP + BAND - 1 - k));
                    for lane in (0..lanes).step_by(S::LANES) {
                        S::store(to.add(lane), S::add(S::load(to.add(lane)), S::load(from.add(lane))));
                    }
                }
            }
        }
    }
}

/// What the relative terms of a tile contribute to the gradients of its queries and keys and of the tables, from the
/// gradients of its scores, times their scale, in the block's `dscores`.
///
/// # Safety
/// `tile` is of the block's queries, and `keys` are the segment's, their gradients begun. The tables reach the tile's
/// positions, and the gradients have a row for each entry. `bordered` is [`BORDERED`] numbers.
#[inline(always)]
pub(super) unsafe fn relative_gradients<S: Lanes>(
    tile: &Tile,
    head_dim: usize,
    block: &Block,
    keys: &KeyHead,
    tables: &Tables,
    gradients: &TableGradients,
    bordered: *mut f32,
) {
    let stride = tile.row + BAND;
    // SAFETY: the caller promises the operands. `border` fills the bordered scores, which begin a band of rows before the
    // first key. Row k of a band is read along its diagonal: its entries are its scores and, before and after them, up to 15
    // zeros of the border, or of the band's other rows beyond the last. `head_dim` numbers wide, A's other side are the
    // band's queries or keys, and the entries of a strip, `15` more than the tile's keys or the block's queries.
    unsafe {
        border::<S>(tile, block.dscores, bordered);
        let dscores = bordered.add(BAND * stride).cast_const();
        if let Some(table) = &tables.keys {
            let entries = tile.keys + BAND - 1;
            for (first, rows) in bands(tile.queries) {
                let strip = table.strip_of_queries(tile, first);
                // Entry c of row k is of key c − 15 + k and query `first + k`.
                let a = dscores.sub((BAND - 1) * stride).add(first);
                let along = Product {
                    a,
                    a_row: stride + 1,
                    a_column: stride,
                    b: table.rows.row(strip).0,
                    b_row: head_dim,
                    c: block.dquery.row_mut(first).0,
                    c_row: block.dquery.stride,
                    rows,
                    columns: head_dim,
                    depth: entries,
                    store: Store::Add,
                };
                multiply::<S>(&along);
                if let Some(gradient) = &gradients.keys {
                    let (query, query_stride) = block.query.row(first);
                    let to = gradient.row_mut(strip);
                    multiply::<S>(&across(&along, (query, query_stride), to));
                }
            }
        }
        if let Some(table) = &tables.queries {
            let entries = tile.queries + BAND - 1;
            for (first, rows) in bands(tile.keys) {
                let strip = table.strip_of_keys(tile, first);
                let row = tile.key + first;
                // Entry c of row k is of query c − 15 + k and key `first + k`.
                let a = dscores.add(first * stride).sub(BAND - 1);
                let along = Product {
                    a,
                    a_row: stride + 1,
                    a_column: 1,
                    b: table.rows.row(strip).0,
                    b_row: head_dim,
                    c: keys.dkey.row_mut(row).0,
                    c_row: keys.dkey.stride,
                    rows,
                    columns: head_dim,
                    depth: entries,
                    store: Store::Add,
                };
                multiply::<S>(&along);
                if let Some(gradient) = &gradients.queries {
                    multiply::<S>(&across(&along, keys.key.row(row), gradient.row_mut(strip)));
                }
            }
        }
    }
}

/// The product with the transpose of `along`'s A, added to the gradients of the strip's entries.
#[inline(always)]
fn across(along: &Product, band: (*const f32, usize), strip: (*mut f32, usize)) -> Product {
    Product {
        a_row: along.a_column,
        a_column: along.a_row,
        b: band.0,
        b_row: band.1,
        c: strip.0,
        c_row: strip.1,
        rows: along.depth,
        depth: along.rows,
        ..*along
    }
}

/// Copies scores between zeros: a band of them after each row, and a band of rows before the first and after the last.
///
/// # Safety
/// `scores` are scores, and `to` is [`BORDERED`] numbers.
#[inline(always)]
unsafe fn border<S: Lanes>(tile: &Tile, scores: *const f32, to: *mut f32) {
    let (stride, lanes) = (tile.row + BAND, tile.queries.next_multiple_of(S::LANES));
    // SAFETY: the caller promises `keys` rows of scores. In `to` there are `keys + 2·BAND` rows of `stride`, whole vectors and
    // at most `BORDERED`.
    unsafe {
        zeros::<S>(to, BAND * stride);
        for n in 0..tile.keys {
            let (from, to) = (scores.add(n * tile.row), to.add((BAND + n) * stride));
            for lane in (0..lanes).step_by(S::LANES) {
                S::store(to.add(lane), S::load(from.add(lane)));
            }
            zeros::<S>(to.add(lanes), stride - lanes);
        }
        zeros::<S>(to.add((BAND + tile.keys) * stride), BAND * stride);
    }
}

/// Zeroes whole vectors.
///
/// # Safety
/// `to` is `len` numbers, a multiple of `LANES`.
#[inline(always)]
unsafe fn zeros<S: Lanes>(to: *mut f32, len: usize) {
    for at in (0..len).step_by(S::LANES) {
        // SAFETY: promised by the caller.
        unsafe { S::store(to.add(at), S::splat(0.0)) };
    }
}
