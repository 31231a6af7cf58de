//! A language model with its tokenizer: what a GPT-2 directory on disk holds and what the verbs work with.

use std::path::Path;

use atento_kernels::compact::Compact;
use atento_tensor::{Frozen, Params, View};

use crate::data::tokens::instruct::Templates;
use crate::generate::ProcessorOptions;
use crate::hub::generation::GenerationConfig;
use crate::hub::int8::{self, Int8Matrix};
use crate::hub::load::{self, NamedTensors, Source};
use crate::hub::safetensors::{FloatType, NamedTensor};
use crate::hub::save::{DirFiles, save_dir};
use crate::hub::special_tokens::declare;
use crate::hub::{self, Checked, Kept, ModelDir, gpt2, templates};
use crate::memory as room;
use crate::models::Gpt2;
use crate::models::gpt2::precision::{self, Precision};
use crate::models::parameters::NamedShape;
use crate::pretrained::{Error, FrozenTensors, tokenizer_config};
use crate::text::Tokenizer;

/// A causal language model, ready to use.
pub struct LanguageModel {
    /// The model and its parameters.
    pub model: Gpt2,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants its outputs searched for.
    pub generation: GenerationConfig,
    /// What its directory says beyond that; it is saved with it.
    pub kept: Kept,
    /// What of its directory is not used, one sentence each.
    pub notes: Vec<String>,
    /// How its prompts and completions are written, where it was taught to answer.
    pub templates: Option<Templates>,
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

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let entry = self.params.entry(name).unwrap_or_else(|| panic!("no parameter {name}")).clone();
        if !self.precision.rounds(&entry) {
            return self.params.fill(name, source);
        }
        if self.precision == Precision::Int8
            && let Some(Int8Matrix { values, scales, layout }) = source.read_int8()?
            && Some(layout) == precision::layout(&entry)
        {
            self.params.set_frozen(entry.weight, Frozen::Int8 { values: values.into(), scales: scales.into() });
            return Ok(());
        }
        self.exact.resize(entry.weight.len(), 0.0);
        source.read(&mut self.exact)?;
        let held = self.precision.hold(&entry, &self.exact).expect("`read` refuses numbers that are not finite");
        self.params.set_frozen(entry.weight, held);
        Ok(())
    }
}

/// Gives the frozen parameters of a model the values that they have in a directory, mapped where that can be.
///
/// # Errors
/// As [`LanguageModel::load`]; the directory holds another model.
pub(crate) fn load_frozen(model: &mut Gpt2, path: &Path) -> Result<(), Error> {
    let dir = ModelDir::open(path)?;
    let (weights, config) = (dir.weights()?, model.config.clone());
    let mut frozen = FrozenTensors { params: &mut model.params, layout: precision::layout };
    Ok(load::load(&weights, dir.gpt2_names(&config)?, &mut frozen)?)
}

impl LanguageModel {
    /// A model that was made here.
    #[must_use]
    pub fn new(model: Gpt2, tokenizer: Tokenizer, generation: GenerationConfig) -> Self {
        Self { model, tokenizer, generation, kept: Kept::default(), notes: Vec::new(), templates: None }
    }

    /// Loads a Hugging Face model directory or a run directory whose weights are exact.
    ///
    /// # Errors
    /// Matrices in int8, which [`LanguageModel::from_dir`] loads;
    /// files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let dir = ModelDir::open(path)?;
        dir.require_exact()?;
        Self::from_dir(&dir, Precision::F32)
    }

    /// All of it but the weights, whose names and shapes are checked: the model is an outline ([`Params::outline`]).
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn outline(path: &Path) -> Result<Self, Error> {
        let dir = ModelDir::open(path)?;
        dir.require_exact()?;
        Self::read(&dir, None)
    }

    /// Loads what an opened directory holds, its matrices rounded to `precision` as they are read. Matrices in int8 are held
    /// as they are in [`Precision::Int8`], and otherwise are the numbers that they stand for.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn from_dir(dir: &ModelDir, precision: Precision) -> Result<Self, Error> {
        Self::read(dir, Some(precision))
    }

    /// Without a precision, the weights are not read.
    fn read(dir: &ModelDir, precision: Option<Precision>) -> Result<Self, Error> {
        let Checked { config, weights, mut notes } = dir.gpt2_weights()?;
        let (tokenizer, declared) = declare(Tokenizer::load(dir.tokenizer_path()?)?, dir.path())?;
        let generation = dir.generation_config()?.or_ended_by(declared.eos_ids);
        notes.extend(generation.notes.iter().cloned());
        notes.extend(declared.notes);
        notes.extend(dir.note_on_vocabulary(&tokenizer)?);
        let kept = dir.kept(gpt2::write_config(&config))?;
        let templates = templates::read(dir.path())?;
        let tokenizer = tokenizer.for_table(config.vocab_size);
        let outline = Gpt2::outline(config.clone());
        let Some(precision) = precision else {
            return Ok(Self { model: outline, tokenizer, generation, kept, notes, templates });
        };
        if precision == Precision::F32 {
            room::require(4 * outline.params.count() as u128, "the model")?;
        }
        let mut model = Gpt2::unloaded(config.clone());
        model.params.freeze(|entry| precision.rounds(entry));
        let mut target = Rounding { params: &mut model.params, precision, exact: Vec::new() };
        load::load(&weights, dir.gpt2_names(&config)?, &mut target)?;
        Ok(Self { model, tokenizer, generation, kept, notes, templates })
    }

    /// What its own settings do to the probabilities of tokens. Rows without a token are never generated.
    #[must_use]
    pub fn processors(&self) -> ProcessorOptions {
        let own = &self.generation;
        let suppressed = own.suppressed_ids.iter().copied();
        ProcessorOptions {
            repetition_penalty: own.repetition_penalty,
            no_repeat_ngram: own.no_repeat_ngram_size,
            bad_words: own.bad_words_ids.clone(),
            // A count of new tokens is stronger than one of the whole.
            min_new_tokens: own.min_new_tokens.unwrap_or(0),
            min_length: if own.min_new_tokens.is_some() { 0 } else { own.min_length },
            suppress_tokens: suppressed.chain(self.unused_ids()).collect(),
            eos_ids: own.eos_ids.clone(),
            ..ProcessorOptions::default()
        }
    }

    /// Rows of the table that no token of the tokenizer has, where the table was rounded up: they must not be generated.
    #[must_use]
    pub fn unused_ids(&self) -> Vec<u32> {
        (self.tokenizer.vocab_size() as u32..self.model.config.vocab_size as u32).collect()
    }

    /// Writes a complete model directory; each file is replaced atomically. Matrices that are held in int8 are written so,
    /// and are loaded so by [`LanguageModel::from_dir`].
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    ///
    /// # Panics
    /// If matrices are held in bf16; [`LanguageModel::save_as`] writes exact ones so.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.save_as(dir, FloatType::F32)
    }

    /// [`LanguageModel::save`] with real numbers rounded to a type.
    ///
    /// # Errors
    /// As [`LanguageModel::save`], or a weight is too large for the type.
    ///
    /// # Panics
    /// As [`LanguageModel::save`].
    pub fn save_as(&self, dir: &Path, floats: FloatType) -> Result<(), Error> {
        let (config, params) = (&self.model.config, &self.model.params);
        let tokens = tokenizer_config(&self.tokenizer, config.max_positions, (config.pad_id, config.eos_id));
        let tokenizer_json = self.tokenizer.to_json_bytes()?;
        if let Some(found) = &self.templates {
            templates::write(dir, found)?;
        }
        let files = DirFiles {
            generation: Some(&self.generation),
            floats,
            tokenizer_json: &tokenizer_json,
            tokenizer_config: &tokens,
            kept: &self.kept,
        };
        let mut written = gpt2::write_config(config);
        let mut tensors = Vec::new();
        for entry in params.entries() {
            let name = gpt2::hf_name(&entry.name);
            match (params.view(entry.weight), precision::layout(entry)) {
                (View::Compact(Compact::Int8 { values, scales }), Some(layout)) => {
                    written.entry(int8::KEY).or_insert_with(int8::config);
                    tensors.extend(int8::tensors(&name, &entry.dims, layout, values, scales));
                }
                _ => tensors.push(NamedTensor::new(name, entry.dims.clone(), params.to_f32(entry.weight))),
            }
        }
        Ok(save_dir(dir, written, &files, tensors)?)
    }
}
