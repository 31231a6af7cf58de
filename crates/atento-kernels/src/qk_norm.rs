//! RMS normalisation of each head of the queries and keys in packed rows `[queries | keys | values]`, as Qwen 3 has it
//! (Yang et al. 2025, arXiv:2505.09388, §2; Henry et al. 2020, arXiv:2010.04245, for the idea).
//!
//! With H query heads, K key heads and K value heads of D numbers, all query heads share one γ of D numbers and all key
//! heads another; values stay as they are. Formulas and their derivation are those of [`rms_norm`](crate::rms_norm), with
//! a head in the place of a row.

use rayon::prelude::*;

use crate::parallel::{add_partials, optional_chunks_mut, rows_per_partial, rows_per_task};
use crate::rms_norm::{mean_product, rms_norm_row};
use crate::simd::mul_add;

/// How many heads a row holds, and how their numbers lie.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads H.
    pub n_heads: usize,
    /// Key heads, and as many value heads, K.
    pub n_kv_heads: usize,
    /// Numbers of a head D.
    pub head_dim: usize,
}

impl Heads {
    /// Numbers of a row.
    pub fn width(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    /// Heads of a row that are normalised.
    pub fn normalised(&self) -> usize {
        self.n_heads + self.n_kv_heads
    }

    #[track_caller]
    fn check(&self, op: &str, gammas: [&[f32]; 2], rstd: usize, lengths: &[usize]) {
        let (d, heads) = (self.head_dim, self.normalised());
        assert!(d > 0 && heads > 0, "{op}: {self:?}");
        assert!(
            gammas.iter().all(|gamma| gamma.len() == d),
            "{op}: gammas of {}, {}",
            gammas[0].len(),
            gammas[1].len()
        );
        let (rows, rest) = (rstd / heads, rstd % heads);
        let expected = rows * self.width();
        let fit = rest == 0 && lengths.iter().all(|&len| len == expected);
        assert!(fit, "{op}: lengths {lengths:?}, {rstd} heads, expected rows of {} and {heads} heads", self.width());
    }
}

/// `out` = `x` with the queries' and keys' heads normalised; saves the reciprocal root mean square of each of them.
///
/// # Shapes
/// `x, out: [rows, (H + 2K)·D]`, `gammas`: of the queries and of the keys, `[D]` each, `rstd: [rows, H + K]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(x: &[f32], heads: Heads, gammas: [&[f32]; 2], eps: f32, out: &mut [f32], rstd: &mut [f32]) {
    heads.check("qk_norm::forward", gammas, rstd.len(), &[x.len(), out.len()]);
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        heads: Heads,
        gammas: [&[f32]; 2],
        eps: f32,
        out: &mut [f32],
        rstd: &mut [f32],
    ) {
        let (d, width) = (heads.head_dim, heads.width());
        let rows =
            x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(rstd.chunks_exact_mut(heads.normalised()));
        for ((x, out), rstd) in rows {
            let each = x.chunks_exact(d).zip(out.chunks_exact_mut(d)).zip(rstd.iter_mut()).enumerate();
            for (head, ((x, out), rstd)) in each {
                *rstd = rms_norm_row::<FMA>(x, gammas[usize::from(head >= heads.n_heads)], eps, out);
            }
            let values = heads.normalised() * d;
            out[values..].copy_from_slice(&x[values..]);
        }
    }
    let rows = rows_per_task(heads.width());
    let (chunk, stats) = (rows * heads.width(), rows * heads.normalised());
    let tasks = x.par_chunks(chunk).zip(out.par_chunks_mut(chunk)).zip(rstd.par_chunks_mut(stats));
    tasks.for_each(|((x, out), rstd)| {
        crate::dispatch!(body(x: &[f32], heads: Heads, gammas: [&[f32]; 2], eps: f32, out: &mut [f32],
            rstd: &mut [f32]));
    });
}

/// Gradients of [`forward`]: `dx` holds the gradient of the output and is overwritten by that of the input; `dgammas += …`,
/// those that are given a place.
///
/// # Shapes
/// `x, dx: [rows, (H + 2K)·D]`, `rstd: [rows, H + K]`, `gammas` and `dgammas`: `[D]` each.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward(
    x: &[f32],
    heads: Heads,
    gammas: [&[f32]; 2],
    rstd: &[f32],
    dx: &mut [f32],
    dgammas: [Option<&mut [f32]>; 2],
) {
    heads.check("qk_norm::backward", gammas, rstd.len(), &[x.len(), dx.len()]);
    let d = heads.head_dim;
    let fit = dgammas.iter().flatten().all(|dgamma| dgamma.len() == d);
    assert!(fit, "qk_norm::backward: dgammas and gammas");
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        heads: Heads,
        gammas: [&[f32]; 2],
        rstd: &[f32],
        dx: &mut [f32],
        dq: &mut [f32],
        dk: &mut [f32],
    ) {
        let (d, width) = (heads.head_dim, heads.width());
        let rows = x.chunks_exact(width).zip(dx.chunks_exact_mut(width)).zip(rstd.chunks_exact(heads.normalised()));
        for ((x, dx), rstd) in rows {
            for (head, ((x, dx), &rstd)) in x.chunks_exact(d).zip(dx.chunks_exact_mut(d)).zip(rstd).enumerate() {
                match head < heads.n_heads {
                    true => head_backward::<FMA>(x, gammas[0], rstd, dx, dq),
                    false => head_backward::<FMA>(x, gammas[1], rstd, dx, dk),
                }
            }
        }
    }
    let all_rows = rstd.len() / heads.normalised();
    let rows = rows_per_partial(all_rows, heads.width());
    let (chunk, stats, tasks) = (rows * heads.width(), rows * heads.normalised(), all_rows.div_ceil(rows));
    let wanted = [dgammas[0].is_some(), dgammas[1].is_some()];
    let [mut dq, mut dk] = wanted.map(|wanted| vec![0.0; if wanted { tasks * d } else { 0 }]);
    let partial_dq = wanted[0].then_some(&mut dq[..]);
    let partial_dk = wanted[1].then_some(&mut dk[..]);
    x.par_chunks(chunk)
        .zip(dx.par_chunks_mut(chunk))
        .zip(rstd.par_chunks(stats))
        .zip(optional_chunks_mut(partial_dq, d, tasks).zip(optional_chunks_mut(partial_dk, d, tasks)))
        .for_each(|(((x, dx), rstd), (dq, dk))| {
            // Plain slices, empty where nothing is wanted, as in `rms_norm_backward`.
            let (dq, dk) = (dq.unwrap_or(&mut []), dk.unwrap_or(&mut []));
            crate::dispatch!(body(x: &[f32], heads: Heads, gammas: [&[f32]; 2], rstd: &[f32], dx: &mut [f32],
                dq: &mut [f32], dk: &mut [f32]));
        });
    for (dgamma, partials) in dgammas.into_iter().zip([dq, dk]) {
        if let Some(dgamma) = dgamma {
            add_partials(&partials, dgamma);
        }
    }
}

/// The gradient of one head, in place of that of its output; adds to `dgamma`, unless that is empty.
#[inline(always)]
fn head_backward<const FMA: bool>(x: &[f32], gamma: &[f32], rstd: f32, dx: &mut [f32], dgamma: &mut [f32]) {
    match dgamma.is_empty() {
        true => head_gradients::<FMA, false>(x, gamma, rstd, dx, dgamma),
        false => head_gradients::<FMA, true>(x, gamma, rstd, dx, dgamma),
    }
}

#[inline(always)]
fn head_gradients<const FMA: bool, const DGAMMA: bool>(
    x: &[f32],
    gamma: &[f32],
    rstd: f32,
    dx: &mut [f32],
    dgamma: &mut [f32],
) {
    let n = gamma.len();
    let mean = mean_product::<FMA>(x, gamma, rstd, dx);
    let (x, dx) = (&x[..n], &mut dx[..n]);
    let dgamma = if DGAMMA { &mut dgamma[..n] } else { dgamma };
    for i in 0..n {
        let (normalised, dy) = (x[i] * rstd, dx[i]);
        if DGAMMA {
            dgamma[i] = mul_add::<FMA>(dy, normalised, dgamma[i]);
        }
        dx[i] = mul_add::<FMA>(-normalised, mean, gamma[i] * dy) * rstd;
    }
}
