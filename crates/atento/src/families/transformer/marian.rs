//! config.json of `MarianMTModel` (`model_type` "marian"), the post-norm encoder–decoder.
//!
//! Tying is said by two keys: `tie_word_embeddings` (is the output a table of its own?) and
//! `share_encoder_decoder_embeddings` (do source and target have one?). Since transformers 5 the first one,
//! when false, unties all three.

use super::seq2seq::{self, Defaults};
use crate::hub::Error;
use crate::hub::json::Keys;
use crate::models::config::{ConfigError, Norm, TieEmbeddings, TransformerConfig};
use serde_json::{Map, Value, json};
use std::path::Path;

/// `model_type` in config.json.
pub(super) const MODEL_TYPE: &str = "marian";

/// `MarianConfig`'s own values, those of the OPUS-MT models.
const DEFAULTS: Defaults = Defaults {
    activation: "gelu",
    attention_dropout: 0.0,
    scale_embedding: false,
    pad_id: 58100,
    eos_id: 0,
    decoder_start_id: 58100,
};

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is missing, of the wrong type, or has a value no model can have; the message names file and key.
pub(super) fn read_config(path: &Path, object: &Map<String, Value>) -> Result<TransformerConfig, Error> {
    let keys = Keys::new(path, object);
    let shared: bool = keys.or("share_encoder_decoder_embeddings", true)?;
    let tied: bool = keys.or("tie_word_embeddings", true)?;
    let tie_embeddings = match (tied, shared) {
        (true, true) => TieEmbeddings::All,
        (true, false) => TieEmbeddings::Decoder,
        (false, _) => TieEmbeddings::None,
    };
    let config = seq2seq::read(keys, Norm::Post, tie_embeddings, &DEFAULTS)?;
    match keys.optional::<usize>("decoder_vocab_size")? {
        Some(size) if size != config.vocab_size => {
            let expected = format!("vocab_size = {} (one vocabulary for both languages)", config.vocab_size);
            Err(keys.wrong("decoder_vocab_size", expected))
        }
        _ => Ok(config),
    }
}

/// The object that config.json is to hold.
///
/// # Errors
/// A value that cannot be, or that `MarianMTModel` cannot express.
pub(super) fn write_config(config: &TransformerConfig) -> Result<Map<String, Value>, ConfigError> {
    let mut object = seq2seq::write(config)?;
    let tied = config.tie_embeddings;
    object.insert("model_type".into(), json!(MODEL_TYPE));
    object.insert("architectures".into(), json!(["MarianMTModel"]));
    object.insert("decoder_vocab_size".into(), json!(config.vocab_size));
    object.insert("share_encoder_decoder_embeddings".into(), json!(tied == TieEmbeddings::All));
    object.insert("tie_word_embeddings".into(), json!(tied != TieEmbeddings::None));
    // The class forces token 0 at the end of the longest output unless told not to.
    object.insert("forced_eos_token_id".into(), Value::Null);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(tie_embeddings: TieEmbeddings) -> TransformerConfig {
        TransformerConfig { tie_embeddings, ..TransformerConfig::small(900) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for tie in [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None] {
            let object = write_config(&small(tie)).unwrap();
            assert_eq!(read_config(Path::new("config.json"), &object).unwrap(), small(tie));
        }
    }

    #[test]
    fn errors_name_file_key_found_and_expected() {
        for (key, value, expected) in [
            ("d_model", json!("256"), "key `d_model` is \"256\", expected a whole number, 0 or more"),
            ("d_model", json!(-1), "key `d_model` is -1, expected a whole number"),
            (
                "encoder_attention_heads",
                json!(3),
                "`encoder_attention_heads` is 3, expected a divisor of d_model = 256",
            ),
            ("activation_function", json!("geluu"), "`activation_function` is \"geluu\", expected one of relu, gelu"),
            ("eos_token_id", json!("</s>"), "`eos_token_id` is \"</s>\", expected a token id"),
            ("decoder_vocab_size", json!(5), "`decoder_vocab_size` is 5, expected vocab_size = 900"),
            ("scale_embedding", json!(1), "`scale_embedding` is 1, expected true or false"),
            ("vocab_size", Value::Null, "key `vocab_size` is missing"),
            ("encoder_layers", json!(u64::MAX), "`encoder_layers` is 18446744073709551615, expected"),
        ] {
            let mut object = write_config(&small(TieEmbeddings::All)).unwrap();
            object.insert(key.into(), value);
            if key == "vocab_size" {
                object.remove(key);
            }
            let message = read_config(Path::new("m/config.json"), &object).unwrap_err().to_string();
            assert!(message.starts_with("m/config.json: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn keys_left_out_have_the_values_of_the_class() {
        let mut object = write_config(&TransformerConfig::base(58101)).unwrap();
        for key in ["activation_function", "pad_token_id", "eos_token_id", "decoder_start_token_id", "dropout"] {
            object.remove(key);
        }
        let config = read_config(Path::new("config.json"), &object).unwrap();
        assert_eq!((config.activation.as_str(), config.dropout), ("gelu", 0.1));
        assert_eq!((config.pad_id, config.eos_id, config.decoder_start_id), (58100, 0, 58100));
    }

    #[test]
    fn what_the_class_cannot_express_is_refused() {
        let config = TransformerConfig { layer_norm_eps: 1e-6, ..TransformerConfig::small(900) };
        assert_eq!(write_config(&config).unwrap_err().key, "layer_norm_eps");
    }
}
