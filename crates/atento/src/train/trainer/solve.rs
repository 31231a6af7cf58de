//! An output that is solved on features of the training data, for good or before the first update.

use std::time::Instant;

use super::Session;
use crate::hub::contents::contents;
use crate::train::checkpoint::Identity;
use crate::train::events::{Ending, Event};
use crate::train::step::Trainable;
use crate::train::workload::{Store, Workload};
use crate::train::{Error, StopFlag};

impl<W: Workload> Session<'_, W> {
    /// Solves the output on features of the whole training data, which counts as one update.
    pub(super) fn solve(&mut self, stop: &StopFlag) -> Result<Ending, Error> {
        if self.step > 0 {
            return Ok(Ending::Limit);
        }
        let (begin, operations) = (Instant::now(), self.pool.operations());
        if self.solve_output(stop)? {
            return Ok(Ending::Stopped);
        }
        self.step = 1;
        self.target_tokens = self.work.targets_per_epoch();
        self.spent.tokens = self.work.tokens_per_epoch();
        self.spent.updating = begin.elapsed().as_secs_f64();
        self.spent.operations = self.pool.operations() - operations;
        Ok(Ending::Limit)
    }

    /// Solves the output where the recipe wants it before the first update. Returns whether the run was stopped.
    pub(super) fn solve_first(&mut self, stop: &StopFlag) -> Result<bool, Error> {
        if !self.recipe.train.solve_output || self.step > 0 {
            return Ok(false);
        }
        let is_stopped = self.solve_output(stop)?;
        if let Some(average) = &mut self.average {
            average.copy_from_slice(self.work.model().params().values());
        }
        Ok(is_stopped)
    }

    /// Solves the output on the model's features. Returns whether the run was stopped.
    fn solve_output(&mut self, stop: &StopFlag) -> Result<bool, Error> {
        let Identity { base, from, .. } = &self.identity;
        let base = base.clone().or_else(|| from.as_ref().and_then(|from| contents(from).ok()));
        let shared = self.recipe.train.features_dir.clone();
        let (dir, base) = match base {
            // A rounded model gives other features.
            Some(base) => {
                let dtype = self.recipe.train.base_dtype;
                (shared.unwrap_or_else(|| self.run.features()), format!("{base}-{dtype}"))
            }
            // The model is gone, and what its features are called elsewhere with it.
            None => (self.run.features(), "gone".into()),
        };
        let notes = match self.work.solve(&Store { dir, base }, &self.pool, stop) {
            Err(Error::Stopped) => return Ok(true),
            found => found?,
        };
        for note in notes {
            self.run.append_log(&note)?;
            self.reporter.event(&Event::Warning(note));
        }
        Ok(false)
    }
}
