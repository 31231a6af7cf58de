//! What adapter_config.json says of low-rank pairs, as PEFT writes it.
//!
//! Keys of what is not here are accepted where they say that it is not used (`null`, `false`, an empty list or object), and
//! refused by name where they do not.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::methods::{Common, check_keys};
use super::modules::ends_in;
use super::patterns::Pattern;
use super::roles::{Part, resolve};
use super::tables::{TOKENS_KEY, TrainedTokens};
use crate::hub::Error;
use crate::hub::json::Keys;

/// The file in an adapter's directory.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The key that says how training began.
const INIT: &str = "init_lora_weights";

/// Keys of LoRA: those that change nothing about what an adapter computes, then those that are read.
const KEYS: [&str; 18] = [
    INIT,
    "megatron_core",
    "qalora_group_size",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "fan_in_fan_out",
    "use_rslora",
    "use_dora",
    "ensure_weight_tying",
    TOKENS_KEY,
];

/// Which biases of the base are trained with an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of the modules that are adapted.
    LoraOnly,
}

/// Which modules are adapted.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Those whose path is one of these or ends in one of them.
    Names(Vec<String>),
    /// Those whose whole path a regular expression matches.
    Pattern(Pattern),
    /// Every projection but the output's.
    AllLinear,
}

/// A LoRA adapter but for its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// The rank of the pairs, where `rank_pattern` names no other.
    pub rank: usize,
    /// α, where `alpha_pattern` names no other.
    pub alpha: f64,
    /// The probability with which inputs of the pairs are dropped in training.
    pub dropout: f64,
    /// Which modules are adapted.
    pub targets: Targets,
    /// Which of those are not.
    pub exclude: Option<Targets>,
    /// The blocks whose modules are adapted; all where there is none.
    pub layers: Option<Vec<usize>>,
    /// What the lists of blocks are called; any name where it is empty.
    pub layers_pattern: Vec<String>,
    /// Ranks of modules by the ends of their paths.
    pub ranks: BTreeMap<String, usize>,
    /// Their α.
    pub alphas: BTreeMap<String, f64>,
    /// Which biases are trained.
    pub bias: Bias,
    /// Whether the adapted weights are stored `[inputs, outputs]`.
    pub fan_in_fan_out: bool,
    /// Whether the factor is α / √r (Kalajdzievski 2023) and not α / r.
    pub rank_stabilized: bool,
    /// Whether the lengths of the weights' rows are learned apart (Liu et al. 2024).
    pub dora: bool,
    /// Whether the pairs began as the greatest singular values of their matrices, which they stand in the place of (Meng et al.
    /// 2024). Such an adapter is saved as what has changed, which needs no word of it; PEFT's files may say it.
    pub principal: bool,
    /// Tokens whose rows are trained.
    pub tokens: Option<TrainedTokens>,
    /// Whether the table of tokens and the output that it is have one pair in common. Such an adapter holds it twice.
    pub ensures_tying: bool,
    /// Parts of the outputs of modules that have a pair of their own, where not all of a module's outputs have one.
    /// adapter_config.json cannot say it: what is saved has the pairs of a module as one, with zeros between them.
    pub parts: Vec<Part>,
    /// What every adapter has.
    pub common: Common,
}

impl LoraConfig {
    /// Pairs of a rank on modules of a model of this type; `names` are ends of their paths or [roles](super::resolve), or
    /// "all-linear". α is the rank.
    #[must_use]
    pub fn new(model_type: &str, rank: usize, names: &[String]) -> Self {
        let (found, parts) = resolve(model_type, names);
        let targets = match names {
            [all] if all == "all-linear" => Targets::AllLinear,
            _ => Targets::Names(found),
        };
        Self {
            rank,
            alpha: rank as f64,
            dropout: 0.0,
            targets,
            exclude: None,
            layers: None,
            layers_pattern: Vec::new(),
            ranks: BTreeMap::new(),
            alphas: BTreeMap::new(),
            bias: Bias::None,
            fan_in_fan_out: false,
            rank_stabilized: false,
            dora: false,
            principal: false,
            tokens: None,
            ensures_tying: false,
            parts,
            common: Common::default(),
        }
    }

    pub(super) fn of(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Self, Error> {
        check_keys(keys, object, &KEYS)?;
        let rank: usize = keys.or("r", 8)?;
        let ranks = by_name(keys, object, "rank_pattern", |value| value.as_u64().map(|rank| rank as usize))?;
        if let Some((name, _)) = ranks.iter().find(|(_, rank)| **rank == 0) {
            return Err(keys.wrong("rank_pattern", format!("ranks of 1 or more; that of {name:?} is 0")));
        }
        if rank == 0 {
            return Err(keys.wrong("r", "a rank of 1 or more"));
        }
        let targets = targets(keys, object, "target_modules")?;
        let (alpha, dropout): (f64, f64) = (keys.or("lora_alpha", 8.0)?, keys.or("lora_dropout", 0.0)?);
        if !(alpha.is_finite() && alpha > 0.0) {
            return Err(keys.wrong("lora_alpha", "a number above 0"));
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(keys.wrong("lora_dropout", "a probability from 0 to below 1"));
        }
        Ok(Self {
            rank,
            alpha,
            dropout,
            targets: targets
                .ok_or_else(|| keys.wrong("target_modules", "names of modules, or a regular expression"))?,
            exclude: self::targets(keys, object, "exclude_modules")?,
            layers: numbers(keys, object, "layers_to_transform")?,
            layers_pattern: names(keys, object, "layers_pattern")?,
            ranks,
            alphas: by_name(keys, object, "alpha_pattern", Value::as_f64)?,
            bias: match keys.or("bias", "none".to_owned())?.as_str() {
                "none" => Bias::None,
                "all" => Bias::All,
                "lora_only" => Bias::LoraOnly,
                _ => return Err(keys.wrong("bias", "\"none\", \"all\" or \"lora_only\"")),
            },
            fan_in_fan_out: keys.or("fan_in_fan_out", false)?,
            rank_stabilized: keys.or("use_rslora", false)?,
            dora: keys.or("use_dora", false)?,
            principal: principal(keys, object)?,
            tokens: TrainedTokens::read(keys, object)?,
            ensures_tying: keys.or("ensure_weight_tying", false)?,
            parts: Vec::new(),
            common: Common::of(keys, object)?,
        })
    }

    pub(super) fn to_json(&self) -> Map<String, Value> {
        let list = |names: &[String]| if names.is_empty() { Value::Null } else { json!(names) };
        let entries = [
            ("r", json!(self.rank)),
            ("lora_alpha", json!(self.alpha)),
            ("lora_dropout", json!(self.dropout)),
            ("target_modules", self.targets.to_json()),
            ("exclude_modules", self.exclude.as_ref().map_or(Value::Null, Targets::to_json)),
            ("layers_to_transform", json!(self.layers)),
            ("layers_pattern", list(&self.layers_pattern)),
            ("rank_pattern", json!(self.ranks)),
            ("alpha_pattern", json!(self.alphas)),
            (
                "bias",
                json!(match self.bias {
                    Bias::None => "none",
                    Bias::All => "all",
                    Bias::LoraOnly => "lora_only",
                }),
            ),
            ("fan_in_fan_out", json!(self.fan_in_fan_out)),
            ("use_rslora", json!(self.rank_stabilized)),
            ("use_dora", json!(self.dora)),
            (TOKENS_KEY, self.tokens.as_ref().map_or(Value::Null, TrainedTokens::to_json)),
            ("ensure_weight_tying", json!(self.ensures_tying)),
            (INIT, if self.principal { json!("pissa") } else { json!(true) }),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Whether all that it does is to add the product of its pairs to matrices.
    #[must_use]
    pub(super) fn only_adds(&self) -> bool {
        !self.dora && !self.principal && self.tokens.is_none()
    }

    /// The rank of the pair of a module.
    #[must_use]
    pub fn rank_of(&self, path: &str) -> usize {
        of_path(&self.ranks, path).unwrap_or(self.rank)
    }

    /// The α of the pair of a module.
    pub(super) fn alpha_of(&self, path: &str) -> f64 {
        of_path(&self.alphas, path).unwrap_or(self.alpha)
    }

    /// The outputs of a module, of so many, that have a pair each; all of them where no parts are named.
    #[must_use]
    pub fn parts_of(&self, path: &str, outputs: usize) -> Vec<Range<usize>> {
        let own = self.parts.iter().filter(|part| ends_in(path, part.module));
        let own: Vec<Range<usize>> = own.map(|part| part.range(outputs)).collect();
        if own.is_empty() { std::iter::once(0..outputs).collect() } else { own }
    }

    /// The factor of the pair of a module: α / r, or α / √r.
    #[must_use]
    pub fn scale_of(&self, path: &str) -> f64 {
        let (alpha, rank) = (self.alpha_of(path), self.rank_of(path) as f64);
        if self.rank_stabilized { alpha / rank.sqrt() } else { alpha / rank }
    }
}

impl Targets {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Names(names) => json!(names),
            Self::Pattern(pattern) => json!(pattern.text()),
            Self::AllLinear => json!("all-linear"),
        }
    }
}

/// What a key that matches a path, or its end from a dot on, says of it.
fn of_path<T: Copy>(patterns: &BTreeMap<String, T>, path: &str) -> Option<T> {
    patterns.iter().find(|(key, _)| is_named(key, path)).map(|(_, value)| *value)
}

/// Whether a key matches a path, or its end from a dot on.
pub(super) fn is_named(key: &str, path: &str) -> bool {
    at_end(key).is_ok_and(|pattern| pattern.matches(path))
}

fn at_end(key: &str) -> Result<Pattern, regex::Error> {
    Pattern::new(&format!("(?:.*\\.)?(?:{key})"))
}

/// Whether a value says that something is not used.
pub(super) fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

pub(super) fn targets(keys: Keys<'_>, object: &Map<String, Value>, key: &str) -> Result<Option<Targets>, Error> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text == "all-linear" => Ok(Some(Targets::AllLinear)),
        Some(Value::String(text)) => match Pattern::new(text) {
            Ok(pattern) => Ok(Some(Targets::Pattern(pattern))),
            Err(fault) => Err(keys.wrong(key, format!("a regular expression: {fault}"))),
        },
        Some(_) => Ok(Some(Targets::Names(names(keys, object, key)?))),
    }
}

/// A list of names, or one.
pub(super) fn names(keys: Keys<'_>, object: &Map<String, Value>, key: &str) -> Result<Vec<String>, Error> {
    let found = match object.get(key) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(name)) => Some(vec![name.clone()]),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    found.ok_or_else(|| keys.wrong(key, "a list of names"))
}

/// A list of whole numbers, or one.
fn numbers(keys: Keys<'_>, object: &Map<String, Value>, key: &str) -> Result<Option<Vec<usize>>, Error> {
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let found = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(items)) => items.iter().map(number).collect(),
        Some(value) => number(value).map(|number| vec![number]),
    };
    found.map(Some).ok_or_else(|| keys.wrong(key, "a list of numbers of blocks"))
}

fn by_name<T>(
    keys: Keys<'_>,
    object: &Map<String, Value>,
    key: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<BTreeMap<String, T>, Error> {
    let found: Option<BTreeMap<String, T>> = match object.get(key) {
        None | Some(Value::Null) => Some(BTreeMap::new()),
        Some(Value::Object(entries)) => {
            entries.iter().map(|(name, value)| Some((name.clone(), read(value)?))).collect()
        }
        Some(_) => None,
    };
    let found = found.ok_or_else(|| keys.wrong(key, "an object of names and numbers"))?;
    match found.keys().find_map(|name| at_end(name).err()) {
        Some(fault) => Err(keys.wrong(key, format!("names, or regular expressions: {fault}"))),
        None => Ok(found),
    }
}

/// Whether training began with the principal directions of the matrices. Ways to begin that change the matrices otherwise leave
/// what they did to them out of the adapter's files.
fn principal(keys: Keys<'_>, object: &Map<String, Value>) -> Result<bool, Error> {
    match object.get(INIT) {
        Some(Value::String(name)) => match name.as_str() {
            "gaussian" | "eva" | "orthogonal" => Ok(false),
            "pissa" => Ok(true),
            _ => Err(keys.wrong(
                INIT,
                "true, false, \"gaussian\", \"eva\", \"orthogonal\" or \"pissa\": others change the base by what \
                 the adapter's files do not hold; save it as a plain one (PEFT: path_initial_model_for_weight_conversion)",
            )),
        },
        None | Some(Value::Null | Value::Bool(_)) => Ok(false),
        Some(_) => Err(keys.wrong(INIT, "true, false or the name of a way to begin")),
    }
}
