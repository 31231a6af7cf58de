//! The recurrent network that the Transformer replaced (`model_type` "atento_rnn"). The format is this project's own; keys that
//! Hugging Face's configurations share have their names.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::transformer::{hf_key, required, token_or};
use super::{Config, Family, Head, Sizes, Start};
use crate::hub::json::Keys;
use crate::hub::{Error, Weights, decimal};
use crate::models::config::{NO_TOKEN, TieEmbeddings};
use crate::models::parameters::NamedShape;
use crate::models::{Recurrent, RecurrentConfig, Translator};
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{Arch, ModelSettings, Preset};

/// `model_type` in config.json.
const MODEL_TYPE: &str = "atento_rnn";

const TIES: [(&str, TieEmbeddings); 3] =
    [("all", TieEmbeddings::All), ("decoder", TieEmbeddings::Decoder), ("none", TieEmbeddings::None)];

/// The recurrent network with additive attention of Bahdanau et al. 2015.
pub struct RecurrentFamily;

impl Family for RecurrentFamily {
    fn name(&self) -> &'static str {
        "rnn"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &[MODEL_TYPE]
    }

    fn heads(&self) -> &'static [Head] {
        &[Head::Translation]
    }

    fn read(&self, path: &Path, object: &Map<String, Value>, _: Option<&Weights>) -> Result<Arc<dyn Config>, Error> {
        Ok(Arc::new(read_config(path, object)?))
    }

    /// `base` is RNNsearch (Bahdanau et al. 2015, §A.2: 1000 hidden units, 620-dimensional embeddings).
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (hidden, embedding, layers, dropout) = match preset {
            Preset::Tiny => (128, 128, 1, 0.1),
            Preset::Small => (256, 256, 1, 0.2),
            Preset::Base => (1000, 620, 1, 0.2),
            Preset::Big => (1024, 1024, 4, 0.2),
        };
        ModelSettings {
            arch: Arch(&RecurrentFamily),
            preset,
            hidden,
            embedding,
            layers,
            dropout,
            ..ModelSettings::default()
        }
    }

    fn keys(&self) -> &'static [&'static str] {
        &["hidden", "embedding", "layers", "dropout"]
    }

    fn width(&self, settings: &ModelSettings) -> usize {
        settings.hidden
    }

    fn has_heads(&self) -> bool {
        false
    }

    fn has_positions(&self) -> bool {
        false
    }

    fn checkpoints(&self) -> bool {
        false
    }

    fn takes_prefixes(&self) -> bool {
        false
    }

    /// The decoder starts from padding, as the Transformer's.
    fn of_recipe(
        &self,
        model: &ModelSettings,
        rows: usize,
        special: SpecialIds,
    ) -> Result<Arc<dyn Config>, train::Error> {
        let (pad_id, eos_id) = required(special)?;
        let config = RecurrentConfig {
            vocab_size: rows,
            embedding: model.embedding,
            hidden: model.hidden,
            layers: model.layers,
            dropout: model.dropout as f32,
            tie_embeddings: model.tie_embeddings.into(),
            pad_id,
            eos_id,
            bos_id: special.bos,
            unk_id: special.unk,
            decoder_start_id: pad_id,
        };
        config.validate()?;
        Ok(Arc::new(config))
    }
}

impl Config for RecurrentConfig {
    fn family(&self) -> &'static dyn Family {
        &RecurrentFamily
    }

    fn head(&self) -> Head {
        Head::Translation
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            d_model: self.hidden,
            max_positions: None,
            bos_id: self.bos_id,
            eos_id: Some(self.eos_id),
            pad_id: Some(self.pad_id),
        }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        Ok(write_config(self))
    }

    fn class(&self) -> &'static str {
        "AtentoRnn"
    }

    fn parameters(&self) -> Vec<NamedShape> {
        self.parameters()
    }

    fn with_rows(&self, rows: usize) -> Arc<dyn Config> {
        Arc::new(Self { vocab_size: rows, ..self.clone() })
    }

    fn without_output(&self) -> Arc<dyn Config> {
        Arc::new(self.clone())
    }

    /// Tables of sources and targets that are one become two.
    fn untied(&self) -> Option<Arc<dyn Config>> {
        let is_tied = self.tie_embeddings != TieEmbeddings::None;
        is_tied.then(|| Arc::new(Self { tie_embeddings: TieEmbeddings::None, ..self.clone() }) as Arc<dyn Config>)
    }

    fn shared_by(&self, name: &str) -> &'static [&'static str] {
        super::transformer::shared_by(self.tie_embeddings, name)
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        ModelSettings {
            arch: Arch(self.family()),
            hidden: self.hidden,
            embedding: self.embedding,
            layers: self.layers,
            dropout: decimal(self.dropout),
            tie_embeddings: self.tie_embeddings.into(),
            ..settings.clone()
        }
    }

    fn activations(&self, tokens: f64, _: bool) -> f64 {
        let (hidden, embedding, layers) = (self.hidden as f64, self.embedding as f64, self.layers as f64);
        tokens * (layers * (24.0 * hidden) + 8.0 * hidden + 6.0 * embedding)
    }

    fn translator(&self, start: Start) -> Option<Box<dyn Translator>> {
        Some(Box::new(match start {
            Start::Random(seed) => Recurrent::init(self.clone(), seed),
            Start::Unloaded | Start::NewHead(_) => Recurrent::init(self.clone(), 0),
            Start::Outline => Recurrent::outline(self.clone()),
        }))
    }
}

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is missing, of the wrong type, or has a value no model can have; the message names file and key.
fn read_config(path: &Path, object: &Map<String, Value>) -> Result<RecurrentConfig, Error> {
    let keys = Keys::new(path, object);
    let tie: String = keys.required("tie_embeddings")?;
    let Some((_, tie_embeddings)) = TIES.into_iter().find(|(word, _)| *word == tie) else {
        return Err(keys.wrong("tie_embeddings", "one of \"all\", \"decoder\", \"none\""));
    };
    let vocab_size: usize = keys.required("vocab_size")?;
    let is_there = |id: &u32| (*id as usize) < vocab_size;
    let token = |key: &str| match keys.special(key)? {
        None => keys.required(key),
        Some(_) => token_or(keys, key, NO_TOKEN),
    };
    let config = RecurrentConfig {
        vocab_size,
        embedding: keys.required("embedding_size")?,
        hidden: keys.required("hidden_size")?,
        layers: keys.required("num_layers")?,
        dropout: keys.or("dropout", 0.0)?,
        tie_embeddings,
        pad_id: token("pad_token_id")?,
        eos_id: token("eos_token_id")?,
        bos_id: keys.special_one("bos_token_id")?.filter(is_there),
        unk_id: keys.special_one("unk_token_id")?.filter(is_there),
        decoder_start_id: token("decoder_start_token_id")?,
    };
    config.validate().map_err(|error| keys.wrong(json_key(error.key), error.expected))?;
    Ok(config)
}

/// The object that config.json is to hold.
fn write_config(config: &RecurrentConfig) -> Map<String, Value> {
    let tie = TIES.into_iter().find(|(_, tie)| *tie == config.tie_embeddings).map(|(word, _)| word);
    let entries = [
        ("model_type", json!(MODEL_TYPE)),
        ("vocab_size", json!(config.vocab_size)),
        ("embedding_size", json!(config.embedding)),
        ("hidden_size", json!(config.hidden)),
        ("num_layers", json!(config.layers)),
        ("dropout", json!(decimal(config.dropout))),
        ("tie_embeddings", json!(tie)),
        ("pad_token_id", json!(config.pad_id)),
        ("eos_token_id", json!(config.eos_id)),
        ("bos_token_id", json!(config.bos_id)),
        ("unk_token_id", json!(config.unk_id)),
        ("decoder_start_token_id", json!(config.decoder_start_id)),
        ("is_encoder_decoder", json!(true)),
        ("dtype", json!("float32")),
    ];
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

fn json_key(key: &'static str) -> &'static str {
    match key {
        "embedding" => "embedding_size",
        "hidden" => "hidden_size",
        "layers" => "num_layers",
        other => hf_key(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RecurrentConfig {
        RecurrentConfig {
            vocab_size: 90,
            embedding: 8,
            hidden: 12,
            layers: 2,
            dropout: 0.3,
            tie_embeddings: TieEmbeddings::Decoder,
            pad_id: 0,
            eos_id: 1,
            bos_id: None,
            unk_id: Some(2),
            decoder_start_id: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let object = write_config(&config());
        assert_eq!(object["dropout"], json!(0.3));
        assert_eq!(read_config(Path::new("config.json"), &object).unwrap(), config());
    }

    #[test]
    fn a_wrong_value_is_named_by_its_key_in_the_file() {
        let cases = [
            ("hidden_size", json!(0), "`hidden_size` is 0, expected a whole number from 1 to"),
            ("num_layers", json!(1_u64 << 40), "`num_layers` is 1099511627776, expected a whole number from 1 to 1024"),
            (
                "tie_embeddings",
                json!("al"),
                "`tie_embeddings` is \"al\", expected one of \"all\", \"decoder\", \"none\"",
            ),
            ("pad_token_id", json!("0"), "`pad_token_id` is \"0\", expected a token id"),
            ("eos_token_id", Value::Null, "key `eos_token_id` is missing"),
            ("embedding_size", json!("8"), "`embedding_size` is \"8\", expected a whole number"),
        ];
        for (key, value, expected) in cases {
            let mut object = write_config(&config());
            match value {
                Value::Null => drop(object.remove(key)),
                value => drop(object.insert(key.into(), value)),
            }
            let message = read_config(Path::new("m/config.json"), &object).unwrap_err().to_string();
            assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
        }
    }
}
