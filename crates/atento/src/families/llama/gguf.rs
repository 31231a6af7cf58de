//! Llama and the decoders shaped like it in GGUF files: architectures `llama` (Mistral and SmolLM too), `qwen2` and `qwen3`.
//!
//! The rows of queries and keys of a `llama` are in pairs, since llama.cpp turns neighbours where `transformers` turns halves.
//! Those of a Qwen are as here.

use std::f64::consts::TAU;
use std::sync::Arc;

use atento_tensor::ops::RopeScaling;

use crate::hub::Error;
use crate::hub::gguf::{Architecture, Described, Gguf, Held, Layout, Settings, special_ids};
use crate::models::config::{ConfigError, MOST_LAYERS};
use crate::models::llama::{Class, LlamaConfig};

const TABLE: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
/// What the wavelengths of pairs are multiplied by, where they are those of Llama 3.
const FACTORS: &str = "rope_freqs.weight";
/// The ends of the wavelengths that Llama 3 changes, in turns within the first context, and that context.
const LLAMA3: (f64, f64, usize) = (1.0, 4.0, 8192);

/// Keys that are read, or that say nothing of what a model computes.
const KNOWN: [&str; 21] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "tensor_data_layout",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
];
/// Keys that change nothing with one number.
const NEUTRAL: [(&str, f64); 5] = [
    ("expert_count", 0.0),
    ("expert_used_count", 0.0),
    ("rope.scaling.attn_factor", 1.0),
    ("rope.scaling.yarn_attn_factor", 1.0),
    ("rope.scaling.yarn_ext_factor", 1.0),
];

/// Llama, Mistral, SmolLM, Qwen 2 to 3.
pub(super) struct LlamaGguf;

impl Architecture for LlamaGguf {
    fn names(&self) -> &'static [&'static str] {
        &["llama", "qwen2", "qwen3"]
    }

    fn describe(&self, name: &'static str, file: &Gguf) -> Result<Described, Error> {
        let settings = Settings { file, architecture: name };
        settings.refuse_others(&KNOWN, &NEUTRAL)?;
        let config = config(settings)?;
        config.validate().map_err(|ConfigError { key, expected, .. }| settings.wrong(gguf_key(key), expected))?;
        let held = |(parameter, shape): (String, Vec<usize>)| {
            let (tensor, layout) = self.place(name, &parameter, config.head_dim);
            Held { tensor, parameter, shape, layout }
        };
        let tensors = config.parameters().into_iter().map(held).collect();
        Ok(Described { config: Arc::new(config), tensors, read: vec![FACTORS.into(), OUTPUT.into()] })
    }

    fn name_of(&self, model_type: &str) -> Option<&'static str> {
        match model_type {
            "llama" | "mistral" => Some("llama"),
            "qwen2" => Some("qwen2"),
            "qwen3" => Some("qwen3"),
            _ => None,
        }
    }

    fn place(&self, name: &str, parameter: &str, head_dim: usize) -> (String, Layout) {
        let is_turned = name == "llama" && ["q_proj.", "k_proj."].iter().any(|part| parameter.contains(part));
        (tensor(parameter), if is_turned { Layout::Paired { head_dim } } else { Layout::Plain })
    }
}

fn config(settings: Settings<'_>) -> Result<LlamaConfig, Error> {
    let Settings { file, architecture } = settings;
    let [vocab_size, _] = settings.table(TABLE)?;
    let (d_model, heads) = (settings.required("embedding_length")?, settings.required("attention.head_count")?);
    let layers = settings.required("block_count")?;
    let max_positions = settings.required("context_length")?;
    let plain = LlamaConfig::new(vocab_size, layers.min(MOST_LAYERS + 1), d_model, heads, max_positions);
    let head_dim = head_dim(settings, d_model, heads)?;
    let window = settings.size("attention.sliding_window")?;
    let class = match architecture {
        "qwen2" => Class::Qwen2,
        "qwen3" => Class::Qwen3,
        _ if window.is_some() => Class::Mistral,
        _ => Class::Llama,
    };
    if window.is_some() && class != Class::Mistral {
        return Err(settings.wrong("attention.sliding_window", "none: which blocks have a window is not said"));
    }
    let (theta, ids) = (settings.positive("rope.freq_base")?.unwrap_or(plain.rope_theta), special_ids(file)?);
    let has_bias = |tensor: &str| file.contains(&format!("blk.0.{tensor}.bias"));
    Ok(LlamaConfig {
        class,
        layers,
        kv_heads: settings.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        d_ff: settings.required("feed_forward_length")?,
        rope_theta: theta,
        rope_scaling: scaling(settings, theta, head_dim)?,
        norm_eps: file.required(
            &settings.key("attention.layer_norm_rms_epsilon"),
            settings.number("attention.layer_norm_rms_epsilon")?,
        )? as f32,
        tie_embeddings: !file.contains(OUTPUT) || file.are_equal(OUTPUT, TABLE)?,
        qkv_bias: class == Class::Qwen2 || has_bias("attn_q"),
        out_bias: class != Class::Qwen2 && has_bias("attn_q"),
        mlp_bias: class == Class::Llama && has_bias("ffn_up"),
        qk_norm: class == Class::Qwen3,
        window,
        windowed: vec![window.is_some(); plain.layers],
        bos_id: ids.bos,
        eos_id: ids.eos,
        pad_id: ids.pad,
        ..plain
    })
}

/// The width of a head, which is turned whole.
fn head_dim(settings: Settings<'_>, d_model: usize, heads: usize) -> Result<usize, Error> {
    let keys = settings.size("attention.key_length")?;
    let head_dim = match keys {
        Some(keys) => keys,
        None if heads > 0 && d_model.is_multiple_of(heads) => d_model / heads,
        None => return Err(settings.wrong("attention.head_count", format!("a divisor of the width {d_model}"))),
    };
    for name in ["attention.value_length", "rope.dimension_count"] {
        if settings.size(name)?.is_some_and(|size| size != head_dim) {
            return Err(settings.wrong(name, format!("{head_dim}, the width of a head")));
        }
    }
    Ok(head_dim)
}

/// How the wavelengths are changed for longer contexts.
fn scaling(settings: Settings<'_>, theta: f64, head_dim: usize) -> Result<RopeScaling, Error> {
    let original = settings.size("rope.scaling.original_context_length")?;
    if settings.file.contains(FACTORS) {
        return factors(settings.file, theta, head_dim, original.unwrap_or(LLAMA3.2));
    }
    let factor = settings.positive("rope.scaling.factor")?;
    let older = settings.positive("rope.scale_linear")?;
    let kind = settings.file.text(&settings.key("rope.scaling.type"))?;
    match (kind, factor.or(older)) {
        (Some("none"), _) | (None | Some("linear"), None | Some(1.0)) => Ok(RopeScaling::None),
        (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
        (Some("yarn"), Some(factor)) => Ok(RopeScaling::Yarn {
            factor,
            original_max_position: {
                let key = settings.key("rope.scaling.original_context_length");
                settings.file.required(&key, original.filter(|context| *context > 0))?
            },
            beta_fast: settings.positive("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
            beta_slow: settings.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
            attention_factor: None,
            mscale: None,
            mscale_all_dim: None,
            truncate: true,
        }),
        (Some("yarn"), None) => Err(settings.wrong("rope.scaling.factor", "a number above 0, for \"yarn\"")),
        _ => Err(settings.wrong("rope.scaling.type", "one of \"none\", \"linear\", \"yarn\"")),
    }
}

/// The scaling of Llama 3 that gives the factors in a file.
fn factors(file: &Gguf, theta: f64, head_dim: usize, original: usize) -> Result<RopeScaling, Error> {
    file.check_shape(FACTORS, &[head_dim / 2])?;
    let found = file.read(FACTORS)?;
    let factor = f64::from(found.iter().copied().fold(1.0, f32::max));
    if factor == 1.0 && found.iter().all(|found| *found == 1.0) {
        return Ok(RopeScaling::None);
    }
    let (low, high, _) = LLAMA3;
    let is_near = |(i, found): (usize, &f32)| {
        let wavelength = TAU * theta.powf(2.0 * i as f64 / head_dim as f64);
        let share = ((original as f64 / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - share) / factor + share);
        (f64::from(*found) / expected - 1.0).abs() < 1e-3
    };
    if !found.iter().enumerate().all(is_near) {
        let fault = format!("its `{FACTORS}` is not what Llama 3 has for a first context of {original} tokens");
        return Err(Error::Gguf { path: file.path().to_path_buf(), fault });
    }
    Ok(RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_max_position: original })
}

/// The name that a file has for a parameter.
fn tensor(parameter: &str) -> String {
    let name = match parameter {
        "embed_tokens.weight" => return TABLE.into(),
        "lm_head.weight" => return OUTPUT.into(),
        "norm.weight" => return "output_norm.weight".into(),
        other => other.strip_prefix("layers.").unwrap_or(other),
    };
    let (layer, name) = name.split_once('.').unwrap_or((name, ""));
    let (module, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let module = match module {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        same => same,
    };
    format!("blk.{layer}.{module}.{kind}")
}

/// The key that stands for a field of ours.
fn gguf_key(key: &'static str) -> &'static str {
    match key {
        "d_model" => "embedding_length",
        "layers" => "block_count",
        "heads" => "attention.head_count",
        "kv_heads" => "attention.head_count_kv",
        "head_dim" => "attention.key_length",
        "d_ff" => "feed_forward_length",
        "max_positions" => "context_length",
        "norm_eps" => "attention.layer_norm_rms_epsilon",
        "rope_theta" => "rope.freq_base",
        "window" | "windowed" => "attention.sliding_window",
        same => same,
    }
}
