//! The directory of a run: where everything it reads and writes has its place.
//!
//! ```text
//! config.toml      the recipe, resolved          checkpoints/step-N/   what is needed to go on
//! model/           the exported model            metrics.jsonl         one line for each logged step
//! report.html      curves, samples, counts       tensorboard/          the same for TensorBoard
//! summary.json     what came of the run, once it has ended
//! log.txt          what the terminal showed      .lock                 held by the process that trains
//! exported.json    which weights model/ holds
//! features/        what a frozen model gives texts, of a run that solves its output
//! request.json     what was asked, until the first checkpoint holds it
//! ```
//!
//! The lock is the operating system's, on the open file `.lock`: it ends with the process however that ends,
//! so a killed run is never locked. The file holds the process's number, for the message.
//!
//! A directory that is removed while the run uses it is not made again: before each write, the lock must still be where it
//! was.

mod lock;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoints;
use super::request::REQUEST;
use crate::hub::atomic;
pub(super) use lock::is_at;
use lock::{LOCK, lock};

/// Whether a run begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A new run, in a directory that does not exist or is empty.
    New,
    /// A run that goes on where it was.
    Resume,
}

/// The directory of a run, held by this process until dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether nothing was there.
    was_empty: bool,
    /// The directories that were made for the run, the innermost first.
    made: Vec<PathBuf>,
    lock: File,
}

/// A run directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process trains there.
    #[error("the run directory {} is already in use by process {process}: wait for it, stop it, or choose another with --out", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process's number, as far as it is known.
        process: String,
    },
    /// A symbolic link to nothing.
    #[error("{} is a symbolic link to a place that does not exist: make that directory, or choose another with --out", path.display())]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// There is a run, and a new one was to begin.
    #[error("{} already holds a run: add --resume to go on with it, or choose another directory with --out", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{} is not empty and holds no run (there is {found}): choose another directory with --out", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// It is no longer there, or another one is.
    #[error(
        "the run directory {} was removed, moved or replaced while the run used it: nothing more is written, and what the run \
         has learned since its last checkpoint is lost", path.display()
    )]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// There is no run to go on with.
    #[error("{} holds no run to resume: leave out --resume to start one, or name its directory with --out", path.display())]
    NothingToResume {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

pub(super) const CONFIG: &str = "config.toml";
/// The lines of metrics.
pub(super) const METRICS: &str = "metrics.jsonl";
/// What came of a run.
pub(super) const SUMMARY: &str = "summary.json";
/// The folder of checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";

impl RunDir {
    /// Opens the directory at `path`, makes it if a new run is to begin, and locks it. A run that was killed
    /// before it wrote its recipe can be begun anew, and resumed where it wrote down what was asked.
    ///
    /// # Errors
    /// Another process holds it; a new run finds something there; a resumed one finds nothing.
    pub fn open(path: &Path, mode: Mode) -> Result<Self, Error> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made: Vec<PathBuf> = path.ancestors().take_while(is_missing).map(Path::to_path_buf).collect();
        let contents = look(path)?;
        let was_empty = contents == Contents::Nothing;
        // Whether a run is there is looked at below.
        if contents != Contents::Run || mode == Mode::Resume {
            Self::check(path, mode)?;
        }
        if path.is_symlink() && !path.exists() {
            return Err(Error::Dangling { path: path.to_path_buf() });
        }
        fs::create_dir_all(path).map_err(io_error(path))?;
        // A process that trains there is named before the run it has begun.
        let lock = lock(path)?;
        if mode == Mode::New && look(path)? == Contents::Run {
            return Err(Error::Exists { path: path.to_path_buf() });
        }
        Ok(Self { path: path.to_path_buf(), was_empty, made, lock })
    }

    /// Whether what is at `path` lets a run begin or go on there; looks and changes nothing.
    ///
    /// # Errors
    /// Those of [`RunDir::open`], but that another process holds it.
    pub fn check(path: &Path, mode: Mode) -> Result<(), Error> {
        let path_buf = || path.to_path_buf();
        match (mode, look(path)?) {
            (Mode::Resume, Contents::Nothing | Contents::Begun | Contents::Foreign(_)) => {
                Err(Error::NothingToResume { path: path_buf() })
            }
            (Mode::New, Contents::Foreign(found)) => Err(Error::Foreign { path: path_buf(), found }),
            (Mode::New, Contents::Run) => Err(Error::Exists { path: path_buf() }),
            _ => Ok(()),
        }
    }

    /// Leaves nothing of a run that could not start: what was written for it goes, and the directories that were made.
    /// A run that has its recipe stays, and so does what was there before.
    pub fn abandon(&self) {
        if !self.was_empty || self.config().exists() || self.require().is_err() {
            return;
        }
        // The error to report is the one that kept the run from starting, not those of tidying up after it.
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        for path in &self.made {
            let _ = fs::remove_dir(path);
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe, resolved.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// What was asked of a run that has no checkpoint yet.
    pub(super) fn request(&self) -> PathBuf {
        self.path.join(REQUEST)
    }

    /// Checks that the directory is still the one that was opened.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn require(&self) -> Result<(), Error> {
        match is_at(&self.lock, &self.path.join(LOCK)) {
            true => Ok(()),
            false => Err(Error::Gone { path: self.path.clone() }),
        }
    }

    /// The directory of the exported model, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Gone`], or the system refuses.
    pub(super) fn make_model(&self) -> Result<PathBuf, Error> {
        self.require()?;
        let path = self.model();
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error(&path)(error)),
            _ => Ok(path),
        }
    }

    /// Removes the temporary files of killed processes. This one holds the run and has none yet, so those of its number are
    /// an earlier one's.
    pub(super) fn sweep(&self) {
        for directory in [&self.path, &self.model()] {
            let own = std::process::id();
            atomic::remove_leftovers(directory, |_, process| process == own || atomic::is_gone(process));
        }
    }

    /// The features that a frozen model gives.
    #[must_use]
    pub fn features(&self) -> PathBuf {
        self.path.join("features")
    }

    /// The exported model.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join(CHECKPOINTS))
    }

    /// The lines of metrics.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// TensorBoard's event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// What came of the run, as `train --json` prints it.
    pub fn summary(&self) -> PathBuf {
        self.path.join(SUMMARY)
    }

    /// What the terminal showed.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    /// Replaces a file of the directory, whole or not at all.
    ///
    /// # Errors
    /// The disk is full or fails; then the file is as it was.
    pub fn write(&self, path: &Path, contents: &str) -> Result<(), Error> {
        self.require()?;
        atomic::replace(path, |file| file.write_all(contents.as_bytes())).map_err(io_error(path))
    }

    /// Adds a line to `log.txt`.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn append_log(&self, line: &str) -> Result<(), Error> {
        self.require()?;
        let path = self.log();
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).map_err(io_error(&path))
    }
}

/// What a directory holds.
#[derive(Debug, PartialEq)]
enum Contents {
    /// Nothing, or it does not exist.
    Nothing,
    /// The traces of a run that has not come to write down what was asked.
    Begun,
    /// What was asked of a run that has not come to write its recipe.
    Asked,
    /// A run.
    Run,
    /// This, which is no part of a run.
    Foreign(String),
}

fn look(path: &Path) -> Result<Contents, Error> {
    let has_metrics = fs::metadata(path.join(METRICS)).is_ok_and(|file| file.len() > 0);
    if path.join(CONFIG).is_file() || has_metrics {
        return Ok(Contents::Run);
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Nothing),
        entries => entries.map_err(io_error(path))?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<Vec<String>>>().map_err(io_error(path))?;
    // Where the lock is, the rest is what a start that was cut short has written.
    match names.first() {
        None => Ok(Contents::Nothing),
        Some(_) if names.iter().any(|name| name == REQUEST) => Ok(Contents::Asked),
        Some(_) if names.iter().any(|name| name == LOCK) => Ok(Contents::Begun),
        Some(name) => Ok(Contents::Foreign(name.clone())),
    }
}

#[cfg(test)]
mod tests;
