//! Removes checkpoints, and puts right what a killed process left.

use std::fs;
use std::path::Path;

use super::{ASIDE, Checkpoints, Error, TEMPORARY, io_error, sync_dir};

impl Checkpoints {
    /// Removes all checkpoints but the last `keep_last` and those after the updates `wanted`; returns those removed.
    ///
    /// # Errors
    /// A checkpoint cannot be removed.
    pub fn retain(&self, keep_last: usize, wanted: &[u64]) -> Result<Vec<u64>, Error> {
        let steps = self.steps()?;
        let older = &steps[..steps.len().saturating_sub(keep_last)];
        let surplus: Vec<u64> = older.iter().copied().filter(|step| !wanted.contains(step)).collect();
        for &step in &surplus {
            self.remove(step)?;
        }
        Ok(surplus)
    }

    /// Prepares for a run that goes on after update `step`: removes the checkpoints after later updates, which it will
    /// not have made, and those that only a stop has made before it, which a run that nobody stopped would not have.
    ///
    /// # Errors
    /// A checkpoint cannot be removed.
    pub fn go_on_from(&self, step: u64) -> Result<(), Error> {
        for other in self.steps()? {
            if other > step || other < step && self.is_irregular(other) {
                self.remove(other)?;
            }
        }
        Ok(())
    }

    /// Puts right what a killed process left: removes half-written checkpoints, finishes replacements or undoes them.
    /// Only for the process that holds the run's lock. Returns the names removed.
    ///
    /// # Errors
    /// The directory cannot be read or changed.
    pub fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for step in self.steps()? {
            let (path, aside) = (self.path(step), self.aside(step));
            if aside.exists() && Self::check(&path, step).is_err() && Self::check(&aside, step).is_ok() {
                if path.exists() {
                    self.discard(&path, &format!("{TEMPORARY}step-{step}-damaged"))?;
                }
                fs::rename(&aside, &path).map_err(io_error(&path))?;
                sync_dir(&self.dir).map_err(io_error(&self.dir))?;
            }
        }
        for name in self.names()? {
            if [ASIDE, TEMPORARY].iter().any(|prefix| name.starts_with(&format!("{prefix}step-"))) {
                let path = self.dir.join(&name);
                fs::remove_dir_all(&path).map_err(io_error(&path))?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Removes the checkpoint after update `step`.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, step: u64) -> Result<(), Error> {
        // First the one aside, which would otherwise come back.
        for path in [self.aside(step), self.path(step)] {
            if path.exists() {
                self.discard(&path, &format!("{TEMPORARY}step-{step}-removed"))?;
            }
        }
        sync_dir(&self.dir).map_err(io_error(&self.dir))
    }

    /// Removes a directory; under its own name a half-removed checkpoint would look like a damaged one.
    fn discard(&self, path: &Path, name: &str) -> Result<(), Error> {
        let doomed = self.dir.join(name);
        if doomed.exists() {
            fs::remove_dir_all(&doomed).map_err(io_error(&doomed))?;
        }
        fs::rename(path, &doomed).map_err(io_error(path))?;
        fs::remove_dir_all(&doomed).map_err(io_error(&doomed))
    }
}
