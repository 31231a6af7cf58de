//! How deep in a model a parameter stands, by its name: below all blocks, in one of them, or above.

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Embeddings, and what else all blocks share.
    Below,
    /// A block, counted from 0 in its stack; of an encoder–decoder, each stack has its own.
    Block(usize),
    /// The last norm, the head, the output projection.
    Above,
}

/// Parts of names that stand below all blocks.
const BELOW: [&str; 9] = [
    "embeddings",
    "embeddings_project",
    "embed_tokens",
    "embed_positions",
    "wte",
    "wpe",
    "shared",
    "rel_embeddings",
    "conv",
];

/// The depth of the parameter of that name: the first whole number in its path is that of its block.
#[must_use]
pub fn depth(name: &str) -> Depth {
    let mut parts = name.split('.');
    match parts.clone().find_map(|part| part.parse().ok()) {
        Some(block) => Depth::Block(block),
        None if parts.any(|part| BELOW.contains(&part)) => Depth::Below,
        // DeBERTa's norm of relative embeddings is named as if it were one of the encoder.
        None if name.starts_with("encoder.LayerNorm") => Depth::Below,
        None => Depth::Above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_family_say_how_deep_a_parameter_stands() {
        for (name, expected) in [
            ("embeddings.LayerNorm.weight", Depth::Below),
            ("encoder.rel_embeddings.weight", Depth::Below),
            ("encoder.LayerNorm.weight", Depth::Below),
            ("wte.weight", Depth::Below),
            ("encoder.layer.11.output.dense.bias", Depth::Block(11)),
            ("h.0.attn.c_attn.weight", Depth::Block(0)),
            ("decoder.layers.3.fc1.weight", Depth::Block(3)),
            ("bert.pooler.dense.weight", Depth::Above),
            ("embeddings.tok_embeddings.weight", Depth::Below),
            ("layers.2.attn.Wqkv.weight", Depth::Block(2)),
            ("final_norm.weight", Depth::Above),
            ("head.dense.weight", Depth::Above),
            ("classifier.bias", Depth::Above),
            ("ln_f.weight", Depth::Above),
            ("norm.weight", Depth::Above),
            ("lm_head.weight", Depth::Above),
        ] {
            assert_eq!(depth(name), expected, "{name}");
        }
    }
}
