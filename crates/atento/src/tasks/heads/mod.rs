//! Fine-tuning: what the tasks have in common that put a head on a Transformer and learn from examples in memory
//! (Devlin et al. 2019, §4). What differs between them is [`Tuned`].

pub(crate) mod begin;
mod features;
mod labels;
mod run;
mod task;

use std::fmt;

use serde::Serialize;

pub(crate) use labels::{objective, settle as settle_labels, unheard};
use run::{FineTuning, evaluate};

pub(crate) use run::Heard;
pub(crate) use task::HeadTask;

use super::files::{enumerate, given, parts};
use super::{PlaceOf, Stated, Task, foreign_keys};
use crate::data::labelled::{Examples, Packs};
use crate::eval::Counts;
use crate::families::heads::{Headed, Objective};
use crate::pipelines::TextModel;
use crate::train::Error;
use crate::train::adapt::takes_positions;
use crate::train::checkpoint::Checkpoint;
use crate::train::probe::Gold;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, FileSettings, Metric, OnTruncate, Recipe, ScheduleKind, TokenizerKind};
use crate::train::report::Sample;

/// The longest text that is usual.
const MAX_LENGTH: usize = 512;
/// Mistakes shown in the report.
pub(crate) const MISTAKES: usize = 20;

/// Texts that a tokenizer is learned from.
pub(crate) type Lessons = Box<dyn Iterator<Item = Result<String, Error>>>;

/// What is known of a task's head and data.
pub(crate) trait Tuned: Sized {
    /// A file as examples.
    type Part: Part;

    /// What examples are called.
    const EXAMPLES: &'static str;
    /// What a sample's input and the output in the data are called in the report.
    const SAMPLE: [&'static str; 2];

    /// What the loss is measured in: `nats per text`.
    fn loss_unit(&self) -> &'static str;

    /// Finds what determines the head in the run that goes on, the model to start from, or the training data.
    fn look(recipe: &Recipe, resumed: Option<&Checkpoint>, training: &FileSettings) -> Result<Self, Error>;

    /// What is known of the head of a model that is measured.
    fn of_model(recipe: &Recipe, head: &Headed) -> Self;

    /// The labels of the head; none where its outputs are no labels.
    fn labels(&self) -> &[String] {
        &[]
    }

    /// What outputs of whole texts are measured by.
    fn objective(&self) -> Objective {
        Objective::Classification
    }

    /// The texts of the training data, to learn a tokenizer from.
    fn lessons(&self, training: &FileSettings) -> Result<Lessons, Error>;

    /// Reads and tokenises a file.
    fn read(&self, files: &FileSettings, reading: &Reading<'_>) -> Result<Self::Part, Error>;

    /// Takes what it needs from the training data; a line for each thing that the user should know.
    fn learn_from(&mut self, _train: &Self::Part) -> Vec<String> {
        Vec::new()
    }

    /// What an output is to read off the features of each example, where examples are whole texts.
    fn gold(&self, _part: &Self::Part) -> Option<Gold> {
        None
    }

    /// How many [`Tuned::EXAMPLES`] a part has.
    fn examples(&self, part: &Self::Part) -> u64 {
        part.examples().all().len() as u64
    }

    /// Targets of a pass over the training data.
    fn targets(&self, train: &Self::Part) -> u64;

    /// How right the model is.
    fn verdict(&self, part: &Self::Part, heard: &Heard) -> Verdict;

    /// What comes before the reports of the parts of the data.
    fn preface(&self) -> String {
        String::new()
    }
}

/// A file as examples.
pub(crate) trait Part {
    /// What batches are made of.
    type Example: Packs;
    /// What was read and left out.
    type Report: Report;

    fn examples(&self) -> &Examples<Self::Example>;

    fn report(&self) -> &Self::Report;

    /// Equal for equal examples in the same order.
    fn hash(&self) -> u64;

    /// The first example as a line that is read by the verb of such models.
    fn line(&self) -> Option<String>;
}

/// What was read and left out.
pub(crate) trait Report: fmt::Display + Serialize {
    /// What of the data is not learned or not measured as it stands there, in one sentence, if anything is.
    fn losses(&self) -> Option<String>;

    /// How many examples of the file are left out.
    fn left_out(&self) -> u64;
}

/// What a file is read for.
pub(crate) struct Reading<'a> {
    pub recipe: &'a Recipe,
    pub model: &'a TextModel,
    /// Whether it is trained on; else it is measured on.
    pub is_training: bool,
}

impl Reading<'_> {
    /// The most tokens of a text.
    pub fn max_length(&self) -> usize {
        let taken = match takes_positions(self.recipe, &self.model.model.config) {
            true => self.recipe.virtual_tokens(),
            false => 0,
        };
        self.recipe
            .data
            .max_length
            .min(self.model.longest().map_or(usize::MAX, |longest| longest.saturating_sub(taken)))
    }

    /// Types of tokens that the model has; `None` where it does not tell them apart.
    pub fn token_types(&self) -> Option<usize> {
        self.model.model.trunk.token_types()
    }
}

/// How right a model is on a part of the data.
#[derive(Default)]
pub(crate) struct Verdict {
    /// The measures; one that cannot be measured is not a number.
    pub scores: Vec<(Metric, f64)>,
    /// The worst mistakes, the worst first.
    pub mistakes: Vec<Sample>,
    /// Labels, and for each of them how often each was found in its place.
    pub matrix: Option<(Vec<String>, Vec<Vec<u64>>)>,
    /// Labels or kinds of entities, each with how often it was found, is in the data, and both.
    pub labels: Vec<(String, Counts)>,
}

/// Defaults of fine-tuning: three passes, a low rate that falls to nothing, small batches (Devlin et al. 2019, appendix A.3).
fn set_defaults(recipe: &mut Recipe, metric: Metric) {
    let Recipe { data, train, optimizer, schedule, tokenizer, .. } = recipe;
    tokenizer.kind = TokenizerKind::WordPiece;
    (data.max_length, data.drop_duplicates, data.on_truncate) = (MAX_LENGTH, false, OnTruncate::Warn);
    train.label_smoothing = 0.0;
    (train.max_steps, train.max_epochs) = (None, Some(3));
    train.max_sentences = 32;
    train.early_stopping.metric = metric;
    (optimizer.lr, optimizer.betas, optimizer.eps) = (5e-5, [0.9, 0.999], 1e-8);
    schedule.kind = ScheduleKind::Linear;
}

/// A text fits into the model and into a batch; a run that has another limit than passes has that alone.
fn follow(recipe: &mut Recipe, is_stated: Stated<'_>) {
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

/// Refuses settings of other tasks, files of other forms, columns of a file that the task has not, and lengths that contradict
/// each other.
fn check(task: &dyn Task, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    let Recipe { data, model, train, .. } = recipe;
    let (forms, keys) = (task.forms(), task.columns());
    let name = task.name();
    let either = alternatives(forms);
    if let Some(key) = foreign_keys(task).into_iter().find(|key| written(key)) {
        return conflict(place(key), format!("`{key}` does not go with `task` \"{name}\": take it out"));
    }
    if data.train.is_none() {
        return conflict(place("data"), format!("`data.train` is missing: give it {either}"));
    }
    for (key, files) in parts(data) {
        let given = given(files);
        if !matches!(given[..], [form] if forms.contains(&form)) {
            let message = format!("`{key}` must name one file, {either}; it names {}", enumerate(&given));
            return conflict(place(key), message);
        }
        if let Some(other) = files.keys().into_iter().find(|named| !keys.contains(named)) {
            let message = format!("`{key}.{other}` does not go with `task` \"{name}\": take it out");
            return conflict(place(&format!("{key}.{other}")), message);
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

/// Refuses files of forms that the task has not, where a recipe is checked only when the model it starts from is known.
fn require_forms(recipe: &Recipe) -> Result<(), Error> {
    let forms = recipe.task.forms();
    for (key, files) in parts(&recipe.data) {
        let given = given(files);
        if !matches!(given[..], [form] if forms.contains(&form)) {
            let problem = format!("it must name one file, {}; it names {}", alternatives(forms), enumerate(&given));
            return Err(Error::Setting { key, problem });
        }
    }
    Ok(())
}

/// Refuses to split texts that have one answer.
fn check_whole(recipe: &Recipe, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
    if recipe.data.on_truncate == OnTruncate::Split {
        let problem =
            "`data.on_truncate` is \"split\", but a text has one answer: use \"error\", \"warn\" (cut) or \"drop\"";
        return conflict(place("data.on_truncate"), problem);
    }
    Ok(())
}

/// "`a`, `b` or `c`".
fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
