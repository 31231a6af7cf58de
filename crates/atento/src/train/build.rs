//! From a recipe's `[model]` to a model with random weights.

use super::Error;
use super::recipe::{self, Arch, Recipe};
pub use super::search::generation_config;
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};
use crate::models::{Gpt2Config, RecurrentConfig, Translator, TranslatorConfig};
use crate::text::Tokenizer;

/// The special tokens that a translation model has to have.
struct Required {
    pad_id: u32,
    eos_id: u32,
}

impl Required {
    fn of(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let missing = |name: &str| Error::Setting {
            key: "tokenizer.file",
            problem: format!("the tokenizer has no {name} token, which a translation model needs"),
        };
        let special = tokenizer.special();
        Ok(Self {
            pad_id: special.pad.ok_or_else(|| missing("padding (`<pad>`)"))?,
            eos_id: special.eos.ok_or_else(|| missing("end (`</s>`)"))?,
        })
    }
}

fn tie_embeddings(tie: recipe::TieEmbeddings) -> TieEmbeddings {
    match tie {
        recipe::TieEmbeddings::All => TieEmbeddings::All,
        recipe::TieEmbeddings::Decoder => TieEmbeddings::Decoder,
        recipe::TieEmbeddings::None => TieEmbeddings::None,
    }
}

/// Rows of the embedding tables.
fn rows(recipe: &Recipe, tokenizer: &Tokenizer) -> usize {
    recipe.model.vocab_size.unwrap_or_else(|| tokenizer.vocab_size())
}

/// The Transformer that a recipe describes, for a tokenizer.
///
/// # Errors
/// Sizes that no model can have, or a tokenizer without padding or end token.
pub fn transformer_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<TransformerConfig, Error> {
    let model = &recipe.model;
    let Required { pad_id, eos_id } = Required::of(tokenizer)?;
    let special = tokenizer.special();
    let norm = match model.norm {
        recipe::Norm::Post => Norm::Post,
        recipe::Norm::Pre => Norm::Pre,
    };
    let config = TransformerConfig {
        d_model: model.d_model,
        encoder_layers: model.encoder_layers,
        decoder_layers: model.decoder_layers,
        encoder_heads: model.heads,
        decoder_heads: model.decoder_heads.unwrap_or(model.heads),
        encoder_ffn: model.d_ff,
        decoder_ffn: model.decoder_d_ff.unwrap_or(model.d_ff),
        scale_embedding: model.scale_embedding,
        activation: model.activation.word().to_owned(),
        dropout: model.dropout as f32,
        attention_dropout: model.attention_dropout as f32,
        activation_dropout: model.activation_dropout as f32,
        max_positions: model.max_positions,
        tie_embeddings: tie_embeddings(model.tie_embeddings),
        pad_id,
        eos_id,
        bos_id: special.bos,
        unk_id: special.unk,
        decoder_start_id: pad_id,
        ..TransformerConfig::base(rows(recipe, tokenizer))
    };
    let config = config.with_norm(norm);
    config.validate()?;
    Ok(config)
}

/// The recurrent network that a recipe describes, for a tokenizer. Its decoder starts from padding, as the
/// Transformer's.
///
/// # Errors
/// As [`transformer_config`].
pub fn recurrent_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<RecurrentConfig, Error> {
    let model = &recipe.model;
    let Required { pad_id, eos_id } = Required::of(tokenizer)?;
    let special = tokenizer.special();
    let config = RecurrentConfig {
        vocab_size: rows(recipe, tokenizer),
        embedding: model.embedding,
        hidden: model.hidden,
        layers: model.layers,
        dropout: model.dropout as f32,
        tie_embeddings: tie_embeddings(model.tie_embeddings),
        pad_id,
        eos_id,
        bos_id: special.bos,
        unk_id: special.unk,
        decoder_start_id: pad_id,
    };
    config.validate()?;
    Ok(config)
}

/// The model that a recipe describes, for a tokenizer.
///
/// # Errors
/// As [`transformer_config`].
pub fn model_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<TranslatorConfig, Error> {
    Ok(match recipe.model.arch {
        Arch::Transformer => TranslatorConfig::Transformer(transformer_config(recipe, tokenizer)?),
        Arch::Rnn => TranslatorConfig::Recurrent(recurrent_config(recipe, tokenizer)?),
        Arch::Gpt2 => {
            let problem = "\"gpt2\" does not translate: use \"transformer\" or \"rnn\"".into();
            return Err(Error::Setting { key: "model.arch", problem });
        }
    })
}

/// The decoder-only model that a recipe describes, for a tokenizer.
///
/// # Errors
/// Sizes that no model can have.
pub fn gpt2_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Gpt2Config, Error> {
    let (model, special) = (&recipe.model, tokenizer.special());
    let sizes = (model.layers, model.d_model, model.heads, model.max_positions);
    let config = Gpt2Config {
        d_ff: model.d_ff,
        activation: model.activation.word().to_owned(),
        dropout: model.dropout as f32,
        embedding_dropout: model.embedding_dropout.unwrap_or(model.dropout) as f32,
        attention_dropout: model.attention_dropout as f32,
        tie_embeddings: model.tie_embeddings != recipe::TieEmbeddings::None,
        bias: model.bias,
        layer_norm_eps: model.layer_norm_eps as f32,
        scale_attention: model.scale_attention,
        scale_by_layer: model.scale_by_layer,
        bos_id: special.bos,
        eos_id: special.eos,
        pad_id: special.pad,
        ..Gpt2Config::new(rows(recipe, tokenizer), sizes.0, sizes.1, sizes.2, sizes.3)
    };
    config.validate()?;
    Ok(config)
}

/// A model with random weights decided by the recipe's seed.
///
/// # Errors
/// As [`transformer_config`].
pub fn build_model(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Translator, Error> {
    Ok(Translator::init(model_config(recipe, tokenizer)?, recipe.seed))
}
