//! What the verbs that use a model have in common.

use std::path::Path;

use atento::hub::ModelDir;
use atento::language_model::LanguageModel;
use atento::pretrained::Pretrained;

use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Loads a model directory and tells which of its search settings are not followed.
///
/// # Errors
/// A file of it is missing or wrong.
pub fn load(path: &Path, options: &Options) -> Result<Pretrained, Failure> {
    let pretrained = Pretrained::load(path)?;
    for key in &pretrained.generation.not_honoured {
        options.note(format_args!("{}: the search setting `{key}` has no effect here", path.display()));
    }
    Ok(pretrained)
}

/// A model of either kind.
pub enum Model {
    /// Turns sentences into sentences.
    Translator(Pretrained),
    /// Continues texts.
    Language(LanguageModel),
}

/// Loads a model directory, whatever kind of model it holds.
///
/// # Errors
/// As [`load`].
pub fn load_any(path: &Path, options: &Options) -> Result<Model, Failure> {
    if ModelDir::open(path)?.kind().is_translator() {
        return load(path, options).map(Model::Translator);
    }
    Ok(Model::Language(LanguageModel::load(path)?))
}

/// The decoder's first token, by the model's own settings.
pub fn start_id(pretrained: &Pretrained) -> u32 {
    pretrained.translate_options().start_id
}
