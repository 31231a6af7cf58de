//! Runs beside each other: the settings in which they differ, what came of them, and their curves on one page.

mod results;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use results::Row;
pub use run::{Error, Results, Run, State, weights_in};

/// Settings that differ in any two runs and say nothing of them.
const PASSED_OVER: [&str; 1] = ["out"];

/// Runs of one task.
#[derive(Debug)]
pub struct Comparison {
    runs: Vec<Run>,
}

impl Comparison {
    /// Reads the runs in these directories.
    ///
    /// # Errors
    /// A directory holds no run, or files that are not a run's; a run is there twice; the runs are of several tasks.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut runs: Vec<Run> = Vec::new();
        for path in paths {
            let run = Run::read(path)?;
            if runs.iter().any(|other| other.place == run.place) {
                return Err(Error::Twice { path: path.clone() });
            }
            if let Some(other) = runs.first().filter(|other| other.task != run.task) {
                let (one, first) = (other.path.clone(), other.task.clone());
                return Err(Error::Tasks { one, first, other: path.clone(), second: run.task });
            }
            runs.push(run);
        }
        let names = names(&runs.iter().map(|run| run.place.as_path()).collect::<Vec<_>>());
        runs.iter_mut().zip(names).for_each(|(run, name)| run.name = name);
        Ok(Self { runs })
    }

    /// The runs, in the order in which they were named.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The settings that are not the same in all runs: their dotted keys, each with a value for each run, as TOML.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<&str, Vec<Option<&str>>> {
        let keys: BTreeSet<&str> = self.runs.iter().flat_map(|run| run.settings.keys().map(String::as_str)).collect();
        let row =
            |key| (key, self.runs.iter().map(|run| run.settings.get(key).map(String::as_str)).collect::<Vec<_>>());
        let differs = |(key, values): &(&str, Vec<Option<&str>>)| {
            !PASSED_OVER.contains(key) && values.iter().any(|value| *value != values[0])
        };
        keys.into_iter().map(row).filter(differs).collect()
    }

    /// What came of the runs, a row for each thing that any of them has.
    #[must_use]
    pub fn results(&self) -> Vec<Row> {
        results::rows(&self.runs)
    }

    /// What the reader should know of the runs.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.runs.iter().filter_map(Run::note).collect()
    }
}

/// A name for each of several directories: as few of the last parts of their paths as tell them apart.
fn names(places: &[&Path]) -> Vec<String> {
    let parts: Vec<Vec<String>> = places
        .iter()
        .map(|place| place.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect())
        .collect();
    let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let named = |count: usize| -> Vec<String> {
        parts.iter().map(|parts| parts[parts.len().saturating_sub(count)..].join("/")).collect()
    };
    let tells_apart = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    (1..=longest).map(named).find(tells_apart).unwrap_or_else(|| named(longest))
}

#[cfg(test)]
mod tests;
