//! Writing a model's directory, whole.

use super::generation::GenerationConfig;
use super::json::pretty;
use super::model_dir::{CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS};
use super::names::hf_tensors;
use super::safetensors::{FloatType, NamedTensor, write};
use super::tokenizer_config::TokenizerConfig;
use super::{Error, Kept, atomic, m2m100, marian, recurrent, seq2seq};
use crate::models::RecurrentConfig;
use crate::models::config::{Norm, TransformerConfig};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// What a saved directory holds beside the model.
#[derive(Debug, Clone)]
pub struct DirFiles<'a> {
    /// How outputs are searched for, where they are.
    pub generation: Option<&'a GenerationConfig>,
    /// What real numbers are written as.
    pub floats: FloatType,
    /// The bytes of tokenizer.json.
    pub tokenizer_json: &'a [u8],
    /// The tokenizer's special tokens, where `kept` does not say them.
    pub tokenizer_config: &'a TokenizerConfig,
    /// What the directory that the model was loaded from says.
    pub kept: &'a Kept,
}

/// Writes a complete directory, each file atomically, config.json last: a new directory with one is complete.
///
/// # Errors
/// [`Error::Io`], or [`Error::TooLarge`]; every file that was there before is then still whole.
pub fn save_dir(
    dir: &Path,
    config: Map<String, Value>,
    files: &DirFiles<'_>,
    tensors: Vec<NamedTensor<'_>>,
) -> Result<(), Error> {
    let tensors: Vec<_> = tensors.into_iter().map(|tensor| tensor.rounded_to(files.floats)).collect();
    let mut config = files.kept.config_for(config);
    config.insert("dtype".into(), json!(files.floats.config_name()));
    fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
    atomic::remove_leftovers(dir, |_, process| atomic::is_gone(process));
    write(&dir.join(WEIGHTS), &tensors, &[("format", "pt")])?;
    let json_file = |name: &str, object: &Map<String, Value>| atomic::atomic_write(&dir.join(name), &pretty(object));
    atomic::atomic_write(&dir.join(TOKENIZER), files.tokenizer_json)?;
    if files.kept.tokenizer_config().is_none() {
        json_file(TOKENIZER_CONFIG, &files.tokenizer_config.to_json())?;
    }
    files.kept.write_files(dir)?;
    if let Some(generation) = files.generation {
        json_file(GENERATION, &generation.to_json())?;
    }
    json_file(CONFIG, &config)
}

/// The object of config.json for an encoder–decoder.
///
/// # Errors
/// The configuration has a value that the format cannot express.
pub(crate) fn transformer_json(config: &TransformerConfig) -> Result<Map<String, Value>, Error> {
    let written = match config.norm {
        Norm::Post => marian::write_config(config),
        Norm::Pre => m2m100::write_config(config),
    };
    written.map_err(|error| seq2seq::unwritable(Path::new(CONFIG), error))
}

/// Writes an encoder–decoder as a directory that `transformers` loads: post-norm as `MarianMTModel`, pre-norm as
/// `M2M100ForConditionalGeneration`. `values` gives each parameter's elements by our name.
///
/// # Errors
/// As [`save_dir`], or the configuration has a value that the format cannot express.
pub fn save_transformer<'a, V: Into<Cow<'a, [f32]>>>(
    dir: &Path,
    config: &TransformerConfig,
    files: &DirFiles<'_>,
    positions: Option<[&'a [f32]; 2]>,
    values: impl Fn(&str) -> V,
) -> Result<(), Error> {
    let written = transformer_json(config)?;
    let mut tensors = hf_tensors(config, values);
    for (side, table) in ["encoder", "decoder"].into_iter().zip(positions.into_iter().flatten()) {
        let name = format!("model.{side}.embed_positions.weight");
        tensors.push(NamedTensor::new(name, [config.max_positions, config.d_model], table));
    }
    save_dir(dir, written, files, tensors)
}

/// Writes the recurrent baseline as a directory of this project's own format. `values` gives each parameter's elements
/// by name.
///
/// # Errors
/// As [`save_dir`].
pub fn save_recurrent<'a, V: Into<Cow<'a, [f32]>>>(
    dir: &Path,
    config: &RecurrentConfig,
    files: &DirFiles<'_>,
    values: impl Fn(&str) -> V,
) -> Result<(), Error> {
    let tensors: Vec<_> = config
        .parameters()
        .into_iter()
        .map(|(name, shape)| NamedTensor::new(name.clone(), shape, values(&name)))
        .collect();
    save_dir(dir, recurrent::write_config(config), files, tensors)
}
