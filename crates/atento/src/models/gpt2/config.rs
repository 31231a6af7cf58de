//! The shape of a decoder-only Transformer: GPT-2 (Radford et al. 2019, table 2) and GPT-3 (Brown et al. 2020,
//! table 2.1).

use serde::{Deserialize, Serialize};

use crate::models::config::{ConfigError, LARGEST_SIZE, MOST_DEVIATION, MOST_LAYERS, wrong};
use crate::models::parameters::NamedShape;

/// The names an activation may have. `gelu_new`, `gelu_fast` and `gelu_pytorch_tanh` are the tanh form of GELU;
/// `swish` is another name of `silu`.
pub const ACTIVATIONS: [&str; 8] =
    ["gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu", "relu", "silu", "swish", "tanh"];

/// Names of [`Gpt2Config::preset`] with layers, width, heads and positions. GPT-3 "XL" and "13B" are as they were built:
/// the published table gives them 24 heads of 128 for a width of 2048, and a width of 5140 for 40 heads of 128.
pub const PRESETS: [(&str, [usize; 4]); 12] = [
    ("gpt2", [12, 768, 12, 1024]),
    ("gpt2-medium", [24, 1024, 16, 1024]),
    ("gpt2-large", [36, 1280, 20, 1024]),
    ("gpt2-xl", [48, 1600, 25, 1024]),
    ("gpt3-small", [12, 768, 12, 2048]),
    ("gpt3-medium", [24, 1024, 16, 2048]),
    ("gpt3-large", [24, 1536, 16, 2048]),
    ("gpt3-xl", [24, 2048, 16, 2048]),
    ("gpt3-2.7b", [32, 2560, 32, 2048]),
    ("gpt3-6.7b", [32, 4096, 32, 2048]),
    ("gpt3-13b", [40, 5120, 40, 2048]),
    ("gpt3-175b", [96, 12288, 96, 2048]),
];

/// The vocabulary of GPT-2 and GPT-3.
pub const VOCAB_SIZE: usize = 50_257;

/// Everything that determines a decoder-only model's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpt2Config {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Inner width of the feed-forward sublayers.
    pub d_ff: usize,
    /// One of [`ACTIVATIONS`], between the two maps of a feed-forward sublayer.
    pub activation: String,
    /// The longest sequence, in tokens.
    pub max_positions: usize,
    /// Probability of dropping an element of a sublayer's output.
    pub dropout: f32,
    /// Probability of dropping an element of the summed embeddings.
    pub embedding_dropout: f32,
    /// Probability of dropping an attention weight.
    pub attention_dropout: f32,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// The standard deviation of random weights.
    pub initializer_range: f32,
    /// Whether the output projection is the embedding table.
    pub tie_embeddings: bool,
    /// Whether biases are trained; where not, they stay 0.
    pub bias: bool,
    /// Whether scores are divided by the square root of a head's width.
    pub scale_attention: bool,
    /// Whether the scores of block i are divided by i + 1 too.
    pub scale_by_layer: bool,
    /// The token that begins a document, where there is one.
    pub bos_id: Option<u32>,
    /// The token that ends a document, where there is one.
    pub eos_id: Option<u32>,
    /// The padding token, where there is one.
    pub pad_id: Option<u32>,
}

impl Gpt2Config {
    /// A model of these sizes, with the defaults of GPT-2: inner width 4·`d_model`, dropout 0.1, tanh GELU, tied output.
    #[must_use]
    pub fn new(vocab_size: usize, layers: usize, d_model: usize, heads: usize, max_positions: usize) -> Self {
        Self {
            vocab_size,
            d_model,
            layers,
            heads,
            d_ff: d_model.saturating_mul(4),
            activation: "gelu_new".into(),
            max_positions,
            dropout: 0.1,
            embedding_dropout: 0.1,
            attention_dropout: 0.1,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            tie_embeddings: true,
            bias: true,
            scale_attention: true,
            scale_by_layer: false,
            bos_id: None,
            eos_id: None,
            pad_id: None,
        }
    }

    /// The published shape of that name, one of [`PRESETS`].
    ///
    /// # Errors
    /// A name that is not a preset's; the message lists them.
    pub fn preset(name: &str, vocab_size: usize) -> Result<Self, ConfigError> {
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some(&(_, [layers, d_model, heads, positions])) => {
                Ok(Self::new(vocab_size, layers, d_model, heads, positions))
            }
            None => {
                let names = PRESETS.map(|(name, _)| name).join(", ");
                Err(wrong("preset", format!("{name:?}"), format!("one of {names}")))
            }
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
            ("d_ff", self.d_ff, LARGEST_SIZE),
            ("max_positions", self.max_positions, LARGEST_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if !self.d_model.is_multiple_of(self.heads) {
            return Err(wrong("heads", self.heads, format!("a divisor of d_model = {}", self.d_model)));
        }
        for (key, probability) in [
            ("dropout", self.dropout),
            ("embedding_dropout", self.embedding_dropout),
            ("attention_dropout", self.attention_dropout),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return Err(wrong(key, probability, "a probability from 0 to below 1"));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(wrong("layer_norm_eps", self.layer_norm_eps, "a number between 0 and 1"));
        }
        if !(0.0..=MOST_DEVIATION).contains(&self.initializer_range) {
            return Err(wrong("initializer_range", self.initializer_range, "a number from 0 to 100"));
        }
        if !ACTIVATIONS.contains(&self.activation.as_str()) {
            let expected = format!("one of {}", ACTIVATIONS.join(", "));
            return Err(wrong("activation", format!("{:?}", self.activation), expected));
        }
        for (key, id) in [("bos_id", self.bos_id), ("eos_id", self.eos_id), ("pad_id", self.pad_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Every parameter of the model with its shape, embeddings first, in a fixed order. Names are Hugging Face's without
    /// the `transformer.` prefix; weights of linear maps inside blocks are `[in, out]`, as its `Conv1D` stores them.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let (d_model, d_ff) = (self.d_model, self.d_ff);
        let mut table: Vec<NamedShape> = Vec::with_capacity(4 + 12 * self.layers);
        let mut push = |name: String, shape: &[usize]| table.push((name, shape.to_vec()));
        push("wte.weight".into(), &[self.vocab_size, d_model]);
        push("wpe.weight".into(), &[self.max_positions, d_model]);
        for i in 0..self.layers {
            for (module, weight) in [
                ("ln_1", &[d_model][..]),
                ("attn.c_attn", &[d_model, 3 * d_model]),
                ("attn.c_proj", &[d_model, d_model]),
                ("ln_2", &[d_model]),
                ("mlp.c_fc", &[d_model, d_ff]),
                ("mlp.c_proj", &[d_ff, d_model]),
            ] {
                push(format!("h.{i}.{module}.weight"), weight);
                push(format!("h.{i}.{module}.bias"), &weight[weight.len() - 1..]);
            }
        }
        push("ln_f.weight".into(), &[d_model]);
        push("ln_f.bias".into(), &[d_model]);
        if !self.tie_embeddings {
            push("lm_head.weight".into(), &[self.vocab_size, d_model]);
        }
        table
    }

    /// How many numbers [`Gpt2Config::parameters`] holds.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_numbers_of_parameters() {
        // GPT-2 as released (its paper says 117M, 345M, 762M, 1542M for the first counts); GPT-3, table 2.1.
        for (name, millions) in [
            ("gpt2", 124.44),
            ("gpt2-medium", 354.82),
            ("gpt2-large", 774.03),
            ("gpt2-xl", 1557.61),
            ("gpt3-small", 125.2),
            ("gpt3-6.7b", 6_658.0),
            ("gpt3-175b", 174_600.0),
        ] {
            let config = Gpt2Config::preset(name, VOCAB_SIZE).unwrap();
            config.validate().unwrap();
            let found = config.parameter_count() as f64 / 1e6;
            assert!((found / millions - 1.0).abs() < 2e-3, "{name}: {found}");
        }
        let message = Gpt2Config::preset("gpt4", VOCAB_SIZE).unwrap_err().to_string();
        assert!(message.contains("\"gpt4\"") && message.contains("gpt2-medium"), "{message}");
    }

    #[test]
    fn what_no_model_can_have_is_named() {
        let config = || Gpt2Config::new(100, 2, 48, 4, 64);
        config().validate().unwrap();
        for (wrong, key) in [
            (Gpt2Config { heads: 5, ..config() }, "heads"),
            (Gpt2Config { layers: 0, ..config() }, "layers"),
            (Gpt2Config { dropout: 1.0, ..config() }, "dropout"),
            (Gpt2Config { eos_id: Some(100), ..config() }, "eos_id"),
            (Gpt2Config { activation: "sine".into(), ..config() }, "activation"),
            (Gpt2Config { layer_norm_eps: f32::NAN, ..config() }, "layer_norm_eps"),
        ] {
            assert_eq!(wrong.validate().unwrap_err().key, key);
        }
    }
}
