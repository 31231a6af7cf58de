//! Checkpoints: everything a run needs to go on as if it had never stopped.
//!
//! A checkpoint is a directory `step-N` with `state.json`, one file of raw little-endian `f32` for each array
//! (weights, moments, averages) and `complete.json`, the list of their sizes and CRC-32. It is written under
//! another name, each file synchronised with the disk, the list last; then the directory takes its name. A
//! process killed at any instant thus leaves either the whole checkpoint or a directory that
//! [`Checkpoints::latest`] passes over, and what was there before is untouched.
//!
//! A checkpoint that replaces one of the same step moves the older one aside, to `.old-step-N`, for the moment until it
//! has taken its name. Where `step-N` is missing or damaged, every reader takes `.old-step-N` for it.
//!
//! Reading checks every byte: a checkpoint damaged since is passed over for the one before it.

mod read;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hub::atomic::sync as sync_dir;
pub use read::{Checkpoint, Found};
pub use state::{Identity, LogWindow, TrainState};
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
    /// A file stands where a checkpoint would.
    #[error("{} is no directory, and checkpoints of this run have such names: move it elsewhere", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
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
    #[error("no checkpoint in {} is intact: {}; restore one, or begin a new run with --out", dir.display(), problems.join("; "))]
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
pub(super) const STATE: &str = "state.json";
/// Begins the name of a checkpoint that is being replaced, and of one that is being written or removed.
const ASIDE: &str = ".old-";
const TEMPORARY: &str = ".tmp-";

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
    /// The directory cannot be read, or a file has the name of a checkpoint; a directory that does not exist has no
    /// checkpoints.
    pub fn steps(&self) -> Result<Vec<u64>, Error> {
        let step = |name: &String| name.strip_prefix(ASIDE).unwrap_or(name).strip_prefix("step-")?.parse().ok();
        let mut steps = Vec::new();
        for (name, step) in self.names()?.iter().filter_map(|name| Some((name, step(name)?))) {
            let path = self.dir.join(name);
            if !path.is_dir() {
                return Err(Error::InTheWay { path });
            }
            steps.push(step);
        }
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    /// Where the checkpoint after update `step` is while another one takes its place.
    fn aside(&self, step: u64) -> PathBuf {
        self.dir.join(format!("{ASIDE}step-{step}"))
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
