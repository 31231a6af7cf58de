//! The modules of a model by the paths that PEFT knows them by.

use atento_kernels::linear::WeightLayout;
use atento_tensor::{ParamEntry, Params, Weight};

use super::config::{LoraConfig, Targets};
use crate::families::Config;

/// A projection, or a table that rows are looked up in. A table that is also the output onto the vocabulary is two modules with
/// one matrix.
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
    /// The module with the same matrix, where a table is the output onto the vocabulary.
    pub tied_to: Option<String>,
}

impl Module {
    /// How many numbers it gives, and takes. A table takes one for each of its rows.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        match self.layout {
            WeightLayout::OutIn if !self.is_table => (self.weight.rows, self.weight.cols),
            _ => (self.weight.cols, self.weight.rows),
        }
    }

    /// Whether rows of tokens are looked up in it.
    pub(super) fn is_token_table(&self) -> bool {
        self.is_table && TOKEN_TABLES.iter().any(|end| ends_in(&self.path, end))
    }

    /// Whether an encoder and a decoder both look rows up in it.
    pub(super) fn is_shared(&self) -> bool {
        let is_of = |side: &str| self.paths.iter().any(|path| ends_in(path, &format!("{side}.embed_tokens")));
        is_of("encoder") && is_of("decoder")
    }

    /// Whether it is called this, in one of the classes.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.paths.iter().any(|other| other == path)
    }
}

/// What the path of a table of tokens ends in.
const TOKEN_TABLES: [&str; 5] = ["wte", "shared", "embed_tokens", "tok_embeddings", "word_embeddings"];

/// What the path of another table ends in.
const OTHER_TABLES: [&str; 4] = ["wpe", "embed_positions", "position_embeddings", "token_type_embeddings"];

/// What the path of an output onto the vocabulary ends in.
const OUTPUTS: [&str; 4] = ["lm_head", "decoder", "vocab_projector", "generator_lm_head"];

/// All modules with a matrix, in the order of the model; an output that is the table of tokens is the last.
#[must_use]
pub fn modules(config: &dyn Config, params: &Params) -> Vec<Module> {
    let rows = config.sizes().vocab_size;
    let module = |entry: &ParamEntry| {
        let paths = paths_of(&config.sources(&entry.name));
        let path = paths.first()?.clone();
        let is_table = TOKEN_TABLES.iter().chain(&OTHER_TABLES).any(|end| ends_in(&path, end));
        let is_matrix = entry.dims.len() == 2 && is_table;
        let layout = entry.layout.or(is_matrix.then_some(WeightLayout::OutIn))?;
        let weight = entry.weight;
        let mut module = Module { path, paths, weight, layout, is_table, is_output: false, tied_to: None };
        module.is_output = is_output(&module.path) && !is_table && module.sizes().0 == rows;
        Some(module)
    };
    let mut found: Vec<Module> = params.entries().iter().filter(|entry| !entry.is_added).filter_map(module).collect();
    if let Some((output, table)) = tied_output(config, &found) {
        found[table].paths.retain(|path| !output.is_at(path));
        found[table].tied_to = Some(output.path.clone());
        found.push(output);
    }
    found
}

/// The output that is a table of tokens, and where that is among the modules. It is called what the output of the untied model
/// is called.
fn tied_output(config: &dyn Config, all: &[Module]) -> Option<(Module, usize)> {
    let untied = config.untied()?;
    let own = config.parameters();
    let is_new = |name: &String| !own.iter().any(|(other, _)| other == name);
    let names = untied.parameters().into_iter().map(|(name, _)| name).filter(is_new);
    let paths = names.map(|name| paths_of(&untied.sources(&name))).find(|paths| is_output(&paths[0]))?;
    // Of several tables, as translators have, it is that of the targets.
    let at = all.iter().rposition(Module::is_token_table)?;
    let (table, path) = (&all[at], paths[0].clone());
    let Module { weight, layout, .. } = *table;
    let tied_to = Some(table.path.clone());
    Some((Module { path, paths, weight, layout, is_table: false, is_output: true, tied_to }, at))
}

fn paths_of(stored: &[String]) -> Vec<String> {
    stored.iter().filter_map(|stored| stored.strip_suffix(".weight")).map(str::to_owned).collect()
}

/// Whether a path is called as outputs onto the vocabulary are.
pub(super) fn is_output(path: &str) -> bool {
    OUTPUTS.iter().any(|end| ends_in(path, end))
}

/// The module of a path. One that has it in the model's own class comes before one that has it in another.
pub(super) fn find<'m>(all: &'m [Module], path: &str) -> Option<&'m Module> {
    all.iter().find(|module| module.path == path).or_else(|| all.iter().find(|module| module.is_at(path)))
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
