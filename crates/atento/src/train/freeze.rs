//! Which parameters a run trains: `train.freeze` and `train.train_only`.
//!
//! A pattern names a parameter, or a module and so everything in it: `h.0.attn` is all of the first block's attention. `*`
//! stands for any run of characters. With `train_only` everything else is frozen; `freeze` then freezes what it names.
//!
//! What is frozen keeps the values it starts with. They are mapped from the model that the run started from, which the
//! checkpoints name by path and contents; without one they are the random ones that follow from the seed.
//! A file that is cut short while it is mapped ends the process (`hub::mmap`), at the cost of the updates since the last
//! checkpoint; a resumed run refuses a model that has changed.

use std::path::Path;

use atento_tensor::{ParamEntry, Params};

use super::Error;
use super::adapt::{self, new_adapter};
use super::checkpoint::Identity;
use super::events::group_thousands;
use super::recipe::{BaseDtype, Method, Recipe};
use super::step::Trainable;
use crate::families::Config;
use crate::families::heads::POOLED_OUTPUT;
use crate::hub::ModelDir;
use crate::hub::contents::contents;
use crate::messages;
use crate::models::Precision;
use crate::models::depth::{Depth, depth};
use crate::peft::NewAdapter;

/// What the recipe freezes of a model.
pub(super) struct Frozen {
    /// Names, in the order of the table.
    names: Vec<String>,
    /// What each pattern matches, a sentence each.
    pub notes: Vec<String>,
}

impl Frozen {
    /// What the recipe freezes of these parameters; with an adapter, all that is not trained with it.
    ///
    /// # Errors
    /// A pattern matches nothing, or nothing is left to train.
    pub fn of(recipe: &Recipe, params: &Params, adapter: Option<&NewAdapter>) -> Result<Self, Error> {
        let train = &recipe.train;
        let mut notes = Vec::new();
        let trained: Vec<&ParamEntry> = params.entries().iter().filter(|entry| entry.is_trained()).collect();
        let mut matching = |key: &'static str, patterns: &[String]| -> Result<Vec<bool>, Error> {
            let mut matched = vec![false; trained.len()];
            for pattern in patterns {
                let found: Vec<bool> = trained.iter().map(|entry| matches(pattern, &entry.name)).collect();
                let entries = trained.iter().zip(&found).filter(|(_, found)| **found).map(|(entry, _)| entry);
                let (count, values) = entries.fold((0, 0), |(n, len), entry| (n + 1, len + entry.weight.len() as u64));
                if count == 0 {
                    return Err(no_match(key, pattern, &trained));
                }
                notes
                    .push(format!("{key}: {pattern:?} matches {count} parameters, {} values", group_thousands(values)));
                matched.iter_mut().zip(found).for_each(|(matched, found)| *matched |= found);
            }
            Ok(matched)
        };
        let frozen = matching("train.freeze", &train.freeze)?;
        let only = matching("train.train_only", &train.train_only)?;
        let below = match train.top_layers {
            None => vec![false; trained.len()],
            Some(top) => below(&trained, top, &mut notes)?,
        };
        let output = format!("{POOLED_OUTPUT}.");
        let is_feature = |name: &str| train.method == Method::Features && !name.starts_with(&output);
        let keeps = |at: usize| {
            let is_unnamed = !train.train_only.is_empty() && !only[at];
            let is_base = adapter.is_some_and(|adapter| !adapter.trains(trained[at]));
            frozen[at] || below[at] || is_unnamed || is_base || is_feature(&trained[at].name)
        };
        let names: Vec<String> =
            (0..trained.len()).filter(|&at| keeps(at)).map(|at| trained[at].name.clone()).collect();
        if names.len() == trained.len() && adapter.is_none() {
            let key = if train.train_only.is_empty() { "train.freeze" } else { "train.train_only" };
            let problem = "nothing is left to train: every parameter of the model is frozen".into();
            return Err(Error::Setting { key, problem });
        }
        Ok(Self { names, notes })
    }

    /// Whether nothing is frozen.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Freezes the parameters, values and all.
    pub fn apply(&self, params: &mut Params) {
        params.freeze(|entry| self.names.contains(&entry.name));
    }
}

/// Which parameters stand below the last `top` blocks.
fn below(trained: &[&ParamEntry], top: usize, notes: &mut Vec<String>) -> Result<Vec<bool>, Error> {
    let block = |entry: &&ParamEntry| match depth(&entry.name) {
        Depth::Block(block) => Some(block + 1),
        _ => None,
    };
    let blocks = trained.iter().filter_map(block).max().unwrap_or(0);
    if top > blocks {
        let problem = format!("it is {top}, and the model has {blocks} blocks");
        return Err(Error::Setting { key: "train.top_layers", problem });
    }
    let first = Depth::Block(blocks - top);
    let below: Vec<bool> = trained.iter().map(|entry| depth(&entry.name) < first).collect();
    let kept = trained.iter().zip(&below).filter(|(_, below)| !**below).map(|(entry, _)| entry.weight.len() as u64);
    notes.push(format!(
        "train.top_layers: {top} of {blocks} blocks are trained, {} values with what stands above",
        group_thousands(kept.sum())
    ));
    // What is above the blocks is above the last of them, were it the only one.
    Ok(below)
}

/// What a run has beside its model.
#[derive(Default)]
pub(super) struct Beside {
    /// What tells the model that the frozen values come from, where they come from one.
    pub base: Option<String>,
    /// The adapter that is trained on it.
    pub adapter: Option<NewAdapter>,
}

/// Freezes what the recipe says of a model at the start of a run, or of a later part of it, and puts the adapter on it that
/// the recipe trains.
///
/// # Errors
/// Those of [`Frozen::of`]; the model that the run started from is not there or not what it was.
pub(super) fn freeze<M: Trainable>(
    model: &mut M,
    config: &dyn Config,
    recipe: &Recipe,
    from: Option<&Path>,
    saved: Option<&Identity>,
    notes: &mut Vec<String>,
) -> Result<Beside, Error> {
    adapt::check_base(recipe, from)?;
    let adapter = new_adapter(recipe, config, model.params(), from)?;
    let frozen = Frozen::of(recipe, model.params(), adapter.as_ref())?;
    if frozen.is_empty() && adapter.is_none() {
        return Ok(Beside::default());
    }
    notes.extend(frozen.notes.iter().cloned());
    notes.extend(adapter.iter().flat_map(|adapter| adapter.notes.iter().cloned()));
    let added = recipe.tokenizer.add_tokens.first();
    if let Some(name) = frozen.names.iter().find(|name| added.is_some() && crate::models::grow::is_vocabulary(name)) {
        let problem = format!("tokens are added, so `{name}` has rows that nothing has trained yet: do not freeze it");
        return Err(Error::Setting { key: "tokenizer.add_tokens", problem });
    }
    let Some(from) = from else {
        if recipe.train.base_dtype != BaseDtype::Stored {
            let problem = "there is no model whose matrices could be rounded: name one with --from".into();
            return Err(Error::Setting { key: "train.base_dtype", problem });
        }
        frozen.apply(model.params_mut());
        return Ok(Beside::default());
    };
    if recipe.train.base_dtype != BaseDtype::Stored && ModelDir::open(from).is_ok_and(|dir| dir.is_gguf()) {
        let problem = format!(
            "{} keeps the blocks of its GGUF file, in memory too, and they are not rounded again: leave it out, or convert the \
             file with --weights f32",
            from.display()
        );
        return Err(Error::Setting { key: "train.base_dtype", problem });
    }
    let contents = contents(from).map_err(Error::from).map_err(|error| base_is_gone(from, error.to_string()))?;
    if saved.and_then(|saved| saved.base.as_ref()).is_some_and(|before| *before != contents) {
        return Err(base_is_gone(from, "it has changed since".into()));
    }
    model.params_mut().freeze_without_values(|entry| frozen.names.contains(&entry.name));
    model.load_frozen(from)?;
    let precision = Precision::from(recipe.train.base_dtype);
    if precision != Precision::F32 {
        let dtype = recipe.train.base_dtype;
        notes.push(format!(
            "train.base_dtype: what is not trained is rounded to {dtype}, and so measured; other verbs read {} as it is stored",
            ModelDir::open(from).map_or_else(|_| from.display().to_string(), |dir| dir.path().display().to_string())
        ));
    }
    precision.hold_frozen(model.params_mut()).map_err(|fault| base_is_gone(from, fault.to_string()))?;
    if let Some(adapter) = &adapter {
        adapt::begin(adapter, recipe, config, model.params_mut(), Some(from))?;
    }
    Ok(Beside { base: Some(contents), adapter })
}

impl From<BaseDtype> for Precision {
    fn from(dtype: BaseDtype) -> Self {
        match dtype {
            BaseDtype::Stored => Self::F32,
            BaseDtype::Bf16 => Self::Bf16,
            BaseDtype::Int8 => Self::Int8,
            BaseDtype::Int4 => Self::Int4,
            BaseDtype::Nf4 => Self::Nf4,
        }
    }
}

fn base_is_gone(from: &Path, problem: String) -> Error {
    let from = from.display();
    let problem = format!("the frozen weights of this run are those of {from}: {problem}; put it back as it was");
    Error::Setting { key: "from", problem }
}

/// Whether a pattern names a parameter, or a module that it is in.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern = ["transformer.", "model."].iter().find_map(|prefix| pattern.strip_prefix(prefix)).unwrap_or(pattern);
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.into_iter().any(|end| glob(pattern, &name[..end]))
}

/// Whether `*` in the pattern can stand for text so that it is the whole of `name`.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn no_match(key: &'static str, pattern: &str, entries: &[&ParamEntry]) -> Error {
    // Modules are named too.
    let mut paths: Vec<&str> = Vec::new();
    for entry in entries {
        let ends = entry.name.match_indices('.').map(|(at, _)| at).chain([entry.name.len()]);
        paths.extend(ends.map(|end| &entry.name[..end]));
    }
    paths.dedup();
    let hint = match messages::nearest(pattern, paths.iter().copied()) {
        Some(near) => format!("the nearest is `{near}`"),
        None => format!("they begin with {}", beginnings(&paths)),
    };
    let problem = format!("{pattern:?} matches no parameter of the model; {hint}");
    Error::Setting { key, problem }
}

/// The first parts of all paths.
fn beginnings(paths: &[&str]) -> String {
    let mut first: Vec<&str> = paths.iter().map(|path| path.split('.').next().unwrap_or(path)).collect();
    first.dedup();
    messages::list(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_parameter_or_a_module_and_never_half_of_a_name() {
        let name = "h.11.attn.c_attn.weight";
        for pattern in
            ["h", "h.11", "h.*.attn", "*.attn", "h.11.attn.c_attn.weight", "transformer.h.11", "*weight", "*"]
        {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["h.1", "", "h.11.", "attn", "h.*.mlp", "weight", "h.11.attn.c_attn.weigh", "*.bias"] {
            assert!(!matches(pattern, name), "{pattern}");
        }
        assert!(glob("a*b*c", "a-b-b-c") && !glob("a*b*c", "acb") && glob("**", "x") && !glob("ab*b", "ab"));
    }

    #[test]
    fn what_is_named_is_frozen_and_the_rest_of_train_only() {
        use crate::models::{Gpt2, Gpt2Config};
        let model = Gpt2::outline(Gpt2Config::new(11, 2, 8, 2, 8));
        let frozen = |train: &str| {
            let text = format!("task = \"causal-lm\"\n[data]\ntext = \"x\"\n[train]\n{train}");
            let recipe = Recipe::parse(&text, "r.toml", &[]).unwrap().recipe;
            let mut params = model.params.clone();
            let frozen = Frozen::of(&recipe, &params, None)?;
            frozen.apply(&mut params);
            let names = params.entries().iter().filter(|entry| entry.is_trained()).map(|entry| entry.name.clone());
            Ok::<_, Error>((names.collect::<Vec<_>>(), frozen.notes))
        };
        let (trained, notes) = frozen("freeze = [\"wte\", \"h\", \"wpe\"]").unwrap();
        assert_eq!(trained, ["ln_f.weight", "ln_f.bias"]);
        assert_eq!(notes[0], "train.freeze: \"wte\" matches 1 parameters, 88 values");
        let (trained, _) = frozen("train_only = [\"h.1.mlp\", \"ln_f\"]\nfreeze = [\"*.bias\"]").unwrap();
        assert_eq!(trained, ["h.1.mlp.c_fc.weight", "h.1.mlp.c_proj.weight", "ln_f.weight"]);
        assert_eq!(frozen("").unwrap().0.len(), model.params.entries().len());
        let message = |train: &str| frozen(train).unwrap_err().to_string();
        let found = message("freeze = [\"h.1.atn\"]");
        assert!(found.contains("`train.freeze`") && found.contains("the nearest is `h.1.attn`"), "{found}");
        let found = message("train_only = [\"encoder\"]");
        assert!(found.contains("they begin with wte, wpe, h, ln_f"), "{found}");
        assert!(message("freeze = [\"*\"]").contains("nothing is left to train"));
    }
}
