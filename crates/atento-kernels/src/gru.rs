//! The gated recurrent unit's cell (Cho et al. 2014, arXiv:1406.1078), in PyTorch's form.
//!
//! With gates_x = x·Wᵢ + bᵢ and gates_h = h·Wₕ + bₕ, each `[r | z | n]`:
//! r = σ(rₓ + rₕ), z = σ(zₓ + zₕ), n = tanh(nₓ + r·nₕ), h′ = (1 − z)·n + z·h.
//!
//! Backward, from dh′: dz = dh′·(h − n), dn = dh′·(1 − z), dh = dh′·z (the rest of h's gradient
//! comes through gates_h); before the nonlinearities da_n = dn·(1 − n²), da_r = da_n·nₕ·r(1 − r),
//! da_z = dz·z(1 − z); gates_x gets (da_r, da_z, da_n), gates_h gets (da_r, da_z, da_n·r).
//! Saved: `[r | z | n | nₕ]`.

use rayon::prelude::*;

use crate::math::{sigmoid, tanh};
use crate::parallel::rows_per_task;
use crate::simd::mul_add;

#[track_caller]
fn check(op: &str, hidden: usize, rows_of_hidden: usize, lengths: &[(usize, usize)]) {
    assert!(hidden > 0 && rows_of_hidden.is_multiple_of(hidden), "{op}: {rows_of_hidden} elements in rows of {hidden}");
    for &(length, times) in lengths {
        assert_eq!(length, times * rows_of_hidden, "{op}: length against {times} times [rows, {hidden}]");
    }
}

/// One step of the cell.
///
/// # Shapes
/// `gates_x, gates_h: [rows, 3·hidden]`, `h_prev, h_out: [rows, hidden]`, `saved: [rows, 4·hidden]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(gates_x: &[f32], gates_h: &[f32], h_prev: &[f32], hidden: usize, h_out: &mut [f32], saved: &mut [f32]) {
    let lengths = [(gates_x.len(), 3), (gates_h.len(), 3), (h_out.len(), 1), (saved.len(), 4)];
    check("gru::forward", hidden, h_prev.len(), &lengths);
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &[f32],
        h: &[f32],
        h_prev: &[f32],
        hidden: usize,
        h_out: &mut [f32],
        saved: &mut [f32],
    ) {
        let rows = x.chunks_exact(3 * hidden).zip(h.chunks_exact(3 * hidden)).zip(h_prev.chunks_exact(hidden));
        let rows = rows.zip(h_out.chunks_exact_mut(hidden).zip(saved.chunks_exact_mut(4 * hidden)));
        for (((x, h), h_prev), (h_out, saved)) in rows {
            let [x_r, x_z, x_n] = parts(x, hidden);
            let [h_r, h_z, h_n] = parts(h, hidden);
            let [r, z, n, saved_h_n] = parts_mut(saved, hidden);
            for i in 0..hidden {
                r[i] = sigmoid::<FMA>(x_r[i] + h_r[i]);
                z[i] = sigmoid::<FMA>(x_z[i] + h_z[i]);
                n[i] = tanh::<FMA>(mul_add::<FMA>(r[i], h_n[i], x_n[i]));
                saved_h_n[i] = h_n[i];
                h_out[i] = mul_add::<FMA>(z[i], h_prev[i] - n[i], n[i]);
            }
        }
    }
    let chunk = rows_per_task(4 * hidden) * hidden;
    gates_x
        .par_chunks(3 * chunk)
        .zip(gates_h.par_chunks(3 * chunk))
        .zip(h_prev.par_chunks(chunk))
        .zip(h_out.par_chunks_mut(chunk).zip(saved.par_chunks_mut(4 * chunk)))
        .for_each(|(((x, h), h_prev), (h_out, saved))| {
            crate::dispatch!(body(x: &[f32], h: &[f32], h_prev: &[f32], hidden: usize, h_out: &mut [f32], saved: &mut [f32]));
        });
}

/// Gradients of [`forward`]. `dh_prev` is the direct part only: the caller adds what flows back
/// through `gates_h`.
///
/// # Shapes
/// `dh_out, h_prev, dh_prev: [rows, hidden]`, `saved: [rows, 4·hidden]`,
/// `dgates_x, dgates_h: [rows, 3·hidden]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward(
    dh_out: &[f32],
    h_prev: &[f32],
    saved: &[f32],
    hidden: usize,
    dgates_x: &mut [f32],
    dgates_h: &mut [f32],
    dh_prev: &mut [f32],
) {
    let lengths = [(h_prev.len(), 1), (saved.len(), 4), (dgates_x.len(), 3), (dgates_h.len(), 3), (dh_prev.len(), 1)];
    check("gru::backward", hidden, dh_out.len(), &lengths);
    #[inline(always)]
    fn body<const FMA: bool>(
        dh_out: &[f32],
        h_prev: &[f32],
        saved: &[f32],
        hidden: usize,
        dx: &mut [f32],
        dh: &mut [f32],
        dh_prev: &mut [f32],
    ) {
        let rows = dh_out.chunks_exact(hidden).zip(h_prev.chunks_exact(hidden)).zip(saved.chunks_exact(4 * hidden));
        let grads = dx.chunks_exact_mut(3 * hidden).zip(dh.chunks_exact_mut(3 * hidden));
        let grads = grads.zip(dh_prev.chunks_exact_mut(hidden));
        for (((dh_out, h_prev), saved), ((dx, dh), dh_prev)) in rows.zip(grads) {
            let [r, z, n, h_n] = parts(saved, hidden);
            let [dx_r, dx_z, dx_n] = parts_mut(dx, hidden);
            let [dh_r, dh_z, dh_n] = parts_mut(dh, hidden);
            for i in 0..hidden {
                let da_n = dh_out[i] * (1.0 - z[i]) * (1.0 - n[i] * n[i]);
                let da_z = dh_out[i] * (h_prev[i] - n[i]) * z[i] * (1.0 - z[i]);
                let da_r = da_n * h_n[i] * r[i] * (1.0 - r[i]);
                (dx_r[i], dx_z[i], dx_n[i]) = (da_r, da_z, da_n);
                (dh_r[i], dh_z[i], dh_n[i]) = (da_r, da_z, da_n * r[i]);
                dh_prev[i] = dh_out[i] * z[i];
            }
        }
    }
    let chunk = rows_per_task(4 * hidden) * hidden;
    dh_out
        .par_chunks(chunk)
        .zip(h_prev.par_chunks(chunk))
        .zip(saved.par_chunks(4 * chunk))
        .zip(dgates_x.par_chunks_mut(3 * chunk).zip(dgates_h.par_chunks_mut(3 * chunk)))
        .zip(dh_prev.par_chunks_mut(chunk))
        .for_each(|((((dh_out, h_prev), saved), (dx, dh)), dh_prev)| {
            crate::dispatch!(body(dh_out: &[f32], h_prev: &[f32], saved: &[f32], hidden: usize,
                dx: &mut [f32], dh: &mut [f32], dh_prev: &mut [f32]));
        });
}

/// The `N` parts of a row, each `hidden` long.
#[inline(always)]
fn parts<const N: usize>(row: &[f32], hidden: usize) -> [&[f32]; N] {
    std::array::from_fn(|i| &row[i * hidden..][..hidden])
}

#[inline(always)]
fn parts_mut<const N: usize>(row: &mut [f32], hidden: usize) -> [&mut [f32]; N] {
    let mut chunks = row.chunks_exact_mut(hidden);
    std::array::from_fn(|_| chunks.next().expect("a row has N parts"))
}

/// One row of [`forward`] in f64.
pub fn reference(gates_x: &[f64], gates_h: &[f64], h_prev: &[f64]) -> Vec<f64> {
    let (hidden, sigmoid) = (h_prev.len(), |x: f64| 1.0 / (1.0 + (-x).exp()));
    let cell = |i: usize| {
        let r = sigmoid(gates_x[i] + gates_h[i]);
        let z = sigmoid(gates_x[hidden + i] + gates_h[hidden + i]);
        let n = (gates_x[2 * hidden + i] + r * gates_h[2 * hidden + i]).tanh();
        (1.0 - z) * n + z * h_prev[i]
    };
    (0..hidden).map(cell).collect()
}
