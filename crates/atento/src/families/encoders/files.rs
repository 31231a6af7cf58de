//! config.json of encoders.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{BERT_KEYS, Dialect};
use crate::hub::json::Keys;
use crate::hub::{Error, decimal};
use crate::models::encoder::EncoderConfig;

/// What every class takes where config.json leaves it out.
const CLASS_POSITIONS: usize = 512;
const CLASS_TOKEN_TYPES: usize = 2;
const CLASS_EPS: f32 = 1e-12;

/// What the keys of [`Dialect::keys`] stand for.
const KEYS: [&str; 8] =
    ["d_model", "layers", "heads", "d_ff", "activation", "dropout", "attention_dropout", "classifier_dropout"];

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub(super) fn read_config(dialect: &Dialect, path: &Path, object: &Map<String, Value>) -> Result<EncoderConfig, Error> {
    let keys = Keys::new(path, object);
    for key in ["is_decoder", "add_cross_attention", "sinusoidal_pos_embds"] {
        if keys.or(key, false)? {
            return Err(keys.wrong(key, "false: nothing else is supported"));
        }
    }
    let positions: Option<String> = keys.optional("position_embedding_type")?;
    if positions.is_some_and(|positions| positions != "absolute") {
        return Err(keys.wrong("position_embedding_type", "\"absolute\": nothing else is supported"));
    }
    let model_type = object.get("model_type").and_then(Value::as_str);
    let at = dialect.model_types.iter().position(|name| Some(*name) == model_type);
    let (kind, _) = dialect.kinds[at.unwrap_or(0)];
    let defaults = (dialect.defaults)();
    let [d_model_key, layers, heads, d_ff, activation, dropout, attention_dropout, classifier_dropout] = dialect.keys;
    let d_model = keys.or(d_model_key, defaults.d_model)?;
    let vocab_size = keys.or("vocab_size", defaults.vocab_size)?;
    let special = |key: &str, default: Option<u32>| -> Result<Option<u32>, Error> {
        let id = if object.contains_key(key) { keys.special_one(key)? } else { default };
        Ok(id.filter(|&id| (id as usize) < vocab_size))
    };
    let pad_id = special("pad_token_id", defaults.pad_id)?;
    let rows: usize = keys.or("max_position_embeddings", CLASS_POSITIONS)?;
    let first_position = if dialect.skips_padding { pad_id.map_or(0, |id| id as usize + 1) } else { 0 };
    if rows <= first_position {
        let expected = format!("a whole number above {first_position}, the padding token's id and one");
        return Err(keys.wrong("max_position_embeddings", expected));
    }
    let has_projection = defaults.embedding_size != defaults.d_model;
    let config = EncoderConfig {
        kind,
        vocab_size,
        embedding_size: if has_projection { keys.or("embedding_size", defaults.embedding_size)? } else { d_model },
        d_model,
        layers: keys.or(layers, defaults.layers)?,
        heads: keys.or(heads, defaults.heads)?,
        d_ff: keys.or(d_ff, defaults.d_ff)?,
        activation: keys.or(activation, defaults.activation)?,
        dropout: keys.or(dropout, defaults.dropout)?,
        attention_dropout: keys.or(attention_dropout, defaults.attention_dropout)?,
        classifier_dropout: keys.optional(classifier_dropout)?.or(defaults.classifier_dropout),
        max_positions: rows - first_position,
        first_position,
        token_types: if defaults.token_types == 0 { 0 } else { keys.or("type_vocab_size", CLASS_TOKEN_TYPES)? },
        norm_eps: if dialect.keys == BERT_KEYS { keys.or("layer_norm_eps", CLASS_EPS)? } else { CLASS_EPS },
        initializer_range: keys.or("initializer_range", defaults.initializer_range)?,
        tie_embeddings: keys.or("tie_word_embeddings", true)?,
        pad_id,
        bos_id: special("bos_token_id", defaults.bos_id)?,
        eos_id: special("eos_token_id", defaults.eos_id)?,
    };
    config.validate().map_err(|error| keys.wrong(json_key(dialect, error.key), error.expected))?;
    Ok(config)
}

/// The object that config.json is to hold.
pub(super) fn write_config(dialect: &Dialect, config: &EncoderConfig) -> Map<String, Value> {
    let (model_type, class) = dialect.named(config.kind);
    let sizes = [
        json!(config.d_model),
        json!(config.layers),
        json!(config.heads),
        json!(config.d_ff),
        json!(config.activation),
        json!(decimal(config.dropout)),
        json!(decimal(config.attention_dropout)),
        json!(config.classifier_dropout.map(decimal)),
    ];
    let mut object = Map::new();
    object.insert("model_type".into(), json!(model_type));
    object.insert("architectures".into(), json!([format!("{class}Model")]));
    object.insert("vocab_size".into(), json!(config.vocab_size));
    dialect.keys.iter().zip(sizes).for_each(|(key, value)| drop(object.insert((*key).into(), value)));
    object.insert("max_position_embeddings".into(), json!(config.position_rows()));
    if config.token_types > 0 {
        object.insert("type_vocab_size".into(), json!(config.token_types));
    }
    if dialect.keys == BERT_KEYS {
        object.insert("layer_norm_eps".into(), json!(decimal(config.norm_eps)));
    }
    object.insert("initializer_range".into(), json!(decimal(config.initializer_range)));
    object.insert("tie_word_embeddings".into(), json!(config.tie_embeddings));
    for (key, id) in [("pad", config.pad_id), ("bos", config.bos_id), ("eos", config.eos_id)] {
        object.insert(format!("{key}_token_id"), json!(id));
    }
    object.extend((dialect.more)(config).into_iter().map(|(key, value)| (key.to_owned(), value)));
    object.insert("dtype".into(), json!("float32"));
    object
}

/// The key that stands for a field of ours.
fn json_key(dialect: &Dialect, key: &'static str) -> &'static str {
    if let Some(at) = KEYS.iter().position(|known| *known == key) {
        return dialect.keys[at];
    }
    match key {
        "max_positions" => "max_position_embeddings",
        "token_types" => "type_vocab_size",
        "norm_eps" => "layer_norm_eps",
        "bos_id" => "bos_token_id",
        "eos_id" => "eos_token_id",
        "pad_id" => "pad_token_id",
        same => same,
    }
}
