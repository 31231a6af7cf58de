//! config.json of `M2M100ForConditionalGeneration` (`model_type` "m2m_100"), the pre-norm encoder–decoder.
//!
//! The class ties all three tables or none. A model whose target and output alone are one is written with that
//! table twice and `tie_word_embeddings` false; [`TIE_KEY`], which the class carries along unread, says the rest.

use super::seq2seq::{self, Defaults};
use crate::hub::Error;
use crate::hub::json::Keys;
use crate::models::config::{ConfigError, Norm, TieEmbeddings, TransformerConfig};
use serde_json::{Map, Value, json};
use std::path::Path;

/// `model_type` in config.json.
pub(super) const MODEL_TYPE: &str = "m2m_100";

/// A key of our own: "decoder" where target and output are one table.
pub(super) const TIE_KEY: &str = "atento_tie_embeddings";

/// `M2M100Config`'s own values.
const DEFAULTS: Defaults = Defaults {
    activation: "relu",
    attention_dropout: 0.1,
    scale_embedding: true,
    pad_id: 1,
    eos_id: 2,
    decoder_start_id: 2,
};

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is missing, of the wrong type, or has a value no model can have; the message names file and key.
pub(super) fn read_config(path: &Path, object: &Map<String, Value>) -> Result<TransformerConfig, Error> {
    let keys = Keys::new(path, object);
    let tied: bool = keys.or("tie_word_embeddings", true)?;
    let of_ours: Option<String> = keys.optional(TIE_KEY)?;
    let tie_embeddings = match (tied, of_ours.as_deref()) {
        (true, None) => TieEmbeddings::All,
        (false, None) => TieEmbeddings::None,
        (false, Some("decoder")) => TieEmbeddings::Decoder,
        (false, Some(_)) => return Err(keys.wrong(TIE_KEY, "\"decoder\"")),
        (true, Some(_)) => {
            return Err(keys.wrong(TIE_KEY, "no such key where `tie_word_embeddings` is true"));
        }
    };
    seq2seq::read(keys, Norm::Pre, tie_embeddings, &DEFAULTS)
}

/// The object that config.json is to hold.
///
/// # Errors
/// A value that cannot be, or that `M2M100ForConditionalGeneration` cannot express.
pub(super) fn write_config(config: &TransformerConfig) -> Result<Map<String, Value>, ConfigError> {
    let mut object = seq2seq::write(config)?;
    object.insert("model_type".into(), json!(MODEL_TYPE));
    object.insert("architectures".into(), json!(["M2M100ForConditionalGeneration"]));
    object.insert("tie_word_embeddings".into(), json!(config.tie_embeddings == TieEmbeddings::All));
    if config.tie_embeddings == TieEmbeddings::Decoder {
        object.insert(TIE_KEY.into(), json!("decoder"));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for tie_embeddings in [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None] {
            let config = TransformerConfig { tie_embeddings, ..TransformerConfig::tiny(500).with_norm(Norm::Pre) };
            let object = write_config(&config).unwrap();
            assert_eq!(read_config(Path::new("config.json"), &object).unwrap(), config);
        }
    }

    #[test]
    fn a_decoder_that_starts_from_padding_is_refused() {
        let mut object = write_config(&TransformerConfig::tiny(500).with_norm(Norm::Pre)).unwrap();
        object.insert("decoder_start_token_id".into(), json!(1));
        let message = read_config(Path::new("config.json"), &object).unwrap_err().to_string();
        assert!(message.contains("`decoder_start_token_id` is 1, expected another token than pad_id"), "{message}");
    }
}
