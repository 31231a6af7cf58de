//! `metrics.jsonl`: one JSON object for each logged step and each evaluation.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::run_dir::is_at;
use crate::hub::atomic;

/// One line of `metrics.jsonl`. What was not measured is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Updates made.
    pub step: u64,
    /// Passes over the training data, with the fraction of the one under way.
    pub epoch: f64,
    /// Training cross-entropy per target, in nats, since the last line; of values, the squared error. It compares with
    /// `eval_loss`: neither has label smoothing or weights of labels in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What training minimises, where that is another number: the same with label smoothing and the weights of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// The learning rate of the last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// The norm of the whole gradient before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Target tokens trained on so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens per second since the last line, of pairs those of both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Measures on the validation data by name: `eval_loss`, `eval_bleu`, ….
    #[serde(flatten)]
    pub eval: BTreeMap<String, f64>,
}

/// `metrics.jsonl`, open for adding lines.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

/// Where a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Updates made; 0 for a new run.
    pub step: u64,
    /// Whether the line of that update, if it gets one, is written.
    pub logged: bool,
    /// Whether its evaluation, if it gets one, is made.
    pub evaluated: bool,
}

impl Place {
    fn is_behind(self, record: &Record) -> bool {
        let done = if record.eval.is_empty() { self.logged } else { self.evaluated };
        record.step < self.step || record.step == self.step && done
    }
}

/// A `metrics.jsonl` that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody removed or replaced the file while it was written to.
    #[error("{} was removed or replaced while the run wrote to it: put it back and resume, or resume without its lines", path.display())]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// A line other than the last is not a record.
    #[error("{}:{line}: not a line of metrics: {problem}; remove the line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

impl Metrics {
    /// Opens the file of a run that goes on from `place`. Lines that it is yet to write, and a last line cut short by a
    /// crash, are removed first; the file is replaced as a whole or not at all.
    /// Returns how many lines were removed.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds a line that is no record.
    pub fn open(path: &Path, place: Place) -> Result<(Self, usize), Error> {
        let text = read_text(path)?;
        let lines: Vec<_> = lines(&text).collect();
        let records = parse(path, &text)?;
        let kept: String = records
            .iter()
            .zip(&lines)
            .filter(|(record, _)| place.is_behind(record))
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        let removed = lines.len() - kept.lines().count();
        if kept != text {
            atomic::replace(path, |file| file.write_all(kept.as_bytes())).map_err(io_error(path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io_error(path))?;
        Ok((Self { path: path.to_path_buf(), file }, removed))
    }

    /// Adds a line. Measures that are not finite have no spelling in JSON and are left out.
    ///
    /// # Errors
    /// The disk is full or fails; [`Error::Gone`].
    pub fn write(&mut self, record: &Record) -> Result<(), Error> {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let mut record = record.clone();
        record.loss = finite(record.loss);
        record.objective = finite(record.objective);
        record.lr = finite(record.lr);
        record.grad_norm = finite(record.grad_norm);
        record.tokens_per_second = finite(record.tokens_per_second);
        record.eval.retain(|_, value| value.is_finite());
        let mut line = serde_json::to_string(&record).map_err(io::Error::from).map_err(io_error(&self.path))?;
        line.push('\n');
        if !is_at(&self.file, &self.path) {
            return Err(Error::Gone { path: self.path.clone() });
        }
        // The whole line in one call: what a killed process has written ends with a line.
        self.file.write_all(line.as_bytes()).map_err(io_error(&self.path))
    }

    /// Waits until the disk has every line; to be called before the checkpoint they lead to is written.
    ///
    /// # Errors
    /// The disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(io_error(&self.path))
    }
}

/// Reads all records of a file; one that does not exist has none. A last line that was cut short is left out.
///
/// # Errors
/// The file cannot be read, or a line other than the last is no record.
pub fn read(path: &Path) -> Result<Vec<Record>, Error> {
    parse(path, &read_text(path)?)
}

fn read_text(path: &Path) -> Result<String, Error> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        // A line cut within a character is a line cut short.
        bytes => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(io_error(path)),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

fn parse(path: &Path, text: &str) -> Result<Vec<Record>, Error> {
    let count = lines(text).count();
    let mut records = Vec::with_capacity(count);
    for (index, line) in lines(text).enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == count => {}
            Err(error) => {
                return Err(Error::Line { path: path.to_path_buf(), line: index + 1, problem: error.to_string() });
            }
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(step: u64) -> Record {
        let eval =
            if step.is_multiple_of(2) { BTreeMap::from([("eval_bleu".to_string(), 41.25)]) } else { BTreeMap::new() };
        Record { step, epoch: step as f64 / 4.0, loss: Some(2.5), tokens: Some(step * 100), eval, ..Record::default() }
    }

    fn after(step: u64, evaluated: bool) -> Place {
        Place { step, logged: true, evaluated }
    }

    fn written(steps: std::ops::RangeInclusive<u64>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let (mut metrics, _) = Metrics::open(&path, after(0, true)).unwrap();
        for step in steps {
            metrics.write(&record(step)).unwrap();
        }
        metrics.sync().unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_noticed() {
        let (dir, path) = written(1..=1);
        let (mut metrics, _) = Metrics::open(&path, after(1, true)).unwrap();
        metrics.write(&record(2)).unwrap();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        for replaced in [false, true] {
            if replaced {
                std::fs::write(&path, "").unwrap();
            }
            let error = metrics.write(&record(3)).unwrap_err().to_string();
            assert!(error.contains("metrics.jsonl was removed or replaced while the run wrote to it"), "{error}");
        }
        std::fs::rename(dir.path().join("moved"), &path).unwrap();
        metrics.write(&record(3)).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
    }

    #[test]
    fn a_line_has_the_promised_fields() {
        let eval = BTreeMap::from([("eval_loss".to_string(), 1.5)]);
        let all = Record {
            step: 3,
            epoch: 0.5,
            loss: Some(2.0),
            objective: Some(2.5),
            lr: Some(1e-3),
            grad_norm: Some(0.5),
            tokens: Some(9),
            tokens_per_second: Some(4.0),
            eval,
        };
        let expected = r#"{"step":3,"epoch":0.5,"loss":2.0,"objective":2.5,"lr":0.001,"grad_norm":0.5,"tokens":9,"tokens_per_second":4.0,"eval_loss":1.5}"#;
        assert_eq!(serde_json::to_string(&all).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Record>(expected).unwrap(), all);
    }

    #[test]
    fn resuming_removes_what_came_after_the_checkpoint() {
        let (_dir, path) = written(1..=6);
        let (mut metrics, removed) = Metrics::open(&path, after(4, true)).unwrap();
        assert_eq!(removed, 2);
        metrics.write(&record(5)).unwrap();
        assert_eq!(read(&path).unwrap(), (1..=5).map(record).collect::<Vec<_>>());
        assert_eq!(Metrics::open(&path, after(5, true)).unwrap().1, 0);
    }

    #[test]
    fn resuming_removes_an_evaluation_that_is_yet_to_be_made() {
        let (_dir, path) = written(1..=3);
        let evaluation = Record { eval: BTreeMap::from([("eval_loss".to_string(), 1.5)]), ..record(3) };
        Metrics::open(&path, after(3, true)).unwrap().0.write(&evaluation).unwrap();
        assert_eq!(Metrics::open(&path, after(3, true)).unwrap().1, 0);
        assert_eq!(Metrics::open(&path, after(3, false)).unwrap().1, 1);
        assert_eq!(read(&path).unwrap(), (1..=3).map(record).collect::<Vec<_>>());
    }

    #[test]
    fn resuming_removes_the_line_of_an_update_that_is_yet_to_be_logged() {
        let (_dir, path) = written(1..=3);
        let (_, removed) = Metrics::open(&path, Place { step: 3, logged: false, evaluated: true }).unwrap();
        assert_eq!((removed, read(&path).unwrap()), (1, (1..=2).map(record).collect()));
    }

    #[test]
    fn numbers_without_a_json_spelling_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let eval = BTreeMap::from([("eval_loss".to_string(), f64::INFINITY)]);
        Metrics::open(&path, after(0, true))
            .unwrap()
            .0
            .write(&Record { step: 1, loss: Some(f64::NAN), eval, ..Record::default() })
            .unwrap();
        assert_eq!(read(&path).unwrap(), [Record { step: 1, ..Record::default() }]);
    }

    #[test]
    fn a_foreign_line_is_named() {
        let (_dir, path) = written(1..=2);
        std::fs::write(&path, "{\"step\":1,\"epoch\":0}\nhello\n{\"step\":2,\"epoch\":0}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl:2: not a line of metrics"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_empty() {
        assert_eq!(read(Path::new("no/metrics.jsonl")).unwrap(), []);
    }

    proptest! {
        #[test]
        fn a_file_torn_anywhere_is_mended(cut in 0..400usize) {
            let (_dir, path) = written(1..=4);
            let bytes = std::fs::read(&path).unwrap();
            let cut = cut.min(bytes.len());
            std::fs::write(&path, &bytes[..cut]).unwrap();
            // A line that lacks nothing but its newline is whole.
            let whole = (0..bytes.len()).filter(|&at| bytes[at] == b'\n' && at <= cut).count() as u64;
            let (mut metrics, _) = Metrics::open(&path, after(4, true)).unwrap();
            metrics.write(&record(9)).unwrap();
            let expected: Vec<_> = (1..=whole).chain([9]).map(record).collect();
            prop_assert_eq!(read(&path).unwrap(), expected);
        }
    }
}
