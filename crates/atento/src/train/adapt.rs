//! Training an adapter (`train.method` "lora" and the others that leave the model as it is): what the recipe says of it, on the model of the run.
//!
//! The model's own weights are frozen ([`freeze`](super::freeze)), mapped from the model that the run starts from, and what the
//! adapter adds is trained in their place. Checkpoints hold what is trained, `model/` holds an adapter.

pub(crate) mod further;
#[cfg(test)]
mod tests;

use std::path::Path;

use atento_tensor::Params;

use super::Error;
use super::recipe::{AdaptedBiases, HoulsbySettings, Ia3Settings, LoraSettings, Method, PairStart, Recipe, TokenName};
use crate::families::{Config, Head};
use crate::hub::ModelDir;
use crate::messages;
use crate::peft::{
    self, AdapterConfig, Bias, BitFitConfig, Common, HoulsbyConfig, Ia3Config, LoraConfig, NewAdapter, Pattern,
    Targets, TrainedTokens, Unfit, VirtualConfig, VirtualKind, default_bottlenecks, default_factors, default_targets,
    resolve,
};
use crate::pipelines::LoadError;
use crate::text::Tokenizer;

/// The adapter that a recipe trains on a model, if it trains one. `from` is the model that the run starts from; without it,
/// what of the model is new is not known.
///
/// # Errors
/// A setting of `[lora]` does not go with the model.
pub(super) fn new_adapter(
    recipe: &Recipe,
    config: &dyn Config,
    params: &Params,
    from: Option<&Path>,
) -> Result<Option<NewAdapter>, Error> {
    if !recipe.train.method.is_adapter() {
        return Ok(None);
    }
    let held = from.map_or(Ok(None), further::adapter_at)?;
    if let (Some(held), Some(held_at)) = (held, from) {
        let (base, dropout) = (ModelDir::open(held_at).map_err(LoadError::from)?, recipe.lora.dropout);
        held.check_base(base.path()).map_err(LoadError::from)?;
        return Ok(Some(held.to_train(config, params, dropout).map_err(LoadError::from)?));
    }
    let missing = from.map_or(Ok(Vec::new()), |from| missing(config, from))?;
    let mut adapter = match recipe.train.method {
        Method::Ia3 => AdapterConfig::Ia3(ia3_config(&recipe.ia3, config)?),
        Method::BitFit => AdapterConfig::BitFit(BitFitConfig::default()),
        Method::Prefix => AdapterConfig::Virtual(virtual_config(VirtualKind::Prefix, recipe)),
        Method::Prompt => AdapterConfig::Virtual(virtual_config(VirtualKind::Prompt, recipe)),
        Method::Houlsby => AdapterConfig::Houlsby(houlsby_config(&recipe.houlsby, config)?),
        _ => AdapterConfig::Lora(LoraConfig {
            tokens: trained_tokens(&recipe.lora.trainable_tokens, from)?,
            ..lora_config(&recipe.lora, config)?
        }),
    };
    let common = adapter.common_mut();
    common.task = task(config.head()).map(str::to_owned);
    common.base =
        from.map(|from| from.canonicalize().unwrap_or_else(|_| from.to_owned()).to_string_lossy().into_owned());
    for name in missing.iter().cloned().chain(outputs(config)) {
        let path = module_of(&config.sources(&name).swap_remove(0));
        if !common.modules_to_save.contains(&path) {
            common.modules_to_save.push(path);
        }
    }
    let method = recipe.train.method;
    Ok(Some(NewAdapter::of(adapter, config, params, &missing).map_err(|unfit| refused(&unfit, method))?))
}

/// Whether virtual tokens of a recipe take positions: prompts do, and in decoders keys and values.
pub(crate) fn takes_positions(recipe: &Recipe, config: &dyn Config) -> bool {
    let is_causal = config.attention_shape().is_some_and(|shape| shape.is_causal);
    is_causal || recipe.train.method == Method::Prompt
}

/// The positions that virtual tokens leave to texts, where they take any.
///
/// # Errors
/// They leave none, or less than `data.block_size`.
pub(crate) fn positions_left(recipe: &Recipe, positions: usize) -> Result<usize, Error> {
    let left = positions.saturating_sub(recipe.virtual_tokens());
    let wrong = |key, problem| Err(Error::Setting { key, problem });
    match recipe.data.block_size {
        _ if recipe.virtual_tokens() == 0 => Ok(positions),
        _ if left == 0 => wrong("prompt.tokens", format!("they leave no room: the model has {positions} positions")),
        Some(block) if block > left => wrong(
            "data.block_size",
            format!("it is {block}, but `prompt.tokens` leaves {left} of {positions} positions"),
        ),
        _ => Ok(left),
    }
}

/// Puts an adapter on the model of a run that begins: as new ones are, or with the values of the one that is trained further.
///
/// # Errors
/// That one is damaged, or for another model.
pub(super) fn begin(
    adapter: &NewAdapter,
    recipe: &Recipe,
    config: &dyn Config,
    params: &mut Params,
    from: Option<&Path>,
) -> Result<(), Error> {
    let start = match recipe.lora.start {
        PairStart::Uniform | PairStart::Principal => peft::Start::Uniform,
        PairStart::Gaussian => peft::Start::Gaussian,
    };
    adapter.begin(params, start, recipe.seed);
    match from.map_or(Ok(None), further::adapter_at)? {
        Some(held) if params.has_values() => Ok(held.read_values(config, params, adapter).map_err(LoadError::from)?),
        _ => Ok(()),
    }
}

/// Refuses a run that has nothing to put its adapter on.
///
/// # Errors
/// That.
pub(super) fn check_base(recipe: &Recipe, from: Option<&Path>) -> Result<(), Error> {
    match from {
        None if recipe.train.method.is_adapter() => {
            let problem =
                format!("\"{}\" needs a model to put the adapter on: name one with --from", recipe.train.method);
            Err(Error::Setting { key: "train.method", problem })
        }
        _ => Ok(()),
    }
}

/// The parameters of the head that the base does not have.
fn missing(config: &dyn Config, from: &Path) -> Result<Vec<String>, Error> {
    let Some(headed) = config.headed() else { return Ok(Vec::new()) };
    let weights = ModelDir::open(from).and_then(|dir| dir.weights()).map_err(LoadError::from)?;
    let is_missing = |name: &String| !config.sources(name).iter().any(|stored| weights.contains(stored));
    Ok(headed.own_parameters().into_iter().map(|(name, _)| name).filter(is_missing).collect())
}

/// The parameters of an output for labels or answers, which is trained whole. What it reads through, such as BERT's pooler, is
/// the model's.
fn outputs(config: &dyn Config) -> Vec<String> {
    let Some(headed) = config.headed() else { return Vec::new() };
    match headed.head {
        Head::Labels | Head::Tags | Head::Span | Head::Choice => {
            let own = headed.own_parameters().into_iter().map(|(name, _)| name);
            own.filter(|name| !name.split('.').any(|part| part == "pooler")).collect()
        }
        _ => Vec::new(),
    }
}

/// Outputs that PEFT trains and saves whole as they are, whatever lies in them: RoBERTa's `classifier` is two layers.
const OUTPUTS_OF_PEFT: [&str; 3] = ["classifier", "score", "qa_outputs"];

/// The module that a tensor is of, as it is saved whole.
fn module_of(stored: &str) -> String {
    let path = stored.rsplit_once('.').map_or(stored, |(path, _)| path);
    let first = path.split('.').next().filter(|first| OUTPUTS_OF_PEFT.contains(first));
    first.unwrap_or(path).to_owned()
}

fn lora_config(settings: &LoraSettings, config: &dyn Config) -> Result<LoraConfig, Error> {
    let (names, parts) = resolve(&model_type(config)?, &settings.targets);
    let targets = match (&settings.target_pattern, &settings.targets[..]) {
        (Some(_), [_, ..]) => {
            let problem = "`lora.targets` names modules already: set one of the two".into();
            return Err(Error::Setting { key: "lora.target_pattern", problem });
        }
        (Some(pattern), []) => Targets::Pattern(Pattern::new(pattern).map_err(|fault| Error::Setting {
            key: "lora.target_pattern",
            problem: format!("it is no regular expression: {fault}"),
        })?),
        (None, [all]) if all == "all-linear" => Targets::AllLinear,
        (None, []) => Targets::Names(defaults(config)?),
        (None, _) => Targets::Names(names),
    };
    let named = |names: &[String]| (!names.is_empty()).then(|| Targets::Names(names.to_vec()));
    let whole = |text: &str| text.parse::<usize>().ok().filter(|rank| *rank > 0);
    let number = |text: &str| text.parse::<f64>().ok().filter(|alpha| alpha.is_finite());
    Ok(LoraConfig {
        rank: settings.rank,
        alpha: settings.alpha,
        dropout: settings.dropout,
        targets,
        exclude: named(&settings.exclude),
        layers: (!settings.layers.is_empty()).then(|| settings.layers.clone()),
        layers_pattern: Vec::new(),
        ranks: pairs("lora.ranks", &settings.ranks, whole)?,
        alphas: pairs("lora.alphas", &settings.alphas, number)?,
        bias: match settings.bias {
            AdaptedBiases::None => Bias::None,
            AdaptedBiases::All => Bias::All,
            AdaptedBiases::LoraOnly => Bias::LoraOnly,
        },
        // Found out on the model.
        fan_in_fan_out: false,
        rank_stabilized: settings.rank_stabilized,
        dora: settings.dora,
        principal: settings.start == PairStart::Principal,
        tokens: None,
        ensures_tying: false,
        parts,
        common: Common { modules_to_save: settings.modules_to_save.clone(), ..Common::default() },
    })
}

/// The ids of the tokens whose rows are trained. Without a model to ask, the first ones stand for them: there are as many.
fn trained_tokens(names: &[TokenName], from: Option<&Path>) -> Result<Option<TrainedTokens>, Error> {
    let Some(from) = from.filter(|_| !names.is_empty()) else {
        return Ok((!names.is_empty()).then(|| TrainedTokens::OfInput((0..names.len() as u32).collect())));
    };
    let path = ModelDir::open(from).and_then(|dir| dir.tokenizer_path()).map_err(LoadError::from)?;
    let tokenizer = Tokenizer::load(path)?;
    let id = |name: &TokenName| match name {
        TokenName::Id(id) => Ok(*id),
        TokenName::Text(text) => tokenizer.token_to_id(text).ok_or_else(|| Error::Setting {
            key: "lora.trainable_tokens",
            problem: format!("{:?} is no token of the vocabulary of {}", messages::cut(text), from.display()),
        }),
    };
    names.iter().map(id).collect::<Result<_, _>>().map(|ids| Some(TrainedTokens::OfInput(ids)))
}

/// What PEFT calls the use of a model.
fn task(head: Head) -> Option<&'static str> {
    match head {
        Head::Labels => Some("SEQ_CLS"),
        Head::Tags => Some("TOKEN_CLS"),
        Head::Span => Some("QUESTION_ANS"),
        Head::Language => Some("CAUSAL_LM"),
        Head::Translation => Some("SEQ_2_SEQ_LM"),
        Head::Choice | Head::Words | Head::Pretraining | Head::States => None,
    }
}

fn ia3_config(settings: &Ia3Settings, config: &dyn Config) -> Result<Ia3Config, Error> {
    let (targets, feedforward) = match (&settings.targets[..], &settings.feedforward[..]) {
        ([], []) => {
            let model_type = model_type(config)?;
            let [targets, feedforward] = default_factors(&model_type).ok_or_else(|| Error::Setting {
                key: "ia3.targets",
                problem: format!("there is no default for models of type {model_type:?}: name modules"),
            })?;
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            (owned(targets), owned(feedforward))
        }
        (targets, feedforward) => (targets.to_vec(), feedforward.to_vec()),
    };
    if let Some(name) = feedforward.iter().find(|name| !targets.contains(name)) {
        let problem = format!("{name:?} is none of `ia3.targets`: {}", targets.join(", "));
        return Err(Error::Setting { key: "ia3.feedforward", problem });
    }
    Ok(Ia3Config {
        targets: Targets::Names(targets),
        feedforward: Targets::Names(feedforward),
        exclude: None,
        fan_in_fan_out: false,
        common: Common { modules_to_save: settings.modules_to_save.clone(), ..Common::default() },
    })
}

fn virtual_config(kind: VirtualKind, recipe: &Recipe) -> VirtualConfig {
    let mut config = VirtualConfig::new(kind, recipe.prompt.tokens);
    config.common.modules_to_save.clone_from(&recipe.prompt.modules_to_save);
    config
}

fn houlsby_config(settings: &HoulsbySettings, config: &dyn Config) -> Result<HoulsbyConfig, Error> {
    let targets = match &settings.targets[..] {
        [] => {
            let model_type = model_type(config)?;
            let found = default_bottlenecks(&model_type).ok_or_else(|| Error::Setting {
                key: "houlsby.targets",
                problem: format!("there is no default for models of type {model_type:?}: name modules"),
            })?;
            found.iter().map(|name| (*name).to_owned()).collect()
        }
        targets => targets.to_vec(),
    };
    let exclude = (!settings.exclude.is_empty()).then(|| Targets::Names(settings.exclude.clone()));
    let common = Common { modules_to_save: settings.modules_to_save.clone(), ..Common::default() };
    Ok(HoulsbyConfig { size: settings.size, targets: Targets::Names(targets), exclude, common })
}

fn model_type(config: &dyn Config) -> Result<String, Error> {
    let json = config.to_json().map_err(LoadError::from)?;
    Ok(json.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
}

fn defaults(config: &dyn Config) -> Result<Vec<String>, Error> {
    let model_type = model_type(config)?;
    let found = default_targets(&model_type).ok_or_else(|| Error::Setting {
        key: "lora.targets",
        problem: format!("there is no default for models of type {model_type:?}: name modules, or \"all-linear\""),
    })?;
    Ok(found.iter().map(|name| (*name).to_owned()).collect())
}

/// Entries "NAME=NUMBER".
fn pairs<T>(
    key: &'static str,
    entries: &[String],
    read: impl Fn(&str) -> Option<T>,
) -> Result<std::collections::BTreeMap<String, T>, Error> {
    let pair = |entry: &String| {
        let (name, value) = entry.rsplit_once('=')?;
        Pattern::new(name).ok()?;
        Some((name.to_owned(), read(value.trim())?))
    };
    let wrong = |entry: &String| Error::Setting {
        key,
        problem: format!("{:?} is no \"NAME=NUMBER\", such as \"query=16\"", messages::cut(entry)),
    };
    entries.iter().map(|entry| pair(entry).ok_or_else(|| wrong(entry))).collect()
}

/// The setting of adapter_config.json as the recipe has it.
fn refused(unfit: &Unfit, method: Method) -> Error {
    let of_method = |lora, ia3, prompt, houlsby| match method {
        Method::Ia3 => ia3,
        Method::Prefix | Method::Prompt => prompt,
        Method::Houlsby => houlsby,
        _ => lora,
    };
    let key = match unfit.key {
        "peft_type" => "train.method",
        "num_virtual_tokens" => "prompt.tokens",
        "modules_to_save" => of_method(
            "lora.modules_to_save",
            "ia3.modules_to_save",
            "prompt.modules_to_save",
            "houlsby.modules_to_save",
        ),
        "r" => "lora.rank",
        "rank_pattern" => "lora.ranks",
        "alpha_pattern" => "lora.alphas",
        "layers_to_transform" => "lora.layers",
        "exclude_modules" => of_method("lora.exclude", "ia3.targets", "train.method", "houlsby.exclude"),
        "use_dora" => "lora.dora",
        "trainable_token_indices" => "lora.trainable_tokens",
        _ => of_method("lora.targets", "ia3.targets", "train.method", "houlsby.targets"),
    };
    Error::Setting { key, problem: unfit.problem.clone() }
}
