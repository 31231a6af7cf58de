//! Tasks of whole texts: `classify` learns labels, `regress` values, of texts or pairs (Devlin et al. 2019, §4.1).

pub(super) mod begin;
mod run;
mod scores;

use std::path::Path;

use super::files::{given, parts};
use super::{PlaceOf, Stated, Task, foreign_keys};
use crate::families::Head;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, ClassWeights, DataSettings, Metric, OnTruncate, Recipe, ScheduleKind, TokenizerKind};
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

/// The longest text that is usual.
const MAX_LENGTH: usize = 512;

/// Defaults of fine-tuning: three passes, a low rate that falls to nothing, small batches (Devlin et al. 2019, appendix A.3).
pub(crate) fn set_fine_tuning_defaults(recipe: &mut Recipe) {
    let Recipe { data, train, optimizer, schedule, tokenizer, .. } = recipe;
    tokenizer.kind = TokenizerKind::WordPiece;
    (data.max_length, data.drop_duplicates, data.on_truncate) = (MAX_LENGTH, false, OnTruncate::Warn);
    train.label_smoothing = 0.0;
    (train.max_steps, train.max_epochs) = (None, Some(3));
    train.max_sentences = 32;
    (optimizer.lr, optimizer.betas, optimizer.eps) = (5e-5, [0.9, 0.999], 1e-8);
    (schedule.kind, schedule.warmup_steps) = (ScheduleKind::Linear, 100);
}

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

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.valid.is_some()
    }

    fn measures(&self, data: &DataSettings) -> &'static [Metric] {
        match data.multi_label {
            true => &[Metric::Accuracy, Metric::F1, Metric::F1Macro],
            false => &[Metric::Accuracy, Metric::F1, Metric::F1Macro, Metric::Matthews],
        }
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        set_fine_tuning_defaults(recipe);
        recipe.train.early_stopping.metric = Metric::Accuracy;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow(recipe, is_stated);
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
        run::<run::WholeTexts>(recipe, options, stop, reporter)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<run::WholeTexts>(recipe, options, scratch)
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

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.valid.is_some()
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Pearson, Metric::Spearman]
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        set_fine_tuning_defaults(recipe);
        recipe.train.early_stopping.metric = Metric::Pearson;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow(recipe, is_stated);
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
        run::<run::WholeTexts>(recipe, options, stop, reporter)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<run::WholeTexts>(recipe, options, scratch)
    }
}

/// A text fits into the model and into a batch; a run that has another limit than passes has that alone.
pub(crate) fn follow(recipe: &mut Recipe, is_stated: Stated<'_>) {
    let Recipe { data, model, train, .. } = recipe;
    if train.max_steps.is_some() && !is_stated("train.max_epochs") {
        train.max_epochs = None;
    }
    if !is_stated("data.max_length") {
        data.max_length = data.max_length.min(model.max_positions);
    }
    if !is_stated("train.batch_tokens") {
        train.batch_tokens = train.batch_tokens.max(data.max_length);
    }
}

/// Refuses files of other forms, and lengths that contradict each other.
pub(crate) fn check(
    task: &dyn Task,
    recipe: &Recipe,
    written: Stated<'_>,
    place: PlaceOf<'_>,
) -> Result<(), recipe::Error> {
    let Recipe { data, model, train, .. } = recipe;
    let name = task.name();
    if let Some(key) = foreign_keys(task).into_iter().find(|key| written(key)) {
        return conflict(place(key), format!("`{key}` does not go with `task` \"{name}\": take it out"));
    }
    if data.train.is_none() {
        return conflict(place("data"), "`data.train` is missing: give it a `tsv`, `csv` or `jsonl` file of texts");
    }
    if data.on_truncate == OnTruncate::Split {
        let problem =
            "`data.on_truncate` is \"split\", but a text has one answer: use \"error\", \"warn\" (cut) or \"drop\"";
        return conflict(place("data.on_truncate"), problem);
    }
    for (key, files) in parts(data) {
        let given = given(files);
        if !matches!(given[..], ["csv"] | ["jsonl"] | ["tsv"]) {
            let names = super::files::enumerate(&given);
            let message = format!("`{key}` must name one of `tsv`, `csv` and `jsonl`; it names {names}");
            return conflict(place(key), message);
        }
    }
    if data.max_length > model.max_positions {
        let message = format!(
            "`data.max_length` is {}, but the model has {} positions (`model.max_positions`)",
            data.max_length, model.max_positions
        );
        return conflict(place("data.max_length"), message);
    }
    if train.batch_tokens < data.max_length {
        let message = format!(
            "`train.batch_tokens` is {}, and a text of `data.max_length` {} does not fit",
            train.batch_tokens, data.max_length
        );
        return conflict(place("train.batch_tokens"), message);
    }
    Ok(())
}
