//! How right a model with a head is on data that have the answers.

use std::path::PathBuf;

use super::named;
use crate::eval::Counts;
use crate::families::Head;
use crate::families::heads::Objective;
use crate::pipelines::TextModel;
use crate::pipelines::texts::answer::AnswerOptions;
use crate::train::recipe::{self, FileSettings, Metric, OnTruncate, Recipe};
use crate::train::report::Sample;
use crate::train::{Error, StopFlag};

/// Data with the answers. What they hold follows from the model's head.
#[derive(Clone, Debug)]
pub enum Data {
    /// A file; of masked words, text or a directory of it.
    Path {
        /// Where it is.
        path: PathBuf,
        /// The column or key of texts, second texts and labels, where they are named.
        keys: [Option<String>; 3],
    },
    /// A part of the data of a recipe.
    Files(Box<FileSettings>),
}

/// The data that a model is measured on, and how they are read.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// What it is measured on.
    pub data: Data,
    /// What happens to a text beyond the model's positions.
    pub on_truncate: OnTruncate,
    /// Answers: how much better one must be than none to be given.
    pub null_threshold: f64,
    /// Masked words: the seed of the masks.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// The mean loss of a target, in nats; of values, the squared error.
    pub loss: f64,
    /// The measures of the head; one that cannot be told, such as a correlation with one value alone, is not a number.
    pub scores: Vec<(Metric, f64)>,
    /// What was measured on, such as 872 texts.
    pub examples: (u64, &'static str),
    /// Labels, and for each of them how often each was found in its place.
    pub matrix: Option<(Vec<String>, Vec<Vec<u64>>)>,
    /// Labels, or kinds of entities, each with how often it was found, is in the data, and both.
    pub labels: Vec<(String, Counts)>,
    /// What the model is most wrong about, the worst first.
    pub mistakes: Vec<Sample>,
    /// How many examples of the data were left out: too long, or without a text.
    pub left_out: u64,
    /// What of the data was not measured as it stands there, if anything.
    pub losses: Option<String>,
}

/// Measures a model with a head.
///
/// # Errors
/// The model has no head that can be measured; data that cannot be read, or are not those of its head; `stop` was raised.
pub fn evaluate(model: TextModel, how: &Evaluation, stop: &StopFlag) -> Result<Evaluated, Error> {
    let config = &model.model.config;
    let name = match (config.head, config.objective) {
        (Head::Labels, Objective::Regression) => "regress",
        (Head::Labels, _) => "classify",
        (Head::Tags, _) => "tag",
        (Head::Span, _) => "qa",
        (Head::Choice, _) => "multiple-choice",
        (Head::Words, _) => "masked-lm",
        (Head::Pretraining, _) => "bert-pretrain",
        (Head::States | Head::Language | Head::Translation, _) => "",
    };
    let Some(task) = named(name) else {
        let does = config.head.does();
        let problem = format!("this model {does}: it has no output whose answers could be right or wrong");
        return Err(Error::Setting { key: "model", problem });
    };
    if name == "regress" && config.labels.len() > 1 {
        let problem = format!(
            "this model gives {} values for a text; data that it can be measured on have one",
            config.labels.len()
        );
        return Err(Error::Setting { key: "model", problem });
    }
    let mut recipe = Recipe::defaults_of(recipe::Task(task));
    recipe.seed = how.seed;
    recipe.data.on_truncate = how.on_truncate;
    recipe.data.multi_label = config.objective == Objective::MultiLabel;
    recipe.data.null_threshold = how.null_threshold;
    recipe.data.max_length = model.longest().unwrap_or(usize::MAX);
    if config.head == Head::Span {
        // The windows that answers are looked for in.
        let windows = AnswerOptions::default();
        recipe.data.max_length = recipe.data.max_length.min(windows.max_length);
        recipe.data.stride = windows.stride.min(recipe.data.max_length / 3);
    }
    let files = match &how.data {
        Data::Files(files) => (**files).clone(),
        Data::Path { path, keys: [text_key, pair_key, label_key] } => {
            let (text_key, path) = (text_key.clone(), Some(path.clone()));
            let mut files =
                FileSettings { pair_key: pair_key.clone(), label_key: label_key.clone(), ..FileSettings::default() };
            match config.head {
                Head::Choice => files.prompt_key = text_key,
                Head::Words | Head::Pretraining => recipe.data.text_key = text_key.unwrap_or(recipe.data.text_key),
                _ => files.text_key = text_key,
            }
            match path.as_deref().map_or("", |path| form(path, task.forms())) {
                "csv" => files.csv = path,
                "jsonl" => files.jsonl = path,
                "conll" => files.conll = path,
                "squad" => files.squad = path,
                "tsv" => files.tsv = path,
                _ => recipe.data.text = path,
            }
            files
        }
    };
    if let Some(key) = files.keys().into_iter().find(|key| !task.columns().contains(key)) {
        let problem = format!("this model {}; its data have no such column", config.head.does());
        return Err(Error::Setting { key, problem });
    }
    recipe.data.test = Some(files);
    task.evaluate(&recipe, model, stop)
}

/// The form of a file, among those that there are: by its ending, else the first.
fn form<'f>(path: &std::path::Path, forms: &[&'f str]) -> &'f str {
    let bare =
        if path.extension().is_some_and(|ending| ending == "gz") { path.with_extension("") } else { path.into() };
    let ending = bare.extension().and_then(std::ffi::OsStr::to_str).unwrap_or("");
    forms.iter().find(|form| **form == ending).or(forms.first()).copied().unwrap_or("text")
}
