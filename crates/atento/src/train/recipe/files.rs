//! The files of a recipe: which form they have, and where they are.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::error::{Error, Place};
use super::settings::{DataSettings, FileSettings, Recipe};
use crate::data::{Columns, header};
use crate::hub::remote::Name;

/// Where pairs of sentences lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFiles<'a> {
    /// Two files with as many lines each.
    Pair {
        /// Source sentences.
        source: &'a Path,
        /// Target sentences.
        target: &'a Path,
    },
    /// One file of columns set apart by tabs.
    Tsv {
        /// The file.
        path: &'a Path,
        /// The number, from 1, or name of the column of source sentences, where it is stated.
        source_key: Option<&'a str>,
        /// The same of target sentences.
        target_key: Option<&'a str>,
    },
    /// One file of records whose first names the columns.
    Csv {
        /// The file.
        path: &'a Path,
        /// The name of the column of source sentences.
        source_key: &'a str,
        /// The name of the column of target sentences.
        target_key: &'a str,
    },
    /// One file of JSON objects.
    Jsonl {
        /// The file.
        path: &'a Path,
        /// The key of the source sentence.
        source_key: &'a str,
        /// The key of the target sentence.
        target_key: &'a str,
    },
}

impl FileSettings {
    /// Which of the four forms these are; none if they are of no single form, which loading refuses.
    pub fn form(&self) -> Option<DataFiles<'_>> {
        let source_key = self.source_key.as_deref().unwrap_or("source");
        let target_key = self.target_key.as_deref().unwrap_or("target");
        match (&self.source, &self.target, &self.tsv, &self.csv, &self.jsonl) {
            (Some(source), Some(target), None, None, None) => Some(DataFiles::Pair { source, target }),
            (None, None, Some(path), None, None) => Some(DataFiles::Tsv {
                path,
                source_key: self.source_key.as_deref(),
                target_key: self.target_key.as_deref(),
            }),
            (None, None, None, Some(path), None) => Some(DataFiles::Csv { path, source_key, target_key }),
            (None, None, None, None, Some(path)) => Some(DataFiles::Jsonl { path, source_key, target_key }),
            _ => None,
        }
    }

    fn paths(&mut self) -> [(&'static str, &mut Option<PathBuf>); 7] {
        let Self { source, target, tsv, jsonl, csv, conll, squad, .. } = self;
        [
            ("source", source),
            ("target", target),
            ("tsv", tsv),
            ("jsonl", jsonl),
            ("csv", csv),
            ("conll", conll),
            ("squad", squad),
        ]
    }
}

impl DataSettings {
    /// What is told of TSV files whose first line looks like the names of their columns and is an example all the same.
    pub(crate) fn header_notes(&self) -> impl Iterator<Item = String> {
        let files = [&self.train, &self.valid, &self.test].into_iter().flatten();
        files.filter_map(|files| {
            let [first, second] = match (&files.source_key, &files.target_key) {
                (None, None) => [&files.prompt_key, &files.completion_key],
                _ => [&files.source_key, &files.target_key],
            };
            header::note(files.tsv.as_deref()?, Columns::chosen(first.as_deref(), second.as_deref(), ["", ""]).as_ref())
        })
    }
}

/// Makes every path of the recipe absolute: from the recipe's directory if there is such a file, else from
/// the working directory. The model to start from may be missing: a run that is resumed does not need it.
pub fn find(recipe: &mut Recipe, recipe_path: &Path, place: &dyn Fn(&str) -> Place) -> Result<(), Error> {
    let directory = recipe_path.parent().unwrap_or(Path::new(""));
    let locate = |key: &str, path: &mut Option<PathBuf>| {
        let Some(written) = path else { return Ok(()) };
        let refuse = |what: &'static str| {
            let value = written.display().to_string();
            Err(Error::NotAFile { place: place(key), key: key.to_string(), value, what })
        };
        if *written == Path::new("-") {
            return refuse("standard input");
        }
        let mut tried: Vec<PathBuf> = Vec::new();
        for candidate in [directory.join(&*written), written.clone()] {
            let candidate = std::path::absolute(&candidate).unwrap_or(candidate);
            if candidate.is_file() || (wants_directory(key) && candidate.is_dir()) {
                *path = Some(candidate);
                return Ok(());
            }
            if let Ok(found) = candidate.metadata() {
                return refuse(kind(&found));
            }
            if !tried.contains(&candidate) {
                tried.push(candidate);
            }
        }
        Err(Error::MissingFile { place: place(key), key: key.to_string(), value: written.display().to_string(), tried })
    };
    recipe.from = recipe.from.take().map(|from| model_path(directory, from));
    locate("tokenizer.file", &mut recipe.tokenizer.file)?;
    let data = &mut recipe.data;
    locate("data.text", &mut data.text)?;
    locate("data.chat_template", &mut data.chat_template)?;
    locate("data.valid_text", &mut data.valid_text)?;
    locate("data.tokens", &mut data.tokens)?;
    for (part, files) in [("train", &mut data.train), ("valid", &mut data.valid), ("test", &mut data.test)] {
        for (name, path) in files.iter_mut().flat_map(FileSettings::paths) {
            locate(&format!("data.{part}.{name}"), path)?;
        }
    }
    Ok(())
}

/// Where the model to start from lies, or should lie. The name of a model of the Hub stays as it is, unless something lies
/// there.
fn model_path(directory: &Path, written: PathBuf) -> PathBuf {
    let beside = directory.join(&written);
    let is_name = || written.to_str().and_then(Name::parse).is_some();
    if !beside.exists() && !written.exists() && is_name() {
        return written;
    }
    let path = if !beside.exists() && written.exists() { written } else { beside };
    std::path::absolute(&path).unwrap_or(path)
}

/// What something is that is no regular file.
fn kind(found: &Metadata) -> &'static str {
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type()) {
        return "a pipe";
    }
    if found.is_dir() { "a directory" } else { "a device" }
}

/// Whether a directory will do.
fn wants_directory(key: &str) -> bool {
    matches!(key, "data.text" | "data.valid_text" | "data.tokens")
}
