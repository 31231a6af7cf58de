//! `exported.json`: which weights `model/` holds, so that a run that goes on puts nothing worse in their place.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::events::group_thousands;
use super::recipe::Metric;
use super::{Error, exact};
use crate::hub::atomic::atomic_write;

/// The file's name.
pub(super) const EXPORTED: &str = "exported.json";

/// The weights in `model/`: those of a checkpoint, or the mean of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exported {
    /// The updates after which the checkpoints were made.
    pub steps: Vec<u64>,
    /// What the validation data say of them.
    pub metric: Metric,
    /// The measure.
    #[serde(with = "exact")]
    pub value: f64,
}

impl Exported {
    /// What a run directory says. A file that was never written, or cannot be read as one, says nothing.
    pub fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(run.join(EXPORTED)).ok()?).ok()
    }

    /// Writes it down. The model has to be there already.
    pub fn write(&self, run: &Path) -> Result<(), Error> {
        let path = run.join(EXPORTED);
        let mut text = serde_json::to_vec_pretty(self).expect("a few numbers");
        text.push(b'\n');
        Ok(atomic_write(&path, &text)?)
    }

    /// Forgets what `model/` holds, before that changes.
    pub fn forget(run: &Path) -> Result<(), Error> {
        let path = run.join(EXPORTED);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// Whether it is a mean that is at least as good as weights of which `metric` is `value`.
    pub fn is_better_mean(&self, metric: Metric, value: f64) -> bool {
        self.steps.len() > 1 && self.metric == metric && !metric.is_better(value, self.value)
    }
}

/// Weights in words, by the updates after which they were.
pub(super) fn named(steps: &[u64]) -> String {
    let list: Vec<String> = steps.iter().map(|&step| group_thousands(step)).collect();
    match steps {
        [_] => format!("step {}", list[0]),
        _ => format!("the mean of steps {}", list.join(", ")),
    }
}

/// A measure of validation data.
pub(super) fn digits(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Bleu => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A measure of validation data with its name.
pub(super) fn in_digits(metric: Metric, value: f64) -> String {
    format!("{} {}", metric.title(), digits(metric, value))
}

/// The steps of the checkpoints that a run's model is made of; none where nothing is known of it.
#[must_use]
pub fn exported_steps(run: &Path) -> Vec<u64> {
    Exported::read(run).map_or_else(Vec::new, |exported| exported.steps)
}
