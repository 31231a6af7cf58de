//! ModernBERT: names of `ModernBertModel` and what stands on it, and what a recipe says of it. config.json is in `files`.
//!
//! Every head but the bare one has a dense layer, an activation function and a norm, which are called `head`.

mod files;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::heads::{Norm, Output, Part, Reads, Transform};
use super::{Config, Extra, Family, Head, Sizes, Start};
use crate::hub::{Error, Weights, decimal};
use crate::models::Trunk;
use crate::models::modernbert::config::{inner_width, local_blocks};
use crate::models::modernbert::{ModernBert, ModernBertConfig};
use crate::models::parameters::NamedShape;
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{Activation, Arch, ModelSettings, Preset, TieEmbeddings};

/// `model_type` of ModernBERT checkpoints.
const MODEL_TYPE: &str = "modernbert";
const PREFIX: &str = "model.";
/// The table of tokens.
const TABLE: &str = "embeddings.tok_embeddings.weight";
/// The projection onto words.
const OUTPUT: &str = "decoder.weight";

/// The published shapes: a name, blocks, width, heads, inner width.
const SHAPES: [(&str, [usize; 4]); 2] =
    [("modernbert-base", [22, 768, 12, 1152]), ("modernbert-large", [28, 1024, 16, 2624])];
/// The output that says whether a text follows another. No class of `transformers` has it: that for masked words loads the
/// rest.
const NEXT: &str = "seq_relationship";

/// Rows of the published tables, and the longest text.
const VOCAB_SIZE: usize = 50_368;
const MAX_POSITIONS: usize = 8192;

/// ModernBERT.
pub struct ModernBertFamily;

impl Family for ModernBertFamily {
    fn name(&self) -> &'static str {
        "modernbert"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &[MODEL_TYPE]
    }

    fn heads(&self) -> &'static [Head] {
        &[Head::States, Head::Words, Head::Pretraining, Head::Labels, Head::Tags, Head::Span, Head::Choice]
    }

    fn read(
        &self,
        path: &Path,
        object: &Map<String, Value>,
        _weights: Option<&Weights>,
    ) -> Result<Arc<dyn Config>, Error> {
        Ok(Arc::new(files::read_config(path, object)?))
    }

    fn shapes(&self) -> Vec<&'static str> {
        SHAPES.map(|(name, _)| name).to_vec()
    }

    fn shape(&self, name: &str) -> Option<Arc<dyn Config>> {
        let (_, [layers, d_model, heads, d_ff]) = *SHAPES.iter().find(|(shape, _)| *shape == name)?;
        let config = ModernBertConfig::new(VOCAB_SIZE, layers, d_model, heads, MAX_POSITIONS);
        Some(Arc::new(ModernBertConfig { d_ff, ..config }))
    }

    /// Sizes of our own, then the published two with the positions of their first training (§2.2).
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, heads, layers, d_ff, max_positions) = match preset {
            Preset::Tiny => (128, 2, 2, inner_width(128), 128),
            Preset::Small => (256, 4, 4, inner_width(256), 512),
            Preset::Base => (768, 12, 22, 1152, 1024),
            Preset::Big => (1024, 16, 28, 2624, 1024),
        };
        let published = ModernBertConfig::new(1, layers, d_model, heads, max_positions);
        ModelSettings {
            arch: Arch(&ModernBertFamily),
            preset,
            d_model,
            heads,
            layers,
            d_ff,
            activation: Activation::Gelu,
            dropout: 0.0,
            rope_theta: published.rope_theta,
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
            "embedding_dropout",
            "attention_dropout",
            "max_positions",
            "layer_norm_eps",
            "initializer_range",
            "rope_theta",
            "local_rope_theta",
            "local_window",
            "global_every",
            "attention_bias",
            "head_transform",
        ]
    }

    fn dropouts(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("dropout", "mlp_dropout"),
            ("dropout", "embedding_dropout"),
            ("embedding_dropout", "embedding_dropout"),
            ("attention_dropout", "attention_dropout"),
        ]
    }

    fn d_ff(&self, d_model: usize) -> Option<usize> {
        Some(inner_width(d_model))
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
        let config = ModernBertConfig {
            d_ff: model.d_ff,
            activation: model.activation.word().to_owned(),
            local_window: model.local_window,
            local: local_blocks(model.layers, model.global_every),
            rope_theta: model.rope_theta,
            local_rope_theta: model.local_rope_theta,
            norm_eps: model.layer_norm_eps as f32,
            initializer_range: model.initializer_range as f32,
            attention_bias: model.attention_bias,
            embedding_dropout: model.embedding_dropout.unwrap_or(model.dropout) as f32,
            attention_dropout: model.attention_dropout as f32,
            dropout: model.dropout as f32,
            head_transform: model.head_transform,
            tie_embeddings: model.tie_embeddings != TieEmbeddings::None,
            pad_id: special.pad,
            bos_id: special.bos,
            eos_id: special.eos,
            ..ModernBertConfig::new(rows, model.layers, model.d_model, model.heads, model.max_positions)
        };
        config.validate()?;
        Ok(Arc::new(config))
    }
}

impl Config for ModernBertConfig {
    fn family(&self) -> &'static dyn Family {
        &ModernBertFamily
    }

    fn head(&self) -> Head {
        Head::States
    }

    fn sizes(&self) -> Sizes {
        let &Self { vocab_size, d_model, max_positions, bos_id, eos_id, pad_id, .. } = self;
        Sizes { vocab_size, d_model, max_positions: Some(max_positions), bos_id, eos_id, pad_id }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        Ok(files::write_config(self))
    }

    fn class(&self) -> &'static str {
        "ModernBert"
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
        let pooled = if self.mean_pooling { Reads::Mean } else { Reads::First };
        Some(match head {
            Head::States => Vec::new(),
            Head::Words => vec![self.words()],
            Head::Pretraining => vec![Part::plain(Reads::First, 0.0, Output::dense(NEXT, 2)), self.words()],
            Head::Labels | Head::Choice => vec![self.classifier(pooled, outputs)],
            Head::Tags | Head::Span => vec![self.classifier(Reads::Tokens, outputs)],
            Head::Translation | Head::Language => return None,
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

    fn extra(&self, stored: &str) -> Extra {
        self.extra_of(Head::States, stored)
    }

    fn extra_of(&self, head: Head, stored: &str) -> Extra {
        match stored {
            OUTPUT if matches!(head, Head::Words | Head::Pretraining) && self.tie_embeddings => Extra::CopyOf(TABLE),
            _ => Extra::Unexpected,
        }
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
            layer_norm_eps: decimal(self.norm_eps),
            initializer_range: decimal(self.initializer_range),
            tie_embeddings: TieEmbeddings::all_or_none(self.tie_embeddings),
            max_positions: self.max_positions,
            rope_theta: self.rope_theta,
            local_rope_theta: self.local_rope_theta,
            local_window: self.local_window,
            global_every: self.global_every().unwrap_or(settings.global_every),
            attention_bias: self.attention_bias,
            head_transform: self.head_transform,
            ..settings.clone()
        }
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let (d_model, d_ff, layers) = (self.d_model as f64, self.d_ff as f64, self.layers as f64);
        let block = 10.0 * d_model + 3.0 * d_ff;
        let kept = if checkpoint { layers * d_model + block } else { layers * block };
        tokens * (kept + 4.0 * d_model)
    }

    fn trunk(&self, start: Start) -> Option<Box<dyn Trunk>> {
        Some(Box::new(ModernBert::build(self.clone(), start)))
    }
}

impl ModernBertConfig {
    /// What stands before the output of a head: `norm(act(dense(x)))`.
    fn transform(&self) -> Transform {
        Transform {
            dense: "head.dense".into(),
            width: self.d_model,
            bias: self.head_bias,
            activation: self.head_activation.clone(),
            norm: Some(Norm { path: "head.norm".into(), eps: self.norm_eps, bias: self.norm_bias }),
            dropout: 0.0,
        }
    }

    /// The part that finds the words of masked tokens: the transform unless it is left out, and the table of tokens unless it
    /// has a projection of its own.
    fn words(&self) -> Part {
        let output = Output {
            weight: (!self.tie_embeddings).then(|| OUTPUT.to_owned()),
            bias: self.output_bias.then(|| "decoder.bias".to_owned()),
            outputs: self.vocab_size,
        };
        let transform = self.head_transform.then(|| self.transform());
        Part { reads: Reads::Tokens, transform, dropout: 0.0, output: Some(output) }
    }

    /// A part with labels, or other outputs that are no words.
    fn classifier(&self, reads: Reads, outputs: usize) -> Part {
        let output = Some(Output::dense("classifier", outputs));
        Part { reads, transform: Some(self.transform()), dropout: self.classifier_dropout, output }
    }
}
