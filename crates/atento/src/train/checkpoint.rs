//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! A checkpoint is a directory `step-N` with `state.json`, one file of raw little-endian `f32` for each array
//! (weights, moments, averages) and `complete.json`, the list of their sizes and CRC-32. It is written under
//! another name, each file synchronised with the disk, the list last; then the directory takes its name. A
//! process killed at any instant thus leaves either the whole checkpoint or a directory that
//! [`Checkpoints::latest`] passes over, and what was there before is untouched.
//!
//! Reading checks every byte: a checkpoint damaged since is passed over for the one before it.

mod read;
mod state;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hub::atomic::sync as sync_dir;
pub use read::{Checkpoint, Found};
pub use state::{Identity, LogWindow, ModelConfig, TrainState};
pub use write::Blob;

/// The checkpoints of one run.
pub struct Checkpoints {
    dir: PathBuf,
    create: write::Create,
}

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Writing failed; what was half written is removed.
    #[error("cannot write checkpoint {}: {source}; earlier checkpoints are untouched: make room or mend the disk, then resume", path.display())]
    Write {
        /// The checkpoint.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file or directory cannot be read or removed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A checkpoint is not what its list of files says.
    #[error("checkpoint {} is damaged: {problem}", path.display())]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// There are checkpoints, and every one is damaged.
    #[error("no checkpoint in {} is intact: {}; restore one, or remove the directory to start anew", dir.display(), problems.join("; "))]
    NoneIntact {
        /// The directory of checkpoints.
        dir: PathBuf,
        /// What is wrong with each.
        problems: Vec<String>,
    },
    /// A checkpoint holds another model than the one it is read into.
    #[error("checkpoint {} does not fit this run: `{name}` has {found} values, expected {expected}; was the recipe changed?", path.display())]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// The array.
        name: String,
        /// How many values it has; none if it is not there.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
}

/// The list of a checkpoint's files; where it stands, the checkpoint is whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    crc32: u32,
}

const VERSION: u32 = 1;
const MANIFEST: &str = "complete.json";
const STATE: &str = "state.json";

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

impl Checkpoints {
    /// The checkpoints in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), create: Box::new(write::create_file) }
    }

    /// The directory of the checkpoint after update `step`.
    pub fn path(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step}"))
    }

    /// The updates after which there are checkpoints, whole or damaged, in rising order.
    ///
    /// # Errors
    /// The directory cannot be read; one that does not exist has no checkpoints.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        let mut steps: Vec<u64> =
            self.names()?.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes all checkpoints but the last `keep_last` and the one after update `best`; returns those removed.
    ///
    /// # Errors
    /// A checkpoint cannot be removed.
    pub fn retain(&self, keep_last: usize, best: Option<u64>) -> Result<Vec<u64>, Error> {
        let steps = self.steps()?;
        let older = &steps[..steps.len().saturating_sub(keep_last)];
        let surplus: Vec<u64> = older.iter().copied().filter(|&step| Some(step) != best).collect();
        for &step in &surplus {
            self.remove(step)?;
        }
        Ok(surplus)
    }

    /// Removes the checkpoints after updates later than `step`, which a run resumed from there will not have made.
    ///
    /// # Errors
    /// A checkpoint cannot be removed.
    pub fn remove_after(&self, step: u64) -> Result<(), Error> {
        self.steps()?.into_iter().filter(|&later| later > step).try_for_each(|later| self.remove(later))
    }

    /// Puts right what a killed process left: removes half-written checkpoints, finishes replacements.
    /// Only for the process that holds the run's lock. Returns the names removed.
    ///
    /// # Errors
    /// The directory cannot be read or changed.
    pub fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for name in self.names()? {
            let path = self.dir.join(&name);
            let replaced = name.strip_prefix(".old-").map(|step| self.dir.join(step));
            match replaced {
                Some(place) if !place.exists() => fs::rename(&path, &place).map_err(io_error(&path))?,
                _ if name.starts_with(".tmp-step-") || name.starts_with(".old-step-") => {
                    fs::remove_dir_all(&path).map_err(io_error(&path))?;
                    removed.push(name);
                }
                _ => {}
            }
        }
        Ok(removed)
    }

    /// Removes the checkpoint after update `step`.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, step: u64) -> Result<(), Error> {
        let path = self.path(step);
        // Under its own name a half-removed checkpoint would look like a damaged one.
        let doomed = self.dir.join(format!(".tmp-step-{step}-removed"));
        fs::rename(&path, &doomed).map_err(io_error(&path))?;
        fs::remove_dir_all(&doomed).map_err(io_error(&doomed))?;
        sync_dir(&self.dir).map_err(io_error(&self.dir))
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error(&self.dir))?,
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>().map_err(io_error(&self.dir))?;
        names.sort();
        Ok(names)
    }
}
