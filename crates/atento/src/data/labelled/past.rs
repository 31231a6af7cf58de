//! What a file holds, past the lines that hold none of it: these are told all at once, or left out and counted.

use std::path::PathBuf;

use super::Error;
use crate::data::{BadLines, LineReport, OnBadLine};

/// The way through a file. After an error it ends.
#[derive(Debug, Default)]
pub(super) struct Past {
    path: PathBuf,
    on_bad_line: OnBadLine,
    left_out: LineReport,
    has_failed: bool,
}

impl Past {
    pub(super) fn new(path: PathBuf, on_bad_line: OnBadLine) -> Self {
        Self { path, on_bad_line, ..Self::default() }
    }

    /// The lines that were left out so far.
    pub(super) fn left_out(&self) -> &LineReport {
        &self.left_out
    }

    /// The next of what `read` finds.
    pub(super) fn next<T>(&mut self, mut read: impl FnMut() -> Result<Option<T>, Error>) -> Option<Result<T, Error>> {
        while !self.has_failed {
            match read() {
                Err(fault) if fault.is_of_bad_line() && self.on_bad_line == OnBadLine::Skip => {
                    fault.count_in(&mut self.left_out);
                }
                Err(fault) => {
                    self.has_failed = true;
                    return Some(Err(if fault.is_of_bad_line() { self.all_bad(fault, read) } else { fault }));
                }
                found => return found.transpose(),
            }
        }
        None
    }

    /// The error of a bad line and all that follow.
    fn all_bad<T>(&self, first: Error, mut read: impl FnMut() -> Result<Option<T>, Error>) -> Error {
        let mut bad = BadLines::default();
        bad.add(&first);
        loop {
            match read() {
                Ok(Some(_)) => {}
                Ok(None) => return bad.error(self.path.display().to_string()).map_or(first, Error::Data),
                Err(fault) if fault.is_of_bad_line() => bad.add(&fault),
                Err(fault) => return fault,
            }
        }
    }
}
