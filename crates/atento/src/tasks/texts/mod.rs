//! Tasks of whole texts: `classify` learns labels, `regress` values, of texts or pairs (Devlin et al. 2019, §4.1).

mod run;
mod scores;

use std::path::Path;

use super::heads::{self, FineTuning};
use super::{Evaluated, PlaceOf, Stated, Task};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, ClassWeights, DataSettings, Metric, Recipe};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// `classify`.
pub struct ClassifyTask;

/// `regress`.
pub struct RegressTask;

/// The settings of both.
const KEYS: [&str; 7] = [
    "data.train",
    "data.valid",
    "data.test",
    "data.max_length",
    "data.on_truncate",
    "data.drop_duplicates",
    "train.max_sentences",
];

/// The forms that texts with labels may have, and the columns that may be named.
const FORMS: [&str; 3] = ["tsv", "csv", "jsonl"];
const COLUMNS: [&str; 3] = ["text_key", "pair_key", "label_key"];

impl Task for ClassifyTask {
    fn name(&self) -> &'static str {
        "classify"
    }

    fn head(&self) -> Head {
        Head::Labels
    }

    fn keys(&self) -> &'static [&'static str] {
        const ALL: [&str; 9] =
            [KEYS[0], KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], "data.multi_label", "train.class_weights"];
        &ALL
    }

    fn reads_whole_texts(&self) -> bool {
        true
    }

    fn forms(&self) -> &'static [&'static str] {
        &FORMS
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        heads::is_watched(data)
    }

    fn measures(&self, data: &DataSettings) -> &'static [Metric] {
        match data.multi_label {
            true => &[Metric::Accuracy, Metric::F1, Metric::F1Macro],
            false => &[Metric::Accuracy, Metric::F1, Metric::F1Macro, Metric::Matthews],
        }
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        heads::set_defaults(recipe, Metric::Accuracy);
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        heads::follow(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        if recipe.data.multi_label && recipe.train.class_weights != ClassWeights::None {
            let message =
                "`train.class_weights` does not go with `data.multi_label`: texts may have any number of labels";
            return conflict(place("train.class_weights"), message);
        }
        check(self, recipe, written, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<run::WholeTexts>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        heads::evaluate::<run::WholeTexts>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<run::WholeTexts>>(recipe, options, scratch)
    }
}

impl Task for RegressTask {
    fn name(&self) -> &'static str {
        "regress"
    }

    fn head(&self) -> Head {
        Head::Labels
    }

    fn keys(&self) -> &'static [&'static str] {
        &KEYS
    }

    fn reads_whole_texts(&self) -> bool {
        true
    }

    fn forms(&self) -> &'static [&'static str] {
        &FORMS
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        heads::is_watched(data)
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Pearson, Metric::Spearman]
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        heads::set_defaults(recipe, Metric::Pearson);
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        heads::follow(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        check(self, recipe, written, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<run::WholeTexts>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        heads::evaluate::<run::WholeTexts>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<run::WholeTexts>>(recipe, options, scratch)
    }
}

fn check(task: &dyn Task, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    heads::check(task, recipe, written, place)?;
    heads::check_whole(recipe, place)
}
