//! The residual step of a post-norm block, fused: `sum = residual + dropout(branch)` and
//! `out = layer_norm(sum)`, each row while it is in cache. See [`norm`](crate::norm) for the
//! formulas and the derivation of the backward.

use rayon::prelude::*;

use crate::dropout::{self, DropoutKey};
use crate::norm::{Upstream, add_both, check, layer_norm_row, layer_norm_row_backward};
use crate::parallel::{optional_chunks, rows_per_partial, rows_per_task};

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
    let lengths = [residual.len(), branch.len(), sum_out.len(), out.len(), rstd.len() * gamma.len()];
    let width = check("add_dropout_layer_norm_forward", gamma, mean.len(), &lengths);
    assert_eq!(beta.len(), width, "add_dropout_layer_norm_forward: beta and gamma");
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
                Some((key, first)) => dropout::add_body::<FMA>(key, first + row * width, residual, branch, sum),
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
    let lengths = [sum.len(), dy.len(), upstream_length, dresidual.len(), dbranch.len(), rstd.len() * gamma.len()];
    let width = check("add_dropout_layer_norm_backward", gamma, mean.len(), &lengths);
    assert!(dgamma.len() == width && dbeta.len() == width, "add_dropout_layer_norm_backward: dgamma and dbeta");
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
            layer_norm_row_backward::<FMA>(x, gamma, (mean, rstd), dy, dresidual, from, dgamma, dbeta);
            match dropout {
                Some((key, first)) => dropout::for_groups(key, first + row * width, width, |range, multipliers| {
                    let from = &dresidual[range.clone()];
                    for ((out, x), m) in dbranch[range].iter_mut().zip(from).zip(multipliers) {
                        *out = x * m;
                    }
                }),
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
