//! Metrics of classification and regression, with the definitions of scikit-learn and SciPy.
//!
//! Labels are class numbers. All functions run in `f64` in one or two passes, in input order.
//!
//! # Panics
//! Every function panics when its two slices are empty or differ in length.

use std::collections::BTreeMap;

/// The share of predictions equal to their label, 0 to 1.
pub fn accuracy(predictions: &[usize], labels: &[usize]) -> f64 {
    check(predictions.len(), labels.len());
    let correct = pairs(predictions, labels).filter(|(p, l)| p == l).count();
    correct as f64 / labels.len() as f64
}

/// The F1 score of class `positive`: 2·TP / (2·TP + FP + FN), and 0 where the class occurs on neither side.
pub fn f1(predictions: &[usize], labels: &[usize], positive: usize) -> f64 {
    check(predictions.len(), labels.len());
    let (mut both, mut either) = (0, 0);
    for (prediction, label) in pairs(predictions, labels) {
        both += usize::from(prediction == positive && label == positive);
        either += usize::from(prediction == positive) + usize::from(label == positive);
    }
    match either {
        0 => 0.0,
        _ => 2.0 * both as f64 / either as f64,
    }
}

/// The unweighted mean of [`f1`] over the classes that occur among predictions or labels.
pub fn macro_f1(predictions: &[usize], labels: &[usize]) -> f64 {
    check(predictions.len(), labels.len());
    let mut classes: Vec<usize> = predictions.iter().chain(labels).copied().collect();
    classes.sort_unstable();
    classes.dedup();
    let sum: f64 = classes.iter().map(|&class| f1(predictions, labels, class)).sum();
    sum / classes.len() as f64
}

/// Matthews' correlation coefficient, −1 to 1, for any number of classes.
///
/// Gorodkin's R_K ("Comparing two K-category assignments by a K-category correlation coefficient", 2004): with `s` samples,
/// `c` of them correct, and class k predicted `p_k` times and true `t_k` times,
/// `(c·s − Σ p_k·t_k) / √((s² − Σ p_k²)(s² − Σ t_k²))`; 0 where one side has a single class.
pub fn matthews(predictions: &[usize], labels: &[usize]) -> f64 {
    check(predictions.len(), labels.len());
    let mut classes: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
    let mut correct = 0.0;
    for (prediction, label) in pairs(predictions, labels) {
        classes.entry(prediction).or_default()[0] += 1.0;
        classes.entry(label).or_default()[1] += 1.0;
        correct += f64::from(u8::from(prediction == label));
    }
    let samples = labels.len() as f64;
    let sum = |product: fn(&[f64; 2]) -> f64| classes.values().map(product).sum::<f64>();
    let covariance = correct * samples - sum(|[p, t]| p * t);
    let predicted = samples * samples - sum(|[p, _]| p * p);
    let labelled = samples * samples - sum(|[_, t]| t * t);
    match predicted * labelled {
        0.0 => 0.0,
        product => covariance / product.sqrt(),
    }
}

/// Pearson's correlation of two series, −1 to 1; `None` where one of them is constant. Two passes: means, then moments.
pub fn pearson(predictions: &[f64], targets: &[f64]) -> Option<f64> {
    check(predictions.len(), targets.len());
    let mean = |series: &[f64]| series.iter().sum::<f64>() / series.len() as f64;
    let (mean_x, mean_y) = (mean(predictions), mean(targets));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in predictions.iter().zip(targets) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    let varies = |series: &[f64]| series.iter().any(|value| *value != series[0]);
    // Rounding can carry the quotient of a perfect correlation past one.
    (varies(predictions) && varies(targets)).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Spearman's rank correlation: [`pearson`] of the ranks, equal values sharing the mean of their ranks.
pub fn spearman(predictions: &[f64], targets: &[f64]) -> Option<f64> {
    check(predictions.len(), targets.len());
    pearson(&ranks(predictions), &ranks(targets))
}

fn ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|&a, &b| series[a].total_cmp(&series[b]));
    let mut ranks = vec![0.0; series.len()];
    let mut below = 0;
    for ties in order.chunk_by(|&a, &b| series[a] == series[b]) {
        for &index in ties {
            ranks[index] = below as f64 + (ties.len() + 1) as f64 / 2.0;
        }
        below += ties.len();
    }
    ranks
}

fn pairs<'a>(predictions: &'a [usize], labels: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    predictions.iter().copied().zip(labels.iter().copied())
}

#[track_caller]
fn check(predictions: usize, labels: usize) {
    assert!(predictions == labels && labels > 0, "metrics: {predictions} predictions for {labels} labels");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICTIONS: [usize; 10] = [1, 0, 1, 1, 0, 0, 1, 0, 1, 1];
    const LABELS: [usize; 10] = [1, 0, 0, 1, 0, 1, 1, 0, 1, 0];

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn binary_metrics_equal_those_of_the_confusion_matrix() {
        // 4 true positives, 2 false positives, 1 false negative, 3 true negatives.
        assert_close(accuracy(&PREDICTIONS, &LABELS), 0.7);
        assert_close(f1(&PREDICTIONS, &LABELS, 1), 8.0 / 11.0);
        assert_close(f1(&PREDICTIONS, &LABELS, 0), 6.0 / 9.0);
        assert_close(macro_f1(&PREDICTIONS, &LABELS), (8.0 / 11.0 + 6.0 / 9.0) / 2.0);
        assert_close(matthews(&PREDICTIONS, &LABELS), 10.0 / 600f64.sqrt());
    }

    #[test]
    fn matthews_of_three_classes_is_the_correlation_of_their_indicators() {
        let (predictions, labels) = ([0, 2, 1, 1, 2, 0, 2], [0, 1, 1, 2, 2, 0, 0]);
        assert_close(matthews(&predictions, &labels), 0.375);
        assert_close(macro_f1(&predictions, &labels), (0.8 + 0.5 + 0.4) / 3.0);
    }

    #[test]
    fn matthews_of_a_constant_prediction_is_zero() {
        assert_eq!(matthews(&[1, 1, 1], &[0, 1, 1]), 0.0);
    }

    #[test]
    fn a_class_on_neither_side_has_f1_zero_and_is_not_averaged() {
        assert_eq!(f1(&[0, 0], &[0, 0], 1), 0.0);
        assert_eq!(macro_f1(&[0, 3], &[0, 3]), 1.0);
    }

    #[test]
    fn correlations_equal_those_of_numpy() {
        let x = [0.1, 2.5, 2.5, 4.0, 3.5];
        let y = [1.0, 1.5, 3.0, 2.0, 3.0];
        assert_close(pearson(&x, &y).unwrap(), 0.6314086399151525);
        assert_close(spearman(&x, &y).unwrap(), 0.5526315789473686);
    }

    #[test]
    fn a_constant_series_has_no_correlation() {
        assert_eq!(pearson(&[0.1; 3], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[2.0; 3]), None);
    }

    #[test]
    fn a_monotone_relation_has_rank_correlation_one() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert_close(spearman(&x, &x.map(f64::exp)).unwrap(), 1.0);
    }

    #[test]
    #[should_panic(expected = "2 predictions for 1 labels")]
    fn unequal_lengths_panic() {
        accuracy(&[0, 1], &[0]);
    }
}
