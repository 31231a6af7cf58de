//! One process at a time: the file of a run directory that the process which trains there keeps locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::{Error, io_error};
use crate::hub::atomic;

/// The file's name.
pub(super) const LOCK: &str = ".lock";

/// Locks the directory at `path` for this process.
///
/// # Errors
/// Another process holds it, or the system refuses.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let lock_path = path.join(LOCK);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&lock_path)
        .map_err(io_error(&lock_path))?;
    let mut text = String::new();
    // A number that cannot be read is only missing from the message.
    let _ = file.read_to_string(&mut text);
    let process = text.trim().to_string();
    let in_use = |process: String| {
        let process = if process.is_empty() { "of unknown number".to_string() } else { process };
        Error::InUse { path: path.to_path_buf(), process }
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(process)),
        // Some network file systems know no locks; there a living process of that number counts as one.
        Err(TryLockError::Error(_)) if !is_alive(&process) => {}
        Err(TryLockError::Error(_)) => return Err(in_use(process)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(io_error(&lock_path))?;
    Ok(file)
}

fn is_alive(process: &str) -> bool {
    process.parse::<u32>().is_ok_and(|number| number != std::process::id() && !atomic::is_gone(number))
}

/// Whether an open file is the one at `path`. As it is open, its number is no other file's.
#[cfg(unix)]
pub(in crate::train) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, found) = (file.metadata().map(number), path.metadata().map(number));
    open.is_ok_and(|open| found.is_ok_and(|found| found == open))
}

/// Where files have no numbers, and none that is open can be removed.
#[cfg(not(unix))]
pub(in crate::train) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}
