//! What `MarianConfig` and `M2M100Config` have in common: nearly every key of config.json.

use crate::hub::json::Keys;
use crate::hub::{Error, decimal};
use crate::models::config::{ConfigError, NO_TOKEN, Norm, TieEmbeddings, TransformerConfig};
use serde_json::{Map, Value, json};
use std::path::Path;

/// `torch.nn.LayerNorm`'s epsilon, which both classes use and neither lets a configuration change.
const LAYER_NORM_EPS: f32 = 1e-5;

/// The values a class gives to keys that a file leaves out.
pub(super) struct Defaults {
    pub activation: &'static str,
    pub attention_dropout: f32,
    pub scale_embedding: bool,
    pub pad_id: u32,
    pub eos_id: u32,
    pub decoder_start_id: u32,
}

/// Reads the common keys and checks the whole; sizes must be there, the rest may be left to the class.
pub(super) fn read(
    keys: Keys<'_>,
    norm: Norm,
    tie_embeddings: TieEmbeddings,
    defaults: &Defaults,
) -> Result<TransformerConfig, Error> {
    let vocab_size: usize = keys.required("vocab_size")?;
    let is_there = |id: &u32| (*id as usize) < vocab_size;
    let config = TransformerConfig {
        vocab_size,
        d_model: keys.required("d_model")?,
        encoder_layers: keys.required("encoder_layers")?,
        decoder_layers: keys.required("decoder_layers")?,
        encoder_heads: keys.required("encoder_attention_heads")?,
        decoder_heads: keys.required("decoder_attention_heads")?,
        encoder_ffn: keys.required("encoder_ffn_dim")?,
        decoder_ffn: keys.required("decoder_ffn_dim")?,
        activation: keys.or("activation_function", defaults.activation.to_string())?,
        dropout: keys.or("dropout", 0.1)?,
        attention_dropout: keys.or("attention_dropout", defaults.attention_dropout)?,
        activation_dropout: keys.or("activation_dropout", 0.0)?,
        max_positions: keys.or("max_position_embeddings", 1024)?,
        scale_embedding: keys.or("scale_embedding", defaults.scale_embedding)?,
        norm,
        layer_norm_eps: LAYER_NORM_EPS,
        tie_embeddings,
        pad_id: token_or(keys, "pad_token_id", defaults.pad_id)?,
        eos_id: token_or(keys, "eos_token_id", defaults.eos_id)?,
        bos_id: keys.special_one("bos_token_id")?.filter(is_there),
        unk_id: keys.special_one("unk_token_id")?.filter(is_there),
        decoder_start_id: token_or(keys, "decoder_start_token_id", defaults.decoder_start_id)?,
    };
    config.validate().map_err(|error| keys.wrong(hf_key(error.key), error.expected))?;
    Ok(config)
}

/// Writes the common keys.
///
/// # Errors
/// A value that cannot be, or that neither class could express.
pub(super) fn write(config: &TransformerConfig) -> Result<Map<String, Value>, ConfigError> {
    config.validate()?;
    if config.layer_norm_eps != LAYER_NORM_EPS {
        return Err(ConfigError {
            key: "layer_norm_eps",
            found: config.layer_norm_eps.to_string(),
            expected: "1e-5, which is what Hugging Face's classes use".into(),
        });
    }
    let object = json!({
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.encoder_heads,
        "decoder_attention_heads": config.decoder_heads,
        "encoder_ffn_dim": config.encoder_ffn,
        "decoder_ffn_dim": config.decoder_ffn,
        "activation_function": config.activation,
        "dropout": decimal(config.dropout),
        "attention_dropout": decimal(config.attention_dropout),
        "activation_dropout": decimal(config.activation_dropout),
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "max_position_embeddings": config.max_positions,
        "scale_embedding": config.scale_embedding,
        "pad_token_id": config.pad_id,
        "eos_token_id": config.eos_id,
        "bos_token_id": config.bos_id,
        "unk_token_id": config.unk_id,
        "decoder_start_token_id": config.decoder_start_id,
        "is_encoder_decoder": true,
        "init_std": 0.02,
        "dtype": "float32",
        "use_cache": true,
    });
    match object {
        Value::Object(object) => Ok(object),
        _ => unreachable!("json!({{…}}) is an object"),
    }
}

/// The key's token, the first where it is a list (generation_config.json has them all); `default` where it is absent.
pub(in crate::families) fn token_or(keys: Keys<'_>, key: &str, default: u32) -> Result<u32, Error> {
    Ok(keys.special(key)?.map_or(default, |ids| ids.first().copied().unwrap_or(NO_TOKEN)))
}

/// Adds the file to what is wrong with a configuration that was to be written.
pub(super) fn unwritable(path: &Path, error: ConfigError) -> Error {
    Error::WrongValue {
        path: path.to_path_buf(),
        key: hf_key(error.key).into(),
        found: error.found,
        expected: error.expected,
    }
}

/// The key that stands for a field of ours.
pub(in crate::families) fn hf_key(key: &'static str) -> &'static str {
    match key {
        "encoder_heads" => "encoder_attention_heads",
        "decoder_heads" => "decoder_attention_heads",
        "encoder_ffn" => "encoder_ffn_dim",
        "decoder_ffn" => "decoder_ffn_dim",
        "activation" => "activation_function",
        "max_positions" => "max_position_embeddings",
        "pad_id" => "pad_token_id",
        "eos_id" => "eos_token_id",
        "bos_id" => "bos_token_id",
        "unk_id" => "unk_token_id",
        "decoder_start_id" => "decoder_start_token_id",
        same => same,
    }
}
