//! Adapters of tables: pairs that are added to the rows which are looked up, and rows in the place of a table's own.
//!
//! ```text
//! MODULE.lora_embedding_A                        [rank, rows]: here [rows, rank], so that a row is looked up in one piece
//! MODULE.lora_embedding_B                        [width, rank]
//! MODULE.token_adapter.trainable_tokens_delta    [tokens, width]: rows as they are, no differences
//! ```
//!
//! Where a table is the output onto the vocabulary too, PEFT leaves its other end as it is with a pair, and puts rows in the
//! place of its own at both ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use atento_tensor::{ParamEntry, Params};
use serde_json::{Map, Value, json};

use super::begin::Unfit;
use super::methods::AdapterConfig;
use super::modules::{Module, ends_in};
use crate::hub::Error;
use crate::hub::json::Keys;

/// The key of adapter_config.json.
pub(super) const TOKENS_KEY: &str = "trainable_token_indices";

/// The ends of the names of a pair of a table.
pub(super) const TABLE_PAIR: [&str; 2] = ["lora_embedding_A", "lora_embedding_B"];

/// The end of the name of rows in the place of a table's own.
pub(super) const TOKEN_ROWS: &str = "token_adapter.trainable_tokens_delta";

/// The ends of the names of a pair.
pub(super) fn pair_ends(is_table: bool) -> [&'static str; 2] {
    if is_table { TABLE_PAIR } else { ["lora_A.weight", "lora_B.weight"] }
}

/// A module with rows of tokens in the place of its own, and of which tokens.
pub(super) type WithTokens = (Module, Arc<[u32]>);

/// Tokens whose rows are trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrainedTokens {
    /// Of the table that texts are looked up in.
    OfInput(Vec<u32>),
    /// By the ends of the paths of tables and outputs.
    Of(BTreeMap<String, Vec<u32>>),
}

impl TrainedTokens {
    pub(super) fn read(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Option<Self>, Error> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = |value: &Value| value.as_array()?.iter().map(id).collect::<Option<Vec<u32>>>();
        let found = match object.get(TOKENS_KEY) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(entries)) => {
                let entry = |(name, value): (&String, &Value)| Some((name.clone(), ids(value)?));
                entries.iter().map(entry).collect::<Option<_>>().map(Self::Of)
            }
            Some(value) => ids(value).map(Self::OfInput),
        };
        found.map(Some).ok_or_else(|| keys.wrong(TOKENS_KEY, "a list of ids, or one for each module"))
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::OfInput(ids) => json!(ids),
            Self::Of(by_name) => json!(by_name),
        }
    }

    /// The modules whose rows are trained, and which.
    ///
    /// # Errors
    /// A module that is no table and no output, has something else trained, or has a bias; an id beyond a table or named
    /// twice; other tokens of a table than of the output that it is.
    pub(super) fn of_modules(
        &self,
        adapter: &AdapterConfig,
        params: &Params,
        all: &[Module],
    ) -> Result<Vec<WithTokens>, Unfit> {
        let refuse = |problem: String| Unfit { key: TOKENS_KEY, problem };
        let named: Vec<(&Module, &Vec<u32>)> = match self {
            Self::OfInput(ids) => match all.iter().filter(|module| module.is_token_table()).collect::<Vec<_>>()[..] {
                [table] => vec![(table, ids)],
                ref tables => {
                    let count = tables.len();
                    return Err(refuse(format!("the model has {count} tables of tokens: name one for its ids")));
                }
            },
            Self::Of(by_name) => {
                let of_name = |name: &String| {
                    let found: Vec<_> = all.iter().filter(|module| ends_in(&module.path, name)).collect();
                    match found[..] {
                        [module] => Ok(module),
                        _ => Err(refuse(format!("{name:?} matches {} modules of the model, expected 1", found.len()))),
                    }
                };
                let named = by_name.iter().map(|(name, ids)| Ok((of_name(name)?, ids)));
                named.collect::<Result<_, Unfit>>()?
            }
        };
        let mut found = Vec::new();
        for &(module, ids) in &named {
            let path = &module.path;
            if !module.is_table && !module.is_output {
                return Err(refuse(format!("`{path}` has no rows of tokens")));
            }
            let other = |module: &Module| module.tied_to.clone().filter(|_| module.is_output);
            if let Some(table) = other(module) {
                if named.iter().any(|(named, others)| named.path == table && ids == *others) {
                    continue;
                }
                return Err(refuse(format!("`{path}` is `{table}`, which must be named with the same ids")));
            }
            check_tokens(module, ids, params).map_err(refuse)?;
            let is_paired = |other: &&Module| other.weight == module.weight && adapter.adapts(other);
            if let Some(paired) = all.iter().find(is_paired) {
                let paired = &paired.path;
                return Err(refuse(format!("`{paired}` has a pair too, and both cannot be trained of one table")));
            }
            if adapter.common().modules_to_save.iter().any(|name| ends_in(path, name)) {
                return Err(refuse(format!("`{path}` is trained whole: `modules_to_save` names it")));
            }
            found.push((module.clone(), ids[..].into()));
        }
        Ok(found)
    }
}

/// Refuses ids that are beyond a table or named twice, tables of sources and targets, and outputs with a bias.
fn check_tokens(module: &Module, ids: &[u32], params: &Params) -> Result<(), String> {
    let (path, rows) = (&module.path, module.weight.rows);
    if module.is_shared() {
        return Err(shared(path));
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
        return Err(format!("there is no token {id}: `{path}` has {rows} rows"));
    }
    if let Some(id) = ids.iter().enumerate().find_map(|(at, id)| ids[..at].contains(id).then_some(id)) {
        return Err(format!("token {id} is named twice"));
    }
    let is_bias = |entry: &&ParamEntry| entry.name.ends_with(".bias") && entry.weight.len() == rows;
    let is_output = module.is_output || module.tied_to.is_some();
    match params.entries().iter().find(is_bias).filter(|_| is_output) {
        Some(bias) => Err(format!(
            "`{path}` is an output with a bias, `{}`, which PEFT leaves out where rows are trained: it would be another model there",
            bias.name
        )),
        None => Ok(()),
    }
}

fn shared(path: &str) -> String {
    format!("`{path}` is one table for sources and targets, which PEFT adapts each by itself: it is not here")
}

/// Refuses what adapters of a method cannot stand on.
pub(super) fn check(adapter: &AdapterConfig, module: &Module) -> Result<(), Unfit> {
    let Module { path, is_table, is_output, .. } = module;
    let refuse = |key, problem| Err(Unfit { key, problem });
    match adapter {
        AdapterConfig::Lora(_) if *is_table && module.is_shared() => refuse("target_modules", shared(path)),
        AdapterConfig::Lora(lora) if *is_table && lora.dora => {
            refuse("use_dora", format!("`{path}` is a table of rows, whose lengths are not trained here"))
        }
        AdapterConfig::Lora(_) => Ok(()),
        _ if *is_table => {
            let problem = format!("`{path}` is a table of rows; only low-rank pairs can stand on one");
            refuse("target_modules", problem)
        }
        _ if *is_output => {
            let problem = format!("`{path}` is the output onto the vocabulary; only low-rank pairs can stand on it");
            refuse("target_modules", problem)
        }
        _ => Ok(()),
    }
}

/// Whether a parameter lies here as the transpose of what files hold.
fn is_turned(name: &str) -> bool {
    name.ends_with(TABLE_PAIR[0])
}

/// The shape of what an adapter adds in its file.
pub(super) fn stored_dims(entry: &ParamEntry) -> Vec<usize> {
    let mut dims = entry.dims.clone();
    if is_turned(&entry.name) {
        dims.reverse();
    }
    dims
}

/// The values of what an adapter adds as its file has them.
pub(super) fn to_stored(entry: &ParamEntry, values: &[f32]) -> Vec<f32> {
    if is_turned(&entry.name) { transposed(values, entry.weight.cols) } else { values.to_vec() }
}

/// The values of what an adapter adds from those in its file.
pub(super) fn from_stored(entry_name: &str, values: Vec<f32>, stored: &[usize]) -> Vec<f32> {
    if is_turned(entry_name) { transposed(&values, stored[1]) } else { values }
}

/// The transpose of a matrix of this width.
pub(super) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}
