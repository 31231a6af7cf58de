//! A model's directory: finding its files, telling its kind, reading it.
//!
//! ```text
//! config.json   generation_config.json   tokenizer.json | vocab.txt | vocab.json + merges.txt | *.model   tokenizer_config.json
//! model.safetensors | model.safetensors.index.json + shards | pytorch_model.bin | pytorch_model.bin.index.json + shards
//! ```

use super::chat;
use super::generation::GenerationConfig;
use super::gguf::is_gguf;
use super::json::{Keys, read_object};
use super::load::{self, Names};
use super::nearest::nearest;
use super::weights::Weights;
use super::{Error, Kept, int8, remote, special_ids};
use crate::families::heads::Headed;
use crate::families::{self, Config, Family, Head};
use crate::models::config::ConfigError;
use crate::models::parameters::NamedShape;
use crate::peft::{ADAPTER_CONFIG, MERGED};
use crate::text::{Tokenizer, vocabulary_files};
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const CONFIG: &str = "config.json";
pub(super) const GENERATION: &str = "generation_config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
/// A file of llama.cpp in their place.
pub(super) const WEIGHTS_GGUF: &str = "model.gguf";
/// Where weights are looked for, in this order.
pub(super) const WEIGHTS_READ: [&str; 5] =
    [WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", WEIGHTS_GGUF];
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// A model's configuration with the weights that belong to it.
#[derive(Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Arc<dyn Config>,
    /// The weights: every parameter is there, in its shape.
    pub weights: Weights,
    /// What of the files is not used, one sentence each.
    pub notes: Vec<String>,
}

/// A directory with a model in it.
#[derive(Debug, Clone)]
pub struct ModelDir {
    root: PathBuf,
    family: &'static dyn Family,
    head: Head,
    config: Map<String, Value>,
    /// Where that was read.
    config_path: PathBuf,
    adapter: Option<PathBuf>,
    /// Whether the adapter may be of another base.
    any_base: bool,
    /// Whether the adapter is left off the model.
    is_bare: bool,
}

impl ModelDir {
    /// Opens a Hugging Face directory, or the `model/` inside a run directory, and reads its config.json. An adapter is opened
    /// with the model that it names.
    ///
    /// # Errors
    /// There is no such directory or no config.json in it, it is not valid, or its `model_type` is not supported; the model that
    /// an adapter is for is not where it says.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let root = find_root(path)?;
        if root.join(ADAPTER_CONFIG).exists() && !has_weights(&root) {
            let base = base_of(&root)?;
            return Self::of(find_root(&base)?, Some(root));
        }
        Self::of(root, None)
    }

    /// Opens a model with an adapter on it, a directory or a run directory each.
    ///
    /// # Errors
    /// As [`ModelDir::open`]; the adapter is for a model of another type; the model has an adapter already.
    pub fn open_with(path: &Path, adapter: &Path) -> Result<Self, Error> {
        let model = Self::open(path)?;
        if let Some(first) = model.adapter {
            let hint = format!(": it is an adapter itself, of {}; one adapter is put on a model", model.root.display());
            return Err(Error::NotFound { path: first.join(WEIGHTS), hint });
        }
        let adapter = Self::adapter_in(adapter)?;
        Self::of(model.root, Some(adapter))
    }

    /// The directory of an adapter, itself or in that of the run which trained it.
    ///
    /// # Errors
    /// There is none.
    pub fn adapter_in(path: &Path) -> Result<PathBuf, Error> {
        let roots = [path.to_path_buf(), path.join("model")];
        roots.into_iter().find(|root| root.join(ADAPTER_CONFIG).exists()).ok_or_else(|| {
            let is_model = || [path.to_path_buf(), path.join("model")].iter().any(|root| has_weights(root));
            let hint = match path.exists() {
                true if is_model() => format!("; {} holds a whole model, which needs no base", path.display()),
                true => describe_files(ADAPTER_CONFIG, &files_in(path)),
                false => format!(": there is no {}", path.display()),
            };
            Error::NotFound { path: path.join(ADAPTER_CONFIG), hint }
        })
    }

    /// The same, where the adapter may have been made for other weights than these.
    #[must_use]
    pub fn of_any_base(self) -> Self {
        Self { any_base: true, ..self }
    }

    /// The same, to be loaded without what the adapter adds, for that is to be trained further.
    #[must_use]
    pub fn without_adapter(self) -> Self {
        Self { is_bare: true, ..self }
    }

    /// Whether the adapter is left off the model.
    pub fn is_bare(&self) -> bool {
        self.is_bare
    }

    fn of(root: PathBuf, adapter: Option<PathBuf>) -> Result<Self, Error> {
        let own = root.join(CONFIG);
        let config = read_object(&own)?;
        let (family, head) = families::detect(&own, &config)?;
        let model =
            Self { root, family, head, config, config_path: own, adapter: None, any_base: false, is_bare: false };
        let Some(adapter) = adapter else { return Ok(model) };
        let described = adapter.join(CONFIG);
        if !described.exists() {
            return Ok(Self { adapter: Some(adapter), ..model });
        }
        // What stands on the model is the adapter's.
        let mut config = read_object(&described)?;
        let (family, head) = families::detect(&described, &config)?;
        // How the weights lie and what was merged into them, the base says.
        for key in [MERGED, int8::KEY] {
            match model.config.get(key) {
                Some(value) => drop(config.insert(key.to_owned(), value.clone())),
                None => drop(config.remove(key)),
            }
        }
        if config.get("model_type") != model.config.get("model_type") {
            let base = model.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
            let wanted = format!("{base:?}, the type of {}: the adapter is for another one", model.root.display());
            return Err(Keys::new(&described, &config).wrong("model_type", wanted));
        }
        Ok(Self { family, head, config, config_path: described, adapter: Some(adapter), ..model })
    }

    /// The directory of the adapter that is put on the model.
    pub fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// Whether the adapter may have been made for other weights.
    pub fn takes_any_base(&self) -> bool {
        self.any_base
    }

    /// The directory the files are in, those of the model.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The family of its model.
    pub fn family(&self) -> &'static dyn Family {
        self.family
    }

    /// What its model does.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Refuses a model that does nothing of this.
    ///
    /// # Errors
    /// Its `model_type`, and those that do; or its class, where others of the family do.
    pub fn require(&self, heads: &[Head]) -> Result<(), Error> {
        if heads.contains(&self.head) {
            return Ok(());
        }
        let keys = Keys::new(&self.config_path, &self.config);
        let does: Vec<&str> = heads.iter().map(|head| head.does()).collect();
        let wanted = does.join(", or ");
        if self.family.heads().iter().any(|head| heads.contains(head)) {
            let is = self.head.does();
            return Err(keys.wrong("architectures", format!("those of a model that {wanted}: this model {is}")));
        }
        let names = families::quoted(families::with_heads(heads));
        Err(keys.wrong("model_type", format!("a model that {wanted}: {names}")))
    }

    /// The same model with another value for a key of config.json, one that changes neither shapes nor what it computes.
    pub fn set(&mut self, key: &str, value: Value) {
        self.config.insert(key.to_owned(), value);
    }

    /// config.json as it stands.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The configuration of the model. What config.json leaves open is as its class has it.
    ///
    /// # Errors
    /// A key of config.json is missing or wrong.
    pub fn model_config(&self) -> Result<Arc<dyn Config>, Error> {
        families::read(&self.config_path, &self.config, None)
    }

    /// The settings of generation_config.json; of config.json, where older writers kept them, if there is none.
    ///
    /// # Errors
    /// The file is not a JSON object, or a token has an id that cannot be. What only a search needs is for
    /// [`GenerationConfig::require`] to refuse.
    pub fn generation_config(&self) -> Result<GenerationConfig, Error> {
        let (path, rows) = (self.root.join(GENERATION), self.vocab_size()?);
        if !path.exists() {
            let mut generation = GenerationConfig::from_json_for_any_use(&self.config_path, &self.config)?;
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
        let mut kept = Kept::read(&self.root, &self.config, described, self.is_translator())?;
        // An adapter may have been trained with a chat template of its own.
        let template = self.adapter.as_deref().map(|adapter| adapter.join(chat::FILE));
        if let Some(path) = template.filter(|path| path.is_file()) {
            kept.set_chat_template(chat::ChatTemplate::read_file(&path)?.text());
        }
        Ok(kept)
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

    /// Whether the weights are a file of llama.cpp, whose blocks can be read as they are.
    pub fn is_gguf(&self) -> bool {
        WEIGHTS_READ.iter().find(|name| self.root.join(name).exists()).is_some_and(|name| *name == WEIGHTS_GGUF)
    }

    /// Opens the weights and checks, before anything is allocated for them, that they are those of the configuration. What
    /// that leaves open, the weights say.
    ///
    /// # Errors
    /// As [`ModelDir::model_config`], [`ModelDir::weights`] and [`load::check`].
    pub fn checked(&self) -> Result<Checked, Error> {
        // What is wrong with the configuration is told before the weights are looked for.
        self.model_config()?;
        let weights = self.weights()?;
        let config = families::read(&self.config_path, &self.config, Some(&weights))?;
        self.checked_for(config, weights, &[])
    }

    /// [`ModelDir::checked`], and the parameters that the weights lack and the adapter has to bring.
    ///
    /// # Errors
    /// As there.
    pub fn checked_for_adapter(&self) -> Result<(Checked, Vec<String>), Error> {
        let config = self.model_config()?;
        match config.headed().filter(|_| self.adapter.is_some()) {
            Some(headed) => self.checked_with(|_| Ok(headed.clone())),
            None => Ok((self.checked()?, Vec::new())),
        }
    }

    /// [`ModelDir::checked`] for another head than the directory's: the Transformer is the directory's, and so is what of the
    /// head it has. What it lacks of the head, by name.
    ///
    /// # Errors
    /// As there; models of the family have no such head.
    pub fn checked_with(
        &self,
        head: impl FnOnce(&Arc<dyn Config>) -> Result<Headed, ConfigError>,
    ) -> Result<(Checked, Vec<String>), Error> {
        self.model_config()?;
        let weights = self.weights()?;
        let config = families::read(&self.config_path, &self.config, Some(&weights))?;
        let refused =
            |error: ConfigError| Keys::new(&self.config_path, &self.config).wrong("model_type", error.expected);
        let headed = head(&config.without_output()).map_err(refused)?;
        let is_there = |(name, shape): &NamedShape| {
            let stored = headed.sources(name).into_iter().find(|stored| weights.contains(stored));
            stored.is_some_and(|stored| weights.get(&stored).is_ok_and(|tensor| tensor.shape == shape))
        };
        let own = headed.own_parameters();
        let new: Vec<String> = own.into_iter().filter(|own| !is_there(own)).map(|(name, _)| name).collect();
        let checked = self.checked_for(Arc::new(headed), weights, &new)?;
        Ok((checked, new))
    }

    /// Checks that the weights hold every parameter but those of `new`.
    fn checked_for(&self, config: Arc<dyn Config>, weights: Weights, new: &[String]) -> Result<Checked, Error> {
        let mut expected = config.parameters();
        expected.retain(|(name, _)| !new.contains(name));
        let plan = load::check(&weights, self.names(&*config)?, &expected)?;
        let mut notes = special_ids::notes(&self.config_path, &self.config, config.sizes().vocab_size);
        notes.extend(plan.note);
        Ok(Checked { config, weights, notes })
    }

    /// The names that the files have for the parameters of a model of this configuration.
    ///
    /// # Errors
    /// As [`ModelDir::is_int8`].
    pub fn names<'c>(&self, config: &'c dyn Config) -> Result<Names<'c>, Error> {
        Ok(Names { config, is_int8: self.is_int8()? })
    }

    /// Whether config.json says that matrices are in int8.
    ///
    /// # Errors
    /// It says that they are held in few bits in another way.
    pub fn is_int8(&self) -> Result<bool, Error> {
        int8::is_declared(&self.config_path, &self.config)
    }

    /// Refuses a model whose matrices are in int8.
    ///
    /// # Errors
    /// [`Error::Int8`]; as [`ModelDir::is_int8`].
    pub fn require_exact(&self) -> Result<(), Error> {
        if self.is_int8()? { Err(Error::Int8 { path: self.root.join(CONFIG) }) } else { Ok(()) }
    }

    fn is_translator(&self) -> bool {
        self.head == Head::Translation
    }

    /// Where tokenizer.json is, or the vocabulary of a tokenizer that has none.
    ///
    /// # Errors
    /// There is neither; or the vocabulary is not of the class that the directory names.
    pub fn tokenizer_path(&self) -> Result<PathBuf, Error> {
        let path = self.root.join(TOKENIZER);
        if path.exists() {
            return Ok(path);
        }
        let of_tokenizer = self.root.join(TOKENIZER_CONFIG);
        let of_tokenizer = if of_tokenizer.exists() { read_object(&of_tokenizer)? } else { Map::new() };
        match vocabulary_files::find(&self.root, &of_tokenizer, &self.config) {
            Ok(found) => found.ok_or_else(|| self.missing(TOKENIZER, &[])),
            Err(reason) => Err(Error::NotFound { path, hint: format!("; {reason}") }),
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
        Ok(self.model_config()?.sizes().vocab_size)
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
    if is_gguf(path) {
        return Err(Error::Unconverted { path: path.to_path_buf() });
    }
    if !path.is_dir() {
        return Err(found(": a model is a directory, this is a file".into()));
    }
    let roots = [path.to_path_buf(), path.join("model")];
    match roots.into_iter().find(|root| root.join(CONFIG).exists() || root.join(ADAPTER_CONFIG).exists()) {
        Some(root) => Ok(root),
        None => match files_in(path).iter().map(|name| path.join(name)).find(|file| is_gguf(file)) {
            Some(file) => Err(Error::Unconverted { path: file }),
            None => Err(Error::NotFound { path: path.join(CONFIG), hint: describe_files(CONFIG, &files_in(path)) }),
        },
    }
}

/// Whether a directory has a model's weights.
pub(super) fn has_weights(root: &Path) -> bool {
    WEIGHTS_READ.iter().any(|name| root.join(name).exists())
}

/// The model that an adapter says it is for.
pub(super) fn base_name(adapter: &Path) -> Result<Option<String>, Error> {
    let path = adapter.join(ADAPTER_CONFIG);
    let config = read_object(&path)?;
    let base: Option<String> = Keys::new(&path, &config).optional("base_model_name_or_path")?;
    Ok(base.filter(|base| !base.is_empty()))
}

/// The model that an adapter says it is for, where it is there: a directory, or a model of the Hub that is in the cache.
fn base_of(adapter: &Path) -> Result<PathBuf, Error> {
    let base = base_name(adapter)?;
    let of_hub = |base: &String| remote::Hub::from_env().ok()?.cached(&remote::Name::parse(base)?);
    let here = |base: &String| Some(remote::found_again(Path::new(base))).filter(|base| base.is_dir());
    match base.as_ref().and_then(|base| here(base).or_else(|| of_hub(base))) {
        Some(base) => Ok(base),
        None => {
            let of = base.map_or(String::new(), |base| format!(" of {base}, which is not here"));
            let hint = format!(
                "; the directory holds an adapter{of}: name its base, and the adapter with --adapter (`adapter convert` has --base), or write the path of its base into {ADAPTER_CONFIG}"
            );
            Err(Error::NotFound { path: adapter.join(WEIGHTS), hint })
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
