//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864, eq. 15).
//!
//! Pair `i` of a head is turned by the angle position·ωᵢ, ωᵢ = θ^(−2i/D): (a, b) → (a·cos − b·sin,
//! a·sin + b·cos). The half-split form pairs element i with i + D/2 (GPT-NeoX, Llama in Hugging
//! Face), the interleaved form 2i with 2i + 1 (the paper, GPT-J). Cosines and sines of a batch's
//! tokens are computed once and serve every layer.
//!
//! Backward. y = R·x for a matrix R of cosines and sines, so dx = Rᵀ·dy: the gradient is turned by
//! the negative angle. That holds too where cosines and sines carry a common factor.
//!
//! Numerics. Frequencies and angles are f32, the angle being the rounded product of position and
//! frequency, as PyTorch computes them; powers, cosines and sines are computed in f64 and rounded.

use rayon::prelude::*;

use crate::parallel::rows_per_task;

/// Which elements of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// i with i + D/2.
    HalfSplit,
    /// 2i with 2i + 1.
    Interleaved,
}

/// Writes the periods 1/ωᵢ = θ^(2i/D), in positions a radian.
///
/// # Shapes
/// `out: [D/2]`.
pub fn periods(theta: f64, out: &mut [f32]) {
    let (pairs, theta) = (out.len(), f64::from(theta as f32));
    for (i, period) in out.iter_mut().enumerate() {
        *period = theta.powf(f64::from(i as f32 / pairs as f32)) as f32;
    }
}

/// Writes a token's cosines, then its sines, times `factor`: `turns[t] = [factor·cos | factor·sin]` of the angles
/// `positions[t] · frequencies`.
///
/// # Shapes
/// `frequencies: [D/2]`, `turns: [positions, D]`.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn fill_turns(positions: &[u32], frequencies: &[f32], factor: f32, turns: &mut [f32]) {
    let half = frequencies.len();
    assert!(half > 0, "rope: no frequencies");
    assert_eq!(turns.len(), positions.len() * 2 * half, "rope: {} positions of {half} angles", positions.len());
    turns.par_chunks_mut(2 * half).with_min_len(64).zip(positions).for_each(|(turns, &position)| {
        let (cos, sin) = turns.split_at_mut(half);
        for ((cos, sin), &frequency) in cos.iter_mut().zip(sin).zip(frequencies) {
            let angle = f64::from(position as f32 * frequency);
            (*cos, *sin) = (angle.cos() as f32 * factor, angle.sin() as f32 * factor);
        }
    });
}

/// Turns the heads of every token, in place.
///
/// # Shapes
/// `x`: a row for each token, rows `row_stride` apart, each beginning with `n_heads · head_dim`
/// elements; `turns: [tokens, head_dim]` from [`fill_turns`].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(x: &mut [f32], turns: &[f32], n_heads: usize, head_dim: usize, row_stride: usize, pairing: Pairing) {
    rotate(x, turns, n_heads, head_dim, row_stride, pairing, 1.0);
}

/// Gradient of [`forward`], in place: turns back.
///
/// # Shapes
/// As [`forward`].
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward(dx: &mut [f32], turns: &[f32], n_heads: usize, head_dim: usize, row_stride: usize, pairing: Pairing) {
    rotate(dx, turns, n_heads, head_dim, row_stride, pairing, -1.0);
}

#[track_caller]
fn rotate(
    x: &mut [f32],
    turns: &[f32],
    n_heads: usize,
    head_dim: usize,
    row_stride: usize,
    pairing: Pairing,
    direction: f32,
) {
    let width = n_heads * head_dim;
    assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rope: head_dim is {head_dim}, must be even");
    assert!(turns.len().is_multiple_of(head_dim), "rope: turns of {} in rows of {head_dim}", turns.len());
    let Some(last) = (turns.len() / head_dim).checked_sub(1) else {
        return;
    };
    assert!(
        row_stride >= width && x.len() >= last * row_stride + width,
        "rope: x of {} for {} rows",
        x.len(),
        last + 1
    );
    if width == 0 {
        return;
    }
    #[inline(always)]
    fn body<const FMA: bool>(
        x: &mut [f32],
        turns: &[f32],
        (width, head_dim, row_stride): (usize, usize, usize),
        pairing: Pairing,
        direction: f32,
    ) {
        for (x, turns) in x.chunks_mut(row_stride).zip(turns.chunks_exact(head_dim)) {
            let (cos, sin) = turns.split_at(head_dim / 2);
            for head in x[..width].chunks_exact_mut(head_dim) {
                turn_head(head, cos, sin, pairing, direction);
            }
        }
    }
    let (rows, sizes) = (rows_per_task(width), (width, head_dim, row_stride));
    x.par_chunks_mut(rows * row_stride).zip(turns.par_chunks(rows * head_dim)).for_each(|(x, turns)| {
        crate::dispatch!(body(x: &mut [f32], turns: &[f32], sizes: (usize, usize, usize), pairing: Pairing,
            direction: f32));
    });
}

#[inline(always)]
fn turn_head(head: &mut [f32], cos: &[f32], sin: &[f32], pairing: Pairing, direction: f32) {
    match pairing {
        Pairing::HalfSplit => {
            let (a, b) = head.split_at_mut(cos.len());
            for (((a, b), &cos), &sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                (*a, *b) = turn(*a, *b, cos, sin * direction);
            }
        }
        Pairing::Interleaved => {
            for ((pair, &cos), &sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                [pair[0], pair[1]] = turn(pair[0], pair[1], cos, sin * direction).into();
            }
        }
    }
}

#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a * cos - b * sin, a * sin + b * cos)
}

/// One head whose pairs are turned by angles, in f64.
pub fn reference(x: &[f64], angles: &[f64], pairing: Pairing) -> Vec<f64> {
    let (pairs, mut out) = (angles.len(), x.to_vec());
    for (i, angle) in angles.iter().enumerate() {
        let (a, b) = match pairing {
            Pairing::HalfSplit => (i, i + pairs),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (sin, cos) = angle.sin_cos();
        (out[a], out[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
    }
    out
}
