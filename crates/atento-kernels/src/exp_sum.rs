//! The two reductions of a softmax over one block of scores: max_i x_i, then Σ_i exp(x_i − max).
//!
//! Numerics: f32, in [`LANES`] accumulators added pairwise. The order does not depend on the instruction set; the last
//! bit of an exponential may (fused multiply-add).

use crate::math::exp;
use crate::simd::{LANES, reduce_max, reduce_sum};

/// The largest value; −∞ for none. NaN is passed over.
pub fn max(values: &[f32]) -> f32 {
    crate::dispatch!(max_body(values: &[f32]) -> f32)
}

/// Σ exp(value − `max`) over `values`, for a finite `max` no smaller than any of them. NaN makes the sum NaN.
pub fn exp_sum(values: &[f32], max: f32) -> f32 {
    crate::dispatch!(exp_sum_body(values: &[f32], max: f32) -> f32)
}

#[inline(always)]
fn max_body<const FMA: bool>(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    rest.iter().fold(reduce_max(lanes), |largest, &value| largest.max(value))
}

#[inline(always)]
fn exp_sum_body<const FMA: bool>(values: &[f32], max: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += exp::<FMA>(chunk[i] - max);
        }
    }
    reduce_sum(lanes) + rest.iter().map(|&value| exp::<FMA>(value - max)).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::for_each_level;

    #[test]
    fn both_reductions_agree_with_plain_ones_at_every_level_and_length() {
        for_each_level(|level| {
            for len in [0, 1, 15, 16, 17, 64, 255, 256] {
                let values: Vec<f32> = (0..len).map(|i| ((i * 37) % 101) as f32 / 7.0 - 9.0).collect();
                let largest = max(&values);
                assert_eq!(largest, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                let expected: f64 = values.iter().map(|&x| (x as f64 - largest as f64).exp()).sum();
                let sum = exp_sum(&values, largest) as f64;
                assert!((sum - expected).abs() <= 1e-6 * expected, "{level:?}, {len} values: {sum} {expected}");
            }
        });
    }

    #[test]
    fn the_sum_keeps_nan_and_drops_minus_infinity_at_every_level() {
        for_each_level(|_| {
            for position in [0, 20] {
                let mut values = [0.0f32; 21];
                values[position] = f32::NEG_INFINITY;
                assert_eq!(exp_sum(&values, 0.0), 20.0);
                values[position] = f32::NAN;
                assert!(exp_sum(&values, 0.0).is_nan());
                assert_eq!(max(&values), 0.0);
            }
        });
    }
}
