//! A model with its tokenizer and search settings: what a directory on disk holds and what the verbs work with.

use std::borrow::Cow;
use std::path::Path;

use atento_tensor::ops::WeightLayout;
use atento_tensor::{ParamEntry, Params};
use serde_json::{Map, Value};

use crate::generate::{EarlyStopping, LengthPenalty, SearchOptions};
use crate::hub::generation::{self, GenerationConfig};
use crate::hub::load::{self, NamedTensors, Source};
use crate::hub::names::NameMap;
use crate::hub::safetensors::FloatType;
use crate::hub::save::{DirFiles, save_recurrent, save_transformer, transformer_json};
use crate::hub::special_tokens::declare;
use crate::hub::tokenizer_config::TokenizerConfig;
use crate::hub::{self, Checked, Kept, ModelDir, ModelKind, recurrent};
use crate::memory;
use crate::models::parameters::NamedShape;
use crate::models::{Recurrent, Transformer, Translator, TranslatorConfig};
use crate::text::{self, Tokenizer};
use crate::translate::TranslateOptions;

/// Source tokens searched together by default.
const BATCH_TOKENS: usize = 1024;

/// What tokenizer_config.json says of a model without a longest sentence.
const NO_LONGEST: usize = i64::MAX as usize;

/// A translator, ready to use.
pub struct Pretrained {
    /// The model and its parameters.
    pub model: Translator,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants its outputs searched for.
    pub generation: GenerationConfig,
    /// What its directory says beyond that; it is saved with it.
    pub kept: Kept,
    /// What of its directory is not used, one sentence each.
    pub notes: Vec<String>,
}

/// What can go wrong with a model directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or one of its files.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The model is too large.
    #[error(transparent)]
    Memory(#[from] memory::TooLarge),
}

impl NamedTensors for Params {
    fn expected(&self) -> Vec<NamedShape> {
        self.entries().iter().map(|entry| (entry.name.clone(), entry.dims.clone())).collect()
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let weight = self.entry(name).unwrap_or_else(|| panic!("no parameter {name}")).weight;
        source.read(self.get_mut(weight))
    }
}

/// The frozen parameters of a model, to be filled from the model that it was trained from.
pub(crate) struct FrozenTensors<'p> {
    pub(crate) params: &'p mut Params,
    /// How a matrix lies that may be held in fewer bits; `None` for every other parameter.
    pub(crate) layout: fn(&ParamEntry) -> Option<WeightLayout>,
}

impl NamedTensors for FrozenTensors<'_> {
    fn expected(&self) -> Vec<NamedShape> {
        let frozen = self.params.entries().iter().filter(|entry| entry.is_frozen());
        frozen.map(|entry| (entry.name.clone(), entry.dims.clone())).collect()
    }

    fn fill(&mut self, name: &str, source: &Source<'_>) -> Result<(), hub::Error> {
        let entry = self.params.entry(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let weight = entry.weight;
        let values = source.read_frozen(weight.len(), (self.layout)(entry))?;
        self.params.set_frozen(weight, values);
        Ok(())
    }
}

/// Gives the frozen parameters of a translator the values that they have in a directory, mapped where that can be.
///
/// # Errors
/// As [`Pretrained::load`]; the directory holds another model.
pub(crate) fn load_frozen(model: &mut Translator, path: &Path) -> Result<(), Error> {
    let dir = ModelDir::open(path)?;
    let weights = dir.weights()?;
    match model {
        Translator::Transformer(model) => {
            let layout = |entry: &ParamEntry| (entry.dims.len() == 2).then_some(WeightLayout::OutIn);
            let names = NameMap::Seq2Seq(&model.config);
            load::load(&weights, names, &mut FrozenTensors { params: &mut model.params, layout })?;
        }
        Translator::Recurrent(model) => {
            load::load(&weights, NameMap::Same, &mut FrozenTensors { params: &mut model.params, layout: |_| None })?;
        }
    }
    Ok(())
}

impl Pretrained {
    /// A model that was made here.
    #[must_use]
    pub fn new(model: Translator, tokenizer: Tokenizer, generation: GenerationConfig) -> Self {
        Self { model, tokenizer, generation, kept: Kept::default(), notes: Vec::new() }
    }

    /// Loads a Hugging Face model directory or a run directory.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::read(path, true)
    }

    /// All of it but the weights, whose names and shapes are checked: the model is an outline ([`Params::outline`]).
    ///
    /// # Errors
    /// As [`Pretrained::load`].
    pub fn outline(path: &Path) -> Result<Self, Error> {
        Self::read(path, false)
    }

    fn read(path: &Path, with_weights: bool) -> Result<Self, Error> {
        let dir = ModelDir::open(path)?;
        dir.require_translator()?;
        let (tokenizer, declared) = declare(Tokenizer::load(dir.tokenizer_path()?)?, dir.path())?;
        let generation = dir.generation_config()?.or_ended_by(declared.eos_ids);
        let (model, mut notes) = load_model(&dir, with_weights)?;
        notes.extend(generation.notes.iter().cloned());
        notes.extend(declared.notes);
        notes.extend(dir.note_on_vocabulary(&tokenizer)?);
        let kept = dir.kept(described(&model.config())?)?;
        let tokenizer = tokenizer.for_table(model.vocab_size());
        Ok(Self { model, tokenizer, generation, kept, notes })
    }

    /// Writes a complete model directory; each file is replaced atomically.
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        self.save_as(dir, FloatType::F32)
    }

    /// [`Pretrained::save`] with the weights rounded to a type.
    ///
    /// # Errors
    /// As [`Pretrained::save`], or a weight is too large for the type.
    pub fn save_as(&self, dir: &Path, floats: FloatType) -> Result<(), Error> {
        let tokenizer_json = self.tokenizer.to_json_bytes()?;
        let params = self.model.params();
        let values =
            |name: &str| params.entry(name).map_or(Cow::Borrowed(&[][..]), |entry| params.to_f32(entry.weight));
        let files = |tokenizer_config| DirFiles {
            generation: Some(&self.generation),
            floats,
            tokenizer_json: &tokenizer_json,
            tokenizer_config,
            kept: &self.kept,
        };
        match &self.model {
            Translator::Transformer(model) => {
                let config = &model.config;
                let ids = (Some(config.pad_id), Some(config.eos_id));
                let tokens = tokenizer_config(&self.tokenizer, config.max_positions, ids);
                save_transformer(dir, config, &files(&tokens), model.own_positions(), values)?;
            }
            Translator::Recurrent(model) => {
                let config = &model.config;
                let ids = (Some(config.pad_id), Some(config.eos_id));
                let tokens = tokenizer_config(&self.tokenizer, NO_LONGEST, ids);
                save_recurrent(dir, config, &files(&tokens), values)?;
            }
        }
        Ok(())
    }

    /// The model's own settings for translating.
    #[must_use]
    pub fn translate_options(&self) -> TranslateOptions {
        let start_id = self.generation.decoder_start_id.unwrap_or_else(|| self.model.start_id());
        TranslateOptions {
            search: search_options(&self.generation),
            start_id,
            // The start token counts in `max_length`.
            max_new_tokens: self
                .generation
                .max_new_tokens
                .or(self.generation.max_length.map(|n| n.saturating_sub(1)))
                .unwrap_or(256)
                .max(1),
            max_length_ratio: None,
            batch_tokens: BATCH_TOKENS,
        }
    }
}

/// What tokenizer_config.json is to say; `(pad, eos)` are the model's.
pub(crate) fn tokenizer_config(
    tokenizer: &Tokenizer,
    model_max_length: usize,
    (pad, eos): (Option<u32>, Option<u32>),
) -> TokenizerConfig {
    let token = |id: u32| tokenizer.id_to_token(id);
    let special = tokenizer.special();
    TokenizerConfig {
        model_max_length,
        pad_token: pad.and_then(token),
        eos_token: eos.and_then(token),
        bos_token: special.bos.and_then(token),
        unk_token: special.unk.and_then(token),
    }
}

/// What config.json would say of a model by itself.
pub(crate) fn described(config: &TranslatorConfig) -> Result<Map<String, Value>, hub::Error> {
    match config {
        TranslatorConfig::Transformer(config) => transformer_json(config),
        TranslatorConfig::Recurrent(config) => Ok(recurrent::write_config(config)),
    }
}

/// The model alone, its kind decided by `config.json`, and what of its files is not used.
fn load_model(dir: &ModelDir, with_weights: bool) -> Result<(Translator, Vec<String>), Error> {
    match dir.kind() {
        ModelKind::Marian | ModelKind::M2m100 => {
            let Checked { config, weights, notes } = dir.transformer_weights()?;
            let mut model = Transformer::outline(config.clone());
            if with_weights {
                memory::require(4 * model.params.count() as u128, "the model")?;
                model = Transformer::init(config.clone(), 0);
                load::load(&weights, NameMap::Seq2Seq(&config), &mut model.params)?;
            }
            if let Some([source, target]) = load::stored_positions(&weights, &config)? {
                model.set_positions(source, target);
            }
            Ok((Translator::Transformer(Box::new(model)), notes))
        }
        ModelKind::AtentoRnn | ModelKind::Gpt2 | ModelKind::Gpt2Classifier => {
            let Checked { config, weights, notes } = dir.recurrent_weights()?;
            let mut model = Recurrent::outline(config.clone());
            if with_weights {
                memory::require(4 * model.params.count() as u128, "the model")?;
                model = Recurrent::init(config, 0);
                load::load(&weights, NameMap::Same, &mut model.params)?;
            }
            Ok((Translator::Recurrent(Box::new(model)), notes))
        }
    }
}

/// A search as `generation_config.json` asks for it.
#[must_use]
pub fn search_options(generation: &GenerationConfig) -> SearchOptions {
    SearchOptions {
        beam: generation.num_beams,
        n_best: 1,
        length_penalty: LengthPenalty::HuggingFace(f64::from(generation.length_penalty)),
        early_stopping: match generation.early_stopping {
            generation::EarlyStopping::Heuristic => EarlyStopping::False,
            generation::EarlyStopping::AtEnoughCandidates => EarlyStopping::True,
            generation::EarlyStopping::Exhaustive => EarlyStopping::Never,
        },
        // The start token counts in `min_length`.
        min_new_tokens: generation.min_new_tokens.unwrap_or(generation.min_length.saturating_sub(1)),
        min_length: 0,
        repetition_penalty: generation.repetition_penalty,
        no_repeat_ngram: generation.no_repeat_ngram_size,
        eos_ids: generation.eos_ids.clone(),
        bad_words: generation.bad_words_ids.clone(),
        suppress_tokens: generation.suppressed_ids.clone(),
        forced_bos: generation.forced_bos_id,
        forced_eos: generation.forced_eos_id,
    }
}
