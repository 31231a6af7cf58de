//! What this machine can do at best: the yardsticks that benchmarks and `doctor` divide by.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

use crate::matmul::{Mat, MatMut, Precision, gemm_in};
use crate::simd::mul_add;

/// Accumulators of one chain of fused multiply-adds, flat so that they stay in registers: twelve of AVX-512's, or ten of
/// AVX2's. Enough to hide the latency on two ports; a machine is as good as the better of the two says.
const WIDE: usize = 192;
const NARROW: usize = 80;
const ROUNDS: usize = 40_000;

/// Fused multiply-add throughput over all threads of the pool, in GFLOP/s: the best of several short runs.
#[must_use]
pub fn fma_gflops() -> f64 {
    let threads = rayon::current_num_threads();
    let run = |chains: fn(f32) -> f32| {
        (0..threads).into_par_iter().with_max_len(1).for_each(|thread| {
            let seed = black_box(thread as f32 * 1e-9 + 1.0);
            black_box(chains(seed));
        });
    };
    let flops = |accumulators: usize| (threads * ROUNDS * accumulators * 2) as f64;
    best_rate(flops(WIDE), || run(wide)).max(best_rate(flops(NARROW), || run(narrow)))
}

/// Memory bandwidth of `a[i] = b[i] + s·c[i]` over all threads, in GB/s (three streams counted): the best of several
/// runs over arrays larger than the caches.
#[must_use]
pub fn triad_gigabytes_per_second() -> f64 {
    const LEN: usize = 1 << 24;
    let (mut a, b, c) = (vec![0.0_f32; LEN], vec![1.0_f32; LEN], vec![2.0_f32; LEN]);
    let scale = black_box(3.0);
    let run = || {
        a.par_chunks_mut(1 << 18).zip(b.par_chunks(1 << 18)).zip(c.par_chunks(1 << 18)).for_each(|((a, b), c)| {
            for i in 0..a.len() {
                a[i] = b[i] + scale * c[i];
            }
        });
        black_box(&mut a);
    };
    best_rate((3 * LEN * size_of::<f32>()) as f64, run)
}

/// Memory bandwidth of reading alone over all threads, in GB/s: what a triad cannot say, whose writes come on top.
#[must_use]
pub fn read_gigabytes_per_second() -> f64 {
    const LEN: usize = 1 << 25;
    #[inline(always)]
    fn total<const FMA: bool>(data: &[f32]) -> f32 {
        let mut sums = [0.0; 64];
        for block in data.as_chunks::<64>().0 {
            sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
        }
        sums.iter().sum()
    }
    let data = vec![1.0_f32; LEN];
    let run = || {
        let sum: f32 = data.par_chunks(1 << 18).map(|data| crate::dispatch!(total(data: &[f32]) -> f32)).sum();
        black_box(sum);
    };
    best_rate((LEN * size_of::<f32>()) as f64, run)
}

/// Speed of a product of square matrices in this precision over all threads, packing included, in GFLOP/s: the best of several
/// runs.
#[must_use]
pub fn product_gflops(precision: Precision) -> f64 {
    const SIDE: usize = 768;
    let (a, b, mut c) = (vec![0.5; SIDE * SIDE], vec![0.25; SIDE * SIDE], vec![0.0; SIDE * SIDE]);
    let run = || {
        let (a, b) = (Mat::row_major(black_box(&a), SIDE, SIDE), Mat::row_major(&b, SIDE, SIDE));
        gemm_in(precision, a, b.t(), false, MatMut::row_major(&mut c, SIDE, SIDE));
        black_box(&mut c);
    };
    best_rate((2 * SIDE * SIDE * SIDE) as f64, run)
}

fn best_rate(work: f64, mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    work / best / 1e9
}

fn wide(seed: f32) -> f32 {
    #[inline(always)]
    fn body<const FMA: bool>(seed: f32) -> f32 {
        chains::<FMA, WIDE>(seed)
    }
    crate::dispatch!(body(seed: f32) -> f32)
}

fn narrow(seed: f32) -> f32 {
    #[inline(always)]
    fn body<const FMA: bool>(seed: f32) -> f32 {
        chains::<FMA, NARROW>(seed)
    }
    crate::dispatch!(body(seed: f32) -> f32)
}

#[inline(always)]
fn chains<const FMA: bool, const N: usize>(seed: f32) -> f32 {
    let mut sums = [seed; N];
    let (factor, term) = (black_box(0.999_999), black_box(1e-7));
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = mul_add::<FMA>(*sum, factor, term);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_positive_and_finite() {
        for rate in [fma_gflops(), triad_gigabytes_per_second(), read_gigabytes_per_second()] {
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }
}
