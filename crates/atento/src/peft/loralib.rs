//! State dicts of loralib (Hu et al. 2021, `lora.lora_state_dict`) as adapters, and adapters as such.
//!
//! ```text
//! MODULE.lora_A   [r, inputs]        of a fused matrix the A of each enabled part, one below the other
//! MODULE.lora_B   [outputs, r]       of a fused matrix the B of each enabled part, one below the other: [part · enabled, r]
//! ```
//!
//! A state dict says neither α nor which parts are enabled. PEFT has one pair for a matrix: that of a fused one has as many
//! times the rank, its B on the diagonal. What else is in it was trained whole: biases, and an output, which may be of a head
//! that the base does not have.

mod head;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use atento_kernels::linear::WeightLayout;

use super::adapter::PREFIX;
use super::config::{Bias, LoraConfig, Targets};
use super::methods::{AdapterConfig, Common};
use super::modules::{Module, ends_in, find, modules};
use super::save::{WEIGHTS_METADATA, stored_whole, write_directory};
use super::tables::pair_ends;
use super::{Adapter, Error, resolve};
use crate::families::Config;
use crate::hub::safetensors::{NamedTensor, write};
use crate::hub::{ModelDir, Weights};
use crate::messages;
use crate::pipelines::outline;

/// What a state dict does not say.
#[derive(Clone, Debug)]
pub struct Unsaid {
    /// α of the pairs.
    pub alpha: f64,
    /// The enabled parts of fused matrices, as [roles](super::resolve).
    pub enabled: Vec<String>,
}

/// Writes an adapter's directory with the pairs of a state dict; returns how many modules they adapt. Where the state dict has an
/// output that the base lacks, the adapter is of a model with that output.
///
/// # Errors
/// The state dict is of another model, or has other shapes than pairs have; the directory cannot be written.
pub fn from_loralib(file: &Path, unsaid: &Unsaid, base: &ModelDir, out: &Path) -> Result<usize, Error> {
    let weights = Weights::open(file)?;
    let config = base.checked()?.config;
    let of_base = config.parameters();
    let is_of_base = |name: &str| of_base.iter().any(|(own, _)| config.sources(own).iter().any(|other| other == name));
    let new: Vec<&str> = weights.names().filter(|name| !is_of_pair(name) && !is_of_base(name)).collect();
    let headed = if new.is_empty() { None } else { head::found_in(&weights, &new, &*config) };
    let config = match headed {
        Some(headed) => {
            let (checked, lacking) = base.checked_with(|_| Ok(headed))?;
            let is_there = |name: &String| checked.config.sources(name).iter().any(|stored| weights.contains(stored));
            if let Some(name) = lacking.iter().find(|name| !is_there(name)) {
                let name = checked.config.sources(name).swap_remove(0);
                return Err(Error::Lacking { path: file.to_owned(), name });
            }
            checked.config
        }
        None => config,
    };
    convert(file, &weights, unsaid, &config, out)
}

fn is_of_pair(name: &str) -> bool {
    name.ends_with(".lora_A") || name.ends_with(".lora_B")
}

fn convert(
    file: &Path,
    weights: &Weights,
    unsaid: &Unsaid,
    config: &Arc<dyn Config>,
    out: &Path,
) -> Result<usize, Error> {
    let params = outline(config);
    let wrong = |what: String| Error::Unsupported { path: file.to_owned(), what };
    let all = modules(&**config, &params);
    let model_json = config.to_json()?;
    let model_type = model_json.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let parts = resolve(&model_type, &unsaid.enabled).1;
    let (mut tensors, mut paths, mut ranks, mut alphas) = (Vec::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut whole = Vec::new();
    for name in weights.names() {
        let Some(path) = name.strip_suffix(".lora_A") else {
            if !is_of_pair(name) {
                whole.push(name);
            }
            continue;
        };
        let near = || messages::nearest(path, all.iter().map(|module| module.path.as_str()));
        let hint = || near().map_or(String::new(), |near| format!("; the nearest is `{near}`"));
        let module = find(&all, path);
        let module = module.ok_or_else(|| wrong(format!("`{name}` is of no module of the model{}", hint())))?;
        let (outputs, inputs) = module.sizes();
        let b = format!("{path}.lora_B");
        let [a_shape, b_shape] = [weights.get(name)?.shape.to_vec(), weights.get(&b)?.shape.to_vec()];
        let (&[all_ranks, _], &[up_rows, rank]) = (&a_shape[..], &b_shape[..]) else {
            return Err(wrong(format!("`{name}` and `{b}` have shapes {a_shape:?} and {b_shape:?}, not a pair's")));
        };
        if rank == 0 || a_shape[1] != inputs || !all_ranks.is_multiple_of(rank) {
            let sizes = format!("`{path}` is [{outputs}, {inputs}]");
            return Err(wrong(format!("`{name}` {a_shape:?} and `{b}` {b_shape:?} do not fit: {sizes}")));
        }
        let count = all_ranks / rank;
        let own = parts.iter().filter(|part| ends_in(path, part.module)).map(|part| part.range(outputs));
        let is_whole = count == 1 && up_rows == outputs;
        let ranges: Vec<_> = if is_whole { std::iter::once(0..outputs).collect() } else { own.collect() };
        if ranges.len() != count || ranges.iter().map(|range| range.len()).sum::<usize>() != up_rows {
            let found = format!("`{b}` {b_shape:?} is of {}", messages::count(count as u64, "part"));
            return Err(wrong(format!(
                "{found} of `{path}` [{outputs}, {inputs}]: name the enabled ones with --enabled"
            )));
        }
        let up = weights.read_f32(&b, &b_shape)?;
        let mut block = vec![0.0; outputs * all_ranks];
        let rows = ranges.iter().enumerate().flat_map(|(at, range)| range.clone().map(move |to| (at, to)));
        for ((at, to), values) in rows.zip(up.chunks_exact(rank)) {
            block[to * all_ranks + at * rank..][..rank].copy_from_slice(values);
        }
        let names = pair_ends(module.is_table).map(|end| format!("{PREFIX}{}.{end}", module.path));
        tensors.push(NamedTensor::new(&*names[0], [all_ranks, inputs], weights.read_f32(name, &a_shape)?));
        tensors.push(NamedTensor::new(&*names[1], [outputs, all_ranks], block));
        let pattern = regex::escape(&module.path);
        ranks.insert(pattern.clone(), all_ranks);
        alphas.insert(pattern, unsaid.alpha * count as f64);
        paths.push(module);
    }
    if paths.is_empty() {
        return Err(wrong("no tensor ends in `.lora_A`: it is no state dict of loralib".into()));
    }
    let adapted: Vec<String> = paths.iter().map(|module| module.path.clone()).collect();
    for name in &whole {
        let entry = params.entries().iter().find(|entry| config.sources(&entry.name).iter().any(|other| other == name));
        let entry = entry.ok_or_else(|| wrong(format!(
            "`{name}` is no parameter of the model, and none of an output for labels or answers that models of this family have"
        )))?;
        let values = weights.read_f32(name, &entry.dims)?;
        let stored = stored_whole(config.sources(&entry.name).swap_remove(0), &adapted);
        tensors.push(NamedTensor::new(format!("{PREFIX}{stored}"), entry.dims.clone(), values));
    }
    let module_of = |name: &&str| name.rsplit_once('.').map_or(*name, |(path, _)| path).to_owned();
    // What is whole and no bias is a module that was trained; biases come with `bias`.
    let to_save: Vec<String> = whole.iter().filter(|name| name.ends_with(".weight")).map(module_of).collect();
    let is_adapted = |name: &&&str| paths.iter().any(|module| module_of(name) == module.path);
    let biases = whole.iter().filter(|name| name.ends_with(".bias") && !to_save.contains(&module_of(name)));
    let bias = match (biases.clone().count(), biases.clone().filter(is_adapted).count()) {
        (0, _) => Bias::None,
        (all, adapted) if all == adapted => Bias::LoraOnly,
        _ => Bias::All,
    };
    let lora = LoraConfig {
        alpha: unsaid.alpha,
        bias,
        targets: Targets::Names(adapted),
        fan_in_fan_out: is_in_out(&paths),
        ranks: ranks.clone(),
        alphas,
        common: Common { modules_to_save: to_save, ..Common::default() },
        ..LoraConfig::new(&model_type, ranks.values().copied().next().unwrap_or(1), &[])
    };
    write_directory(out, &AdapterConfig::Lora(lora), Some(&model_json), &tensors, &[WEIGHTS_METADATA])?;
    Ok(paths.len())
}

fn is_in_out(modules: &[&Module]) -> bool {
    modules.iter().any(|module| module.layout == WeightLayout::InOut)
}

impl Adapter {
    /// Writes its pairs as a state dict of loralib, in a safetensors file; returns how many modules they adapt and α / r of the
    /// pairs, which loralib has to be told.
    ///
    /// # Errors
    /// It is of another method, or its rows have lengths of their own; its factors differ, for which loralib has one α; the file
    /// cannot be written.
    pub fn to_loralib(&self, file: &Path) -> Result<(usize, f64), Error> {
        let AdapterConfig::Lora(lora) = &self.config else {
            return Err(self.unsupported("loralib has low-rank pairs alone".into()));
        };
        if lora.dora {
            return Err(self.unsupported("loralib has no lengths of rows (`use_dora`)".into()));
        }
        if lora.principal {
            let what = "loralib has no pairs that stand in the place of parts of the base (`init_lora_weights`)";
            return Err(self.unsupported(what.into()));
        }
        if lora.tokens.is_some() {
            return Err(self.unsupported("loralib trains no rows of tokens (`trainable_token_indices`)".into()));
        }
        let (modules, mut tensors) = (self.pairs()?, Vec::new());
        let scales: Vec<f64> = modules.iter().map(|(path, ..)| lora.scale_of(path)).collect();
        if let Some(at) = scales.iter().position(|scale| (scale - scales[0]).abs() > 1e-12) {
            let (one, other) = (&modules[0].0, &modules[at].0);
            let what =
                format!("`{one}` counts {} times and `{other}` {}; loralib has one factor", scales[0], scales[at]);
            return Err(self.unsupported(what));
        }
        for (path, _, [down, up]) in &modules {
            for (half, (values, shape)) in [("A", down), ("B", up)] {
                tensors.push(NamedTensor::new(format!("{path}.lora_{half}"), shape.clone(), values.clone()));
            }
        }
        for (name, (values, shape)) in self.whole()? {
            tensors.push(NamedTensor::new(name, shape, values));
        }
        write(file, &tensors, &[("format", "pt")])?;
        Ok((modules.len(), scales.first().copied().unwrap_or(1.0)))
    }
}
