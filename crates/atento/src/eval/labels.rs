//! How right labels are: accuracy, F1 and Matthews' correlation, as scikit-learn computes them.
//!
//! With the counts of one label, `tp` found and right, `fp` found and wrong, `fn` not found: `F1 = 2·tp / (2·tp + fp + fn)`, 0
//! where nothing was found or is there. The macro mean is over the labels that occur in the data or were found; the micro F1
//! of single labels is the accuracy. Matthews' correlation of any number of labels is that of Gorodkin (2004).

/// Over what F1 is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// One label.
    Binary(usize),
    /// The mean of the labels' own.
    Macro,
    /// All labels together.
    Micro,
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
        self.counts.chunks(self.labels)
    }

    /// The share of labels that are right; 0 of none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.labels).map(|label| self.at(label, label)).sum();
        ratio(right as f64, self.counts.iter().sum::<u64>() as f64)
    }

    /// F1; of [`Average::Binary`], that of one label.
    #[must_use]
    pub fn f1(&self, average: Average) -> f64 {
        let f1 =
            |label: usize| ratio(2.0 * self.at(label, label) as f64, (self.gold(label) + self.found(label)) as f64);
        match average {
            Average::Binary(label) => f1(label),
            Average::Micro => self.accuracy(),
            Average::Macro => {
                let present = (0..self.labels).filter(|&label| self.gold(label) + self.found(label) > 0);
                let (sum, count) = present.fold((0.0, 0.0), |(sum, count), label| (sum + f1(label), count + 1.0));
                ratio(sum, count)
            }
        }
    }

    /// Matthews' correlation, from −1 to 1; 0 where all labels in the data or all that were found are one.
    #[must_use]
    pub fn matthews(&self) -> f64 {
        let all = self.counts.iter().sum::<u64>() as f64;
        let right: f64 = (0..self.labels).map(|label| self.at(label, label) as f64).sum();
        let sum = |of: &dyn Fn(usize) -> f64| (0..self.labels).map(of).sum::<f64>();
        let (gold, found) = (|label: usize| self.gold(label) as f64, |label: usize| self.found(label) as f64);
        let both = sum(&|label| gold(label) * found(label));
        let below_found = all * all - sum(&|label| found(label).powi(2));
        let below_gold = all * all - sum(&|label| gold(label).powi(2));
        ratio(right * all - both, (below_found * below_gold).sqrt())
    }

    fn at(&self, gold: usize, found: usize) -> u64 {
        self.counts[gold * self.labels + found]
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
    /// Of each label: found and right, found and wrong, not found.
    counts: Vec<[u64; 3]>,
}

impl MultiLabel {
    /// Counts flags, `labels` for each text: those of the data, and those found.
    ///
    /// # Panics
    /// If there are more of one than of the other.
    #[must_use]
    pub fn of(gold: &[bool], found: &[bool], labels: usize) -> Self {
        assert_eq!(gold.len(), found.len(), "MultiLabel: flags of the data and found");
        let mut counts = vec![[0; 3]; labels];
        let (mut texts, mut right) = (0, 0);
        for (gold, found) in gold.chunks(labels.max(1)).zip(found.chunks(labels.max(1))) {
            (texts, right) = (texts + 1, right + usize::from(gold == found));
            for ((counts, gold), found) in counts.iter_mut().zip(gold).zip(found) {
                counts[0] += u64::from(*gold && *found);
                counts[1] += u64::from(!*gold && *found);
                counts[2] += u64::from(*gold && !*found);
            }
        }
        Self { texts, right, counts }
    }

    /// The share of texts whose labels are all right.
    #[must_use]
    pub fn subset_accuracy(&self) -> f64 {
        ratio(self.right as f64, self.texts as f64)
    }

    /// F1.
    #[must_use]
    pub fn f1(&self, average: Average) -> f64 {
        let f1 = |[right, wrong, missed]: [u64; 3]| ratio(2.0 * right as f64, (2 * right + wrong + missed) as f64);
        match average {
            Average::Binary(label) => f1(self.counts[label]),
            Average::Macro => ratio(self.counts.iter().copied().map(f1).sum(), self.counts.len() as f64),
            Average::Micro => f1(self.counts.iter().fold([0; 3], |sum, counts| [0, 1, 2].map(|i| sum[i] + counts[i]))),
        }
    }
}

/// A ratio that is 0 where nothing is below.
fn ratio(above: f64, below: f64) -> f64 {
    if below == 0.0 { 0.0 } else { above / below }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
    }

    #[test]
    fn measures_of_labels_are_those_of_scikit_learn() {
        let (gold, found) = ([0, 1, 2, 2, 1, 0, 1, 2, 2, 0], [0, 2, 2, 1, 1, 0, 1, 2, 0, 1]);
        let matrix = ConfusionMatrix::of(gold.into_iter().zip(found), 4);
        close(matrix.accuracy(), 0.6);
        close(matrix.f1(Average::Macro), 0.6031746031746031);
        close(matrix.f1(Average::Micro), 0.6);
        close(matrix.f1(Average::Binary(1)), 0.5714285714285714);
        close(matrix.matthews(), 0.4090909090909091);
        assert_eq!(matrix.rows().next(), Some(&[2, 1, 0, 0][..]));
    }

    #[test]
    fn one_label_alone_is_right_and_correlates_with_nothing() {
        let matrix = ConfusionMatrix::of([(1, 1), (1, 1)], 2);
        assert_eq!((matrix.accuracy(), matrix.f1(Average::Binary(1)), matrix.f1(Average::Binary(0))), (1.0, 1.0, 0.0));
        assert_eq!((matrix.f1(Average::Macro), matrix.matthews()), (1.0, 0.0));
        let none = ConfusionMatrix::of([], 2);
        assert_eq!((none.accuracy(), none.f1(Average::Macro), none.matthews()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn measures_of_any_number_of_labels_are_those_of_scikit_learn() {
        let flags = |bits: &[u8]| bits.iter().map(|bit| *bit == 1).collect::<Vec<_>>();
        let gold = flags(&[1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0]);
        let found = flags(&[1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0]);
        let scores = MultiLabel::of(&gold, &found, 3);
        close(scores.subset_accuracy(), 0.5);
        close(scores.f1(Average::Micro), 0.8);
        close(scores.f1(Average::Macro), 0.6);
    }
}
