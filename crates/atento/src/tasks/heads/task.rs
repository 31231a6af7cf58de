//! What the tasks of heads have in common before they run.

use std::path::Path;

use super::{FineTuning, Tuned, check, check_whole, evaluate, follow, set_defaults};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::tasks::{Evaluated, PlaceOf, Stated, Task, UNSPLIT};
use crate::train::plan::outlook;
use crate::train::recipe::{self, DataSettings, Metric, Recipe};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// A task that puts a head on a Transformer and learns from examples in memory; it is a [`Task`] by what it says here.
pub(crate) trait HeadTask: Sync {
    /// What is known of its head and its data when it runs.
    type Work: Tuned;

    /// As [`Task::name`].
    const NAME: &'static str;
    /// As [`Task::about`].
    const ABOUT: &'static str;
    /// As [`Task::example`].
    const EXAMPLE: &'static str;
    /// As [`Task::head`].
    const HEAD: Head;
    /// What early stopping and the choice of the best weights look at.
    const METRIC: Metric;
    /// As [`Task::forms`].
    const FORMS: &'static [&'static str];
    /// As [`Task::columns`].
    const COLUMNS: &'static [&'static str] = &[];
    /// As [`Task::keys`].
    const KEYS: &'static [&'static str];
    /// As [`Task::reads_whole_texts`].
    const READS_WHOLE_TEXTS: bool = false;

    /// Whether an example that is too long can be split into several.
    const SPLITS: bool = false;

    /// As [`Task::measures`].
    fn measured(&self, data: &DataSettings) -> &'static [Metric];

    /// Changes the defaults that are others than those of every head.
    fn set_own_defaults(&self, _recipe: &mut Recipe) {}

    /// Moves settings that nobody stated, after those that every head moves.
    fn follow_further(&self, _recipe: &mut Recipe, _is_stated: Stated<'_>) {}

    /// Refuses what no head refuses already.
    ///
    /// # Errors
    /// The first conflict, with its place.
    fn check_further(&self, _recipe: &Recipe, _place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        Ok(())
    }
}

impl<T: HeadTask> Task for T {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn about(&self) -> &'static str {
        T::ABOUT
    }

    fn example(&self) -> &'static str {
        T::EXAMPLE
    }

    fn tunes(&self) -> bool {
        true
    }

    fn head(&self) -> Head {
        T::HEAD
    }

    fn keys(&self) -> &'static [&'static str] {
        T::KEYS
    }

    fn forms(&self) -> &'static [&'static str] {
        T::FORMS
    }

    fn columns(&self) -> &'static [&'static str] {
        T::COLUMNS
    }

    fn reads_whole_texts(&self) -> bool {
        T::READS_WHOLE_TEXTS
    }

    fn words(&self, key: &str) -> Option<&'static [&'static str]> {
        (key == "data.on_truncate" && !T::SPLITS).then_some(&UNSPLIT)
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.valid.is_some()
    }

    fn measures(&self, data: &DataSettings) -> &'static [Metric] {
        self.measured(data)
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        set_defaults(recipe, T::METRIC);
        self.set_own_defaults(recipe);
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow(recipe, is_stated);
        self.follow_further(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        check(self, recipe, written, place)?;
        if !T::SPLITS {
            check_whole(recipe, place)?;
        }
        self.check_further(recipe, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<T::Work>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        evaluate::<T::Work>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<T::Work>>(recipe, options, scratch)
    }
}
