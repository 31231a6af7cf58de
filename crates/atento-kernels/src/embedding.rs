//! Table look-up: `out[i] = scale · table[ids[i]]`, and its backward, a scatter-add.
//!
//! Backward: `dtable[ids[i]] += scale · dy[i]`. Tasks own ranges of table rows and visit the ids in
//! order, so each row's sum has one order whatever the number of threads.

use rayon::prelude::*;

use crate::parallel::{TASK, rows_per_task};
use crate::simd::mul_add;

/// Width of the rows of `out`, one per id.
#[track_caller]
fn width(op: &str, ids: &[u32], rows: &[f32], table: &[f32]) -> usize {
    assert!(rows.len().is_multiple_of(ids.len()), "{op}: {} elements for {} ids", rows.len(), ids.len());
    let width = rows.len() / ids.len();
    assert!(width > 0 && table.len().is_multiple_of(width), "{op}: table of {} against rows of {width}", table.len());
    let vocabulary = table.len() / width;
    let worst = ids.iter().copied().max().unwrap_or(0) as usize;
    assert!(worst < vocabulary, "{op}: id {worst} in a table of {vocabulary} rows");
    width
}

/// `out[i] = scale · table[ids[i]]`.
///
/// # Shapes
/// `ids: [n]`, `table: [V, C]`, `out: [n, C]`.
///
/// # Panics
/// If the lengths do not fit or an id is not below V.
#[track_caller]
pub fn forward(ids: &[u32], table: &[f32], scale: f32, out: &mut [f32]) {
    if ids.is_empty() {
        return;
    }
    let width = width("embedding::forward", ids, out, table);
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width).zip(ids.par_chunks(rows)).for_each(|(out, ids)| {
        for (out, &id) in out.chunks_exact_mut(width).zip(ids) {
            let row = &table[id as usize * width..][..width];
            for (out, x) in out.iter_mut().zip(row) {
                *out = x * scale;
            }
        }
    });
}

/// `out[i] += table[positions[i]]`, for learned or sinusoidal position tables.
///
/// # Shapes
/// `positions: [n]`, `table: [max_positions, C]`, `out: [n, C]`.
///
/// # Panics
/// If the lengths do not fit or a position is not in the table.
#[track_caller]
pub fn add_positions(positions: &[u32], table: &[f32], out: &mut [f32]) {
    if positions.is_empty() {
        return;
    }
    let width = width("embedding::add_positions", positions, out, table);
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width).zip(positions.par_chunks(rows)).for_each(|(out, positions)| {
        for (out, &position) in out.chunks_exact_mut(width).zip(positions) {
            let row = &table[position as usize * width..][..width];
            for (out, x) in out.iter_mut().zip(row) {
                *out += x;
            }
        }
    });
}

/// `dtable[ids[i]] += scale · dy[i]`.
///
/// # Shapes
/// `ids: [n]`, `dy: [n, C]`, `dtable: [V, C]`.
///
/// # Panics
/// If the lengths do not fit or an id is not below V.
#[track_caller]
pub fn backward(ids: &[u32], dy: &[f32], scale: f32, dtable: &mut [f32]) {
    if ids.is_empty() {
        return;
    }
    let width = width("embedding::backward", ids, dy, dtable);
    #[inline(always)]
    fn body<const FMA: bool>(order: &[u32], ids: &[u32], first: usize, dy: &[f32], scale: f32, dtable: &mut [f32]) {
        let width = dy.len() / ids.len();
        for &at in order {
            let row = &mut dtable[(ids[at as usize] as usize - first) * width..][..width];
            for (out, dy) in row.iter_mut().zip(&dy[at as usize * width..][..width]) {
                *out = mul_add::<FMA>(scale, *dy, *out);
            }
        }
    }
    // Places sorted by id, stably: equal ids stay in order, a task's places are one range.
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    let run = |order: &[u32], first: usize, dtable: &mut [f32]| {
        crate::dispatch!(body(order: &[u32], ids: &[u32], first: usize, dy: &[f32], scale: f32, dtable: &mut [f32]));
    };
    if dy.len() <= TASK {
        return run(&order, 0, dtable);
    }
    order.sort_by_key(|&at| ids[at as usize]);
    let rows = (dtable.len() / width).div_ceil(RANGES);
    dtable.par_chunks_mut(rows * width).enumerate().for_each(|(task, dtable)| {
        let below = |limit: usize| order.partition_point(|&at| (ids[at as usize] as usize) < limit);
        run(&order[below(task * rows)..below((task + 1) * rows)], task * rows, dtable);
    });
}

/// Ranges of table rows in the backward; many, because frequent words share a range.
const RANGES: usize = 64;

/// [`backward`] in one loop.
pub fn reference_backward(ids: &[u32], dy: &[f32], scale: f32, dtable: &mut [f32]) {
    let width = dy.len() / ids.len();
    for (dy, &id) in dy.chunks_exact(width).zip(ids) {
        for (out, dy) in dtable[id as usize * width..][..width].iter_mut().zip(dy) {
            *out += scale * dy;
        }
    }
}
