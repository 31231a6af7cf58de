//! Published shapes, by the names under which people know them; sizes are those of the models' config.json files.

use atento_tensor::ops::RopeScaling;

use crate::models::llama::{Class, LlamaConfig};

/// Name; rows, blocks, width, heads, key and value heads, inner width, positions; base of the wavelengths.
const SHAPES: [(&str, [usize; 7], f64); 9] = [
    ("smollm-135m", [49_152, 30, 576, 9, 3, 1536, 2048], 10_000.0),
    ("smollm-360m", [49_152, 32, 960, 15, 5, 2560, 2048], 10_000.0),
    ("smollm-1.7b", [49_152, 24, 2048, 32, 32, 8192, 2048], 10_000.0),
    ("llama-2-7b", [32_000, 32, 4096, 32, 32, 11_008, 4096], 10_000.0),
    ("llama-3.1-8b", [128_256, 32, 4096, 32, 8, 14_336, 131_072], 500_000.0),
    ("llama-3.2-1b", [128_256, 16, 2048, 32, 8, 8192, 131_072], 500_000.0),
    ("mistral-7b", [32_000, 32, 4096, 32, 8, 14_336, 32_768], 10_000.0),
    ("qwen2.5-0.5b", [151_936, 24, 896, 14, 2, 4864, 32_768], 1e6),
    ("qwen3-0.6b", [151_936, 28, 1024, 16, 8, 3072, 40_960], 1e6),
];

/// The names of all shapes.
pub(super) fn names() -> Vec<&'static str> {
    SHAPES.iter().map(|(name, ..)| *name).collect()
}

/// The shape of that name.
pub(super) fn shape(name: &str) -> Option<LlamaConfig> {
    let &(_, [rows, layers, d_model, heads, kv_heads, d_ff, positions], rope_theta) =
        SHAPES.iter().find(|(shape, ..)| *shape == name)?;
    let plain = LlamaConfig::new(rows, layers, d_model, heads, positions);
    let config = LlamaConfig { kv_heads, d_ff, rope_theta, ..plain };
    let llama3 = |factor| RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position: 8192,
    };
    Some(match name {
        "llama-2-7b" => LlamaConfig { tie_embeddings: false, ..config },
        "llama-3.1-8b" => LlamaConfig { tie_embeddings: false, rope_scaling: llama3(8.0), ..config },
        "llama-3.2-1b" => LlamaConfig { rope_scaling: llama3(32.0), ..config },
        "mistral-7b" => LlamaConfig {
            class: Class::Mistral,
            tie_embeddings: false,
            window: Some(4096),
            windowed: vec![true; layers],
            ..config
        },
        "qwen2.5-0.5b" => LlamaConfig { class: Class::Qwen2, qkv_bias: true, norm_eps: 1e-6, ..config },
        "qwen3-0.6b" => LlamaConfig { class: Class::Qwen3, head_dim: 128, qk_norm: true, norm_eps: 1e-6, ..config },
        _ => config,
    })
}
