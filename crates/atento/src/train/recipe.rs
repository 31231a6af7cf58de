//! A training run described in TOML.
//!
//! A recipe names its data and whatever should differ from the defaults; every key, with its meaning and
//! default, is in [`Recipe::documented`] and in [`Recipe::reference`]. What is written is laid over the sizes of `model.preset`,
//! those over the defaults. Unknown keys, wrong types and values out of range are refused with file, line,
//! key, the value found, the values accepted and the nearest valid spelling.
//!
//! [`Recipe::to_toml`] writes the whole of it, resolved, so that a run can be repeated from its directory:
//! loading that text gives an equal recipe.

pub(crate) mod check;
mod choices;
mod document;
mod error;
mod files;
mod follow;
mod registered;
pub(crate) mod section;
mod settings;
mod tree;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::{encoding, families};

pub use choices::*;
pub(crate) use document::comment;
pub use error::{Error, Place};
pub use files::DataFiles;
pub use registered::{Arch, Task};
pub use section::TokenName;
pub use settings::*;
pub use tree::Override;

use section::{Field, Kind, Setting};
use tree::Tree;

/// A recipe and what was noticed while reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The recipe, resolved.
    pub recipe: Recipe,
    /// Settings that were written and have no effect, one sentence each; worth a warning.
    pub notes: Vec<String>,
    /// The settings that were written.
    pub written: Written,
}

/// The dotted keys of settings and tables that a recipe states, each with its place; all others have their defaults.
pub type Written = BTreeMap<String, Place>;

impl Recipe {
    /// Reads the recipe at `path`, with `overrides` in place of what it says.
    ///
    /// Paths in it are looked for from the recipe's directory, then from the working directory, and become
    /// absolute. Without `out` the run directory is `runs/` and the recipe's name. Where the recipe names a model to start
    /// from, the settings that depend on each other are compared once that model is known, which
    /// [`train`](crate::train::train()) does.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key, a wrong value, settings that contradict each
    /// other, or names files that are not there.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Loaded, Error> {
        Self::load_as(path, overrides, Settling::OfNewModel)
    }

    /// [`Recipe::load`] for a run that is resumed or starts from a model that the recipe does not name: the settings that
    /// depend on each other are compared once the model is known.
    ///
    /// # Errors
    /// As [`Recipe::load`], except for settings that contradict each other.
    pub fn load_unsettled(path: &Path, overrides: &[Override]) -> Result<Loaded, Error> {
        Self::load_as(path, overrides, Settling::Later)
    }

    fn load_as(path: &Path, overrides: &[Override], settling: Settling) -> Result<Loaded, Error> {
        let bytes = encoding::read_text(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Error::NotText {
            place: Place::Line(path.to_path_buf(), tree::line_of(&bytes, error.valid_up_to())),
        })?;
        let (mut loaded, tree) = resolve(text, path, overrides, settling).map_err(|error| error.in_file(path))?;
        files::find(&mut loaded.recipe, path, &|key| tree::place(&tree, key))?;
        if loaded.recipe.out.is_none() {
            let name = path.file_stem().unwrap_or("run".as_ref());
            loaded.recipe.out = Some(Path::new("runs").join(name));
        }
        Ok(loaded)
    }

    /// Reads a recipe from its text; paths in it stay as they are and need not exist. `name` stands for the
    /// file in messages.
    ///
    /// # Errors
    /// As [`Recipe::load`], except for files.
    pub fn parse(text: &str, name: &str, overrides: &[Override]) -> Result<Loaded, Error> {
        resolve(text, Path::new(name), overrides, Settling::OfNewModel).map(|(loaded, _)| loaded)
    }

    /// [`Recipe::load_unsettled`] of a text.
    ///
    /// # Errors
    /// As there, except for files.
    pub fn read_text(text: &str, name: &str) -> Result<Loaded, Error> {
        resolve(text, Path::new(name), &[], Settling::Later).map(|(loaded, _)| loaded)
    }

    /// The defaults of a task, by its name in recipes, for a recipe that a program builds: some differ from task to task.
    /// [`Recipe::default`] is a translator's. In code no setting follows another: `model.d_ff` goes with `model.d_model`, and
    /// `schedule.warmup_steps` with `train.max_steps`.
    ///
    /// # Errors
    /// There is no such task; the message names those that there are.
    pub fn of_task(name: &str) -> Result<Self, Error> {
        let tree = tree::parse(&format!("task = {}", toml::Value::from(name)), Path::new("recipe"))?;
        validate::validate(&tree, &schema())?;
        Recipe::deserialize(defaults_for(&tree)?)
            .map_err(|error| Error::Syntax { place: Place::Default, message: error.message().to_string() })
    }

    /// The whole recipe as TOML; loading it gives an equal recipe.
    ///
    /// # Errors
    /// A path is not UTF-8, or the seed is 2⁶³ or more: TOML cannot hold them.
    pub fn to_toml(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(unwritable)
    }

    /// Checks a recipe built or changed by a program as one that is read is checked.
    ///
    /// # Errors
    /// As [`Recipe::load`], except for files.
    pub fn validate(&self) -> Result<(), Error> {
        resolve(&self.to_toml()?, Path::new("recipe"), &[], Settling::Now).map(|_| ())
    }

    /// Compares the settings that depend on each other. Those that `written` does not have follow those that it has; where
    /// it has none, all are as they are meant.
    ///
    /// # Errors
    /// As [`Recipe::validate`], with the places of `written`.
    pub(crate) fn settle(&mut self, written: &Written) -> Result<(), Error> {
        self.settle_where(written, &|key| written.is_empty() || written.contains_key(key))
    }

    /// [`Recipe::settle`] where `model` describes a model that exists.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settle_adopted(&mut self, written: &Written) -> Result<(), Error> {
        self.settle_where(written, &|key| key.starts_with("model.") || written.contains_key(key))
    }

    fn settle_where(&mut self, written: &Written, is_stated: &dyn Fn(&str) -> bool) -> Result<(), Error> {
        validate::validate(&tree::parse(&self.to_toml()?, Path::new("recipe"))?, &schema())?;
        follow::follow(self, is_stated);
        let (now, plain) = (self.to_table()?, Recipe::defaults_of(self.task).to_table()?);
        let differs = |key: &str| written.contains_key(key) && value(&now, key) != value(&plain, key);
        check::conflicts(self, &differs, &|key| place_of(written, key))
    }

    /// What a recipe that was built in code states: the settings that differ from the defaults of its task and its family,
    /// and the tables that they are in.
    pub(crate) fn stated(&self) -> Result<Written, Error> {
        let arch = usual_arch(self.task);
        let model = ModelSettings { arch, ..self.model.arch.family().preset(self.model.preset) };
        let plain = Self { model, ..Recipe::defaults_of(self.task) }.values()?;
        let differ = self.values()?.into_iter().filter(|(key, value)| plain.get(key) != Some(value));
        let with_tables = |key: String| {
            let ends: Vec<usize> = key.match_indices('.').map(|(at, _)| at).chain([key.len()]).collect();
            ends.into_iter().map(move |end| (key[..end].to_owned(), Place::Default))
        };
        Ok(differ.flat_map(|(key, _)| with_tables(key)).collect())
    }

    /// Every setting that has a value, by its dotted key.
    pub(crate) fn values(&self) -> Result<BTreeMap<String, toml::Value>, Error> {
        Ok(flatten(self.to_table()?, ""))
    }

    /// The recipe with settings of another one in place of its own.
    pub(crate) fn with_values_of<'k>(&self, other: &Self, keys: impl Iterator<Item = &'k str>) -> Result<Self, Error> {
        let (mut table, other) = (self.to_table()?, other.to_table()?);
        for key in keys {
            let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
            let inner = |table, section| toml::Table::get_mut(table, section).and_then(toml::Value::as_table_mut);
            if let Some(section) = sections.split('.').try_fold(&mut table, inner) {
                match value(&other, key) {
                    Some(value) => section.insert(name.to_string(), value.clone()),
                    None => section.remove(name),
                };
            }
        }
        Recipe::deserialize(table)
            .map_err(|error| Error::Syntax { place: Place::Default, message: error.message().to_string() })
    }

    fn to_table(&self) -> Result<toml::Table, Error> {
        toml::Table::try_from(self).map_err(unwritable)
    }
}

/// When settings that depend on each other are compared.
#[derive(Clone, Copy, PartialEq)]
enum Settling {
    /// As the recipe is read.
    Now,
    /// As the recipe is read, unless it names a model to start from.
    OfNewModel,
    /// Once the model is known.
    Later,
}

/// The place of a dotted key, or of the nearest table around it that was written.
fn place_of(written: &Written, key: &str) -> Place {
    match (written.get(key), key.rsplit_once('.')) {
        (Some(place), _) => place.clone(),
        (None, Some((table, _))) => place_of(written, table),
        (None, None) => Place::Default,
    }
}

/// The values of a table and of the tables in it, by their dotted keys.
pub(crate) fn flatten(table: toml::Table, prefix: &str) -> BTreeMap<String, toml::Value> {
    let mut all = BTreeMap::new();
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            toml::Value::Table(inner) => all.extend(flatten(inner, &format!("{key}."))),
            value => {
                all.insert(key, value);
            }
        }
    }
    all
}

fn unwritable(error: toml::ser::Error) -> Error {
    Error::Syntax { place: Place::Default, message: error.to_string() }
}

/// The keys of a recipe.
fn schema() -> Vec<Field> {
    match Recipe::kind() {
        Kind::Table(fields) => fields,
        _ => Vec::new(),
    }
}

fn resolve(text: &str, path: &Path, overrides: &[Override], settling: Settling) -> Result<(Loaded, Tree), Error> {
    let mut tree = tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text), path)?;
    for setting in overrides {
        tree::set(&mut tree, setting)?;
    }
    validate::validate(&tree, &schema())?;
    let defaults = defaults_for(&tree)?;
    let mut table = defaults.clone();
    tree::lay_over(&mut table, &tree);
    let place = |key: &str| tree::place(&tree, key);
    let written = |key: &str| tree::find(&tree, key).is_some() && value(&table, key) != value(&defaults, key);
    let unfit = |error: toml::de::Error| Error::Syntax { place: place("task"), message: error.message().to_string() };
    let mut recipe = Recipe::deserialize(table.clone()).map_err(unfit)?;
    let is_stated = |key: &str| tree::find(&tree, key).is_some();
    let is_known = recipe.from.is_none() && settling == Settling::OfNewModel;
    if is_known || settling == Settling::Now {
        follow::follow(&mut recipe, &is_stated);
        check::conflicts(&recipe, &written, &place)?;
    }
    let mut settled = recipe.clone();
    follow::follow(&mut settled, &is_stated);
    let is_family_known = is_known || settling == Settling::Now || is_stated("model.arch");
    let notes = check::without_effect(&settled, &written, is_family_known);
    let written = tree::places(&tree);
    Ok((Loaded { recipe, notes, written }, tree))
}

impl Recipe {
    /// The defaults of a task.
    pub(crate) fn defaults_of(task: Task) -> Self {
        let mut recipe = Self { task, ..Self::default() };
        task.set_defaults(&mut recipe);
        recipe
    }
}

/// The family that a task's models are of unless a recipe says otherwise.
fn usual_arch(task: Task) -> Arch {
    families::with_heads(&[task.head()]).next().map_or_else(Arch::default, Arch)
}

/// The defaults that hold under the tree's architecture, preset and limits.
fn defaults_for(tree: &Tree) -> Result<toml::Table, Error> {
    let word = |key: &str| match tree::find(tree, key).map(|node| &node.value) {
        Some(tree::Value::Leaf(toml::Value::String(word))) => Some(word.clone()),
        _ => None,
    };
    let mut recipe = Recipe::defaults_of(word("task").and_then(|word| Task::named(&word)).unwrap_or_default());
    let whole = |key: &str| match tree::find(tree, key).map(|node| &node.value) {
        Some(tree::Value::Leaf(toml::Value::Integer(number))) => usize::try_from(*number).ok(),
        _ => None,
    };
    let arch = word("model.arch").and_then(|word| Arch::named(&word)).unwrap_or_else(|| usual_arch(recipe.task));
    let presets = [Preset::Tiny, Preset::Small, Preset::Base, Preset::Big];
    let named = word("model.preset").and_then(|word| presets.into_iter().find(|preset| preset.word() == word));
    recipe.model = arch.family().preset(named.unwrap_or(recipe.model.preset));
    if let Some(d_ff) = whole("model.d_model").and_then(|d_model| arch.family().d_ff(d_model)) {
        recipe.model.d_ff = d_ff;
    }
    if ["train.max_epochs", "train.max_minutes"].iter().any(|key| tree::find(tree, key).is_some()) {
        recipe.train.max_steps = None;
    }
    recipe.to_table()
}

fn value<'a>(table: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => value(table.get(first)?.as_table()?, rest),
    }
}
