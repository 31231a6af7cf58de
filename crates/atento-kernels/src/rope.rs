//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864, eq. 15).
//!
//! Pair `i` of a head is turned by the angle position·θ^(−2i/D): (a, b) → (a·cos − b·sin,
//! a·sin + b·cos). The half-split form pairs element i with i + D/2 (GPT-NeoX, Llama in Hugging
//! Face), the interleaved form 2i with 2i + 1 (the paper, GPT-J). A rotation's inverse is its
//! transpose, so the backward turns the gradient by the negative angle. Angles are in f64.

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

/// Fills a table of cosines and sines: `table[position] = [cos of D/2 angles | sin of D/2 angles]`.
///
/// # Shapes
/// `table: [positions, D]`.
///
/// # Panics
/// If `head_dim` is 0 or odd, or `table` is not whole rows.
#[track_caller]
pub fn fill_table(head_dim: usize, theta: f64, table: &mut [f32]) {
    assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rope: head_dim is {head_dim}, must be even");
    assert!(table.len().is_multiple_of(head_dim), "rope: table of {} in rows of {head_dim}", table.len());
    table.par_chunks_mut(head_dim).enumerate().for_each(|(position, row)| {
        let (cos, sin) = row.split_at_mut(head_dim / 2);
        for i in 0..cos.len() {
            let angle = position as f64 * theta.powf(-2.0 * i as f64 / head_dim as f64);
            (cos[i], sin[i]) = (angle.cos() as f32, angle.sin() as f32);
        }
    });
}

/// Turns the heads of every token by the token's position, in place.
///
/// # Shapes
/// `x`: `positions.len()` rows, `row_stride` apart, each beginning with `n_heads · head_dim`
/// elements; `table: [max_positions, head_dim]` from [`fill_table`].
///
/// # Panics
/// If the lengths do not fit or a position is not in the table.
#[track_caller]
pub fn forward(
    x: &mut [f32],
    positions: &[u32],
    n_heads: usize,
    head_dim: usize,
    row_stride: usize,
    table: &[f32],
    pairing: Pairing,
) {
    rotate(x, positions, n_heads, head_dim, row_stride, table, pairing, 1.0);
}

/// Gradient of [`forward`], in place: turns back.
///
/// # Shapes
/// As [`forward`].
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward(
    dx: &mut [f32],
    positions: &[u32],
    n_heads: usize,
    head_dim: usize,
    row_stride: usize,
    table: &[f32],
    pairing: Pairing,
) {
    rotate(dx, positions, n_heads, head_dim, row_stride, table, pairing, -1.0);
}

#[track_caller]
fn rotate(
    x: &mut [f32],
    positions: &[u32],
    n_heads: usize,
    head_dim: usize,
    row_stride: usize,
    table: &[f32],
    pairing: Pairing,
    direction: f32,
) {
    let width = n_heads * head_dim;
    assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rope: head_dim is {head_dim}, must be even");
    assert!(table.len().is_multiple_of(head_dim), "rope: table of {} in rows of {head_dim}", table.len());
    let Some(last) = positions.len().checked_sub(1) else {
        return;
    };
    assert!(
        row_stride >= width && x.len() >= last * row_stride + width,
        "rope: x of {} for {} rows",
        x.len(),
        last + 1
    );
    let worst = positions.iter().copied().max().unwrap_or(0) as usize;
    assert!(worst < table.len() / head_dim, "rope: position {worst} in a table of {}", table.len() / head_dim);
    #[inline(always)]
    fn body<const FMA: bool>(heads: &mut [f32], table: &[f32], pairing: Pairing, direction: f32) {
        let (cos, sin) = table.split_at(table.len() / 2);
        for head in heads.chunks_exact_mut(table.len()) {
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
    }
    let rows = rows_per_task(row_stride);
    x.par_chunks_mut(rows * row_stride).zip(positions.par_chunks(rows)).for_each(|(x, positions)| {
        for (x, &position) in x.chunks_mut(row_stride).zip(positions) {
            let heads = &mut x[..width];
            let table = &table[position as usize * head_dim..][..head_dim];
            crate::dispatch!(body(heads: &mut [f32], table: &[f32], pairing: Pairing, direction: f32));
        }
    });
}

#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a * cos - b * sin, a * sin + b * cos)
}

/// One head turned by a position, in f64.
pub fn reference(x: &[f64], position: u32, theta: f64, pairing: Pairing) -> Vec<f64> {
    let (d, mut out) = (x.len(), x.to_vec());
    for i in 0..d / 2 {
        let (a, b) = match pairing {
            Pairing::HalfSplit => (i, i + d / 2),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (sin, cos) = (f64::from(position) * theta.powf(-2.0 * i as f64 / d as f64)).sin_cos();
        (out[a], out[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
    }
    out
}
