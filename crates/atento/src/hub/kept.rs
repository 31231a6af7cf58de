//! What a model's directory says beyond what is read here. It stays with the model: a model that is trained further or
//! converted is written with it.
//!
//! A key of config.json is written anew only where the model has come to differ from what the file said. So a list of
//! end tokens, a key that nothing here knows, and a value in another spelling are written as they were read.

use super::chat;
use super::json::{pretty, read_object};
use super::model_dir::{CONFIG, GENERATION, TOKENIZER_CONFIG};
use super::{Error, atomic, int8, sentence};
use crate::hub::generation::GenerationConfig;
use crate::lfs;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// Files that belong to a tokenizer, beside those it is read from.
const FILES: [&str; 4] = ["special_tokens_map.json", chat::FILE, "added_tokens.json", "tokenizer.model"];
/// Files that `transformers` reads the tokenizers of translators from.
const TRANSLATOR_FILES: [&str; 4] = ["source.spm", "target.spm", "sentencepiece.bpe.model", "vocab.json"];

/// The files of a directory that describe the model, as they were read; nothing for a model that was made here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    config: Map<String, Value>,
    /// What would be written to config.json for the model as it was read.
    described: Map<String, Value>,
    tokenizer_config: Option<TokenizerFile>,
    /// Names, perhaps with a folder, and bytes.
    files: Vec<(String, Vec<u8>)>,
}

/// tokenizer_config.json.
#[derive(Debug, Clone, PartialEq)]
struct TokenizerFile {
    object: Map<String, Value>,
    /// As it was read, until the object is changed.
    bytes: Vec<u8>,
}

impl Kept {
    /// Reads the files in the directory `root`. `described` is what would be written to config.json for its model.
    ///
    /// # Errors
    /// A file cannot be read, or is no JSON object where it should be one.
    pub(super) fn read(
        root: &Path,
        config: &Map<String, Value>,
        described: Map<String, Value>,
        is_translator: bool,
    ) -> Result<Self, Error> {
        let path = root.join(TOKENIZER_CONFIG);
        let read_file = || -> Result<TokenizerFile, Error> {
            let bytes = lfs::read(&path).map_err(Error::io(&path, "read"))?;
            Ok(TokenizerFile { object: read_object(&path)?, bytes })
        };
        let tokenizer_config = path.exists().then(read_file).transpose()?;
        let names = FILES.into_iter().chain(TRANSLATOR_FILES.into_iter().filter(|_| is_translator));
        let mut files = Vec::new();
        for (name, path) in names.map(|name| (name, root.join(name))).filter(|(_, path)| path.is_file()) {
            files.push((name.to_owned(), lfs::read(&path).map_err(Error::io(&path, "read"))?));
        }
        // These are copied as they are: whoever makes vectors says what is wrong with them.
        for (path, name) in sentence::files(root).into_iter().map(|name| (root.join(&name), name)) {
            if path.is_file() {
                files.push((name, fs::read(&path).map_err(Error::io(&path, "read"))?));
            }
        }
        Ok(Self { config: config.clone(), described, tokenizer_config, files })
    }

    /// config.json as it was read; empty for a model that was made here.
    #[must_use]
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// Changes a key of config.json, where there is one, for a model that was changed before it is trained.
    pub fn set(&mut self, key: &str, value: Value) {
        if !self.config.is_empty() {
            self.described.insert(key.to_owned(), value.clone());
            self.config.insert(key.to_owned(), value);
        }
    }

    /// Sets a key of config.json that nothing of the model says, or takes it out.
    pub fn note(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => self.config.insert(key.to_owned(), value),
            None => self.config.remove(key),
        };
    }

    /// What a file holds that stands beside the model, where there is one.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(known, _)| known == name).map(|(_, bytes)| &**bytes)
    }

    /// Puts a chat template in the place of the model's own.
    pub fn set_chat_template(&mut self, text: &str) {
        self.files.retain(|(name, _)| name != chat::FILE);
        self.files.push((chat::FILE.to_owned(), text.as_bytes().to_vec()));
    }

    /// tokenizer_config.json as it was read, where there was one.
    #[must_use]
    pub fn tokenizer_config(&self) -> Option<&Map<String, Value>> {
        self.tokenizer_config.as_ref().map(|file| &file.object)
    }

    /// Changes what tokenizer_config.json says, where there is one.
    pub fn change_tokenizer_config(&mut self, change: impl FnOnce(&mut Map<String, Value>)) {
        if let Some(file) = &mut self.tokenizer_config {
            change(&mut file.object);
            file.bytes = pretty(&file.object);
        }
    }

    /// Writes the files into a directory of their own, from which a [`ModelDir`](super::ModelDir) without weights can
    /// be opened.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, dir: &Path, generation: &GenerationConfig) -> Result<(), Error> {
        fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
        if let Some(stated) = generation.stated() {
            atomic::atomic_write(&dir.join(GENERATION), &pretty(stated))?;
        }
        self.write_files(dir)?;
        atomic::atomic_write(&dir.join(CONFIG), &pretty(&self.config))
    }

    /// Writes tokenizer_config.json, if there was one, and the files beside it.
    pub(super) fn write_files(&self, dir: &Path) -> Result<(), Error> {
        if let Some(file) = &self.tokenizer_config {
            atomic::atomic_write(&dir.join(TOKENIZER_CONFIG), &file.bytes)?;
        }
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            let folder = path.parent().unwrap_or(dir);
            fs::create_dir_all(folder).map_err(Error::io(folder, "create the directory"))?;
            atomic::atomic_write(&path, bytes)?;
        }
        Ok(())
    }

    /// The object that config.json is to hold for a model that would by itself be described as `now`.
    pub(crate) fn config_for(&self, now: Map<String, Value>) -> Map<String, Value> {
        let mut config = self.config.clone();
        if !now.contains_key(int8::KEY) {
            config.remove(int8::KEY);
        }
        // What the model had and has no more, such as labels.
        config.retain(|key, _| now.contains_key(key) || !self.described.contains_key(key));
        // An older name of `dtype`, which is always written.
        config.remove("torch_dtype");
        for (key, value) in now {
            let is_ours = ["architectures", "model_type", "dtype"].contains(&key.as_str());
            if is_ours || !config.contains_key(&key) || self.described.get(&key) != Some(&value) {
                config.insert(key, value);
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { unreachable!() };
        object
    }

    #[test]
    fn config_json_changes_only_where_the_model_has_changed() {
        let kept = Kept {
            config: object(json!({
                "dropout": 0, "eos_token_id": [1, 3], "torch_dtype": "float16", "of_next_year": {"a": [1, null]},
                "quantization_config": {}, "vocab_size": 700
            })),
            described: object(json!({"dropout": 0.0, "eos_token_id": 1, "vocab_size": 700})),
            ..Kept::default()
        };
        let now = object(json!({"dropout": 0.0, "eos_token_id": 1, "vocab_size": 701, "dtype": "float32"}));
        let expected = json!({
            "dropout": 0, "eos_token_id": [1, 3], "of_next_year": {"a": [1, null]}, "vocab_size": 701, "dtype": "float32"
        });
        assert_eq!(kept.config_for(now), object(expected));
    }

    #[test]
    fn a_new_model_is_described_by_itself() {
        let now = object(json!({"dropout": 0.1, "quantization_config": {"bits": 8}}));
        assert_eq!(Kept::default().config_for(now.clone()), now);
    }
}
