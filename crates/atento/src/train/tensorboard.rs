//! Event files that TensorBoard reads.
//!
//! A file is a sequence of TFRecords: the length of the data as little-endian `u64`, the masked CRC-32C of
//! those eight bytes, the data, its masked CRC-32C (`tensorflow/core/lib/io/record_writer.h`). The data is an
//! `Event` message of protocol buffers (`tensorflow/core/util/event.proto`), of which the few fields needed
//! are encoded here by hand.
//!
//! A resumed run opens another file, which TensorBoard reads after the earlier ones. It begins with a session
//! start at its first step, at which TensorBoard drops what a crashed process wrote of later steps.

mod encode;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::metrics::Record;
use encode::Content;

/// An event file, open for adding events.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    file: BufWriter<File>,
}

/// An event file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct Error {
    /// The file or its directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl TensorBoard {
    /// Opens a new event file in `dir`, for a run that goes on after update `step`, 0 for a new one.
    ///
    /// # Errors
    /// The directory or file cannot be made.
    pub fn create(dir: &Path, step: u64) -> Result<Self, Error> {
        let error = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error { path, source }
        };
        if !dir.exists() {
            // Not with its parents: where the run directory is gone, it stays gone.
            fs::create_dir(dir).map_err(error(dir))?;
        }
        let mut path = dir.join(format!("events.out.tfevents.{:010}.{}", now() as u64, host_name()));
        // Two files of one second need two names that sort by age.
        let mut attempt = 0;
        let file = loop {
            match File::create_new(&path) {
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
                    attempt += 1;
                    path = dir.join(format!("events.out.tfevents.{:010}.{}.{attempt}", now() as u64, host_name()));
                }
                file => break file.map_err(error(&path))?,
            }
        };
        let mut board = Self { path, file: BufWriter::new(file) };
        board.add(0, &Content::FileVersion)?;
        if step > 0 {
            board.add(step as i64 + 1, &Content::SessionStart)?;
        }
        board.flush()?;
        Ok(board)
    }

    /// Adds the curves of a line of metrics: `train/…` and `eval/…`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        let train = [
            ("train/loss", record.loss),
            ("train/objective", record.objective),
            ("train/lr", record.lr),
            ("train/grad_norm", record.grad_norm),
            ("train/tokens_per_second", record.tokens_per_second),
            ("train/epoch", record.loss.map(|_| record.epoch)),
        ];
        for (tag, value) in train.into_iter().filter_map(|(tag, value)| Some((tag, value?))) {
            self.scalar(record.step, tag, value as f32)?;
        }
        for (name, &value) in &record.eval {
            let tag = format!("eval/{}", name.strip_prefix("eval_").unwrap_or(name));
            self.scalar(record.step, &tag, value as f32)?;
        }
        self.flush()
    }

    /// Adds a point to the curve named `tag`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f32) -> Result<(), Error> {
        self.add(step as i64, &Content::Scalar { tag, value })
    }

    /// Adds a text, shown as Markdown, under the name `tag`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<(), Error> {
        self.add(step as i64, &Content::Text { tag, text })?;
        self.flush()
    }

    /// Hands everything added to the system.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|source| Error { path: self.path.clone(), source })
    }

    /// The file's name and directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn add(&mut self, step: i64, content: &Content<'_>) -> Result<(), Error> {
        let record = encode::record(&encode::event(now(), step, content));
        self.file.write_all(&record).map_err(|source| Error { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// The machine's name, as far as it can be told without asking the system for more than a file.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '-' }
    };
    let name: String = name.unwrap_or_default().trim().chars().map(plain).collect();
    if name.is_empty() { "localhost".to_string() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_makes_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let boards: Vec<_> = (0..3).map(|step| TensorBoard::create(dir.path(), step).unwrap()).collect();
        let names: Vec<_> = boards.iter().map(|board| board.path().to_path_buf()).collect();
        assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2], "{names:?}");
        assert!(
            names
                .iter()
                .all(|name| { name.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents.") })
        );
    }

    #[test]
    fn a_line_of_metrics_becomes_curves() {
        let dir = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(dir.path(), 0).unwrap();
        let eval = std::collections::BTreeMap::from([("eval_bleu".to_string(), 30.0)]);
        board.record(&Record { step: 7, loss: Some(2.0), lr: Some(1e-3), eval, ..Record::default() }).unwrap();
        board.text(7, "samples", "Hallo").unwrap();
        let bytes = fs::read(board.path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(
            ["brain.Event:2", "train/loss", "train/lr", "eval/bleu", "samples", "Hallo"].iter().all(|text| holds(text))
        );
        assert!(!holds("train/grad_norm"));
    }
}
