//! A GGUF file made a model directory.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::vocabulary::Vocabulary;
use super::{Described, Gguf, Held};
use crate::families;
use crate::hub::generation::GenerationConfig;
use crate::hub::json::pretty;
use crate::hub::model_dir::{CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, WEIGHTS_GGUF};
use crate::hub::nearest::quoted;
use crate::hub::safetensors::{FloatType, Outline, write_each};
use crate::hub::{Error, atomic};

/// The key that says which kind of model a file holds.
const ARCHITECTURE: &str = "general.architecture";
/// The key that says of how many files the model is.
const PARTS: &str = "split.count";

/// A GGUF file of which a model directory can be made.
#[derive(Debug)]
pub struct Source {
    file: Gguf,
    described: Described,
    config: Map<String, Value>,
    vocabulary: Vocabulary,
}

impl Source {
    /// Opens a file and checks all but the elements of its tensors: that the model is known here and whole, and that its
    /// tokenizer is.
    ///
    /// # Errors
    /// As [`Gguf::open`]; the architecture, a key or the tokenizer is not known here; a tensor is missing, has another shape
    /// than the keys ask for, or belongs to no parameter.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = Gguf::open(path)?;
        if file.size(PARTS)?.is_some_and(|parts| parts > 1) {
            return Err(file.wrong(PARTS, "1: join the parts with `llama-gguf-split --merge` first"));
        }
        let described = describe(&file)?;
        let config = described.config.to_json()?;
        for Held { tensor, shape, layout, .. } in &described.tensors {
            file.check_shape(tensor, &layout.shape(shape))?;
        }
        let is_used = |name: &str| described.tensors.iter().any(|held| held.tensor == name);
        let is_read = |name: &str| described.read.iter().any(|read| read == name);
        if let Some(name) = file.names().find(|name| !is_used(name) && !is_read(name)) {
            let fault = format!("no parameter of the model is called {}, so another model is meant", quoted(name));
            return Err(Error::Gguf { path: path.to_path_buf(), fault });
        }
        let vocabulary = Vocabulary::read(&file, described.config.sizes().vocab_size)?;
        Ok(Self { file, described, config, vocabulary })
    }

    /// What the user should know, one sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.vocabulary.notes
    }

    /// The number of parameters.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.described.tensors.iter().map(|held| held.shape.iter().product::<usize>()).sum()
    }

    /// Writes a directory whose weights are the file, copied as it is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_with_file(&self, dir: &Path) -> Result<(), Error> {
        let path = self.file.path();
        fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
        let mut from = fs::File::open(path).map_err(Error::io(path, "read"))?;
        atomic::atomic_write_with(&dir.join(WEIGHTS_GGUF), |to| io::copy(&mut from, to).map(drop))?;
        self.write_beside(dir, self.config.clone())
    }

    /// Writes a directory, each file atomically, config.json last. One tensor is in memory at a time.
    ///
    /// # Errors
    /// A weight is NaN, infinite or beyond `floats`; a file cannot be written.
    pub fn write(&self, dir: &Path, floats: FloatType) -> Result<(), Error> {
        let Described { config, tensors, .. } = &self.described;
        let mut object = self.config.clone();
        object.insert("dtype".into(), json!(floats.config_name()));
        fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
        let outline = |held: &Held| Outline {
            name: config.sources(&held.parameter).swap_remove(0),
            shape: config.stored_shape(&held.parameter, &held.shape),
        };
        let outlines: Vec<Outline> = tensors.iter().map(outline).collect();
        write_each(&dir.join(WEIGHTS), &outlines, floats, &[("format", "pt")], |number| {
            let Held { tensor, shape, layout, .. } = &tensors[number];
            Ok(layout.restore(self.file.read(tensor)?, shape))
        })?;
        self.write_beside(dir, object)
    }

    /// Writes what a directory has beside the weights.
    fn write_beside(&self, dir: &Path, object: Map<String, Value>) -> Result<(), Error> {
        let config = &self.described.config;
        atomic::atomic_write(&dir.join(TOKENIZER), &self.vocabulary.tokenizer_json)?;
        let sizes = config.sizes();
        let of_tokenizer = self.vocabulary.tokenizer_config(sizes.max_positions.unwrap_or(usize::MAX));
        atomic::atomic_write(&dir.join(TOKENIZER_CONFIG), &pretty(&of_tokenizer))?;
        let eos_ids = self.vocabulary.eos_ids.clone();
        let generation = GenerationConfig { eos_ids, ..GenerationConfig::of_language_model(sizes) };
        atomic::atomic_write(&dir.join(GENERATION), &pretty(&generation.to_json()))?;
        atomic::atomic_write(&dir.join(CONFIG), &pretty(&object))
    }
}

/// The model of a file, as its family reads it.
pub(super) fn describe(file: &Gguf) -> Result<Described, Error> {
    let name = file.required(ARCHITECTURE, file.text(ARCHITECTURE)?)?;
    let known = || families::ALL.iter().filter_map(|family| family.gguf());
    let find = |all: &'static [&'static str]| all.iter().copied().find(|known| *known == name);
    match known().find_map(|architecture| Some((architecture, find(architecture.names())?))) {
        Some((architecture, name)) => architecture.describe(name, file),
        None => {
            let names: Vec<String> =
                known().flat_map(|known| known.names()).map(|name| json!(name).to_string()).collect();
            Err(file.wrong(ARCHITECTURE, format!("one of {}", names.join(", "))))
        }
    }
}
