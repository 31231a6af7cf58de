//! An adapter in a directory, and putting it on a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use atento_kernels::linear::WeightLayout;
use atento_tensor::{Frozen, LowRank, Params, Weight};

use super::config::{ADAPTER_CONFIG, LoraConfig};
use super::modules::{Module, ends_in, modules};
use crate::families::Config;
use crate::hub::{self, Weights};
use crate::messages;

/// The weights in an adapter's directory.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// What stands before the names of the base's modules.
const PREFIX: &str = "base_model.model.";

/// What the path of an output onto the vocabulary ends in.
const OUTPUTS: [&str; 4] = ["lm_head", "decoder", "vocab_projector", "generator_lm_head"];

/// Why an adapter cannot be put on a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of its files.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// A tensor is of a module that the model does not have.
    #[error("{path}: tensor `{name}` is of no module of the model{hint}: the adapter is for another one")]
    NoModule {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The nearest module; begins with its own punctuation.
        hint: String,
    },
    /// A module that is adapted has no pair, or half of one.
    #[error("{path}: there is no `{name}`, though adapter_config.json adapts `{module}`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The module.
        module: String,
    },
    /// A weight that an adapter is merged into is no number any more.
    #[error("`{name}` with what the adapter adds is not finite at element {at}")]
    NotFinite {
        /// The parameter.
        name: String,
        /// The element.
        at: usize,
    },
    /// A weight that an adapter is to be merged into is rounded.
    #[error(
        "`{name}` is held in int8, where what the adapter adds would be lost in the rounding: load the model in f32"
    )]
    Int8 {
        /// The parameter.
        name: String,
    },
    /// What is not here.
    #[error("{path}: {what}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
}

/// An adapter in a directory.
#[derive(Debug)]
pub struct Adapter {
    /// What it says of itself.
    pub config: LoraConfig,
    /// Its directory.
    pub dir: PathBuf,
    weights: Weights,
}

/// The tensors of one module.
#[derive(Default)]
struct Pair<'w> {
    down: Option<&'w str>,
    up: Option<&'w str>,
    magnitude: Option<&'w str>,
}

impl Adapter {
    /// Opens a directory.
    ///
    /// # Errors
    /// A file is missing or damaged; a method or a setting that is not here.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let config = LoraConfig::read(dir)?;
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
    /// The model has had an adapter already; a table of rows or the output onto the vocabulary is adapted. Tensors of modules that the model does not have, or of other sizes; modules that it says to adapt and has no tensors
    /// for.
    pub fn put_on(&self, config: &dyn Config, params: &mut Params) -> Result<usize, Error> {
        if params.entries().iter().any(|entry| entry.is_added) {
            return Err(self.unsupported("the model has had an adapter put on it already: load it anew".into()));
        }
        let modules = modules(config, params);
        let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
        let mut whole = Vec::new();
        for name in self.weights.names() {
            let inner = name.strip_prefix(PREFIX).unwrap_or(name);
            let ends = |endings: &[&str]| endings.iter().find_map(|ending| inner.strip_suffix(ending));
            if let Some(path) = ends(&[".lora_A.weight", ".lora_A.default.weight"]) {
                pairs.entry(path).or_default().down = Some(name);
            } else if let Some(path) = ends(&[".lora_B.weight", ".lora_B.default.weight"]) {
                pairs.entry(path).or_default().up = Some(name);
            } else if let Some(path) = ends(&[".lora_magnitude_vector", ".lora_magnitude_vector.weight"]) {
                pairs.entry(path).or_default().magnitude = Some(name);
            } else {
                whole.push((name, inner.replace(".modules_to_save.default", "").replace(".base_layer", "")));
            }
        }
        for module in modules.iter().filter(|module| self.config.adapts(module)) {
            if !pairs.contains_key(module.path.as_str()) {
                let name = format!("{PREFIX}{}.lora_A.weight", module.path);
                return Err(Error::Missing { path: self.file(), name, module: module.path.clone() });
            }
        }
        let count = pairs.len();
        for (path, pair) in pairs {
            let module = modules.iter().find(|module| module.path == path);
            let module = module.ok_or_else(|| self.no_module(pair.down.or(pair.up).unwrap_or(path), path, &modules))?;
            // Losses read this matrix by themselves, and would leave the pair out.
            if OUTPUTS.iter().any(|end| ends_in(path, end)) && module.sizes().0 == config.sizes().vocab_size {
                let what = format!("`{path}` is the output onto the vocabulary; adapters of it are not here");
                return Err(self.unsupported(what));
            }
            self.put_pair(params, module, &pair)?;
        }
        for (name, stored) in whole {
            self.put_whole(config, params, name, &stored, &modules)?;
        }
        Ok(count)
    }

    fn put_pair(&self, params: &mut Params, module: &Module, pair: &Pair<'_>) -> Result<(), Error> {
        let Module { path, weight, layout, is_table } = module;
        if *is_table {
            return Err(self.unsupported(format!("`{path}` is a table of rows; adapters of tables are not here")));
        }
        if pair.magnitude.is_some() || self.config.dora {
            return Err(self.unsupported("DoRA (`use_dora`) is not here".into()));
        }
        if self.config.fan_in_fan_out != (*layout == WeightLayout::InOut) {
            let (says, lies) = (
                self.config.fan_in_fan_out,
                if *layout == WeightLayout::InOut { "[inputs, outputs]" } else { "[outputs, inputs]" },
            );
            return Err(self.unsupported(format!("`fan_in_fan_out` is {says}, but `{path}` is stored {lies}")));
        }
        let (outputs, inputs) = module.sizes();
        let rank = self.config.rank_of(path);
        let missing = |half: &str| Error::Missing {
            path: self.file(),
            name: format!("{PREFIX}{path}.lora_{half}.weight"),
            module: path.clone(),
        };
        let mut add = |half: &str, name: Option<&str>, dims: [usize; 2]| -> Result<Weight, Error> {
            let values = self.weights.read_f32(name.ok_or_else(|| missing(half))?, &dims)?;
            Ok(params.add_frozen(&format!("{path}.lora_{half}.weight"), &dims, Frozen::F32(values.into())))
        };
        let down = add("A", pair.down, [rank, inputs])?;
        let up = add("B", pair.up, [outputs, rank])?;
        let (scale, dropout) = (self.config.scale_of(path) as f32, self.config.dropout as f32);
        params.add_low_rank(*weight, LowRank { down, up, scale, dropout, outputs: 0..outputs });
        Ok(())
    }

    /// A parameter that was trained whole takes the base's place.
    fn put_whole(
        &self,
        config: &dyn Config,
        params: &mut Params,
        name: &str,
        stored: &str,
        modules: &[Module],
    ) -> Result<(), Error> {
        let is_it = |own: &str| config.sources(own).iter().any(|source| source == stored);
        let entry = params.entries().iter().find(|entry| is_it(&entry.name)).cloned();
        let Some(entry) = entry else { return Err(self.no_module(name, stored, modules)) };
        let values = self.weights.read_f32(name, &entry.dims)?;
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
        Ok(())
    }

    fn file(&self) -> PathBuf {
        self.dir.join(ADAPTER_WEIGHTS)
    }

    fn unsupported(&self, what: String) -> Error {
        Error::Unsupported { path: self.dir.join(ADAPTER_CONFIG), what }
    }

    fn no_module(&self, name: &str, path: &str, modules: &[Module]) -> Error {
        let near = messages::nearest(path, modules.iter().map(|module| module.path.as_str()));
        let hint = near.map_or(String::new(), |near| format!(" (the nearest is `{near}`)"));
        Error::NoModule { path: self.file(), name: name.to_owned(), hint }
    }
}
