//! Gated linear units (Shazeer 2020, arXiv:2002.05202, eq. 5 and 6): `y = f(gate) ⊙ up` for rows `[gate | up]`.
//!
//! f is any [`Activation`]: SiLU makes SwiGLU (Llama), GELU makes GEGLU (T5 1.1, Gemma), ReLU makes ReGLU.
//!
//! Backward. dgate = dy ⊙ up ⊙ f′(gate) and dup = dy ⊙ f(gate), both from the input of the forward; f and f′ share their
//! exponential.

use rayon::prelude::*;

use crate::activation::{self, Activation, Function, with_function};
use crate::parallel::rows_per_task;

/// `out = f(gate) ⊙ up`.
///
/// # Shapes
/// `x: [rows, 2·d_ff]` with the gate first, `out: [rows, d_ff]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(activation: Activation, x: &[f32], d_ff: usize, out: &mut [f32]) {
    assert!(d_ff > 0 && out.len().is_multiple_of(d_ff) && x.len() == 2 * out.len(), "gated::forward: x, d_ff and out");
    #[inline(always)]
    fn body<const FMA: bool, F: Function>(x: &[f32], d_ff: usize, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(2 * d_ff).zip(out.chunks_exact_mut(d_ff)) {
            let (gate, up) = x.split_at(d_ff);
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = F::value::<FMA>(gate) * up;
            }
        }
    }
    fn run<F: Function>(x: &[f32], d_ff: usize, out: &mut [f32]) {
        let rows = rows_per_task(d_ff);
        x.par_chunks(rows * 2 * d_ff).zip(out.par_chunks_mut(rows * d_ff)).for_each(|(x, out)| {
            crate::dispatch!(body<F: Function>(x: &[f32], d_ff: usize, out: &mut [f32]));
        });
    }
    with_function!(activation, run, x, d_ff, out)
}

/// Gradient of [`forward`]: `dx = [dy ⊙ up ⊙ f′(gate) | dy ⊙ f(gate)]`.
///
/// # Shapes
/// `x, dx: [rows, 2·d_ff]`, `dy: [rows, d_ff]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn backward(activation: Activation, x: &[f32], d_ff: usize, dy: &[f32], dx: &mut [f32]) {
    assert!(
        d_ff > 0 && dy.len().is_multiple_of(d_ff) && x.len() == 2 * dy.len() && dx.len() == x.len(),
        "gated::backward: x, d_ff, dy and dx"
    );
    #[inline(always)]
    fn body<const FMA: bool, F: Function>(x: &[f32], d_ff: usize, dy: &[f32], dx: &mut [f32]) {
        let rows = x.chunks_exact(2 * d_ff).zip(dx.chunks_exact_mut(2 * d_ff)).zip(dy.chunks_exact(d_ff));
        for ((x, dx), dy) in rows {
            let (gate, up) = x.split_at(d_ff);
            let (dgate, dup) = dx.split_at_mut(d_ff);
            for i in 0..d_ff.min(dy.len()) {
                let (value, slope) = F::value_and_slope::<FMA>(gate[i]);
                dup[i] = dy[i] * value;
                dgate[i] = dy[i] * up[i] * slope;
            }
        }
    }
    fn run<F: Function>(x: &[f32], d_ff: usize, dy: &[f32], dx: &mut [f32]) {
        let rows = rows_per_task(d_ff);
        let wide = rows * 2 * d_ff;
        let chunks = x.par_chunks(wide).zip(dx.par_chunks_mut(wide)).zip(dy.par_chunks(rows * d_ff));
        chunks.for_each(|((x, dx), dy)| {
            crate::dispatch!(body<F: Function>(x: &[f32], d_ff: usize, dy: &[f32], dx: &mut [f32]));
        });
    }
    with_function!(activation, run, x, d_ff, dy, dx)
}

/// One row of [`forward`] in f64.
pub fn reference(activation: Activation, x: &[f64]) -> Vec<f64> {
    let (gate, up) = x.split_at(x.len() / 2);
    gate.iter().zip(up).map(|(&gate, up)| activation::reference(activation, gate) * up).collect()
}
