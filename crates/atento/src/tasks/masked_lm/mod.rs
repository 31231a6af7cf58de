//! Pre-training as BERT's (Devlin et al. 2019, §3.1): `masked-lm` learns masked words, `bert-pretrain` also whether a text
//! follows another (or, as ALBERT, whether two are in order).

mod run;

use std::path::Path;

use super::{Evaluated, PlaceOf, Stated, Task};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, Documents, Method, Metric, Recipe, TokenizerKind};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// Learning masked words, and perhaps with them what follows what.
pub struct MaskedTask {
    name: &'static str,
    about: &'static str,
    head: Head,
    keys: &'static [&'static str],
    measures: &'static [Metric],
}

/// `masked-lm`.
pub static MASKED_LM: MaskedTask = MaskedTask {
    name: "masked-lm",
    about: "An encoder, pre-trained on text by the words that masks stand for.",
    head: Head::Words,
    keys: &KEYS,
    measures: &[Metric::WordAccuracy],
};

/// `bert-pretrain`.
pub static BERT_PRETRAIN: MaskedTask = MaskedTask {
    name: "bert-pretrain",
    about: "An encoder, pre-trained on text by masked words and by whether one text follows another.",
    head: Head::Pretraining,
    keys: &PAIR_KEYS,
    measures: &[Metric::WordAccuracy, Metric::NextAccuracy],
};

const KEYS: [&str; 14] = [
    "data.text",
    "data.valid_text",
    "data.text_key",
    "data.documents",
    "data.valid_fraction",
    "data.block_size",
    "data.drop_duplicates",
    "data.mask_prob",
    "data.mask_share",
    "data.random_share",
    "data.mask_units",
    "data.short_prob",
    "data.draw",
    "train.max_sentences",
];

const PAIR_KEYS: [&str; 15] = {
    let mut keys = ["data.second"; 15];
    let mut at = 0;
    while at < KEYS.len() {
        keys[at] = KEYS[at];
        at += 1;
    }
    keys
};

impl Task for MaskedTask {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn example(&self) -> &'static str {
        "text = \"texts\"\n"
    }

    fn head(&self) -> Head {
        self.head
    }

    fn keys(&self) -> &'static [&'static str] {
        self.keys
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        data.valid_text.is_some() || data.valid_fraction > 0.0
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        self.measures
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        set_defaults(recipe);
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        follow(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, _: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        check(recipe, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<run::MaskedWords>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        run::evaluate(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<run::MaskedWords>(recipe, options, scratch)
    }
}

/// The usual length of an example.
const BLOCK_SIZE: usize = 128;

/// BERT's optimiser and vocabulary (Devlin et al. 2019, appendix A.2); documents are set apart by blank lines.
fn set_defaults(recipe: &mut Recipe) {
    recipe.tokenizer.kind = TokenizerKind::WordPiece;
    recipe.train.label_smoothing = 0.0;
    recipe.data.documents = Documents::BlankLine;
    recipe.data.drop_duplicates = false;
    recipe.data.valid_fraction = 0.1;
    (recipe.optimizer.betas, recipe.optimizer.eps) = ([0.9, 0.999], 1e-6);
}

/// An example fits into the model and into a batch.
fn follow(recipe: &mut Recipe, is_stated: Stated<'_>) {
    // A prompt takes positions; of one that takes all, the run tells.
    let taken = if recipe.train.method == Method::Prompt { recipe.prompt.tokens } else { 0 };
    let Recipe { data, model, train, .. } = recipe;
    let room = model.max_positions.checked_sub(taken).filter(|room| *room > 0).unwrap_or(model.max_positions);
    let block_size = data.block_size.unwrap_or(BLOCK_SIZE.min(room));
    if data.block_size.is_some() && !is_stated("model.max_positions") {
        model.max_positions = model.max_positions.max(block_size);
    }
    if !is_stated("train.batch_tokens") {
        train.batch_tokens = train.batch_tokens.max(block_size);
    }
    data.block_size = Some(block_size);
}

fn check(recipe: &Recipe, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    let Recipe { data, train, model, .. } = recipe;
    if data.text.is_none() {
        return conflict(place("data"), "`data.text` is missing: a file or a directory of text");
    }
    let block_size = data.block_size.unwrap_or(BLOCK_SIZE);
    if block_size > model.max_positions {
        let message = format!(
            "`data.block_size` is {block_size}, but the model has {} positions (`model.max_positions`); lower one or raise the other",
            model.max_positions
        );
        return conflict(place("data.block_size"), message);
    }
    if train.batch_tokens < block_size {
        let message = format!(
            "`train.batch_tokens` is {}, and an example of {block_size} tokens does not fit",
            train.batch_tokens
        );
        return conflict(place("train.batch_tokens"), message);
    }
    if data.mask_share + data.random_share > 1.0 {
        let message = format!(
            "`data.mask_share` {} and `data.random_share` {} are together more than 1",
            data.mask_share, data.random_share
        );
        return conflict(place("data.random_share"), message);
    }
    Ok(())
}
