//! Layer normalisation of rows.
//!
//! Layer norm (Ba et al. 2016, arXiv:1607.06450), for a row x of width C:
//! μ = Σx/C, σ² = Σ(x − μ)²/C, r = 1/√(σ² + ε), x̂ = (x − μ)·r, y = γ·x̂ + β.
//!
//! The variance is a second pass over the row, which the first left in cache: the one-pass formula
//! Σx²/C − μ² cancels when |μ| ≫ σ. μ and r of each row are saved.
//!
//! Backward. With g = γ·dy, y depends on x through x̂ only, and x̂ has Σx̂ = 0 and Σx̂²/C ≈ 1, so
//! the Jacobian of x̂ is r·(I − 1·1ᵀ/C − x̂·x̂ᵀ/C):
//! dx = r·(g − Σg/C − x̂·Σ(g·x̂)/C), dγ = Σ_rows dy·x̂, dβ = Σ_rows dy.

pub use crate::residual_norm::{add_dropout_layer_norm_backward, add_dropout_layer_norm_forward};

use rayon::prelude::*;

use crate::parallel::{add_partials, rows_per_partial, rows_per_task};
use crate::reduce;
use crate::simd::mul_add;

/// Width and number of rows.
#[track_caller]
pub(crate) fn check(op: &str, gamma: &[f32], rows: usize, lengths: &[usize]) -> usize {
    let width = gamma.len();
    assert!(width > 0, "{op}: gamma is empty");
    let expected = rows * width;
    assert!(lengths.iter().all(|&l| l == expected), "{op}: lengths {lengths:?}, expected {rows} rows of {width}");
    width
}

/// Normalises one row; returns its mean and reciprocal standard deviation.
#[inline(always)]
pub(crate) fn layer_norm_row<const FMA: bool>(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    out: &mut [f32],
) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = reduce::sum(x) / width;
    let variance = reduce::fold(x, |sum, x| mul_add::<FMA>(x - mean, x - mean, sum)) / width;
    let rstd = 1.0 / (variance + eps).sqrt();
    for (((out, x), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
        *out = mul_add::<FMA>((x - mean) * rstd, *gamma, *beta);
    }
    (mean, rstd)
}

/// `out = layer_norm(x)`; saves the mean and reciprocal standard deviation of each row.
///
/// # Shapes
/// `x, out: [rows, C]`, `gamma, beta: [C]`, `mean, rstd: [rows]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn layer_norm_forward(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    out: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let width = check("layer_norm_forward", gamma, mean.len(), &[x.len(), out.len(), rstd.len() * gamma.len()]);
    assert_eq!(beta.len(), width, "layer_norm_forward: beta and gamma");
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        eps: f32,
        out: &mut [f32],
        mean: &mut [f32],
        rstd: &mut [f32],
    ) {
        let width = gamma.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(mean.iter_mut().zip(rstd));
        for ((x, out), (mean, rstd)) in rows {
            (*mean, *rstd) = layer_norm_row::<FMA>(x, gamma, beta, eps, out);
        }
    }
    let rows = rows_per_task(width);
    let chunk = rows * width;
    x.par_chunks(chunk)
        .zip(out.par_chunks_mut(chunk))
        .zip(mean.par_chunks_mut(rows).zip(rstd.par_chunks_mut(rows)))
        .for_each(|((x, out), (mean, rstd))| {
            crate::dispatch!(body(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32,
                out: &mut [f32], mean: &mut [f32], rstd: &mut [f32]));
        });
}

/// Gradient of one row into `dx`, added to `upstream`; adds to the row sums `dgamma` and `dbeta`.
#[inline(always)]
pub(crate) fn layer_norm_row_backward<const FMA: bool>(
    x: &[f32],
    gamma: &[f32],
    (mean, rstd): (f32, f32),
    dy: &[f32],
    dx: &mut [f32],
    upstream: Upstream<'_>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let width = gamma.len() as f32;
    let (sum_g, sum_gx) = reduce::fold3(x, gamma, dy, |(sum_g, sum_gx), x, gamma, dy| {
        let g = gamma * dy;
        (sum_g + g, mul_add::<FMA>(g, (x - mean) * rstd, sum_gx))
    });
    let (mean_g, mean_gx) = (sum_g / width, sum_gx / width);
    let n = gamma.len();
    let (x, dy, dx) = (&x[..n], &dy[..n], &mut dx[..n]);
    let (dgamma, dbeta) = (&mut dgamma[..n], &mut dbeta[..n]);
    let mut each = |i: usize, old: f32| {
        let normalised = (x[i] - mean) * rstd;
        dgamma[i] = mul_add::<FMA>(dy[i], normalised, dgamma[i]);
        dbeta[i] += dy[i];
        let centred = mul_add::<FMA>(gamma[i], dy[i], -mean_g);
        mul_add::<FMA>(mul_add::<FMA>(-normalised, mean_gx, centred), rstd, old)
    };
    match upstream {
        Upstream::None => (0..n).for_each(|i| dx[i] = each(i, 0.0)),
        Upstream::InPlace => (0..n).for_each(|i| dx[i] = each(i, dx[i])),
        Upstream::From(from) => {
            let from = &from[..n];
            (0..n).for_each(|i| dx[i] = each(i, from[i]));
        }
    }
}

/// What the gradient of the input is added to.
#[derive(Clone, Copy)]
pub(crate) enum Upstream<'a> {
    None,
    InPlace,
    From(&'a [f32]),
}

/// Gradients of [`layer_norm_forward`]: `dx = …` (`+=` with `accumulate`), `dgamma += …`,
/// `dbeta += …`.
///
/// # Shapes
/// `x, dy, dx: [rows, C]`, `mean, rstd: [rows]`, `gamma, dgamma, dbeta: [C]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn layer_norm_backward(
    x: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let lengths = [x.len(), dy.len(), dx.len(), rstd.len() * gamma.len()];
    check("layer_norm_backward", gamma, mean.len(), &lengths);
    assert!(dgamma.len() == gamma.len() && dbeta.len() == gamma.len(), "layer_norm_backward: dgamma and dbeta");
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        gamma: &[f32],
        saved: (&[f32], &[f32]),
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        sums: &mut [f32],
    ) {
        let width = gamma.len();
        let (dgamma, dbeta) = sums.split_at_mut(width);
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
        for (((x, dy), dx), (&mean, &rstd)) in rows.zip(saved.0.iter().zip(saved.1)) {
            let upstream = if accumulate { Upstream::InPlace } else { Upstream::None };
            layer_norm_row_backward::<FMA>(x, gamma, (mean, rstd), dy, dx, upstream, dgamma, dbeta);
        }
    }
    let width = gamma.len();
    let rows = rows_per_partial(mean.len(), width);
    let chunk = rows * width;
    let mut partials = vec![0.0; mean.len().div_ceil(rows) * 2 * width];
    x.par_chunks(chunk)
        .zip(dy.par_chunks(chunk))
        .zip(dx.par_chunks_mut(chunk))
        .zip(mean.par_chunks(rows).zip(rstd.par_chunks(rows)))
        .zip(partials.par_chunks_mut(2 * width))
        .for_each(|((((x, dy), dx), saved), sums)| {
            crate::dispatch!(body(x: &[f32], gamma: &[f32], saved: (&[f32], &[f32]), dy: &[f32],
                dx: &mut [f32], accumulate: bool, sums: &mut [f32]));
        });
    add_both(&partials, dgamma, dbeta);
}

/// Adds partial sums `[dgamma | dbeta]`.
pub(crate) fn add_both(partials: &[f32], dgamma: &mut [f32], dbeta: &mut [f32]) {
    let width = dgamma.len();
    for partial in partials.chunks_exact(2 * width) {
        add_partials(&partial[..width], dgamma);
        add_partials(&partial[width..], dbeta);
    }
}

/// One row of [`layer_norm_forward`] in f64.
pub fn reference(x: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let width = x.len() as f64;
    let mean = x.iter().sum::<f64>() / width;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
    let normalised = x.iter().map(|x| (x - mean) / (variance + eps).sqrt());
    normalised.zip(gamma.iter().zip(beta)).map(|(x, (gamma, beta))| gamma * x + beta).collect()
}
