//! The shape of a Llama-like decoder.

use atento_tensor::ops::RopeScaling;

use crate::models::config::{ConfigError, LARGEST_SIZE, MOST_DEVIATION, MOST_LAYERS, wrong};
use crate::models::parameters::NamedShape;

/// The names an activation may have; `gelu_pytorch_tanh` is another name of `gelu_new`, `swish` of `silu`.
pub const ACTIVATIONS: [&str; 6] = ["silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"];

/// The class of `transformers` that a model is of. What it computes follows from the other fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Of SmolLM too.
    Llama,
    /// Windows in every block or in none, no biases.
    Mistral,
    /// Of 2 and 2.5: biases of queries, keys and values.
    Qwen2,
    /// Normalised queries and keys.
    Qwen3,
}

/// Everything that determines a model's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// How it is written.
    pub class: Class,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads of each attention.
    pub heads: usize,
    /// Key and value heads, each of which serves several query heads (Ainslie et al. 2023).
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Inner width of the feed-forward sublayers.
    pub d_ff: usize,
    /// One of [`ACTIVATIONS`], of the gate in the feed-forward sublayers.
    pub activation: String,
    /// The longest sequence, in tokens.
    pub max_positions: usize,
    /// The base of the rotary positions' wavelengths.
    pub rope_theta: f64,
    /// How these are changed for longer contexts.
    pub rope_scaling: RopeScaling,
    /// Added to the mean square in norms.
    pub norm_eps: f32,
    /// The standard deviation of random weights.
    pub initializer_range: f32,
    /// Probability of dropping an attention weight.
    pub attention_dropout: f32,
    /// Whether the output projection is the embedding table.
    pub tie_embeddings: bool,
    /// Whether the projections of queries, keys and values have biases.
    pub qkv_bias: bool,
    /// Whether the output projection of the attention has a bias.
    pub out_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Whether each head of queries and keys is normalised.
    pub qk_norm: bool,
    /// How many tokens a token sees in the blocks that are `windowed`, itself included.
    pub window: Option<usize>,
    /// The blocks whose attention is confined to the window.
    pub windowed: Vec<bool>,
    /// The token that begins a document, where there is one.
    pub bos_id: Option<u32>,
    /// The token that ends a document, where there is one.
    pub eos_id: Option<u32>,
    /// The padding token, where there is one.
    pub pad_id: Option<u32>,
}

impl LlamaConfig {
    /// A model of these sizes, with a key and value head for each query head, SwiGLU of two thirds of 4·`d_model` in whole
    /// units of 32, and a tied output.
    #[must_use]
    pub fn new(vocab_size: usize, layers: usize, d_model: usize, heads: usize, max_positions: usize) -> Self {
        Self {
            class: Class::Llama,
            vocab_size,
            d_model,
            layers,
            heads,
            kv_heads: heads,
            head_dim: d_model / heads.max(1),
            d_ff: inner_width(d_model),
            activation: "silu".into(),
            max_positions,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            norm_eps: 1e-5,
            initializer_range: 0.02,
            attention_dropout: 0.0,
            tie_embeddings: true,
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            qk_norm: false,
            window: None,
            windowed: vec![false; layers],
            bos_id: None,
            eos_id: None,
            pad_id: None,
        }
    }

    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, size, most) in [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("d_model", self.d_model, LARGEST_SIZE),
            ("layers", self.layers, MOST_LAYERS),
            ("heads", self.heads, LARGEST_SIZE),
            ("kv_heads", self.kv_heads, LARGEST_SIZE),
            ("head_dim", self.head_dim, LARGEST_SIZE),
            ("d_ff", self.d_ff, LARGEST_SIZE),
            ("max_positions", self.max_positions, LARGEST_SIZE),
            ("window", self.window.unwrap_or(1), LARGEST_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(wrong("kv_heads", self.kv_heads, format!("a divisor of heads = {}", self.heads)));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(wrong("head_dim", self.head_dim, "an even number, for rotary positions"));
        }
        if self.heads.checked_mul(self.head_dim).is_none_or(|width| width > LARGEST_SIZE) {
            return Err(wrong("head_dim", self.head_dim, format!("heads · head_dim of at most {LARGEST_SIZE}")));
        }
        if !(0.0..1.0).contains(&self.attention_dropout) {
            return Err(wrong("attention_dropout", self.attention_dropout, "a probability from 0 to below 1"));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(wrong("norm_eps", self.norm_eps, "a number between 0 and 1"));
        }
        if !(0.0..=MOST_DEVIATION).contains(&self.initializer_range) {
            return Err(wrong("initializer_range", self.initializer_range, "a number from 0 to 100"));
        }
        if !(self.rope_theta > 1.0 && self.rope_theta.is_finite()) {
            return Err(wrong("rope_theta", self.rope_theta, "a number above 1"));
        }
        if !ACTIVATIONS.contains(&self.activation.as_str()) {
            let expected = format!("one of {}", ACTIVATIONS.join(", "));
            return Err(wrong("activation", format!("{:?}", self.activation), expected));
        }
        if self.windowed.len() != self.layers {
            return Err(wrong("windowed", self.windowed.len(), format!("one for each of the {} blocks", self.layers)));
        }
        for (key, id) in [("bos_id", self.bos_id), ("eos_id", self.eos_id), ("pad_id", self.pad_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Every parameter of the model with its shape, in a fixed order. Names are Hugging Face's without the `model.` prefix.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let (d_model, d_ff) = (self.d_model, self.d_ff);
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut table: Vec<NamedShape> = vec![("embed_tokens.weight".into(), vec![self.vocab_size, d_model])];
        for layer in 0..self.layers {
            let mut push = |name: &str, shape: &[usize]| table.push((format!("layers.{layer}.{name}"), shape.to_vec()));
            push("input_layernorm.weight", &[d_model]);
            let parts = [("q", queries), ("k", keys), ("v", keys)];
            parts.iter().for_each(|(part, rows)| push(&format!("self_attn.{part}_proj.weight"), &[*rows, d_model]));
            if self.qkv_bias {
                parts.iter().for_each(|(part, rows)| push(&format!("self_attn.{part}_proj.bias"), &[*rows]));
            }
            if self.qk_norm {
                ["q", "k"].iter().for_each(|part| push(&format!("self_attn.{part}_norm.weight"), &[self.head_dim]));
            }
            push("self_attn.o_proj.weight", &[d_model, queries]);
            if self.out_bias {
                push("self_attn.o_proj.bias", &[d_model]);
            }
            push("post_attention_layernorm.weight", &[d_model]);
            ["gate", "up"].iter().for_each(|part| push(&format!("mlp.{part}_proj.weight"), &[d_ff, d_model]));
            if self.mlp_bias {
                ["gate", "up"].iter().for_each(|part| push(&format!("mlp.{part}_proj.bias"), &[d_ff]));
            }
            push("mlp.down_proj.weight", &[d_model, d_ff]);
            if self.mlp_bias {
                push("mlp.down_proj.bias", &[d_model]);
            }
        }
        table.push(("norm.weight".into(), vec![d_model]));
        if !self.tie_embeddings {
            table.push(("lm_head.weight".into(), vec![self.vocab_size, d_model]));
        }
        table
    }
}

/// Two thirds of 4·`d_model`, in whole units of 32: as many weights with a gate as 4·`d_model` without one (Shazeer 2020).
#[must_use]
pub fn inner_width(d_model: usize) -> usize {
    (d_model.saturating_mul(8) / 3).next_multiple_of(32)
}
