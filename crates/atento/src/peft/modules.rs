//! The modules of a model by the paths that PEFT knows them by.

use atento_kernels::linear::WeightLayout;
use atento_tensor::{ParamEntry, Params, Weight};

use super::config::{LoraConfig, Targets};
use crate::families::Config;

/// A projection, or a table that rows are looked up in.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its path in the class that `transformers` has for the model.
    pub path: String,
    /// That and its paths in other classes, with and without what they call the model below their head.
    pub paths: Vec<String>,
    /// Its matrix.
    pub weight: Weight,
    /// How that lies.
    pub layout: WeightLayout,
    /// Whether rows are looked up in it: a table of tokens, positions or types.
    pub is_table: bool,
    /// Whether it is the output onto the vocabulary.
    pub is_output: bool,
}

impl Module {
    /// How many numbers it gives, and takes.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        match self.layout {
            WeightLayout::OutIn => (self.weight.rows, self.weight.cols),
            WeightLayout::InOut => (self.weight.cols, self.weight.rows),
        }
    }
}

/// What the path of a table ends in.
const TABLES: [&str; 9] = [
    "wte",
    "wpe",
    "shared",
    "embed_tokens",
    "embed_positions",
    "tok_embeddings",
    "word_embeddings",
    "position_embeddings",
    "token_type_embeddings",
];

/// What the path of an output onto the vocabulary ends in.
const OUTPUTS: [&str; 4] = ["lm_head", "decoder", "vocab_projector", "generator_lm_head"];

/// All modules with a matrix, in the order of the model.
#[must_use]
pub fn modules(config: &dyn Config, params: &Params) -> Vec<Module> {
    let rows = config.sizes().vocab_size;
    let module = |entry: &ParamEntry| {
        let layout = entry.layout?;
        let stored = config.sources(&entry.name);
        let paths: Vec<String> =
            stored.iter().filter_map(|stored| stored.strip_suffix(".weight")).map(str::to_owned).collect();
        let path = paths.first()?.clone();
        let is_table = TABLES.iter().any(|end| ends_in(&path, end));
        let mut module = Module { path, paths, weight: entry.weight, layout, is_table, is_output: false };
        let is_named = OUTPUTS.iter().any(|end| ends_in(&module.path, end));
        module.is_output = is_named && module.sizes().0 == rows;
        Some(module)
    };
    params.entries().iter().filter_map(module).collect()
}

/// Whether a path is this, or ends in it from a dot on.
pub(super) fn ends_in(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a path is a module of this name, or lies in one.
pub(super) fn is_within(path: &str, name: &str) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    (1..=parts.len()).any(|end| ends_in(&parts[..end].join("."), name))
}

impl Targets {
    /// Whether they name a module.
    #[must_use]
    pub fn contain(&self, module: &Module) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| ends_in(&module.path, name)),
            Self::Pattern(pattern) => pattern.matches(&module.path),
            Self::AllLinear => !module.is_table && !module.is_output,
        }
    }
}

impl LoraConfig {
    /// Whether a module is adapted.
    #[must_use]
    pub fn adapts(&self, module: &Module) -> bool {
        self.targets.contain(module)
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.contain(module))
            && self.layers.as_ref().is_none_or(|layers| {
                block(&module.path, &self.layers_pattern).is_some_and(|block| layers.contains(&block))
            })
    }
}

/// The number of the block that a path goes through: the first number behind a list of one of these names, or of any.
fn block(path: &str, lists: &[String]) -> Option<usize> {
    let parts: Vec<&str> = path.split('.').collect();
    let is_list = |name: &str| lists.is_empty() || lists.iter().any(|list| list == name);
    parts.windows(2).find_map(|pair| if is_list(pair[0]) { pair[1].parse().ok() } else { None })
}
