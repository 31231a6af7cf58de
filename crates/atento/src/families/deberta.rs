//! DeBERTa, versions 2 and 3: config.json and names of `DebertaV2Model` and what stands on it.
//!
//! The part of masked words has two sets of names: `cls.predictions` of transformers' first DeBERTa, whose checkpoints fill it
//! with random numbers unless they were fine-tuned for it, and `lm_predictions.lm_head` of the published ones (`legacy` false).

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::heads::{Norm, Output, Part, Reads, Transform};
use super::{Config, Extra, Family, Head, Sizes, Start};
use crate::hub::json::Keys;
use crate::hub::{Error, Weights, decimal};
use crate::models::Trunk;
use crate::models::deberta::{Convolution, Deberta, DebertaConfig};
use crate::models::parameters::NamedShape;
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{self, Activation, Arch, ModelSettings, Preset};

/// `model_type` of DeBERTa checkpoints of both versions.
const MODEL_TYPE: &str = "deberta-v2";
const PREFIX: &str = "deberta.";
/// The table of tokens.
const TABLE: &str = "embeddings.word_embeddings.weight";
/// The weight of the convolution, which files have as `[out, in, kernel]`.
const CONVOLUTION: &str = "encoder.conv.conv.weight";

/// The published shapes: a name, blocks, width, heads.
const SHAPES: [(&str, [usize; 3]); 3] =
    [("deberta-v3-small", [6, 768, 12]), ("deberta-v3-base", [12, 768, 12]), ("deberta-v3-large", [24, 1024, 16])];
/// Rows of DeBERTa-v3's table.
const VOCAB_SIZE: usize = 128_100;

/// DeBERTa.
pub struct DebertaFamily;

impl Family for DebertaFamily {
    fn name(&self) -> &'static str {
        "deberta"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &[MODEL_TYPE]
    }

    fn heads(&self) -> &'static [Head] {
        &[Head::States, Head::Words, Head::Labels, Head::Tags, Head::Span, Head::Choice]
    }

    fn read(
        &self,
        path: &Path,
        object: &Map<String, Value>,
        _weights: Option<&Weights>,
    ) -> Result<Arc<dyn Config>, Error> {
        Ok(Arc::new(read_config(path, object)?))
    }

    fn shapes(&self) -> Vec<&'static str> {
        SHAPES.map(|(name, _)| name).to_vec()
    }

    fn shape(&self, name: &str) -> Option<Arc<dyn Config>> {
        let (_, [layers, d_model, heads]) = SHAPES.iter().find(|(shape, _)| *shape == name)?;
        let config = DebertaConfig::new(VOCAB_SIZE, *layers, *d_model, *heads, 512);
        Some(Arc::new(DebertaConfig { pad_id: Some(0), ..config }))
    }

    /// Sizes of our own, then DeBERTa's base and large.
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, heads, layers, max_positions) = match preset {
            Preset::Tiny => (128, 2, 2, 128),
            Preset::Small => (256, 4, 4, 512),
            Preset::Base => (768, 12, 12, 512),
            Preset::Big => (1024, 16, 24, 512),
        };
        ModelSettings {
            arch: Arch(&DebertaFamily),
            preset,
            d_model,
            heads,
            layers,
            d_ff: 4 * d_model,
            activation: Activation::Gelu,
            attention_dropout: 0.1,
            layer_norm_eps: 1e-7,
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
            "max_positions",
            "layer_norm_eps",
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
        let new = DebertaConfig::new(rows, model.layers, model.d_model, model.heads, model.max_positions);
        let buckets = new.buckets.filter(|&buckets| buckets / 2 + 1 < model.max_positions);
        let config = DebertaConfig {
            d_ff: model.d_ff,
            activation: model.activation.word().to_owned(),
            dropout: model.dropout as f32,
            attention_dropout: model.attention_dropout as f32,
            norm_eps: model.layer_norm_eps as f32,
            tie_embeddings: model.tie_embeddings != recipe::TieEmbeddings::None,
            buckets,
            pad_id: special.pad,
            bos_id: special.bos,
            eos_id: special.eos,
            ..new
        };
        config.validate()?;
        Ok(Arc::new(config))
    }
}

impl Config for DebertaConfig {
    fn family(&self) -> &'static dyn Family {
        &DebertaFamily
    }

    fn head(&self) -> Head {
        Head::States
    }

    fn sizes(&self) -> Sizes {
        let &Self { vocab_size, d_model, max_positions, bos_id, eos_id, pad_id, .. } = self;
        Sizes { vocab_size, d_model, max_positions: Some(max_positions), bos_id, eos_id, pad_id }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        Ok(write_config(self))
    }

    fn class(&self) -> &'static str {
        "DebertaV2"
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

    fn parts(&self, head: Head, outputs: usize) -> Option<Vec<Part>> {
        let dropout = self.classifier_dropout.unwrap_or(self.dropout);
        Some(match head {
            Head::States => Vec::new(),
            Head::Words => vec![self.words()],
            Head::Labels | Head::Choice => {
                let transform = Transform {
                    dense: "pooler.dense".into(),
                    width: self.pooler_size,
                    bias: true,
                    activation: self.pooler_activation.clone(),
                    norm: None,
                    dropout: self.pooler_dropout,
                };
                let output = Some(Output::dense("classifier", outputs));
                vec![Part { reads: Reads::First, transform: Some(transform), dropout, output }]
            }
            Head::Tags => vec![Part::plain(Reads::Tokens, self.dropout, Output::dense("classifier", outputs))],
            Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
            Head::Pretraining | Head::Translation | Head::Language => return None,
        })
    }

    fn sources(&self, name: &str) -> Vec<String> {
        vec![format!("{PREFIX}{name}"), name.to_owned()]
    }

    /// The bare class stores its tensors without the prefix.
    fn sources_below(&self, head: Head, name: &str) -> Vec<String> {
        let mut names = self.sources(name);
        if head == Head::States {
            names.reverse();
        }
        names
    }

    fn stored_shape(&self, name: &str, shape: &[usize]) -> Vec<usize> {
        match (name, &self.convolution) {
            (CONVOLUTION, Some(Convolution { kernel, .. })) => vec![self.d_model, self.d_model, *kernel],
            _ => shape.to_vec(),
        }
    }

    fn extra(&self, stored: &str) -> Extra {
        self.extra_of(Head::States, stored)
    }

    fn extra_of(&self, head: Head, stored: &str) -> Extra {
        let name = stored.strip_prefix(PREFIX).unwrap_or(stored);
        match name {
            "embeddings.position_ids" => Extra::Unused,
            "cls.predictions.decoder.weight" if head == Head::Words && self.tie_embeddings => Extra::CopyOf(TABLE),
            "cls.predictions.decoder.bias" if head == Head::Words => Extra::CopyOf("cls.predictions.bias"),
            // Of the replaced-token detection of version 3.
            _ if name.starts_with("mask_predictions.") => Extra::Unused,
            _ if name.starts_with("lm_predictions.") && head != Head::Words => Extra::Unused,
            _ => Extra::Unexpected,
        }
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        ModelSettings {
            arch: Arch(self.family()),
            d_model: self.d_model,
            layers: self.layers,
            heads: self.heads,
            d_ff: self.d_ff,
            activation: Activation::named(&self.activation),
            dropout: decimal(self.dropout),
            attention_dropout: decimal(self.attention_dropout),
            layer_norm_eps: decimal(self.norm_eps),
            tie_embeddings: recipe::TieEmbeddings::all_or_none(self.tie_embeddings),
            max_positions: self.max_positions,
            ..settings.clone()
        }
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let (d_model, d_ff, layers) = (self.d_model as f64, self.d_ff as f64, self.layers as f64);
        let block = 9.0 * d_model + 2.0 * d_ff;
        let kept = if checkpoint { layers * d_model + block } else { layers * block };
        tokens * (kept + 4.0 * d_model) + layers * 6.0 * self.span() as f64 * d_model
    }

    fn trunk(&self, start: Start) -> Option<Box<dyn Trunk>> {
        Some(Box::new(Deberta::build(self.clone(), start)))
    }
}

impl DebertaConfig {
    /// The part that finds the words of masked tokens.
    fn words(&self) -> Part {
        let path = |name: &str| match self.legacy_head {
            true => format!("cls.predictions.transform.{name}"),
            false => format!("lm_predictions.lm_head.{name}"),
        };
        // The published checkpoints' head is as wide as the states, the first one's as the embeddings.
        let width = if self.legacy_head { self.embedding_size } else { self.d_model };
        let transform = Transform {
            dense: path("dense"),
            width,
            bias: true,
            activation: self.activation.clone(),
            norm: Some(Norm { path: path("LayerNorm"), eps: self.norm_eps, bias: true }),
            dropout: 0.0,
        };
        let (own, bias) = match self.legacy_head {
            true => ("cls.predictions.decoder.weight", "cls.predictions.bias"),
            false => (TABLE, "lm_predictions.lm_head.bias"),
        };
        let weight = (self.legacy_head && !self.tie_embeddings).then(|| own.to_owned());
        let output = Output { weight, bias: Some(bias.to_owned()), outputs: self.vocab_size };
        Part { reads: Reads::Tokens, transform: Some(transform), dropout: 0.0, output: Some(output) }
    }
}

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
fn read_config(path: &Path, object: &Map<String, Value>) -> Result<DebertaConfig, Error> {
    let keys = Keys::new(path, object);
    if !keys.or("relative_attention", false)? {
        return Err(keys.wrong("relative_attention", "true: a DeBERTa without relative positions is not supported"));
    }
    if keys.or("conv_groups", 1_usize)? != 1 {
        return Err(keys.wrong("conv_groups", "1: nothing else is supported"));
    }
    let d_model: usize = keys.or("hidden_size", 1536)?;
    let heads: usize = keys.or("num_attention_heads", 24)?;
    if let Some(size) = keys.optional::<usize>("attention_head_size")?.filter(|size| size * heads != d_model) {
        let _ = size;
        return Err(
            keys.wrong("attention_head_size", format!("hidden_size / num_attention_heads = {}", d_model / heads))
        );
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
fn write_config(config: &DebertaConfig) -> Map<String, Value> {
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
        ("initializer_range", json!(0.02)),
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

#[cfg(test)]
mod tests;
