//! config.json of DeBERTa.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{MODEL_TYPE, VOCAB_SIZE};
use crate::hub::json::Keys;
use crate::hub::{Error, decimal};
use crate::models::deberta::{Convolution, DebertaConfig};

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub(super) fn read_config(path: &Path, object: &Map<String, Value>) -> Result<DebertaConfig, Error> {
    let keys = Keys::new(path, object);
    if !keys.or("relative_attention", false)? {
        return Err(keys.wrong("relative_attention", "true: a DeBERTa without relative positions is not supported"));
    }
    if keys.or("conv_groups", 1_usize)? != 1 {
        return Err(keys.wrong("conv_groups", "1: nothing else is supported"));
    }
    let d_model: usize = keys.or("hidden_size", 1536)?;
    let heads: usize = keys.or("num_attention_heads", 24)?;
    if keys.optional::<usize>("attention_head_size")?.is_some_and(|size| size * heads != d_model) {
        return Err(keys.wrong(
            "attention_head_size",
            format!("hidden_size / num_attention_heads = {}", d_model.checked_div(heads).unwrap_or_default()),
        ));
    }
    let vocab_size = keys.or("vocab_size", VOCAB_SIZE)?;
    let max_positions = keys.or("max_position_embeddings", 512)?;
    let special = |key: &str, default: Option<u32>| -> Result<Option<u32>, Error> {
        let id = if object.contains_key(key) { keys.special_one(key)? } else { default };
        Ok(id.filter(|&id| (id as usize) < vocab_size))
    };
    // Negative numbers stand for none.
    let positive = |key: &str| -> Result<Option<usize>, Error> {
        let number: Option<f64> = keys.optional(key)?;
        Ok(number.filter(|number| *number >= 1.0).map(|number| number as usize))
    };
    let terms = terms(keys, object)?;
    let norms: String = keys.or("norm_rel_ebd", "none".to_owned())?;
    let convolution = match positive("conv_kernel_size")? {
        None => None,
        Some(kernel) => Some(Convolution { kernel, activation: keys.or("conv_act", "tanh".to_owned())? }),
    };
    let config = DebertaConfig {
        vocab_size,
        embedding_size: keys.or("embedding_size", d_model)?,
        d_model,
        layers: keys.or("num_hidden_layers", 24)?,
        heads,
        d_ff: keys.or("intermediate_size", 6144)?,
        activation: keys.or("hidden_act", "gelu".to_owned())?,
        dropout: keys.or("hidden_dropout_prob", 0.1)?,
        attention_dropout: keys.or("attention_probs_dropout_prob", 0.1)?,
        classifier_dropout: keys.optional("cls_dropout")?,
        max_positions,
        absolute_positions: keys.or("position_biased_input", true)?,
        token_types: keys.or("type_vocab_size", 0)?,
        norm_eps: keys.or("layer_norm_eps", 1e-7)?,
        initializer_range: keys.or("initializer_range", 0.02)?,
        max_relative: positive("max_relative_positions")?.unwrap_or(max_positions),
        buckets: positive("position_buckets")?,
        content_to_position: terms.contains(&"c2p"),
        position_to_content: terms.contains(&"p2c"),
        shares_projections: keys.or("share_att_key", false)?,
        norms_relative: norms.to_lowercase().split('|').any(|norm| norm.trim() == "layer_norm"),
        convolution,
        pooler_size: keys.or("pooler_hidden_size", d_model)?,
        pooler_activation: keys.or("pooler_hidden_act", "gelu".to_owned())?,
        pooler_dropout: keys.or("pooler_dropout", 0.0)?,
        tie_embeddings: keys.or("tie_word_embeddings", true)?,
        legacy_head: keys.or("legacy", true)?,
        pad_id: special("pad_token_id", Some(0))?,
        bos_id: special("bos_token_id", None)?,
        eos_id: special("eos_token_id", None)?,
    };
    config.validate().map_err(|error| keys.wrong(json_key(error.key), error.expected))?;
    Ok(config)
}

/// The terms of the scores that know positions: a list, or a text with bars between them.
fn terms<'o>(keys: Keys<'_>, object: &'o Map<String, Value>) -> Result<Vec<&'o str>, Error> {
    const KEY: &str = "pos_att_type";
    let words: Option<Vec<&str>> = match object.get(KEY) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(text)) => Some(text.split('|').map(str::trim).filter(|word| !word.is_empty()).collect()),
        Some(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let known = |words: &Vec<&str>| words.iter().all(|word| ["c2p", "p2c"].contains(word));
    words.filter(known).ok_or_else(|| keys.wrong(KEY, "a list of \"c2p\" and \"p2c\", or one of them"))
}

/// The object that config.json is to hold.
pub(super) fn write_config(config: &DebertaConfig) -> Map<String, Value> {
    let terms = [("p2c", config.position_to_content), ("c2p", config.content_to_position)];
    let terms: Vec<&str> = terms.into_iter().filter(|(_, is_there)| *is_there).map(|(term, _)| term).collect();
    let number = |value: Option<usize>| value.map_or(json!(-1), |value| json!(value));
    let furthest = (config.max_relative != config.max_positions).then_some(config.max_relative);
    let entries = [
        ("model_type", json!(MODEL_TYPE)),
        ("architectures", json!(["DebertaV2Model"])),
        ("vocab_size", json!(config.vocab_size)),
        ("hidden_size", json!(config.d_model)),
        ("num_hidden_layers", json!(config.layers)),
        ("num_attention_heads", json!(config.heads)),
        ("intermediate_size", json!(config.d_ff)),
        ("hidden_act", json!(config.activation)),
        ("hidden_dropout_prob", json!(decimal(config.dropout))),
        ("attention_probs_dropout_prob", json!(decimal(config.attention_dropout))),
        ("max_position_embeddings", json!(config.max_positions)),
        ("type_vocab_size", json!(config.token_types)),
        ("initializer_range", json!(decimal(config.initializer_range))),
        ("layer_norm_eps", json!(decimal(config.norm_eps))),
        ("relative_attention", json!(true)),
        ("max_relative_positions", number(furthest)),
        ("position_buckets", number(config.buckets)),
        ("norm_rel_ebd", json!(if config.norms_relative { "layer_norm" } else { "none" })),
        ("share_att_key", json!(config.shares_projections)),
        ("pos_att_type", json!(terms)),
        ("position_biased_input", json!(config.absolute_positions)),
        ("pooler_hidden_size", json!(config.pooler_size)),
        ("pooler_hidden_act", json!(config.pooler_activation)),
        ("pooler_dropout", json!(decimal(config.pooler_dropout))),
        ("legacy", json!(config.legacy_head)),
        ("tie_word_embeddings", json!(config.tie_embeddings)),
        ("pad_token_id", json!(config.pad_id)),
        ("bos_token_id", json!(config.bos_id)),
        ("eos_token_id", json!(config.eos_id)),
        ("dtype", json!("float32")),
    ];
    let mut object: Map<String, Value> = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if config.embedding_size != config.d_model {
        object.insert("embedding_size".into(), json!(config.embedding_size));
    }
    if let Some(dropout) = config.classifier_dropout {
        object.insert("cls_dropout".into(), json!(decimal(dropout)));
    }
    if let Some(Convolution { kernel, activation }) = &config.convolution {
        object.insert("conv_kernel_size".into(), json!(kernel));
        object.insert("conv_act".into(), json!(activation));
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
        "activation" => "hidden_act",
        "dropout" => "hidden_dropout_prob",
        "attention_dropout" => "attention_probs_dropout_prob",
        "classifier_dropout" => "cls_dropout",
        "max_positions" => "max_position_embeddings",
        "token_types" => "type_vocab_size",
        "norm_eps" => "layer_norm_eps",
        "max_relative" => "max_relative_positions",
        "buckets" => "position_buckets",
        "kernel" => "conv_kernel_size",
        "conv_activation" => "conv_act",
        "pooler_size" => "pooler_hidden_size",
        "pooler_activation" => "pooler_hidden_act",
        "bos_id" => "bos_token_id",
        "eos_id" => "eos_token_id",
        "pad_id" => "pad_token_id",
        same => same,
    }
}
