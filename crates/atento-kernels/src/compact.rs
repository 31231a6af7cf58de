//! Weights held in fewer bits: f16, bf16, int8 with one factor per output, four bits with one per block, or llama.cpp's blocks. They are not trained; a gradient passes
//! through them to their input.
//!
//! Decoding token by token reads every weight once and is bound by memory, so half or a quarter of the bytes is twice or
//! four times the speed. Numbers are widened to f32 in registers and multiplied by unrounded inputs; sums are f32.
//!
//! **f16** is read as it lies in a file. **bf16** keeps f32's range and 8 bits of precision; rounding is to nearest, ties to even.
//! **int8** (symmetric, per output channel): `w ≈ scale_o · q`, `scale_o = max |w_o| / 127`, `q = round(w / scale_o)`; the
//! error of a weight is at most `scale_o / 2`.
//! **Blocks** are read as they lie in a file of llama.cpp ([`Blocks`]).
//! **Four bits** say which of 16 levels a weight is of the largest one in its block of 64 ([`FourBits`]).

mod blocks;
mod four;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

pub use blocks::{BlockKind, Blocks};
pub use four::{FourBits, INT4, Levels, NF4, row_sizes, to_four};

use crate::elementwise;
use crate::few_rows::{FEW_ROWS, dot_columns};
use crate::linear::WeightLayout;
use crate::matmul::{Mat, MatMut, Precision, gemm_in};
use crate::vector::{Element, Widen};

/// Numbers of one task: from memory, 64 KiB of int8.
const TASK: usize = 1 << 16;

/// Outputs widened at a time where there are many rows.
const WIDENED: usize = 256;

/// A matrix `[outputs, inputs]`, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Compact<'a> {
    /// Half floats.
    F16(&'a [f16]),
    /// Brain floats.
    Bf16(&'a [bf16]),
    /// Whole numbers, and the factor of each row.
    Int8 {
        /// `[outputs, inputs]`
        values: &'a [i8],
        /// `[outputs]`
        scales: &'a [f32],
    },
    /// Levels in four bits, and the factor of each block of a row.
    Four(FourBits<'a>),
    /// Blocks of llama.cpp's files.
    Blocks(Blocks<'a>),
}

/// Rows of a weight as `[outputs, inputs]`, whatever its layout.
#[track_caller]
fn for_each_row<T: Send>(
    weight: &[f32],
    layout: WeightLayout,
    inputs: usize,
    out: &mut [T],
    each: impl Fn(&mut dyn Iterator<Item = f32>, usize, &mut [T]) + Sync,
) {
    assert_eq!(weight.len(), out.len(), "compact: sizes");
    let outputs = weight.len() / inputs.max(1);
    out.par_chunks_mut(inputs.max(1)).enumerate().for_each(|(row, out)| match layout {
        WeightLayout::OutIn => each(&mut weight[row * inputs..][..inputs].iter().copied(), row, out),
        WeightLayout::InOut => each(&mut weight[row..].iter().step_by(outputs).copied(), row, out),
    });
}

/// Rounds a weight to bf16, transposed to `[outputs, inputs]` where it is not.
///
/// # Shapes
/// `weight` as `layout` says, `out: [outputs, inputs]`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn to_bf16(weight: &[f32], layout: WeightLayout, inputs: usize, out: &mut [bf16]) {
    for_each_row(weight, layout, inputs, out, |row, _, out| {
        out.iter_mut().zip(row).for_each(|(out, x)| *out = bf16::from_f32(x));
    });
}

/// Rounds a weight to int8 with a factor per output, transposed to `[outputs, inputs]` where it is not.
///
/// # Shapes
/// `weight` as `layout` says, `out: [outputs, inputs]`, `scales: [outputs]`.
///
/// # Panics
/// If the lengths do not fit, or a number is not finite: no whole number stands for it.
#[track_caller]
pub fn to_int8(weight: &[f32], layout: WeightLayout, inputs: usize, out: &mut [i8], scales: &mut [f32]) {
    assert_eq!(Some(out.len()), scales.len().checked_mul(inputs), "compact: scales against {inputs} inputs");
    assert_eq!(weight.len(), out.len(), "compact: sizes");
    assert!(elementwise::all_finite(weight), "compact: a weight is not finite");
    let outputs = scales.len();
    let at = |row: usize, i: usize| match layout {
        WeightLayout::OutIn => weight[row * inputs + i],
        WeightLayout::InOut => weight[i * outputs + row],
    };
    scales.par_iter_mut().enumerate().for_each(|(row, scale)| {
        *scale = (0..inputs).map(|i| at(row, i).abs()).fold(0.0, f32::max) / 127.0;
    });
    let scales = &*scales;
    for_each_row(weight, layout, inputs, out, |row, output, out| {
        let inverse = if scales[output] > 0.0 { scales[output].recip() } else { 0.0 };
        out.iter_mut().zip(row).for_each(|(out, x)| *out = (x * inverse).round_ties_even() as i8);
    });
}

impl Compact<'_> {
    /// The f32 that one row stands for, times `factor`.
    ///
    /// # Shapes
    /// `out: [inputs]`
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn widen_row(&self, row: usize, factor: f32, out: &mut [f32]) {
        let from = row * out.len();
        match self {
            Compact::F16(values) => {
                values[from..from + out.len()].convert_to_f32_slice(out);
                if factor != 1.0 {
                    elementwise::scale(out, factor);
                }
            }
            Compact::Bf16(values) => widen(&values[from..from + out.len()], factor, out),
            Compact::Int8 { values, scales } => widen(&values[from..from + out.len()], factor * scales[row], out),
            Compact::Four(four) => four.widen_row(row, factor, out),
            Compact::Blocks(blocks) => blocks.widen_row(row, factor, out),
        }
    }

    /// `out = x·Wᵀ`.
    ///
    /// # Shapes
    /// `x: [rows, inputs]`, `out: [rows, outputs]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn forward(&self, precision: Precision, rows: usize, x: &[f32], out: &mut [f32]) {
        if rows == 0 {
            return;
        }
        let (inputs, outputs) = self.check(rows, x, out);
        if inputs == 0 || outputs == 0 {
            out.fill(0.0);
        } else if precision != Precision::F32 || rows > FEW_ROWS || matches!(self, Compact::F16(_) | Compact::Four(_)) {
            self.many_rows(precision, Mat::row_major(x, rows, inputs), out);
        } else {
            let x = Mat::row_major(x, rows, inputs);
            match self {
                Compact::F16(_) | Compact::Four(_) => unreachable!("their rows are widened"),
                Compact::Blocks(blocks) => blocks.few_rows(x, out),
                Compact::Bf16(values) => few_rows(x, values, None, out),
                Compact::Int8 { values, scales } => few_rows(x, values, Some(scales), out),
            }
        }
    }

    /// `dx = dy·W`, or `dx += …` with `accumulate`: what reaches the input of a projection that is not trained.
    ///
    /// # Shapes
    /// `dy: [rows, outputs]`, `dx: [rows, inputs]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    #[track_caller]
    pub fn backward_input(&self, precision: Precision, rows: usize, dy: &[f32], dx: &mut [f32], accumulate: bool) {
        if rows == 0 {
            return;
        }
        let (inputs, outputs) = self.check(rows, dx, dy);
        if !accumulate && outputs == 0 {
            dx.fill(0.0);
        }
        self.each_block(inputs, outputs, |first, wide| {
            let count = wide.rows;
            let dy = Mat { data: &dy[first..], rows, cols: count, row_stride: outputs, col_stride: 1 };
            gemm_in(precision, dy, wide, accumulate || first > 0, MatMut::row_major(dx, rows, inputs));
        });
    }

    /// Inputs and outputs of the weight.
    #[track_caller]
    fn check(&self, rows: usize, x: &[f32], out: &[f32]) -> (usize, usize) {
        let (inputs, outputs) = (x.len() / rows, out.len() / rows);
        let numbers = match self {
            Compact::F16(values) => values.len(),
            Compact::Bf16(values) => values.len(),
            Compact::Int8 { values, scales } => {
                assert_eq!(scales.len(), outputs, "compact: scales against {outputs} outputs");
                values.len()
            }
            Compact::Four(four) => {
                four.check(outputs, inputs);
                outputs * inputs
            }
            Compact::Blocks(blocks) => {
                blocks.check(outputs, inputs);
                outputs * inputs
            }
        };
        assert_eq!((x.len(), out.len()), (rows * inputs, rows * outputs), "compact: whole rows of input and output");
        assert_eq!(numbers, inputs * outputs, "compact: weight against {inputs} inputs, {outputs} outputs");
        (inputs, outputs)
    }

    /// Blocks of outputs widened, and multiplied as f32.
    fn many_rows(&self, precision: Precision, x: Mat<'_>, out: &mut [f32]) {
        let (inputs, outputs) = (x.cols, out.len() / x.rows);
        self.each_block(inputs, outputs, |first, wide| {
            let data = &mut out[first..];
            let product = MatMut { data, rows: x.rows, cols: wide.rows, row_stride: outputs, col_stride: 1 };
            gemm_in(precision, x, wide.t(), false, product);
        });
    }

    /// Hands over the outputs in blocks, each with the number of its first: `[count, inputs]` as f32.
    fn each_block(&self, inputs: usize, outputs: usize, mut work: impl FnMut(usize, Mat<'_>)) {
        let mut wide = vec![0.0; WIDENED.min(outputs) * inputs];
        for first in (0..outputs).step_by(WIDENED) {
            let count = WIDENED.min(outputs - first);
            let wide = &mut wide[..count * inputs];
            wide.par_chunks_mut(inputs.max(1)).enumerate().for_each(|(i, row)| self.widen_row(first + i, 1.0, row));
            work(first, Mat::row_major(wide, count, inputs));
        }
    }
}

fn widen<W: Widen>(values: &[W], factor: f32, out: &mut [f32]) {
    #[inline(always)]
    fn body<const FMA: bool, W: Widen>(values: &[W], factor: f32, out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.widen() * factor;
        }
    }
    crate::dispatch!(body<W: Widen>(values: &[W], factor: f32, out: &mut [f32]));
}

/// Every weight read once, in the order it is stored; tasks of whole outputs.
fn few_rows<W: Element>(x: Mat<'_>, values: &[W], scales: Option<&[f32]>, out: &mut [f32]) {
    let outputs = out.len() / x.rows;
    let per_task = (TASK / x.cols).max(4).next_multiple_of(4);
    let dots = |task: usize| {
        let first = task * per_task;
        let count = per_task.min(outputs - first);
        let mut block = vec![0.0; x.rows * count];
        dot_columns(x, values, x.cols, first, &mut block);
        if let Some(scales) = scales {
            for row in block.chunks_exact_mut(count) {
                row.iter_mut().zip(&scales[first..]).for_each(|(sum, scale)| *sum *= scale);
            }
        }
        block
    };
    let tasks = outputs.div_ceil(per_task);
    if x.rows == 1 {
        // One row: every task writes its own stretch of it.
        return out.par_chunks_mut(per_task).enumerate().for_each(|(task, out)| out.copy_from_slice(&dots(task)));
    }
    let blocks: Vec<Vec<f32>> = (0..tasks).into_par_iter().map(dots).collect();
    for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
        for (block, out) in blocks.iter().zip(out.chunks_mut(per_task)) {
            out.copy_from_slice(&block[row * out.len()..][..out.len()]);
        }
    }
}
