//! DeBERTa, versions 2 and 3: config.json and names of `DebertaV2Model` and what stands on it.
//!
//! The part of masked words has two sets of names: `cls.predictions` of transformers' first DeBERTa, whose checkpoints fill it
//! with random numbers unless they were fine-tuned for it, and `lm_predictions.lm_head` of the published ones (`legacy` false).

mod files;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::files::{read_config, write_config};
use super::heads::{Norm, Output, Part, Reads, Transform};
use super::{Config, Extra, Family, Head, Sizes, Start};
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
const SHAPES: [(&str, [usize; 3]); 4] = [
    ("deberta-v3-small", [6, 768, 12]),
    ("deberta-v3-base", [12, 768, 12]),
    ("deberta-v3-large", [24, 1024, 16]),
    (WITH_CONVOLUTION, [48, 1536, 24]),
];
/// The shape with a convolution, of 1.5 billion parameters.
const WITH_CONVOLUTION: &str = "deberta-v2-xxlarge";
/// Rows of the published tables.
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
        let convolution = (name == WITH_CONVOLUTION).then(|| Convolution { kernel: 3, activation: "gelu".into() });
        Some(Arc::new(DebertaConfig { pad_id: Some(0), convolution, ..config }))
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
            "initializer_range",
        ]
    }

    fn dropouts(&self) -> Vec<(&'static str, &'static str)> {
        vec![("dropout", "hidden_dropout_prob"), ("attention_dropout", "attention_probs_dropout_prob")]
    }

    fn d_ff(&self, d_model: usize) -> Option<usize> {
        Some(4 * d_model)
    }

    fn takes_prefixes(&self) -> bool {
        false
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
            initializer_range: model.initializer_range as f32,
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

    fn initializer_range(&self) -> f32 {
        self.initializer_range
    }

    fn with_rows(&self, rows: usize) -> Arc<dyn Config> {
        Arc::new(Self { vocab_size: rows, ..self.clone() })
    }

    fn without_output(&self) -> Arc<dyn Config> {
        Arc::new(self.clone())
    }

    /// The head of the published checkpoints has no output of its own to be untied.
    fn untied(&self) -> Option<Arc<dyn Config>> {
        let is_tied = self.legacy_head && self.tie_embeddings;
        is_tied.then(|| Arc::new(Self { tie_embeddings: false, ..self.clone() }) as Arc<dyn Config>)
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
            initializer_range: decimal(self.initializer_range),
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

#[cfg(test)]
mod tests;
