//! How well values follow others: the correlations of Pearson and Spearman, equal to SciPy's.
//!
//! Both are `None` where they are not defined and SciPy gives NaN: where all values of one side are equal, where there are
//! fewer than two, and where one is not finite. Sums are in f64 and two passes, first the means.

/// Pearson's correlation `Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²)` (K. Pearson 1895), −1 to 1, as `scipy.stats.pearsonr`.
///
/// # Panics
/// If there are more of one than of the other.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pearson: as many values on both sides");
    let (x, y) = (deviations(x)?, deviations(y)?);
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    // Rounding can carry the quotient of a perfect correlation past one.
    Some((sum(&x, &y) / (sum(&x, &x).sqrt() * sum(&y, &y).sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of their ranks (C. Spearman 1904), as
/// `scipy.stats.spearmanr`.
///
/// # Panics
/// As [`pearson`].
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    // A NaN has no rank.
    let finite = x.iter().chain(y).all(|value| value.is_finite());
    finite.then(|| pearson(&ranks(x), &ranks(y))).flatten()
}

/// The differences from the mean, divided by the largest of them so that their squares neither overflow nor vanish; `None`
/// where all values are equal or one is not finite. Equal values are recognised by themselves: their mean is rounded.
fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    let mean = values.iter().map(|value| value / values.len() as f64).sum::<f64>();
    let varies = values.iter().any(|value| *value != values[0]);
    let largest = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
    let defined = varies && mean.is_finite() && largest.is_finite();
    defined.then(|| values.iter().map(|value| (value - mean) / largest).collect())
}

/// The rank of each value, from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for ties in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in ties {
            ranks[index] = below as f64 + (ties.len() + 1) as f64 / 2.0;
        }
        below += ties.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_follow_nothing() {
        // The mean of three times 0.1 is not 0.1.
        assert_eq!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(pearson(&[1.0, 2.0, 3.0], &[0.1; 3]), None);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[2.0; 3]), None);
        assert_eq!((pearson(&[1.0], &[1.0]), spearman(&[], &[])), (None, None));
    }

    #[test]
    fn what_is_no_number_follows_nothing() {
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(pearson(&[1.0, value, 2.0], &[1.0, 2.0, 3.0]), None);
            assert_eq!(spearman(&[1.0, 2.0, 3.0], &[1.0, value, 2.0]), None);
        }
    }

    #[test]
    fn huge_and_tiny_values_correlate_as_others_do() {
        let x = [1.0, 2.0, 4.0];
        for scale in [1e300, 1e-300] {
            let scaled = x.map(|x| x * scale);
            let (found, expected) =
                (pearson(&scaled, &[3.0, 1.0, 2.0]).unwrap(), pearson(&x, &[3.0, 1.0, 2.0]).unwrap());
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
    }

    #[test]
    fn a_monotone_relation_has_rank_correlation_one() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(spearman(&x, &x.map(f64::exp)), Some(1.0));
    }
}
