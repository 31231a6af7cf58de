//! What the verbs that use a model have in common.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::pipelines::{LanguageModel, Loaded, Net, Pretrained};

use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// An adapter for the model of a verb.
#[derive(Debug, Clone, clap::Args)]
pub struct AdapterArgs {
    /// Put the adapter in this directory on the model (LoRA, in PEFT's files)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

impl AdapterArgs {
    /// Puts it on a model, if there is one.
    ///
    /// # Errors
    /// A file of it is missing or wrong, or it is for another model.
    pub fn put_on<M: Net>(&self, model: &mut Loaded<M>) -> Result<(), Failure> {
        if let Some(dir) = &self.adapter {
            model.adapt(dir)?;
        }
        Ok(())
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
fn open(path: &Path) -> Result<ModelDir, Failure> {
    let dir = ModelDir::open(path)?;
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
pub fn load(path: &Path, options: &Options) -> Result<Pretrained, Failure> {
    if open(path)?.head() != Head::Translation {
        let verbs = "`atento generate` continues texts with it, `atento score` measures them";
        return Err(anyhow!("{}: this is a language model, not a translator; {verbs}", path.display()).into());
    }
    let pretrained = Pretrained::load(path)?;
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
pub fn load_any(path: &Path, options: &Options) -> Result<Model, Failure> {
    if open(path)?.head() == Head::Translation {
        return Ok(Model::Translator(Box::new(load(path, options)?)));
    }
    Ok(Model::Language(Box::new(load_language(path, None, options)?)))
}

/// Loads a language model with its matrices held as one of f32, bf16 and int8; where that is not said, as they are stored.
/// Which of its search settings are followed is for the verb to tell: only one searches.
///
/// # Errors
/// A file of it is missing or wrong, or it is another kind of model.
pub fn load_language(path: &Path, weights: Option<&str>, options: &Options) -> Result<LanguageModel, Failure> {
    let dir = open(path)?;
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
