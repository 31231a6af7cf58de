//! Training a model that exists: the recipe's `[model]` and `[tokenizer]` come to describe that model.
//!
//! What the recipe states of the model must be so; what it leaves out is the model's, not the preset's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::checkpoint::Identity;
use super::recipe::{self, ModelSettings, Recipe, TokenizerSettings, Written};
use crate::families::{Config, Head, Sizes};
use crate::hub::contents::checksum;
use crate::hub::generation::GenerationConfig;
use crate::hub::special_tokens::{ends, load_tokenizer, write_roles};
use crate::hub::{self, Kept, ModelDir, atomic};
use crate::pipelines::LoadError;
use crate::tasks::translation::adopt as adopt_search;
use crate::text::Tokenizer;

/// The run's copy of its tokenizer, as its `config.toml` beside it names it.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The tokenizer of a run that goes on, in its directory: whatever the text to learn one from now says, one learned anew
/// might give other ids to the same words.
///
/// # Errors
/// It is missing or no tokenizer.
pub fn saved_tokenizer(run: &Path) -> Result<Tokenizer, Error> {
    let path = run.join(TOKENIZER_FILE);
    if !path.exists() {
        let problem = format!("{} is missing: put it back, a copy is in model/", path.display());
        return Err(Error::Setting { key: "tokenizer", problem });
    }
    Ok(load_tokenizer(&path)?.0)
}

/// Writes the run's copy of its tokenizer, and which of its tokens has which role.
///
/// # Errors
/// A file cannot be written.
pub fn save_tokenizer(tokenizer: &Tokenizer, run: &Path) -> Result<(), Error> {
    // The roles first: where the tokenizer lies, its roles do.
    write_roles(run, &tokenizer.roles())?;
    tokenizer.save_target(run)?;
    Ok(atomic::atomic_write(&run.join(TOKENIZER_FILE), &tokenizer.to_json_bytes()?)?)
}

/// Whether a recipe describes another tokenizer than that of the model it starts from. Tokens to add are no description.
pub fn is_described(recipe: &Recipe, written: &Written, of_model: &Tokenizer) -> bool {
    let same =
        |path: &Path| of_model.to_json_bytes().is_ok_and(|bytes| std::fs::read(path).is_ok_and(|it| it == bytes));
    written.keys().any(|key| key.starts_with("tokenizer.") && key != "tokenizer.add_tokens")
        && !recipe.tokenizer.file.as_deref().is_some_and(same)
}

/// Opens the model to start from, with the dropout that the recipe states instead of the model's own: a run's choice, and
/// nothing that the weights say. Where it is an adapter that is trained further, the model is the one that it is for.
///
/// # Errors
/// As [`ModelDir::open`].
pub fn open(path: &Path, recipe: &Recipe, written: &Written) -> Result<ModelDir, Error> {
    let mut dir = ModelDir::open(path).map_err(LoadError::from)?.without_adapter();
    let values = recipe.values()?;
    for (key, json) in dir.family().dropouts() {
        let key = format!("model.{key}");
        if let Some(share) = values.get(&key).filter(|_| written.contains_key(&key)) {
            dir.set(json, share.as_float().into());
        }
    }
    Ok(dir)
}

/// A model to be trained further, but for its weights.
pub struct Adopted<'a> {
    /// All that determines it.
    pub config: &'a dyn Config,
    /// How it wants its outputs searched for.
    pub generation: &'a GenerationConfig,
    /// The ids of its tokenizer.
    pub tokens: usize,
}

/// The recipe for training on a model.
///
/// # Errors
/// The recipe states something else of the model, or the model's sizes do not go with its other settings.
pub fn adopt(recipe: &Recipe, written: &Written, model: &Adopted<'_>) -> Result<Recipe, Error> {
    let mut adopted = recipe.clone();
    let Sizes { vocab_size: rows, max_positions, .. } = model.config.sizes();
    adopted.model =
        ModelSettings { vocab_size: (rows != model.tokens).then_some(rows), ..model.config.describe(&recipe.model) };
    refuse_contradictions(recipe, &adopted, written)?;
    let add_tokens = recipe.tokenizer.add_tokens.clone();
    let file = Some(TOKENIZER_FILE.into());
    adopted.tokenizer = TokenizerSettings { file, add_tokens, ..TokenizerSettings::default() };
    if adopted.task.head() == Head::Translation {
        model.generation.require()?;
        adopted.search = adopt_search(&recipe.search, written, model.generation, max_positions);
    }
    adopted.settle_adopted(written)?;
    Ok(adopted)
}

/// Where a run keeps what its model's directory said beside the weights.
const BASE: &str = "base";

/// What stays with a model that is trained further: its settings for generating, and what nothing here reads.
#[derive(Clone, Default)]
pub struct Base {
    /// generation_config.json.
    pub generation: GenerationConfig,
    /// The other files.
    pub kept: Kept,
}

impl Base {
    /// Reads what [`Base::save`] wrote.
    ///
    /// # Errors
    /// A file of it is missing, wrong, or another than the `identity` of the run knows.
    pub fn saved(run: &Path, identity: &Identity, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let (path, config) = (run.join(BASE), &identity.model);
        if identity.kept.is_some() && Self::checksum(run)? != identity.kept {
            let problem = if path.exists() { "has changed since the run saved it" } else { "is missing" };
            let problem = format!(
                "{}, the settings that stay with the model, {problem}: put it back as it was, or begin a new run with --out",
                path.display()
            );
            return Err(Error::Setting { key: "from", problem });
        }
        let dir = ModelDir::open(&path)?;
        let generation = dir.generation_config()?.or_ended_by(ends(tokenizer, dir.path())?);
        Ok(Self { generation, kept: dir.kept(config.to_json()?)? })
    }

    /// What tells the files that [`Base::save`] wrote from others; `None` where there are none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn checksum(run: &Path) -> Result<Option<String>, Error> {
        let dir = run.join(BASE);
        if !dir.is_dir() {
            return Ok(None);
        }
        let failed = |source| Error::Io { path: dir.clone(), source };
        let listed =
            |dir: &Path| -> io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect() };
        let (mut files, mut folders) = (Vec::new(), vec![dir.clone()]);
        while let Some(folder) = folders.pop() {
            let (below, here): (Vec<_>, Vec<_>) =
                listed(&folder).map_err(failed)?.into_iter().partition(|path| path.is_dir());
            folders.extend(below);
            files.extend(here);
        }
        Ok(Some(checksum(files)?))
    }

    /// Writes the files into the run directory, if there are any.
    ///
    /// # Errors
    /// The system refuses.
    pub fn save(run: &Path, generation: &GenerationConfig, kept: &Kept) -> Result<(), Error> {
        let dir = run.join(BASE);
        if dir.exists() {
            // Of a start that was cut short.
            fs::remove_dir_all(&dir).map_err(hub::Error::io(&dir, "remove"))?;
        }
        match *kept == Kept::default() {
            true => Ok(()),
            false => Ok(kept.write(&dir, generation)?),
        }
    }
}

/// What is written of the model, key by key or as a preset, must be so.
fn refuse_contradictions(stated: &Recipe, found: &Recipe, written: &Written) -> Result<(), Error> {
    let (stated, found) = (stated.values()?, found.values()?);
    for (key, value) in stated.iter().filter(|(key, value)| found.get(*key) != Some(value)) {
        let preset = "model.preset";
        let (place, what) = match (written.get(key), written.get(preset)) {
            (Some(place), _) => (place, format!("`{key}` is {value}")),
            (None, Some(place)) => (place, format!("`{preset}` is {}, whose `{key}` is {value}", stated[preset])),
            (None, None) => continue,
        };
        let has = found.get(key).map_or_else(|| "none".to_owned(), ToString::to_string);
        let message = format!("{what}, but the model that is trained further has {has}: leave it out");
        return Err(recipe::Error::Conflict { place: place.clone(), message }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::build::model_config;
    use super::*;
    use crate::models::Gpt2Config;
    use crate::models::config::{self, TransformerConfig};
    use crate::train::recipe::Activation;

    fn model() -> TransformerConfig {
        let config = TransformerConfig { encoder_layers: 2, decoder_layers: 1, ..TransformerConfig::tiny(500) };
        TransformerConfig { max_positions: 200, ..config }
    }

    fn adopted(lines: &str) -> Result<Recipe, Error> {
        let text = format!("[data]\ncorpus = \"demo\"\n{lines}");
        let loaded = Recipe::read_text(&text, "r.toml").unwrap();
        adopt(&loaded.recipe, &loaded.written, &adopted_model(&model()))
    }

    fn adopted_model(config: &dyn Config) -> Adopted<'_> {
        static PLAIN: LazyLock<GenerationConfig> = LazyLock::new(GenerationConfig::default);
        Adopted { config, generation: &PLAIN, tokens: config.sizes().vocab_size }
    }

    #[test]
    fn what_is_left_out_is_the_models() {
        let recipe = adopted("[model]\nheads = 4\ndropout = 0.3\n[tokenizer]\nvocab_size = 99\n").unwrap();
        let model = &recipe.model;
        assert_eq!((model.d_model, model.encoder_layers, model.decoder_layers, model.dropout), (128, 2, 1, 0.3));
        assert_eq!((model.max_positions, recipe.search.max_length), (200, 200));
        assert_eq!(recipe.tokenizer.file.as_deref(), Some(TOKENIZER_FILE.as_ref()));
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap(), "again", &[]).unwrap().recipe, recipe);
    }

    #[test]
    fn a_recipe_is_held_against_the_model_and_not_against_a_preset() {
        let recipe = adopted("max_length = 180\n[train]\nbatch_tokens = 190\n[search]\nmin_length = 150\n").unwrap();
        assert_eq!((recipe.data.max_length, recipe.search.max_length), (180, 200));
        let config = Gpt2Config::new(90, 2, 48, 4, 64);
        let text = "task = \"causal-lm\"\n[data]\ntokens = \"t\"\n[train]\nbatch_tokens = 128\n";
        let loaded = Recipe::read_text(text, "r.toml").unwrap();
        let recipe = adopt(&loaded.recipe, &loaded.written, &adopted_model(&config)).unwrap();
        assert_eq!((recipe.model.max_positions, recipe.data.block_size, recipe.train.batch_tokens), (64, None, 128));
        let text = text.replace("tokens = \"t\"", "tokens = \"t\"\nblock_size = 65");
        let loaded = Recipe::read_text(&text, "r.toml").unwrap();
        let error = adopt(&loaded.recipe, &loaded.written, &adopted_model(&config)).unwrap_err().to_string();
        assert!(error.starts_with("r.toml:4: `data.block_size` is 65, but the model has 64 positions"), "{error}");
    }

    #[test]
    fn every_field_of_a_model_that_changes_its_function_is_in_the_recipe() {
        let lines = SENTENCES.into_iter().map(|line| Ok::<_, crate::text::Error>(line.to_owned()));
        let options = crate::text::TrainOptions { min_frequency: 1, vocab_size: 300, ..Default::default() };
        let tokenizer = Tokenizer::train(lines, &options).unwrap();
        let special = tokenizer.special();
        let gpt2 = Gpt2Config {
            d_ff: 50,
            activation: "tanh".into(),
            dropout: 0.2,
            embedding_dropout: 0.05,
            attention_dropout: 0.15,
            layer_norm_eps: 1e-6,
            tie_embeddings: false,
            bias: false,
            scale_attention: false,
            scale_by_layer: true,
            bos_id: special.bos,
            eos_id: special.eos,
            pad_id: special.pad,
            ..Gpt2Config::new(tokenizer.vocab_size() + 20, 2, 48, 4, 64)
        };
        let transformer = TransformerConfig {
            encoder_heads: 2,
            decoder_heads: 8,
            encoder_ffn: 32,
            decoder_ffn: 64,
            encoder_layers: 2,
            decoder_layers: 3,
            activation: "swish".into(),
            activation_dropout: 0.1,
            attention_dropout: 0.2,
            max_positions: 70,
            scale_embedding: false,
            tie_embeddings: config::TieEmbeddings::None,
            ..TransformerConfig::tiny(tokenizer.vocab_size() + 7).with_norm(config::Norm::Pre)
        };
        let translation = "[data]\ncorpus = \"demo\"\n";
        let models: [(&str, &dyn Config); 2] =
            [("task = \"causal-lm\"\n[data]\ntext = \"x\"\n", &gpt2), (translation, &transformer)];
        // Activations have several names.
        let described = |config: &dyn Config| {
            let mut object = config.to_json().unwrap();
            let name = object["activation_function"].as_str().map(|name| Activation::named(name).word());
            object.insert("activation_function".into(), name.into());
            object
        };
        for (text, config) in models {
            let loaded = Recipe::read_text(text, "r.toml").unwrap();
            let model = Adopted { tokens: tokenizer.vocab_size(), ..adopted_model(config) };
            let recipe = adopt(&loaded.recipe, &loaded.written, &model).unwrap();
            // A new run from config.toml.
            let again = Recipe::parse(&recipe.to_toml().unwrap(), "config.toml", &[]).unwrap().recipe;
            let made = model_config(&again, &tokenizer).unwrap();
            assert_eq!(described(&*made), described(config));
        }
    }

    const SENTENCES: [&str; 3] = ["a dog runs", "ein Hund rennt", "the cat sees the dog"];

    #[test]
    fn what_is_stated_otherwise_is_refused_by_its_key_and_both_values() {
        for (lines, expected) in [
            (
                "[model]\nd_model = 64\n",
                "r.toml:4: `model.d_model` is 64, but the model that is trained further has 128",
            ),
            (
                "[model]\narch = \"rnn\"\n",
                "`model.arch` is \"rnn\", but the model that is trained further has \"transformer\"",
            ),
            (
                "[model]\npreset = \"base\"\n",
                "`model.preset` is \"base\", whose `model.d_ff` is 2048, but the model that is trained further has 256",
            ),
            ("[search]\nmax_length = 201\n", "r.toml:4: `search.max_length` is 201, but the model has 200 positions"),
        ] {
            let message = adopted(lines).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
