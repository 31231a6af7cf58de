//! Layer normalisation of rows, with the fused residual step of a block.
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

use rayon::prelude::*;

use crate::dropout::{self, DropoutKey};
use crate::parallel::{add_partials, optional_chunks, rows_per_partial, rows_per_task};
use crate::reduce;
use crate::simd::mul_add;

/// Width and number of rows.
#[track_caller]
fn check(op: &str, gamma: &[f32], rows: usize, lengths: &[usize]) -> usize {
    let width = gamma.len();
    assert!(width > 0, "{op}: gamma is empty");
    let expected = rows * width;
    assert!(
        lengths.iter().all(|&l| l == expected),
        "{op}: lengths {lengths:?}, expected {rows} rows of {width}"
    );
    width
}

/// Normalises one row; returns its mean and reciprocal standard deviation.
#[inline(always)]
fn layer_norm_row<const FMA: bool>(
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
    let width = check(
        "layer_norm_forward",
        gamma,
        mean.len(),
        &[x.len(), out.len(), rstd.len() * gamma.len()],
    );
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
        let rows = x
            .chunks_exact(width)
            .zip(out.chunks_exact_mut(width))
            .zip(mean.iter_mut().zip(rstd));
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

/// `sum_out = residual + dropout(branch)`, `out = layer_norm(sum_out)`, in one pass over memory.
///
/// # Shapes
/// `residual, branch, sum_out, out: [rows, C]`, `gamma, beta: [C]`, `mean, rstd: [rows]`.
///
/// # Panics
/// If the lengths do not fit or the dropout probability is not in [0, 1).
#[track_caller]
pub fn add_dropout_layer_norm_forward(
    residual: &[f32],
    branch: &[f32],
    dropout: Option<DropoutKey>,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    sum_out: &mut [f32],
    out: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) {
    let lengths = [
        residual.len(),
        branch.len(),
        sum_out.len(),
        out.len(),
        rstd.len() * gamma.len(),
    ];
    let width = check(
        "add_dropout_layer_norm_forward",
        gamma,
        mean.len(),
        &lengths,
    );
    assert_eq!(
        beta.len(),
        width,
        "add_dropout_layer_norm_forward: beta and gamma"
    );
    let key = dropout.filter(|key| key.probability > 0.0);
    if let Some(key) = key {
        key.check();
    }
    #[inline(always)]
    fn body<const FMA: bool>(
        residual: &[f32],
        branch: &[f32],
        dropout: Option<(DropoutKey, usize)>,
        affine: (&[f32], &[f32], f32),
        sum: &mut [f32],
        out: &mut [f32],
        saved: (&mut [f32], &mut [f32]),
    ) {
        let (gamma, beta, eps) = affine;
        let width = gamma.len();
        for (row, (mean, rstd)) in saved.0.iter_mut().zip(saved.1).enumerate() {
            let at = row * width..(row + 1) * width;
            let (residual, branch) = (&residual[at.clone()], &branch[at.clone()]);
            let (sum, out) = (&mut sum[at.clone()], &mut out[at]);
            match dropout {
                Some((key, first)) => {
                    dropout::add_body::<FMA>(key, first + row * width, residual, branch, sum)
                }
                None => {
                    for ((sum, r), b) in sum.iter_mut().zip(residual).zip(branch) {
                        *sum = r + b;
                    }
                }
            }
            (*mean, *rstd) = layer_norm_row::<FMA>(sum, gamma, beta, eps, out);
        }
    }
    let rows = rows_per_task(width);
    let chunk = rows * width;
    residual
        .par_chunks(chunk)
        .zip(branch.par_chunks(chunk))
        .zip(sum_out.par_chunks_mut(chunk).zip(out.par_chunks_mut(chunk)))
        .zip(mean.par_chunks_mut(rows).zip(rstd.par_chunks_mut(rows)))
        .enumerate()
        .for_each(|(task, (((residual, branch), (sum, out)), saved))| {
            let dropout = key.map(|key| (key, task * chunk));
            let affine = (gamma, beta, eps);
            crate::dispatch!(body(residual: &[f32], branch: &[f32], dropout: Option<(DropoutKey, usize)>,
                affine: (&[f32], &[f32], f32), sum: &mut [f32], out: &mut [f32], saved: (&mut [f32], &mut [f32])));
        });
}

/// Gradient of one row into `dx`, added to `upstream`; adds to the row sums `dgamma` and `dbeta`.
#[inline(always)]
fn layer_norm_row_backward<const FMA: bool>(
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
enum Upstream<'a> {
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
    assert!(
        dgamma.len() == gamma.len() && dbeta.len() == gamma.len(),
        "layer_norm_backward: dgamma and dbeta"
    );
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
        let rows = x
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width));
        for (((x, dy), dx), (&mean, &rstd)) in rows.zip(saved.0.iter().zip(saved.1)) {
            let upstream = if accumulate {
                Upstream::InPlace
            } else {
                Upstream::None
            };
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
fn add_both(partials: &[f32], dgamma: &mut [f32], dbeta: &mut [f32]) {
    let width = dgamma.len();
    for partial in partials.chunks_exact(2 * width) {
        add_partials(&partial[..width], dgamma);
        add_partials(&partial[width..], dbeta);
    }
}

/// Gradients of [`add_dropout_layer_norm_forward`]: with `dsum = layer_norm_backward(dy) +
/// dsum_upstream`, `dresidual = dsum` and `dbranch = dropout(dsum)`; `dgamma += …`, `dbeta += …`.
/// `dsum_upstream` is the gradient that reaches `sum_out` from elsewhere, the residual stream.
///
/// # Shapes
/// `sum, dy, dsum_upstream, dresidual, dbranch: [rows, C]`, `mean, rstd: [rows]`,
/// `gamma, dgamma, dbeta: [C]`.
///
/// # Panics
/// If the lengths do not fit or the dropout probability is not in [0, 1).
#[track_caller]
pub fn add_dropout_layer_norm_backward(
    sum: &[f32],
    gamma: &[f32],
    mean: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dsum_upstream: Option<&[f32]>,
    dropout: Option<DropoutKey>,
    dresidual: &mut [f32],
    dbranch: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    let upstream_length = dsum_upstream.map_or(dy.len(), <[f32]>::len);
    let lengths = [
        sum.len(),
        dy.len(),
        upstream_length,
        dresidual.len(),
        dbranch.len(),
        rstd.len() * gamma.len(),
    ];
    let width = check(
        "add_dropout_layer_norm_backward",
        gamma,
        mean.len(),
        &lengths,
    );
    assert!(
        dgamma.len() == width && dbeta.len() == width,
        "add_dropout_layer_norm_backward: dgamma and dbeta"
    );
    let key = dropout.filter(|key| key.probability > 0.0);
    if let Some(key) = key {
        key.check();
    }
    #[inline(always)]
    fn body<const FMA: bool>(
        sum: &[f32],
        gamma: &[f32],
        saved: (&[f32], &[f32]),
        dy: &[f32],
        upstream: Option<&[f32]>,
        dropout: Option<(DropoutKey, usize)>,
        dresidual: &mut [f32],
        dbranch: &mut [f32],
        sums: &mut [f32],
    ) {
        let width = gamma.len();
        let (dgamma, dbeta) = sums.split_at_mut(width);
        for (row, (&mean, &rstd)) in saved.0.iter().zip(saved.1).enumerate() {
            let at = row * width..(row + 1) * width;
            let (x, dy) = (&sum[at.clone()], &dy[at.clone()]);
            let from = upstream.map_or(Upstream::None, |u| Upstream::From(&u[at.clone()]));
            let (dresidual, dbranch) = (&mut dresidual[at.clone()], &mut dbranch[at]);
            layer_norm_row_backward::<FMA>(
                x,
                gamma,
                (mean, rstd),
                dy,
                dresidual,
                from,
                dgamma,
                dbeta,
            );
            match dropout {
                Some((key, first)) => {
                    dropout::for_groups(key, first + row * width, width, |range, multipliers| {
                        let from = &dresidual[range.clone()];
                        for ((out, x), m) in dbranch[range].iter_mut().zip(from).zip(multipliers) {
                            *out = x * m;
                        }
                    })
                }
                None => dbranch.copy_from_slice(dresidual),
            }
        }
    }
    let rows = rows_per_partial(mean.len(), width);
    let chunk = rows * width;
    let tasks = mean.len().div_ceil(rows);
    let mut partials = vec![0.0; tasks * 2 * width];
    sum.par_chunks(chunk)
        .zip(dy.par_chunks(chunk))
        .zip(optional_chunks(dsum_upstream, chunk, tasks))
        .zip(dresidual.par_chunks_mut(chunk).zip(dbranch.par_chunks_mut(chunk)))
        .zip(mean.par_chunks(rows).zip(rstd.par_chunks(rows)))
        .zip(partials.par_chunks_mut(2 * width))
        .enumerate()
        .for_each(|(task, (((((sum, dy), upstream), (dresidual, dbranch)), saved), sums))| {
            let dropout = key.map(|key| (key, task * chunk));
            crate::dispatch!(body(sum: &[f32], gamma: &[f32], saved: (&[f32], &[f32]), dy: &[f32],
                upstream: Option<&[f32]>, dropout: Option<(DropoutKey, usize)>,
                dresidual: &mut [f32], dbranch: &mut [f32], sums: &mut [f32]));
        });
    add_both(&partials, dgamma, dbeta);
}
