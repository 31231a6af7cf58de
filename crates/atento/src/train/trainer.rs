//! A training run from recipe to finished model.
//!
//! One function read in order: batch → gradients → update → log → evaluate → save. Everything random follows from the
//! seed and the step, and a checkpoint holds everything else, so a run that was killed and resumed computes the same
//! bits as one that was not (limits in steps or epochs; a limit in minutes depends on the clock).

mod keep;
mod save;
mod solve;
mod start;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use atento_kernels::optim;
use atento_tensor::{Grads, Pool};
use serde::Serialize;

use super::checkpoint::{Checkpoints, Identity, LogWindow};
use super::early_stopping::EarlyStopping;
use super::events::{Ending, Event, Reporter, StepReport};
use super::finish;
use super::metrics::{Metrics, Record};
use super::options::TrainOptions;
use super::recipe::{ClassWeights, Method, OnNonFinite, Recipe};
use super::run_dir::{Mode, RunDir};
use super::speed::{Speed, Spent};
use super::step::{NonFiniteStep, StepError, StepOptions, StepStats, TrainBatch, Trainable, train_step};
use super::workload::{Batches, Workload};
use super::{Error, Optimizer, Schedule, StopFlag, TensorBoard, precision};
use crate::peft::NewAdapter;
use crate::tasks::ShownExample;
pub(super) use save::save_model;

/// The batches of one update.
type MicroBatches<W> = Vec<<<W as Workload>::Model as Trainable>::Batch>;
/// What comes next.
struct Next<W: Workload> {
    micro_batches: MicroBatches<W>,
    /// The place in the data behind them.
    cursor: W::Cursor,
    /// Batches without a target so far, these among them.
    without_targets: u64,
}

/// A run's end.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The run directory.
    pub run: PathBuf,
    /// Updates made.
    pub steps: u64,
    /// How many of them were skipped because something was not finite.
    pub skipped: u64,
    /// Passes over the data, the last one partly.
    pub epochs: f64,
    /// Seconds of training and evaluating, pauses between resumed parts not counted.
    pub seconds: f64,
    /// Tokens trained on per second of training, of pairs those of both sides, evaluations not counted.
    pub tokens_per_second: f64,
    /// How near the machine's peak that is, and what holds the run up; none where nothing was trained.
    pub speed: Option<Speed>,
    /// Parameters that were trained.
    pub trainable: usize,
    /// The most memory that the process has had at a time, in bytes, where the system says.
    pub peak_memory: Option<u64>,
    /// Batches that had nothing to predict and were skipped.
    pub batches_without_targets: u64,
    /// Why it ended: "limit", "early stopping" or "stopped".
    pub ending: &'static str,
    /// The step of the weights in `model/`; of a mean, the last of its steps.
    pub model_step: u64,
    /// The steps whose mean they are, or the one they are of.
    pub model_steps: Vec<u64>,
    /// Why they were chosen, such as "the best validation loss, 1.2345".
    pub model_choice: String,
    /// Measures of the finished model: `valid_loss`, `valid_bleu`, `test_bleu`, …
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// The signature of the BLEU scores.
    pub signature: Option<String>,
    /// The page of the run.
    pub report: PathBuf,
    /// A short line of the data as the verb that uses the model reads it; what it has parts of lies between tabs.
    pub example: Option<String>,
    /// What is in the data and what was left out or cut.
    pub data: serde_json::Value,
}

impl Summary {
    /// Which weights `model/` holds, in words.
    #[must_use]
    pub fn exported(&self) -> String {
        match &self.model_steps[..] {
            [step] => format!("step {}, {}", super::events::group_thousands(*step), self.model_choice),
            _ => self.model_choice.clone(),
        }
    }
}

/// Trains as the recipe says; see the module's text.
///
/// # Errors
/// [`Error::is_input`] tells what was wrong beforehand from what failed midway. Finished checkpoints stay valid.
pub fn train(
    recipe: &Recipe,
    options: &TrainOptions,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Summary, Error> {
    precision::check(recipe.train.precision)?;
    recipe.task.train(recipe, &options.of(recipe)?, stop, reporter)
}

/// Examples from all over the training data, as [`train()`] would learn from them; at most `count`.
///
/// # Errors
/// Whatever would keep the run from starting; a task that learns all of its text.
pub fn show_masks(recipe: &Recipe, options: &TrainOptions, count: usize) -> Result<Vec<ShownExample>, Error> {
    recipe.task.show_masks(recipe, &options.of(recipe)?, count)
}

pub(crate) fn run<W: Workload>(
    recipe: &Recipe,
    options: &TrainOptions,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Summary, Error> {
    let Some(out) = recipe.out.as_deref() else {
        let problem = "there is no run directory: name one".into();
        return Err(Error::Setting { key: "out", problem });
    };
    let run = RunDir::open(out, if options.resume { Mode::Resume } else { Mode::New })?;
    let (mut session, mut batches) = match Session::<W>::start(recipe, options, &run, reporter) {
        Ok(begun) => begun,
        Err(error) => {
            run.abandon();
            return Err(error);
        }
    };
    let ended = match session.recipe.train.method {
        Method::Features => session.solve(stop),
        _ => session.solve_first(stop).and_then(|is_stopped| match is_stopped {
            true => Ok(Ending::Stopped),
            false => session.steps(&mut batches, stop),
        }),
    };
    let ended = ended.and_then(|ending| session.finish(ending, stop));
    ended.map_err(|error| {
        session.keep_on_failure(&error);
        Error::Midway(Box::new(error))
    })
}

/// The state of a run in progress.
pub(super) struct Session<'r, W: Workload> {
    pub(super) recipe: Recipe,
    pub(super) run: &'r RunDir,
    pub(super) reporter: &'r mut dyn Reporter,
    pub(super) work: W,
    identity: Identity,
    /// The adapter that is trained, where it is not the model.
    adapter: Option<NewAdapter>,
    pub(super) pool: Pool,
    optimizer: Optimizer,
    grads: Grads,
    schedule: Schedule,
    pub(super) early_stopping: EarlyStopping,
    /// The moving average of the weights, when the recipe asks for one.
    pub(super) average: Option<Vec<f32>>,
    pub(super) checkpoints: Checkpoints,
    metrics: Metrics,
    tensorboard: TensorBoard,
    pub(super) step: u64,
    pub(super) skipped: u64,
    /// How many of them came without an update in between, the last step's among them.
    skipped_in_a_row: u64,
    /// Batches that had nothing to predict.
    pub(super) without_targets: u64,
    target_tokens: u64,
    cursor: W::Cursor,
    /// Seconds of earlier parts of the run, and the beginning of this one.
    earlier_seconds: f64,
    started: Instant,
    window: LogWindow,
    /// What the seconds of this part of the run were spent on.
    pub(super) spent: Spent,
    last_evaluation: Option<u64>,
    last_save: Option<u64>,
    /// The step of a checkpoint that only a stop has made.
    irregular: Option<u64>,
}

impl<W: Workload> Session<'_, W> {
    /// Trains until there is a reason to end.
    fn steps(&mut self, batches: &mut Batches<W>, stop: &StopFlag) -> Result<Ending, Error> {
        self.advanced();
        loop {
            // First what a run that goes on may have left open.
            self.log()?;
            if self.evaluation_due() {
                self.evaluate(stop)?;
            }
            if self.early_stopping.is_over() {
                return Ok(Ending::EarlyStopping);
            }
            if self.limit_reached() {
                return Ok(Ending::Limit);
            }
            let waits = Instant::now();
            let next = self.next_batches(batches, stop)?;
            self.spent.waiting += waits.elapsed().as_secs_f64();
            if stop.is_stopped() {
                return Ok(Ending::Stopped);
            }
            if next.micro_batches.is_empty() {
                self.without_targets = next.without_targets;
                return Ok(Ending::Limit);
            }
            self.update(&next.micro_batches)?;
            // Only now have they been learned.
            (self.cursor, self.without_targets) = (next.cursor, next.without_targets);
            self.advanced();
            self.log()?;
            if self.save_due() && !self.evaluation_due() {
                self.save()?;
            }
        }
    }

    /// The micro-batches of the next update; none at the end of the last epoch. The last update may have fewer. Those
    /// without a target keep their place, so that the others are summed as ever; where none has one, there is no update.
    fn next_batches(&self, batches: &mut Batches<W>, stop: &StopFlag) -> Result<Next<W>, Error> {
        let mut next = Next { micro_batches: Vec::new(), cursor: self.cursor, without_targets: self.without_targets };
        loop {
            let mut micro_batches = Vec::with_capacity(self.recipe.train.accumulate.min(1 << 10));
            while micro_batches.len() < self.recipe.train.accumulate && !stop.is_stopped() {
                let Some((batch, cursor)) = batches.next().transpose()? else { break };
                micro_batches.push(batch);
                next.cursor = cursor;
            }
            let empty = micro_batches.iter().filter(|batch| batch.targets() == 0).count();
            next.without_targets += empty as u64;
            if empty < micro_batches.len() {
                return Ok(Next { micro_batches, ..next });
            }
            if stop.is_stopped() {
                return Ok(next);
            }
            let ended = micro_batches.is_empty();
            let whole_pass = W::epoch(next.cursor) > W::epoch(self.cursor) + 1;
            if if ended { self.step == 0 && next.without_targets > 0 } else { whole_pass } {
                return Err(Error::NoTargets);
            }
            if ended {
                return Ok(next);
            }
        }
    }

    /// One update of the weights, or none where something is not finite and the recipe says to skip.
    fn update(&mut self, micro_batches: &MicroBatches<W>) -> Result<(), Error> {
        let (begin, before) = (Instant::now(), self.pool.operations());
        let train = &self.recipe.train;
        let step = self.step + 1;
        // With a limit in steps alone the schedule is a function of the step; else it follows the nearest limit.
        let lr = match (train.max_steps, train.max_epochs, train.max_minutes) {
            (Some(_), None, None) => self.schedule.lr(step as usize),
            _ => self.schedule.lr_at(step as usize, self.share_used()),
        };
        let options = StepOptions {
            smoothing: train.label_smoothing as f32,
            clip_norm: train.clip_norm,
            seed: self.recipe.seed,
            precision: train.precision,
        };
        let model = self.work.model_mut();
        let result =
            train_step(model, &mut self.optimizer, &mut self.grads, &self.pool, micro_batches, step, lr, &options);
        match result {
            Ok(stats) => self.after_update(stats, lr, begin, self.pool.operations() - before),
            Err(StepError::NonFinite(found)) if train.on_non_finite == OnNonFinite::Skip => self.skip(step, found)?,
            Err(StepError::NonFinite(found)) => {
                let error = Error::NonFinite { step, found };
                self.run.append_log(&error.to_string())?;
                return Err(error);
            }
            Err(other) => return Err(other.into()),
        }
        self.step = step;
        self.target_tokens += micro_batches.iter().map(|batch| batch.targets() as u64).sum::<u64>();
        Ok(())
    }

    /// Leaves out the update of `step`, unless that cannot help any more.
    fn skip(&mut self, step: u64, found: NonFiniteStep) -> Result<(), Error> {
        self.require_finite()?;
        let (skips, limit) = (self.skipped_in_a_row + 1, self.recipe.train.max_skips as u64);
        if limit > 0 && skips > limit {
            let error = Error::OnlySkips { step, skips: limit, found };
            self.run.append_log(&error.to_string())?;
            return Err(error);
        }
        let (tensor, place, lines) = (&found.tensor, found.place(), found.lines());
        let step = super::events::group_thousands(step);
        let message = format!("step {step} skipped: {tensor} of {place} is not finite; examples {lines}");
        self.run.append_log(&message)?;
        self.reporter.event(&Event::Warning(message));
        self.skipped += 1;
        self.skipped_in_a_row = skips;
        Ok(())
    }

    fn after_update(&mut self, stats: StepStats, lr: f64, begin: Instant, operations: u64) {
        self.skipped_in_a_row = 0;
        if let Some(average) = &mut self.average {
            // The usual warm-up of a moving average: early on it follows the weights more closely.
            let decay = self.recipe.train.ema.min((1.0 + self.step as f64) / (10.0 + self.step as f64));
            optim::ema_update(average, self.work.model().params().values(), decay as f32);
        }
        let seconds = begin.elapsed().as_secs_f64();
        self.spent.tokens += stats.tokens as u64;
        self.spent.updating += seconds;
        self.spent.operations += operations;
        let window = &mut self.window;
        window.steps += 1;
        window.loss += stats.nll;
        window.objective += stats.loss;
        window.tokens += stats.tokens;
        window.seconds += seconds;
        (window.grad_norm, window.lr) = (stats.grad_norm, lr);
    }

    fn advanced(&mut self) {
        let (step, share, eta) = (self.step, self.share_used(), self.remaining());
        self.reporter.event(&Event::Advanced { step, share, eta });
    }

    /// Writes the line of the log, when one is due and not yet written.
    fn log(&mut self) -> Result<(), Error> {
        let due = self.step.is_multiple_of(self.recipe.train.log_every as u64) || self.limit_reached();
        if !due || self.window.steps == 0 {
            return Ok(());
        }
        let window = self.window;
        let mean = |sum: f64| sum / f64::from(window.steps);
        let report = StepReport {
            step: self.step,
            max_steps: self.recipe.train.max_steps.map(|n| n as u64),
            loss: mean(window.loss),
            lr: window.lr,
            grad_norm: window.grad_norm,
            tokens_per_second: window.tokens as f64 / window.seconds,
            eta: self.remaining(),
        };
        self.run.append_log(&super::events::format_step_line(&report))?;
        self.record(Record {
            loss: Some(report.loss),
            objective: self.has_objective().then(|| mean(window.objective)),
            lr: Some(report.lr),
            grad_norm: Some(report.grad_norm),
            tokens: Some(self.target_tokens),
            tokens_per_second: Some(report.tokens_per_second),
            ..self.empty_record()
        })?;
        // Only now is the line on its way to the disk.
        self.window = LogWindow::default();
        self.reporter.event(&Event::Step(report));
        Ok(())
    }

    /// Whether what is minimised is another number than the loss.
    fn has_objective(&self) -> bool {
        let train = &self.recipe.train;
        train.label_smoothing > 0.0 || train.class_weights != ClassWeights::None
    }

    fn empty_record(&self) -> Record {
        Record { step: self.step, epoch: self.epochs(), ..Record::default() }
    }

    fn record(&mut self, record: Record) -> Result<(), Error> {
        self.run.require()?;
        self.metrics.write(&record)?;
        self.tensorboard.record(&record)?;
        Ok(())
    }

    fn evaluation_due(&self) -> bool {
        let every = self.recipe.train.eval_every as u64;
        self.step > 0 && self.last_evaluation != Some(self.step) && every > 0 && self.step.is_multiple_of(every)
    }

    fn save_due(&self) -> bool {
        let every = self.recipe.train.save_every as u64;
        every > 0 && self.step.is_multiple_of(every)
    }

    fn finish(&mut self, mut ending: Ending, stop: &StopFlag) -> Result<Summary, Error> {
        if ending == Ending::Limit && self.last_evaluation != Some(self.step) && self.step > 0 {
            self.evaluate(stop)?;
        }
        if stop.is_stopped() {
            ending = Ending::Stopped;
        }
        let waiting = self.optimizer.waiting(self.step);
        if ending != Ending::Stopped && self.step > 0 && waiting > 0 && self.recipe.train.unfreeze_every > 0 {
            let message = format!(
                "{} values were never trained: the run ended before `train.unfreeze_every` came to their blocks",
                super::events::group_thousands(waiting as u64)
            );
            self.run.append_log(&message)?;
            self.reporter.event(&Event::Warning(message));
        }
        self.save()?;
        let elapsed = Duration::from_secs_f64(self.seconds());
        let (summary, ending) = finish::finish(self, ending, stop)?;
        self.tensorboard.flush()?;
        self.run.require()?;
        self.reporter.event(&Event::Finished { step: self.step, elapsed, reason: ending });
        Ok(summary)
    }

    /// Seconds of the run so far, over all its parts.
    pub(super) fn seconds(&self) -> f64 {
        self.earlier_seconds + self.started.elapsed().as_secs_f64()
    }

    /// Passes over the data so far, by tokens.
    pub(super) fn epochs(&self) -> f64 {
        self.target_tokens as f64 / self.work.targets_per_epoch().max(1) as f64
    }

    /// How much of the nearest limit is used, from 0 to 1.
    fn share_used(&self) -> f64 {
        let train = &self.recipe.train;
        let shares = [
            train.max_steps.map(|limit| self.step as f64 / limit as f64),
            train.max_epochs.map(|limit| self.epochs() / limit as f64),
            train.max_minutes.map(|limit| self.seconds() / (60.0 * limit)),
        ];
        shares.into_iter().flatten().fold(0.0, f64::max).min(1.0)
    }

    fn limit_reached(&self) -> bool {
        let train = &self.recipe.train;
        train.max_steps.is_some_and(|limit| self.step >= limit as u64)
            || train.max_minutes.is_some_and(|limit| self.seconds() >= 60.0 * limit)
    }

    fn remaining(&self) -> Option<Duration> {
        let share = self.share_used();
        let seconds = self.seconds() * (1.0 - share) / share;
        Duration::try_from_secs_f64(seconds).ok().filter(|_| share > 0.0)
    }
}
