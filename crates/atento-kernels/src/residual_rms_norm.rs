//! The residual step of a pre-norm block with RMS normalisation, fused: `sum = residual + dropout(branch)` and
//! `out = rms_norm(sum)`, each row while it is in cache. See [`rms_norm`](crate::rms_norm) for the formulas and the
//! derivation of the backward.

use rayon::prelude::*;

use crate::dropout::{self, DropoutKey};
use crate::norm::check;
use crate::parallel::{add_partials, optional_chunks_mut, rows_per_partial, rows_per_task};
use crate::rms_norm::{rms_norm_row, rms_norm_row_backward};

/// The key, if it drops anything.
#[track_caller]
fn dropping(dropout: Option<DropoutKey>) -> Option<DropoutKey> {
    let key = dropout.filter(|key| key.probability > 0.0);
    if let Some(key) = key {
        key.check();
    }
    key
}

/// `sum_out = residual + dropout(branch)`, `out = rms_norm(sum_out)`, in one pass over memory.
///
/// # Shapes
/// `residual, branch, sum_out, out: [rows, C]`, `gamma: [C]`, `rstd: [rows]`.
///
/// # Panics
/// If the lengths do not fit or the dropout probability is not in [0, 1).
#[track_caller]
pub fn add_dropout_rms_norm_forward(
    residual: &[f32],
    branch: &[f32],
    dropout: Option<DropoutKey>,
    gamma: &[f32],
    eps: f32,
    sum_out: &mut [f32],
    out: &mut [f32],
    rstd: &mut [f32],
) {
    let lengths = [residual.len(), branch.len(), sum_out.len(), out.len()];
    let width = check("add_dropout_rms_norm_forward", gamma, rstd.len(), &lengths);
    let key = dropping(dropout);
    #[inline(always)]
    fn body<const FMA: bool>(
        (residual, branch): (&[f32], &[f32]),
        dropout: Option<(DropoutKey, usize)>,
        (gamma, eps): (&[f32], f32),
        sum: &mut [f32],
        out: &mut [f32],
        rstd: &mut [f32],
    ) {
        let width = gamma.len();
        for (row, rstd) in rstd.iter_mut().enumerate() {
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
            *rstd = rms_norm_row::<FMA>(sum, gamma, eps, out);
        }
    }
    let rows = rows_per_task(width);
    let chunk = rows * width;
    residual
        .par_chunks(chunk)
        .zip(branch.par_chunks(chunk))
        .zip(sum_out.par_chunks_mut(chunk).zip(out.par_chunks_mut(chunk)))
        .zip(rstd.par_chunks_mut(rows))
        .enumerate()
        .for_each(|(task, ((inputs, (sum, out)), rstd))| {
            let dropout = key.map(|key| (key, task * chunk));
            let scale = (gamma, eps);
            crate::dispatch!(body(inputs: (&[f32], &[f32]), dropout: Option<(DropoutKey, usize)>,
                scale: (&[f32], f32), sum: &mut [f32], out: &mut [f32], rstd: &mut [f32]));
        });
}

/// Gradients of [`add_dropout_rms_norm_forward`]: `dresidual = rms_norm_backward(dy)`, or `+=` with `accumulate`, where it
/// holds the gradient that reaches `sum_out` from elsewhere; then, if they are given a place, `dbranch = dropout(dresidual)`
/// and `dgamma += …`.
///
/// # Shapes
/// `sum, dy, dresidual, dbranch: [rows, C]`, `rstd: [rows]`, `gamma, dgamma: [C]`.
///
/// # Panics
/// If the lengths do not fit or the dropout probability is not in [0, 1).
#[track_caller]
pub fn add_dropout_rms_norm_backward(
    sum: &[f32],
    gamma: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dropout: Option<DropoutKey>,
    dresidual: &mut [f32],
    accumulate: bool,
    dbranch: Option<&mut [f32]>,
    dgamma: Option<&mut [f32]>,
) {
    let branch_len = dbranch.as_deref().map_or(dy.len(), <[f32]>::len);
    let lengths = [sum.len(), dy.len(), dresidual.len(), branch_len];
    let width = check("add_dropout_rms_norm_backward", gamma, rstd.len(), &lengths);
    let dgamma_len = dgamma.as_deref().map_or(width, <[f32]>::len);
    assert_eq!(dgamma_len, width, "add_dropout_rms_norm_backward: dgamma and gamma");
    let key = dropping(dropout);
    #[inline(always)]
    fn body<const FMA: bool>(
        (sum, gamma, rstd, dy): (&[f32], &[f32], &[f32], &[f32]),
        accumulate: bool,
        dropout: Option<(DropoutKey, usize)>,
        dresidual: &mut [f32],
        dbranch: &mut [f32],
        dgamma: &mut [f32],
    ) {
        let width = gamma.len();
        for (row, &rstd) in rstd.iter().enumerate() {
            let at = row * width..(row + 1) * width;
            let (x, dy, dresidual) = (&sum[at.clone()], &dy[at.clone()], &mut dresidual[at.clone()]);
            rms_norm_row_backward::<FMA>(x, gamma, rstd, dy, dresidual, accumulate, dgamma);
            if dbranch.is_empty() {
                continue;
            }
            let dbranch = &mut dbranch[at];
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
    let rows = rows_per_partial(rstd.len(), width);
    let (chunk, tasks) = (rows * width, rstd.len().div_ceil(rows));
    let mut partials = vec![0.0; if dgamma.is_some() { tasks * width } else { 0 }];
    let partial = dgamma.is_some().then_some(&mut partials[..]);
    sum.par_chunks(chunk)
        .zip(dy.par_chunks(chunk))
        .zip(rstd.par_chunks(rows))
        .zip(dresidual.par_chunks_mut(chunk).zip(optional_chunks_mut(dbranch, chunk, tasks)))
        .zip(optional_chunks_mut(partial, width, tasks))
        .enumerate()
        .for_each(|(task, ((((sum, dy), rstd), (dresidual, dbranch)), dgamma))| {
            let dropout = key.map(|key| (key, task * chunk));
            let operands = (sum, gamma, rstd, dy);
            // Plain slices, empty where nothing is wanted, as in `rms_norm_backward`.
            let (dbranch, dgamma) = (dbranch.unwrap_or(&mut []), dgamma.unwrap_or(&mut []));
            crate::dispatch!(body(operands: (&[f32], &[f32], &[f32], &[f32]), accumulate: bool,
                dropout: Option<(DropoutKey, usize)>, dresidual: &mut [f32], dbranch: &mut [f32], dgamma: &mut [f32]));
        });
    if let Some(dgamma) = dgamma {
        add_partials(&partials, dgamma);
    }
}
