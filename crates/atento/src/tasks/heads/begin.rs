//! What runs on models with heads begin with: the model of the run that goes on, one to start from, with a head that may be
//! new, or a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::families::heads::Headed as HeadedConfig;
use crate::families::{Config, Head};
use crate::hub::ModelDir;
use crate::hub::generation::GenerationConfig;
use crate::hub::special_tokens;
use crate::models::Headed;
use crate::models::config::ConfigError;
use crate::pipelines::{LoadError, TextModel};
use crate::tasks::heads::Lessons;
use crate::tasks::language::describes_model;
use crate::text::train::{Kind, Purpose};
use crate::text::{Learned, Tokenizer, TrainOptions as LearnOptions};
use crate::train::adapt::further;
use crate::train::added_tokens::{add_to_model, add_to_tokenizer};
use crate::train::adopt::{self, Adopted, Base, adopt, is_described, saved_tokenizer};
use crate::train::build::{model_config, new_model};
use crate::train::checkpoint::{Checkpoint, Identity};
use crate::train::events::group_thousands;
use crate::train::recipe::check::of_other_families;
use crate::train::recipe::{Recipe, TokenizerKind};
use crate::train::workload::Making;
use crate::train::{Error, TrainOptions, resume};

/// Puts a head on a Transformer.
pub(crate) type PutOn<'a> = &'a dyn Fn(&Arc<dyn Config>) -> Result<HeadedConfig, ConfigError>;

/// What a run begins with.
pub(crate) struct Beginning {
    /// The recipe; where there is a model already, it describes that one.
    pub recipe: Recipe,
    /// The model, its weights not yet those of a checkpoint, and its tokenizer.
    pub model: TextModel,
    /// Where the model came from, if the run did not make it.
    pub from: Option<PathBuf>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Beginning {
    /// The model of the run that goes on, the one to start from, or a new one; the latter two with the head that `head` puts
    /// on a Transformer. `lessons` is text to learn a tokenizer from.
    pub fn find(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
        head: PutOn<'_>,
        lessons: &dyn Fn() -> Result<Lessons, Error>,
    ) -> Result<Self, Error> {
        let found = match (resumed, recipe.from.clone()) {
            (Some(checkpoint), _) => Self::resumed(recipe, options, checkpoint, run, making),
            (None, Some(path)) => Self::from_model(recipe, options, path, making, head),
            (None, None) => Self::new(recipe, options, making, head, lessons),
        };
        let mut found = found?;
        found.model.model.trunk.checkpoint_activations(found.recipe.train.checkpoint_activations);
        let rows = found.model.model.config.sizes().vocab_size;
        found.model.tokenizer = found.model.tokenizer.for_table(rows);
        Ok(found)
    }

    fn resumed(
        recipe: &Recipe,
        options: &TrainOptions,
        checkpoint: &Checkpoint,
        run: &Path,
        making: Making,
    ) -> Result<Self, Error> {
        let tokenizer = saved_tokenizer(run)?;
        let identity = &checkpoint.state.identity;
        let mut recipe = resume::as_before(recipe, &options.written, checkpoint)?;
        let mut base = Base::default();
        match identity {
            Identity { model, from: Some(_), .. } => {
                base = Base::saved(run, identity, &tokenizer)?;
                let tokens = tokenizer.vocab_size();
                recipe = adopt(
                    &recipe,
                    &options.written,
                    &Adopted { config: &**model, generation: &base.generation, tokens },
                )?;
            }
            _ => recipe.settle(&options.written)?,
        }
        let notes = resume::check(checkpoint, &recipe)?;
        let model: Headed = new_model(identity.model.shared(), &recipe, making)?;
        let model = TextModel { kept: base.kept, ..TextModel::new(model, tokenizer, base.generation) };
        Ok(Self { recipe, model, from: identity.from.clone(), notes })
    }

    fn from_model(
        recipe: &Recipe,
        options: &TrainOptions,
        path: PathBuf,
        making: Making,
        head: PutOn<'_>,
    ) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let dir = adopt::open(&path, recipe, &options.written)?;
        let seed = (making == Making::Weights).then_some(recipe.seed);
        let (mut model, new) = TextModel::with_head(&dir, seed, head)?;
        notes.append(&mut model.notes);
        let new = untrained(new, &path, &dir, &model.model.config)?;
        if !new.is_empty() {
            let named = new.join(", ");
            notes.push(format!("{}: newly initialised, for the model has none: {named}", path.display()));
        }
        refuse_frozen(recipe, &new)?;
        let add = &recipe.tokenizer.add_tokens;
        notes.extend(add_to_model(&mut model.model, &mut model.tokenizer, &mut model.kept, add)?);
        if is_described(recipe, &options.written, &model.tokenizer) {
            notes.push(format!("[tokenizer] of the recipe is not used: the tokenizer is that of {}", path.display()));
        }
        let tokens = model.tokenizer.vocab_size();
        let adopted = Adopted { config: &model.model.config, generation: &model.generation, tokens };
        let recipe = adopt(recipe, &options.written, &adopted)?;
        notes.extend(of_other_families(&recipe, &|key| options.written.contains_key(key)));
        Ok(Self { recipe, model, from: Some(path), notes })
    }

    fn new(
        recipe: &Recipe,
        options: &TrainOptions,
        making: Making,
        head: PutOn<'_>,
        lessons: &dyn Fn() -> Result<Lessons, Error>,
    ) -> Result<Self, Error> {
        let mut recipe = recipe.clone();
        let is_unasked = !options.written.is_empty() && !describes_model(&options.written);
        recipe.settle(&options.written)?;
        let (mut tokenizer, mut notes) = match &recipe.tokenizer.file {
            Some(path) => special_tokens::load_tokenizer(path)?,
            None => learn(&recipe, lessons()?)?,
        };
        add_to_tokenizer(&mut tokenizer, &recipe.tokenizer.add_tokens)?;
        let config = head(&model_config(&recipe, &tokenizer)?)?;
        let config: Arc<dyn Config> = Arc::new(config);
        let model: Headed = new_model(&config, &recipe, making)?;
        if is_unasked {
            let (preset, parameters) = (recipe.model.preset, group_thousands(model.params().count() as u64));
            notes.push(format!(
                "no [model] and no --from: a new model of preset {preset}, {parameters} parameters, starts from random weights"
            ));
        }
        let model = TextModel::new(model, tokenizer, GenerationConfig::default());
        Ok(Self { recipe, model, from: None, notes })
    }
}

/// Which of these parameters nothing has trained yet: neither the model nor the adapter that is trained further has them.
///
/// # Errors
/// The adapter is for another task, or for other labels.
fn untrained(new: Vec<String>, from: &Path, dir: &ModelDir, config: &HeadedConfig) -> Result<Vec<String>, Error> {
    let Some(adapter) = further::adapter_at(from)? else { return Ok(new) };
    let wrong = |what: String| Error::Setting { key: "from", problem: format!("{}: {what}", from.display()) };
    if dir.head() != config.head {
        let (is, wanted) = (dir.head().does(), config.head.does());
        return Err(wrong(format!("the adapter is for a model that {is}, and this task needs one that {wanted}")));
    }
    let own = dir.model_config().map_err(LoadError::from)?;
    if let Some(own) = own.headed().filter(|own| own.labels.len() != config.labels.len()) {
        let [own, wanted] = [&own.labels, &config.labels].map(|labels| labels.join(", "));
        return Err(wrong(format!("the adapter is for the labels {own}, and the data has {wanted}")));
    }
    let held = adapter.names().1;
    let is_held = |name: &String| config.sources(name).iter().any(|stored| held.contains(stored));
    Ok(new.into_iter().filter(|name| !is_held(name)).collect())
}

/// Refuses to freeze parameters that nothing has trained yet.
fn refuse_frozen(recipe: &Recipe, new: &[String]) -> Result<(), Error> {
    let is_frozen =
        |name: &&String| recipe.train.freeze.iter().any(|pattern| crate::train::freeze::matches(pattern, name));
    match new.iter().find(is_frozen) {
        Some(name) => {
            let problem = format!("it freezes `{name}`, which is newly initialised: do not freeze it");
            Err(Error::Setting { key: "train.freeze", problem })
        }
        None => Ok(()),
    }
}

/// The head that a task puts on a Transformer.
pub(crate) fn with_head(
    trunk: &Arc<dyn Config>,
    head: Head,
    labels: &[String],
    objective: crate::families::heads::Objective,
) -> Result<HeadedConfig, ConfigError> {
    HeadedConfig::new(trunk, head, labels.to_vec(), objective)
}

/// Learns the tokenizer of a recipe, for an encoder.
fn learn(
    recipe: &Recipe,
    lessons: impl Iterator<Item = Result<String, Error>>,
) -> Result<(Tokenizer, Vec<String>), Error> {
    let settings = &recipe.tokenizer;
    let options = LearnOptions {
        kind: match settings.kind {
            TokenizerKind::Bpe => Kind::Bpe,
            TokenizerKind::ByteBpe => Kind::ByteLevelBpe,
            TokenizerKind::WordPiece => Kind::WordPiece,
            TokenizerKind::Unigram => Kind::Unigram,
            TokenizerKind::Char => Kind::Characters,
        },
        purpose: match recipe.model.arch.0.tells_texts_by_type() {
            true => Purpose::Encoder,
            false => Purpose::UntypedEncoder,
        },
        vocab_size: settings.vocab_size,
        min_frequency: settings.min_frequency,
        lowercase: settings.lowercase,
        byte_fallback: settings.byte_fallback,
        limit_alphabet: settings.limit_alphabet,
        character_coverage: settings.character_coverage,
        ..LearnOptions::default()
    };
    let Learned { tokenizer, notes } = Tokenizer::learn(lessons, &options)?;
    Ok((tokenizer, notes))
}
