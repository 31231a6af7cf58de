//! Products with a weight, wherever it lies and however it is held: what every op that projects shares.
//!
//! A weight is one parameter or neighbours stacked by rows ([`crate::Params::fused`]). Where these lie side by side in f32
//! they are one matrix and one product; else each is multiplied by itself, and its outputs are columns of the whole. Only
//! gradients of what is trained are computed. A gradient passes through a frozen weight to its input.

use std::borrow::Cow;

use atento_kernels::activation::Activation;
use atento_kernels::linear::{self, WeightLayout};

use crate::params::View;
use crate::{Grads, Params, Pool, Weight};

/// Outputs and inputs of a weight.
pub(super) fn sizes(weight: Weight, layout: WeightLayout) -> (usize, usize) {
    match layout {
        WeightLayout::OutIn => (weight.rows, weight.cols),
        WeightLayout::InOut => (weight.cols, weight.rows),
    }
}

/// The parts of a weight, each with its first output.
fn parts(params: &Params, weight: Weight, layout: WeightLayout) -> impl Iterator<Item = (usize, Weight)> + use<> {
    assert_eq!(layout, WeightLayout::OutIn, "a weight of several parameters is stacked by outputs");
    params.parts(weight).scan(0, |end, part| {
        let first = *end;
        *end += part.rows;
        Some((first, part))
    })
}

/// `out = x·weight`.
///
/// # Shapes
/// `x`: [rows, inputs]; `out`: [rows, outputs].
pub(super) fn forward(
    params: &Params,
    pool: &Pool,
    rows: usize,
    x: &[f32],
    weight: Weight,
    layout: WeightLayout,
    out: &mut [f32],
) {
    match params.view(weight) {
        View::Exact(values) => linear::forward(rows, x, values, layout, None, Activation::Identity, None, out),
        View::Compact(compact) => compact.forward(rows, x, out),
        View::Parts => {
            for (first, part) in parts(params, weight, layout) {
                let mut columns = pool.take(rows * part.rows);
                forward(params, pool, rows, x, part, layout, &mut columns);
                for (out, columns) in out.chunks_exact_mut(weight.rows).zip(columns.chunks_exact(part.rows)) {
                    out[first..first + part.rows].copy_from_slice(columns);
                }
            }
        }
    }
}

/// `dx = dy·weightᵀ`, or `dx += …` with `accumulate`.
///
/// # Shapes
/// `dy`: [rows, outputs]; `dx`: [rows, inputs].
pub(super) fn backward_input(
    params: &Params,
    pool: &Pool,
    rows: usize,
    dy: &[f32],
    weight: Weight,
    layout: WeightLayout,
    dx: &mut [f32],
    accumulate: bool,
) {
    match params.view(weight) {
        View::Exact(values) => linear::backward_input(rows, dy, values, layout, dx, accumulate),
        View::Compact(compact) => compact.backward_input(rows, dy, dx, accumulate),
        View::Parts => {
            for (first, part) in parts(params, weight, layout) {
                let columns = columns(pool, dy, weight.rows, first, part.rows);
                backward_input(params, pool, rows, &columns, part, layout, dx, accumulate || first > 0);
            }
        }
    }
}

/// `dweight += dyᵀ·x` for what is trained of the weight.
///
/// # Shapes
/// `x`: [rows, inputs]; `dy`: [rows, outputs].
pub(super) fn backward_weight(
    params: &Params,
    grads: &mut Grads,
    pool: &Pool,
    rows: usize,
    x: &[f32],
    dy: &[f32],
    weight: Weight,
    layout: WeightLayout,
) {
    if !params.is_any_trained(&[weight]) {
        return;
    }
    if !matches!(params.view(weight), View::Parts) {
        let dweight = grads.find_mut(weight).expect("a weight that lies in one piece is trained as one");
        return linear::backward_weight(rows, x, dy, layout, dweight);
    }
    for (first, part) in parts(params, weight, layout) {
        if let Some(dpart) = grads.find_mut(part) {
            let columns = columns(pool, dy, weight.rows, first, part.rows);
            linear::backward_weight(rows, x, &columns, layout, dpart);
        }
    }
}

/// `dbias += Σ_rows dy` for what is trained of the bias.
///
/// # Shapes
/// `dy`: [rows, outputs].
pub(super) fn backward_bias(params: &Params, grads: &mut Grads, pool: &Pool, dy: &[f32], bias: Weight) {
    if !params.is_any_trained(&[bias]) {
        return;
    }
    if !matches!(params.view(bias), View::Parts) {
        let dbias = grads.find_mut(bias).expect("a bias that lies in one piece is trained as one");
        return linear::backward_bias(dy, dbias);
    }
    let mut sums = pool.zeros(bias.len());
    linear::backward_bias(dy, &mut sums);
    let mut first = 0;
    for part in params.parts(bias) {
        if let Some(dpart) = grads.find_mut(part) {
            dpart.iter_mut().zip(&sums[first..]).for_each(|(total, sum)| *total += sum);
        }
        first += part.len();
    }
}

/// The values of a vector, joined where its parts lie apart.
pub(super) fn vector(params: &Params, weight: Weight) -> Cow<'_, [f32]> {
    match params.view(weight) {
        View::Exact(values) => Cow::Borrowed(values),
        View::Parts => params.parts(weight).flat_map(|part| params.get(part).iter().copied()).collect(),
        View::Compact(_) => panic!("{weight:?} is a vector held in fewer bits"),
    }
}

/// Columns `first..first + count` of a matrix of this width.
fn columns(pool: &Pool, from: &[f32], width: usize, first: usize, count: usize) -> crate::Buffer {
    let mut to = pool.take(from.len() / width * count);
    for (to, from) in to.chunks_exact_mut(count).zip(from.chunks_exact(width)) {
        to.copy_from_slice(&from[first..first + count]);
    }
    to
}
