//! RMS normalisation of rows (Zhang and Sennrich 2019, arXiv:1910.07467), as Llama uses it.
//!
//! For a row x of width C: r = 1/√(Σx²/C + ε), x̂ = x·r, y = γ·x̂. r of each row is saved.
//!
//! Backward. With g = γ·dy and ∂r/∂x = −r³·x/C, dx = r·(g − x̂·Σ(g·x̂)/C) and dγ = Σ_rows dy·x̂.

use rayon::prelude::*;

use crate::parallel::{add_partials, rows_per_partial, rows_per_task};
use crate::reduce;
use crate::simd::mul_add;

#[track_caller]
fn check(op: &str, gamma: &[f32], rows: usize, lengths: &[usize]) -> usize {
    let width = gamma.len();
    assert!(width > 0, "{op}: gamma is empty");
    let expected = rows * width;
    assert!(lengths.iter().all(|&l| l == expected), "{op}: lengths {lengths:?}, expected {rows} rows of {width}");
    width
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
            let mean_square = reduce::fold(x, |sum, x| mul_add::<FMA>(x, x, sum)) / width as f32;
            *rstd = 1.0 / (mean_square + eps).sqrt();
            for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
                *out = x * *rstd * gamma;
            }
        }
    }
    let rows = rows_per_task(width);
    let chunk = rows * width;
    let tasks = x.par_chunks(chunk).zip(out.par_chunks_mut(chunk)).zip(rstd.par_chunks_mut(rows));
    tasks.for_each(|((x, out), rstd)| {
        crate::dispatch!(body(x: &[f32], gamma: &[f32], eps: f32, out: &mut [f32], rstd: &mut [f32]));
    });
}

/// Gradients of [`rms_norm_forward`]: `dx = …` (`+=` with `accumulate`), `dgamma += …`.
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
    dx: &mut [f32],
    accumulate: bool,
    dgamma: &mut [f32],
) {
    let width = check("rms_norm_backward", gamma, rstd.len(), &[x.len(), dy.len(), dx.len()]);
    assert_eq!(dgamma.len(), width, "rms_norm_backward: dgamma and gamma");
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
        let rows = x.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n));
        for (((x, dy), dx), &rstd) in rows.zip(rstd) {
            let (_, sum) =
                reduce::fold3(x, gamma, dy, |(_, sum), x, gamma, dy| (0.0, mul_add::<FMA>(gamma * dy, x * rstd, sum)));
            let mean = sum / n as f32;
            let (x, dy, dx, dgamma) = (&x[..n], &dy[..n], &mut dx[..n], &mut dgamma[..n]);
            for i in 0..n {
                let normalised = x[i] * rstd;
                dgamma[i] = mul_add::<FMA>(dy[i], normalised, dgamma[i]);
                let gradient = mul_add::<FMA>(-normalised, mean, gamma[i] * dy[i]) * rstd;
                dx[i] = if accumulate { dx[i] + gradient } else { gradient };
            }
        }
    }
    let rows = rows_per_partial(rstd.len(), width);
    let chunk = rows * width;
    let mut partials = vec![0.0; rstd.len().div_ceil(rows) * width];
    x.par_chunks(chunk)
        .zip(dy.par_chunks(chunk))
        .zip(dx.par_chunks_mut(chunk))
        .zip(rstd.par_chunks(rows).zip(partials.par_chunks_mut(width)))
        .for_each(|(((x, dy), dx), (rstd, dgamma))| {
            crate::dispatch!(body(x: &[f32], gamma: &[f32], rstd: &[f32], dy: &[f32],
                dx: &mut [f32], accumulate: bool, dgamma: &mut [f32]));
        });
    add_partials(&partials, dgamma);
}

/// One row of [`rms_norm_forward`] in f64.
pub fn reference(x: &[f64], gamma: &[f64], eps: f64) -> Vec<f64> {
    let mean_square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(gamma).map(|(x, gamma)| gamma * x / (mean_square + eps).sqrt()).collect()
}
