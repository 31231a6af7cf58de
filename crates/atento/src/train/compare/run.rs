//! A run as its directory tells it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::train::metrics::{self, Record};
use crate::train::recipe::flatten;
use crate::train::request::REQUEST;
use crate::train::run_dir::{CONFIG, METRICS, SUMMARY};

/// Runs that a message names.
const NAMED: usize = 3;

/// A run that cannot be compared with others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at the path, or no directory.
    #[error("{} is no directory: name the directory of a run", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory is not that of a run.
    #[error("{} holds no run (there is no {CONFIG}){hint}", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// Where there are runs.
        hint: String,
    },
    /// A directory is named twice.
    #[error("{} is there twice: name each run once", path.display())]
    Twice {
        /// The directory.
        path: PathBuf,
    },
    /// The runs learn different things.
    #[error(
        "{} is a run of task \"{first}\" and {} one of \"{second}\": only runs of one task can be compared",
        one.display(), other.display()
    )]
    Tasks {
        /// A run.
        one: PathBuf,
        /// Its task.
        first: String,
        /// The first run of another task.
        other: PathBuf,
        /// The other task.
        second: String,
    },
    /// A file of the run is not what a run writes.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The metrics cannot be read.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What `summary.json` says of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// Updates made.
    pub steps: u64,
    /// Passes over the data.
    pub epochs: f64,
    /// Seconds of training and evaluating.
    pub seconds: f64,
    /// Tokens trained on per second.
    pub tokens_per_second: f64,
    /// Parameters that were trained.
    pub trainable: u64,
    /// The most memory that the process has had at a time, in bytes.
    pub peak_memory: Option<u64>,
    /// Why the run ended: "limit", "early stopping" or "stopped".
    pub ending: String,
    /// The step of the exported weights.
    pub model_step: u64,
    /// Measures of the finished model; one without a value could not be measured.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The signature of the BLEU scores.
    pub signature: Option<String>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To a limit of its recipe.
    Finished,
    /// To where validation no longer improved.
    StoppedEarly,
    /// Someone stopped it.
    Stopped,
    /// It is under way, or was killed.
    Unfinished,
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// Its directory, as it was named.
    pub path: PathBuf,
    /// The same, wherever it is named from.
    pub(super) place: PathBuf,
    /// What it is called beside the others.
    pub name: String,
    /// What it learns.
    pub task: String,
    /// Its settings by dotted key, as TOML.
    pub settings: BTreeMap<String, String>,
    /// Its lines of metrics.
    pub records: Vec<Record>,
    /// What came of it, once it has ended.
    pub results: Option<Results>,
    /// The weights that it leaves, in bytes.
    pub model_bytes: Option<u64>,
}

impl Run {
    /// Reads the run in a directory.
    ///
    /// # Errors
    /// There is none, or its files are not what a run writes.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            return Err(Error::NoDirectory { path: path.to_path_buf() });
        }
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let place = path.canonicalize().map_err(io)?;
        let Some(text) = read(&path.join(CONFIG))? else {
            return Err(Error::NoRun { path: path.to_path_buf(), hint: hint(path) });
        };
        let config: toml::Table = toml::from_str(&text)
            .map_err(|error| file_error(path, CONFIG, format!("not a recipe: {}", error.message())))?;
        let task = config.get("task").and_then(toml::Value::as_str).unwrap_or("translation").to_owned();
        let settings = flatten(config, "").into_iter().map(|(key, value)| (key, in_toml(&value))).collect();
        let records = metrics::read(&path.join(METRICS))?;
        let results: Option<Results> =
            read(&path.join(SUMMARY))?
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| file_error(path, SUMMARY, format!("not the summary of a run: {error}")))?;
        // A run that went on after it had ended has another end to come.
        let last = records.last().map_or(0, |record| record.step);
        let results = results.filter(|results| last <= results.steps);
        let (name, model_bytes) = (String::new(), weights_in(&path.join("model")));
        Ok(Self { path: path.to_path_buf(), place, name, task, settings, records, results, model_bytes })
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> State {
        match self.results.as_ref().map(|results| results.ending.as_str()) {
            Some("early stopping") => State::StoppedEarly,
            Some("stopped") => State::Stopped,
            Some(_) => State::Finished,
            None => State::Unfinished,
        }
    }

    /// Updates made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let last = self.records.last().map_or(0, |record| record.step);
        self.results.as_ref().map_or(last, |results| results.steps)
    }

    /// The last evaluation, if there was one.
    #[must_use]
    pub fn evaluation(&self) -> Option<&Record> {
        self.records.iter().rev().find(|record| !record.eval.is_empty())
    }

    /// The files that are read of it.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        [CONFIG, METRICS, SUMMARY].into_iter().map(|name| self.path.join(name))
    }

    /// What the reader should know of it.
    pub(super) fn note(&self) -> Option<String> {
        let (name, steps) = (&self.name, self.steps());
        let problem = match self.state() {
            State::Stopped => "was stopped",
            State::Unfinished => "is unfinished",
            State::Finished | State::StoppedEarly => return None,
        };
        let measured = match self.evaluation() {
            Some(record) => format!("its measures are those of step {}", record.step),
            None => "it has no measures".to_owned(),
        };
        Some(format!("{name} {problem} at step {steps}: {measured}"))
    }
}

fn file_error(run: &Path, name: &str, problem: String) -> Error {
    Error::File { path: run.join(name), problem }
}

/// The text of a file; `None` where it is not there.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: path.to_path_buf(), source }),
    }
}

/// A value on one line.
fn in_toml(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    }
}

/// Where runs are, near a directory that holds none.
fn hint(path: &Path) -> String {
    if path.join(REQUEST).is_file() {
        return ": a run was asked for there and has not begun".to_owned();
    }
    let parent = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_path_buf()));
    if let Some(parent) = parent.filter(|parent| parent.join(CONFIG).is_file()) {
        return format!(": it is a part of the run {}", parent.display());
    }
    let below = |path: &Path| -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        found.sort();
        found
    };
    let inner = below(path);
    let all = inner.iter().cloned().chain(inner.iter().flat_map(|path| below(path)));
    let runs: Vec<String> =
        all.filter(|path| path.join(CONFIG).is_file()).map(|path| path.display().to_string()).collect();
    match runs.len() {
        0 => String::new(),
        count => format!(
            "; there {} below it: {}{}",
            if count == 1 { "is one" } else { "are some" },
            runs[..count.min(NAMED)].join(", "),
            if count > NAMED { ", …" } else { "" }
        ),
    }
}

/// The bytes of the weights in a directory.
pub fn weights_in(dir: &Path) -> Option<u64> {
    let files = fs::read_dir(dir).ok()?.flatten();
    let weights = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "safetensors"));
    let bytes: Option<u64> = weights.map(|file| Some(file.metadata().ok()?.len())).sum();
    bytes.filter(|bytes| *bytes > 0)
}
