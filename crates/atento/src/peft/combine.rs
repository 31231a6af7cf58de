//! Several adapters as one: their sum, exactly or as nearly as a rank allows, or what is left where they contradict each other
//! (Yadav et al. 2023, TIES; Yu et al. 2024, DARE). The arithmetic is that of PEFT's `add_weighted_adapter`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use atento_kernels::philox::Rng;

use super::adapter::PREFIX;
use super::config::{LoraConfig, Targets};
use super::methods::AdapterConfig;
use super::save::{BASE, WEIGHTS_METADATA, write_directory};
use super::tables::pair_ends;
use super::{Adapter, Error, spectrum};
use crate::hub::atomic::atomic_write;
use crate::hub::json::read_object;
use crate::hub::safetensors::NamedTensor;
use crate::hub::{self, CONFIG, chat};

/// The random stream that dropped values are drawn from.
const STREAM: u64 = 0x6461_7265;

/// How the pairs of a module become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// One behind the other: exactly their weighted sum, of a rank that is the sum of theirs.
    Cat,
    /// The pair of a rank that is nearest to the weighted sum.
    Svd,
    /// Each half of the pair a weighted sum: pairs of one rank, whose halves mix.
    Linear,
    /// As linear, of the largest values alone.
    Magnitude,
    /// Of the largest values those whose sign most have, averaged (TIES).
    Ties,
    /// As linear, of values that are kept at random, and made larger for those that are not (DARE).
    DareLinear,
    /// The same with signs as in TIES.
    DareTies,
}

/// Which adapters count how much, and how they are combined.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// How.
    pub combination: Combination,
    /// A factor for each adapter.
    pub weights: Vec<f64>,
    /// The rank of [`Combination::Svd`]; the largest of the adapters' where it is left out.
    pub rank: Option<usize>,
    /// The share of values that are kept where some are not.
    pub density: f64,
    /// What those that are kept at random follow from.
    pub seed: u64,
}

/// A pair of a module: [rank, inputs], [outputs, rank], with the factor of its product.
struct Pair {
    down: Vec<f32>,
    up: Vec<f32>,
    rank: usize,
    inputs: usize,
    outputs: usize,
    scale: f64,
}

/// Writes the combination of adapters to a directory; returns how many modules it adapts.
///
/// # Errors
/// An adapter is not one of low-rank pairs; adapters of different bases, or of which more than one holds a module whole; pairs
/// of a module that do not fit each other, or have other ranks where they must not; the directory cannot be written.
///
/// # Panics
/// If there is not a weight for each adapter, or none.
pub fn combine(adapters: &[Adapter], recipe: &Recipe, out: &Path) -> Result<usize, Error> {
    assert!(!adapters.is_empty() && recipe.weights.len() == adapters.len(), "combine: a weight for each adapter");
    let (first, configs) = (&adapters[0], adapters.iter().map(low_rank).collect::<Result<Vec<&LoraConfig>, Error>>()?);
    let bases: BTreeSet<&str> = adapters.iter().filter_map(Adapter::base_contents).collect();
    if bases.len() > 1 || configs.iter().any(|config| config.fan_in_fan_out != configs[0].fan_in_fan_out) {
        return Err(first.unsupported("the adapters were made for different models".into()));
    }
    let mut modules: BTreeMap<String, (bool, Vec<(f64, Pair)>)> = BTreeMap::new();
    for ((adapter, config), weight) in adapters.iter().zip(&configs).zip(&recipe.weights) {
        for (path, is_table, [(down, down_shape), (up, up_shape)]) in adapter.pairs()? {
            let (&[rank, inputs], &[outputs, up_rank]) = (&down_shape[..], &up_shape[..]) else {
                return Err(adapter.unsupported(format!("the pair of `{path}` is none of matrices")));
            };
            if rank != up_rank || rank == 0 {
                let what = format!("the pair of `{path}` is [{rank}, {inputs}] and [{outputs}, {up_rank}]");
                return Err(adapter.unsupported(what));
            }
            let scale = config.scale_of(&path);
            let (_, pairs) = modules.entry(path).or_insert((is_table, Vec::new()));
            pairs.push((*weight, Pair { down, up, rank, inputs, outputs, scale }));
        }
    }
    let holding: Vec<(&Adapter, _)> =
        adapters.iter().map(|adapter| Ok((adapter, adapter.whole()?))).collect::<Result<_, Error>>()?;
    let holding: Vec<_> = holding.into_iter().filter(|(_, whole)| !whole.is_empty()).collect();
    if let [_, (second, whole), ..] = &holding[..] {
        let what = format!("more than one of the adapters holds a module whole, here `{}`: which counts?", whole[0].0);
        return Err(second.unsupported(what));
    }
    let (mut tensors, mut ranks) = (Vec::new(), BTreeMap::new());
    for (path, (is_table, pairs)) in &modules {
        let [down, up] = joined(pairs, recipe).map_err(|what| first.unsupported(format!("`{path}`: {what}")))?;
        let (inputs, outputs) = (pairs[0].1.inputs, pairs[0].1.outputs);
        let rank = down.len() / inputs;
        ranks.insert(path.clone(), rank);
        let [a, b] = pair_ends(*is_table).map(|end| format!("{PREFIX}{path}.{end}"));
        tensors.push(NamedTensor::new(a, [rank, inputs], down));
        tensors.push(NamedTensor::new(b, [outputs, rank], up));
    }
    let mut copies = BTreeMap::new();
    for adapter in adapters {
        for (name, found) in adapter.copies()? {
            if copies.get(&name).is_some_and(|other| *other != found) {
                return Err(
                    adapter.unsupported(format!("`{name}` of the base is another one there than in the others"))
                );
            }
            copies.insert(name, found);
        }
    }
    for (name, (values, shape)) in copies {
        let stored = name.strip_suffix(".weight").unwrap_or(&name);
        tensors.push(NamedTensor::new(format!("{PREFIX}{stored}.base_layer.weight"), shape, values));
    }
    let owner = holding.first().map_or(first, |(adapter, _)| *adapter);
    for (name, (values, shape)) in holding.into_iter().flat_map(|(_, whole)| whole) {
        tensors.push(NamedTensor::new(format!("{PREFIX}{name}"), shape, values));
    }
    let config = AdapterConfig::Lora(config_of(low_rank(owner)?, &ranks));
    let described = owner.dir.join(CONFIG);
    let model_json = described.exists().then(|| read_object(&described)).transpose()?;
    let base = bases.first().map(|base| (BASE, *base));
    let metadata: Vec<(&str, &str)> = std::iter::once(WEIGHTS_METADATA).chain(base).collect();
    let template = chat_template(adapters)?;
    write_directory(out, &config, model_json.as_ref(), &tensors, &metadata)?;
    template.map_or(Ok(()), |template| atomic_write(&out.join(chat::FILE), &template))?;
    Ok(modules.len())
}

/// The chat template that the adapters were trained with, if they say one.
fn chat_template(adapters: &[Adapter]) -> Result<Option<Vec<u8>>, Error> {
    let mut found: Option<Vec<u8>> = None;
    for adapter in adapters {
        let path = adapter.dir.join(chat::FILE);
        if !path.exists() {
            continue;
        }
        let own = fs::read(&path).map_err(hub::Error::io(&path, "read"))?;
        if found.as_ref().is_some_and(|other| *other != own) {
            let what = format!("its {} is another than that of the others: which counts?", chat::FILE);
            return Err(adapter.unsupported(what));
        }
        found = Some(own);
    }
    Ok(found)
}

/// What an adapter of low-rank pairs says of itself.
fn low_rank(adapter: &Adapter) -> Result<&LoraConfig, Error> {
    match &adapter.config {
        AdapterConfig::Lora(lora) if lora.only_adds() && !lora.ensures_tying => Ok(lora),
        AdapterConfig::Lora(lora) if lora.dora => {
            Err(adapter.unsupported("lengths of rows (`use_dora`) cannot be combined".into()))
        }
        AdapterConfig::Lora(_) => {
            let what = "pairs that stand in the place of parts of the base (`init_lora_weights` \"pissa\"), \
                        rows of tokens (`trainable_token_indices`), and pairs that two modules have in common, cannot be combined";
            Err(adapter.unsupported(what.into()))
        }
        _ => Err(adapter.unsupported("adapters of low-rank pairs can be combined, and no others".into())),
    }
}

/// What the combination says of itself: factors are in the pairs, so α is the rank.
fn config_of(owner: &LoraConfig, ranks: &BTreeMap<String, usize>) -> LoraConfig {
    let rank = ranks.values().copied().max().unwrap_or(1);
    let others = || ranks.iter().filter(|(_, other)| **other != rank);
    LoraConfig {
        rank,
        alpha: rank as f64,
        dropout: 0.0,
        targets: Targets::Names(ranks.keys().cloned().collect()),
        exclude: None,
        layers: None,
        layers_pattern: Vec::new(),
        ranks: others().map(|(path, rank)| (regex::escape(path), *rank)).collect(),
        alphas: others().map(|(path, rank)| (regex::escape(path), *rank as f64)).collect(),
        rank_stabilized: false,
        parts: Vec::new(),
        ..owner.clone()
    }
}

/// The pairs of a module, each with its weight, as one.
fn joined(pairs: &[(f64, Pair)], recipe: &Recipe) -> Result<[Vec<f32>; 2], String> {
    let Pair { inputs, outputs, rank, .. } = pairs[0].1;
    if let Some((_, other)) = pairs.iter().find(|(_, pair)| (pair.inputs, pair.outputs) != (inputs, outputs)) {
        let (other_inputs, other_outputs) = (other.inputs, other.outputs);
        return Err(format!(
            "of the adapters one is for [{outputs}, {inputs}], another for [{other_outputs}, {other_inputs}]"
        ));
    }
    match recipe.combination {
        Combination::Cat => return Ok(stacked(pairs).map(|half| half.iter().map(|x| *x as f32).collect())),
        Combination::Svd => {
            let [down, up] = stacked(pairs);
            let all = pairs.iter().map(|(_, pair)| pair.rank).sum();
            let largest = pairs.iter().map(|(_, pair)| pair.rank).max().unwrap_or(1);
            let rank = recipe.rank.unwrap_or(largest).min(inputs).min(outputs);
            return Ok(spectrum::truncated(&down, &up, all, rank));
        }
        _ => {}
    }
    if let Some((_, other)) = pairs.iter().find(|(_, pair)| pair.rank != rank) {
        return Err(format!("the ranks are {rank} and {}: take another method, which gives one rank", other.rank));
    }
    let mut halves = [Vec::new(), Vec::new()];
    for (at, half) in halves.iter_mut().enumerate() {
        let weighted = pairs.iter().enumerate().map(|(number, (weight, pair))| {
            let factor = weight * pair.scale;
            // The sign is that of one half, or the product would lose it.
            let sign = if at == 0 && factor < 0.0 { -1.0 } else { 1.0 };
            let values = if at == 0 { &pair.down } else { &pair.up };
            (sign * factor.abs().sqrt(), kept(values, recipe, (2 * number + at) as u64))
        });
        *half = mixed(&weighted.collect::<Vec<_>>(), recipe.combination);
    }
    Ok(halves)
}

/// The pairs one behind the other: exactly the weighted sum of their products.
fn stacked(pairs: &[(f64, Pair)]) -> [Vec<f64>; 2] {
    let all: usize = pairs.iter().map(|(_, pair)| pair.rank).sum();
    let outputs = pairs[0].1.outputs;
    let (mut down, mut up, mut first) = (Vec::new(), vec![0.0; outputs * all], 0);
    for (weight, pair) in pairs {
        down.extend(pair.down.iter().map(|x| weight * pair.scale * f64::from(*x)));
        for (row, values) in pair.up.chunks_exact(pair.rank).enumerate() {
            let to = &mut up[row * all + first..][..pair.rank];
            to.iter_mut().zip(values).for_each(|(to, x)| *to = f64::from(*x));
        }
        first += pair.rank;
    }
    [down, up]
}

/// The values that a method keeps of one half of a pair; the others are zero.
fn kept(values: &[f32], recipe: &Recipe, number: u64) -> Vec<f64> {
    let mut kept: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
    match recipe.combination {
        _ if recipe.density >= 1.0 => {}
        Combination::Magnitude | Combination::Ties => {
            let count = (recipe.density * values.len() as f64) as usize;
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|x, y| values[*y].abs().total_cmp(&values[*x].abs()));
            order.into_iter().skip(count).for_each(|at| kept[at] = 0.0);
        }
        Combination::DareLinear | Combination::DareTies => {
            let mut rng = Rng::new(recipe.seed, STREAM + number);
            for value in &mut kept {
                let stays = f64::from(rng.uniform()) < recipe.density;
                *value = if stays { *value / recipe.density } else { 0.0 };
            }
        }
        Combination::Cat | Combination::Svd | Combination::Linear => {}
    }
    kept
}

/// Weighted sums; where signs are elected, means of those values that have the sign of the sum of all.
fn mixed(tensors: &[(f64, Vec<f64>)], combination: Combination) -> Vec<f32> {
    let elects = matches!(combination, Combination::Ties | Combination::DareTies);
    let value = |at: usize| {
        let values = tensors.iter().map(|(weight, values)| (weight, values[at]));
        if !elects {
            return values.map(|(weight, x)| weight * x).sum::<f64>() as f32;
        }
        let sign = if values.clone().map(|(_, x)| x).sum::<f64>() >= 0.0 { 1.0 } else { -1.0 };
        let agreeing = values.filter(|(_, x)| *x != 0.0 && x.signum() == sign);
        let (sum, count) = agreeing.fold((0.0, 0.0), |(sum, count), (weight, x)| (sum + weight * x, count + 1.0));
        (sum / f64::max(count, 1.0)) as f32
    };
    (0..tensors[0].1.len()).map(value).collect()
}
