//! AVX512-BF16: `vdpbf16ps` multiplies a line of B by one pair of A in all lanes.
//!
//! A tile is 8 rows × 3 vectors of columns: 24 sums, three lines of B and a pair of A fill 28 of 32 registers, and each
//! pair of lines along k takes 11 loads for 24 products. Each lane sums as the emulation does.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::panels::{Line, PAIRS};
#[cfg(target_arch = "x86_64")]
use super::{Kernel, Term};

#[cfg(target_arch = "x86_64")]
const ROWS: usize = 8;
#[cfg(target_arch = "x86_64")]
const VECTORS: usize = 3;

/// Handed out only where the processor has the instructions (`unit.rs`).
#[cfg(target_arch = "x86_64")]
pub(super) static KERNEL: Kernel = Kernel { rows: ROWS, cols: VECTORS * PAIRS, depth: 256, tile };

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
fn tile(terms: &[Term<'_>], sums: &mut [f32]) {
    assert_eq!(sums.len(), ROWS * VECTORS * PAIRS, "avx512 tile: sums");
    // SAFETY: `unit.rs` hands this kernel out only where `is_available` found the instructions.
    unsafe { vectors(terms, sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn vectors(terms: &[Term<'_>], sums: &mut [f32]) {
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for (a, b) in terms {
        let (a, b) = (a.as_chunks::<ROWS>().0, b.as_chunks::<{ VECTORS * PAIRS }>().0);
        for (a, b) in a.iter().zip(b) {
            for k in 0..PAIRS {
                let b: [__m512bh; VECTORS] = std::array::from_fn(|i| load(&b[k * VECTORS + i]));
                for row in 0..ROWS {
                    let a = pair(a[row].0[k]);
                    for i in 0..VECTORS {
                        acc[row][i] = _mm512_dpbf16_ps(acc[row][i], a, b[i]);
                    }
                }
            }
        }
    }
    for (sums, acc) in sums.as_chunks_mut::<PAIRS>().0.iter_mut().zip(acc.as_flattened()) {
        // SAFETY: `sums` has sixteen numbers.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *acc) };
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn load(line: &Line) -> __m512bh {
    // SAFETY: a line is 64 bytes; every pattern of bits is a vector of bf16.
    unsafe { std::mem::transmute(_mm512_load_si512(line.0.as_ptr().cast())) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pair(pair: u32) -> __m512bh {
    // SAFETY: both are 64 bytes; every pattern of bits is a vector of bf16.
    unsafe { std::mem::transmute(_mm512_set1_epi32(pair.cast_signed())) }
}
