//! Writes a checkpoint.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Checkpoints, Entry, Error, MANIFEST, Manifest, STATE, TEMPORARY, TrainState, VERSION, sync_dir};

/// A named array of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    /// Its name: lower-case letters, digits and underscores.
    pub name: &'a str,
    /// Its values.
    pub values: &'a [f32],
}

/// A file being written.
pub trait Output: Write {
    /// Waits until the disk has it.
    fn sync(&mut self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Opens files for writing; tests put a disk in its place that fills up.
pub type Create = Box<dyn Fn(&Path) -> io::Result<Box<dyn Output>> + Send + Sync>;

pub fn create_file(path: &Path) -> io::Result<Box<dyn Output>> {
    Ok(Box::new(File::create_new(path)?))
}

impl Checkpoints {
    /// Writes the checkpoint after update `state.step` and returns its directory. One that is there for the
    /// same step is replaced.
    ///
    /// # Errors
    /// The disk is full or fails; then nothing has changed and nothing half-written is left.
    ///
    /// # Panics
    /// A name holds anything but lower-case letters, digits and underscores, or occurs twice.
    pub fn save(&self, state: &TrainState, blobs: &[Blob<'_>]) -> Result<PathBuf, Error> {
        check_names(blobs);
        let path = self.path(state.step);
        let temporary = self.dir.join(format!("{TEMPORARY}step-{}-{}", state.step, std::process::id()));
        // An earlier process of the same number may have been killed here.
        let _ = fs::remove_dir_all(&temporary);
        let written = self.write_all(&temporary, state, blobs).and_then(|()| self.put(&temporary, state.step));
        if written.is_err() {
            // The error to report is the one above, not that of tidying up after it.
            let _ = fs::remove_dir_all(&temporary);
        }
        written.map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(path)
    }

    fn write_all(&self, dir: &Path, state: &TrainState, blobs: &[Blob<'_>]) -> io::Result<()> {
        if !self.dir.exists() {
            // Not with its parents: where the run directory is gone, it stays gone.
            fs::create_dir(&self.dir)?;
            sync_dir(self.dir.parent().unwrap_or(Path::new("")))?;
        }
        fs::create_dir(dir)?;
        let mut files = Vec::with_capacity(blobs.len() + 1);
        for blob in blobs {
            files.push(self.write_file(dir, format!("{}.f32", blob.name), |output| write_values(output, blob.values))?);
        }
        let state = serde_json::to_vec_pretty(state)?;
        files.push(self.write_file(dir, STATE.to_string(), |output| output.write_all(&state))?);
        let manifest = serde_json::to_vec_pretty(&Manifest { version: VERSION, files })?;
        self.write_file(dir, MANIFEST.to_string(), |output| output.write_all(&manifest))?;
        sync_dir(dir)
    }

    fn write_file(
        &self,
        dir: &Path,
        name: String,
        fill: impl FnOnce(&mut Checked) -> io::Result<()>,
    ) -> io::Result<Entry> {
        let file = (self.create)(&dir.join(&name))?;
        let mut checked = Checked { file, bytes: 0, crc: crc32fast::Hasher::new() };
        fill(&mut checked)?;
        checked.file.sync()?;
        Ok(Entry { name, bytes: checked.bytes, crc32: checked.crc.finalize() })
    }

    /// Gives a written directory its name. Directories cannot be exchanged in one step everywhere, so an older
    /// one steps aside first, where every reader finds it; `sweep` puts it back if the process dies in between.
    fn put(&self, temporary: &Path, step: u64) -> io::Result<()> {
        let (path, aside) = (self.path(step), self.aside(step));
        let replaces = path.is_dir();
        if replaces {
            // What an earlier replacement could not remove.
            if aside.exists() {
                fs::remove_dir_all(&aside)?;
            }
            fs::rename(&path, &aside)?;
        }
        let renamed = fs::rename(temporary, &path);
        if renamed.is_err() && replaces {
            fs::rename(&aside, &path)?;
        }
        renamed?;
        sync_dir(&self.dir)?;
        if aside.exists() { fs::remove_dir_all(&aside) } else { Ok(()) }
    }
}

fn check_names(blobs: &[Blob<'_>]) {
    for (index, blob) in blobs.iter().enumerate() {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        assert!(!blob.name.is_empty() && blob.name.chars().all(plain), "checkpoint: bad array name `{}`", blob.name);
        assert!(
            blobs[..index].iter().all(|other| other.name != blob.name),
            "checkpoint: array `{}` given twice",
            blob.name
        );
    }
}

/// A file whose size and checksum are counted on the way.
struct Checked {
    file: Box<dyn Output>,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl Checked {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Values converted at a time: small enough to stay in a core's cache, large enough for few system calls.
const CHUNK: usize = 16 * 1024;

fn write_values(output: &mut Checked, values: &[f32]) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK.min(values.len()) * 4];
    for chunk in values.chunks(CHUNK) {
        for (bytes, value) in bytes.chunks_exact_mut(4).zip(chunk) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        output.write_all(&bytes[..chunk.len() * 4])?;
    }
    Ok(())
}
