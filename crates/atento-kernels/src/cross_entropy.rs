//! Cross entropy of logits against class indices, with label smoothing, and its gradient in place.
//!
//! For a row x with target t among V classes, log Z = m + ln Σ exp(x − m) with m = max x, and
//! log p = x − log Z. As PyTorch's `CrossEntropyLoss(label_smoothing = ε)`:
//! loss = (1 − ε)·(−log p_t) + ε·(−Σ log p / V).
//! Backward: dx = p − (1 − ε)·onehot(t) − ε/V.
//!
//! Three passes over a row that stays in cache: maximum (and sum), exponentials (written in place),
//! gradient. A row's loss depends on that row only.

use rayon::prelude::*;

use crate::math::{exp, ln};
use crate::parallel::{optional_chunks_mut, rows_per_task};
use crate::reduce;
use crate::simd::{LANES, mul_add};

/// Losses of rows of logits, and with `want_grad` their gradient times `grad_scale`, written over
/// the logits. Without, the logits stay.
///
/// `losses` gets the smoothed loss of each row, `nll` the plain −log p of its target, `logz`, where
/// given, log Z. Rows without a target are the caller's to leave out.
///
/// # Shapes
/// `logits: [rows, V]`, `targets, losses, nll, logz: [rows]`.
///
/// # Panics
/// If the lengths do not fit or a target is not below V.
#[track_caller]
pub fn forward_backward(
    logits: &mut [f32],
    targets: &[u32],
    smoothing: f32,
    grad_scale: f32,
    want_grad: bool,
    losses: &mut [f32],
    nll: &mut [f32],
    logz: Option<&mut [f32]>,
) {
    let rows = targets.len();
    assert!(losses.len() == rows && nll.len() == rows, "cross_entropy: losses and nll against {rows} targets");
    assert!(logz.as_ref().is_none_or(|z| z.len() == rows), "cross_entropy: logz against {rows} targets");
    if rows == 0 {
        return;
    }
    assert!(logits.len().is_multiple_of(rows), "cross_entropy: {} logits for {rows} targets", logits.len());
    let classes = logits.len() / rows;
    let worst = targets.iter().copied().max().unwrap_or(0) as usize;
    assert!(worst < classes, "cross_entropy: target {worst} among {classes} classes");
    let settings = (smoothing, want_grad.then_some(grad_scale));
    let chunk = rows_per_task(classes);
    logits
        .par_chunks_mut(chunk * classes)
        .zip(targets.par_chunks(chunk))
        .zip(losses.par_chunks_mut(chunk).zip(nll.par_chunks_mut(chunk)))
        .zip(optional_chunks_mut(logz, chunk, rows.div_ceil(chunk)))
        .for_each(|(((logits, targets), (losses, nll)), logz)| {
            crate::dispatch!(body(logits: &mut [f32], targets: &[u32], settings: (f32, Option<f32>),
                losses: &mut [f32], nll: &mut [f32], logz: Option<&mut [f32]>));
        });
}

#[inline(always)]
fn body<const FMA: bool>(
    logits: &mut [f32],
    targets: &[u32],
    (smoothing, grad_scale): (f32, Option<f32>),
    losses: &mut [f32],
    nll: &mut [f32],
    mut logz: Option<&mut [f32]>,
) {
    let classes = logits.len() / targets.len();
    for (row, x) in logits.chunks_exact_mut(classes).enumerate() {
        let target = targets[row] as usize;
        let at_target = x[target];
        let max = reduce::max(x);
        // The mean of x − max: small terms, so that the sum keeps its digits.
        let mean = if smoothing > 0.0 { reduce::fold(x, |sum, x| sum + (x - max)) / classes as f32 } else { 0.0 };
        let sum = match grad_scale {
            Some(_) => exp_in_place::<FMA>(x, max),
            None => reduce::fold(x, |sum, x| sum + exp::<FMA>(x - max)),
        };
        let log_sum = ln::<FMA>(sum);
        nll[row] = log_sum - (at_target - max);
        losses[row] = (1.0 - smoothing) * nll[row] + smoothing * (log_sum - mean);
        if let Some(logz) = &mut logz {
            logz[row] = max + log_sum;
        }
        if let Some(scale) = grad_scale {
            let (factor, shift) = (scale / sum, -scale * smoothing / classes as f32);
            for x in x.iter_mut() {
                *x = mul_add::<FMA>(*x, factor, shift);
            }
            x[target] -= scale * (1.0 - smoothing);
        }
    }
}

/// `x = exp(x − max)`; returns the sum.
#[inline(always)]
fn exp_in_place<const FMA: bool>(x: &mut [f32], max: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, tail) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            x[i] = exp::<FMA>(x[i] - max);
            lanes[i] += x[i];
        }
    }
    let mut sum = 0.0;
    for x in tail {
        *x = exp::<FMA>(*x - max);
        sum += *x;
    }
    crate::simd::reduce_sum(lanes) + sum
}

#[track_caller]
fn for_rows(op: &str, x: &mut [f32], width: usize, task: impl Fn(&mut [f32]) + Sync + Send) {
    assert!(width > 0 && x.len().is_multiple_of(width), "{op}: {} elements in rows of {width}", x.len());
    x.par_chunks_mut(rows_per_task(width) * width).for_each(task);
}

/// Each row of `x` becomes its log-softmax.
///
/// # Shapes
/// `x: [rows, width]`.
///
/// # Panics
/// If `x` is not whole rows.
#[track_caller]
pub fn log_softmax(x: &mut [f32], width: usize) {
    #[inline(always)]
    fn body<const FMA: bool>(x: &mut [f32], width: usize) {
        for x in x.chunks_exact_mut(width) {
            let max = reduce::max(x);
            let log_sum = ln::<FMA>(reduce::fold(x, |sum, x| sum + exp::<FMA>(x - max)));
            for x in x {
                *x = (*x - max) - log_sum;
            }
        }
    }
    for_rows("log_softmax", x, width, |x| crate::dispatch!(body(x: &mut [f32], width: usize)));
}

/// Each row of `x` becomes its softmax; a row that is −∞ throughout becomes 0.
///
/// # Shapes
/// `x: [rows, width]`.
///
/// # Panics
/// If `x` is not whole rows.
#[track_caller]
pub fn softmax(x: &mut [f32], width: usize) {
    #[inline(always)]
    fn body<const FMA: bool>(x: &mut [f32], width: usize) {
        for x in x.chunks_exact_mut(width) {
            let max = reduce::max(x);
            if max == f32::NEG_INFINITY && x.iter().all(|x| *x == max) {
                x.fill(0.0);
                continue;
            }
            let factor = 1.0 / exp_in_place::<FMA>(x, max);
            for x in x {
                *x *= factor;
            }
        }
    }
    for_rows("softmax", x, width, |x| crate::dispatch!(body(x: &mut [f32], width: usize)));
}

/// Gradient of [`softmax`] from its result p: `dx = p·(dy − Σ p·dy)`, written over `dy`.
///
/// # Shapes
/// `p, dy: [rows, width]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn softmax_backward(p: &[f32], width: usize, dy: &mut [f32]) {
    assert!(width > 0 && p.len().is_multiple_of(width) && dy.len() == p.len(), "softmax_backward: p, width and dy");
    #[inline(always)]
    fn body<const FMA: bool>(p: &[f32], width: usize, dy: &mut [f32]) {
        for (p, dy) in p.chunks_exact(width).zip(dy.chunks_exact_mut(width)) {
            let dot = reduce::fold2(p, dy, |sum, p, dy| mul_add::<FMA>(p, dy, sum));
            for (dy, p) in dy.iter_mut().zip(p) {
                *dy = p * (*dy - dot);
            }
        }
    }
    let chunk = rows_per_task(width) * width;
    p.par_chunks(chunk).zip(dy.par_chunks_mut(chunk)).for_each(|(p, dy)| {
        crate::dispatch!(body(p: &[f32], width: usize, dy: &mut [f32]));
    });
}

/// The loss of one row in f64.
pub fn reference(x: &[f64], target: usize, smoothing: f64) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_z = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (1.0 - smoothing) * (log_z - x[target]) + smoothing * (log_z - mean)
}
