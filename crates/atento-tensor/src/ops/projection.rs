//! Products with a weight, wherever it lies and however it is held: what every op that projects shares.
//!
//! A weight is one parameter or neighbours stacked by rows ([`crate::Params::fused`]). Where these lie side by side in f32
//! they are one matrix and one product; else each is multiplied by itself, and its outputs are columns of the whole. Only
//! gradients of what is trained are computed. A gradient passes through a frozen weight to its input.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use crate::params::View;
use crate::{Buffer, Grads, Params, Pool, Slice, SliceMut, Weight};

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

/// `out = activation(x·weight + bias)`; where `pre` is given it receives `x·weight + bias`.
///
/// # Shapes
/// `x`: [rows, inputs]; `pre`, `out`: [rows, outputs].
pub(super) fn forward(
    params: &Params,
    pool: &Pool,
    rows: usize,
    x: Slice<'_>,
    weight: Weight,
    layout: WeightLayout,
    bias: Option<Weight>,
    activation: Activation,
    mut pre: Option<SliceMut<'_>>,
    mut out: SliceMut<'_>,
) {
    let device = pool.device();
    let bias = bias.map(|bias| Vector::of(params, pool, bias));
    let bias = bias.as_ref().map(Vector::slice);
    match params.view(weight) {
        View::Parts => {
            let mut product = pre.as_mut().map_or_else(|| out.reborrow(), SliceMut::reborrow);
            for (first, part) in parts(params, weight, layout) {
                let mut columns = pool.take_as(product.as_slice().dtype(), rows * part.rows);
                let (identity, to) = (Activation::Identity, columns.slice_mut());
                forward(params, pool, rows, x, part, layout, None, identity, None, to);
                device.copy_columns(columns.slice(), part.rows, 0, product.reborrow(), weight.rows, first, part.rows);
            }
            device.linear_epilogue(bias, activation, pre, out, weight.rows);
        }
        view => {
            pool.count_product(rows, weight.len());
            device.linear(rows, x, view, layout, bias, activation, pre, out);
        }
    }
}

/// `out = activation(product + bias)` after a product made elsewhere; see
/// [`Products::linear_epilogue`](crate::device::Products::linear_epilogue).
pub(super) fn epilogue(
    params: &Params,
    pool: &Pool,
    bias: Option<Weight>,
    activation: Activation,
    pre: Option<SliceMut<'_>>,
    out: SliceMut<'_>,
    outputs: usize,
) {
    let bias = bias.map(|bias| Vector::of(params, pool, bias));
    let bias = bias.as_ref().map(Vector::slice);
    pool.device().linear_epilogue(bias, activation, pre, out, outputs);
}

/// `dx = dy·weightᵀ`, or `dx += …` with `accumulate`.
///
/// # Shapes
/// `dy`: [rows, outputs]; `dx`: [rows, inputs].
pub(super) fn backward_input(
    params: &Params,
    pool: &Pool,
    rows: usize,
    dy: Slice<'_>,
    weight: Weight,
    layout: WeightLayout,
    mut dx: SliceMut<'_>,
    accumulate: bool,
) {
    match params.view(weight) {
        View::Parts => {
            for (first, part) in parts(params, weight, layout) {
                let columns = columns(pool, dy, weight.rows, first, part.rows);
                let accumulate = accumulate || first > 0;
                backward_input(params, pool, rows, columns.slice(), part, layout, dx.reborrow(), accumulate);
            }
        }
        view => {
            pool.count_product(rows, weight.len());
            pool.device().linear_backward_input(rows, dy, view, layout, dx, accumulate);
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
    x: Slice<'_>,
    dy: Slice<'_>,
    weight: Weight,
    layout: WeightLayout,
) {
    if !params.is_any_trained(&[weight]) {
        return;
    }
    let device = pool.device();
    if !matches!(params.view(weight), View::Parts) {
        let dweight = grads.slice_mut(weight).expect("a weight that lies in one piece is trained as one");
        pool.count_product(rows, weight.len());
        return device.linear_backward_weight(rows, x, dy, layout, dweight);
    }
    for (first, part) in parts(params, weight, layout) {
        if let Some(dpart) = grads.slice_mut(part) {
            let columns = columns(pool, dy, weight.rows, first, part.rows);
            pool.count_product(rows, part.len());
            device.linear_backward_weight(rows, x, columns.slice(), layout, dpart);
        }
    }
}

/// `dbias += Σ_rows dy` for what is trained of the bias.
///
/// # Shapes
/// `dy`: [rows, outputs].
pub(super) fn backward_bias(params: &Params, grads: &mut Grads, pool: &Pool, dy: Slice<'_>, bias: Weight) {
    if !params.is_any_trained(&[bias]) {
        return;
    }
    let device = pool.device();
    if !matches!(params.view(bias), View::Parts) {
        let dbias = grads.slice_mut(bias).expect("a bias that lies in one piece is trained as one");
        return device.linear_backward_bias(dy, dbias);
    }
    let mut sums = pool.zeros(bias.len());
    device.linear_backward_bias(dy, sums.slice_mut());
    let mut first = 0;
    for part in params.parts(bias) {
        if let Some(dpart) = grads.slice_mut(part) {
            device.add_assign(dpart, sums.part(first..first + part.len()));
        }
        first += part.len();
    }
}

/// The values of a vector, joined where its parts lie apart.
enum Vector<'a> {
    Whole(Slice<'a>),
    Joined(Buffer),
}

impl<'a> Vector<'a> {
    fn of(params: &'a Params, pool: &Pool, weight: Weight) -> Self {
        if !matches!(params.view(weight), View::Parts) {
            return Self::Whole(params.slice(weight));
        }
        let (mut joined, mut first) = (pool.take(weight.len()), 0);
        for part in params.parts(weight) {
            pool.device().copy(params.slice(part), joined.part_mut(first..first + part.len()));
            first += part.len();
        }
        Self::Joined(joined)
    }

    fn slice(&self) -> Slice<'_> {
        match self {
            Self::Whole(values) => *values,
            Self::Joined(values) => values.slice(),
        }
    }
}

/// Columns `first..first + count` of a matrix of this width.
pub(super) fn columns(pool: &Pool, from: Slice<'_>, width: usize, first: usize, count: usize) -> Buffer {
    let mut to = pool.take_as(from.dtype(), from.len() / width * count);
    pool.device().copy_columns(from, width, first, to.slice_mut(), count, 0, count);
    to
}
