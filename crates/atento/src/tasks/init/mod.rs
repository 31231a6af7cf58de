//! A first recipe for data that somebody has: which task they are for, and the settings that fit them, each with its reason.

mod columns;
mod draft;
mod look;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::data;
use crate::data::lines::LineError;
use crate::train::recipe::Task;

use columns::Column;
use draft::Draft;
use look::{File, Form};

/// What is asked of a draft besides the data.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The task, where the data do not decide.
    pub task: Option<Task>,
    /// The model to train further.
    pub from: Option<PathBuf>,
    /// How long training may take, in minutes.
    pub minutes: Option<f64>,
}

/// Data for which there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read as text.
    #[error(transparent)]
    Lines(#[from] LineError),
    /// A file is not CSV.
    #[error(transparent)]
    Csv(#[from] data::tokens::Error),
    /// A line is not what its file holds.
    #[error("{}, line {line}: {problem}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no file.
    #[error("no data is named: name a file or a folder, or several files")]
    Nothing,
    /// The data do not fit any task, or not the one that was asked for.
    #[error("{0}")]
    Unfit(String),
    /// What was drafted is refused as a recipe.
    #[error(transparent)]
    Recipe(#[from] crate::train::recipe::Error),
}

/// A recipe in TOML, with comments, for the data in `files`. Those with "valid", "val" or "dev" in their names are watched in
/// training, those with "test" are scored in the end, all others are learned.
///
/// # Errors
/// A file cannot be read, or the data fit no task.
pub fn draft(files: &[PathBuf], wishes: &Wishes) -> Result<String, Error> {
    let looked = files.iter().map(|path| File::look(path)).collect::<Result<Vec<File>, _>>()?;
    let sets = Sets::of(looked)?;
    let mut draft = Draft::new(&sets.train, wishes);
    let first = &sets.train[0];
    match first.form {
        Form::Lines if sets.train.len() == 2 => draft.two_files(&sets)?,
        Form::Lines | Form::Folder => draft.text(&sets)?,
        Form::Conll => draft.files(&sets, "tag", "conll")?,
        Form::Squad => draft.files(&sets, "qa", "squad")?,
        Form::Tsv | Form::Csv | Form::Jsonl => draft.table(&sets)?,
    }
    draft.finish()
}

/// Files by what they are for.
struct Sets {
    train: Vec<File>,
    valid: Vec<File>,
    test: Vec<File>,
}

impl Sets {
    fn of(files: Vec<File>) -> Result<Self, Error> {
        let mut sets = Self { train: Vec::new(), valid: Vec::new(), test: Vec::new() };
        for file in files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let says = |words: &[&str]| {
                let parts = name.split(|c: char| !c.is_alphanumeric());
                parts.into_iter().any(|part| words.contains(&part))
            };
            if says(&["valid", "validation", "val", "dev"]) {
                sets.valid.push(file);
            } else if says(&["test", "heldout"]) || name.starts_with("test") {
                sets.test.push(file);
            } else {
                sets.train.push(file);
            }
        }
        if sets.train.is_empty() {
            // Data of one set alone are to be learned, whatever they are called.
            sets.train = std::mem::take(if sets.valid.is_empty() { &mut sets.test } else { &mut sets.valid });
        }
        let Some(first) = sets.train.first() else { return Err(Error::Nothing) };
        let is_table = |file: &&File| !matches!(file.form, Form::Squad | Form::Folder);
        if let Some(empty) = sets.train.iter().filter(is_table).find(|file| file.rows == 0) {
            return Err(Error::Unfit(format!(
                "{} holds nothing to learn: it has no lines of text",
                empty.path.display()
            )));
        }
        let (form, path) = (first.form, first.path.display().to_string());
        let all = || sets.train.iter().chain(&sets.valid).chain(&sets.test);
        if let Some(other) = all().find(|file| file.form != form) {
            let problem = format!("{path} and {} have different forms: name files of one form", other.path.display());
            return Err(Error::Unfit(problem));
        }
        let most = if form == Form::Lines { 2 } else { 1 };
        if let Some(set) = [&sets.train, &sets.valid, &sets.test].into_iter().find(|set| set.len() > most) {
            let names: Vec<String> = set.iter().map(|file| file.path.display().to_string()).collect();
            let problem = format!(
                "{} are for the same: put them into one file, or name those that are watched or scored \"valid\" and \"test\"",
                names.join(", ")
            );
            return Err(Error::Unfit(problem));
        }
        Ok(sets)
    }

    /// The sets with their names in recipes.
    fn named(&self) -> impl Iterator<Item = (&'static str, &[File])> {
        [("train", &self.train), ("valid", &self.valid), ("test", &self.test)]
            .into_iter()
            .filter(|(_, files)| !files.is_empty())
            .map(|(name, files)| (name, &files[..]))
    }
}

/// How a column is named in a recipe: by its name, or by its number from 1.
fn key(columns: &[Column], at: usize) -> String {
    columns[at].name.clone().unwrap_or_else(|| (at + 1).to_string())
}
