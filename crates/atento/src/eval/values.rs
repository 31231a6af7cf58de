//! How well values follow others: correlations of Pearson and Spearman.

/// Pearson's correlation `Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²)` (Pearson 1895), as `scipy.stats.pearsonr`. Nothing where
/// all values of one side are equal, or there are fewer than two: then it is not defined.
///
/// # Panics
/// If there are more of one than of the other.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pearson: as many values on both sides");
    let count = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / count, y.iter().sum::<f64>() / count);
    let sum = |of: fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>();
    let below = sum(|x, _| x * x).sqrt() * sum(|_, y| y * y).sqrt();
    (below > 0.0).then(|| (sum(|x, y| x * y) / below).clamp(-1.0, 1.0))
}

/// Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs (Spearman 1904), as
/// `scipy.stats.spearmanr`. Nothing where [`pearson`] has none.
///
/// # Panics
/// As [`pearson`].
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// The rank of each value, from 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|&&at| values[at] == values[order[from]]).count();
        let rank = from as f64 + (same + 1) as f64 / 2.0;
        order[from..from + same].iter().for_each(|&at| ranks[at] = rank);
        from += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_are_those_of_scipy() {
        let x = [1.0, 2.0, 2.0, 4.5, -1.0, 3.0];
        let y = [2.0, 1.0, 3.0, 5.0, 0.5, 5.0];
        let close = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}");
        close(pearson(&x, &y), 0.8531045128136672);
        close(spearman(&x, &y), 0.8823529411764706);
        close(pearson(&x, &x), 1.0);
    }

    #[test]
    fn equal_values_follow_nothing() {
        assert_eq!(
            (pearson(&[1.0, 1.0], &[1.0, 2.0]), spearman(&[1.0], &[1.0]), pearson(&[], &[])),
            (None, None, None)
        );
    }
}
