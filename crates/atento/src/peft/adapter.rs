//! An adapter in a directory, and putting it on a model.

mod put;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento_kernels::linear::WeightLayout;
use atento_tensor::{ParamEntry, Params};

use super::begin::{NewAdapter, Start};
use super::config::{ADAPTER_CONFIG, LoraConfig};
use super::methods::AdapterConfig;
use super::modules::{Module, find, is_output, is_within, modules};
use super::save::BASE;
use super::tables::{TABLE_PAIR, TOKEN_ROWS, TrainedTokens, WithTokens, from_stored, pair_ends, stored_dims};
use super::virtual_tokens::ROWS;
use super::{Error, houlsby, tables};
use crate::families::{Config, Head};
use crate::hub::{self, Weights};
use crate::messages;

/// The weights in an adapter's directory.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// What stands before the names of the base's modules.
pub(super) const PREFIX: &str = "base_model.model.";
/// The same, of an adapter that adapts no module.
pub(super) const AROUND: &str = "base_model.";

/// An adapter in a directory.
#[derive(Debug)]
pub struct Adapter {
    /// What it says of itself.
    pub config: AdapterConfig,
    /// Its directory.
    pub dir: PathBuf,
    weights: Weights,
}

/// The ends of the names of tensors that belong to a module, each with what PEFT has called it besides.
const ENDS: [(&str, &str); 11] = [
    ("lora_A.weight", "lora_A.default.weight"),
    ("lora_B.weight", "lora_B.default.weight"),
    (TABLE_PAIR[0], "lora_embedding_A.default"),
    (TABLE_PAIR[1], "lora_embedding_B.default"),
    (TOKEN_ROWS, "token_adapter.trainable_tokens_delta.default"),
    ("lora_magnitude_vector", "lora_magnitude_vector.weight"),
    ("ia3_l", "ia3_l.default"),
    (houlsby::ENDS[0], houlsby::ENDS[0]),
    (houlsby::ENDS[1], houlsby::ENDS[1]),
    (houlsby::ENDS[2], houlsby::ENDS[2]),
    (houlsby::ENDS[3], houlsby::ENDS[3]),
];

/// What stands in the name of a parameter of the base whose module is adapted.
const BASE_LAYER: &str = ".base_layer.";

/// Values and their shape.
type Stored2d = (Vec<f32>, Vec<usize>);

/// The path of a module, whether it is a table, and its pair.
type StoredPair = (String, bool, [Stored2d; 2]);

/// The tensors of an adapter.
struct Stored<'w> {
    /// By the path of the module, and by the end of the name.
    modules: BTreeMap<&'w str, BTreeMap<&'static str, &'w str>>,
    /// What stands before every text.
    rows: Option<&'w str>,
    /// Parameters that were trained whole: what the base calls them, and what they are called here.
    whole: Vec<(String, &'w str)>,
    /// Tables of the base as they are, which PEFT writes beside their pairs; named likewise.
    copies: Vec<(String, &'w str)>,
}

impl Adapter {
    /// Opens a directory.
    ///
    /// # Errors
    /// A file is missing or damaged; a method or a setting that is not here.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let config = AdapterConfig::read(dir)?;
        let weights = Weights::open(&dir.join(ADAPTER_WEIGHTS))?;
        Ok(Self { config, dir: dir.to_owned(), weights })
    }

    /// Whether a directory holds an adapter.
    #[must_use]
    pub fn is_in(dir: &Path) -> bool {
        dir.join(ADAPTER_CONFIG).is_file()
    }

    /// Puts it on a model; returns how many modules it adapts. Nothing of it is trained. After an error the model may have a
    /// part of it: load it anew.
    ///
    /// # Errors
    /// The model has had an adapter already; a table of rows or the output onto the vocabulary is adapted in a way that is not
    /// here. Tensors of modules that the model does not have, or of other sizes; modules that it says to adapt and has no
    /// tensors for.
    pub fn put_on(&self, config: &dyn Config, params: &mut Params) -> Result<usize, Error> {
        self.put_on_lacking(config, params, &[])
    }

    /// [`Adapter::put_on`] for a model of which these parameters have no values yet.
    ///
    /// # Errors
    /// As there; the adapter lacks one of them too.
    pub(crate) fn put_on_lacking(
        &self,
        config: &dyn Config,
        params: &mut Params,
        lacking: &[String],
    ) -> Result<usize, Error> {
        let count = self.put_added(config, params, lacking)?;
        let is_headless = config.head() == Head::States;
        let is_of_output = |stored: &str| stored.strip_suffix(".weight").is_some_and(is_output);
        for (stored, name) in self.stored().copies {
            if !(is_headless && is_of_output(&stored)) {
                self.put_copy(config, params, name, &stored, &modules(config, params))?;
            }
        }
        Ok(count)
    }

    /// [`Adapter::put_on_lacking`] without what it holds of the base as it is.
    pub(super) fn put_added(
        &self,
        config: &dyn Config,
        params: &mut Params,
        lacking: &[String],
    ) -> Result<usize, Error> {
        if params.entries().iter().any(|entry| entry.is_added) {
            return Err(self.unsupported("the model has had an adapter put on it already: load it anew".into()));
        }
        let all = modules(config, params);
        let Stored { modules: stored, rows, whole, .. } = self.stored();
        let tokens = self.tokens(config, params, &all)?;
        let with_tokens = tokens.iter().map(|(module, _)| module);
        for module in all.iter().filter(|module| self.config.adapts(module)).chain(with_tokens.clone()) {
            if !module.paths.iter().any(|path| stored.contains_key(path.as_str())) {
                let is_of_tokens = with_tokens.clone().any(|other| other == module);
                return Err(self.missing(module, self.ends(module, is_of_tokens).first().copied().unwrap_or_default()));
            }
        }
        // A model without a head has no use for what the adapter says of one.
        let is_headless = config.head() == Head::States;
        let count = stored.len();
        self.put_rows(config, params, rows)?;
        for (path, tensors) in stored.iter().filter(|(path, _)| !(is_headless && is_output(path))) {
            let first = tensors.values().next().copied().unwrap_or(path);
            let module = find(&all, path).ok_or_else(|| self.no_module(first, path, &all))?;
            self.check_module(module)?;
            let ids = tokens.iter().find(|(other, _)| other == module).map(|(_, ids)| ids);
            self.check_ends(module, tensors, ids.is_some())?;
            match (&self.config, ids) {
                (AdapterConfig::Lora(_), Some(ids)) => self.put_token_rows(params, module, tensors, Arc::clone(ids))?,
                (AdapterConfig::Lora(lora), None) if module.is_table => {
                    self.put_table_pair(lora, params, module, tensors)?;
                }
                (AdapterConfig::Lora(lora), None) => self.put_pair(lora, params, module, tensors)?,
                (AdapterConfig::Ia3(ia3), _) => self.put_factors(ia3, params, module, tensors)?,
                (AdapterConfig::Houlsby(houlsby), _) => self.put_bottleneck(houlsby, params, module, tensors)?,
                (AdapterConfig::BitFit(_) | AdapterConfig::Virtual(_), _) => {}
            }
        }
        let of_head = &self.config.common().modules_to_save;
        let is_of_head = |stored: &str| of_head.iter().any(|module| is_within(stored, module));
        let mut lacking: Vec<&String> = lacking.iter().collect();
        for (stored, name) in whole {
            if is_headless && is_of_head(&stored) {
                continue;
            }
            let own = self.put_whole(config, params, name, &stored, &all)?;
            lacking.retain(|name| **name != own);
        }
        match lacking.first() {
            Some(name) => {
                let (name, path) = (config.sources(name).swap_remove(0), self.file());
                Err(Error::Lacking { path, name: format!("{PREFIX}{name}") })
            }
            None => Ok(count),
        }
    }

    /// Puts it on a model to be trained further: what it adds, and what is trained whole, train from where they stand, and the
    /// rest of the model is frozen. After an error the model may have a part of it: load it anew.
    ///
    /// # Errors
    /// As [`Adapter::put_on`]; a table and its output have a pair in common.
    pub fn train_on(&self, model: &dyn Config, params: &mut Params) -> Result<NewAdapter, Error> {
        let dropout = match &self.config {
            AdapterConfig::Lora(lora) => lora.dropout,
            _ => 0.0,
        };
        let new = self.to_train(model, params, dropout)?;
        params.freeze(|entry| !new.trains(entry));
        new.begin(params, Start::default(), 0);
        self.read_values(model, params, &new)?;
        Ok(new)
    }

    /// What it is on a model that it is trained on further, with this dropout of its pairs.
    ///
    /// # Errors
    /// A setting of it does not go with the model; a table and its output have a pair in common.
    pub(crate) fn to_train(&self, model: &dyn Config, params: &Params, dropout: f64) -> Result<NewAdapter, Error> {
        let mut config = self.config.clone();
        if let AdapterConfig::Lora(lora) = &mut config {
            lora.dropout = dropout;
        }
        if matches!(&config, AdapterConfig::Lora(lora) if lora.ensures_tying) {
            let what = "`ensure_weight_tying` is true; a pair that two modules have in common is not trained here";
            return Err(self.unsupported(what.into()));
        }
        // PEFT names outputs of every kind, of which a model has one.
        let is_there = |name: &String| modules(model, params).iter().any(|module| is_within(&module.path, name));
        let to_save = &mut config.common_mut().modules_to_save;
        to_save.retain(is_there);
        // To PEFT a name is any ending of a path, so that of DistilBERT `classifier` is `pre_classifier` too; and norms are no modules
        // here.
        for (name, _) in self.stored().whole {
            let is_of_model = |entry: &ParamEntry| model.sources(&entry.name).contains(&name);
            let Some(path) = name.strip_suffix(".weight").filter(|_| params.entries().iter().any(is_of_model)) else {
                continue;
            };
            if !to_save.iter().any(|name| is_within(path, name)) {
                to_save.push(path.to_owned());
            }
        }
        NewAdapter::of(config, model, params, &[]).map_err(|unfit| self.unsupported(unfit.to_string()))
    }

    /// Reads its values into a model on which it has begun anew.
    ///
    /// # Errors
    /// Tensors are missing, of other sizes, or of modules that the model does not have.
    pub(crate) fn read_values(&self, model: &dyn Config, params: &mut Params, new: &NewAdapter) -> Result<(), Error> {
        let Stored { modules: stored, rows, whole, copies } = self.stored();
        if let AdapterConfig::Virtual(tokens) = &new.config {
            let name = rows.unwrap_or(ROWS);
            tokens.read_into(params, &self.weights.read_f32(name, &[tokens.count, tokens.width()])?);
        }
        for (path, tensors) in &stored {
            let of_tokens = new.tokens.iter().map(|(module, _)| module).find(|module| module.path == *path);
            let module = of_tokens.or_else(|| new.modules.iter().find(|module| module.path == *path));
            let first = tensors.values().next().copied().unwrap_or(path);
            let module = module.ok_or_else(|| self.no_module(first, path, &new.modules))?;
            self.check_ends(module, tensors, of_tokens.is_some())?;
        }
        let is_tokens = matches!(new.config, AdapterConfig::Virtual(_));
        let is_left = |entry: &&ParamEntry| entry.is_trained() && !(is_tokens && entry.is_added);
        let own: Vec<ParamEntry> = params.entries().iter().filter(is_left).cloned().collect();
        for entry in own {
            let found = if entry.is_added {
                let of_module = ENDS.iter().find_map(|(end, _)| Some((strip(&entry.name, end)?, *end)));
                of_module.and_then(|(path, end)| stored.get(path)?.get(end).copied())
            } else {
                let names = model.sources(&entry.name);
                whole.iter().find(|(stored, _)| names.contains(stored)).map(|(_, name)| *name)
            };
            let name = found.map_or_else(|| format!("{PREFIX}{}", entry.name), str::to_owned);
            if entry.is_added {
                let dims = stored_dims(&entry);
                let values = from_stored(&entry.name, self.weights.read_f32(&name, &dims)?, &dims);
                params.get_mut(entry.weight).copy_from_slice(&values);
            } else {
                self.weights.read_f32_into(&name, &entry.dims, params.get_mut(entry.weight))?;
            }
        }
        for (stored, name) in copies {
            self.put_copy(model, params, name, &stored, &modules(model, params))?;
        }
        Ok(())
    }

    /// Refuses another base than the one that the adapter was made for, where it says its contents.
    ///
    /// # Errors
    /// `base`, a directory of a model, holds something else.
    pub fn check_base(&self, base: &Path) -> Result<(), Error> {
        let Some(expected) = self.base_contents() else { return Ok(()) };
        match hub::contents::of_files_in(base)? {
            found if found == expected => Ok(()),
            found => {
                let (path, base, expected) = (self.file(), base.to_owned(), expected.to_owned());
                Err(Error::OtherBase { path, base, found, expected })
            }
        }
    }

    /// Its numbers, counted one by one, and the bytes of their file.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn sizes(&self) -> Result<(usize, u64), Error> {
        let shape = |name: &str| self.weights.get(name).map(|info| info.shape.iter().product::<usize>());
        let count = self.weights.names().map(shape).sum::<Result<usize, hub::Error>>()?;
        let path = self.file();
        let bytes = path.metadata().map_err(hub::Error::io(&path, "read"))?.len();
        Ok((count, bytes))
    }

    /// The paths of its modules, and what it holds whole.
    #[must_use]
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        let Stored { modules, whole, .. } = self.stored();
        let modules = modules.into_keys().map(str::to_owned).collect();
        (modules, whole.into_iter().map(|(name, _)| name).collect())
    }

    /// The sign of the contents of its weights, in a few digits.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn contents(&self) -> Result<String, Error> {
        Ok(hub::contents::checksum(vec![self.file()])?)
    }

    /// The contents of the base that it says it was made for.
    #[must_use]
    pub fn base_contents(&self) -> Option<&str> {
        let Weights::SafeTensors(tensors) = &self.weights else { return None };
        tensors.metadata().get(BASE).map(String::as_str)
    }

    /// The pairs of its modules, with whether they are tables: the thin matrix that reads the input and the other, each with its
    /// shape.
    pub(super) fn pairs(&self) -> Result<Vec<StoredPair>, Error> {
        let Stored { modules, .. } = self.stored();
        let pair = |(path, tensors): (&str, BTreeMap<&str, &str>)| {
            let half = |end: &str| {
                let name = tensors.get(end).copied().unwrap_or_default();
                let shape = self.weights.get(name)?.shape.to_vec();
                Ok::<_, Error>((self.weights.read_f32(name, &shape)?, shape))
            };
            let is_table = tensors.contains_key(TABLE_PAIR[0]);
            let [a, b] = pair_ends(is_table);
            Ok((path.to_owned(), is_table, [half(a)?, half(b)?]))
        };
        modules.into_iter().map(|(path, tensors)| pair((path, tensors.into_iter().collect()))).collect()
    }

    /// What it holds whole: names of the base, values and shapes.
    pub(super) fn whole(&self) -> Result<Vec<(String, Stored2d)>, Error> {
        self.read_all(self.stored().whole)
    }

    /// Tables of the base that it holds as they are, likewise.
    pub(super) fn copies(&self) -> Result<Vec<(String, Stored2d)>, Error> {
        self.read_all(self.stored().copies)
    }

    fn read_all(&self, names: Vec<(String, &str)>) -> Result<Vec<(String, Stored2d)>, Error> {
        let read = |(name, stored): (String, &str)| {
            let shape = self.weights.get(stored)?.shape.to_vec();
            Ok((name, (self.weights.read_f32(stored, &shape)?, shape)))
        };
        names.into_iter().map(read).collect()
    }

    /// Its tensors, by what they are for.
    fn stored(&self) -> Stored<'_> {
        let mut stored = Stored { modules: BTreeMap::new(), rows: None, whole: Vec::new(), copies: Vec::new() };
        // Virtual tokens stand around a model, what adapts its modules around these.
        let prefix = if matches!(self.config, AdapterConfig::Virtual(_)) { AROUND } else { PREFIX };
        for name in self.weights.names() {
            if name == ROWS {
                stored.rows = Some(name);
                continue;
            }
            let inner = name.strip_prefix(prefix).unwrap_or(name);
            // What a module that is trained whole was before.
            if inner.contains(".original_module.") {
                continue;
            }
            let of_module =
                ENDS.iter().find_map(|(end, other)| Some((strip(inner, end).or_else(|| strip(inner, other))?, *end)));
            match of_module {
                Some((path, end)) => {
                    stored.modules.entry(path).or_default().insert(end, name);
                }
                None => {
                    let own = [".modules_to_save.default.", ".modules_to_save.", BASE_LAYER];
                    let whole = own.iter().fold(inner.to_owned(), |name, part| name.replace(part, "."));
                    let is_copy = inner.contains(BASE_LAYER) && inner.ends_with(".weight");
                    if is_copy { &mut stored.copies } else { &mut stored.whole }.push((whole, name));
                }
            }
        }
        stored
    }

    /// The modules whose rows of tokens are trained, and which.
    fn tokens(&self, config: &dyn Config, params: &Params, all: &[Module]) -> Result<Vec<WithTokens>, Error> {
        let AdapterConfig::Lora(LoraConfig { tokens: Some(tokens), .. }) = &self.config else { return Ok(Vec::new()) };
        let mut tokens = tokens.clone();
        if let (TrainedTokens::Of(by_name), Head::States) = (&mut tokens, config.head()) {
            by_name.retain(|name, _| !is_output(name));
        }
        tokens.of_modules(&self.config, params, all).map_err(|unfit| self.unsupported(unfit.to_string()))
    }

    /// The ends of the names of what an adapted module has.
    fn ends(&self, module: &Module, has_tokens: bool) -> &'static [&'static str] {
        match &self.config {
            AdapterConfig::Lora(_) if has_tokens => &[TOKEN_ROWS],
            AdapterConfig::Lora(_) if module.is_table => &TABLE_PAIR,
            AdapterConfig::Lora(lora) if lora.dora => &["lora_A.weight", "lora_B.weight", "lora_magnitude_vector"],
            AdapterConfig::Lora(_) => &["lora_A.weight", "lora_B.weight"],
            AdapterConfig::Ia3(_) => &["ia3_l"],
            AdapterConfig::Houlsby(_) => &houlsby::ENDS,
            AdapterConfig::BitFit(_) | AdapterConfig::Virtual(_) => &[],
        }
    }

    /// Refuses tensors that adapter_config.json says nothing of: they would be left out.
    fn check_ends(&self, module: &Module, tensors: &BTreeMap<&str, &str>, has_tokens: bool) -> Result<(), Error> {
        match tensors.keys().find(|end| !self.ends(module, has_tokens).contains(end)) {
            Some(end) => {
                let name = format!("{}.{end}", module.path);
                Err(self.unsupported(format!("the weights have `{name}`, which is not of this kind of adapter")))
            }
            None => Ok(()),
        }
    }

    fn check_module(&self, module: &Module) -> Result<(), Error> {
        let Module { path, layout, is_table, .. } = module;
        tables::check(&self.config, module).map_err(|unfit| self.unsupported(unfit.to_string()))?;
        let is_in_out = *layout == WeightLayout::InOut;
        // An output lies otherwise than the rest of some models. PEFT says how the last module lies that it came to.
        let is_said = !is_table && !self.stored().modules.keys().any(|path| is_output(path));
        if let Some(says) = self.config.fan_in_fan_out().filter(|says| is_said && *says != is_in_out) {
            let lies = if is_in_out { "[inputs, outputs]" } else { "[outputs, inputs]" };
            return Err(self.unsupported(format!("`fan_in_fan_out` is {says}, but `{path}` is stored {lies}")));
        }
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.dir.join(ADAPTER_WEIGHTS)
    }

    pub(super) fn unsupported(&self, what: String) -> Error {
        Error::Unsupported { path: self.dir.join(ADAPTER_CONFIG), what }
    }

    fn missing(&self, module: &Module, end: &str) -> Error {
        let name = format!("{PREFIX}{}.{end}", module.path);
        Error::Missing { path: self.file(), name, module: module.path.clone() }
    }

    fn no_module(&self, name: &str, path: &str, modules: &[Module]) -> Error {
        let near = messages::nearest(path, modules.iter().map(|module| module.path.as_str()));
        let hint = near.map_or(String::new(), |near| format!(" (the nearest is `{near}`)"));
        Error::NoModule { path: self.file(), name: name.to_owned(), hint }
    }
}

/// The path before an end of a name.
fn strip<'n>(name: &'n str, end: &str) -> Option<&'n str> {
    name.strip_suffix(end)?.strip_suffix('.')
}
