//! A language model with its tokenizer: what a GPT-2 directory on disk holds and what the verbs work with.

use std::path::Path;

use atento_kernels::memory;
use atento_tensor::Params;

use crate::hub::generation::GenerationConfig;
use crate::hub::load::{self, NamedTensors};
use crate::hub::model_dir::save_gpt2;
use crate::hub::names::NameMap;
use crate::hub::{self, ModelDir};
use crate::models::Gpt2;
use crate::models::gpt2::Precision;
use crate::models::parameters::NamedShape;
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

/// Parameters whose matrices are rounded as they are filled: never all of them are in memory unrounded.
struct Rounding<'p> {
    params: &'p mut Params,
    precision: Precision,
    exact: Vec<f32>,
}

impl NamedTensors for Rounding<'_> {
    fn expected(&self) -> Vec<NamedShape> {
        self.params.expected()
    }

    fn fill(
        &mut self,
        name: &str,
        read: &mut dyn FnMut(&mut [f32]) -> Result<(), hub::Error>,
    ) -> Result<(), hub::Error> {
        let entry = self.params.entry(name).unwrap_or_else(|| panic!("no parameter {name}")).clone();
        if !self.precision.rounds(&entry) {
            return self.params.fill(name, read);
        }
        self.exact.resize(entry.weight.len(), 0.0);
        read(&mut self.exact)?;
        self.params.hold(entry.weight, self.precision.hold(&entry, &self.exact));
        Ok(())
    }
}

impl LanguageModel {
    /// Loads a Hugging Face model directory or a run directory.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_dir(&ModelDir::open(path)?, Precision::F32)
    }

    /// Loads what an opened directory holds, its matrices rounded to `precision` as they are read.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn from_dir(dir: &ModelDir, precision: Precision) -> Result<Self, Error> {
        let (config, weights) = dir.gpt2_weights()?;
        let tokenizer = Tokenizer::load(dir.tokenizer_path()?)?;
        dir.check_vocabulary(tokenizer.vocab_size())?;
        let generation = dir.generation_config()?;
        let mut model = Gpt2::unloaded(config.clone());
        if precision != Precision::F32 {
            memory::leave_gaps(model.params.values_mut());
        }
        let mut target = Rounding { params: &mut model.params, precision, exact: Vec::new() };
        load::load(&weights, NameMap::Gpt2(&config), &mut target)?;
        Ok(Self { model, tokenizer, generation })
    }

    /// Rows of the table that no token of the tokenizer has, where the table was rounded up: they must not be generated.
    #[must_use]
    pub fn unused_ids(&self) -> Vec<u32> {
        (self.tokenizer.vocab_size() as u32..self.model.config.vocab_size as u32).collect()
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
