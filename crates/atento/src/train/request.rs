//! What was asked of a run, on disk before any work.
//!
//! A run that is killed before its first checkpoint has left nothing else that says which recipe and which model it was
//! to start from. With its first checkpoint, which holds both, the file has served its end.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::recipe::{Recipe, Written};
use super::run_dir::{CONFIG, METRICS};
use super::{Error, RunDir, metrics, resume};
use crate::hub::contents::contents;
use crate::hub::remote::found_again;

/// The file of a run directory.
pub(super) const REQUEST: &str = "request.json";

/// What was asked of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Its recipe, resolved, as TOML.
    recipe: String,
    /// The model to start from.
    from: Option<Base>,
}

/// A model directory and its contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Base {
    path: String,
    /// The CRC-32 of its files.
    contents: String,
}

impl Request {
    /// What is asked now. The model to start from is read once for it.
    fn new(recipe: &Recipe) -> Result<Self, Error> {
        let base = |path: &PathBuf| -> Result<Base, Error> {
            let contents = contents(path)?;
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            Ok(Base { path: path.to_string_lossy().into_owned(), contents })
        };
        Ok(Self { recipe: recipe.to_toml()?, from: recipe.from.as_ref().map(base).transpose()? })
    }

    /// Writes down what is asked of a new run.
    ///
    /// # Errors
    /// There is no such model, or the disk fails.
    pub fn record(recipe: &Recipe, run: &RunDir) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(&Self::new(recipe)?).expect("a request is text");
        Ok(run.write(&run.request(), &json)?)
    }

    /// The recipe of a run that has no checkpoint, where it was killed before it could have had one, with the model that
    /// was asked for. What is not stated is as it was asked for.
    ///
    /// # Errors
    /// It had one, or more was asked than is there or than is asked now.
    pub fn again(recipe: &Recipe, written: &Written, run: &Path) -> Result<Recipe, Error> {
        let progress = metrics::read(&run.join(METRICS))?.last().map(|record| record.step);
        if progress.is_some() || run.join(CONFIG).exists() {
            return Err(Error::NoCheckpoint { run: run.to_path_buf(), step: progress.unwrap_or(0) });
        }
        let path = run.join(REQUEST);
        let damaged = |problem: String| Error::Request { path: path.clone(), problem };
        let text = fs::read_to_string(&path).map_err(|error| damaged(error.to_string()))?;
        let request: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let recipe = resume::as_saved(recipe, written, &request.recipe)?;
        resume::compare(&request.recipe, &recipe, &path, resume::Data::Unknown)?;
        let from = request.from.map(Base::found_again).transpose()?;
        Ok(Recipe { from, ..recipe })
    }
}

impl Base {
    /// The directory, where it holds what it held.
    fn found_again(self) -> Result<PathBuf, Error> {
        let path = found_again(Path::new(&self.path));
        let problem = match contents(&path) {
            Ok(found) if found == self.contents => return Ok(path),
            Ok(_) => "it has changed since".to_owned(),
            Err(error) => error.to_string(),
        };
        let problem = format!(
            "the run was to start from {} and had not begun: {problem}; put it back, or begin a new run with --out",
            self.path
        );
        Err(Error::Setting { key: "from", problem })
    }
}
