//! What a run tells those who watch it, and the line it is told in.

use std::path::PathBuf;
use std::time::Duration;

use super::recipe::Metric;
pub use crate::messages::group_thousands;

/// Someone who watches a run: a terminal, a log file, a server.
pub trait Reporter {
    /// Takes note of an event. It is called from the training loop, which waits for it.
    fn event(&mut self, event: &Event);
}

/// Nobody watches.
impl Reporter for () {
    fn event(&mut self, _: &Event) {}
}

/// Two watchers in one.
impl<A: Reporter, B: Reporter> Reporter for (A, B) {
    fn event(&mut self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first step is about to be made.
    Started {
        /// The run directory.
        run: PathBuf,
        /// Trainable parameters.
        parameters: usize,
        /// All parameters.
        all_parameters: usize,
        /// Examples in the training data.
        examples: usize,
        /// What they are.
        what: &'static str,
        /// The limit in updates, where there is one.
        max_steps: Option<u64>,
    },
    /// The run goes on from a checkpoint.
    Resumed {
        /// Updates made before.
        step: u64,
        /// The checkpoint.
        path: PathBuf,
    },
    /// How far the run is: at its beginning, and after every update.
    Advanced {
        /// Updates made.
        step: u64,
        /// How much of the nearest limit is used, be it of time, updates or epochs: from 0 to 1.
        share: f64,
        /// The time still needed, where it can be told.
        eta: Option<Duration>,
    },
    /// As many updates as `train.log_every` were made.
    Step(StepReport),
    /// The validation data was scored.
    Evaluated {
        /// Updates made.
        step: u64,
        /// Cross-entropy per target, in nats; of values, the squared error.
        loss: f64,
        /// What else was measured.
        scores: Vec<(Metric, f64)>,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A checkpoint was written.
    Saved {
        /// Updates made.
        step: u64,
        /// Its directory.
        path: PathBuf,
    },
    /// What a setting comes to on this model.
    Note(String),
    /// Something is not as it should be, and the run goes on.
    Warning(String),
    /// The run ended.
    Finished {
        /// Updates made.
        step: u64,
        /// Time of training, pauses not counted.
        elapsed: Duration,
        /// Why it ended.
        reason: Ending,
    },
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A limit of the recipe was reached.
    Limit,
    /// Validation stopped improving.
    EarlyStopping,
    /// Someone asked it to stop; it can be resumed.
    Stopped,
}

/// How training goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Updates made.
    pub step: u64,
    /// The limit in updates, where there is one.
    pub max_steps: Option<u64>,
    /// Cross-entropy per target, in nats, since the last report, without label smoothing; of values, the squared error.
    pub loss: f64,
    /// The learning rate of the last update.
    pub lr: f64,
    /// The norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Tokens per second since the last report, of pairs those of both sides.
    pub tokens_per_second: f64,
    /// The time still needed, where it can be told.
    pub eta: Option<Duration>,
}

/// `step 1,200/8,000 | loss 2.3131 | lr 4.1e-4 | grad 0.82 | 31,412 tok/s | eta 12m04s`
pub fn format_step_line(report: &StepReport) -> String {
    let StepReport { step, max_steps, loss, lr, grad_norm, tokens_per_second, eta } = report;
    let limit = max_steps.map_or(String::new(), |limit| format!("/{}", group_thousands(limit)));
    let step = group_thousands(*step);
    let speed = group_thousands(tokens_per_second.round() as u64);
    let eta = eta.map_or(String::new(), |eta| format!(" | eta {}", format_duration(eta)));
    format!("step {step}{limit} | loss {loss:.4} | lr {lr:.1e} | grad {grad_norm:.2} | {speed} tok/s{eta}")
}

/// `step 1,000 | valid loss 2.3131 | BLEU 31.25 | best`
#[must_use]
pub fn format_evaluation(step: u64, loss: f64, scores: &[(Metric, f64)], best: bool) -> String {
    let score = |(metric, value): &(Metric, f64)| match metric {
        Metric::Bleu => format!(" | {} {value:.2}", metric.title()),
        _ => format!(" | {} {value:.4}", metric.title()),
    };
    let (scores, best) = (scores.iter().map(score).collect::<String>(), if best { " | best" } else { "" });
    let step = group_thousands(step);
    format!("step {step} | valid loss {loss:.4}{scores}{best}")
}

/// `12m04s`, `1h02m`, `3d04h` or `9s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_says_what_was_measured_and_whether_it_is_the_best() {
        let line = format_evaluation(100, 2.5, &[(Metric::Bleu, 31.256)], true);
        assert_eq!(line, "step 100 | valid loss 2.5000 | BLEU 31.26 | best");
        let line = format_evaluation(7, 0.5, &[(Metric::Accuracy, 0.91), (Metric::F1Macro, 0.25)], false);
        assert_eq!(line, "step 7 | valid loss 0.5000 | accuracy 0.9100 | macro F1 0.2500");
        assert_eq!(format_evaluation(7, 2.5, &[], false), "step 7 | valid loss 2.5000");
    }

    #[test]
    fn the_step_line_is_the_one_promised() {
        let report = StepReport {
            step: 1200,
            max_steps: Some(8000),
            loss: 2.31312,
            lr: 4.1e-4,
            grad_norm: 0.8213,
            tokens_per_second: 31412.3,
            eta: Some(Duration::from_secs(724)),
        };
        assert_eq!(
            format_step_line(&report),
            "step 1,200/8,000 | loss 2.3131 | lr 4.1e-4 | grad 0.82 | 31,412 tok/s | eta 12m04s"
        );
        let endless = StepReport { max_steps: None, eta: None, lr: 0.0, ..report };
        assert_eq!(format_step_line(&endless), "step 1,200 | loss 2.3131 | lr 0.0e0 | grad 0.82 | 31,412 tok/s");
    }

    #[test]
    fn an_evaluation_tells_what_was_measured() {
        let line = format_evaluation(100, 2.5, &[(Metric::Bleu, 31.256)], true);
        assert_eq!(line, "step 100 | valid loss 2.5000 | BLEU 31.26 | best");
        assert_eq!(format_evaluation(7, 2.5, &[], false), "step 7 | valid loss 2.5000");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in
            [(0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (724.0, "12m04s"), (3720.0, "1h02m"), (273_600.0, "3d04h")]
        {
            assert_eq!(format_duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn two_reporters_hear_the_same() {
        struct Count(usize);
        impl Reporter for &mut Count {
            fn event(&mut self, _: &Event) {
                self.0 += 1;
            }
        }
        let (mut one, mut other) = (Count(0), Count(0));
        (&mut one, &mut other).event(&Event::Warning("w".into()));
        assert_eq!((one.0, other.0), (1, 1));
    }
}
