//! What the verbs that use a model have in common.

use std::path::Path;

use anyhow::anyhow;
use atento::hub::{ModelDir, ModelKind};
use atento::language_model::LanguageModel;
use atento::models::gpt2::Precision;
use atento::pretrained::Pretrained;
use atento::text::Tokenizer;

use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Opens a model directory, unless no verb here uses what it holds.
fn open(path: &Path) -> Result<ModelDir, Failure> {
    let dir = ModelDir::open(path)?;
    if dir.kind() == ModelKind::Gpt2Classifier {
        let is = "this model gives whole texts labels or values (GPT2ForSequenceClassification)";
        return Err(anyhow!("{}: {is}; `atento inspect` shows it, no other verb uses it", path.display()).into());
    }
    Ok(dir)
}

/// Loads a model directory and tells which of its search settings are not followed.
///
/// # Errors
/// A file of it is missing or wrong.
pub fn load(path: &Path, options: &Options) -> Result<Pretrained, Failure> {
    if !open(path)?.kind().is_translator() {
        let verbs = "`atento generate` continues texts with it, `atento score` measures them";
        return Err(anyhow!("{}: this is a language model, not a translator; {verbs}", path.display()).into());
    }
    let pretrained = Pretrained::load(path)?;
    for key in pretrained.generation.beyond_search() {
        options.note(without_effect(path, key));
    }
    Ok(pretrained)
}

/// That a model's own setting is not followed.
pub fn without_effect(path: &Path, key: &str) -> String {
    format!("{}: the search setting `{key}` has no effect here", path.display())
}

/// A model of either kind.
pub enum Model {
    /// Turns sentences into sentences.
    Translator(Box<Pretrained>),
    /// Continues texts.
    Language(Box<LanguageModel>),
}

impl Model {
    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Model::Translator(pretrained) => &pretrained.tokenizer,
            Model::Language(language) => &language.tokenizer,
        }
    }
}

/// Loads a model directory, whatever kind of model it holds.
///
/// # Errors
/// As [`load`].
pub fn load_any(path: &Path, options: &Options) -> Result<Model, Failure> {
    if open(path)?.kind().is_translator() {
        return Ok(Model::Translator(Box::new(load(path, options)?)));
    }
    Ok(Model::Language(Box::new(load_language(path, None)?)))
}

/// Loads a language model with its matrices held as one of f32, bf16 and int8; where that is not said, as they are stored.
/// Which of its search settings are followed is for the verb to tell: only one searches.
///
/// # Errors
/// A file of it is missing or wrong, or it is another kind of model.
pub fn load_language(path: &Path, weights: Option<&str>) -> Result<LanguageModel, Failure> {
    let dir = open(path)?;
    if dir.kind().is_translator() {
        return Err(anyhow!("{}: this model translates; use `atento translate`", path.display()).into());
    }
    let precision = match weights {
        Some("bf16") => Precision::Bf16,
        Some("int8") => Precision::Int8,
        None if dir.is_int8()? => Precision::Int8,
        _ => Precision::F32,
    };
    Ok(LanguageModel::from_dir(&dir, precision)?)
}

/// The decoder's first token, by the model's own settings.
pub fn start_id(pretrained: &Pretrained) -> u32 {
    pretrained.translate_options().start_id
}
