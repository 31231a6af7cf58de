//! The index of a checkpoint in several files: which tensor is in which.
//!
//! ```text
//! {"metadata": {…}, "weight_map": {"encoder.weight": "model-00001-of-00002.safetensors", …}}
//! ```

use super::Error;
use super::nearest::quoted;
use crate::{encoding, json};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An index whose shards all have plain file names.
#[derive(Debug)]
pub(super) struct ShardIndex {
    path: PathBuf,
    weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Json {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads the index at `path`.
    ///
    /// # Errors
    /// It cannot be read, is not such JSON, or names a file outside its directory.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = encoding::read_text(path).map_err(Error::io(path, "read"))?;
        let Json { weight_map } = json::parse(&text)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::Json { path: path.to_path_buf(), detail: error.to_string() })?;
        let index = Self { path: path.to_path_buf(), weight_map };
        // An index that points outside its directory is not a checkpoint but an attempt at something.
        let is_plain = |file: &str| Path::new(file).file_name().is_some_and(|name| name == file);
        match index.weight_map.values().find(|file| !is_plain(file)) {
            Some(file) => Err(index.fault(format!("shard {} is not a plain file name", quoted(file)))),
            None => Ok(index),
        }
    }

    /// Whether `path` is to be read as an index: its name ends in `.json`.
    pub fn is_index(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "json")
    }

    /// The name and the path of each shard, once.
    pub fn shards(&self) -> Vec<(&str, PathBuf)> {
        let mut files: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        files.sort_unstable();
        files.dedup();
        files.into_iter().map(|file| (file, self.path.with_file_name(file))).collect()
    }

    /// Checks that every tensor found in the shard `file` is one that the index places there.
    pub fn check_shard<'a>(&self, file: &str, mut found: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        match found.find(|name| self.weight_map.get(*name).is_none_or(|place| place != file)) {
            Some(name) => {
                let (file, name) = (quoted(file), quoted(name));
                Err(self.fault(format!("shard {file} holds tensor {name}, which the index does not place there")))
            }
            None => Ok(()),
        }
    }

    /// Checks that every tensor of the index was found in some shard.
    pub fn check_complete(&self, is_found: impl Fn(&str) -> bool) -> Result<(), Error> {
        match self.weight_map.iter().find(|(name, _)| !is_found(name)) {
            Some((name, file)) => {
                Err(self.fault(format!("tensor {} is not in its shard {}", quoted(name), quoted(file))))
            }
            None => Ok(()),
        }
    }

    fn fault(&self, fault: String) -> Error {
        Error::Index { path: self.path.clone(), fault }
    }
}
