//! The task `multiple-choice`: which of several texts goes with a prompt (Zellers et al. 2018; Devlin et al. 2019, §4.4).

mod run;

use std::path::Path;

use super::heads::{self, FineTuning};
use super::{Evaluated, PlaceOf, Stated, Task};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::plan::outlook;
use crate::train::recipe::{self, DataSettings, Metric, Recipe};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// Questions in a batch; each is several texts.
const BATCH: usize = 16;

/// `multiple-choice`.
pub struct MultipleChoiceTask;

impl Task for MultipleChoiceTask {
    fn name(&self) -> &'static str {
        "multiple-choice"
    }

    fn head(&self) -> Head {
        Head::Choice
    }

    fn keys(&self) -> &'static [&'static str] {
        &["data.train", "data.valid", "data.test", "data.max_length", "data.on_truncate", "train.max_sentences"]
    }

    fn forms(&self) -> &'static [&'static str] {
        &["tsv", "jsonl"]
    }

    fn columns(&self) -> &'static [&'static str] {
        &["prompt_key", "label_key"]
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        heads::is_watched(data)
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Accuracy]
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        heads::set_defaults(recipe, Metric::Accuracy);
        recipe.train.max_sentences = BATCH;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        heads::follow(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        heads::check(self, recipe, written, place)?;
        heads::check_whole(recipe, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<run::Choices>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        heads::evaluate::<run::Choices>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<run::Choices>>(recipe, options, scratch)
    }
}
