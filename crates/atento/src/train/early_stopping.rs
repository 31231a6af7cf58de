//! Stops a run whose validation measure no longer improves, and knows the best evaluation so far.

use serde::{Deserialize, Serialize};

use super::exact;
use super::recipe::{EarlyStoppingSettings, Metric};

/// Watches one measure on the validation data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    /// What is watched: the loss should fall, BLEU should rise.
    pub metric: Metric,
    /// Evaluations without a new best after which the run stops; 0 never stops it.
    pub patience: usize,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best.
    pub waited: usize,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The update after which it was made.
    pub step: u64,
    /// The measure.
    #[serde(with = "exact")]
    pub value: f64,
    /// The loss, by which equal ones are compared: a model that has just begun to learn has no BLEU yet.
    #[serde(with = "exact")]
    pub loss: f64,
}

/// What an evaluation means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the best so far.
    Best,
    /// It is not, and the run goes on.
    Continue,
    /// It is one too many that is not.
    Stop,
}

impl EarlyStopping {
    /// Before the first evaluation.
    pub fn new(settings: &EarlyStoppingSettings) -> Self {
        Self { metric: settings.metric, patience: settings.patience, best: None, waited: 0 }
    }

    /// Takes in the `value` of the watched measure and the `loss` after update `step`. An equal value is an improvement if the
    /// loss has fallen, and a value that is not a number never is.
    pub fn observe(&mut self, step: u64, value: f64, loss: f64) -> Verdict {
        let better = |best: Best| {
            self.metric.is_better(value, best.value) || value == best.value && Metric::Loss.is_better(loss, best.loss)
        };
        if !value.is_nan() && self.best.is_none_or(better) {
            self.best = Some(Best { step, value, loss });
            self.waited = 0;
            return Verdict::Best;
        }
        self.waited += 1;
        if self.is_over() { Verdict::Stop } else { Verdict::Continue }
    }

    /// Whether the run has waited long enough for a new best.
    pub fn is_over(&self) -> bool {
        self.patience > 0 && self.waited >= self.patience
    }

    /// Takes over what another has seen, keeping this one's patience. A state that watched another measure
    /// says nothing about this one and is left out.
    pub fn restore(&mut self, saved: &Self) {
        if saved.metric == self.metric {
            self.best = saved.best;
            self.waited = saved.waited;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Best as NewBest, Continue, Stop};

    fn verdicts(metric: Metric, patience: usize, values: &[f64]) -> (Vec<Verdict>, EarlyStopping) {
        let mut stopping = EarlyStopping::new(&EarlyStoppingSettings { metric, patience });
        let verdicts = values.iter().zip(1..).map(|(&value, step)| stopping.observe(step, value, value)).collect();
        (verdicts, stopping)
    }

    #[test]
    fn loss_should_fall() {
        let (found, stopping) = verdicts(Metric::Loss, 2, &[3.0, 2.0, 2.0, 1.5, 1.6, f64::NAN]);
        assert_eq!(found, [NewBest, NewBest, Continue, NewBest, Continue, Stop]);
        assert_eq!(stopping.best, Some(Best { step: 4, value: 1.5, loss: 1.5 }));
    }

    #[test]
    fn bleu_should_rise() {
        let (found, _) = verdicts(Metric::Bleu, 1, &[f64::NAN, 30.0, 31.0, 30.9]);
        assert_eq!(found, [Stop, NewBest, NewBest, Stop]);
    }

    #[test]
    fn of_equal_scores_the_one_with_the_lower_loss_is_best() {
        let mut stopping = EarlyStopping::new(&EarlyStoppingSettings { metric: Metric::Bleu, patience: 0 });
        let seen = [(0.0, 9.0), (0.0, 8.0), (0.0, 8.5), (1.0, 8.6), (1.0, 8.6)];
        let verdicts: Vec<_> =
            seen.iter().zip(1..).map(|(&(bleu, loss), step)| stopping.observe(step, bleu, loss)).collect();
        assert_eq!(verdicts, [NewBest, NewBest, Continue, NewBest, Continue]);
    }

    #[test]
    fn patience_zero_never_stops() {
        let (found, _) = verdicts(Metric::Loss, 0, &[1.0; 100]);
        assert!(!found.contains(&Stop));
    }

    #[test]
    fn a_saved_state_goes_on_as_if_never_stopped() {
        let (_, mut whole) = verdicts(Metric::Loss, 3, &[0.1 + 0.2, 0.4]);
        let saved: EarlyStopping = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        let mut resumed = EarlyStopping::new(&EarlyStoppingSettings { metric: Metric::Loss, patience: 3 });
        resumed.restore(&saved);
        for (step, value) in [(3, 0.5), (4, 0.6)] {
            assert_eq!(resumed.observe(step, value, value), whole.observe(step, value, value));
        }
        assert!(whole.is_over());
        let mut again = EarlyStopping::new(&EarlyStoppingSettings { metric: Metric::Loss, patience: 3 });
        again.restore(&whole);
        assert!(again.is_over(), "a run that was over is not trained on");
        assert_eq!(resumed, whole);
        let mut other = EarlyStopping::new(&EarlyStoppingSettings { metric: Metric::Bleu, patience: 3 });
        other.restore(&saved);
        assert_eq!(other.best, None);
    }
}
