//! Llama and the decoders shaped like it: config.json and parameter names of `LlamaForCausalLM` (SmolLM's too),
//! `MistralForCausalLM`, `Qwen2ForCausalLM` (of Qwen 2 and 2.5) and `Qwen3ForCausalLM`.
//!
//! The four differ in defaults and in what they can say; a model is written as the one that says all it is. Names are ours
//! with `model.` before them.

mod classes;
mod gguf;
mod published;
mod rope;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::classes::{Defaults, check_class, class_for, class_named, defaults, json_key, read_config};
use super::heads::{Output, Part, Reads};
use super::{AttentionShape, Config, Extra, Family, Head, Sizes, Start};
use crate::hub::gguf::Architecture;
use crate::hub::{CONFIG, Error, Weights, decimal};
use crate::models::CausalLm;
use crate::models::llama::config::inner_width;
use crate::models::llama::{Class, Llama, LlamaConfig};
use crate::models::parameters::NamedShape;
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{Activation, Arch, ModelSettings, Preset, TieEmbeddings};

/// Probability of dropping what labels of tokens read, where config.json does not say (`GenericForTokenClassification`).
const CLASSIFIER_DROPOUT: f32 = 0.1;

/// The output projection, which is never under the prefix.
const OUTPUT: &str = "lm_head.weight";
/// The embedding table.
const TABLE: &str = "embed_tokens.weight";
const PREFIX: &str = "model.";

/// Llama, Mistral, Qwen 2 to 3, SmolLM.
pub struct LlamaFamily;

impl Family for LlamaFamily {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["llama", "mistral", "qwen2", "qwen3"]
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
        let says = object.get("tie_word_embeddings").is_some_and(|value| !value.is_null());
        if let Some(weights) = weights.filter(|_| !says) {
            config.tie_embeddings = !weights.contains(OUTPUT);
        }
        Ok(Arc::new(config))
    }

    fn default_id(&self, model_type: &str, role: &str) -> Option<u32> {
        let defaults = defaults(class_named(model_type));
        if role == "bos" { defaults.bos_id } else { defaults.eos_id }
    }

    fn gguf(&self) -> Option<&'static dyn Architecture> {
        Some(&gguf::LlamaGguf)
    }

    fn shapes(&self) -> Vec<&'static str> {
        published::names()
    }

    fn shape(&self, name: &str) -> Option<Arc<dyn Config>> {
        Some(Arc::new(published::shape(name)?))
    }

    /// The smaller two are ours, the larger ones SmolLM's.
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, layers, heads, kv_heads, d_ff, max_positions) = match preset {
            Preset::Tiny => (128, 4, 4, 2, inner_width(128), 64),
            Preset::Small => (384, 6, 6, 2, inner_width(384), 256),
            Preset::Base => (576, 30, 9, 3, 1536, 2048),
            Preset::Big => (960, 32, 15, 5, 2560, 2048),
        };
        ModelSettings {
            arch: Arch(&LlamaFamily),
            preset,
            d_model,
            heads,
            kv_heads: Some(kv_heads),
            layers,
            d_ff,
            activation: Activation::Silu,
            dropout: 0.0,
            max_positions,
            ..ModelSettings::default()
        }
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "d_model",
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "d_ff",
            "activation",
            "attention_dropout",
            "max_positions",
            "layer_norm_eps",
            "initializer_range",
            "rope_theta",
            "sliding_window",
            "attention_bias",
            "qk_norm",
        ]
    }

    fn d_ff(&self, d_model: usize) -> Option<usize> {
        Some(inner_width(d_model))
    }

    fn of_recipe(
        &self,
        model: &ModelSettings,
        rows: usize,
        special: SpecialIds,
    ) -> Result<Arc<dyn Config>, train::Error> {
        let plain = LlamaConfig::new(rows, model.layers, model.d_model, model.heads, model.max_positions);
        let config = LlamaConfig {
            kv_heads: model.kv_heads.unwrap_or(model.heads),
            head_dim: model.head_dim.unwrap_or(plain.head_dim),
            d_ff: model.d_ff,
            activation: model.activation.word().to_owned(),
            rope_theta: model.rope_theta,
            norm_eps: model.layer_norm_eps as f32,
            initializer_range: model.initializer_range as f32,
            attention_dropout: model.attention_dropout as f32,
            tie_embeddings: model.tie_embeddings != TieEmbeddings::None,
            qkv_bias: model.attention_bias,
            out_bias: model.attention_bias,
            qk_norm: model.qk_norm,
            window: model.sliding_window,
            windowed: vec![model.sliding_window.is_some(); model.layers],
            bos_id: special.bos,
            eos_id: special.eos,
            pad_id: special.pad,
            ..plain
        };
        let config = LlamaConfig { class: class_for(&config), ..config };
        config.validate()?;
        check_class(&config).map_err(|error| {
            let key = if error.key == "window" { "model.sliding_window" } else { error.key };
            train::Error::Setting { key, problem: format!("it is {}, expected {}", error.found, error.expected) }
        })?;
        Ok(Arc::new(config))
    }
}

impl Config for LlamaConfig {
    fn family(&self) -> &'static dyn Family {
        &LlamaFamily
    }

    fn head(&self) -> Head {
        Head::Language
    }

    fn sizes(&self) -> Sizes {
        let &Self { vocab_size, d_model, max_positions, bos_id, eos_id, pad_id, .. } = self;
        Sizes { vocab_size, d_model, max_positions: Some(max_positions), bos_id, eos_id, pad_id }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        let Defaults { model_type, class, .. } = *defaults(self.class);
        check_class(self).map_err(|error| Error::WrongValue {
            path: CONFIG.into(),
            key: json_key(error.key).into(),
            found: error.found,
            expected: error.expected,
        })?;
        let entries = [
            ("model_type", json!(model_type)),
            ("architectures", json!([format!("{class}ForCausalLM")])),
            ("vocab_size", json!(self.vocab_size)),
            ("hidden_size", json!(self.d_model)),
            ("intermediate_size", json!(self.d_ff)),
            ("num_hidden_layers", json!(self.layers)),
            ("num_attention_heads", json!(self.heads)),
            ("num_key_value_heads", json!(self.kv_heads)),
            ("head_dim", json!(self.head_dim)),
            ("hidden_act", json!(self.activation)),
            ("max_position_embeddings", json!(self.max_positions)),
            ("initializer_range", json!(decimal(self.initializer_range))),
            ("rms_norm_eps", json!(decimal(self.norm_eps))),
            ("attention_dropout", json!(decimal(self.attention_dropout))),
            ("tie_word_embeddings", json!(self.tie_embeddings)),
            ("bos_token_id", json!(self.bos_id)),
            ("eos_token_id", json!(self.eos_id)),
            ("pad_token_id", json!(self.pad_id)),
            ("dtype", json!("float32")),
            ("use_cache", json!(true)),
        ];
        let mut object: Map<String, Value> = entries.map(|(key, value)| (key.to_string(), value)).into_iter().collect();
        rope::write(self.rope_theta, &self.rope_scaling, &mut object);
        if [Class::Llama, Class::Qwen3].contains(&self.class) {
            object.insert("attention_bias".into(), json!(self.out_bias));
        }
        if self.class == Class::Llama {
            object.insert("mlp_bias".into(), json!(self.mlp_bias));
        } else {
            object.insert("sliding_window".into(), json!(self.window));
        }
        if [Class::Qwen2, Class::Qwen3].contains(&self.class) {
            let kind = |windowed: &bool| if *windowed { "sliding_attention" } else { "full_attention" };
            object.insert("use_sliding_window".into(), json!(self.window.is_some()));
            object.insert("layer_types".into(), self.windowed.iter().map(kind).collect());
        }
        Ok(object)
    }

    fn class(&self) -> &'static str {
        defaults(self.class).class
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

    /// `LlamaForQuestionAnswering` calls what is below it `transformer`.
    fn sources_below(&self, head: Head, name: &str) -> Vec<String> {
        let mut names = self.sources(name);
        let first = head == Head::Span && self.class == Class::Llama;
        names.insert(if first { 0 } else { names.len() }, format!("transformer.{name}"));
        names
    }

    fn parts(&self, head: Head, outputs: usize) -> Option<Vec<Part>> {
        Some(match head {
            Head::States => Vec::new(),
            Head::Labels => vec![Part::score(outputs)],
            Head::Tags => vec![Part::plain(Reads::Tokens, CLASSIFIER_DROPOUT, Output::dense("score", outputs))],
            Head::Span => vec![Part::plain(Reads::Tokens, 0.0, Output::dense("qa_outputs", outputs))],
            _ => return None,
        })
    }

    fn extra(&self, stored: &str) -> Extra {
        match stored {
            OUTPUT if self.tie_embeddings => Extra::CopyOf(TABLE),
            // Old writers stored the frequencies of the positions.
            _ if stored.ends_with(".rotary_emb.inv_freq") => Extra::Unused,
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

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        ModelSettings {
            arch: Arch(self.family()),
            d_model: self.d_model,
            layers: self.layers,
            heads: self.heads,
            kv_heads: (self.kv_heads != self.heads).then_some(self.kv_heads),
            head_dim: (self.heads * self.head_dim != self.d_model).then_some(self.head_dim),
            d_ff: self.d_ff,
            activation: Activation::named(&self.activation),
            dropout: 0.0,
            attention_dropout: decimal(self.attention_dropout),
            max_positions: self.max_positions,
            layer_norm_eps: decimal(self.norm_eps),
            initializer_range: decimal(self.initializer_range),
            rope_theta: self.rope_theta,
            sliding_window: self.window.filter(|_| self.windowed.iter().all(|windowed| *windowed)),
            attention_bias: self.qkv_bias,
            qk_norm: self.qk_norm,
            tie_embeddings: TieEmbeddings::all_or_none(self.tie_embeddings),
            ..settings.clone()
        }
    }

    fn attention_shape(&self) -> Option<AttentionShape> {
        Some(AttentionShape { layers: self.layers, kv_heads: self.kv_heads, head_dim: self.head_dim, is_causal: true })
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let (d_model, d_ff, layers) = (self.d_model as f64, self.d_ff as f64, self.layers as f64);
        let (queries, keys) = ((self.heads * self.head_dim) as f64, (self.kv_heads * self.head_dim) as f64);
        let block = 6.0 * d_model + 2.0 * queries + 2.0 * keys + 3.0 * d_ff;
        let kept = if checkpoint { layers * d_model + block } else { layers * block };
        tokens * (kept + 4.0 * d_model)
    }

    fn causal(&self, start: Start) -> Option<Box<dyn CausalLm>> {
        Some(Box::new(Llama::build(self.clone(), start)))
    }
}

#[cfg(test)]
mod tests;
