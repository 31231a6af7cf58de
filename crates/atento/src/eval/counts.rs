//! Precision, recall and F1 from counts.

use super::ratio;

/// How many things of one kind are in the data, how many were found, and how many of those are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Found where the data has them.
    pub right: u64,
    /// Found, right or wrong.
    pub found: u64,
    /// In the data.
    pub gold: u64,
}

impl Counts {
    /// `right / found`: the share of the found things that are right; 0 where nothing was found.
    #[must_use]
    pub fn precision(self) -> f64 {
        ratio(self.right as f64, self.found as f64)
    }

    /// `right / gold`: the share of the things in the data that were found; 0 where the data has none.
    #[must_use]
    pub fn recall(self) -> f64 {
        ratio(self.right as f64, self.gold as f64)
    }

    /// `2·right / (found + gold)`, the harmonic mean of precision and recall (C. J. van Rijsbergen, "Information Retrieval",
    /// 1979, chapter 7, with equal weights); 0 where nothing was found and the data has none.
    #[must_use]
    pub fn f1(self) -> f64 {
        ratio(2.0 * self.right as f64, (self.found + self.gold) as f64)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.right += other.right;
        self.found += other.found;
        self.gold += other.gold;
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}
