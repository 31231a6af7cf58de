//! config.json of ModernBERT.
//!
//! Which blocks are local is said by `layer_types`, or by `global_attn_every_n_layers` of older files; the bases of the rotary
//! positions by `rope_parameters`, or by `global_rope_theta` and `local_rope_theta` of older files. What is written has both.
//!
//! One key is our own, `head_transform`: where it is false, the words of masked tokens are found without the dense layer and the
//! norm of the head (Geiping & Goldstein 2022, arXiv:2212.14034, §4.2). `transformers` does not know the key and would begin
//! such a head with random weights: it reads the encoder below, and not that head.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::MODEL_TYPE;
use crate::hub::json::Keys;
use crate::hub::{Error, decimal};
use crate::models::config::MOST_LAYERS;
use crate::models::modernbert::ModernBertConfig;
use crate::models::modernbert::config::local_blocks;

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";
const POOLING: &str = "classifier_pooling";
const ROPE: &str = "rope_parameters";
const OLD_SCALING: &str = "rope_scaling";

/// The special tokens of a config.json that leaves them out.
const PAD_ID: u32 = 50_283;
const BOS_ID: u32 = 50_281;
const EOS_ID: u32 = 50_282;

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub(super) fn read_config(path: &Path, object: &Map<String, Value>) -> Result<ModernBertConfig, Error> {
    let keys = Keys::new(path, object);
    let class = ModernBertConfig::new(50_368, 22, 768, 12, 8192);
    let vocab_size = keys.or("vocab_size", class.vocab_size)?;
    let special = |key: &str, default: u32| -> Result<Option<u32>, Error> {
        let id = if object.contains_key(key) { keys.special_one(key)? } else { Some(default) };
        Ok(id.filter(|&id| (id as usize) < vocab_size))
    };
    let pooling: String = keys.or(POOLING, "cls".to_owned())?;
    if !["cls", "mean"].contains(&pooling.as_str()) {
        return Err(keys.wrong(POOLING, "\"cls\" or \"mean\""));
    }
    if object.get(OLD_SCALING).is_some_and(|value| !value.is_null()) {
        return Err(keys.wrong(OLD_SCALING, "null: positions that are scaled are not supported"));
    }
    let layers = keys.or("num_hidden_layers", class.layers)?;
    let rope_theta = read_theta(path, object, GLOBAL, "global_rope_theta", class.rope_theta)?;
    // Older versions of transformers give local blocks the other base where theirs is null.
    let has_none = object.get("local_rope_theta").is_some_and(Value::is_null);
    let local_default = if has_none { rope_theta } else { class.local_rope_theta };
    let config = ModernBertConfig {
        vocab_size,
        d_model: keys.or("hidden_size", class.d_model)?,
        layers,
        heads: keys.or("num_attention_heads", class.heads)?,
        d_ff: keys.or("intermediate_size", class.d_ff)?,
        activation: keys.or("hidden_activation", class.activation)?,
        max_positions: keys.or("max_position_embeddings", class.max_positions)?,
        local_window: keys.or("local_attention", class.local_window)?,
        local: read_local(keys, layers)?,
        rope_theta,
        local_rope_theta: read_theta(path, object, LOCAL, "local_rope_theta", local_default)?,
        norm_eps: keys.or("norm_eps", class.norm_eps)?,
        initializer_range: keys.or("initializer_range", class.initializer_range)?,
        norm_bias: keys.or("norm_bias", class.norm_bias)?,
        attention_bias: keys.or("attention_bias", class.attention_bias)?,
        mlp_bias: keys.or("mlp_bias", class.mlp_bias)?,
        embedding_dropout: keys.or("embedding_dropout", class.embedding_dropout)?,
        attention_dropout: keys.or("attention_dropout", class.attention_dropout)?,
        dropout: keys.or("mlp_dropout", class.dropout)?,
        mean_pooling: pooling == "mean",
        head_activation: keys.or("classifier_activation", class.head_activation)?,
        head_bias: keys.or("classifier_bias", class.head_bias)?,
        head_transform: keys.or("head_transform", class.head_transform)?,
        classifier_dropout: keys.or("classifier_dropout", class.classifier_dropout)?,
        output_bias: keys.or("decoder_bias", class.output_bias)?,
        tie_embeddings: keys.or("tie_word_embeddings", class.tie_embeddings)?,
        pad_id: special("pad_token_id", PAD_ID)?,
        bos_id: special("bos_token_id", BOS_ID)?,
        eos_id: special("eos_token_id", EOS_ID)?,
    };
    config.validate().map_err(|error| keys.wrong(json_key(error.key), error.expected))?;
    Ok(config)
}

/// Which blocks are local.
fn read_local(keys: Keys<'_>, layers: usize) -> Result<Vec<bool>, Error> {
    const TYPES: &str = "layer_types";
    const EVERY: &str = "global_attn_every_n_layers";
    if let Some(types) = keys.optional::<Vec<String>>(TYPES)? {
        if types.len() != layers || types.iter().any(|kind| ![GLOBAL, LOCAL].contains(&kind.as_str())) {
            return Err(keys.wrong(TYPES, format!("\"{GLOBAL}\" or \"{LOCAL}\" for each of the {layers} layers")));
        }
        return Ok(types.iter().map(|kind| kind == LOCAL).collect());
    }
    let every = keys.or(EVERY, 3)?;
    if every == 0 {
        return Err(keys.wrong(EVERY, "a whole number from 1"));
    }
    // More layers than a model may have are refused with the rest.
    Ok(local_blocks(layers.min(MOST_LAYERS + 1), every))
}

/// The base of the wavelengths in blocks of a kind.
fn read_theta(path: &Path, object: &Map<String, Value>, kind: &str, old_key: &str, default: f64) -> Result<f64, Error> {
    let keys = Keys::new(path, object);
    let check = |keys: Keys<'_>, key: &str, theta: f64| match theta > 1.0 && theta.is_finite() {
        true => Ok(theta),
        false => Err(keys.wrong(key, "a number above 1")),
    };
    let old = check(keys, old_key, keys.or(old_key, default)?)?;
    let said = match object.get(ROPE) {
        None | Some(Value::Null) => return Ok(old),
        Some(said) => said.as_object().map(|said| said.get(kind).filter(|value| !value.is_null())),
    };
    match said {
        Some(None) => Ok(old),
        Some(Some(Value::Object(said))) => {
            let inner = Keys::new(path, said);
            if inner.or("rope_type", "default".to_owned())? != "default" {
                return Err(inner.wrong("rope_type", "\"default\": positions that are scaled are not supported"));
            }
            check(inner, "rope_theta", inner.or("rope_theta", old)?)
        }
        _ => Err(keys.wrong(ROPE, format!("an object: {{\"{GLOBAL}\": {{…}}, \"{LOCAL}\": {{…}}}}"))),
    }
}

/// The object that config.json is to hold.
pub(super) fn write_config(config: &ModernBertConfig) -> Map<String, Value> {
    let types: Vec<&str> = config.local.iter().map(|local| if *local { LOCAL } else { GLOBAL }).collect();
    let rope = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
    let entries = [
        ("model_type", json!(MODEL_TYPE)),
        ("architectures", json!(["ModernBertModel"])),
        ("vocab_size", json!(config.vocab_size)),
        ("hidden_size", json!(config.d_model)),
        ("num_hidden_layers", json!(config.layers)),
        ("num_attention_heads", json!(config.heads)),
        ("intermediate_size", json!(config.d_ff)),
        ("hidden_activation", json!(config.activation)),
        ("max_position_embeddings", json!(config.max_positions)),
        ("local_attention", json!(config.local_window)),
        ("layer_types", json!(types)),
        (ROPE, json!({GLOBAL: rope(config.rope_theta), LOCAL: rope(config.local_rope_theta)})),
        ("global_rope_theta", json!(config.rope_theta)),
        ("local_rope_theta", json!(config.local_rope_theta)),
        ("initializer_range", json!(decimal(config.initializer_range))),
        ("norm_eps", json!(decimal(config.norm_eps))),
        ("norm_bias", json!(config.norm_bias)),
        ("attention_bias", json!(config.attention_bias)),
        ("mlp_bias", json!(config.mlp_bias)),
        ("embedding_dropout", json!(decimal(config.embedding_dropout))),
        ("attention_dropout", json!(decimal(config.attention_dropout))),
        ("mlp_dropout", json!(decimal(config.dropout))),
        (POOLING, json!(if config.mean_pooling { "mean" } else { "cls" })),
        ("classifier_activation", json!(config.head_activation)),
        ("classifier_bias", json!(config.head_bias)),
        ("classifier_dropout", json!(decimal(config.classifier_dropout))),
        ("decoder_bias", json!(config.output_bias)),
        ("tie_word_embeddings", json!(config.tie_embeddings)),
        ("pad_token_id", json!(config.pad_id)),
        ("bos_token_id", json!(config.bos_id)),
        ("cls_token_id", json!(config.bos_id)),
        ("eos_token_id", json!(config.eos_id)),
        ("sep_token_id", json!(config.eos_id)),
        ("dtype", json!("float32")),
    ];
    let mut object: Map<String, Value> = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(every) = config.global_every() {
        object.insert("global_attn_every_n_layers".into(), json!(every));
    }
    if !config.head_transform {
        object.insert("head_transform".into(), json!(false));
    }
    object
}

/// The key that stands for a field of ours.
fn json_key(key: &'static str) -> &'static str {
    match key {
        "d_model" => "hidden_size",
        "layers" => "num_hidden_layers",
        "heads" => "num_attention_heads",
        "d_ff" => "intermediate_size",
        "activation" => "hidden_activation",
        "max_positions" => "max_position_embeddings",
        "local_window" => "local_attention",
        "local" => "layer_types",
        "dropout" => "mlp_dropout",
        "head_activation" => "classifier_activation",
        "bos_id" => "bos_token_id",
        "eos_id" => "eos_token_id",
        "pad_id" => "pad_token_id",
        same => same,
    }
}
