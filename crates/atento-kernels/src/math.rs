//! Elementary functions that vectorise: no tables, no branches, no calls.
//!
//! Each is an `#[inline(always)]` function of one number to be used inside a
//! [`dispatch!`](crate::dispatch) body. The stated error bounds are relative, in units of
//! 2⁻²⁴ ≈ 6.0e-8 (half the spacing of floats at 1), checked against f64 over dense grids below.
//! NaN propagates and the limits at ±∞ are exact.
//!
//! `exp` and `ln` reduce the argument and use the polynomials of Moshier's Cephes library
//! (`expf`, `logf`). `tanh` and `erf` are rational approximations `x·P(x²)/Q(x²)`, fitted here for
//! least relative error on the interval outside which the answer rounds to ±1.

use crate::simd::mul_add;

/// Adding and subtracting 1.5·2²³ rounds to the nearest whole number, and leaves that number in
/// the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the high one has trailing zero bits, so multiplying by a small whole number
/// is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(x: f32, highest_first: [f32; N]) -> f32 {
    let mut sum = highest_first[0];
    for i in 1..N {
        sum = mul_add::<FMA>(sum, x, highest_first[i]);
    }
    sum
}

/// `x` within `low..=high`; unlike `f32::clamp` it compiles to two instructions and, unlike
/// `max`/`min`, keeps NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// eˣ. Error ≤ 2.5 units. Results below 2⁻¹²⁶ are 0 (subnormal arithmetic is slow, and softmax
/// has plenty of them); above x = 88.37 the result is ∞.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOWEST: f32 = -87.336_54;
    const HIGHEST: f32 = 88.376_26;
    let reduced = clamp(x, LOWEST, HIGHEST);
    let shifted = mul_add::<FMA>(reduced, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = mul_add::<FMA>(whole, -LN_2_HIGH, reduced);
    let r = mul_add::<FMA>(whole, -LN_2_LOW, r);
    let p = polynomial::<FMA, 6>(r, [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let p = mul_add::<FMA>(p, r * r, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let y = p * f32::from_bits(exponent << 23);
    let y = if x < LOWEST { 0.0 } else { y };
    if x > HIGHEST { f32::INFINITY } else { y }
}

/// Natural logarithm. Error ≤ 2.5 units away from 1 and ≤ 2 units of `x − 1` near it;
/// `ln 0 = −∞`, `ln x = NaN` for x < 0.
#[inline(always)]
pub fn ln<const FMA: bool>(x: f32) -> f32 {
    // Subnormal numbers are brought into range first.
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    // The mantissa is put in [√½, √2), so that the logarithm of a number near 1 keeps its digits.
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let offset = bits.wrapping_sub(SQRT_HALF);
    let mantissa = f32::from_bits((offset & 0x007f_ffff).wrapping_add(SQRT_HALF));
    let exponent = ((offset as i32) >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let f = mantissa - 1.0;
    let square = f * f;
    let p = polynomial::<FMA, 9>(
        f,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let y = mul_add::<FMA>(exponent, LN_2_LOW, f * square * p);
    let y = mul_add::<FMA>(-0.5, square, y);
    let y = mul_add::<FMA>(exponent, LN_2_HIGH, f + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

/// Logistic function `1 / (1 + e⁻ˣ)`. Error ≤ 5 units; 0 below x = −88.37.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Hyperbolic tangent. Error ≤ 8 units, never beyond ±1.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let x = clamp(x, -9.02, 9.02);
    let square = x * x;
    let p = polynomial::<FMA, 5>(square, [1.331_897_1e-8, 2.058_340_6e-5, 3.494_03e-3, 1.337_971_4e-1, 1.0]);
    let q = polynomial::<FMA, 5>(square, [7.761_977e-7, 3.283_085_2e-4, 2.587_105_5e-2, 4.671_303e-1, 1.0]);
    clamp(x * p / q, -1.0, 1.0)
}

/// Error function. Error ≤ 8 units, never beyond ±1.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let x = clamp(x, -4.0, 4.0);
    let square = x * x;
    let p = polynomial::<FMA, 6>(
        square,
        [
            1.986_769_8e-6,
            2.845_655e-4,
            3.883_359_3e-3,
            5.310_179_3e-2,
            1.935_455_4e-1,
            std::f32::consts::FRAC_2_SQRT_PI,
        ],
    );
    let q = polynomial::<FMA, 6>(
        square,
        [3.742_002e-5, 1.185_573_4e-3, 1.520_728_3e-2, 1.153_501_8e-1, 5.048_578_4e-1, 1.0],
    );
    clamp(x * p / q, -1.0, 1.0)
}

/// The error function in f64, for references: its Taylor series, or its continued fraction where
/// the series cancels.
pub fn erf_f64(x: f64) -> f64 {
    let (a, mut sum) = (x.abs(), 0.0);
    if a < 2.5 {
        let mut term = a;
        for n in 0..80 {
            sum += term / f64::from(2 * n + 1);
            term *= -a * a / f64::from(n + 1);
        }
        return x.signum() * sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    for k in (1..=60).rev() {
        sum = f64::from(k) / 2.0 / (a + sum);
    }
    x.signum() * (1.0 - (-a * a).exp() / std::f64::consts::PI.sqrt() / (a + sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::for_each_level;

    const UNIT: f64 = 1.0 / 16_777_216.0;

    macro_rules! over_slice {
        ($name:ident) => {
            |x: &[f32]| {
                #[inline(always)]
                fn body<const FMA: bool>(x: &[f32], out: &mut [f32]) {
                    for (out, &x) in out.iter_mut().zip(x) {
                        *out = $name::<FMA>(x);
                    }
                }
                let mut out = vec![0.0; x.len()];
                let y = &mut out[..];
                crate::dispatch!(body(x: &[f32], y: &mut [f32]));
                out
            }
        };
    }

    /// Largest relative error, in units of 2⁻²⁴, over a million points of `low..high`.
    #[track_caller]
    fn check(f: impl Fn(&[f32]) -> Vec<f32>, exact: fn(f64) -> f64, low: f64, high: f64, units: f64) {
        let n = 1_000_000;
        let x: Vec<f32> = (0..=n).map(|i| (low + (high - low) * f64::from(i) / f64::from(n)) as f32).collect();
        for_each_level(|level| {
            for (&x, y) in x.iter().zip(f(&x)) {
                let expected = exact(f64::from(x));
                let error = (f64::from(y) - expected).abs() / expected.abs().max(1e-300) / UNIT;
                let fine = f64::from(y) == expected || error <= units;
                assert!(fine, "{level:?}: f({x}) is {y}, not {expected}: {error:.2} units");
            }
        });
    }

    #[test]
    fn exp_is_within_its_bound() {
        check(over_slice!(exp), f64::exp, -87.3, 88.3, 2.5);
        check(over_slice!(exp), f64::exp, -1.0, 1.0, 2.5);
    }

    #[test]
    fn ln_is_within_its_bound() {
        check(over_slice!(ln), f64::ln, 1e-6, 0.7, 2.5);
        check(over_slice!(ln), f64::ln, 0.7, 1.4, 3.0);
        check(over_slice!(ln), f64::ln, 1.4, 1e6, 2.5);
        check(over_slice!(ln), f64::ln, 1e-44, 1e-37, 2.5);
    }

    #[test]
    fn sigmoid_is_within_its_bound() {
        check(over_slice!(sigmoid), |x| 1.0 / (1.0 + (-x).exp()), -87.0, 30.0, 5.0);
    }

    #[test]
    fn tanh_is_within_its_bound() {
        check(over_slice!(tanh), f64::tanh, -10.0, 10.0, 8.0);
        check(over_slice!(tanh), f64::tanh, 1e-6, 0.3, 8.0);
    }

    #[test]
    fn erf_is_within_its_bound() {
        check(over_slice!(erf), erf_f64, -5.0, 5.0, 8.0);
        check(over_slice!(erf), erf_f64, 1e-6, 0.3, 8.0);
    }

    #[test]
    fn limits_are_exact_and_nan_propagates() {
        let x = [f32::NEG_INFINITY, -1e30, 0.0, 1e30, f32::INFINITY, f32::NAN];
        let inf = f32::INFINITY;
        for_each_level(|_| {
            let exp = over_slice!(exp)(&x);
            assert_eq!(exp[..5], [0.0, 0.0, 1.0, inf, inf]);
            let sigmoid = over_slice!(sigmoid)(&x);
            assert_eq!(sigmoid[..5], [0.0, 0.0, 0.5, 1.0, 1.0]);
            let tanh = over_slice!(tanh)(&x);
            assert_eq!(tanh[..5], [-1.0, -1.0, 0.0, 1.0, 1.0]);
            let erf = over_slice!(erf)(&x);
            assert_eq!(erf[..5], [-1.0, -1.0, 0.0, 1.0, 1.0]);
            let ln = over_slice!(ln)(&x);
            assert!(ln[0].is_nan() && ln[1].is_nan() && ln[2] == -inf && ln[4] == inf);
            assert!([exp, sigmoid, tanh, erf, ln].iter().all(|y| y[5].is_nan()));
        });
    }
}
