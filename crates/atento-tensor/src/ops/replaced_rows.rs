//! Rows in the place of some of a table's own ([`ReplacedRows`]), in products and in lookups.
//!
//! Of a product with the table, the columns of those rows are computed anew: `z[:, ids] = x rowsᵀ`. Backward, with `dr` those
//! columns of `dz`: `drows += drᵀ x`, `dx += dr rows`, and they are zero for what the table itself receives.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::projection;
use crate::device::Device;
use crate::{Buffer, Grads, Params, Pool, ReplacedRows, Slice, SliceMut};

const OUT_IN: WeightLayout = WeightLayout::OutIn;

/// Ids that follow one another: the first, where it stands among the ids, and how many there are.
fn runs(ids: &[u32]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (at, &id) in ids.iter().enumerate() {
        match runs.last_mut() {
            Some((first, _, count)) if *first + *count == id as usize => *count += 1,
            _ => runs.push((id as usize, at, 1)),
        }
    }
    runs
}

/// Puts the columns of the rows into a product with the table.
///
/// # Shapes
/// `x`: [n, inputs]; `product`: [n, width].
pub(super) fn forward(
    params: &Params,
    pool: &Pool,
    n: usize,
    x: Slice<'_>,
    replaced: &ReplacedRows,
    (mut product, width): (SliceMut<'_>, usize),
) {
    let own_width = replaced.ids.len();
    let mut own = pool.take_as(x.dtype(), n * own_width);
    let (identity, to) = (Activation::Identity, own.slice_mut());
    projection::forward(params, pool, n, x, replaced.rows, OUT_IN, None, identity, None, to);
    for (first, at, count) in runs(&replaced.ids) {
        pool.device().copy_columns(own.slice(), own_width, at, product.reborrow(), width, first, count);
    }
}

/// Takes the columns of the rows out of the gradient of a product, where zeros stay: [n, ids].
///
/// # Shapes
/// `dz`: [n, width].
pub(super) fn take(pool: &Pool, n: usize, replaced: &ReplacedRows, (mut dz, width): (SliceMut<'_>, usize)) -> Buffer {
    let own_width = replaced.ids.len();
    let mut own = pool.take_as(dz.as_slice().dtype(), n * own_width);
    for (first, at, count) in runs(&replaced.ids) {
        pool.device().copy_columns(dz.as_slice(), width, first, own.slice_mut(), own_width, at, count);
        let zeros = pool.zeros_as(own.dtype(), n * count);
        pool.device().copy_columns(zeros.slice(), count, 0, dz.reborrow(), width, first, count);
    }
    own
}

/// Adds the gradient of the rows, and to `dx` what passes through them.
///
/// # Shapes
/// `x`, `dx`: [n, inputs]; `dz`: [n, ids].
pub(super) fn backward(
    params: &Params,
    grads: &mut Grads,
    pool: &Pool,
    n: usize,
    x: Slice<'_>,
    (dz, replaced): (Slice<'_>, &ReplacedRows),
    dx: Option<SliceMut<'_>>,
) {
    projection::backward_weight(params, grads, pool, n, x, dz, replaced.rows, OUT_IN);
    if let Some(dx) = dx {
        projection::backward_input(params, pool, n, dz, replaced.rows, OUT_IN, dx, true);
    }
}

/// The places of the ids that have a row of their own in the stead of the table's, and which row.
pub(super) fn places(replaced: &ReplacedRows, ids: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let row = |id: &u32| replaced.ids.iter().position(|other| other == id);
    let found = ids.iter().enumerate().filter_map(|(at, id)| Some((at as u32, row(id)? as u32)));
    found.unzip()
}

/// Overwrites looked-up rows at `places` with `scale` times the rows that stand in their place.
///
/// # Shapes
/// `out`: [ids, width].
pub(super) fn look_up(
    params: &Params,
    pool: &Pool,
    replaced: &ReplacedRows,
    (places, rows): (&[u32], &[u32]),
    scale: f32,
    out: SliceMut<'_>,
) {
    let width = replaced.rows.cols;
    let mut own = pool.take(rows.len() * width);
    pool.device().embedding(rows, params.view(replaced.rows), width, scale, own.slice_mut());
    pool.device().scatter_rows(own.slice(), width, places, out);
}

/// Takes the rows at `places` out of a gradient, where zeros stay, and adds them to that of the rows in their place.
pub(super) fn look_up_backward(
    grads: &mut Grads,
    (pool, device): (&Pool, &dyn Device),
    replaced: &ReplacedRows,
    (places, rows): (&[u32], &[u32]),
    scale: f32,
    dy: &mut Buffer,
) {
    let width = replaced.rows.cols;
    let mut own = pool.take_as(dy.dtype(), rows.len() * width);
    device.gather_rows(dy.slice(), width, places, own.slice_mut());
    if let Some(drows) = grads.slice_mut(replaced.rows) {
        device.scatter_add(rows, own.slice(), scale, drows);
    }
    for &place in places {
        let first = place as usize * width;
        device.fill(dy.part_mut(first..first + width), 0.0);
    }
}
