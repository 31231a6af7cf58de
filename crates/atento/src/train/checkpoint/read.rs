//! Finds, checks and reads checkpoints.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::hub::remote::found_again;

use super::{Checkpoints, Entry, Error, MANIFEST, Manifest, STATE, TEMPORARY, TrainState, VERSION, io_error};

/// A checkpoint whose every byte was found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// The progress of the run.
    pub state: TrainState,
    files: Vec<Entry>,
}

/// The newest intact checkpoint, if there is any, and what was passed over to find it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The checkpoint; none if the run has not saved yet.
    pub checkpoint: Option<Checkpoint>,
    /// One sentence for each damaged or half-written checkpoint.
    pub warnings: Vec<String>,
}

impl Checkpoints {
    /// Finds the newest checkpoint that is whole.
    ///
    /// # Errors
    /// The directory cannot be read, or it has checkpoints and none is whole.
    pub fn latest(&self) -> Result<Found, Error> {
        let half_written = self.names()?.into_iter().filter(|name| name.starts_with(TEMPORARY));
        let mut warnings: Vec<_> = half_written
            .map(|name| format!("ignoring the half-written checkpoint {}", self.dir.join(name).display()))
            .collect();
        let mut problems = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step) {
                Ok(checkpoint) => {
                    warnings
                        .extend(problems.into_iter().map(|problem| format!("{problem}; going back to step {step}")));
                    return Ok(Found { checkpoint: Some(checkpoint), warnings });
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        match problems.is_empty() {
            true => Ok(Found { checkpoint: None, warnings }),
            false => Err(Error::NoneIntact { dir: self.dir.clone(), problems }),
        }
    }

    /// Reads the checkpoint after update `step` and checks every byte of it. While one replaces another, it is the older
    /// one until the newer one has its name.
    ///
    /// # Errors
    /// It is not there or damaged.
    pub fn load(&self, step: u64) -> Result<Checkpoint, Error> {
        let aside = self.aside(step);
        Self::check(&self.path(step), step)
            .or_else(|error| if aside.exists() { Self::check(&aside, step).map_err(|_| error) } else { Err(error) })
    }

    /// Whether the checkpoint after update `step` is there because somebody stopped the run, and for no other reason.
    pub(super) fn is_irregular(&self, step: u64) -> bool {
        let text = read_text(&self.path(step), STATE);
        text.is_ok_and(|text| serde_json::from_str::<TrainState>(&text).is_ok_and(|state| !state.regular))
    }

    /// Reads the checkpoint after update `step` that is said to be at `path`.
    pub(super) fn check(path: &Path, step: u64) -> Result<Checkpoint, Error> {
        let path = path.to_path_buf();
        let damaged = |problem: String| Error::Damaged { path: path.clone(), problem };
        let manifest = read_text(&path, MANIFEST)
            .and_then(|text| serde_json::from_str::<Manifest>(&text).map_err(|error| format!("{MANIFEST}: {error}")));
        let manifest = manifest.map_err(damaged)?;
        if manifest.version != VERSION {
            return Err(damaged(format!(
                "its format is version {}, this program reads version {VERSION}",
                manifest.version
            )));
        }
        manifest.files.iter().try_for_each(|entry| verify(&path, entry)).map_err(damaged)?;
        let state = read_text(&path, STATE)
            .and_then(|text| serde_json::from_str::<TrainState>(&text).map_err(|error| format!("{STATE}: {error}")));
        let mut state = state.map_err(damaged)?;
        state.identity.from = state.identity.from.map(|from| found_again(&from));
        if state.step != step {
            return Err(damaged(format!("it was written after step {}", state.step)));
        }
        Ok(Checkpoint { path, state, files: manifest.files })
    }
}

impl Checkpoint {
    /// How many values an array has, if the checkpoint holds it.
    pub fn len_of(&self, name: &str) -> Option<usize> {
        let file = format!("{name}.f32");
        self.files.iter().find(|entry| entry.name == file).map(|entry| entry.bytes as usize / 4)
    }

    /// Reads an array into `values`.
    ///
    /// # Errors
    /// The array is not there, has another length, or has changed since it was checked.
    pub fn read_into(&self, name: &str, values: &mut [f32]) -> Result<(), Error> {
        let found = self.len_of(name);
        if found != Some(values.len()) {
            let (path, name) = (self.path.clone(), name.to_string());
            return Err(Error::Mismatch { path, name, found: found.unwrap_or(0), expected: values.len() });
        }
        let path = self.path.join(format!("{name}.f32"));
        let mut file = File::open(&path).map_err(io_error(&path))?;
        let mut bytes = vec![0; CHUNK.min(values.len() * 4)];
        for chunk in values.chunks_mut(CHUNK / 4) {
            let bytes = &mut bytes[..chunk.len() * 4];
            file.read_exact(bytes).map_err(io_error(&path))?;
            for (value, bytes) in chunk.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }
}

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

fn read_text(dir: &Path, name: &str) -> Result<String, String> {
    std::fs::read_to_string(dir.join(name)).map_err(|error| format!("{name}: {error}"))
}

fn verify(dir: &Path, entry: &Entry) -> Result<(), String> {
    let Entry { name, bytes: expected, crc32 } = entry;
    if name.contains(['/', '\\']) {
        return Err(format!("{MANIFEST} names {name}, which is not a file of it"));
    }
    let mut file = File::open(dir.join(name)).map_err(|error| format!("{name}: {error}"))?;
    let (mut bytes, mut crc, mut chunk) = (0, crc32fast::Hasher::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).map_err(|error| format!("{name}: {error}"))? {
            0 => break,
            read => {
                bytes += read as u64;
                crc.update(&chunk[..read]);
            }
        }
    }
    match (bytes == *expected, crc.finalize() == *crc32) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("{name} has {bytes} bytes, expected {expected}")),
        (true, false) => Err(format!("{name} differs from what was written (checksum)")),
    }
}
