//! A new adapter: which modules of a model get a pair, what is trained whole beside them, and how the pairs begin.

use std::sync::Arc;

use atento_kernels::linear::WeightLayout;
use atento_kernels::philox::Rng;
use atento_tensor::{Init, LookupPair, LowRank, Magnitude, ParamEntry, Params, ReplacedRows, Scaling, Weight};

use super::config::{Bias, LoraConfig, Targets};
use super::methods::AdapterConfig;
use super::modules::{Module, ends_in, is_within, modules};
use super::principal;
use super::tables::{self, TABLE_PAIR, TOKEN_ROWS};
use super::virtual_tokens::{row_of, token_table};
use crate::families::Config;
use crate::messages;

/// The random stream that pairs start from.
const STREAM: u64 = 0x6c6f_7261;

/// How the thin matrix that reads the input begins; the other begins with zeros (Hu et al. 2021, §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Uniform in ±1/√inputs: He et al. 2015 as PyTorch's layers have it, and PEFT.
    #[default]
    Uniform,
    /// Normal with standard deviation 1/rank.
    Gaussian,
}

/// A setting that no adapter of this model can have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct Unfit {
    /// The setting, as adapter_config.json has it.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// An adapter that is to be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAdapter {
    /// What it says of itself.
    pub config: AdapterConfig,
    /// The modules that get a pair.
    pub modules: Vec<Module>,
    /// The names of the model's own parameters that are trained with it.
    pub whole: Vec<String>,
    /// The tables and outputs of which the rows of some tokens are trained.
    pub tokens: Vec<(Module, Arc<[u32]>)>,
    /// The table of tokens, whose rows a prompt begins with.
    table: Option<Weight>,
    /// What each setting matches, a sentence each.
    pub notes: Vec<String>,
}

impl NewAdapter {
    /// What an adapter would be on a model. `missing` names parameters that the base does not have, which are trained whole.
    ///
    /// # Errors
    /// A setting matches nothing, or the rank is above what the matrix has.
    pub fn of(
        mut config: AdapterConfig,
        model: &dyn Config,
        params: &Params,
        missing: &[String],
    ) -> Result<Self, Unfit> {
        let all = modules(model, params);
        let mut notes = Vec::new();
        if let Some(Targets::Names(names)) = config.targets() {
            for name in names {
                let count = all.iter().filter(|module| ends_in(&module.path, name)).count();
                if count == 0 {
                    return Err(no_match("target_modules", name, &all));
                }
                notes.push(format!("target modules: {name:?} matches {}", messages::count(count as u64, "module")));
            }
        }
        let whole = whole(&config, model, params, missing, &all, &mut notes)?;
        let adapted: Vec<Module> = all.iter().filter(|module| config.adapts(module)).cloned().collect();
        if let (Some(targets), true) = (config.targets(), adapted.is_empty()) {
            return Err(nothing_adapted(&config, targets, &all));
        }
        if let AdapterConfig::Virtual(tokens) = &mut config {
            *tokens = tokens.fitted(model, &all)?;
            notes.push(tokens.note(model));
        } else if adapted.is_empty() && whole.is_empty() {
            let problem = "it trains nothing of this model, which has no biases and no output of its own".into();
            return Err(Unfit { key: "peft_type", problem });
        }
        // Those of a model all lie alike, but for tables and outputs.
        let is_in_out = adapted.iter().any(|module| module.layout == WeightLayout::InOut);
        match &mut config {
            AdapterConfig::Lora(lora) => lora.fan_in_fan_out = is_in_out,
            AdapterConfig::Ia3(ia3) => ia3.fan_in_fan_out = is_in_out,
            AdapterConfig::BitFit(_) | AdapterConfig::Virtual(_) | AdapterConfig::Houlsby(_) => {}
        }
        for module in &adapted {
            check(&config, module, model)?;
        }
        if let AdapterConfig::Lora(lora) = &config {
            check_patterns(lora, &adapted)?;
        }
        notes.extend(adapted.iter().filter_map(one_end));
        let tokens = match &config {
            AdapterConfig::Lora(LoraConfig { tokens: Some(tokens), .. }) => tokens.of_modules(&config, params, &all)?,
            _ => Vec::new(),
        };
        for (module, ids) in &tokens {
            notes.push(format!(
                "rows of `{}`: {} are trained",
                module.path,
                messages::count(ids.len() as u64, "token")
            ));
        }
        let table = token_table(model, &all).map(|module| module.weight);
        Ok(Self { config, modules: adapted, whole, tokens, table, notes })
    }

    /// Whether a parameter of the model is trained with it.
    #[must_use]
    pub fn trains(&self, entry: &ParamEntry) -> bool {
        self.whole.contains(&entry.name)
    }

    /// Puts the pairs on the model, which computes what it did before. Lengths of rows are those that the rows have, and rows of
    /// tokens those that the tables have.
    pub fn begin(&self, params: &mut Params, start: Start, seed: u64) {
        match &self.config {
            AdapterConfig::Lora(lora) => {
                self.begin_pairs(lora, params, start, seed);
                self.begin_tokens(params);
            }
            AdapterConfig::Ia3(ia3) => {
                for module in &self.modules {
                    let (name, (outputs, inputs)) = (format!("{}.ia3_l", module.path), module.sizes());
                    let is_input = ia3.feedforward.contain(module);
                    let dims = if is_input { [1, inputs] } else { [outputs, 1] };
                    let factors = Some(params.add_trained(&name, &dims, Init::Ones, &mut Rng::new(0, STREAM)));
                    params.set_scaling(
                        module.weight,
                        match is_input {
                            true => Scaling { inputs: factors, outputs: None },
                            false => Scaling { inputs: None, outputs: factors },
                        },
                    );
                }
            }
            AdapterConfig::Virtual(tokens) => tokens.begin(params, self.table, seed),
            AdapterConfig::Houlsby(houlsby) => houlsby.begin(params, &self.modules, seed),
            AdapterConfig::BitFit(_) => {}
        }
    }

    fn begin_tokens(&self, params: &mut Params) {
        for (module, ids) in &self.tokens {
            let (name, dims) = (format!("{}.{TOKEN_ROWS}", module.path), [ids.len(), module.weight.cols]);
            let rows = params.add_trained(&name, &dims, Init::Zeros, &mut Rng::new(0, STREAM));
            if params.has_values() {
                let values: Vec<f32> = ids.iter().flat_map(|id| row_of(params, module.weight, *id as usize)).collect();
                params.get_mut(rows).copy_from_slice(&values);
            }
            params.set_replaced_rows(module.weight, ReplacedRows { ids: Arc::clone(ids), rows });
        }
    }

    /// A pair of a table begins as PEFT's does: what is looked up with zeros, the other at random.
    fn begin_table_pair(lora: &LoraConfig, params: &mut Params, module: &Module, rng: &mut Rng) {
        let (Module { path, weight, .. }, (width, count)) = (module, module.sizes());
        let rank = lora.rank_of(path);
        let rows = params.add_trained(&format!("{path}.{}", TABLE_PAIR[0]), &[count, rank], Init::Zeros, rng);
        let up = params.add_trained(&format!("{path}.{}", TABLE_PAIR[1]), &[width, rank], Init::Normal(1.0), rng);
        params.set_lookup_pair(*weight, LookupPair { rows, up, scale: lora.scale_of(path) as f32 });
    }

    fn begin_pairs(&self, lora: &LoraConfig, params: &mut Params, start: Start, seed: u64) {
        let rng = &mut Rng::new(seed, STREAM);
        for module in &self.modules {
            if module.is_table {
                Self::begin_table_pair(lora, params, module, rng);
                continue;
            }
            let (Module { path, weight, .. }, (outputs, inputs)) = (module, module.sizes());
            let rank = lora.rank_of(path);
            let init = match start {
                Start::Uniform => Init::Uniform(1.0 / (inputs as f32).sqrt()),
                Start::Gaussian => Init::Normal(1.0 / rank as f32),
            };
            let parts = lora.parts_of(path, outputs);
            for range in &parts {
                let name = |half: &str| match parts.len() == 1 && range.len() == outputs {
                    true => format!("{path}.lora_{half}"),
                    false => format!("{path}.{}.lora_{half}", range.start),
                };
                let down = params.add_trained(&name("A.weight"), &[rank, inputs], init, rng);
                let up = params.add_trained(&name("B.weight"), &[range.len(), rank], Init::Zeros, rng);
                let magnitude = lora.dora.then(|| {
                    let magnitude = params.add_trained(&name("magnitude_vector"), &[outputs], Init::Zeros, rng);
                    if params.has_values() {
                        let lengths = params.row_lengths(*weight);
                        params.get_mut(magnitude).copy_from_slice(&lengths);
                    }
                    Magnitude::new(magnitude)
                });
                let (scale, dropout, outputs) = (lora.scale_of(path) as f32, lora.dropout as f32, range.clone());
                let pair = LowRank { down, up, scale, dropout, outputs, magnitude };
                params.add_low_rank(*weight, pair.clone());
                if lora.principal {
                    let found = (!params.is_outline())
                        .then(|| principal::of_module(params, module, range, rank, lora.scale_of(path)));
                    if let Some([from_down, from_up]) = &found {
                        params.get_mut(down).copy_from_slice(from_down);
                        params.get_mut(up).copy_from_slice(from_up);
                    }
                    let names = principal::TAKEN.map(|end| name(end.trim_start_matches("lora_")));
                    principal::take_away(params, *weight, names, found, &pair);
                }
            }
        }
    }
}

/// What is said of a pair on one end of a table that is the output too.
fn one_end(module: &Module) -> Option<String> {
    let (path, other) = (&module.path, module.tied_to.as_ref()?);
    let end = if module.is_table { "what is looked up" } else { "the output" };
    Some(format!(
        "`{path}` is tied to `{other}`: the pair changes {end} alone, and a model that it is merged into has a table for each"
    ))
}

/// What is trained whole: what the base lacks, an output for labels or answers, what is named, and biases.
fn whole(
    config: &AdapterConfig,
    model: &dyn Config,
    params: &Params,
    missing: &[String],
    all: &[Module],
    notes: &mut Vec<String>,
) -> Result<Vec<String>, Unfit> {
    let path_of = |entry: &ParamEntry| {
        let stored = model.sources(&entry.name).swap_remove(0);
        stored.rsplit_once('.').map_or_else(|| stored.clone(), |(path, _)| path.to_owned())
    };
    let to_save = &config.common().modules_to_save;
    for name in to_save {
        let is_in = |entry: &ParamEntry| is_within(&path_of(entry), name);
        let (mut count, mut values) = (0, 0);
        for entry in params.entries().iter().filter(|entry| is_in(entry)) {
            (count, values) = (count + 1, values + entry.weight.len());
        }
        if count == 0 {
            let is_tied = |module: &&Module| module.is_output && is_within(&module.path, name);
            if let Some(table) = all.iter().find(is_tied).and_then(|module| module.tied_to.as_ref()) {
                let problem = format!("{name:?} is the table `{table}`, which the output is tied to: name that");
                return Err(Unfit { key: "modules_to_save", problem });
            }
            return Err(no_match("modules_to_save", name, all));
        }
        notes.push(format!("modules to save: {name:?} matches {count} parameters, {values} values"));
    }
    let adapted: Vec<&str> =
        all.iter().filter(|module| config.adapts(module)).map(|module| module.path.as_str()).collect();
    let bias = match config {
        AdapterConfig::Lora(lora) => lora.bias,
        AdapterConfig::Ia3(_) | AdapterConfig::Virtual(_) | AdapterConfig::Houlsby(_) => Bias::None,
        AdapterConfig::BitFit(_) => Bias::All,
    };
    let is_trained_bias = |entry: &ParamEntry| {
        (entry.name.ends_with(".bias") || entry.name == "bias")
            && match bias {
                Bias::None => false,
                Bias::All => true,
                Bias::LoraOnly => adapted.contains(&path_of(entry).as_str()),
            }
    };
    let is_whole = |entry: &&ParamEntry| {
        entry.is_trained()
            && (missing.contains(&entry.name)
                || is_trained_bias(entry)
                || to_save.iter().any(|name| is_within(&path_of(entry), name)))
    };
    Ok(params.entries().iter().filter(is_whole).map(|entry| entry.name.clone()).collect())
}

/// Refuses patterns for ranks and factors that name no module that is adapted.
fn check_patterns(lora: &LoraConfig, adapted: &[Module]) -> Result<(), Unfit> {
    for (key, patterns) in
        [("rank_pattern", lora.ranks.keys().collect::<Vec<_>>()), ("alpha_pattern", lora.alphas.keys().collect())]
    {
        let names = |pattern: &str| adapted.iter().any(|module| super::config::is_named(pattern, &module.path));
        if let Some(pattern) = patterns.into_iter().find(|pattern| !names(pattern)) {
            let problem = format!("{pattern:?} names none of the modules that are adapted");
            return Err(Unfit { key, problem });
        }
    }
    Ok(())
}

fn check(config: &AdapterConfig, module: &Module, model: &dyn Config) -> Result<(), Unfit> {
    let refuse = |key, problem| Err(Unfit { key, problem });
    let path = &module.path;
    tables::check(config, module)?;
    let AdapterConfig::Lora(lora) = config else { return Ok(()) };
    let (rank, (outputs, inputs)) = (lora.rank_of(path), module.sizes());
    let parts = lora.parts_of(path, outputs);
    if lora.dora && lora.principal {
        return refuse("use_dora", "it does not go with pairs that begin as parts of their matrices".into());
    }
    if lora.dora && parts[0].len() < outputs {
        let problem = format!("it does not go with parts of `{path}`: name the whole module");
        return refuse("use_dora", problem);
    }
    // Pairs of parts are saved as one, and so is what pairs begin as with what they become.
    let most = outputs.min(inputs) / parts.len() / if lora.principal { 2 } else { 1 };
    if rank > most {
        let family = model.family().name();
        let problem = format!("it is {rank}, but `{path}` of this {family} is [{outputs}, {inputs}]: at most {most}");
        return refuse("r", problem);
    }
    Ok(())
}

fn nothing_adapted(config: &AdapterConfig, targets: &Targets, all: &[Module]) -> Unfit {
    let named = |module: &&Module| targets.contain(module);
    let (key, problem) = match (targets, all.iter().filter(named).count()) {
        (Targets::Pattern(pattern), 0) => return no_match("target_modules", pattern.text(), all),
        (_, 0) => ("target_modules", "they match no module of the model".to_owned()),
        (_, count) => {
            let has_layers = matches!(config, AdapterConfig::Lora(lora) if lora.layers.is_some());
            let key = if has_layers { "layers_to_transform" } else { "exclude_modules" };
            (key, format!("it leaves none of the {count} modules that are named"))
        }
    };
    Unfit { key, problem }
}

fn no_match(key: &'static str, name: &str, all: &[Module]) -> Unfit {
    // Names are mostly the last part of a path.
    let ends = all.iter().map(|module| module.path.rsplit('.').next().unwrap_or(&module.path));
    let near = messages::nearest(name, ends.chain(all.iter().map(|module| module.path.as_str())));
    let hint = match near {
        Some(near) => format!("the nearest is `{near}`"),
        None => {
            let mut ends: Vec<&str> = all.iter().filter_map(|module| module.path.rsplit('.').next()).collect();
            ends.sort_unstable();
            ends.dedup();
            format!("they end in {}", messages::list(ends))
        }
    };
    Unfit { key, problem: format!("{name:?} matches no module of the model; {hint}") }
}
