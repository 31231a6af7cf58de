//! A file that a verb writes once there is something to write: what fails or is killed before leaves it as it was.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use atento::hub::atomic;

use super::failure::Failure;

/// A file that can be written, as far as can be told before.
pub struct OutFile(PathBuf);

impl OutFile {
    /// Looks whether the file can be written, so that a wrong path costs no work, and changes nothing. `option` is what
    /// names the file on the command line.
    ///
    /// # Errors
    /// It cannot, or it is one of the files that are read.
    pub fn check<'p>(option: &str, path: &Path, inputs: impl IntoIterator<Item = &'p Path>) -> anyhow::Result<Self> {
        let place = |path: &Path| path.canonicalize().ok();
        let mut inputs = inputs.into_iter();
        if let Some(input) = inputs.find(|input| path.is_file() && place(input) == place(path)) {
            bail!("{option} would overwrite {}, which is read: name another file", input.display());
        }
        check_writable(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(OutFile(path.to_owned()))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The disk is full, say.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        atomic::write_named(&self.0, write).map_err(Failure::run)
    }
}

fn check_writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if there.is_file() => {
            OpenOptions::new().write(true).open(path)?;
            atomic::check_beside(&fs::canonicalize(path)?)
        }
        // A pipe may wait for its reader, who is not there yet.
        Ok(_) => Ok(()),
        Err(_) => atomic::check_beside(path),
    }
}
