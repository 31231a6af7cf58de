//! GPT-2 and GPT-3's shapes: config.json and parameter names of `GPT2LMHeadModel`.
//!
//! Names are ours with `transformer.` before them, which the first published checkpoints lack. Weights inside blocks are
//! `[in, out]`, here and there. Old writers also stored each block's causal mask; nothing needs it.

mod gguf;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::heads::{Output, Part, Reads};
use super::{AttentionShape, Config, Extra, Family, Head, Sizes, Start};
use crate::hub::gguf::Architecture;
use crate::hub::json::Keys;
use crate::hub::{Error, Weights, decimal};
use crate::models::gpt2::config::{ACTIVATIONS, PRESETS, VOCAB_SIZE};
use crate::models::parameters::NamedShape;
use crate::models::{CausalLm, Gpt2, Gpt2Config};
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{self, Activation, Arch, ModelSettings, Preset};

/// `model_type` of GPT-2 checkpoints.
const MODEL_TYPE: &str = "gpt2";

/// The output projection, which is never under the prefix.
const OUTPUT: &str = "lm_head.weight";
/// The embedding table.
const TABLE: &str = "wte.weight";
const PREFIX: &str = "transformer.";

/// A key of our own, which the class carries along unread: false where the model has no biases.
const BIAS_KEY: &str = "atento_bias";

/// Probability of dropping what labels of tokens read (`GPT2ForTokenClassification`).
const CLASSIFIER_DROPOUT: f32 = 0.1;

/// What `GPT2Config` takes for both special tokens when a file leaves them out.
const END_OF_TEXT: u32 = 50_256;

/// GPT-2 and GPT-3.
pub struct Gpt2Family;

impl Family for Gpt2Family {
    fn name(&self) -> &'static str {
        "gpt2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &[MODEL_TYPE]
    }

    fn heads(&self) -> &'static [Head] {
        &[Head::Language, Head::Labels, Head::Tags, Head::Span]
    }

    fn read(
        &self,
        path: &Path,
        object: &Map<String, Value>,
        weights: Option<&Weights>,
    ) -> Result<Arc<dyn Config>, Error> {
        let mut config = read_config(path, object)?;
        if let Some(weights) = weights {
            if object.get("tie_word_embeddings").is_none_or(Value::is_null) {
                config.tie_embeddings = is_tied_in(weights)?;
            }
            config.bias &= has_biases(weights);
        }
        Ok(Arc::new(config))
    }

    fn default_id(&self, _: &str, _: &str) -> Option<u32> {
        Some(END_OF_TEXT)
    }

    fn gguf(&self) -> Option<&'static dyn Architecture> {
        Some(&gguf::Gpt2Gguf)
    }

    fn shapes(&self) -> Vec<&'static str> {
        PRESETS.map(|(name, _)| name).to_vec()
    }

    fn shape(&self, name: &str) -> Option<Arc<dyn Config>> {
        Some(Arc::new(Gpt2Config::preset(name, VOCAB_SIZE).ok()?))
    }

    /// Ours, nanoGPT's for characters, and GPT-2's smallest two.
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, heads, layers, max_positions) = match preset {
            Preset::Tiny => (128, 4, 4, 64),
            Preset::Small => (384, 6, 6, 256),
            Preset::Base => (768, 12, 12, 1024),
            Preset::Big => (1024, 16, 24, 1024),
        };
        ModelSettings {
            arch: Arch(&Gpt2Family),
            preset,
            d_model,
            heads,
            layers,
            d_ff: 4 * d_model,
            activation: Activation::GeluNew,
            max_positions,
            ..ModelSettings::default()
        }
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "d_model",
            "layers",
            "heads",
            "d_ff",
            "activation",
            "dropout",
            "attention_dropout",
            "embedding_dropout",
            "max_positions",
            "bias",
            "layer_norm_eps",
            "initializer_range",
            "scale_attention",
            "scale_by_layer",
        ]
    }

    fn dropouts(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("dropout", "resid_pdrop"),
            ("dropout", "embd_pdrop"),
            ("embedding_dropout", "embd_pdrop"),
            ("attention_dropout", "attn_pdrop"),
        ]
    }

    fn d_ff(&self, d_model: usize) -> Option<usize> {
        Some(4 * d_model)
    }

    fn of_recipe(
        &self,
        model: &ModelSettings,
        rows: usize,
        special: SpecialIds,
    ) -> Result<Arc<dyn Config>, train::Error> {
        let config = Gpt2Config {
            d_ff: model.d_ff,
            activation: model.activation.word().to_owned(),
            dropout: model.dropout as f32,
            embedding_dropout: model.embedding_dropout.unwrap_or(model.dropout) as f32,
            attention_dropout: model.attention_dropout as f32,
            tie_embeddings: model.tie_embeddings != recipe::TieEmbeddings::None,
            bias: model.bias,
            layer_norm_eps: model.layer_norm_eps as f32,
            initializer_range: model.initializer_range as f32,
            scale_attention: model.scale_attention,
            scale_by_layer: model.scale_by_layer,
            bos_id: special.bos,
            eos_id: special.eos,
            pad_id: special.pad,
            ..Gpt2Config::new(rows, model.layers, model.d_model, model.heads, model.max_positions)
        };
        config.validate()?;
        Ok(Arc::new(config))
    }
}

impl Config for Gpt2Config {
    fn family(&self) -> &'static dyn Family {
        &Gpt2Family
    }

    fn head(&self) -> Head {
        Head::Language
    }

    fn sizes(&self) -> Sizes {
        let &Self { vocab_size, d_model, max_positions, bos_id, eos_id, pad_id, .. } = self;
        Sizes { vocab_size, d_model, max_positions: Some(max_positions), bos_id, eos_id, pad_id }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        Ok(write_config(self))
    }

    fn class(&self) -> &'static str {
        "GPT2"
    }

    fn parameters(&self) -> Vec<NamedShape> {
        self.parameters()
    }

    fn initializer_range(&self) -> f32 {
        self.initializer_range
    }

    fn with_rows(&self, rows: usize) -> Arc<dyn Config> {
        Arc::new(Self { vocab_size: rows, ..self.clone() })
    }

    fn without_output(&self) -> Arc<dyn Config> {
        Arc::new(Self { tie_embeddings: true, ..self.clone() })
    }

    fn untied(&self) -> Option<Arc<dyn Config>> {
        self.tie_embeddings.then(|| Arc::new(Self { tie_embeddings: false, ..self.clone() }) as Arc<dyn Config>)
    }

    fn sources(&self, name: &str) -> Vec<String> {
        match name {
            OUTPUT => vec![name.to_owned()],
            _ => vec![format!("{PREFIX}{name}"), name.to_owned()],
        }
    }

    /// A model without biases need not store them.
    fn is_zero_if_missing(&self, name: &str) -> bool {
        !self.bias && name.ends_with(".bias")
    }

    fn extra(&self, stored: &str) -> Extra {
        match stored {
            OUTPUT if self.tie_embeddings => Extra::CopyOf(TABLE),
            _ if is_mask(stored) => Extra::Unused,
            _ => Extra::Unexpected,
        }
    }

    /// Under another head the output onto the vocabulary, tied or not, has no use.
    fn extra_of(&self, _head: Head, stored: &str) -> Extra {
        if stored == OUTPUT { Extra::Unused } else { self.extra(stored) }
    }

    fn shared_by(&self, name: &str) -> &'static [&'static str] {
        if self.tie_embeddings && name == TABLE { &[OUTPUT] } else { &[] }
    }

    fn parts(&self, head: Head, outputs: usize) -> Option<Vec<Part>> {
        Some(match head {
            Head::States => Vec::new(),
            Head::Labels => vec![Part::score(outputs)],
            Head::Tags => {
                let dropout = CLASSIFIER_DROPOUT;
                vec![Part::plain(Reads::Tokens, dropout, Output::dense("classifier", outputs))]
            }
            Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
            _ => return None,
        })
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        let other = self.embedding_dropout != self.dropout;
        ModelSettings {
            arch: Arch(self.family()),
            d_model: self.d_model,
            layers: self.layers,
            heads: self.heads,
            d_ff: self.d_ff,
            activation: Activation::named(&self.activation),
            dropout: decimal(self.dropout),
            embedding_dropout: other.then_some(decimal(self.embedding_dropout)),
            attention_dropout: decimal(self.attention_dropout),
            layer_norm_eps: decimal(self.layer_norm_eps),
            initializer_range: decimal(self.initializer_range),
            scale_attention: self.scale_attention,
            scale_by_layer: self.scale_by_layer,
            tie_embeddings: recipe::TieEmbeddings::all_or_none(self.tie_embeddings),
            max_positions: self.max_positions,
            bias: self.bias,
            ..settings.clone()
        }
    }

    fn attention_shape(&self) -> Option<AttentionShape> {
        Some(AttentionShape {
            layers: self.layers,
            kv_heads: self.heads,
            head_dim: self.d_model / self.heads,
            is_causal: true,
        })
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let (d_model, d_ff, layers) = (self.d_model as f64, self.d_ff as f64, self.layers as f64);
        let block = 9.0 * d_model + 2.0 * d_ff;
        let kept = if checkpoint { layers * d_model + block } else { layers * block };
        tokens * (kept + 4.0 * d_model)
    }

    fn causal(&self, start: Start) -> Option<Box<dyn CausalLm>> {
        Some(Box::new(match start {
            Start::Random(seed) => Gpt2::init(self.clone(), seed),
            Start::Unloaded | Start::NewHead(_) => Gpt2::unloaded(self.clone()),
            Start::Outline => Gpt2::outline(self.clone()),
        }))
    }
}

/// Reads the configuration from the object that `path` holds. Whether the output is tied is as the object says, or else
/// as the class has it: the weights may say otherwise.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
fn read_config(path: &Path, object: &Map<String, Value>) -> Result<Gpt2Config, Error> {
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
        initializer_range: keys.or("initializer_range", 0.02)?,
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
fn write_config(config: &Gpt2Config) -> Map<String, Value> {
    let entries = [
        ("model_type", json!(MODEL_TYPE)),
        ("architectures", json!(["GPT2LMHeadModel"])),
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
        ("initializer_range", json!(decimal(config.initializer_range))),
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
fn has_biases(weights: &Weights) -> bool {
    weights.names().any(|name| name.ends_with(".bias") && !is_mask(name))
}

/// Whether the output projection is the embedding table, where config.json does not say: unless the file has two that
/// differ.
///
/// # Errors
/// One of the two tensors cannot be read.
fn is_tied_in(weights: &Weights) -> Result<bool, Error> {
    if !weights.contains(OUTPUT) {
        return Ok(true);
    }
    let names = [format!("{PREFIX}{TABLE}"), TABLE.to_owned()];
    let Some(table) = names.into_iter().find(|name| weights.contains(name)) else {
        return Ok(true);
    };
    weights.are_equal(OUTPUT, &table)
}

/// Whether a tensor is a block's causal mask, or the value it masked with.
fn is_mask(stored: &str) -> bool {
    let parts: Vec<&str> = stored.strip_prefix(PREFIX).unwrap_or(stored).split('.').collect();
    matches!(parts[..], ["h", layer, "attn", "bias" | "masked_bias"] if layer.parse::<usize>().is_ok())
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
mod tests;
