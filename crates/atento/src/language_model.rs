//! A language model with its tokenizer: what a GPT-2 directory on disk holds and what the verbs work with.

use std::path::Path;

use crate::hub::ModelDir;
use crate::hub::generation::GenerationConfig;
use crate::hub::load;
use crate::hub::model_dir::save_gpt2;
use crate::hub::names::NameMap;
use crate::models::Gpt2;
use crate::pretrained::{Error, tokenizer_config};
use crate::text::Tokenizer;

/// A causal language model, ready to use.
pub struct LanguageModel {
    /// The model and its parameters.
    pub model: Gpt2,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants its outputs searched for.
    pub generation: GenerationConfig,
}

impl LanguageModel {
    /// Loads a Hugging Face model directory or a run directory.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_dir(&ModelDir::open(path)?)
    }

    /// Loads what an opened directory holds.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn from_dir(dir: &ModelDir) -> Result<Self, Error> {
        let (config, weights) = dir.gpt2_weights()?;
        let tokenizer = Tokenizer::load(dir.tokenizer_path()?)?;
        dir.check_vocabulary(tokenizer.vocab_size())?;
        let generation = dir.generation_config()?;
        let mut model = Gpt2::unloaded(config.clone());
        load::load(&weights, NameMap::Gpt2(&config), &mut model.params)?;
        Ok(Self { model, tokenizer, generation })
    }

    /// Writes a complete model directory; each file is replaced atomically.
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let (config, params) = (&self.model.config, &self.model.params);
        let tokens = tokenizer_config(&self.tokenizer, config.max_positions, (config.pad_id, config.eos_id));
        let values = |name: &str| params.entry(name).map_or(&[][..], |entry| params.get(entry.weight));
        save_gpt2(dir, config, &self.generation, &self.tokenizer.to_json_bytes()?, &tokens, values)?;
        Ok(())
    }
}
