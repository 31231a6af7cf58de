//! Models of the Hugging Face Hub, by their names.
//!
//! ```text
//! name      `org/name`, `org/name@revision`, `hf://org/name`    environment   HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE
//! choice    which of a repository's files a model is read from  cache         where Hugging Face's libraries keep them
//! download  getting the files that the cache lacks              error         what can go wrong, and what to do
//! ```
//!
//! Files lie in the cache that `huggingface_hub` has, in its layout, so that each is fetched once for both:
//! `models--ORG--NAME/snapshots/COMMIT/FILE`. A snapshot is a model directory like any other. A branch is asked for its commit
//! each time, as `huggingface_hub` does; a commit that is in the cache needs no network.
//!
//! ```no_run
//! use atento::hub::remote::{Hub, Name, Part};
//!
//! let name = Name::parse("HuggingFaceTB/SmolLM2-135M").unwrap();
//! let fetched = Hub::from_env()?.fetch(&name, Part::Model, &mut |progress| {
//!     println!("{} {}/{}", progress.file, progress.done, progress.total);
//! })?;
//! let model = atento::pipelines::Model::load(&fetched.dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod choice;
mod download;
mod environment;
mod error;
mod name;

use std::path::{Path, PathBuf};

use super::ModelDir;

pub use cache::found_again;
pub use environment::Hub;
pub use error::Error;
pub use name::Name;

/// How much of a model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All that it is read from.
    Model,
    /// The same without weights: its configuration and its tokenizer.
    Description,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Its name.
    pub file: &'a str,
    /// Its number among those that are fetched, from 1.
    pub number: usize,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes that it has.
    pub total: u64,
}

/// A model that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its directory.
    pub dir: PathBuf,
    /// Files that were not there before.
    pub files: usize,
    /// The bytes of these.
    pub bytes: u64,
    /// Why nothing was fetched although the cache may be behind, if so.
    pub note: Option<String>,
}

impl Hub {
    /// The directory of a model, of which what the cache lacks is fetched. Where the Hub cannot be reached, what the cache
    /// has of the name is taken.
    ///
    /// # Errors
    /// There is no such model or revision, it may not be read, it has no files of a model; neither the Hub nor the cache has
    /// it to give; a file comes cut short, or finds no room.
    pub fn fetch(&self, name: &Name, part: Part, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fetched, Error> {
        let cached = || self.cached(name);
        let as_cached = |dir, note| Fetched { dir, files: 0, bytes: 0, note };
        if self.is_offline {
            let offline = || Error::Offline { name: Box::new(name.clone()), cache: self.cache.clone() };
            return cached().map(|dir| as_cached(dir, None)).ok_or_else(offline);
        }
        if name.is_commit()
            && let Some(dir) = cached().filter(|dir| choice::is_whole(dir))
        {
            return Ok(as_cached(dir, None));
        }
        match self.download(name, part, progress) {
            Err(error) if error.is_no_answer() => {
                let note = format!("{error}; what the cache has of {name} is used");
                cached().map(|dir| as_cached(dir, Some(note))).ok_or(error)
            }
            fetched => fetched,
        }
    }
}

/// The model of the Hub that an adapter in a directory is for, where it names one that is not a directory here.
#[must_use]
pub fn base_of_adapter(adapter: &Path) -> Option<Name> {
    let dir = ModelDir::adapter_in(adapter).ok()?;
    let base = super::model_dir::base_name(&dir).ok()??;
    let is_here = |path: &Path| found_again(path).is_dir();
    if is_here(Path::new(&base)) { None } else { Name::parse(&base) }
}
