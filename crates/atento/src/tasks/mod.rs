//! The tasks that a recipe may have, one a folder: what each asks of its settings and its data, what it learns, and how it
//! is judged. Nothing else knows a task.
//!
//! A [`Task`] is what is known of a task before it runs. How a run of it goes, model, batches and measures, is a
//! `Workload`, which the loop of [`train`](crate::train) drives.
//!
//! To add a task: its folder here and its line in [`ALL`].

mod causal_lm;
mod evaluate;
mod files;
mod heads;
pub mod init;
mod instruct;
mod language;
mod masked_lm;
mod multiple_choice;
mod qa;
mod tag;
mod texts;
pub mod translation;

use std::path::Path;

use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::recipe::{self, DataSettings, Metric, Place, Recipe};
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

pub use evaluate::{Data, Evaluated, Evaluation, evaluate};
pub use instruct::ShownExample;

/// Every task; a recipe that names none means the first.
pub static ALL: [&dyn Task; 10] = [
    &translation::TranslationTask,
    &causal_lm::CausalLmTask,
    &instruct::InstructTask,
    &masked_lm::BERT_PRETRAIN,
    &masked_lm::MASKED_LM,
    &texts::ClassifyTask,
    &texts::RegressTask,
    &tag::TagTask,
    &qa::QaTask,
    &multiple_choice::MultipleChoiceTask,
];

/// The words of `data.on_truncate` for examples that cannot be split.
const UNSPLIT: [&str; 3] = ["error", "warn", "drop"];

/// Whether a dotted key was stated.
pub type Stated<'a> = &'a dyn Fn(&str) -> bool;

/// Where a dotted key was written.
pub type PlaceOf<'a> = &'a dyn Fn(&str) -> Place;

/// What is known of a task before it runs.
pub trait Task: Sync {
    /// Its name in recipes, as `task`.
    fn name(&self) -> &'static str;

    /// What is learned, in a sentence.
    fn about(&self) -> &'static str;

    /// The lines of `[data]` that name data as they usually are, for a recipe that is an example.
    fn example(&self) -> &'static str;

    /// What its models do.
    fn head(&self) -> Head;

    /// Whether it usually trains a model that is there already.
    fn tunes(&self) -> bool {
        false
    }

    /// The settings, or tables of settings, that mean something for it and not for every task.
    fn keys(&self) -> &'static [&'static str];

    /// Sequences of an example that are processed apart.
    fn sides(&self) -> usize {
        1
    }

    /// What can be measured on the validation data besides the loss.
    fn measures(&self, _data: &DataSettings) -> &'static [Metric] {
        &[]
    }

    /// Whether prompts and completions are written in templates, which stay with the model.
    fn has_templates(&self) -> bool {
        false
    }

    /// Whether its output reads one vector of a whole text, which may be a pooling, and features as well.
    fn reads_whole_texts(&self) -> bool {
        false
    }

    /// Whether there is something to validate on.
    fn is_watched(&self, data: &DataSettings) -> bool;

    /// Passes over its training data where nobody says how long a run goes on.
    fn usual_passes(&self) -> usize {
        20
    }

    /// Whether so many passes are enough, however much time there is.
    fn passes_suffice(&self) -> bool {
        false
    }

    /// Whether the mean of some checkpoints is measured and exported where it is better than each of them.
    fn averages(&self) -> bool {
        false
    }

    /// Whether batches are full whatever the data.
    fn fills_batches(&self, _data: &DataSettings) -> bool {
        false
    }

    /// The words that it takes for a key of a recipe, where the key has others too.
    fn words(&self, _key: &str) -> Option<&'static [&'static str]> {
        None
    }

    /// Changes the defaults that are others for it.
    fn set_defaults(&self, _recipe: &mut Recipe) {}

    /// Moves settings that nobody stated so that they contradict none that somebody did.
    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>);

    /// Refuses settings that cannot go together, and data that cannot be learned from. `written` knows the keys that say
    /// something else than the default.
    ///
    /// # Errors
    /// The first conflict, with its place.
    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error>;

    /// Trains; see [`train`](crate::train::train()).
    ///
    /// # Errors
    /// As there.
    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error>;

    /// The forms that its files with answers may have, the usual one first.
    fn forms(&self) -> &'static [&'static str] {
        &[]
    }

    /// The columns of such files that may be named.
    fn columns(&self) -> &'static [&'static str] {
        &[]
    }

    /// Measures a model with the task's head on `data.test` of the recipe, or on its `data.text`; see [`evaluate()`].
    ///
    /// # Errors
    /// As there.
    fn evaluate(&self, _recipe: &Recipe, _model: TextModel, _stop: &StopFlag) -> Result<Evaluated, Error> {
        Err(Error::Setting { key: "task", problem: format!("\"{}\" has no head to measure", self.name()) })
    }

    /// Plans a run; see [`plan`](crate::train::plan()). What a run would make of its data is left in `scratch`.
    ///
    /// # Errors
    /// As there.
    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error>;

    /// Examples from all over the training data, as a run would learn from them; at most `count`.
    ///
    /// # Errors
    /// Whatever would keep the run from starting; a task that learns all of its text.
    fn show_masks(&self, _: &Recipe, _: &TrainOptions, _count: usize) -> Result<Vec<ShownExample>, Error> {
        let names: Vec<String> =
            ALL.into_iter().filter(|task| task.has_templates()).map(|task| format!("\"{}\"", task.name())).collect();
        let problem = format!(
            "\"{}\" has no masks to show: only {} leaves prompts out of the loss",
            self.name(),
            names.join(", ")
        );
        Err(Error::Setting { key: "task", problem })
    }
}

/// The task of that name, as recipes have it.
#[must_use]
pub fn named(name: &str) -> Option<&'static dyn Task> {
    ALL.into_iter().find(|task| task.name() == name)
}

/// The settings that only other tasks have.
pub fn foreign_keys(task: &dyn Task) -> Vec<&'static str> {
    let mut keys: Vec<&str> = ALL.into_iter().flat_map(Task::keys).copied().collect();
    keys.retain(|key| !task.keys().contains(key));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What the tasks of language models have in common: stretches of text fit into the model and into a batch. Where the model
/// has positions for more than two usual batches, a stretch is as long as one.
fn follow_stretches(recipe: &mut Recipe, is_stated: Stated<'_>, are_cut: bool) {
    let Recipe { data, model, train, .. } = recipe;
    if let Some(block_size) = data.block_size
        && !is_stated("model.max_positions")
    {
        model.max_positions = model.max_positions.max(block_size);
    }
    let block_size = data.block_size.unwrap_or(model.max_positions);
    let (is_own, batch) = (is_stated("train.batch_tokens"), train.batch_tokens);
    let is_cut = if is_own { are_cut && batch < block_size } else { 2 * batch < block_size };
    if is_cut && !is_stated("data.block_size") {
        data.block_size = Some(batch);
    } else if !is_own {
        train.batch_tokens = batch.max(block_size);
    }
}
