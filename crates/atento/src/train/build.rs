//! From a recipe's `[model]` to a model with random weights.

use super::Error;
use super::recipe::{self, Arch, Recipe};
use crate::hub::generation::GenerationConfig;
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};
use crate::models::{Transformer, Translator};
use crate::text::Tokenizer;

/// The Transformer that a recipe describes, for a tokenizer.
///
/// # Errors
/// Sizes that no model can have, or a tokenizer without padding or end token.
pub fn transformer_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<TransformerConfig, Error> {
    let model = &recipe.model;
    let special = tokenizer.special();
    let missing = |name: &str| Error::Setting {
        key: "tokenizer.file",
        problem: format!("the tokenizer has no {name} token, which a translation model needs"),
    };
    let eos_id = special.eos.ok_or_else(|| missing("end (`</s>`)"))?;
    let pad_id = special.pad.ok_or_else(|| missing("padding (`<pad>`)"))?;
    let norm = match model.norm {
        recipe::Norm::Post => Norm::Post,
        recipe::Norm::Pre => Norm::Pre,
    };
    let config = TransformerConfig {
        d_model: model.d_model,
        encoder_layers: model.encoder_layers,
        decoder_layers: model.decoder_layers,
        encoder_heads: model.heads,
        decoder_heads: model.heads,
        encoder_ffn: model.d_ff,
        decoder_ffn: model.d_ff,
        activation: model.activation.word().to_owned(),
        dropout: model.dropout as f32,
        attention_dropout: model.attention_dropout as f32,
        activation_dropout: model.activation_dropout as f32,
        max_positions: model.max_positions,
        tie_embeddings: match model.tie_embeddings {
            recipe::TieEmbeddings::All => TieEmbeddings::All,
            recipe::TieEmbeddings::Decoder => TieEmbeddings::Decoder,
            recipe::TieEmbeddings::None => TieEmbeddings::None,
        },
        pad_id,
        eos_id,
        bos_id: special.bos,
        unk_id: special.unk,
        decoder_start_id: pad_id,
        ..TransformerConfig::base(tokenizer.vocab_size())
    };
    let config = config.with_norm(norm);
    config.validate()?;
    Ok(config)
}

/// A model with random weights decided by the recipe's seed.
///
/// # Errors
/// As [`transformer_config`].
pub fn build_model(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Translator, Error> {
    match recipe.model.arch {
        Arch::Transformer => {
            let mut model = Transformer::init(transformer_config(recipe, tokenizer)?, recipe.seed);
            model.checkpoint_activations = recipe.train.checkpoint_activations;
            Ok(Translator::Transformer(Box::new(model)))
        }
        Arch::Rnn => todo!(),
    }
}

/// The search settings of a recipe, for the model's `generation_config.json`.
#[must_use]
pub fn generation_config(recipe: &Recipe, model: &Translator) -> GenerationConfig {
    let search = &recipe.search;
    let longest = model.max_positions().unwrap_or(usize::MAX);
    GenerationConfig {
        num_beams: search.beam,
        // The start token counts.
        max_length: Some((search.max_length + 1).min(longest)),
        min_length: if search.min_length > 0 { search.min_length + 1 } else { 0 },
        length_penalty: search.length_penalty as f32,
        no_repeat_ngram_size: search.no_repeat_ngram,
        ..model.generation_defaults()
    }
}
