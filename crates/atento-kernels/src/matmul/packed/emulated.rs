//! The plain reference of every unit: the same packed panels, one number after the other.
//!
//! A product of two bf16 numbers is exact in f32. For each pair along k the sum gets the product of the odd numbers, then
//! that of the even ones, each rounded to f32, as `vdpbf16ps` does. Denormal operands and sums count as 0.

use super::panels::{Line, PAIRS};
use super::{Kernel, Term};

/// In the shape of the vector kernel.
pub(super) static KERNEL: Kernel = Kernel { rows: 8, cols: 48, depth: 256, tile: tile::<8, 48> };

/// In the shape of the tile kernel.
#[cfg(test)]
pub(super) static TILES: Kernel = Kernel { rows: 32, cols: 32, depth: 512, tile: tile::<32, 32> };

fn tile<const ROWS: usize, const COLS: usize>(terms: &[Term<'_>], sums: &mut [f32]) {
    assert_eq!(sums.len(), ROWS * COLS, "emulated tile: sums");
    sums.fill(0.0);
    for (a, b) in terms {
        for (a, b) in a.chunks_exact(ROWS).zip(b.chunks_exact(COLS)) {
            for (k, b) in b.chunks_exact(COLS / PAIRS).enumerate() {
                for (a, sums) in a.iter().zip(sums.chunks_exact_mut(COLS)) {
                    add_pair(a.0[k], b, sums);
                }
            }
        }
    }
}

/// Adds the products of one pair of A with those of all columns.
fn add_pair(a: u32, b: &[Line], sums: &mut [f32]) {
    for (sums, b) in sums.chunks_exact_mut(PAIRS).zip(b) {
        for (sum, b) in sums.iter_mut().zip(b.0) {
            let with_odd = flushed(odd(a) * odd(b) + *sum);
            *sum = flushed(even(a) * even(b) + with_odd);
        }
    }
}

fn even(pair: u32) -> f32 {
    flushed(f32::from_bits(pair << 16))
}

fn odd(pair: u32) -> f32 {
    flushed(f32::from_bits(pair & 0xffff_0000))
}

/// A denormal number as 0 with its sign.
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}
