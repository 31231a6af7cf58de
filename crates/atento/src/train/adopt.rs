//! Training a model that exists: the recipe's `[model]` and `[tokenizer]` come to describe that model.
//!
//! What the recipe states of the model must be so; what it leaves out is the model's, not the preset's.

use std::path::Path;

use super::Error;
use super::checkpoint::ModelConfig;
use super::recipe::{self, Activation, Arch, ModelSettings, Norm, Recipe, TieEmbeddings, TokenizerSettings, Written};
use crate::hub::special_tokens::{load_tokenizer, write_roles};
use crate::hub::{atomic, decimal};
use crate::models::{Gpt2Config, TransformerConfig, TranslatorConfig, config};
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
    Ok(atomic::atomic_write(&run.join(TOKENIZER_FILE), &tokenizer.to_json_bytes()?)?)
}

/// Whether a recipe describes a tokenizer; what it adds to one that exists is no description.
pub fn is_described(written: &Written) -> bool {
    written.keys().any(|key| key.starts_with("tokenizer.") && key != "tokenizer.add_tokens")
}

/// The recipe for training on a model of this configuration.
///
/// # Errors
/// The recipe states something else of the model, or the model's sizes do not go with its other settings.
pub fn adopt(recipe: &Recipe, written: &Written, config: &ModelConfig) -> Result<Recipe, Error> {
    let mut adopted = recipe.clone();
    adopted.model = describe(&recipe.model, config);
    refuse_contradictions(recipe, &adopted, written)?;
    adopted.tokenizer = TokenizerSettings { file: Some(TOKENIZER_FILE.into()), ..TokenizerSettings::default() };
    if adopted.model.arch == Arch::Transformer && !written.contains_key("search.max_length") {
        adopted.search.max_length = adopted.search.max_length.min(adopted.model.max_positions);
    }
    adopted.validate()?;
    Ok(adopted)
}

/// The settings that describe a model; those without a meaning for it stay as they are. Where encoder and decoder
/// differ, the encoder's are given.
fn describe(settings: &ModelSettings, config: &ModelConfig) -> ModelSettings {
    match config {
        ModelConfig::LanguageModel(config) => describe_gpt2(settings, config),
        ModelConfig::Translator(TranslatorConfig::Transformer(config)) => describe_transformer(settings, config),
        ModelConfig::Translator(TranslatorConfig::Recurrent(config)) => ModelSettings {
            arch: Arch::Rnn,
            hidden: config.hidden,
            embedding: config.embedding,
            layers: config.layers,
            dropout: decimal(config.dropout),
            tie_embeddings: tie_embeddings(config.tie_embeddings),
            ..settings.clone()
        },
    }
}

fn describe_transformer(settings: &ModelSettings, config: &TransformerConfig) -> ModelSettings {
    ModelSettings {
        arch: Arch::Transformer,
        d_model: config.d_model,
        encoder_layers: config.encoder_layers,
        decoder_layers: config.decoder_layers,
        heads: config.encoder_heads,
        d_ff: config.encoder_ffn,
        activation: activation(&config.activation),
        norm: match config.norm {
            config::Norm::Post => Norm::Post,
            config::Norm::Pre => Norm::Pre,
        },
        dropout: decimal(config.dropout),
        attention_dropout: decimal(config.attention_dropout),
        activation_dropout: decimal(config.activation_dropout),
        tie_embeddings: tie_embeddings(config.tie_embeddings),
        max_positions: config.max_positions,
        ..settings.clone()
    }
}

fn describe_gpt2(settings: &ModelSettings, config: &Gpt2Config) -> ModelSettings {
    let tie = if config.tie_embeddings { TieEmbeddings::All } else { TieEmbeddings::None };
    ModelSettings {
        arch: Arch::Gpt2,
        d_model: config.d_model,
        layers: config.layers,
        heads: config.heads,
        d_ff: config.d_ff,
        activation: activation(&config.activation),
        dropout: decimal(config.dropout),
        attention_dropout: decimal(config.attention_dropout),
        tie_embeddings: tie,
        max_positions: config.max_positions,
        bias: config.bias,
        ..settings.clone()
    }
}

/// The recipe's word for a function, the nearest one where it has none.
fn activation(name: &str) -> Activation {
    match name {
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        // Also called swish.
        "silu" | "swish" => Activation::Silu,
        _ => Activation::GeluNew,
    }
}

fn tie_embeddings(tie: config::TieEmbeddings) -> TieEmbeddings {
    match tie {
        config::TieEmbeddings::All => TieEmbeddings::All,
        config::TieEmbeddings::Decoder => TieEmbeddings::Decoder,
        config::TieEmbeddings::None => TieEmbeddings::None,
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
        let message = format!("{what}, but the model that is trained further has {}: leave it out", found[key]);
        return Err(recipe::Error::Conflict { place: place.clone(), message }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ModelConfig {
        let config = TransformerConfig { encoder_layers: 2, decoder_layers: 1, ..TransformerConfig::tiny(500) };
        ModelConfig::Translator(TranslatorConfig::Transformer(TransformerConfig { max_positions: 200, ..config }))
    }

    fn adopted(lines: &str) -> Result<Recipe, Error> {
        let text = format!("[data]\ncorpus = \"demo\"\n{lines}");
        let loaded = Recipe::parse(&text, "r.toml", &[]).unwrap();
        adopt(&loaded.recipe, &loaded.written, &model())
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
            ("[search]\nmax_length = 201\n", "`search.max_length` is 201, but the model has 200 positions"),
        ] {
            let message = adopted(lines).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
