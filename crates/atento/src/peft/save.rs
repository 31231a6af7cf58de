//! Writing an adapter's directory.
//!
//! ```text
//! adapter_config.json, adapter_model.safetensors     as PEFT writes them
//! config.json                                        the model with the adapter's own output, such as its labels
//! ```
//!
//! The weights' metadata say the contents of the base, so that another one is found out.

use std::fs;
use std::path::Path;

use atento_tensor::{ParamEntry, Params};
use serde_json::{Map, Value};

use super::adapter::{ADAPTER_WEIGHTS, AROUND, PREFIX};
use super::config::ADAPTER_CONFIG;
use super::methods::AdapterConfig;
use super::modules::modules;
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

/// Pairs of parts of a module's outputs as one pair of the module: the thin matrices that read the input one below the other,
/// the others on the diagonal, zeros elsewhere.
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
        for module in adapted {
            let (path, (outputs, inputs), rank) = (&module.path, module.sizes(), lora.rank_of(&module.path));
            let ranges = lora.parts_of(path, outputs);
            if ranges.len() == 1 && ranges[0].len() == outputs {
                continue;
            }
            let all = rank * ranges.len();
            let (mut down, mut up) = (Vec::with_capacity(all * inputs), vec![0.0; outputs * all]);
            for (at, range) in ranges.iter().enumerate() {
                let names = ["A", "B"].map(|half| format!("{path}.{}.lora_{half}.weight", range.start));
                let [a, b] = names.each_ref().map(|name| params.entry(name).expect("a part has a pair").weight);
                down.extend_from_slice(&params.to_f32(a));
                for (row, values) in range.clone().zip(params.to_f32(b).chunks_exact(rank)) {
                    up[row * all + at * rank..][..rank].copy_from_slice(values);
                }
                joined.parts.extend(names);
            }
            let name = |half: &str| format!("{PREFIX}{path}.lora_{half}.weight");
            joined.tensors.push(NamedTensor::new(name("A"), [all, inputs], down));
            joined.tensors.push(NamedTensor::new(name("B"), [outputs, all], up));
            // The same factor for a rank as many times as large.
            let more = if lora.rank_stabilized { (ranges.len() as f64).sqrt() } else { ranges.len() as f64 };
            let (scale, pattern) = (lora.scale_of(path), regex::escape(path));
            let alpha = scale * if lora.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 } * more;
            said.ranks.insert(pattern.clone(), all);
            said.alphas.insert(pattern, alpha);
        }
        joined
    }
}
