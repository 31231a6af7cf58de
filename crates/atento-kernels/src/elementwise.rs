//! Arithmetic on whole slices, and copies between layouts of rows.
//!
//! Sums over a slice are in f64, of f32 chunks added in order: the same on any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::parallel::{TASK, rows_per_task};
use crate::simd::mul_add;

/// `out = a + b`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add(a: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "add: a, b and out");
    #[inline(always)]
    fn body<const FMA: bool>(a: &[f32], b: &[f32], out: &mut [f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a + b;
        }
    }
    a.par_chunks(TASK).zip(b.par_chunks(TASK)).zip(out.par_chunks_mut(TASK)).for_each(|((a, b), out)| {
        crate::dispatch!(body(a: &[f32], b: &[f32], out: &mut [f32]));
    });
}

/// `out = a · b`, element by element.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn mul(a: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "mul: a, b and out");
    #[inline(always)]
    fn body<const FMA: bool>(a: &[f32], b: &[f32], out: &mut [f32]) {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a * b;
        }
    }
    a.par_chunks(TASK).zip(b.par_chunks(TASK)).zip(out.par_chunks_mut(TASK)).for_each(|((a, b), out)| {
        crate::dispatch!(body(a: &[f32], b: &[f32], out: &mut [f32]));
    });
}

/// `out += a`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn add_assign(out: &mut [f32], a: &[f32]) {
    axpy(1.0, a, out);
}

/// `out += alpha · a`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn axpy(alpha: f32, a: &[f32], out: &mut [f32]) {
    assert_eq!(a.len(), out.len(), "axpy: a and out");
    #[inline(always)]
    fn body<const FMA: bool>(alpha: f32, a: &[f32], out: &mut [f32]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out = mul_add::<FMA>(alpha, a, *out);
        }
    }
    a.par_chunks(TASK).zip(out.par_chunks_mut(TASK)).for_each(|(a, out)| {
        crate::dispatch!(body(alpha: f32, a: &[f32], out: &mut [f32]));
    });
}

/// `x *= factor`.
pub fn scale(x: &mut [f32], factor: f32) {
    #[inline(always)]
    fn body<const FMA: bool>(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
    x.par_chunks_mut(TASK).for_each(|x| crate::dispatch!(body(x: &mut [f32], factor: f32)));
}

/// `x[.., first + j] *= factors[j]`.
///
/// # Shapes
/// `x: [rows, width]`.
///
/// # Panics
/// If `x` is not whole rows, or the columns leave a row.
#[track_caller]
pub fn scale_columns(x: &mut [f32], width: usize, first: usize, factors: &[f32]) {
    if x.is_empty() || factors.is_empty() {
        return;
    }
    let count = factors.len();
    assert!(x.len().is_multiple_of(width), "scale_columns: {} values in rows of {width}", x.len());
    assert!(first + count <= width, "scale_columns: {count} columns from {first} of {width}");
    #[inline(always)]
    fn body<const FMA: bool>(x: &mut [f32], factors: &[f32]) {
        for (x, factor) in x.iter_mut().zip(factors) {
            *x *= factor;
        }
    }
    x.par_chunks_mut(width * TASK.div_ceil(width)).for_each(|rows| {
        for row in rows.chunks_exact_mut(width) {
            let row = &mut row[first..first + count];
            crate::dispatch!(body(row: &mut [f32], factors: &[f32]));
        }
    });
}

/// Sum of `term` over tasks, added in order.
fn sum_tasks(x: &[f32], term: impl Fn(&[f32]) -> f64 + Sync) -> f64 {
    if x.len() <= TASK {
        return term(x);
    }
    let mut partials = vec![0.0; x.len().div_ceil(TASK)];
    x.par_chunks(TASK).zip(&mut partials).for_each(|(x, partial)| *partial = term(x));
    partials.into_iter().sum()
}

/// Lanes of a sum in f64.
const LANES: usize = 16;

#[inline(always)]
fn sum_f64(x: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += term(f64::from(x[i]));
        }
    }
    lanes.iter().sum::<f64>() + tail.iter().map(|&x| term(f64::from(x))).sum::<f64>()
}

/// Sum, in f64.
pub fn sum(x: &[f32]) -> f64 {
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32]) -> f64 {
        sum_f64(x, |x| x)
    }
    sum_tasks(x, |x| crate::dispatch!(body(x: &[f32]) -> f64))
}

/// Sum of squares, in f64; its root is the gradient norm.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32]) -> f64 {
        sum_f64(x, |x| x * x)
    }
    sum_tasks(x, |x| crate::dispatch!(body(x: &[f32]) -> f64))
}

/// Whether no element is infinite or NaN.
pub fn all_finite(x: &[f32]) -> bool {
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32]) -> bool {
        // No early exit, which would not vectorise: a finite slice is read to its end anyway.
        !x.iter().fold(false, |bad, x| bad | !x.is_finite())
    }
    x.par_chunks(TASK).all(|x| crate::dispatch!(body(x: &[f32]) -> bool))
}

/// Index of the first infinite or NaN element.
pub fn first_non_finite(x: &[f32]) -> Option<usize> {
    if all_finite(x) { None } else { x.iter().position(|x| !x.is_finite()) }
}

/// Copies columns: `out[row, out_first..][..width] = x[row, x_first..][..width]` for every row.
/// Concatenating tensors along their last dimension is one call per part.
///
/// # Shapes
/// `x: [rows, x_width]`, `out: [rows, out_width]`.
///
/// # Panics
/// If the lengths do not fit or the columns leave a row.
#[track_caller]
pub fn copy_columns(
    x: &[f32],
    x_width: usize,
    x_first: usize,
    out: &mut [f32],
    out_width: usize,
    out_first: usize,
    width: usize,
) {
    for_columns(x, x_width, x_first, out, out_width, out_first, width, |x, out| out.copy_from_slice(x));
}

/// Adds columns, the gradient of [`copy_columns`] with `x` and `out` exchanged.
///
/// # Shapes
/// `x: [rows, x_width]`, `out: [rows, out_width]`.
///
/// # Panics
/// If the lengths do not fit or the columns leave a row.
#[track_caller]
pub fn add_columns(
    x: &[f32],
    x_width: usize,
    x_first: usize,
    out: &mut [f32],
    out_width: usize,
    out_first: usize,
    width: usize,
) {
    for_columns(x, x_width, x_first, out, out_width, out_first, width, |x, out| {
        for (out, x) in out.iter_mut().zip(x) {
            *out += x;
        }
    });
}

#[track_caller]
fn for_columns(
    x: &[f32],
    x_width: usize,
    x_first: usize,
    out: &mut [f32],
    out_width: usize,
    out_first: usize,
    width: usize,
    apply: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    assert!(x_first + width <= x_width && out_first + width <= out_width, "columns: {width} columns leave a row");
    if width == 0 {
        return;
    }
    let rows = out.len() / out_width;
    assert!(
        out.len() == rows * out_width && x.len() == rows * x_width,
        "columns: x of {} in rows of {x_width}, out of {} in rows of {out_width}",
        x.len(),
        out.len()
    );
    let rows = rows_per_task(x_width.max(out_width));
    out.par_chunks_mut(rows * out_width).zip(x.par_chunks(rows * x_width)).for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(out_width).zip(x.chunks_exact(x_width)) {
            apply(&x[x_first..][..width], &mut out[out_first..][..width]);
        }
    });
}

/// `out[i] = x[rows[i]]`. The gradient is [`embedding::backward`](crate::embedding::backward).
///
/// # Shapes
/// `x: [n, width]`, `rows: [m]`, `out: [m, width]`.
///
/// # Panics
/// If the lengths do not fit or a row is not in `x`.
#[track_caller]
pub fn gather_rows(x: &[f32], width: usize, rows: &[u32], out: &mut [f32]) {
    assert_eq!(out.len(), rows.len() * width, "gather_rows: out against {} rows of {width}", rows.len());
    if width == 0 {
        return;
    }
    let chunk = rows_per_task(width);
    out.par_chunks_mut(chunk * width).zip(rows.par_chunks(chunk)).for_each(|(out, rows)| {
        for (out, &row) in out.chunks_exact_mut(width).zip(rows) {
            out.copy_from_slice(&x[row as usize * width..][..width]);
        }
    });
}

#[track_caller]
fn segment(cu_seqlens: &[u32], at: usize) -> Range<usize> {
    let (start, end) = (cu_seqlens[at] as usize, cu_seqlens[at + 1] as usize);
    assert!(start <= end, "mean_pool: cu_seqlens decreases from {start} to {end}");
    start..end
}

/// `out[b]` = mean of the rows `cu_seqlens[b]..cu_seqlens[b+1]` of `x`; 0 for an empty segment.
///
/// # Shapes
/// `x: [tokens, width]`, `cu_seqlens: [batch + 1]`, `out: [batch, width]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn mean_pool_forward(x: &[f32], width: usize, cu_seqlens: &[u32], out: &mut [f32]) {
    check_pool("mean_pool_forward", x, width, cu_seqlens, out);
    let rows = rows_per_task((x.len() / out.len().max(1)).max(1) * width);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(task, out)| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let range = segment(cu_seqlens, task * rows + i);
            let scale = 1.0 / range.len().max(1) as f32;
            out.fill(0.0);
            for x in x[range.start * width..range.end * width].chunks_exact(width) {
                for (out, x) in out.iter_mut().zip(x) {
                    *out += x;
                }
            }
            for out in out {
                *out *= scale;
            }
        }
    });
}

/// `dx[t] = dy[b] / length` for every row `t` of segment `b`.
///
/// # Shapes
/// `dy: [batch, width]`, `cu_seqlens: [batch + 1]`, `dx: [tokens, width]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn mean_pool_backward(dy: &[f32], width: usize, cu_seqlens: &[u32], dx: &mut [f32]) {
    check_pool("mean_pool_backward", dx, width, cu_seqlens, dy);
    for (b, dy) in dy.chunks_exact(width).enumerate() {
        let range = segment(cu_seqlens, b);
        let scale = 1.0 / range.len().max(1) as f32;
        for dx in dx[range.start * width..range.end * width].chunks_exact_mut(width) {
            for (dx, dy) in dx.iter_mut().zip(dy) {
                *dx = dy * scale;
            }
        }
    }
}

#[track_caller]
fn check_pool(op: &str, tokens: &[f32], width: usize, cu_seqlens: &[u32], pooled: &[f32]) {
    let (batch, total) = (cu_seqlens.len().saturating_sub(1), cu_seqlens.last().map_or(0, |&t| t as usize));
    assert!(
        width > 0 && pooled.len() == batch * width,
        "{op}: pooled of {} for {batch} segments of {width}",
        pooled.len()
    );
    assert!(
        tokens.len() == total * width && cu_seqlens.first().is_none_or(|&t| t == 0),
        "{op}: {} elements for {total} rows of {width}",
        tokens.len()
    );
}
