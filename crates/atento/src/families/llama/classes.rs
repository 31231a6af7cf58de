//! The classes of `transformers` that Llama-like models are of: what each takes for granted, how its config.json is read, and
//! which of them can say what a model is.

use std::path::Path;

use serde_json::{Map, Value};

use super::rope;
use crate::hub::Error;
use crate::hub::json::Keys;
use crate::models::config::{ConfigError, MOST_LAYERS, wrong};
use crate::models::llama::{Class, LlamaConfig};

/// What a class of `transformers` takes for keys that a file leaves out.
pub(super) struct Defaults {
    pub model_type: &'static str,
    pub class: &'static str,
    pub vocab_size: usize,
    pub d_ff: usize,
    pub max_positions: usize,
    /// Without a number, as many as query heads.
    pub kv_heads: Option<usize>,
    /// Without a number, `d_model / heads`.
    pub head_dim: Option<usize>,
    pub window: Option<usize>,
    pub bos_id: Option<u32>,
    pub eos_id: Option<u32>,
}

const LLAMA: Defaults = Defaults {
    model_type: "llama",
    class: "Llama",
    vocab_size: 32_000,
    d_ff: 11_008,
    max_positions: 2048,
    kv_heads: None,
    head_dim: None,
    window: None,
    bos_id: Some(1),
    eos_id: Some(2),
};
const MISTRAL: Defaults = Defaults {
    model_type: "mistral",
    class: "Mistral",
    d_ff: 14_336,
    max_positions: 131_072,
    kv_heads: Some(8),
    window: Some(4096),
    ..LLAMA
};
const QWEN2: Defaults = Defaults {
    model_type: "qwen2",
    class: "Qwen2",
    vocab_size: 151_936,
    d_ff: 22_016,
    max_positions: 32_768,
    kv_heads: Some(32),
    window: Some(4096),
    bos_id: None,
    eos_id: None,
    ..LLAMA
};
const QWEN3: Defaults = Defaults { model_type: "qwen3", class: "Qwen3", head_dim: Some(128), ..QWEN2 };

/// Those of a class.
pub(super) fn defaults(class: Class) -> &'static Defaults {
    match class {
        Class::Llama => &LLAMA,
        Class::Mistral => &MISTRAL,
        Class::Qwen2 => &QWEN2,
        Class::Qwen3 => &QWEN3,
    }
}

/// The class of a `model_type`.
pub(super) fn class_named(model_type: &str) -> Class {
    let all = [Class::Llama, Class::Mistral, Class::Qwen2, Class::Qwen3];
    all.into_iter().find(|class| defaults(*class).model_type == model_type).unwrap_or(Class::Llama)
}

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub(super) fn read_config(path: &Path, object: &Map<String, Value>) -> Result<LlamaConfig, Error> {
    let keys = Keys::new(path, object);
    let class = class_named(object.get("model_type").and_then(Value::as_str).unwrap_or_default());
    let defaults = defaults(class);
    let vocab_size = keys.or("vocab_size", defaults.vocab_size)?;
    let is_there = |id: &u32| (*id as usize) < vocab_size;
    let special = |key: &str, default: Option<u32>| match object.contains_key(key) {
        // Several may end a text; the model itself knows one.
        true => Ok(keys.special(key)?.and_then(|ids| ids.into_iter().find(is_there))),
        false => Ok::<_, Error>(default.filter(is_there)),
    };
    let (d_model, heads): (usize, usize) = (keys.or("hidden_size", 4096)?, keys.or("num_attention_heads", 32)?);
    let layers = keys.or("num_hidden_layers", 32)?;
    let max_positions = keys.or("max_position_embeddings", defaults.max_positions)?;
    let head_dim = keys.optional("head_dim")?.or(defaults.head_dim);
    if head_dim.is_none() && (heads == 0 || !d_model.is_multiple_of(heads)) {
        return Err(keys.wrong("num_attention_heads", format!("a divisor of hidden_size = {d_model}")));
    }
    let kv_heads: Option<usize> = match object.contains_key("num_key_value_heads") {
        true => keys.optional("num_key_value_heads")?,
        false => defaults.kv_heads,
    };
    let (rope_theta, rope_scaling) = rope::read(path, object, max_positions)?;
    let (window, windowed) = read_windows(keys, object, class, layers)?;
    let has_bias = [Class::Llama, Class::Qwen3].contains(&class) && keys.or("attention_bias", false)?;
    let config = LlamaConfig {
        class,
        vocab_size,
        d_model,
        layers,
        heads,
        kv_heads: kv_heads.unwrap_or(heads),
        head_dim: head_dim.unwrap_or(d_model / heads.max(1)),
        d_ff: keys.or("intermediate_size", defaults.d_ff)?,
        activation: keys.or("hidden_act", "silu".to_string())?,
        max_positions,
        rope_theta,
        rope_scaling,
        norm_eps: keys.or("rms_norm_eps", 1e-6)?,
        initializer_range: keys.or("initializer_range", 0.02)?,
        attention_dropout: keys.or("attention_dropout", 0.0)?,
        tie_embeddings: keys.or("tie_word_embeddings", false)?,
        qkv_bias: class == Class::Qwen2 || has_bias,
        out_bias: has_bias,
        mlp_bias: class == Class::Llama && keys.or("mlp_bias", false)?,
        qk_norm: class == Class::Qwen3,
        window,
        windowed,
        bos_id: special("bos_token_id", defaults.bos_id)?,
        eos_id: special("eos_token_id", defaults.eos_id)?,
        pad_id: keys.special_one("pad_token_id")?.filter(is_there),
    };
    config.validate().map_err(|error| keys.wrong(json_key(error.key), error.expected))?;
    Ok(config)
}

/// The window, and which blocks' attention is confined to it: all of Mistral's, of Qwen's those that `layer_types` says,
/// or from `max_window_layers` on.
fn read_windows(
    keys: Keys<'_>,
    object: &Map<String, Value>,
    class: Class,
    layers: usize,
) -> Result<(Option<usize>, Vec<bool>), Error> {
    // More layers than a model may have are refused with the rest.
    let all = |windowed: bool| vec![windowed; layers.min(MOST_LAYERS + 1)];
    let is_used = match class {
        Class::Llama => false,
        Class::Mistral => true,
        Class::Qwen2 | Class::Qwen3 => keys.or("use_sliding_window", false)?,
    };
    let window = match object.contains_key("sliding_window") {
        true if is_used => keys.optional("sliding_window")?,
        _ => defaults(class).window.filter(|_| is_used),
    };
    let Some(window) = window else { return Ok((None, all(false))) };
    if class == Class::Mistral {
        return Ok((Some(window), all(true)));
    }
    let Some(types) = keys.optional::<Vec<String>>("layer_types")? else {
        let first: usize = keys.or("max_window_layers", 28)?;
        return Ok((Some(window), (0..all(false).len()).map(|layer| layer >= first).collect()));
    };
    const KINDS: [&str; 2] = ["full_attention", "sliding_attention"];
    if types.len() != layers || types.iter().any(|kind| !KINDS.contains(&kind.as_str())) {
        let expected = format!("\"{}\" or \"{}\" for each of the {layers} layers", KINDS[0], KINDS[1]);
        return Err(keys.wrong("layer_types", expected));
    }
    Ok((Some(window), types.iter().map(|kind| kind == KINDS[1]).collect()))
}

/// Checks that its class can say all that a model is.
///
/// # Errors
/// It has what the class has not.
pub(super) fn check_class(config: &LlamaConfig) -> Result<(), ConfigError> {
    let &LlamaConfig { class, qkv_bias, out_bias, mlp_bias, qk_norm, window, .. } = config;
    let all_or_none = config.windowed.windows(2).all(|pair| pair[0] == pair[1]);
    let fits = match class {
        Class::Llama => window.is_none(),
        Class::Mistral => all_or_none,
        Class::Qwen2 | Class::Qwen3 => true,
    };
    if !fits {
        let expected = "none beside biases in the attention, unless queries and keys are normalised";
        return Err(wrong("window", window.unwrap_or_default(), expected));
    }
    let name = defaults(class).class;
    for (key, found, fits) in [
        ("attention_bias", qkv_bias, class != Class::Mistral || !qkv_bias),
        ("attention_bias", out_bias, out_bias == (qkv_bias && class != Class::Qwen2)),
        ("mlp_bias", mlp_bias, class == Class::Llama || !mlp_bias),
        ("qk_norm", qk_norm, qk_norm == (class == Class::Qwen3)),
    ] {
        if !fits {
            return Err(wrong(key, found, format!("what a {name} has")));
        }
    }
    Ok(())
}

/// The class that can say all that a new model is, if one can.
pub(super) fn class_for(config: &LlamaConfig) -> Class {
    match () {
        () if config.qk_norm => Class::Qwen3,
        () if config.window.is_some() && !config.qkv_bias => Class::Mistral,
        () => Class::Llama,
    }
}

/// The key that stands for a field of ours.
pub(super) fn json_key(key: &'static str) -> &'static str {
    match key {
        "d_model" => "hidden_size",
        "layers" => "num_hidden_layers",
        "heads" => "num_attention_heads",
        "kv_heads" => "num_key_value_heads",
        "d_ff" => "intermediate_size",
        "activation" => "hidden_act",
        "max_positions" => "max_position_embeddings",
        "norm_eps" => "rms_norm_eps",
        "window" => "sliding_window",
        "windowed" => "layer_types",
        "bos_id" => "bos_token_id",
        "eos_id" => "eos_token_id",
        "pad_id" => "pad_token_id",
        same => same,
    }
}
