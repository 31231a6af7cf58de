//! What the verbs that use a model have in common.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::pipelines::{LanguageModel, Pretrained};

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// An adapter for the model of a verb.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdapterArgs {
    /// Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,

    /// Put it on a model that is not the one it was made for
    #[arg(long)]
    pub any_base: bool,
}

impl AdapterArgs {
    /// Finds an adapter that is one of the Hub.
    ///
    /// # Errors
    /// As [`Locator::adapter`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.adapter.iter_mut().try_for_each(|adapter| locator.adapter(adapter))
    }

    /// Opens a model's directory, with the adapter on it if there is one.
    ///
    /// # Errors
    /// A file of either is missing or wrong, or the adapter is for another model.
    pub fn open(&self, path: &Path) -> Result<ModelDir, Failure> {
        let dir = match &self.adapter {
            Some(adapter) => ModelDir::open_with(path, adapter)?,
            None => ModelDir::open(path)?,
        };
        Ok(if self.any_base { dir.of_any_base() } else { dir })
    }
}

/// Adapters for the model of a verb: one, or several of which each line names its own.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdaptersArgs {
    /// Put this adapter on the model: a directory (PEFT's files, or a run), or org/name on the Hugging Face Hub; repeatable as NAME=DIR: each line then begins with the name of its adapter and a tab, and objects of --json have it as `adapter`
    #[arg(long = "adapter", value_name = "DIR")]
    adapters: Vec<String>,

    /// Put it on a model that is not the one it was made for
    #[arg(long)]
    any_base: bool,
}

impl AdaptersArgs {
    /// Finds adapters that are ones of the Hub.
    ///
    /// # Errors
    /// As [`Locator::adapter`]; a path in the cache is not UTF-8.
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        for given in &mut self.adapters {
            let (name, path) = split(given);
            let mut found = PathBuf::from(path);
            locator.adapter(&mut found)?;
            if found != Path::new(path) {
                let found = found.to_str().ok_or_else(|| anyhow!("{}: not UTF-8", found.display()))?;
                *given = name.map_or(found.to_owned(), |name| format!("{name}={found}"));
            }
        }
        Ok(())
    }

    /// The adapters, with the names that lines have for them; none where every line is for the one that there is, or for the
    /// model as it is.
    ///
    /// # Errors
    /// One of several has no name, or that of another.
    pub fn named(&self) -> Result<Vec<(Option<String>, AdapterArgs)>, Failure> {
        let mut found: Vec<(Option<String>, AdapterArgs)> = Vec::new();
        for given in &self.adapters {
            let (name, dir) = match split(given) {
                (Some(_), "") => return Err(anyhow!("--adapter {given:?}: there is no path after the =").into()),
                (Some(""), _) => return Err(anyhow!("--adapter {given:?}: there is no name before the =").into()),
                (Some(name), _) if name.contains('\t') => {
                    return Err(
                        anyhow!("--adapter {given:?}: there is a tab in the name, which lines end it with").into()
                    );
                }
                (name, dir) => (name.map(str::to_owned), dir),
            };
            if name.is_some() && found.iter().any(|(other, _)| *other == name) {
                return Err(anyhow!("--adapter: two have the name {:?}", name.unwrap_or_default()).into());
            }
            found.push((name, AdapterArgs { adapter: Some(dir.into()), any_base: self.any_base }));
        }
        match &found[..] {
            [] => Ok(vec![(None, AdapterArgs { adapter: None, any_base: self.any_base })]),
            [_] => Ok(found),
            several => {
                match several.iter().find(|(name, _)| name.is_none()) {
                    Some((_, nameless)) => {
                        let dir = nameless.adapter.as_deref().unwrap_or(Path::new("")).display();
                        Err(anyhow!("--adapter {dir}: one of several has a name, by which lines ask for it: --adapter NAME={dir}").into())
                    }
                    None => Ok(found),
                }
            }
        }
    }

    /// The one adapter of a verb that takes no more.
    ///
    /// # Errors
    /// There are several.
    pub fn only(&self) -> Result<AdapterArgs, Failure> {
        match &self.named()?[..] {
            [(None, only)] => Ok(only.clone()),
            _ => Err(anyhow!("--adapter: this verb takes one, without a name").into()),
        }
    }
}

/// The name and the path of `NAME=DIR`; of a path alone, perhaps with a `=` in it, the path.
fn split(given: &str) -> (Option<&str>, &str) {
    match given.split_once('=').filter(|_| !Path::new(given).exists()) {
        Some((name, path)) => (Some(name), path),
        None => (None, given),
    }
}

/// Which of several, by their names, a line is for, and the rest of the line.
///
/// # Errors
/// It begins with none of the names.
pub fn named<'n, 'l>(
    names: impl Iterator<Item = Option<&'n str>> + Clone,
    line: &'l str,
) -> anyhow::Result<(usize, &'l str)> {
    let (name, rest) = match line.split_once('\t') {
        _ if names.clone().all(|name| name.is_none()) => return Ok((0, line)),
        Some(found) => found,
        None => (line, ""),
    };
    let at = names.clone().position(|other| other == Some(name));
    match at.filter(|_| line.contains('\t')) {
        Some(at) => Ok((at, rest)),
        None => {
            let names: Vec<&str> = names.flatten().collect();
            let names = names.join(", ");
            Err(anyhow!("the line begins with no adapter's name and a tab; there are {names}"))
        }
    }
}

/// How the matrices of a verb's model are held.
#[derive(Debug, Default, clap::Args)]
pub struct WeightsArgs {
    /// How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
    #[arg(long, value_name = "KIND", hide_possible_values = true, value_parser = ["f32", "bf16", "int8"])]
    weights: Option<String>,
}

impl WeightsArgs {
    /// As `convert` was told.
    pub fn of(kind: &str) -> Self {
        Self { weights: Some(kind.to_owned()) }
    }

    /// Whether it was said.
    pub fn is_given(&self) -> bool {
        self.weights.is_some()
    }

    /// What was said, or what the directory has.
    ///
    /// # Errors
    /// The directory holds numbers in few bits in another way.
    pub fn precision(&self, dir: &ModelDir) -> Result<Precision, Failure> {
        Ok(match self.weights.as_deref() {
            Some("bf16") => Precision::Bf16,
            Some("int8") => Precision::Int8,
            None if dir.is_int8()? => Precision::Int8,
            _ => Precision::F32,
        })
    }
}

/// The verb that uses a model which goes on with nothing.
fn verb_for(head: Head) -> Option<&'static str> {
    match head {
        Head::Translation | Head::Language => None,
        Head::Labels => Some("classify"),
        Head::Tags => Some("tag"),
        Head::Span => Some("answer"),
        Head::Choice => Some("choose"),
        Head::Words | Head::Pretraining => Some("fill-mask"),
        Head::States => Some("embed"),
    }
}

/// Opens a model directory whose model generates.
fn open(path: &Path, adapter: &AdapterArgs) -> Result<ModelDir, Failure> {
    let dir = adapter.open(path)?;
    if let Some(verb) = verb_for(dir.head()) {
        let does = dir.head().does();
        return Err(anyhow!("{}: this model {does}; use `atento {verb}`", path.display()).into());
    }
    Ok(dir)
}

/// Loads the model directory of a translator and tells which of its search settings are not followed.
///
/// # Errors
/// A file of it is missing or wrong.
pub fn load(
    path: &Path,
    adapter: &AdapterArgs,
    weights: &WeightsArgs,
    options: &Options,
) -> Result<Pretrained, Failure> {
    let dir = open(path, adapter)?;
    if dir.head() != Head::Translation {
        let verbs = "`atento generate` continues texts with it, `atento score` measures them";
        return Err(anyhow!("{}: this is a language model, not a translator; {verbs}", path.display()).into());
    }
    let pretrained = Pretrained::from_dir(&dir, weights.precision(&dir)?)?;
    pretrained.notes.iter().for_each(|note| options.note(note));
    for key in pretrained.generation.beyond_search() {
        options.note(without_effect(path, key));
    }
    Ok(pretrained)
}

/// That a model's own setting is not followed.
pub fn without_effect(path: &Path, key: &str) -> String {
    format!("{}: the search setting `{key}` has no effect here", path.display())
}

/// A model of either kind.
pub enum Model {
    /// Turns sentences into sentences.
    Translator(Box<Pretrained>),
    /// Continues texts.
    Language(Box<LanguageModel>),
}

/// Loads a model directory, whatever kind of model it holds.
///
/// # Errors
/// As [`load`].
pub fn load_any(path: &Path, adapter: &AdapterArgs, options: &Options) -> Result<Model, Failure> {
    if open(path, adapter)?.head() == Head::Translation {
        return Ok(Model::Translator(Box::new(load(path, adapter, &WeightsArgs::default(), options)?)));
    }
    Ok(Model::Language(Box::new(load_language(path, adapter, &WeightsArgs::default(), false, options)?)))
}

/// Loads a language model. One that `shares` its base with others reads it where it lies in its file.
/// Which of its search settings are followed is for the verb to tell: only one searches.
///
/// # Errors
/// A file of it is missing or wrong, or it is another kind of model.
pub fn load_language(
    path: &Path,
    adapter: &AdapterArgs,
    weights: &WeightsArgs,
    shares: bool,
    options: &Options,
) -> Result<LanguageModel, Failure> {
    let dir = open(path, adapter)?;
    if dir.head() == Head::Translation {
        return Err(anyhow!("{}: this model translates; use `atento translate`", path.display()).into());
    }
    let language = match weights.precision(&dir)? {
        Precision::F32 if shares || (!weights.is_given() && dir.is_gguf()) => LanguageModel::mapped(&dir)?,
        precision => LanguageModel::from_dir(&dir, precision)?,
    };
    language.notes.iter().for_each(|note| options.note(note));
    Ok(language)
}

/// The decoder's first token, by the model's own settings.
pub fn start_id(pretrained: &Pretrained) -> u32 {
    pretrained.translate_options().start_id
}
