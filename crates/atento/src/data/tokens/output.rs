//! Token files while they grow: a directory that appears whole or not at all, and the documents that are
//! put into it or left out.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::encode::{Encoded, Encoder};
use super::report::{PrepareReport, SplitCounts};
use super::{Dtype, Error};
use crate::data::hash::combine;
use crate::hub::atomic;

/// Names of the token files, by [`Part`].
pub(super) const NAMES: [&str; 2] = ["train.bin", "val.bin"];

/// One side of the split; its number is its place in arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train = 0,
    Val = 1,
}

/// A directory under a temporary name, removed unless it is published.
pub(in crate::data) struct Staging {
    pub(in crate::data) path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staging {
    /// For a directory that is to be `target`, which must not exist or be empty.
    pub(in crate::data) fn new(target: &Path) -> Result<Self, Error> {
        match fs::read_dir(target).map(|mut entries| entries.next().is_some()) {
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() != io::ErrorKind::NotADirectory => {
                return Err(Error::io(target, "list")(error));
            }
            Ok(true) | Err(_) => return Err(Error::Exists { path: target.into() }),
        }
        let parent = parent(target);
        fs::create_dir_all(parent).map_err(Error::io(parent, "create"))?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        atomic::remove_leftovers(parent, |of, process| of == name && atomic::is_gone(process));
        let made = atomic::create_beside(target, |temporary| fs::create_dir(temporary));
        let (path, ()) = made.map_err(Error::io(target, "create a directory beside"))?;
        Ok(Staging { path, target: target.into(), published: false })
    }

    /// Gives the directory its name, once everything in it is on the disk.
    pub(in crate::data) fn publish(mut self) -> Result<(), Error> {
        atomic::sync(&self.path).map_err(Error::io(&self.path, "flush"))?;
        if self.target.exists() {
            fs::remove_dir(&self.target).map_err(Error::io(&self.target, "replace"))?;
        }
        fs::rename(&self.path, &self.target).map_err(Error::io(&self.target, "create"))?;
        self.published = true;
        let parent = parent(&self.target);
        atomic::sync(parent).map_err(Error::io(parent, "flush"))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // The error that matters is the one that led here.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A token file that is written.
pub(in crate::data) struct TokenWriter {
    path: PathBuf,
    file: BufWriter<File>,
    dtype: Dtype,
}

impl TokenWriter {
    pub(in crate::data) fn create(path: PathBuf, dtype: Dtype) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = BufWriter::with_capacity(1 << 18, file.map_err(Error::io(&path, "create"))?);
        Ok(TokenWriter { path, file, dtype })
    }

    pub(in crate::data) fn append(&mut self, ids: &[u32]) -> Result<(), Error> {
        let bytes: Vec<u8> = match self.dtype {
            Dtype::Uint16 => ids.iter().flat_map(|&id| (id as u16).to_le_bytes()).collect(),
            Dtype::Uint32 => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
        };
        self.file.write_all(&bytes).map_err(Error::io(&self.path, "write"))
    }

    pub(in crate::data) fn truncate(&mut self, tokens: u64) -> Result<(), Error> {
        let end = tokens * self.dtype.bytes() as u64;
        let cut = self.file.seek(SeekFrom::Start(end)).and_then(|_| self.file.get_ref().set_len(end));
        cut.map_err(Error::io(&self.path, "write"))
    }

    pub(in crate::data) fn finish(self) -> Result<(), Error> {
        let file = self.file.into_inner().map_err(|error| Error::io(&self.path, "write")(error.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path, "flush"))
    }
}

/// Both token files and what is known of the documents in them.
pub(super) struct Sink {
    writers: [TokenWriter; 2],
    /// Hashes of the documents in each: 8 bytes a document, up to about 20 with the tables' own room.
    seen: [HashSet<u64>; 2],
    open: Option<Open>,
    end: Option<u32>,
    drop_duplicates: bool,
    pub(super) report: PrepareReport,
}

/// A document whose end has not come.
struct Open {
    /// What the files held before it.
    marks: [SplitCounts; 2],
    hash: u64,
}

impl Sink {
    /// Files in `directory`.
    pub(super) fn new(directory: &Path, encoder: &Encoder<'_>, drop_duplicates: bool) -> Result<Self, Error> {
        let create = |name| TokenWriter::create(directory.join(name), encoder.dtype);
        Ok(Sink {
            writers: [create(NAMES[0])?, create(NAMES[1])?],
            seen: Default::default(),
            open: None,
            end: encoder.end,
            drop_duplicates,
            report: PrepareReport::default(),
        })
    }

    /// Takes the next piece and where it goes; `last` ends its document, `cut` what is on this side of a document that
    /// goes on on the other.
    pub(super) fn add(
        &mut self,
        encoder: &Encoder<'_>,
        (last, part, cut): (bool, Part, bool),
        encoded: &Encoded,
    ) -> Result<(), Error> {
        let begins = self.open.is_none();
        let open = match self.open.take() {
            None if last && encoded.blank => {
                self.report.documents += 1;
                self.report.empty += 1;
                return Ok(());
            }
            None => Open { marks: [self.report.train, self.report.val], hash: 0 },
            Some(open) => open,
        };
        let hash = combine(open.hash, encoded.hash);
        if !last {
            self.write(encoder, part, encoded, begins)?;
            if cut {
                self.end(part)?;
            }
            self.open = Some(Open { hash, ..open });
            return Ok(());
        }
        self.report.documents += 1;
        if self.is_duplicate(hash, part) && self.drop_duplicates {
            self.report.duplicates_dropped += 1;
            return self.undo(&open.marks);
        }
        self.write(encoder, part, encoded, begins)?;
        self.end(part)?;
        for (part, mark) in [Part::Train, Part::Val].into_iter().zip(&open.marks) {
            let counts = self.counts(part);
            counts.documents += u64::from(counts.bytes > mark.bytes);
        }
        Ok(())
    }

    /// Closes the files; that for validation is removed if nothing is in it.
    pub(super) fn finish(self) -> Result<PrepareReport, Error> {
        let [train, val] = self.writers;
        train.finish()?;
        let path = val.path.clone();
        val.finish()?;
        if self.report.val.tokens == 0 {
            fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
        Ok(self.report)
    }

    fn counts(&mut self, part: Part) -> &mut SplitCounts {
        match part {
            Part::Train => &mut self.report.train,
            Part::Val => &mut self.report.val,
        }
    }

    fn end(&mut self, part: Part) -> Result<(), Error> {
        let Some(end) = self.end else { return Ok(()) };
        self.counts(part).tokens += 1;
        self.writers[part as usize].append(&[end])
    }

    /// Writes a piece; before the first of a document comes what begins a text.
    fn write(&mut self, encoder: &Encoder<'_>, part: Part, encoded: &Encoded, begins: bool) -> Result<(), Error> {
        if begins {
            // What another document ended with.
            let before = self.end.filter(|_| self.counts(part).tokens > 0);
            let start = encoder.start(&encoded.ids, before);
            self.counts(part).tokens += start.len() as u64;
            self.writers[part as usize].append(start)?;
        }
        self.counts(part).add(&encoded.counts);
        self.writers[part as usize].append(&encoded.ids)
    }

    /// Notes a document, and says whether an equal one came before.
    fn is_duplicate(&mut self, hash: u64, part: Part) -> bool {
        let in_other = self.seen[1 - part as usize].contains(&hash);
        let in_this = self.seen[part as usize].contains(&hash);
        self.report.in_both_splits += u64::from(in_other);
        self.report.duplicates += u64::from(in_other || in_this);
        if !(in_other && self.drop_duplicates) {
            self.seen[part as usize].insert(hash);
        }
        in_other || in_this
    }

    fn undo(&mut self, marks: &[SplitCounts; 2]) -> Result<(), Error> {
        for (part, mark) in [Part::Train, Part::Val].into_iter().zip(marks) {
            if self.counts(part).tokens > mark.tokens {
                *self.counts(part) = *mark;
                self.writers[part as usize].truncate(mark.tokens)?;
            }
        }
        Ok(())
    }
}
