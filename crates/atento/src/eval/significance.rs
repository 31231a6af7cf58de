//! Is one system better than another, or lucky with these sentences? Paired bootstrap resampling, as sacreBLEU's `--paired-bs`.
//!
//! The test set is resampled with replacement B times, and both systems are scored on every resample b (Koehn, "Statistical
//! Significance Tests for Machine Translation Evaluation", 2004; the statistic is that of multeval and sacreBLEU). With
//! `d` the absolute difference on the real test set and `d_b` that on resample b,
//!
//! ```text
//! p = (1 + #{b : d_b − mean(d) > d}) / (1 + B)
//! ```
//!
//! is the chance of a difference this large between systems that are equal. The half-width of the 95 % interval of a score
//! is half the distance between its (B/40)-th lowest and (B/40)-th highest resample.
//!
//! The resamples are the very ones that sacreBLEU draws for the same seed. It sums the statistics in `f32` and takes precisions in
//! `f32`, here both are exact or `f64`, so that means and half-widths agree to about 1e-4.

use super::numpy_random::IndexGenerator;
use super::{CorpusMetric, Error, Statistics};

/// How a test set is resampled; the defaults are sacreBLEU's 1000 resamples from seed 12345.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of resamples, at least 1.
    pub resamples: usize,
    /// Seed of the resampling; equal seeds draw equal resamples.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// sacreBLEU's 1,000 resamples and its seed, 12345.
    fn default() -> Self {
        Bootstrap { resamples: 1000, seed: 12345 }
    }
}

/// A 95 % confidence interval of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean score over the resamples.
    pub mean: f64,
    /// Half the width of the interval.
    pub half_width: f64,
}

/// Two systems compared on the same lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedComparison {
    /// The baseline's score.
    pub baseline_score: f64,
    /// The baseline's confidence interval.
    pub baseline_interval: Interval,
    /// The system's score.
    pub system_score: f64,
    /// The system's confidence interval.
    pub system_interval: Interval,
    /// The probability of a difference this large by chance.
    pub p_value: f64,
}

impl Bootstrap {
    /// The confidence interval of one system's score.
    ///
    /// # Errors
    /// [`Error::NoResamples`].
    pub fn interval(&self, metric: &impl CorpusMetric, system: &Statistics) -> Result<Interval, Error> {
        let [scores] = self.scores(metric, [system])?;
        Ok(interval(scores))
    }

    /// Compares a system with a baseline; both statistics must come from `metric` and the same references.
    ///
    /// # Errors
    /// [`Error::SystemLineCount`] and [`Error::NoResamples`].
    pub fn paired(
        &self,
        metric: &impl CorpusMetric,
        baseline: &Statistics,
        system: &Statistics,
    ) -> Result<PairedComparison, Error> {
        if baseline.segments() != system.segments() {
            return Err(Error::SystemLineCount { baseline: baseline.segments(), system: system.segments() });
        }
        let [baseline_scores, system_scores] = self.scores(metric, [baseline, system])?;
        let baseline_score = metric.score_of(&baseline.sums());
        let system_score = metric.score_of(&system.sums());
        let differences: Vec<f64> = baseline_scores.iter().zip(&system_scores).map(|(a, b)| (a - b).abs()).collect();
        Ok(PairedComparison {
            baseline_score,
            baseline_interval: interval(baseline_scores),
            system_score,
            system_interval: interval(system_scores),
            p_value: p_value(&differences, (baseline_score - system_score).abs()),
        })
    }

    /// A score's signature with the resampling noted in it, as sacreBLEU notes it.
    pub fn signature(&self, signature: &str) -> String {
        let (references, rest) = signature.split_once('|').unwrap_or((signature, ""));
        format!("{references}|bs:{}|seed:{}|{rest}", self.resamples, self.seed)
    }

    /// The scores of each system on each resample, the same resamples for all.
    fn scores<const N: usize>(
        &self,
        metric: &impl CorpusMetric,
        systems: [&Statistics; N],
    ) -> Result<[Vec<f64>; N], Error> {
        if self.resamples == 0 {
            return Err(Error::NoResamples);
        }
        let segments = systems[0].segments();
        let mut generator = IndexGenerator::new(self.seed);
        let mut scores = systems.map(|_| Vec::with_capacity(self.resamples));
        let mut drawn = vec![0; segments];
        for _ in 0..self.resamples {
            drawn.fill_with(|| generator.below(segments));
            for (scores, system) in scores.iter_mut().zip(systems) {
                scores.push(metric.score_of(&system.sums_of(drawn.iter().copied())));
            }
        }
        Ok(scores)
    }
}

fn interval(mut scores: Vec<f64>) -> Interval {
    scores.sort_by(f64::total_cmp);
    let lowest = scores.len() / 40;
    let highest = scores.len() - lowest - 1;
    Interval {
        mean: scores.iter().sum::<f64>() / scores.len() as f64,
        half_width: 0.5 * (scores[highest] - scores[lowest]),
    }
}

fn p_value(differences: &[f64], real_difference: f64) -> f64 {
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let larger = differences.iter().filter(|&d| d - mean > real_difference);
    (larger.count() + 1) as f64 / (differences.len() + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Bleu;

    #[test]
    fn a_system_compared_with_itself_has_equal_intervals() {
        let lines = ["a b c d e", "f g h i", "k l m n o p"];
        let references = [["a b c d x", "f g y i", "k l m n o q"]];
        let bleu = Bleu::default();
        let statistics = bleu.statistics(&lines, &references).unwrap();
        let result = Bootstrap::default().paired(&bleu, &statistics, &statistics).unwrap();
        assert_eq!(result.baseline_interval, result.system_interval);
        // sacreBLEU counts only strictly larger differences, hence the smallest p-value there is.
        assert_eq!(result.p_value, 1.0 / 1001.0);
    }

    #[test]
    fn systems_of_unequal_length_are_refused() {
        let bleu = Bleu::default();
        let one = bleu.statistics(&["a"], &[["a"]]).unwrap();
        let two = bleu.statistics(&["a", "b"], &[["a", "b"]]).unwrap();
        let error = Bootstrap::default().paired(&bleu, &one, &two).unwrap_err();
        assert_eq!(error, Error::SystemLineCount { baseline: 1, system: 2 });
    }

    #[test]
    fn no_resamples_are_refused() {
        let bleu = Bleu::default();
        let one = bleu.statistics(&["a"], &[["a"]]).unwrap();
        let none = Bootstrap { resamples: 0, ..Bootstrap::default() };
        assert_eq!(none.interval(&bleu, &one), Err(Error::NoResamples));
    }

    #[test]
    fn the_signature_notes_the_resampling_after_the_references() {
        assert_eq!(
            Bootstrap::default().signature("nrefs:1|case:mixed|version:2.6.0"),
            "nrefs:1|bs:1000|seed:12345|case:mixed|version:2.6.0"
        );
    }
}
