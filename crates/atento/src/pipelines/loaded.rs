//! A model with its tokenizer and settings: what a directory on disk holds and what the verbs work with.

mod fill;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento_tensor::Params;

use crate::data::tokens::instruct::Templates;
use crate::families::heads::{Headed as HeadedConfig, Objective};
use crate::families::{Config, Head, Start};
use crate::hub::generation::GenerationConfig;
use crate::hub::int8;
use crate::hub::load;
use crate::hub::safetensors::FloatType;
use crate::hub::save::{DirFiles, save_dir, tensors};
use crate::hub::special_tokens::declare;
use crate::hub::tokenizer_config::TokenizerConfig;
use crate::hub::{self, ChatTemplate, Checked, Kept, ModelDir, templates};
use crate::memory;
use crate::models::config::ConfigError;
use crate::models::{CausalLm, Headed, Precision, Translator};
use crate::peft::{self, Adapter};
use crate::text::{self, Tokenizer};

pub(crate) use fill::load_frozen;
use fill::{FrozenTensors, Rounding};

/// What tokenizer_config.json says of a model without a longest sentence.
const NO_LONGEST: usize = i64::MAX as usize;

/// A model of one kind, ready to use.
pub struct Loaded<M> {
    /// The model and its parameters.
    pub model: M,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants its outputs searched for.
    pub generation: GenerationConfig,
    /// How its prompts and completions are written, where it was taught to answer.
    pub templates: Option<Templates>,
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
    /// The adapter that is put on it.
    #[error(transparent)]
    Adapter(#[from] peft::Error),
    /// It is to be written as it is, with an adapter beside it.
    #[error("{0}: the model has an adapter put on it, which its files cannot hold: merge it first")]
    Unmerged(PathBuf),
}

/// A kind of model that a directory can hold.
pub trait Net: Sized {
    /// What it does: one of these.
    const HEADS: &'static [Head];

    /// The model, if this is what the configuration is of.
    fn build(config: &Arc<dyn Config>, start: Start) -> Option<Self>;

    /// All that determines it but its weights.
    fn config(&self) -> Arc<dyn Config>;

    /// All parameters.
    fn params(&self) -> &Params;

    /// All parameters, to be loaded.
    fn params_mut(&mut self) -> &mut Params;

    /// The position tables that are not the computed ones, of encoder and decoder.
    fn own_positions(&self) -> Option<[&[f32]; 2]> {
        None
    }

    /// How many types of tokens the model tells apart, if it does.
    fn token_types(&self) -> Option<usize> {
        None
    }

    /// Replaces the position tables.
    fn set_positions(&mut self, _source: Vec<f32>, _target: Vec<f32>) {}
}

impl Net for Box<dyn Translator> {
    const HEADS: &'static [Head] = &[Head::Translation];

    fn build(config: &Arc<dyn Config>, start: Start) -> Option<Self> {
        config.translator(start)
    }

    fn config(&self) -> Arc<dyn Config> {
        (**self).config()
    }

    fn params(&self) -> &Params {
        (**self).params()
    }

    fn params_mut(&mut self) -> &mut Params {
        (**self).params_mut()
    }

    fn own_positions(&self) -> Option<[&[f32]; 2]> {
        (**self).own_positions()
    }

    fn set_positions(&mut self, source: Vec<f32>, target: Vec<f32>) {
        (**self).set_positions(source, target);
    }
}

impl Net for Box<dyn CausalLm> {
    const HEADS: &'static [Head] = &[Head::Language];

    fn build(config: &Arc<dyn Config>, start: Start) -> Option<Self> {
        config.causal(start)
    }

    fn config(&self) -> Arc<dyn Config> {
        (**self).config()
    }

    fn params(&self) -> &Params {
        (**self).params()
    }

    fn params_mut(&mut self) -> &mut Params {
        (**self).params_mut()
    }
}

impl Net for Headed {
    const HEADS: &'static [Head] =
        &[Head::Labels, Head::Tags, Head::Span, Head::Choice, Head::Words, Head::Pretraining, Head::States];

    fn build(config: &Arc<dyn Config>, start: Start) -> Option<Self> {
        Some(Self::build(config.headed()?.clone(), start))
    }

    fn config(&self) -> Arc<dyn Config> {
        Arc::new(self.config.clone())
    }

    fn params(&self) -> &Params {
        self.trunk.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.trunk.params_mut()
    }

    fn token_types(&self) -> Option<usize> {
        self.trunk.token_types()
    }
}

impl<M: Net> Loaded<M> {
    /// A model that was made here.
    #[must_use]
    pub fn new(model: impl Into<M>, tokenizer: Tokenizer, generation: GenerationConfig) -> Self {
        let (model, kept) = (model.into(), Kept::default());
        Self { model, tokenizer, generation, templates: None, kept, notes: Vec::new() }
    }

    /// Loads a Hugging Face model directory or a run directory whose weights are exact.
    ///
    /// # Errors
    /// Matrices in int8, which [`Loaded::from_dir`] loads; a model of another kind;
    /// files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_exact(&ModelDir::open(path.as_ref())?)
    }

    /// Loads what an opened directory holds, as [`Loaded::load`] does.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn from_exact(dir: &ModelDir) -> Result<Self, Error> {
        dir.require_exact()?;
        Self::read(dir, Values::Held(Precision::F32))
    }

    /// All of it but the weights, whose names and shapes are checked: the model is an outline ([`Params::outline`]).
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn outline(dir: &ModelDir) -> Result<Self, Error> {
        dir.require_exact()?;
        Self::read(dir, Values::Left)
    }

    /// Loads what an opened directory holds, its matrices rounded to `precision` as they are read. Matrices in int8 are held
    /// as they are in [`Precision::Int8`], and otherwise are the numbers that they stand for.
    ///
    /// # Errors
    /// Files that are missing, broken, or do not belong together; each message names the file and the fault.
    pub fn from_dir(dir: &ModelDir, precision: Precision) -> Result<Self, Error> {
        Self::read(dir, Values::Held(precision))
    }

    /// With weights that are read where they lie in their files, as they are stored: several models of one directory, each with
    /// an adapter of its own, have them once in memory. None of them can be trained.
    ///
    /// # Errors
    /// As [`Loaded::from_dir`].
    pub fn mapped(dir: &ModelDir) -> Result<Self, Error> {
        Self::read(dir, Values::Mapped)
    }

    fn read(dir: &ModelDir, values: Values) -> Result<Self, Error> {
        dir.require(M::HEADS)?;
        let (checked, new) = dir.checked_for_adapter()?;
        Self::of(dir, checked, values, Start::Unloaded, &new)?.adapted(dir, &new)
    }

    /// With the adapter that the directory was opened with, which brings what is `new`.
    fn adapted(mut self, dir: &ModelDir, new: &[String]) -> Result<Self, Error> {
        let Some(adapter) = dir.adapter().filter(|_| !dir.is_bare()) else { return Ok(self) };
        let adapter = Adapter::open(adapter)?;
        if !dir.takes_any_base() {
            adapter.check_base(dir.path())?;
        }
        let config = self.model.config();
        adapter.put_on_lacking(&*config, self.model.params_mut(), new)?;
        Ok(self)
    }

    /// The model whose weights were checked; those of `new` are as they start.
    fn of(dir: &ModelDir, checked: Checked, values: Values, start: Start, new: &[String]) -> Result<Self, Error> {
        let Checked { config, weights, mut notes } = checked;
        let (tokenizer, declared) = declare(Tokenizer::load(dir.tokenizer_path()?)?, dir.path())?;
        let generation = dir.generation_config()?.or_ended_by(declared.eos_ids);
        notes.extend(generation.notes.iter().cloned());
        notes.extend(declared.notes);
        notes.extend(dir.note_on_vocabulary(&tokenizer)?);
        // What is written anew is what differs from the file's model, which may have another head.
        let kept = dir.kept(dir.model_config()?.to_json()?)?;
        // An adapter may have been trained with prompts written in another way.
        let of_adapter = dir.adapter().map_or(Ok(None), templates::read)?;
        let templates = of_adapter.map_or_else(|| templates::read(dir.path()), |found| Ok(Some(found)))?;
        let tokenizer = tokenizer.for_table(config.sizes().vocab_size);
        let build = |start| M::build(&config, start).expect("a directory that has been asked for its head");
        let mut model = build(Start::Outline);
        match values {
            Values::Left => {}
            Values::Held(precision) => {
                if precision == Precision::F32 {
                    memory::require(4 * model.params().count() as u128, "the model")?;
                }
                model = build(start);
                model.params_mut().freeze(|entry| precision.rounds(entry));
                let mut target = Rounding { params: model.params_mut(), precision, exact: Vec::new(), new };
                load::load(&weights, dir.names(&*config)?, &mut target)?;
            }
            Values::Mapped => {
                model = build(start);
                let params = model.params_mut();
                params.freeze_without_values(|entry| !new.contains(&entry.name));
                load::load(&weights, dir.names(&*config)?, &mut FrozenTensors { params })?;
            }
        }
        if let Some([source, target]) = config.positions(&weights)? {
            model.set_positions(source, target);
        }
        Ok(Self { model, tokenizer, generation, templates, kept, notes })
    }

    /// How conversations are written for the model, where its files say so. Special tokens that they do not name are those that
    /// are written of the tokenizer.
    ///
    /// # Errors
    /// A file with the template is none.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, Error> {
        let found = ChatTemplate::of_kept(&self.kept)?;
        let of_tokenizer = self.tokenizer.config_json(0);
        let special = of_tokenizer.as_object().filter(|_| self.kept.tokenizer_config().is_none());
        Ok(found.map(|found| special.into_iter().fold(found, ChatTemplate::with_special)))
    }

    /// Puts an adapter on the model, whose own weights stay as they are; returns how many modules it adapts.
    ///
    /// # Errors
    /// The adapter's files are missing or damaged, or it is for another model.
    pub fn adapt(&mut self, dir: impl AsRef<Path>) -> Result<usize, peft::Error> {
        let config = self.model.config();
        Adapter::open(dir.as_ref())?.put_on(&*config, self.model.params_mut())
    }

    /// Makes what adapters add part of the weights: the model computes the same without them, as fast as its base. Returns how
    /// many modules had something added. A model whose output is its table of tokens has a table for each afterwards, if one of
    /// them was changed and the other not, or otherwise.
    ///
    /// # Errors
    /// A weight is held in int8, or is beyond f32 with what is added.
    pub fn merge(&mut self) -> Result<usize, peft::Error> {
        let config = self.model.config();
        if !peft::unties(&*config, self.model.params())? {
            return peft::merge(&*config, self.model.params_mut());
        }
        let untied = config.untied().expect("a model whose output is a table");
        let mut model = M::build(&untied, Start::Unloaded).expect("the same kind of model");
        let count = peft::merge_untied(&*config, self.model.params(), model.params_mut())?;
        if let Some([source, target]) = self.model.own_positions().map(|tables| tables.map(<[f32]>::to_vec)) {
            model.set_positions(source, target);
        }
        self.model = model;
        Ok(count)
    }

    /// Writes a complete model directory; each file is replaced atomically. Matrices that are held in int8 are written so,
    /// and are loaded so by [`Loaded::from_dir`].
    ///
    /// # Errors
    /// The directory cannot be written; what was there before is then still whole.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        self.save_as(dir, FloatType::F32)
    }

    /// [`Loaded::save`] with real numbers rounded to a type.
    ///
    /// # Errors
    /// As [`Loaded::save`], or a weight is too large for the type.
    pub fn save_as(&self, dir: impl AsRef<Path>, floats: FloatType) -> Result<(), Error> {
        let dir = dir.as_ref();
        if self.model.params().is_adapted() {
            return Err(Error::Unmerged(dir.to_owned()));
        }
        let config = self.model.config();
        let sizes = config.sizes();
        let longest = sizes.max_positions.unwrap_or(NO_LONGEST);
        let mut tokens = tokenizer_config(&self.tokenizer, longest, (sizes.pad_id, sizes.eos_id));
        tokens.has_token_types = self.model.token_types().is_some_and(|types| types > 1);
        let tokenizer_json = self.tokenizer.to_json_bytes()?;
        if let Some(found) = &self.templates {
            templates::write(dir, found)?;
        }
        let files = DirFiles {
            generation: config.head().generates().then_some(&self.generation),
            floats,
            tokenizer_json: &tokenizer_json,
            tokenizer_config: &tokens,
            kept: &self.kept,
        };
        let mut written = config.to_json()?;
        let (tensors, is_int8) = tensors(&*config, self.model.params(), self.model.own_positions());
        if is_int8 {
            written.insert(int8::KEY.to_owned(), int8::config());
        }
        save_dir(dir, written, &files, tensors)?;
        Ok(self.tokenizer.save_target(dir)?)
    }
}

impl Loaded<Headed> {
    /// The Transformer of any model, without its head: for its states.
    ///
    /// # Errors
    /// As [`Loaded::from_dir`]; a model that states cannot be asked of.
    pub fn states(dir: &ModelDir, precision: Precision) -> Result<Self, Error> {
        let bare =
            |trunk: &Arc<dyn Config>| HeadedConfig::new(trunk, Head::States, Vec::new(), Objective::Classification);
        let bare = |trunk: &Arc<dyn Config>| bare(trunk).map(|config| HeadedConfig { parts: Vec::new(), ..config });
        let (mut checked, new) = dir.checked_with(bare)?;
        // The tensors of the head that is left out are not missed.
        checked.notes.clear();
        Self::of(dir, checked, Values::Held(precision), Start::Unloaded, &new)?.adapted(dir, &new)
    }

    /// The Transformer of any model with another head. What the checkpoint lacks of the head begins at random, decided by
    /// `seed`, and is named beside the model. Without a `seed`, the weights are not read ([`Params::outline`]).
    ///
    /// # Errors
    /// As [`Loaded::load`]; models of the family have no such head.
    pub fn with_head(
        dir: &ModelDir,
        seed: Option<u64>,
        head: impl FnOnce(&Arc<dyn Config>) -> Result<HeadedConfig, ConfigError>,
    ) -> Result<(Self, Vec<String>), Error> {
        dir.require_exact()?;
        let (checked, new) = dir.checked_with(head)?;
        let start = seed.map_or(Start::Outline, Start::NewHead);
        let values = if seed.is_some() { Values::Held(Precision::F32) } else { Values::Left };
        Ok((Self::of(dir, checked, values, start, &new)?, new))
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
        cls_token: special.cls.and_then(token),
        sep_token: special.sep.and_then(token),
        mask_token: special.mask.and_then(token),
        has_token_types: false,
    }
}

/// What a model has of its weights.
#[derive(Clone, Copy)]
enum Values {
    /// Nothing: it is an outline.
    Left,
    /// Its matrices in this precision.
    Held(Precision),
    /// The files, mapped.
    Mapped,
}

/// The table of a model's parameters without values, whatever it does.
#[must_use]
pub fn outline(config: &Arc<dyn Config>) -> Params {
    fn of<M: Net>(config: &Arc<dyn Config>) -> Option<Params> {
        M::build(config, Start::Outline).map(|model| model.params().clone())
    }
    let bare = || config.trunk(Start::Outline).map(|trunk| trunk.params().clone());
    let found = of::<Headed>(config).or_else(bare).or_else(|| of::<Box<dyn Translator>>(config));
    found.or_else(|| of::<Box<dyn CausalLm>>(config)).expect("a configuration that a model is built from")
}
