//! A model's directory: finding its files, telling its kind, reading it.
//!
//! ```text
//! config.json   generation_config.json   tokenizer.json | vocab.json + merges.txt   tokenizer_config.json
//! model.safetensors | model.safetensors.index.json + shards | pytorch_model.bin | pytorch_model.bin.index.json + shards
//! ```

use super::generation::GenerationConfig;
use super::json::{Keys, read_object};
use super::names::NameMap;
use super::nearest::{hint, nearest};
use super::weights::Weights;
use super::{Error, Kept, gpt2, gpt2_classifier, int8, load, m2m100, marian, recurrent, special_ids};
use crate::models::config::TransformerConfig;
use crate::models::gpt2::ClassifierConfig;
use crate::models::gpt2::config::VOCAB_SIZE;
use crate::models::{Gpt2Config, RecurrentConfig};
use crate::text::{Tokenizer, byte_pairs};
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// `model_type` of the recurrent baseline, which is this project's own.
pub const RNN_MODEL_TYPE: &str = "atento_rnn";

pub(super) const CONFIG: &str = "config.json";
pub(super) const GENERATION: &str = "generation_config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
/// Where weights are looked for, in this order.
const WEIGHTS_READ: [&str; 4] =
    [WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// What kind of model a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A post-norm encoder–decoder, `MarianMTModel`.
    Marian,
    /// A pre-norm encoder–decoder, `M2M100ForConditionalGeneration`.
    M2m100,
    /// The recurrent baseline.
    AtentoRnn,
    /// A decoder-only language model.
    Gpt2,
    /// A decoder-only model that gives whole texts labels or values.
    Gpt2Classifier,
}

impl ModelKind {
    /// By `model_type`; what is told apart by `architectures` is listed as the commoner.
    const ALL: [(&'static str, ModelKind); 4] = [
        (marian::MODEL_TYPE, ModelKind::Marian),
        (m2m100::MODEL_TYPE, ModelKind::M2m100),
        (RNN_MODEL_TYPE, ModelKind::AtentoRnn),
        (gpt2::MODEL_TYPE, ModelKind::Gpt2),
    ];

    /// The kind that a config.json names.
    ///
    /// # Errors
    /// It names none, or one that is not known; the message lists those that are.
    pub fn of(path: &Path, config: &Map<String, Value>) -> Result<Self, Error> {
        let known = Self::ALL.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let key = "model_type";
        let Some(value) = config.get(key).filter(|value| !value.is_null()) else {
            let hint = format!("{}; expected one of {known}", hint(key, config.keys().map(String::as_str)));
            return Err(Error::MissingKey { path: path.into(), key: key.into(), hint });
        };
        let found = Self::ALL.into_iter().find(|(name, _)| value.as_str() == Some(name));
        let wrong = || Keys::new(path, config).wrong(key, format!("one of {known}"));
        match found {
            Some((_, ModelKind::Gpt2)) if gpt2_classifier::is_classifier(config) => Ok(ModelKind::Gpt2Classifier),
            found => found.map(|(_, kind)| kind).ok_or_else(wrong),
        }
    }

    /// Whether it turns sentences into sentences, by an encoder and a decoder.
    #[must_use]
    pub fn is_translator(self) -> bool {
        matches!(self, ModelKind::Marian | ModelKind::M2m100 | ModelKind::AtentoRnn)
    }
}

/// A model's configuration with the weights that belong to it.
#[derive(Debug)]
pub struct Checked<C> {
    /// The configuration.
    pub config: C,
    /// The weights: every parameter is there, in its shape.
    pub weights: Weights,
    /// What of the files is not used, one sentence each.
    pub notes: Vec<String>,
}

/// A directory with a model in it.
#[derive(Debug, Clone)]
pub struct ModelDir {
    root: PathBuf,
    kind: ModelKind,
    config: Map<String, Value>,
}

impl ModelDir {
    /// Opens a Hugging Face directory, or the `model/` inside a run directory, and reads its config.json.
    ///
    /// # Errors
    /// There is no such directory or no config.json in it, it is not valid, or its `model_type` is not supported.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let root = find_root(path)?;
        let config_path = root.join(CONFIG);
        let config = read_object(&config_path)?;
        let kind = ModelKind::of(&config_path, &config)?;
        Ok(Self { root, kind, config })
    }

    /// The directory the files are in.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What kind of model it is.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// Refuses a model that does not translate.
    ///
    /// # Errors
    /// Its `model_type`, and those that do.
    pub fn require_translator(&self) -> Result<(), Error> {
        if self.kind.is_translator() {
            return Ok(());
        }
        let names = ModelKind::ALL.into_iter().filter(|(_, kind)| kind.is_translator());
        let names: Vec<String> = names.map(|(name, _)| format!("\"{name}\"")).collect();
        let path = self.root.join(CONFIG);
        Err(Keys::new(&path, &self.config)
            .wrong("model_type", format!("a model that translates: {}", names.join(", "))))
    }

    /// config.json as it stands.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The configuration of an encoder–decoder Transformer.
    ///
    /// # Errors
    /// A key of config.json is missing or wrong, or the model is of another kind.
    pub fn transformer_config(&self) -> Result<TransformerConfig, Error> {
        let path = self.root.join(CONFIG);
        match self.kind {
            ModelKind::Marian => marian::read_config(&path, &self.config),
            ModelKind::M2m100 => m2m100::read_config(&path, &self.config),
            ModelKind::AtentoRnn | ModelKind::Gpt2 | ModelKind::Gpt2Classifier => {
                Err(Keys::new(&path, &self.config).wrong("model_type", "an encoder–decoder Transformer's"))
            }
        }
    }

    /// The settings of generation_config.json; of config.json, where older writers kept them, if there is none.
    ///
    /// # Errors
    /// The file is not a JSON object, or a token has an id that cannot be. What only a search needs is for
    /// [`GenerationConfig::require`] to refuse.
    pub fn generation_config(&self) -> Result<GenerationConfig, Error> {
        let (path, rows) = (self.root.join(GENERATION), self.vocab_size()?);
        if !path.exists() {
            let mut generation = GenerationConfig::from_json_for_any_use(&self.root.join(CONFIG), &self.config)?;
            generation.forget_absent_tokens(rows);
            return Ok(generation);
        }
        let object = read_object(&path)?;
        let mut generation = GenerationConfig::from_json_for_any_use(&path, &object)?;
        generation.forget_absent_tokens(rows);
        generation.notes = special_ids::notes(&path, &object, rows);
        Ok(generation.with_file(&object))
    }

    /// What the directory says beyond what is read here. `described` is what would be written to config.json for its
    /// model.
    ///
    /// # Errors
    /// A file cannot be read, or tokenizer_config.json is no JSON object.
    pub fn kept(&self, described: Map<String, Value>) -> Result<Kept, Error> {
        Kept::read(&self.root, &self.config, described, self.kind.is_translator())
    }

    /// Opens the weights, one file or shards: safetensors where there are such, else PyTorch's own format.
    ///
    /// # Errors
    /// There are none, or they are not usable.
    pub fn weights(&self) -> Result<Weights, Error> {
        let candidates = WEIGHTS_READ.map(|name| self.root.join(name));
        match candidates.iter().find(|path| path.exists()) {
            Some(path) => Weights::open(path),
            None => Err(self.missing(WEIGHTS, &[("tf_model.h5", "save TensorFlow's weights as safetensors first")])),
        }
    }

    /// Opens the weights and checks, before anything is allocated for them, that they are those of the
    /// configuration.
    ///
    /// # Errors
    /// As [`ModelDir::transformer_config`], [`ModelDir::weights`] and [`load::check`].
    pub fn transformer_weights(&self) -> Result<Checked<TransformerConfig>, Error> {
        let config = self.transformer_config()?;
        let weights = self.weights()?;
        let plan = load::check(&weights, NameMap::Seq2Seq(&config), &config.parameters())?;
        self.checked(config, weights, plan)
    }

    /// As [`ModelDir::transformer_weights`], for the recurrent baseline.
    ///
    /// # Errors
    /// A key of config.json is missing or wrong, the model is of another kind; as [`ModelDir::weights`] and
    /// [`load::check`].
    pub fn recurrent_weights(&self) -> Result<Checked<RecurrentConfig>, Error> {
        let path = self.root.join(CONFIG);
        if self.kind != ModelKind::AtentoRnn {
            return Err(Keys::new(&path, &self.config).wrong("model_type", format!("\"{RNN_MODEL_TYPE}\"")));
        }
        let config = recurrent::read_config(&path, &self.config)?;
        let weights = self.weights()?;
        let plan = load::check(&weights, NameMap::Same, &config.parameters())?;
        self.checked(config, weights, plan)
    }

    /// As [`ModelDir::transformer_weights`], for a decoder-only model. Where config.json does not say whether the output
    /// projection is the embedding table, the weights do; [`ModelDir::gpt2_names`] says how they are called.
    ///
    /// # Errors
    /// As [`ModelDir::recurrent_weights`].
    pub fn gpt2_weights(&self) -> Result<Checked<Gpt2Config>, Error> {
        let path = self.require_gpt2(ModelKind::Gpt2, gpt2::ARCHITECTURE)?;
        let mut config = gpt2::read_config(&path, &self.config)?;
        let weights = self.weights()?;
        if self.config.get("tie_word_embeddings").is_none_or(Value::is_null) {
            config.tie_embeddings = gpt2::tied_in_file(&weights)?;
        }
        config.bias &= gpt2::has_biases(&weights);
        let plan = load::check(&weights, self.gpt2_names(&config)?, &config.parameters())?;
        self.checked(config, weights, plan)
    }

    /// Whether config.json says that matrices are in int8.
    ///
    /// # Errors
    /// It says that they are held in few bits in another way.
    pub fn is_int8(&self) -> Result<bool, Error> {
        int8::is_declared(&self.root.join(CONFIG), &self.config)
    }

    /// Refuses a model whose matrices are in int8.
    ///
    /// # Errors
    /// [`Error::Int8`]; as [`ModelDir::is_int8`].
    pub fn require_exact(&self) -> Result<(), Error> {
        if self.is_int8()? { Err(Error::Int8 { path: self.root.join(CONFIG) }) } else { Ok(()) }
    }

    /// The names of a decoder-only model of this configuration.
    ///
    /// # Errors
    /// As [`ModelDir::is_int8`].
    pub fn gpt2_names<'c>(&self, config: &'c Gpt2Config) -> Result<NameMap<'c>, Error> {
        Ok(if self.is_int8()? { NameMap::Gpt2Int8(config) } else { NameMap::Gpt2(config) })
    }

    /// As [`ModelDir::gpt2_weights`], for a decoder-only model with labels.
    ///
    /// # Errors
    /// As [`ModelDir::recurrent_weights`].
    pub fn gpt2_classifier_weights(&self) -> Result<Checked<ClassifierConfig>, Error> {
        let path = self.require_gpt2(ModelKind::Gpt2Classifier, gpt2_classifier::ARCHITECTURE)?;
        let mut config = gpt2_classifier::read_config(&path, &self.config)?;
        let weights = self.weights()?;
        config.trunk.bias &= gpt2::has_biases(&weights);
        let plan = load::check(&weights, NameMap::Gpt2(&config.trunk), &config.parameters())?;
        self.checked(config, weights, plan)
    }

    fn checked<C>(&self, config: C, weights: Weights, plan: load::Plan) -> Result<Checked<C>, Error> {
        let mut notes = special_ids::notes(&self.root.join(CONFIG), &self.config, self.vocab_size()?);
        notes.extend(plan.note);
        Ok(Checked { config, weights, notes })
    }

    /// Where config.json is, if the model is the GPT-2 of this kind.
    fn require_gpt2(&self, kind: ModelKind, architecture: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(CONFIG);
        let keys = Keys::new(&path, &self.config);
        if self.kind.is_translator() {
            return Err(keys.wrong("model_type", format!("\"{}\"", gpt2::MODEL_TYPE)));
        }
        if self.kind != kind {
            let is = match self.kind {
                ModelKind::Gpt2Classifier => "gives whole texts labels or values and continues none",
                _ => "continues texts and gives them no labels",
            };
            return Err(keys.wrong("architectures", format!("[\"{architecture}\"]: this model {is}")));
        }
        Ok(path)
    }

    /// Where tokenizer.json is, or the vocab.json of a GPT-2 that has none.
    ///
    /// # Errors
    /// There is neither.
    pub fn tokenizer_path(&self) -> Result<PathBuf, Error> {
        let path = self.root.join(TOKENIZER);
        let others = [
            ("source.spm", "a SentencePiece model has to be converted to tokenizer.json first"),
            ("vocab.json", "the tokenizer has to be saved as one tokenizer.json first"),
        ];
        let pairs = self.root.join(byte_pairs::VOCAB);
        if path.exists() {
            Ok(path)
        } else if !self.kind.is_translator() && pairs.exists() {
            Ok(pairs)
        } else {
            Err(self.missing(TOKENIZER, &others))
        }
    }

    /// That the tokenizer has tokens without a row in the model's table, if it has: a text with such a token cannot be
    /// read.
    ///
    /// # Errors
    /// `vocab_size` is missing.
    pub fn note_on_vocabulary(&self, tokenizer: &Tokenizer) -> Result<Option<String>, Error> {
        let (tokens, rows) = (tokenizer.vocab_size(), self.vocab_size()?);
        if tokens <= rows {
            return Ok(None);
        }
        let path = self.tokenizer_path()?;
        let name = |id: usize| tokenizer.id_to_token(id as u32).map(|token| format!("`{token}` ({id})"));
        let mut named = (rows..tokens).filter_map(name);
        let (shown, more) = (named.by_ref().take(3).collect::<Vec<_>>().join(", "), named.next().map_or("", |_| ", …"));
        Ok(Some(format!(
            "{}: the model's table has {rows} rows, and these tokens have none: {shown}{more}; a text with one of them is \
             refused",
            path.display()
        )))
    }

    /// Rows of the model's table.
    fn vocab_size(&self) -> Result<usize, Error> {
        let path = self.root.join(CONFIG);
        let keys = Keys::new(&path, &self.config);
        match self.kind {
            ModelKind::Gpt2 | ModelKind::Gpt2Classifier => keys.or("vocab_size", VOCAB_SIZE),
            _ => keys.required("vocab_size"),
        }
    }

    /// The error that a file is missing, with what is there in its place.
    fn missing(&self, name: &str, others: &[(&str, &str)]) -> Error {
        let there = files_in(&self.root);
        let other = others.iter().find(|(other, _)| there.iter().any(|file| file == other));
        let hint = match other {
            Some((other, advice)) => format!("; there is {other}: {advice}"),
            None => describe_files(name, &there),
        };
        Error::NotFound { path: self.root.join(name), hint }
    }
}

/// The directory itself or the `model/` in it, whichever has the config.json.
fn find_root(path: &Path) -> Result<PathBuf, Error> {
    let found = |hint: String| Error::NotFound { path: path.to_path_buf(), hint };
    if !path.exists() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = files_in(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        let near = nearest(&name, beside.iter().map(String::as_str));
        return Err(found(near.map_or(String::new(), |near| format!("; there is `{near}` beside it"))));
    }
    if !path.is_dir() {
        return Err(found(": a model is a directory, this is a file".into()));
    }
    let roots = [path.to_path_buf(), path.join("model")];
    match roots.into_iter().find(|root| root.join(CONFIG).exists()) {
        Some(root) => Ok(root),
        None => {
            let hint = describe_files(CONFIG, &files_in(path));
            Err(Error::NotFound { path: path.join(CONFIG), hint })
        }
    }
}

/// Names in a directory, sorted; none where it cannot be read, since this serves messages only.
fn files_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn describe_files(wanted: &str, there: &[String]) -> String {
    if there.is_empty() {
        return "; the directory is empty".into();
    }
    match nearest(wanted, there.iter().map(String::as_str)) {
        Some(near) => format!("; the nearest there is `{near}`"),
        None => {
            let more = if there.len() > 8 { ", …" } else { "" };
            format!("; the directory has {}{more}", there[..there.len().min(8)].join(", "))
        }
    }
}
