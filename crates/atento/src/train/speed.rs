//! Where the time of a run goes, and how near its products come to what this machine can do at best.

use atento_kernels::peak;
use serde::Serialize;

use super::events::group_thousands;

/// The share of the time from which evaluations are said to hold a run up; they are wanted, so it is a large one.
const MUCH_EVALUATING: f64 = 0.25;
/// The same of waiting for data, and of writing checkpoints.
const MUCH: f64 = 0.1;
/// The share of the peak below which something else than products takes most of the time of an update.
const LOW: f64 = 0.3;
/// Widths below which a product is too small to reach the peak.
const NARROW: usize = 512;

/// What the seconds of a run were spent on, as far as its loop goes, and the operations of its updates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub updating: f64,
    pub waiting: f64,
    pub evaluating: f64,
    pub saving: f64,
    /// Tokens of all updates, of pairs those of both sides.
    pub tokens: u64,
    /// Floating-point operations of the products and attentions of all updates, as [`atento_tensor::Pool::operations`]
    /// counts them.
    pub operations: u64,
}

impl Spent {
    /// Tokens per second of updates.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.updating.max(1e-9)
    }
}

/// How fast a run was, and why not faster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Tokens trained on per second of training.
    pub tokens_per_second: f64,
    /// Operations of matrix products and attention per second of training, in GFLOP/s: those that were computed, forward and
    /// backward, without what is done element by element.
    pub gflops: f64,
    /// Multiply-adds of all threads at best, measured at the end of the run, in GFLOP/s.
    pub peak_gflops: f64,
    /// The share of the time that went into updates.
    pub updating: f64,
    /// The share of the time in which a batch was waited for.
    pub waiting: f64,
    /// The share of the time that evaluations took.
    pub evaluating: f64,
    /// The share of the time that checkpoints and exports took.
    pub saving: f64,
    /// What holds the run up, in words.
    pub limited_by: String,
}

impl Speed {
    /// Of a run whose model has this width; measures the machine's peak, which takes some milliseconds. `None` where nothing
    /// was trained.
    pub(super) fn measure(spent: &Spent, width: usize) -> Option<Self> {
        let is_trained = spent.updating > 0.0 && spent.operations > 0;
        is_trained.then(|| Self::of(spent, width, peak::fma_gflops()))
    }

    fn of(spent: &Spent, width: usize, peak_gflops: f64) -> Self {
        let Spent { updating, waiting, evaluating, saving, operations, .. } = *spent;
        let all = updating + waiting + evaluating + saving;
        let [updating, waiting, evaluating, saving] = [updating, waiting, evaluating, saving].map(|part| part / all);
        let gflops = operations as f64 / spent.updating / 1e9;
        let mut speed = Self {
            tokens_per_second: spent.tokens_per_second(),
            gflops,
            peak_gflops,
            updating,
            waiting,
            evaluating,
            saving,
            limited_by: String::new(),
        };
        speed.limited_by = speed.limits(width);
        speed
    }

    /// The share of the peak that products reach while the model is updated.
    #[must_use]
    pub fn share_of_peak(&self) -> f64 {
        self.gflops / self.peak_gflops
    }

    /// What holds the run up, the outermost first.
    fn limits(&self, width: usize) -> String {
        let percent = |share: f64| format!("{:.0} % of the time", 100.0 * share);
        let mut limits = Vec::new();
        if self.evaluating > MUCH_EVALUATING {
            limits.push(format!("evaluations ({}; a larger train.eval_every makes fewer)", percent(self.evaluating)));
        }
        if self.waiting > MUCH {
            limits.push(format!("waiting for data ({})", percent(self.waiting)));
        }
        if self.saving > MUCH {
            let fewer = "larger train.eval_every and train.save_every make fewer";
            limits.push(format!("writing checkpoints ({}; {fewer})", percent(self.saving)));
        }
        if self.share_of_peak() < LOW {
            limits.push(match width {
                ..NARROW => format!("small matrices (d_model {width}), whose products are short"),
                _ => "what is done beside matrix products, element by element".to_owned(),
            });
        }
        if limits.is_empty() { "the matrix products themselves".to_owned() } else { limits.join(", ") }
    }

    /// All of it in one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let whole = |number: f64| group_thousands(number.round() as u64);
        let (tokens, peak) = (whole(self.tokens_per_second), whole(self.peak_gflops));
        let gflops = if self.gflops < 10.0 { format!("{:.1}", self.gflops) } else { whole(self.gflops) };
        format!(
            "{tokens} tokens/s, {gflops} GFLOP/s in products = {:.2} of this machine's peak in f32 ({peak} GFLOP/s measured); \
             limited by {}",
            self.share_of_peak(),
            self.limited_by
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(spent: Spent, width: usize) -> Speed {
        Speed::of(&spent, width, 380.0)
    }

    const FAST: Spent = Spent {
        updating: 10.0,
        waiting: 0.1,
        evaluating: 1.0,
        saving: 0.2,
        tokens: 123_450,
        operations: 2_090_000_000_000,
    };

    #[test]
    fn a_run_near_the_peak_is_limited_by_its_products() {
        assert_eq!(
            speed(FAST, 512).in_words(),
            "12,345 tokens/s, 209 GFLOP/s in products = 0.55 of this machine's peak in f32 (380 GFLOP/s measured); limited by \
             the matrix products themselves"
        );
    }

    #[test]
    fn what_takes_much_of_the_time_is_named() {
        let found = speed(Spent { waiting: 3.0, evaluating: 7.0, saving: 5.0, ..FAST }, 512).limited_by;
        assert_eq!(
            found,
            "evaluations (28 % of the time; a larger train.eval_every makes fewer), waiting for data (12 % of the time), \
             writing checkpoints (20 % of the time; larger train.eval_every and train.save_every make fewer)"
        );
    }

    #[test]
    fn far_below_the_peak_narrow_models_have_small_matrices_and_wide_ones_other_work() {
        let slow = Spent { operations: FAST.operations / 10, ..FAST };
        assert_eq!(speed(slow, 128).limited_by, "small matrices (d_model 128), whose products are short");
        assert_eq!(speed(slow, 768).limited_by, "what is done beside matrix products, element by element");
    }

    #[test]
    fn nothing_is_said_of_a_run_without_updates() {
        assert_eq!(Speed::measure(&Spent::default(), 128), None);
    }
}
