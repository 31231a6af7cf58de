//! Tokenizers of directories without a tokenizer.json: the vocabulary in a file of its own, the rest in the files beside it
//! and in the class that they name.
//!
//! ```text
//! vocab.txt                  BERT, DistilBERT, ELECTRA     one WordPiece a line, its number is its id
//! vocab.json, merges.txt     GPT-2, RoBERTa                tokens with their ids, and the pairs that make them
//! spm.model                  DeBERTa                       a SentencePiece model
//! sentencepiece.bpe.model    XLM-RoBERTa                   likewise, with fairseq's ids
//! spiece.model               T5                            likewise, with sentinels behind it
//! tokenizer.model            Llama, Mistral                likewise, pairs with bytes for what they lack
//! source.spm, target.spm,    Marian (OPUS-MT)              two SentencePiece models, and the ids of their pieces
//! vocab.json
//! GGUF                       Llama, Qwen, GPT-2            either kind of BPE, in the keys of the file that has the model
//! ```
//!
//! Ids are those of `transformers` 5. What the files leave open is as the class of the tokenizer has it there.

mod byte_pairs;
pub mod class;
pub(crate) mod gguf;
pub(super) mod marian;
mod sentence_piece;
mod settings;
#[cfg(test)]
mod tests;
mod word_pieces;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use class::Class;

use super::Error;
use super::guard::guard;
use super::vocabulary::Unknown;
use crate::{encoding, json};
use settings::Settings;

/// Classes of which files are looked for, where nothing names one.
const BY_FILES: [Class; 4] = [Class::Bert, Class::Marian, Class::Gpt2, Class::SentencePiece];

/// Whether a path names a file that [`load`] reads.
pub(crate) fn is_one(path: &Path) -> bool {
    path.file_name().and_then(|name| Class::of_file(name.to_str()?)).is_some()
}

/// The file of the vocabulary in a directory; `None` if there is none.
///
/// # Errors
/// In words: files are there, and they are not those of the class that the directory names.
pub(crate) fn find(
    root: &Path,
    tokenizer_config: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Result<Option<PathBuf>, String> {
    let there = |class: Class| class.files().iter().map(|name| root.join(name)).find(|path| path.exists());
    let named = [(tokenizer_config, "tokenizer_class"), (config, "model_type")];
    let named = named.into_iter().find_map(|(file, key)| Some((key, file.get(key)?.as_str()?)));
    let other = BY_FILES.into_iter().find_map(there);
    match Class::of(tokenizer_config, config) {
        None => match (other, named) {
            (Some(other), Some((key, name))) => Err(format!(
                "there is {}, and how a {key} {name:?} reads it is not known here: save the tokenizer as tokenizer.json",
                shown(&other)
            )),
            (other, _) => Ok(other),
        },
        Some(class) => match (there(class), other) {
            (None, Some(other)) => Err(format!(
                "there is {}, but {} has its vocabulary in {}: one of the files is of another model",
                shown(&other),
                class.name(),
                class.files()[0]
            )),
            (found, _) => Ok(found),
        },
    }
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A tokenizer and the token of what it lacks; for targets another, where a model has two.
pub(super) struct Read {
    pub(super) tokenizer: (tokenizers::Tokenizer, Unknown),
    pub(super) of_target: Option<(tokenizers::Tokenizer, Unknown)>,
}

/// The tokenizer of a vocabulary and the files beside it.
///
/// # Errors
/// A file is missing or malformed, or the files disagree; the message names the file.
pub(super) fn load(path: &Path) -> Result<Read, Error> {
    let contradict = |panic| Err(fault(path, format!("it and the files beside it contradict each other: {panic}")));
    guard(|| read(path)).unwrap_or_else(contradict)
}

fn read(path: &Path) -> Result<Read, Error> {
    let settings = Settings::read(path)?;
    let by_name = path.file_name().and_then(|name| Class::of_file(name.to_str()?)).unwrap_or(Class::SentencePiece);
    // A class that has its vocabulary in another kind of file says nothing about this one.
    let is_alike = |class: &Class| {
        class.files() == by_name.files() || by_name == Class::SentencePiece && class.files()[0].ends_with(".model")
    };
    let class = settings.class.filter(is_alike).unwrap_or(by_name);
    let tokenizer = match class {
        Class::Marian => {
            let (tokenizer, of_target) = marian::load(path, &settings)?;
            return Ok(Read { tokenizer, of_target: Some(of_target) });
        }
        Class::Bert => word_pieces::load(path, &settings)?,
        Class::Gpt2 | Class::Roberta => byte_pairs::load(path, &settings, class)?,
        Class::DebertaV2 | Class::XlmRoberta | Class::T5 | Class::Llama | Class::SentencePiece => {
            sentence_piece::load(path, &settings, class)?
        }
    };
    Ok(Read { tokenizer, of_target: None })
}

fn fault(path: &Path, fault: String) -> Error {
    Error::Vocabulary { path: path.into(), fault }
}

fn read_text(path: &Path) -> Result<Vec<u8>, Error> {
    encoding::read_text(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let value = json::parse(&read_text(path)?).and_then(serde_json::from_value);
    value.map_err(|error| fault(path, format!("not what it should hold: {error}")))
}
