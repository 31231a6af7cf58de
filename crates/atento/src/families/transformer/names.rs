//! Parameter names here and in a Marian or M2M100 checkpoint: ours with `model.` before them, but for the output's own table
//! (`lm_head.weight`) and bias (`final_logits_bias`, stored `[1, vocab]`). Tied tables are stored once by today's writers and
//! under each of their names by older ones.

use atento_tensor::Params;

use crate::families::Extra;
use crate::hub::safetensors::NamedTensor;
use crate::models::config::{Norm, TieEmbeddings, TransformerConfig};

const SHARED: &str = "shared.weight";
const SOURCE: &str = "encoder.embed_tokens.weight";
const TARGET: &str = "decoder.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
pub(super) const BIAS: &str = "final_logits_bias";

/// The name in the file of a parameter of ours.
pub(super) fn hf_name(internal: &str) -> String {
    match internal {
        OUTPUT | BIAS => internal.to_string(),
        _ => format!("model.{internal}"),
    }
}

/// Our name of a tensor in the file.
pub(super) fn internal_name(stored: &str) -> &str {
    stored.strip_prefix("model.").unwrap_or(stored)
}

/// Names under which the file may hold a parameter, the best first.
pub(super) fn sources(config: &TransformerConfig, internal: &str) -> Vec<String> {
    let names: &[&str] = match (config.tie_embeddings, internal) {
        (TieEmbeddings::All, SHARED) => &[SHARED, SOURCE, TARGET, OUTPUT],
        (_, SOURCE) => &[SOURCE, SHARED],
        (TieEmbeddings::Decoder, TARGET) => &[TARGET, OUTPUT, SHARED],
        (_, TARGET) => &[TARGET, SHARED],
        _ => &[internal],
    };
    names.iter().map(|name| hf_name(name)).collect()
}

/// The places that share a parameter.
pub(in crate::families) fn shared_by(tie: TieEmbeddings, internal: &str) -> &'static [&'static str] {
    match (tie, internal) {
        (TieEmbeddings::All, SHARED) => &[SOURCE, TARGET, OUTPUT],
        (TieEmbeddings::Decoder, TARGET) => &[OUTPUT],
        _ => &[],
    }
}

/// What a tensor is that no parameter was filled from.
pub(super) fn extra(config: &TransformerConfig, stored: &str) -> Extra {
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

/// Tables that `transformers` wants twice: M2M100 keeps a shared one even where nothing is tied, and cannot tie target and
/// output alone.
pub(super) fn copies<'p>(config: &TransformerConfig, params: &'p Params) -> Vec<NamedTensor<'p>> {
    if config.norm != Norm::Pre || config.tie_embeddings == TieEmbeddings::All {
        return Vec::new();
    }
    let copy = |name: &str, of: &str| {
        let entry = params.entry(of).expect("a table of its own");
        NamedTensor::new(hf_name(name), entry.dims.clone(), params.to_f32(entry.weight))
    };
    let mut tensors = vec![copy(SHARED, SOURCE)];
    if config.tie_embeddings == TieEmbeddings::Decoder {
        tensors.push(copy(OUTPUT, TARGET));
    }
    tensors
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
                    assert_eq!(sources(&config, &name)[0], hf_name(&name));
                }
            }
        }
        assert_eq!(hf_name("encoder.layers.0.fc1.weight"), "model.encoder.layers.0.fc1.weight");
        assert_eq!(hf_name("lm_head.weight"), "lm_head.weight");
    }

    #[test]
    fn extras_are_told_apart_by_tying() {
        let config = TransformerConfig::tiny(50);
        for (stored, expected) in [
            ("lm_head.weight", Extra::CopyOf(SHARED)),
            ("model.encoder.embed_tokens.weight", Extra::CopyOf(SHARED)),
            ("model.decoder.embed_positions.weight", Extra::Positions),
            ("model.encoder.embed_positions.weights", Extra::Positions),
            ("model.lm_head.weight", Extra::Unexpected),
            ("encoder.embed_tokens.weight", Extra::Unexpected),
            ("model.encoder.layers.9.fc1.weight", Extra::Unexpected),
        ] {
            assert_eq!(extra(&config, stored), expected, "{stored}");
        }
        let untied = TransformerConfig { tie_embeddings: TieEmbeddings::None, ..config };
        assert_eq!(extra(&untied, "model.shared.weight"), Extra::Unused);
    }
}
