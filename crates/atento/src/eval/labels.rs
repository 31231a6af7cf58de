//! How right labels are: accuracy, precision, recall, F1 and Matthews' correlation, equal to scikit-learn's with
//! `zero_division=0`.
//!
//! Precision, recall and F1 of one label come from its [`Counts`]. Over all labels there are three means of F1, [`Average`].
//! The sums are of integers, so that the order of the data does not matter.

use super::counts::Counts;
use super::ratio;

/// What F1 is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// One label.
    Binary(usize),
    /// The mean of the labels' F1. Of single labels, those that are neither in the data nor found are left out.
    Macro,
    /// F1 of the sums of the labels' counts. Of single labels it is the accuracy.
    Micro,
    /// The mean of the labels' F1, each weighted by how often the label is in the data.
    Weighted,
}

impl Average {
    /// The mean over the counts of all labels.
    fn of(self, labels: impl Iterator<Item = Counts>) -> f64 {
        let counts: Vec<Counts> = labels.collect();
        match self {
            Average::Binary(label) => counts[label].f1(),
            Average::Macro => ratio(counts.iter().map(|label| label.f1()).sum(), counts.len() as f64),
            Average::Micro => counts.into_iter().sum::<Counts>().f1(),
            Average::Weighted => {
                let gold: u64 = counts.iter().map(|label| label.gold).sum();
                ratio(counts.iter().map(|label| label.gold as f64 * label.f1()).sum(), gold as f64)
            }
        }
    }
}

/// How often each label was found in the place of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    labels: usize,
    /// Row by row: the label in the data, then the label found.
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Counts pairs of a label in the data and the label found.
    ///
    /// # Panics
    /// If a label is not below `labels`.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (usize, usize)>, labels: usize) -> Self {
        let mut counts = vec![0; labels * labels];
        for (gold, found) in pairs {
            assert!(gold < labels && found < labels, "ConfusionMatrix: labels {gold} and {found} of {labels}");
            counts[gold * labels + found] += 1;
        }
        Self { labels, counts }
    }

    /// For each label in the data, how often each was found.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.labels.max(1))
    }

    /// The share of labels that are right, `Σ n_kk / n`; 0 of none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.right() as f64, self.total() as f64)
    }

    /// How often one label was found, is in the data, and both.
    ///
    /// # Panics
    /// If there is no such label.
    #[must_use]
    pub fn label(&self, label: usize) -> Counts {
        assert!(label < self.labels, "ConfusionMatrix: label {label} of {}", self.labels);
        Counts { right: self.at(label, label), found: self.found(label), gold: self.gold(label) }
    }

    /// F1 of one label or of all, as `sklearn.metrics.f1_score`; 0 of no data.
    ///
    /// # Panics
    /// If there is no such label as that of [`Average::Binary`].
    #[must_use]
    pub fn f1(&self, average: Average) -> f64 {
        let all = (0..self.labels).map(|label| self.label(label));
        match average {
            Average::Macro => average.of(all.filter(|counts| counts.gold + counts.found > 0)),
            _ => average.of(all),
        }
    }

    /// Matthews' correlation of the labels in the data and those found, −1 to 1; 0 where all labels on one side are one.
    ///
    /// With `n` labels, `c` of them right, label k in the data `t_k` times and found `p_k` times, it is
    /// `(c·n − Σ p_k t_k) / √((n² − Σ p_k²)(n² − Σ t_k²))` (J. Gorodkin, "Comparing two K-category assignments by a K-category
    /// correlation coefficient", 2004, equation 8), for two labels the coefficient of B. W. Matthews (1975); as
    /// `sklearn.metrics.matthews_corrcoef`.
    #[must_use]
    pub fn matthews(&self) -> f64 {
        let all = self.total() as f64;
        let sum = |of: &dyn Fn(usize) -> u64| (0..self.labels).map(|label| of(label) as f64).sum::<f64>();
        let both = sum(&|label| self.gold(label) * self.found(label));
        let below_found = all * all - sum(&|label| self.found(label).pow(2));
        let below_gold = all * all - sum(&|label| self.gold(label).pow(2));
        ratio(self.right() as f64 * all - both, (below_found * below_gold).sqrt())
    }

    fn at(&self, gold: usize, found: usize) -> u64 {
        self.counts[gold * self.labels + found]
    }

    fn right(&self) -> u64 {
        (0..self.labels).map(|label| self.at(label, label)).sum()
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How often a label is in the data.
    fn gold(&self, label: usize) -> u64 {
        self.counts[label * self.labels..(label + 1) * self.labels].iter().sum()
    }

    /// How often a label was found.
    fn found(&self, label: usize) -> u64 {
        (0..self.labels).map(|gold| self.at(gold, label)).sum()
    }
}

/// Counts of texts that may have any number of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabel {
    texts: usize,
    /// Texts whose labels are all right.
    right: usize,
    labels: Vec<Counts>,
}

impl MultiLabel {
    /// Counts flags, `labels` for each text: those of the data, and those found.
    ///
    /// # Panics
    /// If there are more of one than of the other, or the last text has not all of its flags.
    #[must_use]
    pub fn of(gold: &[bool], found: &[bool], labels: usize) -> Self {
        let whole = gold.len().is_multiple_of(labels.max(1));
        assert!(gold.len() == found.len() && whole, "MultiLabel: {} and {} flags", gold.len(), found.len());
        let mut scores = Self { texts: 0, right: 0, labels: vec![Counts::default(); labels] };
        for (gold, found) in gold.chunks(labels.max(1)).zip(found.chunks(labels.max(1))) {
            scores.texts += 1;
            scores.right += usize::from(gold == found);
            for ((counts, &gold), &found) in scores.labels.iter_mut().zip(gold).zip(found) {
                *counts += Counts { right: (gold && found).into(), found: found.into(), gold: gold.into() };
            }
        }
        scores
    }

    /// The share of texts whose labels are all right; 0 of none.
    #[must_use]
    pub fn subset_accuracy(&self) -> f64 {
        ratio(self.right as f64, self.texts as f64)
    }

    /// How often one label was found, is in the data, and both.
    ///
    /// # Panics
    /// If there is no such label.
    #[must_use]
    pub fn label(&self, label: usize) -> Counts {
        self.labels[label]
    }

    /// F1 of one label or of all, as `sklearn.metrics.f1_score` of matrices of flags: a label that is neither in the data nor
    /// found counts as 0 in the macro mean.
    ///
    /// # Panics
    /// If there is no such label as that of [`Average::Binary`].
    #[must_use]
    pub fn f1(&self, average: Average) -> f64 {
        average.of(self.labels.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_alone_is_right_and_correlates_with_nothing() {
        let matrix = ConfusionMatrix::of([(1, 1), (1, 1)], 2);
        assert_eq!((matrix.accuracy(), matrix.f1(Average::Binary(1)), matrix.f1(Average::Binary(0))), (1.0, 1.0, 0.0));
        assert_eq!((matrix.f1(Average::Macro), matrix.matthews()), (1.0, 0.0));
        assert_eq!(matrix.rows().collect::<Vec<_>>(), [[0, 0], [0, 2]]);
    }

    #[test]
    fn measures_of_nothing_are_zero() {
        let none = ConfusionMatrix::of([], 2);
        let averages = [Average::Binary(0), Average::Macro, Average::Micro, Average::Weighted];
        assert_eq!(averages.map(|average| none.f1(average)), [0.0; 4]);
        assert_eq!((none.accuracy(), none.matthews(), none.label(1).precision()), (0.0, 0.0, 0.0));
        let none = MultiLabel::of(&[], &[], 3);
        assert_eq!((none.subset_accuracy(), none.label(2).recall()), (0.0, 0.0));
        assert_eq!(averages.map(|average| none.f1(average)), [0.0; 4]);
        assert_eq!(ConfusionMatrix::of([], 0).rows().count(), 0);
    }

    #[test]
    #[should_panic(expected = "labels 0 and 2 of 2")]
    fn a_label_beyond_the_others_is_refused() {
        let _ = ConfusionMatrix::of([(0, 2)], 2);
    }
}
