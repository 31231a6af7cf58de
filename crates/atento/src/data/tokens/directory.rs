//! A directory of token files: `train.bin`, `val.bin` and, if they were made here, `tokens.json`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::encode::Encoder;
use super::output::NAMES;
use super::{Dtype, Error, Preparation, PrepareReport, Shard, tokenizer_hash};
use crate::encoding;
use crate::hub::atomic;
use crate::text::Tokenizer;

/// The file that describes token files.
pub const SIDECAR_NAME: &str = "tokens.json";

/// What `tokens.json` says of the token files beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// How a token lies in the files.
    pub dtype: Dtype,
    /// Ids of the tokenizer: all tokens are below.
    pub vocab_size: usize,
    /// What tells the tokenizer from others (see [`tokenizer_hash`]).
    pub tokenizer_hash: String,
    /// The token that ends every document, if one does.
    pub end_token: Option<u32>,
    /// The counts of the preparation, tokens and documents of each file among them.
    pub report: PrepareReport,
    /// Sources and options.
    pub settings: Preparation,
}

impl Sidecar {
    pub(super) fn new(
        settings: &Preparation,
        tokenizer: &Tokenizer,
        encoder: &Encoder<'_>,
        report: PrepareReport,
    ) -> Result<Self, Error> {
        Ok(Sidecar {
            dtype: encoder.dtype,
            vocab_size: encoder.vocab_size,
            tokenizer_hash: tokenizer_hash(tokenizer)?,
            end_token: encoder.end,
            report,
            settings: settings.clone(),
        })
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(SIDECAR_NAME);
        let json = serde_json::to_string_pretty(self).map_err(|e| Error::io(&path, "write")(e.into()))?;
        atomic::replace(&path, |file| file.write_all((json + "\n").as_bytes())).map_err(Error::io(&path, "write"))
    }

    /// Reads the `tokens.json` of a directory; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotASidecar`].
    pub fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let path = directory.join(SIDECAR_NAME);
        let bytes = match encoding::read_text(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, "open")(error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::NotASidecar { path, detail: e.to_string() })
    }
}

/// Removes what [`prepare`](super::prepare()) made in a directory, and the directory where nothing else is in it. Without
/// its `tokens.json` nothing is removed.
///
/// # Errors
/// The system refuses.
pub fn remove(directory: &Path) -> Result<(), Error> {
    if !directory.join(SIDECAR_NAME).exists() {
        return Ok(());
    }
    // The sidecar last: what is left of an interrupted removal is still known as ours.
    for name in NAMES.into_iter().chain([SIDECAR_NAME]) {
        let path = directory.join(name);
        if path.exists() {
            std::fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        }
    }
    // Whatever else is there stays, and `prepare` says so.
    let _ = std::fs::remove_dir(directory);
    Ok(())
}

/// The token files of a directory, open.
#[derive(Clone, Debug)]
pub struct TokenDirectory {
    path: PathBuf,
    /// `train.bin`.
    pub train: Arc<Shard>,
    /// `val.bin`, if there is one.
    pub val: Option<Arc<Shard>>,
    /// What `tokens.json` says, if there is one.
    pub sidecar: Option<Sidecar>,
}

impl TokenDirectory {
    /// The files of text that were changed after the tokens were made of them, as far as their times tell.
    pub fn newer_sources(&self) -> Vec<PathBuf> {
        let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
        let (Some(sidecar), Some(made)) = (&self.sidecar, modified(&self.path.join(SIDECAR_NAME))) else {
            return Vec::new();
        };
        let Preparation { train, valid, .. } = &sidecar.settings;
        // What is no longer there was not changed.
        let files = std::iter::once(train).chain(valid).flat_map(|source| source.files().unwrap_or_default().0);
        files.map(|file| file.path).filter(|path| modified(path).is_some_and(|changed| changed > made)).collect()
    }

    /// Opens the files of a directory. Without `tokens.json` (nanoGPT's have none), they are read as `dtype`, or
    /// as [`Dtype::of_file`] finds them if that is not given.
    ///
    /// # Errors
    /// Those of [`Shard::open`] and [`Sidecar::read`]; [`Error::Contradiction`] if `tokens.json` says something
    /// else than `dtype` or the sizes of the files.
    pub fn open(path: impl AsRef<Path>, dtype: Option<Dtype>) -> Result<Self, Error> {
        let path = path.as_ref();
        let sidecar = Sidecar::read(path)?;
        let recorded = sidecar.as_ref().map(|sidecar| sidecar.dtype);
        let used = match recorded.or(dtype) {
            Some(dtype) => dtype,
            None => Dtype::of_file(&path.join(NAMES[0]))?,
        };
        let train = Arc::new(Shard::open(path.join(NAMES[0]), used)?);
        let val = path.join(NAMES[1]);
        let val = if val.exists() { Some(Arc::new(Shard::open(val, used)?)) } else { None };
        let directory = TokenDirectory { path: path.into(), train, val, sidecar };
        if dtype.is_some_and(|dtype| dtype != used) {
            let asked = dtype.unwrap_or_default();
            return Err(directory.contradiction("dtype", &used, format!("{asked} was asked for")));
        }
        if let Some(sidecar) = &directory.sidecar {
            let report = &sidecar.report;
            let val = directory.val.as_ref().map_or(0, |val| val.len());
            for (name, recorded, found) in
                [(NAMES[0], report.train.tokens, directory.train.len()), (NAMES[1], report.val.tokens, val)]
            {
                if recorded != found as u64 {
                    let what = format!("the number of tokens of {name}");
                    return Err(directory.contradiction(&what, &recorded, format!("the file has {found}")));
                }
            }
        }
        Ok(directory)
    }

    /// Checks that a tokenizer is the one that the tokens were made with, as far as is known.
    ///
    /// # Errors
    /// [`Error::Contradiction`].
    pub fn check_tokenizer(&self, tokenizer: &Tokenizer) -> Result<(), Error> {
        let Some(sidecar) = &self.sidecar else { return Ok(()) };
        let found = tokenizer_hash(tokenizer)?;
        match found == sidecar.tokenizer_hash {
            true => Ok(()),
            false => {
                let found = format!("this tokenizer's is {found}: the tokens were made with another one");
                Err(self.contradiction("tokenizer_hash", &sidecar.tokenizer_hash, found))
            }
        }
    }

    /// Checks that all ids are below a model's vocabulary size, one by one: whatever `tokens.json` says, it may stand beside
    /// other files than those it was written for, or a file may be damaged. A tokenizer may have tokens that the text does
    /// not have.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`].
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<(), Error> {
        self.train.check_ids(vocab_size)?;
        self.val.iter().try_for_each(|val| val.check_ids(vocab_size))
    }

    fn contradiction(&self, what: &str, recorded: &dyn ToString, found: String) -> Error {
        let path = self.path.join(SIDECAR_NAME);
        Error::Contradiction { path, what: what.into(), recorded: recorded.to_string(), found }
    }
}
