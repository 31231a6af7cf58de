//! RMS normalisation of rows (Zhang and Sennrich 2019, arXiv:1910.07467), as Llama uses it.
//!
//! For a row x of width C: r = 1/√(Σx²/C + ε), x̂ = x·r, y = γ·x̂. r of each row is saved.
//!
//! Backward. With g = γ·dy and ∂r/∂x = −r³·x/C, dx = r·(g − x̂·Σ(g·x̂)/C) and dγ = Σ_rows dy·x̂.

pub use crate::residual_rms_norm::{add_dropout_rms_norm_backward, add_dropout_rms_norm_forward};

use rayon::prelude::*;

use crate::norm::check;
use crate::parallel::{add_partials, optional_chunks_mut, rows_per_partial, rows_per_task};
use crate::reduce;
use crate::simd::mul_add;

/// Normalises one row; returns its reciprocal root mean square.
#[inline(always)]
pub(crate) fn rms_norm_row<const FMA: bool>(x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32]) -> f32 {
    let mean_square = reduce::fold(x, |sum, x| mul_add::<FMA>(x, x, sum)) / gamma.len() as f32;
    let rstd = 1.0 / (mean_square + eps).sqrt();
    for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
        *out = x * rstd * gamma;
    }
    rstd
}

/// Σ γ·dy·x̂ / C of one row.
#[inline(always)]
pub(crate) fn mean_product<const FMA: bool>(x: &[f32], gamma: &[f32], rstd: f32, dy: &[f32]) -> f32 {
    reduce::fold_three(x, gamma, dy, |sum, x, gamma, dy| mul_add::<FMA>(gamma * dy, x * rstd, sum)) / gamma.len() as f32
}

/// Gradients of one row: into `dx`, or added to it with `accumulate`; those of gamma are added to `dgamma`, unless that is empty.
#[inline(always)]
pub(crate) fn rms_norm_row_backward<const FMA: bool>(
    x: &[f32],
    gamma: &[f32],
    rstd: f32,
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    dgamma: &mut [f32],
) {
    match (accumulate, dgamma.is_empty()) {
        (false, false) => row_backward::<FMA, false, true>(x, gamma, rstd, dy, dx, dgamma),
        (false, true) => row_backward::<FMA, false, false>(x, gamma, rstd, dy, dx, dgamma),
        (true, false) => row_backward::<FMA, true, true>(x, gamma, rstd, dy, dx, dgamma),
        (true, true) => row_backward::<FMA, true, false>(x, gamma, rstd, dy, dx, dgamma),
    }
}

#[inline(always)]
fn row_backward<const FMA: bool, const ADD: bool, const DGAMMA: bool>(
    x: &[f32],
    gamma: &[f32],
    rstd: f32,
    dy: &[f32],
    dx: &mut [f32],
    dgamma: &mut [f32],
) {
    let n = gamma.len();
    let mean = mean_product::<FMA>(x, gamma, rstd, dy);
    let (x, dy, dx) = (&x[..n], &dy[..n], &mut dx[..n]);
    let dgamma = if DGAMMA { &mut dgamma[..n] } else { dgamma };
    for i in 0..n {
        let normalised = x[i] * rstd;
        if DGAMMA {
            dgamma[i] = mul_add::<FMA>(dy[i], normalised, dgamma[i]);
        }
        let centred = mul_add::<FMA>(-normalised, mean, gamma[i] * dy[i]);
        dx[i] = mul_add::<FMA>(centred, rstd, if ADD { dx[i] } else { 0.0 });
    }
}

/// `out = rms_norm(x)`; saves the reciprocal root mean square of each row.
///
/// # Shapes
/// `x, out: [rows, C]`, `gamma: [C]`, `rstd: [rows]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn rms_norm_forward(x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32], rstd: &mut [f32]) {
    let width = check("rms_norm_forward", gamma, rstd.len(), &[x.len(), out.len()]);
    #[inline(always)]
    fn body<const FMA: bool>(x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32], rstd: &mut [f32]) {
        let width = gamma.len();
        for ((x, out), rstd) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(rstd) {
            *rstd = rms_norm_row::<FMA>(x, gamma, eps, out);
        }
    }
    let rows = rows_per_task(width);
    let chunk = rows * width;
    let tasks = x.par_chunks(chunk).zip(out.par_chunks_mut(chunk)).zip(rstd.par_chunks_mut(rows));
    tasks.for_each(|((x, out), rstd)| {
        crate::dispatch!(body(x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32], rstd: &mut [f32]));
    });
}

/// Gradients of [`rms_norm_forward`], those that are given a place: `dx = …` (`+=` with `accumulate`), `dgamma += …`.
///
/// # Shapes
/// `x, dy, dx: [rows, C]`, `rstd: [rows]`, `gamma, dgamma: [C]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn rms_norm_backward(
    x: &[f32],
    gamma: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    accumulate: bool,
    dgamma: Option<&mut [f32]>,
) {
    let dx_len = dx.as_deref().map_or(x.len(), <[f32]>::len);
    let width = check("rms_norm_backward", gamma, rstd.len(), &[x.len(), dy.len(), dx_len]);
    assert_eq!(dgamma.as_deref().map_or(width, <[f32]>::len), width, "rms_norm_backward: dgamma and gamma");
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        gamma: &[f32],
        rstd: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        dgamma: &mut [f32],
    ) {
        let n = gamma.len();
        let rows = x.chunks_exact(n).zip(dy.chunks_exact(n)).zip(rstd);
        if dx.is_empty() {
            for ((x, dy), &rstd) in rows {
                for ((dgamma, x), dy) in dgamma.iter_mut().zip(x).zip(dy) {
                    *dgamma = mul_add::<FMA>(*dy, x * rstd, *dgamma);
                }
            }
        } else {
            for (((x, dy), &rstd), dx) in rows.zip(dx.chunks_exact_mut(n)) {
                rms_norm_row_backward::<FMA>(x, gamma, rstd, dy, dx, accumulate, dgamma);
            }
        }
    }
    let rows = rows_per_partial(rstd.len(), width);
    let (chunk, tasks) = (rows * width, rstd.len().div_ceil(rows));
    let mut partials = vec![0.0; if dgamma.is_some() { tasks * width } else { 0 }];
    let partial = dgamma.is_some().then_some(&mut partials[..]);
    x.par_chunks(chunk)
        .zip(dy.par_chunks(chunk))
        .zip(rstd.par_chunks(rows))
        .zip(optional_chunks_mut(dx, chunk, tasks))
        .zip(optional_chunks_mut(partial, width, tasks))
        .for_each(|((((x, dy), rstd), dx), dgamma)| {
            // Plain slices, empty where nothing is wanted: of optional ones the compiler does not know that they lie apart.
            let (dx, dgamma) = (dx.unwrap_or(&mut []), dgamma.unwrap_or(&mut []));
            crate::dispatch!(body(x: &[f32], gamma: &[f32], rstd: &[f32], dy: &[f32],
                dx: &mut [f32], accumulate: bool, dgamma: &mut [f32]));
        });
    if let Some(dgamma) = dgamma {
        add_partials(&partials, dgamma);
    }
}

/// One row of [`rms_norm_forward`] in f64.
pub fn reference(x: &[f64], gamma: &[f64], eps: f64) -> Vec<f64> {
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(gamma).map(|(x, gamma)| gamma * x / (mean_square + eps).sqrt()).collect()
}
