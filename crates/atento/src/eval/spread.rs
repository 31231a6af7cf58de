//! What several runs of the same thing give: on small data they differ by points, so one number alone says little.

use serde::Serialize;

/// Where the results of several runs lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// Their mean.
    pub mean: f64,
    /// The standard deviation of a sample, with n − 1 below; 0 of one alone.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of some results; nothing where there are none, or one is no number.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        let mean = sorted.iter().sum::<f64>() / count as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let std = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Some(Self { count, median, mean, std, min: sorted[0], max: sorted[count - 1] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_the_mean_and_the_ends_are_told() {
        let found = Spread::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((found.count, found.median, found.mean, found.min, found.max), (4, 2.5, 4.0, 1.0, 10.0));
        // statistics.stdev([3, 1, 2, 10])
        assert!((found.std - 4.082_482_904_638_63).abs() < 1e-12);
        assert_eq!(Spread::of(&[5.0]).map(|one| (one.median, one.std)), Some((5.0, 0.0)));
        assert_eq!((Spread::of(&[]), Spread::of(&[1.0, f64::NAN])), (None, None));
    }
}
