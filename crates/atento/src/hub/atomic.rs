//! Files that are replaced whole or not at all.
//!
//! A file is written under a temporary name in its own directory, flushed to the disk, renamed over the old one,
//! and the directory is flushed too. Whoever opens the path, at any instant and after any crash, finds the whole
//! old file or the whole new one. An error on the way (a full disk, say) leaves the old file and no temporary.

use super::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the name of every temporary file, so that those of a killed process can be told and removed.
pub const TEMPORARY_SUFFIX: &str = ".atento-tmp";

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written; the previous file is then untouched.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    atomic_write_with(path, |file| file.write_all(bytes))
}

/// Replaces the file at `path` by what `write` writes.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written or `write` fails; the previous file is then untouched.
pub fn atomic_write_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    replace(path, write).map_err(Error::io(path, "write"))
}

/// [`atomic_write_with`] for callers with errors of their own.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (temporary, file) = create_beside(path, |temporary| File::create_new(temporary))?;
    let written = write_and_rename(file, &temporary, path, write);
    if written.is_err() {
        // The error that matters is the first one; a temporary that cannot be removed is found by its suffix.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Replaces a file that a user named: through symbolic links, with the permissions of the file that is replaced. What is
/// no file, such as a pipe or a terminal, is written to as it is.
///
/// # Errors
/// As [`atomic_write_with`].
pub fn write_named(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let written = || {
        let Ok(there) = fs::metadata(path) else { return replace(path, write) };
        if !there.is_file() {
            return write(&mut OpenOptions::new().write(true).open(path)?);
        }
        replace(&fs::canonicalize(path)?, write)?;
        fs::set_permissions(path, there.permissions())
    };
    written().map_err(Error::io(path, "write"))
}

/// Whether [`write_named`] could begin to write a file: nothing that is there is touched.
///
/// # Errors
/// The directory does not take files.
pub fn check_beside(path: &Path) -> io::Result<()> {
    let (temporary, _) = create_beside(path, |temporary| File::create_new(temporary))?;
    fs::remove_file(temporary)
}

/// Removes the temporary files and directories in `directory` that `is_leftover` says nobody uses, told what each stands
/// for and the number of its process; returns how many were removed. What cannot be removed stays: it is in nobody's way.
pub(crate) fn remove_leftovers(directory: &Path, is_leftover: impl Fn(&str, u32) -> bool) -> usize {
    let remove = |entry: &fs::DirEntry| {
        let found = entry.file_name();
        let Some((name, process)) = found.to_str().and_then(parse_temporary) else { return false };
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_leftover(name, process)
            && if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }.is_ok()
    };
    fs::read_dir(directory).into_iter().flatten().flatten().filter(remove).count()
}

/// Whether a process has ended. Where that cannot be known, it may live.
pub(crate) fn is_gone(process: u32) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

/// What a temporary name stands for, and the number of the process that uses it.
fn parse_temporary(name: &str) -> Option<(&str, u32)> {
    let rest = name.strip_prefix('.')?.strip_suffix(TEMPORARY_SUFFIX)?;
    let (rest, count) = rest.rsplit_once('.')?;
    let (of, process) = rest.rsplit_once('.')?;
    count.parse::<u64>().ok()?;
    Some((of, process.parse().ok()?))
}

/// Flushes a directory's own entries to the disk, so that a rename in it survives a power cut.
///
/// # Errors
/// [`Error::Io`] where the directory cannot be opened or flushed.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    sync(directory).map_err(Error::io(directory, "flush the directory"))
}

fn write_and_rename(
    file: File,
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(1 << 18, file);
    write(&mut buffered)?;
    buffered.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    fs::rename(temporary, path)?;
    sync(directory_of(path))
}

/// Makes something beside `path` under a temporary name that nothing has: a killed process of the same number, which is
/// common in containers, may have left some.
pub(crate) fn create_beside<T>(path: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{}.{}.{count}{TEMPORARY_SUFFIX}", name.to_string_lossy(), std::process::id());
        let temporary = directory_of(path).join(temporary);
        match create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((temporary, created?)),
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Only Unix lets a directory be opened and flushed; elsewhere the rename itself has to do.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        atomic_write(&path, b"old").unwrap();
        atomic_write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names_in(directory.path()), ["state.json"]);
    }

    #[test]
    fn a_full_disk_leaves_the_previous_file_and_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        atomic_write(&path, b"previous").unwrap();
        let error = atomic_write_with(&path, |file| {
            file.write_all(b"half of the new")?;
            file.flush()?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: cannot write", path.display())), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"previous");
        assert_eq!(names_in(directory.path()), ["model.safetensors"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_named_file_keeps_its_links_and_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("out.txt"), directory.path().join("link.txt"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        write_named(&link, |file| file.write_all(b"new")).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        write_named(Path::new("/dev/null"), |file| file.write_all(b"new")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn leftovers_of_killed_processes_are_removed_and_no_other_files() {
        let directory = tempfile::tempdir().unwrap();
        // There is always a process 1, and never one of the last number.
        let (own, living, gone) = (std::process::id(), 1, u32::MAX);
        let mut kept = [
            "a".to_owned(),
            format!(".a.{own}.0.atento-tmp"),
            format!(".a.{living}.0.atento-tmp"),
            ".a.atento-tmp".to_owned(),
            format!(".notes.{gone}.old.atento-tmp"),
            format!("a.{gone}.0.atento-tmp"),
        ];
        for name in &kept {
            fs::write(directory.path().join(name), b"whole").unwrap();
        }
        fs::write(directory.path().join(format!(".a.{gone}.0.atento-tmp")), b"half").unwrap();
        fs::create_dir_all(directory.path().join(format!(".b.c.{gone}.7.atento-tmp/d"))).unwrap();
        let remove =
            |wanted: &str| remove_leftovers(directory.path(), |name, process| name == wanted && is_gone(process));
        assert_eq!([remove("b"), remove("b.c"), remove("a")], [0, 1, 1]);
        let mut names = names_in(directory.path());
        names.sort();
        kept.sort();
        assert_eq!(names, kept);
        assert_eq!(remove_leftovers(&directory.path().join("none"), |_, _| true), 0);
    }

    #[test]
    fn a_name_that_a_killed_process_of_the_same_number_has_left_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let (taken, ()) = create_beside(&path, |_| Ok(())).unwrap();
        let count: u64 = taken.to_str().unwrap().rsplit('.').nth(1).unwrap().parse().unwrap();
        for ahead in 1..20 {
            fs::write(directory.path().join(format!(".a.{}.{}.atento-tmp", std::process::id(), count + ahead)), b"")
                .unwrap();
        }
        atomic_write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(atomic_write(&directory.path().join("no/such/file"), b"").is_err());
        assert!(atomic_write(Path::new("/"), b"").is_err());
    }
}
