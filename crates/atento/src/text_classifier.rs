//! A GPT-2 with labels and its tokenizer: what a `GPT2ForSequenceClassification` directory on disk holds.

use std::path::Path;

use crate::hub::names::NameMap;
use crate::hub::safetensors::{FloatType, NamedTensor};
use crate::hub::save::{DirFiles, save_dir};
use crate::hub::{Checked, Kept, ModelDir, gpt2, gpt2_classifier, load};
use crate::models::Gpt2Classifier;
use crate::pretrained::{Error, tokenizer_config};
use crate::text::Tokenizer;

/// A model that gives whole texts labels or values, with its tokenizer.
pub struct TextClassifier {
    /// The model and its parameters.
    pub model: Gpt2Classifier,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

impl TextClassifier {
    /// Loads a Hugging Face model directory.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let dir = ModelDir::open(path)?;
        let Checked { config, weights, .. } = dir.gpt2_classifier_weights()?;
        let tokenizer = Tokenizer::load(dir.tokenizer_path()?)?;
        let mut model = Gpt2Classifier::unloaded(config);
        load::load(&weights, NameMap::Gpt2(&model.config.trunk), &mut model.trunk.params)?;
        Ok(Self { model, tokenizer })
    }

    /// Writes a complete model directory; each file is replaced atomically.
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let (config, params) = (&self.model.config, &self.model.trunk.params);
        let ids = (config.trunk.pad_id, config.trunk.eos_id);
        let tokens = tokenizer_config(&self.tokenizer, config.trunk.max_positions, ids);
        let tokenizer_json = self.tokenizer.to_json_bytes()?;
        let files = DirFiles {
            generation: None,
            floats: FloatType::F32,
            tokenizer_json: &tokenizer_json,
            tokenizer_config: &tokens,
            kept: &Kept::default(),
        };
        let tensors = params
            .entries()
            .iter()
            .map(|entry| NamedTensor::new(gpt2::hf_name(&entry.name), entry.dims.clone(), params.get(entry.weight)));
        Ok(save_dir(dir, gpt2_classifier::write_config(config), &files, tensors.collect())?)
    }
}
