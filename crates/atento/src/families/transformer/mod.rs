//! The encoder–decoder of "Attention Is All You Need": post-norm models are `MarianMTModel`s, pre-norm models are
//! `M2M100ForConditionalGeneration`s.

mod m2m100;
mod marian;
mod names;
mod positions;
mod seq2seq;

use std::path::Path;
use std::sync::Arc;

use atento_tensor::Params;
use serde_json::{Map, Value};

use super::{Config, Extra, Family, Head, Sizes, Start};
use crate::hub::safetensors::NamedTensor;
use crate::hub::{CONFIG, Error, Weights, decimal};
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};
use crate::models::parameters::NamedShape;
use crate::models::{Transformer, Translator};
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{self, Activation, Arch, ModelSettings, Preset};

pub(super) use names::shared_by;
pub(super) use seq2seq::{hf_key, token_or};

/// The Transformer of Vaswani et al. 2017.
pub struct TransformerFamily;

impl Family for TransformerFamily {
    fn name(&self) -> &'static str {
        "transformer"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &[marian::MODEL_TYPE, m2m100::MODEL_TYPE]
    }

    fn heads(&self) -> &'static [Head] {
        &[Head::Translation]
    }

    fn read(&self, path: &Path, object: &Map<String, Value>, _: Option<&Weights>) -> Result<Arc<dyn Config>, Error> {
        let is_pre_norm = object.get("model_type").is_some_and(|name| name == m2m100::MODEL_TYPE);
        let read = if is_pre_norm { m2m100::read_config } else { marian::read_config };
        Ok(Arc::new(read(path, object)?))
    }

    /// `base` and `big` are those of Vaswani et al. 2017, table 3; the smaller ones are ours, for tens of thousands of
    /// sentences on a few cores.
    fn preset(&self, preset: Preset) -> ModelSettings {
        let (d_model, blocks, heads, d_ff, dropout) = match preset {
            Preset::Tiny => (128, 2, 4, 512, 0.1),
            Preset::Small => (256, 3, 4, 1024, 0.1),
            Preset::Base => (512, 6, 8, 2048, 0.1),
            Preset::Big => (1024, 6, 16, 4096, 0.3),
        };
        ModelSettings {
            arch: Arch(&TransformerFamily),
            preset,
            d_model,
            encoder_layers: blocks,
            decoder_layers: blocks,
            heads,
            d_ff,
            dropout,
            ..ModelSettings::default()
        }
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "d_model",
            "encoder_layers",
            "decoder_layers",
            "heads",
            "d_ff",
            "activation",
            "norm",
            "dropout",
            "attention_dropout",
            "activation_dropout",
            "max_positions",
            "decoder_heads",
            "decoder_d_ff",
            "scale_embedding",
        ]
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
        let (pad_id, eos_id) = required(special)?;
        let norm = match model.norm {
            recipe::Norm::Post => Norm::Post,
            recipe::Norm::Pre => Norm::Pre,
        };
        let config = TransformerConfig {
            d_model: model.d_model,
            encoder_layers: model.encoder_layers,
            decoder_layers: model.decoder_layers,
            encoder_heads: model.heads,
            decoder_heads: model.decoder_heads.unwrap_or(model.heads),
            encoder_ffn: model.d_ff,
            decoder_ffn: model.decoder_d_ff.unwrap_or(model.d_ff),
            scale_embedding: model.scale_embedding,
            activation: model.activation.word().to_owned(),
            dropout: model.dropout as f32,
            attention_dropout: model.attention_dropout as f32,
            activation_dropout: model.activation_dropout as f32,
            max_positions: model.max_positions,
            tie_embeddings: model.tie_embeddings.into(),
            pad_id,
            eos_id,
            bos_id: special.bos,
            unk_id: special.unk,
            decoder_start_id: pad_id,
            ..TransformerConfig::base(rows)
        };
        let config = config.with_norm(norm);
        config.validate()?;
        Ok(Arc::new(config))
    }
}

/// The padding and the end token, which a translation model has to have.
///
/// # Errors
/// The tokenizer lacks one.
pub(super) fn required(special: SpecialIds) -> Result<(u32, u32), train::Error> {
    let missing = |name: &str| train::Error::Setting {
        key: "tokenizer.file",
        problem: format!("the tokenizer has no {name} token, which a translation model needs"),
    };
    let pad_id = special.pad.ok_or_else(|| missing("padding (`<pad>`)"))?;
    Ok((pad_id, special.eos.ok_or_else(|| missing("end (`</s>`)"))?))
}

impl Config for TransformerConfig {
    fn family(&self) -> &'static dyn Family {
        &TransformerFamily
    }

    fn head(&self) -> Head {
        Head::Translation
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            d_model: self.d_model,
            max_positions: Some(self.max_positions),
            bos_id: self.bos_id,
            eos_id: Some(self.eos_id),
            pad_id: Some(self.pad_id),
        }
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        let written = match self.norm {
            Norm::Post => marian::write_config(self),
            Norm::Pre => m2m100::write_config(self),
        };
        written.map_err(|error| seq2seq::unwritable(Path::new(CONFIG), error))
    }

    fn class(&self) -> &'static str {
        match self.norm {
            Norm::Post => "Marian",
            Norm::Pre => "M2M100",
        }
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

    fn sources(&self, name: &str) -> Vec<String> {
        names::sources(self, name)
    }

    fn stored_shape(&self, name: &str, shape: &[usize]) -> Vec<usize> {
        if name == names::BIAS { [&[1], shape].concat() } else { shape.to_vec() }
    }

    /// `transformers` does not ask for a translator's bias.
    fn is_zero_if_missing(&self, name: &str) -> bool {
        name == names::BIAS
    }

    fn extra(&self, stored: &str) -> Extra {
        names::extra(self, stored)
    }

    fn shared_by(&self, name: &str) -> &'static [&'static str] {
        names::shared_by(self.tie_embeddings, name)
    }

    fn check_positions(&self, weights: &Weights, stored: &[String]) -> Result<(), Error> {
        positions::check(weights, self, stored)
    }

    fn positions(&self, weights: &Weights) -> Result<Option<[Vec<f32>; 2]>, Error> {
        positions::stored(weights, self)
    }

    fn more_tensors<'p>(&self, params: &'p Params, positions: Option<[&'p [f32]; 2]>) -> Vec<NamedTensor<'p>> {
        let mut tensors = names::copies(self, params);
        for (side, table) in ["encoder", "decoder"].into_iter().zip(positions.into_iter().flatten()) {
            let name = format!("model.{side}.embed_positions.weight");
            tensors.push(NamedTensor::new(name, [self.max_positions, self.d_model], table));
        }
        tensors
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        ModelSettings {
            arch: Arch(self.family()),
            d_model: self.d_model,
            encoder_layers: self.encoder_layers,
            decoder_layers: self.decoder_layers,
            heads: self.encoder_heads,
            decoder_heads: (self.decoder_heads != self.encoder_heads).then_some(self.decoder_heads),
            d_ff: self.encoder_ffn,
            decoder_d_ff: (self.decoder_ffn != self.encoder_ffn).then_some(self.decoder_ffn),
            scale_embedding: self.scale_embedding,
            activation: Activation::named(&self.activation),
            norm: match self.norm {
                Norm::Post => recipe::Norm::Post,
                Norm::Pre => recipe::Norm::Pre,
            },
            dropout: decimal(self.dropout),
            attention_dropout: decimal(self.attention_dropout),
            activation_dropout: decimal(self.activation_dropout),
            tie_embeddings: self.tie_embeddings.into(),
            max_positions: self.max_positions,
            ..settings.clone()
        }
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        let d_model = self.d_model as f64;
        let (encoder, decoder) = (self.encoder_layers as f64, self.decoder_layers as f64);
        // The decoder's reads the source too.
        let (in_encoder, in_decoder) =
            (9.0 * d_model + 2.0 * self.encoder_ffn as f64, 16.0 * d_model + 2.0 * self.decoder_ffn as f64);
        let kept = if checkpoint {
            (encoder + decoder) * d_model + in_encoder.max(in_decoder)
        } else {
            encoder * in_encoder + decoder * in_decoder
        };
        tokens * (kept + 6.0 * d_model)
    }

    /// Of the positions.
    fn table_len(&self) -> usize {
        self.max_positions * self.d_model
    }

    fn translator(&self, start: Start) -> Option<Box<dyn Translator>> {
        Some(Box::new(match start {
            Start::Random(seed) => Transformer::init(self.clone(), seed),
            Start::Unloaded | Start::NewHead(_) => Transformer::init(self.clone(), 0),
            Start::Outline => Transformer::outline(self.clone()),
        }))
    }
}
