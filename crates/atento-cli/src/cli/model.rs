//! What the verbs that use a model have in common.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::pipelines::{LanguageModel, Pretrained};

use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// An adapter for the model of a verb.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdapterArgs {
    /// Put the adapter in this directory on the model (PEFT's files, or a run)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// Put it on a model that is not the one it was made for
    #[arg(long)]
    pub any_base: bool,
}

impl AdapterArgs {
    /// Opens a model's directory, with the adapter on it if there is one.
    ///
    /// # Errors
    /// A file of either is missing or wrong, or the adapter is for another model.
    pub fn open(&self, path: &Path) -> Result<ModelDir, Failure> {
        let dir = match &self.adapter {
            Some(adapter) => ModelDir::open_with(path, adapter)?,
            None => ModelDir::open(path)?,
        };
        Ok(if self.any_base { dir.of_any_base() } else { dir })
    }
}

/// The verb that uses a model which goes on with nothing.
fn verb_for(head: Head) -> Option<&'static str> {
    match head {
        Head::Translation | Head::Language => None,
        Head::Labels => Some("classify"),
        Head::Tags => Some("tag"),
        Head::Span => Some("answer"),
        Head::Choice => Some("choose"),
        Head::Words | Head::Pretraining => Some("fill-mask"),
        Head::States => Some("embed"),
    }
}

/// Opens a model directory whose model generates.
fn open(path: &Path, adapter: &AdapterArgs) -> Result<ModelDir, Failure> {
    let dir = adapter.open(path)?;
    if let Some(verb) = verb_for(dir.head()) {
        let does = dir.head().does();
        return Err(anyhow!("{}: this model {does}; use `atento {verb}`", path.display()).into());
    }
    Ok(dir)
}

/// Loads a model directory and tells which of its search settings are not followed.
///
/// # Errors
/// A file of it is missing or wrong.
pub fn load(path: &Path, adapter: &AdapterArgs, options: &Options) -> Result<Pretrained, Failure> {
    let dir = open(path, adapter)?;
    if dir.head() != Head::Translation {
        let verbs = "`atento generate` continues texts with it, `atento score` measures them";
        return Err(anyhow!("{}: this is a language model, not a translator; {verbs}", path.display()).into());
    }
    dir.require_exact()?;
    let pretrained = Pretrained::from_dir(&dir, Precision::F32)?;
    pretrained.notes.iter().for_each(|note| options.note(note));
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

/// Loads a model directory, whatever kind of model it holds.
///
/// # Errors
/// As [`load`].
pub fn load_any(path: &Path, adapter: &AdapterArgs, options: &Options) -> Result<Model, Failure> {
    if open(path, adapter)?.head() == Head::Translation {
        return Ok(Model::Translator(Box::new(load(path, adapter, options)?)));
    }
    Ok(Model::Language(Box::new(load_language(path, adapter, None, options)?)))
}

/// Loads a language model with its matrices held as one of f32, bf16 and int8; where that is not said, as they are stored.
/// Which of its search settings are followed is for the verb to tell: only one searches.
///
/// # Errors
/// A file of it is missing or wrong, or it is another kind of model.
pub fn load_language(
    path: &Path,
    adapter: &AdapterArgs,
    weights: Option<&str>,
    options: &Options,
) -> Result<LanguageModel, Failure> {
    let dir = open(path, adapter)?;
    if dir.head() == Head::Translation {
        return Err(anyhow!("{}: this model translates; use `atento translate`", path.display()).into());
    }
    let precision = match weights {
        Some("bf16") => Precision::Bf16,
        Some("int8") => Precision::Int8,
        None if dir.is_int8()? => Precision::Int8,
        _ => Precision::F32,
    };
    let language = LanguageModel::from_dir(&dir, precision)?;
    language.notes.iter().for_each(|note| options.note(note));
    Ok(language)
}

/// The decoder's first token, by the model's own settings.
pub fn start_id(pretrained: &Pretrained) -> u32 {
    pretrained.translate_options().start_id
}
