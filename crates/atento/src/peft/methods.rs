//! adapter_config.json of adapters of every method that is here.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::{ADAPTER_CONFIG, LoraConfig, Targets, is_off, names, targets};
use super::houlsby::HoulsbyConfig;
use super::modules::{Module, is_within};
use super::virtual_tokens::{VirtualConfig, VirtualKind};
use crate::hub::Error;
use crate::hub::json::{Keys, read_object};
use crate::messages;

/// An adapter but for its weights.
#[derive(Clone, Debug, PartialEq)]
pub enum AdapterConfig {
    /// Low-rank pairs.
    Lora(LoraConfig),
    /// Factors.
    Ia3(Ia3Config),
    /// Biases.
    BitFit(BitFitConfig),
    /// A prompt or a prefix.
    Virtual(VirtualConfig),
    /// Bottlenecks.
    Houlsby(HoulsbyConfig),
}

/// Factors on what modules give, or on what they take ((IA)³, Liu et al. 2022).
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3Config {
    /// Which modules have factors.
    pub targets: Targets,
    /// Which of those have them on what they take.
    pub feedforward: Targets,
    /// Which have none.
    pub exclude: Option<Targets>,
    /// Whether the adapted weights are stored `[inputs, outputs]`.
    pub fan_in_fan_out: bool,
    /// What every adapter has.
    pub common: Common,
}

/// All biases of a model (BitFit, Ben Zaken et al. 2022). PEFT has no such method: the files are this program's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BitFitConfig {
    /// What every adapter has.
    pub common: Common,
}

/// What adapters of every method have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// Modules that are trained and saved whole.
    pub modules_to_save: Vec<String>,
    /// The model that the adapter is for.
    pub base: Option<String>,
    /// What it is for, such as `SEQ_CLS`.
    pub task: Option<String>,
}

/// `peft_type` of the methods.
const LORA: &str = "LORA";
const IA3: &str = "IA3";
const BITFIT: &str = "BITFIT";
const PROMPT: &str = "PROMPT_TUNING";
const PREFIX: &str = "PREFIX_TUNING";
const HOULSBY: &str = "HOULSBY";

/// Keys that every method has.
const COMMON: [&str; 9] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
    "task_type",
];
/// Keys of factors.
const OF_IA3: [&str; 5] =
    ["target_modules", "feedforward_modules", "exclude_modules", "fan_in_fan_out", "init_ia3_weights"];

impl AdapterConfig {
    /// Reads the adapter_config.json of a directory.
    ///
    /// # Errors
    /// The file is missing or damaged; a method or a setting that is not here; a value that cannot be.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(ADAPTER_CONFIG);
        let object = read_object(&path)?;
        let keys = Keys::new(&path, &object);
        match keys.required::<String>("peft_type")?.as_str() {
            LORA => Ok(Self::Lora(LoraConfig::of(keys, &object)?)),
            IA3 => Ok(Self::Ia3(Ia3Config::of(keys, &object)?)),
            BITFIT => {
                check_keys(keys, &object, &[])?;
                Ok(Self::BitFit(BitFitConfig { common: Common::of(keys, &object)? }))
            }
            PROMPT => Ok(Self::Virtual(VirtualConfig::of(VirtualKind::Prompt, keys, &object)?)),
            PREFIX => Ok(Self::Virtual(VirtualConfig::of(VirtualKind::Prefix, keys, &object)?)),
            HOULSBY => Ok(Self::Houlsby(HoulsbyConfig::of(keys, &object)?)),
            _ => Err(keys.wrong("peft_type", messages::list([LORA, IA3, PROMPT, PREFIX, BITFIT, HOULSBY]))),
        }
    }

    /// The object that adapter_config.json is to hold.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let (kind, own) = match self {
            Self::Lora(lora) => (LORA, lora.to_json()),
            Self::Ia3(ia3) => (IA3, ia3.to_json()),
            Self::BitFit(_) => (BITFIT, Map::new()),
            Self::Virtual(tokens) => {
                (if tokens.kind == VirtualKind::Prompt { PROMPT } else { PREFIX }, tokens.to_json())
            }
            Self::Houlsby(houlsby) => (HOULSBY, houlsby.to_json()),
        };
        let Common { modules_to_save, base, task } = self.common();
        let whole = if modules_to_save.is_empty() { Value::Null } else { json!(modules_to_save) };
        let shared = [
            ("peft_type", json!(kind)),
            ("task_type", json!(task)),
            ("base_model_name_or_path", json!(base)),
            ("modules_to_save", whole),
            ("inference_mode", json!(true)),
        ];
        shared.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(own).collect()
    }

    /// What every adapter has.
    #[must_use]
    pub fn common(&self) -> &Common {
        match self {
            Self::Lora(lora) => &lora.common,
            Self::Ia3(ia3) => &ia3.common,
            Self::BitFit(bitfit) => &bitfit.common,
            Self::Virtual(tokens) => &tokens.common,
            Self::Houlsby(houlsby) => &houlsby.common,
        }
    }

    /// The same, to be changed.
    pub fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Lora(lora) => &mut lora.common,
            Self::Ia3(ia3) => &mut ia3.common,
            Self::BitFit(bitfit) => &mut bitfit.common,
            Self::Virtual(tokens) => &mut tokens.common,
            Self::Houlsby(houlsby) => &mut houlsby.common,
        }
    }

    /// Which modules are adapted, if it names any.
    #[must_use]
    pub fn targets(&self) -> Option<&Targets> {
        match self {
            Self::Lora(lora) => Some(&lora.targets),
            Self::Ia3(ia3) => Some(&ia3.targets),
            Self::Houlsby(houlsby) => Some(&houlsby.targets),
            Self::BitFit(_) | Self::Virtual(_) => None,
        }
    }

    /// Whether the adapted weights are stored `[inputs, outputs]`, where that is said.
    #[must_use]
    pub fn fan_in_fan_out(&self) -> Option<bool> {
        match self {
            Self::Lora(lora) => Some(lora.fan_in_fan_out),
            Self::Ia3(ia3) => Some(ia3.fan_in_fan_out),
            Self::BitFit(_) | Self::Virtual(_) | Self::Houlsby(_) => None,
        }
    }

    /// Whether a module is adapted.
    #[must_use]
    pub fn adapts(&self, module: &Module) -> bool {
        let is_whole = self.common().modules_to_save.iter().any(|name| is_within(&module.path, name));
        !is_whole
            && match self {
                Self::Lora(lora) => lora.adapts(module),
                Self::Ia3(Ia3Config { targets, exclude, .. })
                | Self::Houlsby(HoulsbyConfig { targets, exclude, .. }) => {
                    targets.contain(module) && !exclude.as_ref().is_some_and(|exclude| exclude.contain(module))
                }
                Self::BitFit(_) | Self::Virtual(_) => false,
            }
    }
}

impl Ia3Config {
    fn of(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        check_keys(keys, object, &OF_IA3)?;
        let of = |key: &str| targets(keys, object, key);
        Ok(Self {
            targets: of("target_modules")?
                .ok_or_else(|| keys.wrong("target_modules", "names of modules, or a regular expression"))?,
            feedforward: of("feedforward_modules")?.unwrap_or(Targets::Names(Vec::new())),
            exclude: of("exclude_modules")?,
            fan_in_fan_out: keys.or("fan_in_fan_out", false)?,
            common: Common::of(keys, object)?,
        })
    }

    fn to_json(&self) -> Map<String, Value> {
        let entries = [
            ("target_modules", self.targets.to_json()),
            ("feedforward_modules", self.feedforward.to_json()),
            ("exclude_modules", self.exclude.as_ref().map_or(Value::Null, Targets::to_json)),
            ("fan_in_fan_out", json!(self.fan_in_fan_out)),
            ("init_ia3_weights", json!(true)),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl Common {
    pub(super) fn of(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        Ok(Self {
            modules_to_save: names(keys, object, "modules_to_save")?,
            base: keys.optional("base_model_name_or_path")?,
            task: keys.optional("task_type")?,
        })
    }
}

/// Refuses keys that are not of a method, where they say anything.
pub(super) fn check_keys(keys: Keys<'_>, object: &Map<String, Value>, own: &[&'static str]) -> Result<(), Error> {
    for (key, value) in object {
        let known = || COMMON.iter().chain(own).copied();
        if !known().any(|name| name == key) && !is_off(value) {
            let near = messages::nearest(key, known()).map_or(String::new(), |near| format!("; is it `{near}`?"));
            return Err(keys.wrong(key, format!("null or absent: it is not known here{near}")));
        }
    }
    Ok(())
}
