//! config.json and parameter names of GPT-2 checkpoints (`GPT2LMHeadModel`).
//!
//! Names are ours with `transformer.` before them, which the first published checkpoints lack. Weights inside blocks are
//! `[in, out]`, here and there. Old writers also stored each block's causal mask; nothing needs it.

use super::Error;
use super::json::Keys;
use super::seq2seq::decimal;
use super::weights::Weights;
use crate::models::gpt2::Gpt2Config;
use crate::models::gpt2::classifier::SCORE;
use crate::models::gpt2::config::{ACTIVATIONS, VOCAB_SIZE};
use serde_json::{Map, Value, json};
use std::path::Path;

/// `model_type` of GPT-2 checkpoints.
pub const MODEL_TYPE: &str = "gpt2";

/// The class of those that continue texts.
pub const ARCHITECTURE: &str = "GPT2LMHeadModel";

/// The output projection, which is never under the prefix.
pub(super) const OUTPUT: &str = "lm_head.weight";
/// The embedding table.
pub(super) const TABLE: &str = "wte.weight";
const PREFIX: &str = "transformer.";

/// A key of our own, which the class carries along unread: false where the model has no biases.
pub(super) const BIAS_KEY: &str = "atento_bias";

/// What `GPT2Config` takes for both special tokens when a file leaves them out.
pub(super) const END_OF_TEXT: u32 = 50_256;

/// Reads the configuration from the object that `path` holds. Whether the output is tied is as the object says, or else
/// as the class has it: the weights may say otherwise.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub fn read_config(path: &Path, object: &Map<String, Value>) -> Result<Gpt2Config, Error> {
    let keys = Keys::new(path, object);
    if keys.or("add_cross_attention", false)? {
        return Err(keys.wrong("add_cross_attention", "false: a decoder with an encoder beside it is another model"));
    }
    let vocab_size = keys.or("vocab_size", VOCAB_SIZE)?;
    let d_model = keys.or("n_embd", 768)?;
    let is_there = |id: &u32| (*id as usize) < vocab_size;
    let special = |key: &str| match object.contains_key(key) {
        // Several may end a text; the model itself knows one.
        true => Ok(keys.special(key)?.and_then(|ids| ids.into_iter().find(is_there))),
        false => Ok(Some(END_OF_TEXT).filter(is_there)),
    };
    let config = Gpt2Config {
        vocab_size,
        d_model,
        layers: keys.or("n_layer", 12)?,
        heads: keys.or("n_head", 12)?,
        d_ff: keys.optional("n_inner")?.unwrap_or(d_model.saturating_mul(4)),
        activation: keys.or("activation_function", ACTIVATIONS[0].to_string())?,
        max_positions: keys.or("n_positions", 1024)?,
        dropout: keys.or("resid_pdrop", 0.1)?,
        embedding_dropout: keys.or("embd_pdrop", 0.1)?,
        attention_dropout: keys.or("attn_pdrop", 0.1)?,
        layer_norm_eps: keys.or("layer_norm_epsilon", 1e-5)?,
        tie_embeddings: keys.or("tie_word_embeddings", true)?,
        bias: keys.or(BIAS_KEY, true)?,
        scale_attention: keys.or("scale_attn_weights", true)?,
        scale_by_layer: keys.or("scale_attn_by_inverse_layer_idx", false)?,
        bos_id: special("bos_token_id")?,
        eos_id: special("eos_token_id")?,
        pad_id: keys.special_one("pad_token_id")?.filter(is_there),
    };
    config.validate().map_err(|error| keys.wrong(json_key(error.key), error.expected))?;
    Ok(config)
}

/// The object that config.json is to hold. A model without biases is written with biases of 0, which is the same
/// function; `atento_bias` says that they are not to be trained.
#[must_use]
pub fn write_config(config: &Gpt2Config) -> Map<String, Value> {
    let entries = [
        ("model_type", json!(MODEL_TYPE)),
        ("architectures", json!([ARCHITECTURE])),
        ("vocab_size", json!(config.vocab_size)),
        ("n_positions", json!(config.max_positions)),
        ("n_embd", json!(config.d_model)),
        ("n_layer", json!(config.layers)),
        ("n_head", json!(config.heads)),
        ("n_inner", if config.d_ff == 4 * config.d_model { Value::Null } else { json!(config.d_ff) }),
        ("activation_function", json!(config.activation)),
        ("resid_pdrop", json!(decimal(config.dropout))),
        ("embd_pdrop", json!(decimal(config.embedding_dropout))),
        ("attn_pdrop", json!(decimal(config.attention_dropout))),
        ("layer_norm_epsilon", json!(decimal(config.layer_norm_eps))),
        ("initializer_range", json!(0.02)),
        ("scale_attn_weights", json!(config.scale_attention)),
        ("scale_attn_by_inverse_layer_idx", json!(config.scale_by_layer)),
        ("reorder_and_upcast_attn", json!(false)),
        ("tie_word_embeddings", json!(config.tie_embeddings)),
        ("bos_token_id", json!(config.bos_id)),
        ("eos_token_id", json!(config.eos_id)),
        ("pad_token_id", json!(config.pad_id)),
        ("dtype", json!("float32")),
        ("use_cache", json!(true)),
    ];
    let bias = (!config.bias).then_some((BIAS_KEY, json!(false)));
    entries.into_iter().chain(bias).map(|(key, value)| (key.to_string(), value)).collect()
}

/// Whether the file has the biases of a model. One that has none at all is a model without biases.
pub(super) fn has_biases(weights: &Weights) -> bool {
    weights.names().any(|name| name.ends_with(".bias") && !is_mask(name))
}

/// Whether the output projection is the embedding table, where config.json does not say: unless the file has two that
/// differ.
///
/// # Errors
/// One of the two tensors cannot be read.
pub(super) fn tied_in_file(weights: &Weights) -> Result<bool, Error> {
    if !weights.contains(OUTPUT) {
        return Ok(true);
    }
    let Some(table) = sources(TABLE).into_iter().find(|name| weights.contains(name)) else {
        return Ok(true);
    };
    weights.are_equal(OUTPUT, &table)
}

/// Names under which a file may hold a parameter, today's first.
#[must_use]
pub fn sources(internal: &str) -> Vec<String> {
    match internal {
        OUTPUT | SCORE => vec![internal.to_string()],
        _ => vec![format!("{PREFIX}{internal}"), internal.to_string()],
    }
}

/// Whether a tensor is a block's causal mask, or the value it masked with.
pub(super) fn is_mask(stored: &str) -> bool {
    let parts: Vec<&str> = stored.strip_prefix(PREFIX).unwrap_or(stored).split('.').collect();
    matches!(parts[..], ["h", layer, "attn", "bias" | "masked_bias"] if layer.parse::<usize>().is_ok())
}

/// The name in the file of a parameter of ours.
#[must_use]
pub fn hf_name(internal: &str) -> String {
    sources(internal).swap_remove(0)
}

/// The key that stands for a field of ours.
fn json_key(key: &'static str) -> &'static str {
    match key {
        "d_model" => "n_embd",
        "layers" => "n_layer",
        "heads" => "n_head",
        "d_ff" => "n_inner",
        "activation" => "activation_function",
        "max_positions" => "n_positions",
        "dropout" => "resid_pdrop",
        "embedding_dropout" => "embd_pdrop",
        "attention_dropout" => "attn_pdrop",
        "layer_norm_eps" => "layer_norm_epsilon",
        "bos_id" => "bos_token_id",
        "eos_id" => "eos_token_id",
        "pad_id" => "pad_token_id",
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Gpt2Config {
        Gpt2Config { eos_id: Some(0), dropout: 0.2, d_ff: 200, ..Gpt2Config::new(700, 2, 48, 4, 64) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let object = write_config(&config());
        assert_eq!(object["resid_pdrop"], json!(0.2));
        assert_eq!(read_config(Path::new("config.json"), &object).unwrap(), config());
    }

    #[test]
    fn that_there_are_no_biases_is_read_back() {
        let config = Gpt2Config { bias: false, ..config() };
        assert_eq!(read_config(Path::new("config.json"), &write_config(&config)).unwrap(), config);
    }

    #[test]
    fn keys_left_out_have_the_values_of_the_class() {
        let config = read_config(Path::new("config.json"), &Map::new()).unwrap();
        assert_eq!(config.parameter_count(), 124_439_808);
        assert_eq!((config.bos_id, config.eos_id, config.pad_id), (Some(END_OF_TEXT), Some(END_OF_TEXT), None));
        let Value::Object(small) = json!({"vocab_size": 65, "bos_token_id": null}) else { unreachable!() };
        let config = read_config(Path::new("config.json"), &small).unwrap();
        assert_eq!((config.bos_id, config.eos_id), (None, None));
    }

    #[test]
    fn a_wrong_value_is_named_by_its_key_in_the_file() {
        for (key, value, expected) in [
            ("n_head", json!(5), "`n_head` is 5, expected a divisor of d_model = 48"),
            ("n_layer", json!("2"), "`n_layer` is \"2\", expected a whole number"),
            ("activation_function", json!("geluu"), "`activation_function` is \"geluu\", expected one of gelu_new"),
            ("eos_token_id", json!("0"), "`eos_token_id` is \"0\", expected a token id"),
            ("add_cross_attention", json!(true), "`add_cross_attention` is true, expected false"),
        ] {
            let mut object = write_config(&config());
            object.insert(key.into(), value);
            let message = read_config(Path::new("m/config.json"), &object).unwrap_err().to_string();
            assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn tokens_that_the_table_does_not_have_are_none() {
        for (ids, found) in [(json!(50256), None), (json!(-1), None), (json!([900, 5]), Some(5))] {
            let mut object = write_config(&config());
            for key in ["bos_token_id", "eos_token_id"] {
                object.insert(key.into(), ids.clone());
            }
            let config = read_config(Path::new("config.json"), &object).unwrap();
            assert_eq!((config.bos_id, config.eos_id), (found, found));
        }
    }

    #[test]
    fn only_a_blocks_own_mask_is_a_mask() {
        assert!(is_mask("transformer.h.3.attn.bias") && is_mask("h.11.attn.masked_bias"));
        assert!(!is_mask("h.3.attn.c_attn.bias") && !is_mask("h.x.attn.bias") && !is_mask("attn.bias"));
    }
}
