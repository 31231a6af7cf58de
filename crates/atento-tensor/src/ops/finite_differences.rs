//! Test inputs, finite differences in f64 and comparisons.

use atento_kernels::philox::Rng;

use crate::{Buffer, Init, Params, Pool, Weight};

/// Numbers in ±0.5 without structure, exactly reproducible elsewhere.
pub fn values(n: usize, salt: usize) -> Vec<f32> {
    (0..n).map(|i| (((i * 37 + salt * 11) % 101) as f32 - 50.0) / 100.0).collect()
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Parameters of the given shapes; the i-th is filled with `values(_, first_salt + i)`.
pub fn params<const N: usize>(shapes: [&[usize]; N], first_salt: usize) -> (Params, [Weight; N]) {
    let mut params = Params::new();
    let mut rng = Rng::new(0, 0);
    let mut i = 0;
    let weights = shapes.map(|dims| {
        let weight = params.add(&format!("p{i}"), dims, Init::Zeros, &mut rng);
        params.get_mut(weight).copy_from_slice(&values(weight.len(), first_salt + i));
        i += 1;
        weight
    });
    (params, weights)
}

pub fn buffer(values: &[f32]) -> Buffer {
    Pool::new().copy_of(values)
}

/// `Σ weights · out`, the scalar whose gradient is tested.
pub fn weighted(out: &[f64], weights: &[f32]) -> f64 {
    assert_eq!(out.len(), weights.len());
    out.iter().zip(weights).map(|(out, &w)| out * f64::from(w)).sum()
}

/// The gradient of `f` at `x` by central differences.
pub fn gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut at = x.to_vec();
    let mut slope = |i: usize| {
        let old = at[i];
        at[i] = old + STEP;
        let above = f(&at);
        at[i] = old - STEP;
        let below = f(&at);
        at[i] = old;
        (above - below) / (2.0 * STEP)
    };
    (0..x.len()).map(&mut slope).collect()
}

/// Compares within `1e-6` of 1 or of the largest number.
#[track_caller]
pub fn assert_close(name: &str, actual: &[f32], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{name}: lengths");
    let size = expected.iter().fold(1.0f64, |size, e| size.max(e.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        assert!((f64::from(a) - e).abs() <= 1e-6 * size, "{name}[{i}] is {a}, expected {e}");
    }
}
