//! Encoders whose blocks are BERT's: one file for each family says what it calls things and which heads it has, and what
//! they have in common is here.
//!
//! Names inside are BERT's without the prefix. Checkpoints may have the prefix or not, and the first ones of TensorFlow's time
//! call gain and bias of a layer norm `gamma` and `beta`; what is written has the prefix and `weight` and `bias`.

pub mod bert;
pub mod distilbert;
pub mod electra;
mod files;
pub mod roberta;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::files::{read_config, write_config};
use super::heads::{Norm, Output, Part, Reads, Transform};
use super::{AttentionShape, Config, Extra, Family, Head, Sizes, Start};
use crate::hub::{Error, Weights, decimal};
use crate::models::Trunk;
use crate::models::encoder::{Encoder, EncoderConfig, Kind};
use crate::models::parameters::NamedShape;
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{self, Activation, Arch, ModelSettings, Preset};

/// The table of tokens.
const TABLE: &str = "embeddings.word_embeddings.weight";

/// What a family of encoders calls things, and what it has.
pub struct Dialect {
    /// Its name in recipes.
    pub name: &'static str,
    /// The values of `model_type`.
    pub model_types: &'static [&'static str],
    /// Its models in the same order, with the class that `transformers` has for them.
    pub kinds: &'static [(Kind, &'static str)],
    /// What its models can do.
    pub heads: &'static [Head],
    /// What stands before the encoder's names in a model with a head.
    pub prefix: &'static str,
    /// The values of a config.json that leaves everything out.
    pub defaults: fn() -> EncoderConfig,
    /// The keys of config.json for width, blocks, heads, inner width, activation function and three dropouts.
    pub keys: [&'static str; 8],
    /// The name that a file has for a parameter of the encoder or of a head.
    pub stored: fn(&str) -> String,
    /// The parts of a head.
    pub parts: fn(&EncoderConfig, Head, usize) -> Option<Vec<Part>>,
    /// Keys that are written besides.
    pub more: fn(&EncoderConfig) -> Vec<(&'static str, Value)>,
    /// Whether positions begin behind the padding token's own.
    pub skips_padding: bool,
    /// The published shapes: a name, the rows, blocks, width, heads, positions.
    pub shapes: &'static [(&'static str, [usize; 5])],
}

impl Dialect {
    /// `model_type` and class of a kind of model.
    fn named(&self, wanted: Kind) -> (&'static str, &'static str) {
        let at = self.kinds.iter().position(|(kind, _)| *kind == wanted).expect("a kind of its family");
        (self.model_types[at], self.kinds[at].1)
    }
}

/// The keys of BERT, which most have.
const BERT_KEYS: [&str; 8] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
];

/// The heads of most.
const HEADS: &[Head] = &[Head::States, Head::Words, Head::Labels, Head::Tags, Head::Span, Head::Choice];

/// A family of encoders.
pub struct EncoderFamily(pub &'static Dialect);

/// Every family of encoders, as the registry has them.
pub static BERT: EncoderFamily = EncoderFamily(&bert::DIALECT);
/// RoBERTa and what is built like it.
pub static ROBERTA: EncoderFamily = EncoderFamily(&roberta::DIALECT);
/// DistilBERT.
pub static DISTILBERT: EncoderFamily = EncoderFamily(&distilbert::DIALECT);
/// ELECTRA.
pub static ELECTRA: EncoderFamily = EncoderFamily(&electra::DIALECT);

/// The family that writes models so.
fn family_of(kind: Kind) -> &'static EncoderFamily {
    match kind {
        Kind::Bert => &BERT,
        Kind::Roberta | Kind::XlmRoberta | Kind::Camembert => &ROBERTA,
        Kind::DistilBert => &DISTILBERT,
        Kind::Electra => &ELECTRA,
    }
}

impl Family for EncoderFamily {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn model_types(&self) -> &'static [&'static str] {
        self.0.model_types
    }

    fn heads(&self) -> &'static [Head] {
        self.0.heads
    }

    fn read(
        &self,
        path: &Path,
        object: &Map<String, Value>,
        _weights: Option<&Weights>,
    ) -> Result<Arc<dyn Config>, Error> {
        Ok(Arc::new(read_config(self.0, path, object)?))
    }

    fn shapes(&self) -> Vec<&'static str> {
        self.0.shapes.iter().map(|(name, _)| *name).collect()
    }

    fn shape(&self, name: &str) -> Option<Arc<dyn Config>> {
        let (_, [vocab_size, layers, d_model, heads, max_positions]) =
            *self.0.shapes.iter().find(|(shape, _)| *shape == name)?;
        let (d_ff, defaults) = (4 * d_model, (self.0.defaults)());
        let embedding_size =
            if defaults.embedding_size == defaults.d_model { d_model } else { defaults.embedding_size };
        Some(Arc::new(EncoderConfig {
            vocab_size,
            layers,
            d_model,
            embedding_size,
            heads,
            max_positions,
            d_ff,
            ..defaults
        }))
    }

    /// Sizes of our own, then BERT's two.
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, heads, layers, max_positions) = match preset {
            Preset::Tiny => (128, 2, 2, 128),
            Preset::Small => (256, 4, 4, 512),
            Preset::Base => (768, 12, 12, 512),
            Preset::Big => (1024, 16, 24, 512),
        };
        ModelSettings {
            arch: Arch(family_of(self.0.kinds[0].0)),
            preset,
            d_model,
            heads,
            layers,
            d_ff: 4 * d_model,
            activation: Activation::Gelu,
            attention_dropout: 0.1,
            layer_norm_eps: f64::from((self.0.defaults)().norm_eps),
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

    fn tells_texts_by_type(&self) -> bool {
        (self.0.defaults)().token_types != 1
    }

    fn dropouts(&self) -> Vec<(&'static str, &'static str)> {
        vec![("dropout", self.0.keys[5]), ("attention_dropout", self.0.keys[6])]
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
        let defaults = (self.0.defaults)();
        let kind = defaults.kind;
        let first_position = if self.0.skips_padding { special.pad.map_or(0, |id| id as usize + 1) } else { 0 };
        let config = EncoderConfig {
            kind,
            d_ff: model.d_ff,
            activation: model.activation.word().to_owned(),
            dropout: model.dropout as f32,
            attention_dropout: model.attention_dropout as f32,
            classifier_dropout: defaults.classifier_dropout,
            first_position,
            token_types: defaults.token_types,
            norm_eps: model.layer_norm_eps as f32,
            initializer_range: model.initializer_range as f32,
            tie_embeddings: model.tie_embeddings != recipe::TieEmbeddings::None,
            pad_id: special.pad,
            bos_id: special.bos,
            eos_id: special.eos,
            ..EncoderConfig::new(rows, model.layers, model.d_model, model.heads, model.max_positions)
        };
        config.validate()?;
        Ok(Arc::new(config))
    }
}

impl Config for EncoderConfig {
    fn family(&self) -> &'static dyn Family {
        family_of(self.kind)
    }

    fn head(&self) -> Head {
        Head::States
    }

    fn sizes(&self) -> Sizes {
        let &Self { vocab_size, d_model, max_positions, bos_id, eos_id, pad_id, .. } = self;
        Sizes { vocab_size, d_model, max_positions: Some(max_positions), bos_id, eos_id, pad_id }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        Ok(write_config(family_of(self.kind).0, self))
    }

    fn class(&self) -> &'static str {
        family_of(self.kind).0.named(self.kind).1
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

    fn untied(&self) -> Option<Arc<dyn Config>> {
        self.tie_embeddings.then(|| Arc::new(Self { tie_embeddings: false, ..self.clone() }) as Arc<dyn Config>)
    }

    fn parts(&self, head: Head, outputs: usize) -> Option<Vec<Part>> {
        (family_of(self.kind).0.parts)(self, head, outputs)
    }

    fn sources(&self, name: &str) -> Vec<String> {
        let dialect = family_of(self.kind).0;
        let stored = (dialect.stored)(name);
        let with_prefix = format!("{}{stored}", dialect.prefix);
        [with_prefix, stored].into_iter().flat_map(with_legacy_names).collect()
    }

    /// The bare class stores its tensors without the prefix.
    fn sources_below(&self, head: Head, name: &str) -> Vec<String> {
        let mut names = self.sources(name);
        if head == Head::States {
            let half = names.len() / 2;
            names.rotate_left(half);
        }
        names
    }

    fn sources_of_part(&self, name: &str) -> Vec<String> {
        let dialect = family_of(self.kind).0;
        let bare = name.strip_prefix(dialect.prefix).map(str::to_owned);
        let other = other_name(name).map(str::to_owned);
        [Some(name.to_owned()), bare, other].into_iter().flatten().flat_map(with_legacy_names).collect()
    }

    fn extra(&self, stored: &str) -> Extra {
        self.extra_of(Head::States, stored)
    }

    fn extra_of(&self, head: Head, stored: &str) -> Extra {
        let dialect = family_of(self.kind).0;
        let name = stored.strip_prefix(dialect.prefix).unwrap_or(stored);
        let is_of_words = matches!(head, Head::Words | Head::Pretraining);
        match name {
            "embeddings.position_ids" | "embeddings.token_type_ids" => Extra::Unused,
            "cls.predictions.decoder.weight"
            | "lm_head.decoder.weight"
            | "generator_lm_head.weight"
            | "vocab_projector.weight"
                if is_of_words && self.tie_embeddings =>
            {
                Extra::CopyOf(TABLE)
            }
            "cls.predictions.decoder.bias" if is_of_words => Extra::CopyOf("cls.predictions.bias"),
            "lm_head.decoder.bias" if is_of_words => Extra::CopyOf("lm_head.bias"),
            // A pooler that the class has and the head does not read.
            "pooler.dense.weight" | "pooler.dense.bias" => Extra::Unused,
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

    fn attention_shape(&self) -> Option<AttentionShape> {
        Some(AttentionShape {
            layers: self.layers,
            kv_heads: self.heads,
            head_dim: self.d_model / self.heads,
            is_causal: false,
        })
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let (d_model, d_ff, layers) = (self.d_model as f64, self.d_ff as f64, self.layers as f64);
        let block = 9.0 * d_model + 2.0 * d_ff;
        let kept = if checkpoint { layers * d_model + block } else { layers * block };
        tokens * (kept + 4.0 * d_model)
    }

    fn trunk(&self, start: Start) -> Option<Box<dyn Trunk>> {
        Some(Box::new(Encoder::build(self.clone(), start)))
    }
}

/// A name, and the one that the first checkpoints have for it.
fn with_legacy_names(name: String) -> Vec<String> {
    let legacy = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];
    let renamed = |(now, then)| name.strip_suffix(now).map(|path| format!("{path}{then}"));
    let old = legacy.into_iter().find_map(renamed);
    [Some(name), old].into_iter().flatten().collect()
}

/// Where a file may have a bias of words instead.
fn other_name(name: &str) -> Option<&'static str> {
    match name {
        "cls.predictions.bias" => Some("cls.predictions.decoder.bias"),
        "lm_head.bias" => Some("lm_head.decoder.bias"),
        _ => None,
    }
}

/// A dense layer as wide as its input.
fn dense(path: &str, width: usize, activation: &str, dropout: f32) -> Transform {
    let (dense, activation) = (path.to_owned(), activation.to_owned());
    Transform { dense, width, bias: true, activation, norm: None, dropout }
}

/// The part that finds the words of masked tokens: a dense layer with a norm, and the table of tokens unless it has its own.
fn words(config: &EncoderConfig, dense_path: &str, norm: &str, activation: &str, output: (&str, &str)) -> Part {
    let norm = Norm { path: norm.to_owned(), eps: config.norm_eps, bias: true };
    let transform = Transform { norm: Some(norm), ..dense(dense_path, config.embedding_size, activation, 0.0) };
    let (own, bias) = output;
    let weight = (!config.tie_embeddings).then(|| own.to_owned());
    let output = Output { weight, bias: Some(bias.to_owned()), outputs: config.vocab_size };
    Part { reads: Reads::Tokens, transform: Some(transform), dropout: 0.0, output: Some(output) }
}
