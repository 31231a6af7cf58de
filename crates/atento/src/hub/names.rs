//! Parameter names here and in a Hugging Face checkpoint.
//!
//! Marian and M2M100 checkpoints name parameters alike: ours with `model.` before it, but for the output's own
//! table (`lm_head.weight`) and bias (`final_logits_bias`, stored `[1, vocab]`). Tied tables are stored once by
//! today's writers and under each of their names by older ones.

use super::gpt2;
use super::safetensors::NamedTensor;
use crate::models::Gpt2Config;
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};
use std::borrow::Cow;

const SHARED: &str = "shared.weight";
const SOURCE: &str = "encoder.embed_tokens.weight";
const TARGET: &str = "decoder.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
const BIAS: &str = "final_logits_bias";

/// The name in the file of a parameter of ours.
pub fn hf_name(internal: &str) -> String {
    match internal {
        OUTPUT | BIAS => internal.to_string(),
        _ => format!("model.{internal}"),
    }
}

/// Our name of a tensor in the file.
pub fn internal_name(stored: &str) -> &str {
    stored.strip_prefix("model.").unwrap_or(stored)
}

/// Which tensor of a file fills which parameter.
#[derive(Debug, Clone, Copy)]
pub enum NameMap<'a> {
    /// The file uses our names, as the recurrent baseline's does.
    Same,
    /// A Marian or M2M100 checkpoint of a model of this configuration.
    Seq2Seq(&'a TransformerConfig),
    /// A GPT-2 checkpoint of a model of this configuration.
    Gpt2(&'a Gpt2Config),
    /// The same, its matrices in int8.
    Gpt2Int8(&'a Gpt2Config),
}

/// What a tensor that fills no parameter is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// Another copy of this parameter.
    CopyOf(&'static str),
    /// A table of positions.
    Positions,
    /// Known to the format and used by nothing.
    Unused,
    /// Not known.
    Unexpected,
}

impl NameMap<'_> {
    /// Names under which the file may hold a parameter, the best first.
    pub(super) fn sources(&self, internal: &str) -> Vec<String> {
        let config = match self {
            NameMap::Same => return vec![internal.to_string()],
            NameMap::Gpt2(_) | NameMap::Gpt2Int8(_) => return gpt2::sources(internal),
            NameMap::Seq2Seq(config) => config,
        };
        let names: &[&str] = match (config.tie_embeddings, internal) {
            (TieEmbeddings::All, SHARED) => &[SHARED, SOURCE, TARGET, OUTPUT],
            (_, SOURCE) => &[SOURCE, SHARED],
            (TieEmbeddings::Decoder, TARGET) => &[TARGET, OUTPUT, SHARED],
            (_, TARGET) => &[TARGET, SHARED],
            _ => &[internal],
        };
        names.iter().map(|name| hf_name(name)).collect()
    }

    /// The shape a parameter has in the file.
    pub(super) fn stored_shape(&self, internal: &str, shape: &[usize]) -> Vec<usize> {
        match (self, internal) {
            (NameMap::Seq2Seq(_), BIAS) => [&[1], shape].concat(),
            _ => shape.to_vec(),
        }
    }

    /// Whether a parameter that the file lacks is zero: `transformers` does not ask for a translator's bias, and a model
    /// without biases need not store them.
    pub(super) fn zero_if_missing(&self, internal: &str) -> bool {
        match self {
            NameMap::Same => false,
            NameMap::Seq2Seq(_) => internal == BIAS,
            NameMap::Gpt2(config) | NameMap::Gpt2Int8(config) => !config.bias && internal.ends_with(".bias"),
        }
    }

    /// What a tensor is that no parameter was filled from.
    pub(super) fn extra(&self, stored: &str) -> Extra {
        let config = match self {
            NameMap::Same => return Extra::Unexpected,
            NameMap::Gpt2(config) | NameMap::Gpt2Int8(config) => return gpt2_extra(config, stored),
            NameMap::Seq2Seq(config) => config,
        };
        let internal = internal_name(stored);
        match (config.tie_embeddings, internal) {
            _ if hf_name(internal) != stored => Extra::Unexpected,
            (TieEmbeddings::All, SHARED | SOURCE | TARGET | OUTPUT) => Extra::CopyOf(SHARED),
            (TieEmbeddings::Decoder, OUTPUT) => Extra::CopyOf(TARGET),
            (_, SHARED) => Extra::Unused,
            _ if is_positions(internal) => Extra::Positions,
            _ => Extra::Unexpected,
        }
    }
}

/// The tensors to write for a model of this configuration, as `transformers` wants them: no name missing, none
/// too many. `values` gives each parameter's elements by our name.
pub fn hf_tensors<'a, V: Into<Cow<'a, [f32]>>>(
    config: &TransformerConfig,
    values: impl Fn(&str) -> V,
) -> Vec<NamedTensor<'a>> {
    let map = NameMap::Seq2Seq(config);
    let stored = |name: &str, of: &str, shape: &[usize]| {
        NamedTensor::new(hf_name(name), map.stored_shape(name, shape), values(of))
    };
    let mut tensors: Vec<_> = config.parameters().iter().map(|(name, shape)| stored(name, name, shape)).collect();
    // M2M100 keeps a shared table even where nothing is tied, and cannot tie target and output alone.
    if config.norm == Norm::Pre && config.tie_embeddings != TieEmbeddings::All {
        let table = [config.vocab_size, config.d_model];
        tensors.push(stored(SHARED, SOURCE, &table));
        if config.tie_embeddings == TieEmbeddings::Decoder {
            tensors.push(stored(OUTPUT, TARGET, &table));
        }
    }
    tensors
}

fn gpt2_extra(config: &Gpt2Config, stored: &str) -> Extra {
    match stored {
        gpt2::OUTPUT if config.tie_embeddings => Extra::CopyOf(gpt2::TABLE),
        _ if gpt2::is_mask(stored) => Extra::Unused,
        _ => Extra::Unexpected,
    }
}

fn is_positions(internal: &str) -> bool {
    ["encoder", "decoder"].iter().any(|side| {
        let buffer = internal.strip_prefix(side).and_then(|rest| rest.strip_prefix(".embed_positions."));
        matches!(buffer, Some("weight" | "weights"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_there_and_back() {
        for norm in [Norm::Post, Norm::Pre] {
            for tie_embeddings in [TieEmbeddings::All, TieEmbeddings::Decoder, TieEmbeddings::None] {
                let config = TransformerConfig { tie_embeddings, ..TransformerConfig::tiny(50).with_norm(norm) };
                for (name, _) in config.parameters() {
                    assert_eq!(internal_name(&hf_name(&name)), name);
                    assert_eq!(NameMap::Seq2Seq(&config).sources(&name)[0], hf_name(&name));
                }
            }
        }
        assert_eq!(hf_name("encoder.layers.0.fc1.weight"), "model.encoder.layers.0.fc1.weight");
        assert_eq!(hf_name("lm_head.weight"), "lm_head.weight");
    }

    #[test]
    fn extras_are_told_apart_by_tying() {
        let config = TransformerConfig::tiny(50);
        let map = NameMap::Seq2Seq(&config);
        for (stored, expected) in [
            ("lm_head.weight", Extra::CopyOf(SHARED)),
            ("model.encoder.embed_tokens.weight", Extra::CopyOf(SHARED)),
            ("model.decoder.embed_positions.weight", Extra::Positions),
            ("model.encoder.embed_positions.weights", Extra::Positions),
            ("model.lm_head.weight", Extra::Unexpected),
            ("encoder.embed_tokens.weight", Extra::Unexpected),
            ("model.encoder.layers.9.fc1.weight", Extra::Unexpected),
        ] {
            assert_eq!(map.extra(stored), expected, "{stored}");
        }
        let untied = TransformerConfig { tie_embeddings: TieEmbeddings::None, ..config };
        assert_eq!(NameMap::Seq2Seq(&untied).extra("model.shared.weight"), Extra::Unused);
        assert_eq!(NameMap::Same.extra("lm_head.weight"), Extra::Unexpected);
    }
}
