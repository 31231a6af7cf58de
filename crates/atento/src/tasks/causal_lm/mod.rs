//! Learning to go on with text: tokens in a row, a decoder-only model, the loss of text it has not seen.

mod run;

use std::path::Path;

use super::language::KINDS;
use super::{PlaceOf, Stated, Task, follow_stretches};
use crate::families::Head;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, Recipe, Sampling, TokenizerKind};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// `causal-lm`.
pub struct CausalLmTask;

impl Task for CausalLmTask {
    fn name(&self) -> &'static str {
        "causal-lm"
    }

    fn about(&self) -> &'static str {
        "A language model, learned from text, left to right."
    }

    fn example(&self) -> &'static str {
        "text = \"text.txt\"\n"
    }

    fn head(&self) -> Head {
        Head::Language
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "data.text",
            "data.valid_text",
            "data.tokens",
            "data.text_key",
            "data.documents",
            "data.valid_fraction",
            "data.end_token",
            "data.document_attention",
            "data.sampling",
            "data.block_size",
            "train.eval_batches",
        ]
    }

    fn words(&self, key: &str) -> Option<&'static [&'static str]> {
        (key == "tokenizer.kind").then_some(&KINDS)
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.tokens.is_some() || data.valid_text.is_some() || data.valid_fraction > 0.0
    }

    /// Random windows fill a batch whatever the text.
    fn fills_batches(&self, data: &DataSettings) -> bool {
        data.sampling == Sampling::Random
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        recipe.train.label_smoothing = 0.0;
        recipe.data.valid_fraction = 0.1;
        recipe.tokenizer.kind = TokenizerKind::ByteBpe;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow_stretches(recipe, is_stated, true);
    }

    fn check(&self, recipe: &Recipe, _: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        check_text(recipe, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<run::LanguageModelling>(recipe, options, stop, reporter)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<run::LanguageModelling>(recipe, options, scratch)
    }
}

fn check_text(recipe: &Recipe, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    let Recipe { data, train, model, .. } = recipe;
    match (&data.text, &data.tokens) {
        (None, None) => {
            let forms = "`data.text` is missing: a file or a directory of text; or give `data.tokens` a directory with train.bin";
            return conflict(place("data"), forms);
        }
        (Some(_), Some(_)) => {
            return conflict(place("data.tokens"), "`data.text` and `data.tokens` exclude each other: remove one");
        }
        (None, Some(_)) if recipe.tokenizer.file.is_none() => {
            let message = "`data.tokens` needs `tokenizer.file`: the tokenizer.json that the tokens were made with";
            return conflict(place("data.tokens"), message);
        }
        _ => {}
    }
    let block = data.block_size.unwrap_or(model.max_positions);
    if block > model.max_positions {
        let message = format!(
            "`data.block_size` is {block}, but the model has {} positions (`model.max_positions`); lower one or raise the other",
            model.max_positions
        );
        return conflict(place("data.block_size"), message);
    }
    if train.batch_tokens < block {
        let message =
            format!("`train.batch_tokens` is {}, and a stretch of {block} tokens does not fit", train.batch_tokens);
        return conflict(place("train.batch_tokens"), message);
    }
    Ok(())
}
