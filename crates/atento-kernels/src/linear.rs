//! Affine maps with an activation: `out = f(x·Wᵀ + b)`.
//!
//! Products of f32 with many rows are cut into blocks of rows: each task multiplies its block and adds the bias and
//! applies the activation while the block is still in its core's cache. Whether an input is cut, and
//! where, follows from its number of rows alone: a row's bits depend on how many rows are multiplied
//! with it, so they would depend on the threads if the cuts did. The backward is
//! `dx = dy·W`, `dW = dyᵀ·x`, `db = Σ_rows dy`, with `dy` already multiplied by `f′`
//! ([`crate::activation::backward`]). The products are computed in a [`Precision`], all else in f32.

use rayon::prelude::*;

use crate::activation::{self, Activation, Function, with_function};
use crate::matmul::{self, Mat, MatMut, Precision, gemm_in};
use crate::parallel::{TASK, add_partials, optional_chunks_mut, rows_per_partial, rows_per_task};

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[outputs, inputs]`, as PyTorch's `Linear`.
    OutIn,
    /// `[inputs, outputs]`, as GPT-2's `Conv1D`.
    InOut,
}

/// Rows of one task: few enough that a block of outputs stays in a core's second-level cache, many
/// enough that packing the weight for every block does not weigh.
const BLOCK_ROWS: usize = 512;

/// Columns of one task of a sum over wide rows.
const COLUMNS: usize = 4096;

/// Rows from which an input is cut into blocks. One that is smaller is a single product, whose tiles keep two threads
/// equally busy where blocks would not.
const CUT_ROWS: usize = 2 * BLOCK_ROWS;

/// The weight as a `[inputs, outputs]` matrix.
fn in_out(weight: &[f32], layout: WeightLayout, inputs: usize, outputs: usize) -> Mat<'_> {
    match layout {
        WeightLayout::OutIn => Mat::row_major(weight, outputs, inputs).t(),
        WeightLayout::InOut => Mat::row_major(weight, inputs, outputs),
    }
}

/// Columns of a `[rows, columns]` matrix.
#[track_caller]
fn columns(name: &str, data: &[f32], rows: usize) -> usize {
    assert!(data.len().is_multiple_of(rows), "linear: {name} has {} elements, not whole rows of {rows}", data.len());
    data.len() / rows
}

/// `out = activation(x·weight + bias)`. `pre`, where given, receives `x·weight + bias` for the
/// backward of the activation.
///
/// # Shapes
/// `x: [rows, inputs]`, `weight` as `layout` says, `bias: [outputs]`, `pre, out: [rows, outputs]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(
    precision: Precision,
    rows: usize,
    x: &[f32],
    weight: &[f32],
    layout: WeightLayout,
    bias: Option<&[f32]>,
    activation: Activation,
    pre: Option<&mut [f32]>,
    out: &mut [f32],
) {
    if rows == 0 {
        return;
    }
    let (inputs, outputs) = (columns("x", x, rows), columns("out", out, rows));
    assert_eq!(weight.len(), inputs * outputs, "linear::forward: weight against {inputs} inputs, {outputs} outputs");
    assert!(bias.is_none_or(|b| b.len() == outputs), "linear::forward: bias against {outputs} outputs");
    assert!(pre.as_ref().is_none_or(|p| p.len() == out.len()), "linear::forward: pre and out");
    if inputs == 0 || outputs == 0 {
        return;
    }
    let weight = in_out(weight, layout, inputs, outputs);
    if rows < CUT_ROWS || precision != Precision::F32 {
        let mut pre = pre;
        let product = MatMut::row_major(pre.as_deref_mut().unwrap_or(&mut *out), rows, outputs);
        gemm_in(precision, Mat::row_major(x, rows, inputs), weight, false, product);
        return epilogue(bias, activation, pre, out, outputs);
    }
    let blocks = rows.div_ceil(BLOCK_ROWS);
    // Where there are fewer blocks than threads, each block is multiplied by several: the same bits, sooner.
    let multiply = if blocks < rayon::current_num_threads() { matmul::gemm } else { matmul::gemm_serial };
    x.par_chunks(BLOCK_ROWS * inputs)
        .zip(out.par_chunks_mut(BLOCK_ROWS * outputs))
        .zip(optional_chunks_mut(pre, BLOCK_ROWS * outputs, blocks))
        .for_each(|((x, out), mut pre)| {
            let rows = x.len() / inputs;
            let product = pre.as_deref_mut().unwrap_or(&mut *out);
            let product = MatMut::row_major(product, rows, outputs);
            multiply(1.0, Mat::row_major(x, rows, inputs), weight, 0.0, product);
            epilogue_block(bias, activation, pre, out, outputs);
        });
}

/// `out = activation(out + bias)`: what follows a product made elsewhere. Where `pre` is given it holds the product, and
/// receives `product + bias`.
///
/// # Shapes
/// `bias: [outputs]`, `pre, out: [rows, outputs]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn finish(bias: Option<&[f32]>, activation: Activation, pre: Option<&mut [f32]>, out: &mut [f32], outputs: usize) {
    assert!(bias.is_none_or(|b| b.len() == outputs), "linear::finish: bias against {outputs} outputs");
    assert!(pre.as_ref().is_none_or(|p| p.len() == out.len()), "linear::finish: pre and out");
    epilogue(bias, activation, pre, out, outputs);
}

/// Adds the bias and applies the activation, over tasks of rows.
fn epilogue(bias: Option<&[f32]>, activation: Activation, pre: Option<&mut [f32]>, out: &mut [f32], outputs: usize) {
    let chunk = rows_per_task(outputs) * outputs;
    let tasks = out.len().div_ceil(chunk);
    let chunks = out.par_chunks_mut(chunk).zip(optional_chunks_mut(pre, chunk, tasks));
    chunks.for_each(|(out, pre)| epilogue_block(bias, activation, pre, out, outputs));
}

/// The product is in `pre` if given, else in `out`.
fn epilogue_block(
    bias: Option<&[f32]>,
    activation: Activation,
    pre: Option<&mut [f32]>,
    out: &mut [f32],
    outputs: usize,
) {
    if bias.is_none() && activation == Activation::Identity && pre.is_none() {
        return;
    }
    #[inline(always)]
    fn body<const FMA: bool, F: Function>(bias: &[f32], pre: Option<&mut [f32]>, out: &mut [f32]) {
        let width = bias.len();
        match pre {
            Some(pre) => {
                for (pre, out) in pre.chunks_exact_mut(width).zip(out.chunks_exact_mut(width)) {
                    for ((out, pre), &bias) in out.iter_mut().zip(pre).zip(bias) {
                        *pre += bias;
                        *out = F::value::<FMA>(*pre);
                    }
                }
            }
            None => {
                for out in out.chunks_exact_mut(width) {
                    for (out, &bias) in out.iter_mut().zip(bias) {
                        *out = F::value::<FMA>(*out + bias);
                    }
                }
            }
        }
    }
    fn run<F: Function>(bias: &[f32], pre: Option<&mut [f32]>, out: &mut [f32]) {
        crate::dispatch!(body<F: Function>(bias: &[f32], pre: Option<&mut [f32]>, out: &mut [f32]));
    }
    let none;
    let bias = match bias {
        Some(bias) => bias,
        None => {
            none = vec![0.0; outputs];
            &none
        }
    };
    with_function!(activation, run, bias, pre, out)
}

/// `dx = dy·weightᵀ`, or `dx += …` with `accumulate`.
///
/// # Shapes
/// `dy: [rows, outputs]`, `weight` as `layout` says, `dx: [rows, inputs]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward_input(
    precision: Precision,
    rows: usize,
    dy: &[f32],
    weight: &[f32],
    layout: WeightLayout,
    dx: &mut [f32],
    accumulate: bool,
) {
    if rows == 0 {
        return;
    }
    let (inputs, outputs) = (columns("dx", dx, rows), columns("dy", dy, rows));
    assert_eq!(
        weight.len(),
        inputs * outputs,
        "linear::backward_input: weight against {inputs} inputs, {outputs} outputs"
    );
    let (dy, dx) = (Mat::row_major(dy, rows, outputs), MatMut::row_major(dx, rows, inputs));
    gemm_in(precision, dy, in_out(weight, layout, inputs, outputs).t(), accumulate, dx);
}

/// `dweight += dyᵀ·x`, in the layout of the weight.
///
/// # Shapes
/// `x: [rows, inputs]`, `dy: [rows, outputs]`, `dweight` as `layout` says.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward_weight(
    precision: Precision,
    rows: usize,
    x: &[f32],
    dy: &[f32],
    layout: WeightLayout,
    dweight: &mut [f32],
) {
    if rows == 0 {
        return;
    }
    let (inputs, outputs) = (columns("x", x, rows), columns("dy", dy, rows));
    let (x, dy) = (Mat::row_major(x, rows, inputs), Mat::row_major(dy, rows, outputs));
    match layout {
        WeightLayout::OutIn => gemm_in(precision, dy.t(), x, true, MatMut::row_major(dweight, outputs, inputs)),
        WeightLayout::InOut => gemm_in(precision, x.t(), dy, true, MatMut::row_major(dweight, inputs, outputs)),
    }
}

/// `dbias += Σ_rows dy`.
///
/// # Shapes
/// `dy: [rows, outputs]`, `dbias: [outputs]`.
///
/// # Panics
/// If `dy` is not whole rows.
#[track_caller]
pub fn backward_bias(dy: &[f32], dbias: &mut [f32]) {
    let width = dbias.len();
    if width == 0 {
        return;
    }
    assert!(dy.len().is_multiple_of(width), "linear::backward_bias: dy of {} against dbias of {width}", dy.len());
    #[inline(always)]
    fn body<const FMA: bool>(dy: &[f32], sums: &mut [f32]) {
        for dy in dy.chunks_exact(sums.len()) {
            for (sum, dy) in sums.iter_mut().zip(dy) {
                *sum += dy;
            }
        }
    }
    if width >= TASK {
        // Wide rows: tasks of columns, which need no sums of their own.
        dbias.par_chunks_mut(COLUMNS).enumerate().for_each(|(task, sums)| {
            for dy in dy.chunks_exact(width) {
                let dy = &dy[task * COLUMNS..][..sums.len()];
                crate::dispatch!(body(dy: &[f32], sums: &mut [f32]));
            }
        });
        return;
    }
    let rows = rows_per_partial(dy.len() / width, width);
    let chunk = rows * width;
    if dy.len() <= chunk {
        crate::dispatch!(body(dy: &[f32], dbias: &mut [f32]));
        return;
    }
    let mut partials = vec![0.0; dy.len().div_ceil(chunk) * width];
    partials.par_chunks_mut(width).zip(dy.par_chunks(chunk)).for_each(|(sums, dy)| {
        crate::dispatch!(body(dy: &[f32], sums: &mut [f32]));
    });
    add_partials(&partials, dbias);
}

/// [`forward`] as a triple loop in f64.
pub fn reference(
    rows: usize,
    x: &[f64],
    weight: &[f64],
    layout: WeightLayout,
    bias: &[f64],
    activation: Activation,
) -> Vec<f64> {
    let (inputs, outputs) = (x.len() / rows, bias.len());
    let mut out = Vec::with_capacity(rows * outputs);
    for row in 0..rows {
        for output in 0..outputs {
            let mut sum = bias[output];
            for input in 0..inputs {
                let at = match layout {
                    WeightLayout::OutIn => output * inputs + input,
                    WeightLayout::InOut => input * outputs + output,
                };
                sum += x[row * inputs + input] * weight[at];
            }
            out.push(activation::reference(activation, sum));
        }
    }
    out
}
