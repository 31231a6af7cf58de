//! Test inputs, finite differences and comparisons.

pub use atento_kernels::simd::for_each_level;

/// Numbers in -2..=2 without structure, exactly reproducible elsewhere.
pub fn values(n: usize, salt: usize) -> Vec<f32> {
    (0..n).map(|i| (((i * 37 + salt * 11) % 101) as f32 - 50.0) / 25.0).collect()
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// `Σ weights · out`, the scalar whose gradient is tested.
pub fn weighted(out: &[f64], weights: &[f32]) -> f64 {
    assert_eq!(out.len(), weights.len());
    out.iter().zip(weights).map(|(out, &w)| out * f64::from(w)).sum()
}

/// The gradient of `f` at `x` by central differences.
pub fn gradient(x: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut at = wide(x);
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

/// Compares relative to the size of the numbers around.
#[track_caller]
pub fn assert_close(name: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{name}: lengths");
    let size = expected.iter().fold(1.0f64, |size, e| size.max(e.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - e).abs();
        assert!(error <= tolerance * size, "{name}[{i}] is {a}, expected {e}");
    }
}
