//! The plain reference of every unit: the same packed panels, one number after the other.
//!
//! A product of two bf16 numbers is exact in f32. For each pair along k the sum gets the product of the odd numbers, then
//! that of the even ones, each rounded to f32, as `vdpbf16ps` does. Denormal operands and sums count as 0.

#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
use super::panels::Operand;
use super::panels::{Line, PAIRS};
use super::{Kernel, Term};

/// In the shape of the vector kernel.
pub(super) static KERNEL: Kernel = Kernel { rows: 8, cols: 48, depth: 256, tile: tile::<8, 48> };

/// In the shape of the tile kernel.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(super) static TILES: Kernel = Kernel { rows: 32, cols: 32, depth: 512, tile: tile::<32, 32> };

/// Whether a kernel gives what the emulation in its shape gives, of whole numbers whose sums are exact in any order.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(super) fn agrees(kernel: &Kernel, plain: &Kernel) -> bool {
    // 64 numbers along k.
    let lines = |count: usize, step: usize| -> Vec<Line> {
        let number = |at: usize| u32::from((((at * step) % 7) as f32 - 3.0).high());
        let pair = |at: usize| number(at) | number(at + 1) << 16;
        (0..2 * count).map(|line| Line(std::array::from_fn(|i| pair(2 * (line * PAIRS + i))))).collect()
    };
    let (a, b) = (lines(kernel.rows, 3), lines(kernel.cols, 5));
    let sums = |kernel: &Kernel| {
        let mut sums = vec![f32::NAN; kernel.rows * kernel.cols];
        (kernel.tile)(&[(&a, &b)], &mut sums);
        sums
    };
    sums(kernel) == sums(plain)
}

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
