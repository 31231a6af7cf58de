//! Writing an adapter's directory.
//!
//! ```text
//! adapter_config.json, adapter_model.safetensors     as PEFT writes them
//! config.json                                        the model with the adapter's own output, such as its labels
//! ```
//!
//! The weights' metadata say the contents of the base, so that another one is found out.

use std::fs;
use std::ops::Range;
use std::path::Path;

use atento_tensor::{ParamEntry, Params};
use serde_json::{Map, Value};

use super::adapter::{ADAPTER_WEIGHTS, AROUND, PREFIX};
use super::config::ADAPTER_CONFIG;
use super::methods::AdapterConfig;
use super::modules::{Module, modules};
use super::principal;
use super::tables::{stored_dims, to_stored};
use super::virtual_tokens::ROWS;
use crate::families::Config;
use crate::hub::json::pretty;
use crate::hub::safetensors::{NamedTensor, write};
use crate::hub::{CONFIG, Error, atomic};

/// The key of the metadata that says the contents of the base.
pub(super) const BASE: &str = "base_contents";

/// Writes what of a model is trained as an adapter, each file atomically, adapter_config.json last. `model_json` is the model's
/// config.json.
///
/// # Errors
/// The directory cannot be written.
pub fn save(
    dir: &Path,
    adapter: &AdapterConfig,
    (config, model_json): (&dyn Config, &Map<String, Value>),
    params: &Params,
    base: &str,
) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
    atomic::remove_leftovers(dir, |_, process| atomic::is_gone(process));
    let joined = Joined::of(adapter, config, params);
    let own = params.entries().iter().filter(|entry| entry.is_added || entry.is_trained());
    let tokens = match adapter {
        AdapterConfig::Virtual(tokens) => Some(tokens),
        _ => None,
    };
    let is_joined = |entry: &ParamEntry| joined.parts.contains(&entry.name) || (tokens.is_some() && entry.is_added);
    let (own, prefix) = (own.filter(|entry| !is_joined(entry)), if tokens.is_some() { AROUND } else { PREFIX });
    let mut tensors: Vec<NamedTensor<'_>> = own
        .map(|entry| {
            let values = params.to_f32(entry.weight);
            if entry.is_added {
                let values = to_stored(entry, &values);
                return NamedTensor::new(format!("{prefix}{}", entry.name), stored_dims(entry), values);
            }
            let stored = stored_whole(config.sources(&entry.name).swap_remove(0), &joined.adapted);
            let shape = config.stored_shape(&entry.name, &entry.dims);
            NamedTensor::new(format!("{prefix}{stored}"), shape, values)
        })
        .collect();
    tensors.extend(joined.tensors);
    if let Some(tokens) = tokens {
        tensors.push(NamedTensor::new(ROWS, [tokens.count, tokens.width()], tokens.rows(params)));
    }
    write_directory(dir, &joined.adapter, Some(model_json), &tensors, &[WEIGHTS_METADATA, (BASE, base)])
}

/// The name of a parameter of the base that is trained whole. PEFT wraps the modules that have a pair, and finds the bias of
/// one below `base_layer` alone.
pub(super) fn stored_whole(stored: String, adapted: &[String]) -> String {
    match stored.strip_suffix(".bias") {
        Some(path) if adapted.iter().any(|adapted| adapted == path) => format!("{path}.base_layer.bias"),
        _ => stored,
    }
}

/// What every safetensors file says.
pub(super) const WEIGHTS_METADATA: (&str, &str) = ("format", "pt");

pub(super) fn write_directory(
    dir: &Path,
    adapter: &AdapterConfig,
    model_json: Option<&Map<String, Value>>,
    tensors: &[NamedTensor<'_>],
    metadata: &[(&str, &str)],
) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir, "create the directory"))?;
    write(&dir.join(ADAPTER_WEIGHTS), tensors, metadata)?;
    if let Some(model_json) = model_json {
        atomic::atomic_write(&dir.join(CONFIG), &pretty(model_json))?;
    }
    atomic::atomic_write(&dir.join(ADAPTER_CONFIG), &pretty(&adapter.to_json()))
}

/// Pairs of parts of a module's outputs, and what is [taken away](principal) beside them, as one pair of the module: the thin
/// matrices that read the input one below the other, the others side by side in the rows of their outputs, zeros elsewhere.
struct Joined {
    /// What the adapter says of itself with those pairs.
    adapter: AdapterConfig,
    /// The paths of all modules that are adapted.
    adapted: Vec<String>,
    /// The parameters that the joined pairs are made of.
    parts: Vec<String>,
    tensors: Vec<NamedTensor<'static>>,
}

impl Joined {
    fn of(adapter: &AdapterConfig, config: &dyn Config, params: &Params) -> Self {
        let all = modules(config, params);
        let adapted: Vec<_> = all.iter().filter(|module| adapter.adapts(module)).collect();
        let paths = adapted.iter().map(|module| module.path.clone()).collect();
        let mut joined = Self { adapter: adapter.clone(), adapted: paths, parts: Vec::new(), tensors: Vec::new() };
        let (AdapterConfig::Lora(lora), AdapterConfig::Lora(said)) = (adapter, &mut joined.adapter) else {
            return joined;
        };
        said.principal = false;
        let ranges_of = |module: &Module| lora.parts_of(&module.path, module.sizes().0);
        let is_whole = |module: &Module| matches!(&ranges_of(module)[..], [range] if range.len() == module.sizes().0);
        let is_joined = |module: &Module| !module.is_table && (lora.principal || !is_whole(module));
        if !adapted.iter().any(|module| is_joined(module)) {
            return joined;
        }
        // Of several patterns for a path the first counts, so that each module has its own.
        said.ranks.clear();
        said.alphas.clear();
        for module in adapted {
            let (path, (outputs, inputs), rank) = (&module.path, module.sizes(), lora.rank_of(&module.path));
            let (pattern, ranges) = (regex::escape(path), ranges_of(module));
            if !is_joined(module) {
                let alpha = lora.alpha_of(path);
                if (rank, alpha) != (lora.rank, lora.alpha) {
                    said.ranks.insert(pattern.clone(), rank);
                    said.alphas.insert(pattern, alpha);
                }
                continue;
            }
            let is_whole = is_whole(module);
            let mut pairs: Vec<(Range<usize>, [String; 2], f32)> = Vec::new();
            for range in ranges {
                let name = |end: &str| match is_whole {
                    true => format!("{path}.{end}"),
                    false => format!("{path}.{}.{end}", range.start),
                };
                let trained = ["lora_A.weight", "lora_B.weight"].map(name);
                let taken = lora.principal.then(|| (range.clone(), principal::TAKEN.map(name), -1.0));
                pairs.push((range.clone(), trained, 1.0));
                pairs.extend(taken);
            }
            let all = rank * pairs.len();
            let (mut down, mut up) = (Vec::with_capacity(all * inputs), vec![0.0; outputs * all]);
            for (at, (range, names, sign)) in pairs.iter().enumerate() {
                let [a, b] = names.each_ref().map(|name| params.entry(name).expect("a part has a pair").weight);
                down.extend_from_slice(&params.to_f32(a));
                for (row, values) in range.clone().zip(params.to_f32(b).chunks_exact(rank)) {
                    let to = up[row * all + at * rank..][..rank].iter_mut();
                    to.zip(values).for_each(|(to, value)| *to = sign * value);
                }
                joined.parts.extend(names.iter().cloned());
            }
            let name = |half: &str| format!("{PREFIX}{path}.lora_{half}.weight");
            joined.tensors.push(NamedTensor::new(name("A"), [all, inputs], down));
            joined.tensors.push(NamedTensor::new(name("B"), [outputs, all], up));
            // The same factor for a rank as many times as large.
            let more = if lora.rank_stabilized { (pairs.len() as f64).sqrt() } else { pairs.len() as f64 };
            let scale = lora.scale_of(path);
            let alpha = scale * if lora.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 } * more;
            said.ranks.insert(pattern.clone(), all);
            said.alphas.insert(pattern, alpha);
        }
        joined
    }
}
