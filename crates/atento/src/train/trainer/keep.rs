//! What a run keeps on its way: evaluations, the best model, checkpoints.

use std::time::Instant;

use super::{Session, save_model};
use crate::train::checkpoint::{Blob, TrainState};
use crate::train::early_stopping::Verdict;
use crate::train::events::{Event, format_evaluation};
use crate::train::exported::{Exported, digits, named};
use crate::train::recipe::Metric;
use crate::train::step::Trainable;
use crate::train::workload::{Measured, Workload};
use crate::train::{Error, StopFlag, run_dir};

impl<W: Workload> Session<'_, W> {
    /// Runs `body` with the weights that are evaluated and exported: the moving average where there is one.
    pub(in crate::train) fn with_export_weights<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let Some(mut average) = self.average.take() else { return body(self) };
        self.work.model_mut().params_mut().values_mut().swap_with_slice(&mut average);
        let result = body(self);
        self.work.model_mut().params_mut().values_mut().swap_with_slice(&mut average);
        self.average = Some(average);
        result
    }

    /// Measures validation loss and scores; a new best is also exported to `model/`. Where someone asks the run to stop
    /// meanwhile, this evaluation is left for when it goes on.
    pub(super) fn evaluate(&mut self, stop: &StopFlag) -> Result<(), Error> {
        match self.measure_and_export(stop) {
            Err(Error::Stopped) => Ok(()),
            measured => measured,
        }
    }

    /// Saves the last finished step before a failure ends the run, where that can help. Only that failure is reported as
    /// one.
    pub(super) fn keep_on_failure(&mut self, failure: &Error) {
        let cannot_help = matches!(
            failure,
            Error::Checkpoint(_) | Error::RunDir(run_dir::Error::Gone { .. }) | Error::NonFiniteWeights { .. }
        );
        if cannot_help {
            return;
        }
        if let Err(error) = self.save() {
            self.reporter.event(&Event::Warning(format!("step {} is lost too: {error}", self.step)));
        }
    }

    /// Checks that the model and what would go on with it are numbers. A gradient can be finite and the update not.
    pub(in crate::train) fn require_finite(&self) -> Result<(), Error> {
        let params = self.work.model().params();
        let arrays = [
            ("", params.values()),
            ("the first moment of ", &self.optimizer.first),
            ("the second moment of ", &self.optimizer.second),
            ("the moving average of ", self.average.as_deref().unwrap_or_default()),
        ];
        for (array, values) in arrays {
            if let Some(position) = first_not_finite(values) {
                let name = params.entry_at(position).map_or("a weight", |entry| &entry.name);
                return Err(Error::NonFiniteWeights { step: self.step, what: format!("{array}{name}") });
            }
        }
        Ok(())
    }

    /// Writes the model as it is, weights that are evaluated, to `model/`.
    pub(in crate::train) fn export(&self) -> Result<(), Error> {
        self.require_finite()?;
        let base = || self.identity.base.as_deref().expect("an adapter is of a base");
        let adapter = self.adapter.as_ref().map(|adapter| (adapter, base()));
        save_model(self.work.loaded(), adapter, &self.run.make_model()?)
    }

    fn measure_and_export(&mut self, stop: &StopFlag) -> Result<(), Error> {
        self.require_finite()?;
        let begin = Instant::now();
        let measured =
            self.with_export_weights(|session| session.work.measure(&session.recipe, &session.pool, stop))?;
        self.spent.evaluating += begin.elapsed().as_secs_f64();
        let Some(Measured { loss, scores }) = measured else {
            self.last_evaluation = Some(self.step);
            return Ok(());
        };
        let metric = self.early_stopping.metric;
        // What cannot be measured, such as a correlation with one value alone, is never the best.
        let found = scores.iter().find(|(score, _)| *score == metric).map_or(f64::NAN, |(_, value)| *value);
        let watched = if metric == Metric::Loss { loss } else { found };
        let mut early_stopping = self.early_stopping.clone();
        let best = early_stopping.observe(self.step, watched, loss) == Verdict::Best;
        let mean = Exported::read(self.run.path()).filter(|exported| exported.is_better_mean(metric, watched));
        match mean {
            Some(Exported { steps, value, .. }) if best => {
                let (named, value) = (named(&steps), digits(metric, value));
                let message = format!("model/ stays {named}: its {} is {value}", metric.title());
                self.run.append_log(&message)?;
                self.reporter.event(&Event::Note(message));
            }
            None if best => {
                let begin = Instant::now();
                Exported::forget(self.run.path())?;
                self.with_export_weights(|session| session.export())?;
                self.spent.saving += begin.elapsed().as_secs_f64();
                Exported { steps: vec![self.step], metric, value: watched }.write(self.run.path())?;
            }
            _ => {}
        }
        let mut record = self.empty_record();
        record.eval.insert("eval_loss".into(), loss);
        record.eval.extend(scores.iter().map(|(score, value)| (format!("eval_{score}"), *value)));
        self.record(record)?;
        // From here on this evaluation counts: its line is written.
        self.early_stopping = early_stopping;
        self.schedule.observe(loss);
        self.last_evaluation = Some(self.step);
        self.run.append_log(&format_evaluation(self.step, loss, &scores, best))?;
        self.reporter.event(&Event::Evaluated { step: self.step, loss, scores, best });
        // An evaluated state is also a saved one: the best must be found again.
        self.last_save = None;
        self.save()
    }

    /// Writes a checkpoint of the present step, unless there is one.
    pub(super) fn save(&mut self) -> Result<(), Error> {
        if self.last_save == Some(self.step) {
            return Ok(());
        }
        let begin = Instant::now();
        self.run.require()?;
        self.require_finite()?;
        self.metrics.sync()?;
        let regular = self.step == 0 || self.last_evaluation == Some(self.step) || self.save_due();
        let state = TrainState {
            seed: self.recipe.seed,
            step: self.step,
            epoch: W::epoch(self.cursor),
            tokens: self.target_tokens,
            accumulated: 0,
            skipped: self.skipped,
            without_targets: self.without_targets,
            skipped_in_a_row: self.skipped_in_a_row,
            seconds: self.seconds(),
            schedule: self.schedule.state(),
            early_stopping: self.early_stopping.clone(),
            cursor: serde_json::to_value(self.cursor).expect("a cursor is a few numbers"),
            evaluated: self.last_evaluation,
            regular,
            window: self.window,
            identity: self.identity.clone(),
        };
        let mut blobs = vec![
            Blob { name: "values", values: self.work.model().params().values() },
            Blob { name: "first", values: &self.optimizer.first },
            Blob { name: "second", values: &self.optimizer.second },
        ];
        let buffers = self.work.model().params().buffers();
        blobs.extend((!buffers.is_empty()).then_some(Blob { name: "buffers", values: buffers }));
        blobs.extend(self.average.as_deref().map(|values| Blob { name: "average", values }));
        let path = self.checkpoints.save(&state, &blobs)?;
        // It has served its end, and the last checkpoints are to be those of a run that nobody stopped.
        if let Some(step) = self.irregular.take().filter(|&step| step != self.step) {
            self.checkpoints.remove(step)?;
        }
        self.irregular = (!regular).then_some(self.step);
        let mut wanted: Vec<u64> = self.early_stopping.best.iter().map(|best| best.step).collect();
        wanted.extend(Exported::read(self.run.path()).into_iter().flat_map(|exported| exported.steps));
        self.checkpoints.retain(self.recipe.train.keep_last, &wanted)?;
        self.last_save = Some(self.step);
        self.spent.saving += begin.elapsed().as_secs_f64();
        if self.step > 0 {
            self.reporter.event(&Event::Saved { step: self.step, path });
        }
        Ok(())
    }
}

/// Where the first value is that is not finite.
fn first_not_finite(values: &[f32]) -> Option<usize> {
    const CHUNK: usize = 1 << 12;
    // Without a branch for each value, most of which are finite.
    let is_bad = |chunk: &[f32]| !chunk.iter().fold(true, |finite, value| finite & value.is_finite());
    let chunk = values.chunks(CHUNK).position(is_bad)?;
    values[chunk * CHUNK..].iter().position(|value| !value.is_finite()).map(|at| chunk * CHUNK + at)
}
