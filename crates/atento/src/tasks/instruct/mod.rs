//! Learning to answer: prompts with their completions, of which the completions are learned.

mod files;
mod masks;
mod run;

use std::path::Path;

use super::files::{enumerate, given, key_conflicts, parts};
use super::language::KINDS;
use super::{PlaceOf, Stated, Task, UNSPLIT, follow_stretches, foreign_keys};
use crate::families::Head;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, OnTruncate, Recipe, TokenizerKind};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

pub use masks::ShownExample;

/// `instruct`.
pub struct InstructTask;

impl Task for InstructTask {
    fn name(&self) -> &'static str {
        "instruct"
    }

    fn about(&self) -> &'static str {
        "A language model that learns to answer prompts, or conversations."
    }

    fn example(&self) -> &'static str {
        "train = { jsonl = \"train.jsonl\" }\nvalid = { jsonl = \"valid.jsonl\" }\n"
    }

    fn forms(&self) -> &'static [&'static str] {
        &["tsv", "jsonl", "csv"]
    }

    fn columns(&self) -> &'static [&'static str] {
        &["prompt_key", "completion_key"]
    }

    fn tunes(&self) -> bool {
        true
    }

    fn head(&self) -> Head {
        Head::Language
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "data.train",
            "data.valid",
            "data.test",
            "data.on_truncate",
            "data.on_bad_line",
            "data.drop_duplicates",
            "train.max_sentences",
            "data.block_size",
            "train.eval_batches",
            "data.prompt_template",
            "data.completion_template",
            "data.chat_template",
            "data.train_on_prompt",
        ]
    }

    fn has_templates(&self) -> bool {
        true
    }

    fn words(&self, key: &str) -> Option<&'static [&'static str]> {
        match key {
            "data.on_truncate" => Some(&UNSPLIT),
            "tokenizer.kind" => Some(&KINDS),
            _ => None,
        }
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.valid.is_some()
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        recipe.train.label_smoothing = 0.0;
        recipe.tokenizer.kind = TokenizerKind::ByteBpe;
        // A completion that is cut has no end: nothing would tell the model where to stop.
        recipe.data.on_truncate = OnTruncate::Error;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow_stretches(recipe, is_stated, false);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        check_data(&recipe.data, written, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<run::Instruct>(recipe, options, stop, reporter)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<run::Instruct>(recipe, options, scratch)
    }

    fn show_masks(&self, recipe: &Recipe, options: &TrainOptions, count: usize) -> Result<Vec<ShownExample>, Error> {
        masks::show(recipe, options, count)
    }
}

fn check_data(data: &DataSettings, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    // What another task learns from, or how, would be taken for what this one does.
    if let Some(key) = foreign_keys(&InstructTask).into_iter().find(|key| written(key)) {
        return conflict(place(key), format!("`{key}` does not go with `task` \"instruct\": take it out"));
    }
    if data.train.is_none() {
        return conflict(
            place("data"),
            "`data.train` is missing: give it a `csv`, `jsonl` or `tsv` file of prompts and completions",
        );
    }
    if data.on_truncate == OnTruncate::Split {
        let problem = "`data.on_truncate` is \"split\", but a completion cannot be split from its prompt: use \"error\", \"warn\" (cut) or \"drop\"";
        return conflict(place("data.on_truncate"), problem);
    }
    for (key, files) in parts(data) {
        let given = given(files);
        if !matches!(given[..], ["csv"] | ["jsonl"] | ["tsv"]) {
            let message = format!("`{key}` must name one of `csv`, `jsonl` and `tsv`; it names {}", enumerate(&given));
            return conflict(place(key), message);
        }
        key_conflicts(key, files, "instruct", ["prompt_key", "completion_key"], &["csv", "jsonl", "tsv"], place)?;
    }
    Ok(())
}
