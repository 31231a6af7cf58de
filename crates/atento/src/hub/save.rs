//! Writing a model's directory, whole.

use super::generation::GenerationConfig;
use super::json::pretty;
use super::model_dir::{CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS};
use super::safetensors::{FloatType, NamedTensor, write};
use super::tokenizer_config::TokenizerConfig;
use super::{Error, Kept, atomic, int8};
use crate::families::Config;
use atento_kernels::compact::Compact;
use atento_tensor::{Params, View};
use serde_json::{Map, Value, json};
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

/// Every tensor of a model as its files hold them, and whether matrices are in int8.
pub(crate) fn tensors<'p>(
    config: &dyn Config,
    params: &'p Params,
    positions: Option<[&'p [f32]; 2]>,
) -> (Vec<NamedTensor<'p>>, bool) {
    let (mut tensors, mut is_int8) = (Vec::new(), false);
    for entry in params.entries().iter().filter(|entry| !entry.is_added) {
        let name = config.sources(&entry.name).swap_remove(0);
        match (params.view(entry.weight), entry.layout) {
            (View::Compact(Compact::Int8 { values, scales }), Some(layout)) => {
                is_int8 = true;
                tensors.extend(int8::tensors(&name, &entry.dims, layout, values, scales));
            }
            _ => {
                let shape = config.stored_shape(&entry.name, &entry.dims);
                tensors.push(NamedTensor::new(name, shape, params.to_f32(entry.weight)));
            }
        }
    }
    tensors.extend(config.more_tensors(params, positions));
    (tensors, is_int8)
}
