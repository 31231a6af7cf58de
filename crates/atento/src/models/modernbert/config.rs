//! The shape of a ModernBERT (Warner et al. 2024, arXiv:2412.13663).

use crate::models::config::{ACTIVATIONS, ConfigError, LARGEST_SIZE, MOST_DEVIATION, MOST_LAYERS, wrong};
use crate::models::parameters::NamedShape;

/// Everything that determines a ModernBERT's parameters, its forward pass and its heads.
#[derive(Debug, Clone, PartialEq)]
pub struct ModernBertConfig {
    /// Rows of the table of tokens.
    pub vocab_size: usize,
    /// Width of the states.
    pub d_model: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; they divide `d_model` into an even head width.
    pub heads: usize,
    /// Inner width of the feed-forward sublayers, that of the gate.
    pub d_ff: usize,
    /// One of [`ACTIVATIONS`], on the gate of the feed-forward sublayers.
    pub activation: String,
    /// The longest text, in tokens.
    pub max_positions: usize,
    /// How many tokens around it a token sees in local blocks, half of them on each side; the token itself comes on top.
    pub local_window: usize,
    /// Whether attention is local, for each block.
    pub local: Vec<bool>,
    /// The base of the wavelengths of rotary positions in global blocks.
    pub rope_theta: f64,
    /// The base of the wavelengths of rotary positions in local blocks.
    pub local_rope_theta: f64,
    /// ε of the layer norms, inside the square root.
    pub norm_eps: f32,
    /// The standard deviation of random weights.
    pub initializer_range: f32,
    /// Whether layer norms have biases.
    pub norm_bias: bool,
    /// Whether the projections of the attention have biases.
    pub attention_bias: bool,
    /// Whether the projections of the feed-forward sublayers have biases.
    pub mlp_bias: bool,
    /// Probability of dropping an element of the embeddings.
    pub embedding_dropout: f32,
    /// Probability of dropping an attention weight, or an element of the attention's output.
    pub attention_dropout: f32,
    /// Probability of dropping an element inside the feed-forward sublayers.
    pub dropout: f32,
    /// Whether a head of texts reads the mean of the states, instead of the first token's.
    pub mean_pooling: bool,
    /// One of [`ACTIVATIONS`], behind the dense layer of heads.
    pub head_activation: String,
    /// Whether the dense layer of heads has a bias.
    pub head_bias: bool,
    /// Whether the head of masked words has a dense layer and a norm. `transformers` always has them.
    pub head_transform: bool,
    /// Probability of dropping an element of what a classifier reads.
    pub classifier_dropout: f32,
    /// Whether the projection onto words has a bias.
    pub output_bias: bool,
    /// Whether the words of masked tokens are found by the table of tokens.
    pub tie_embeddings: bool,
    /// The padding token, whose embedding is not trained.
    pub pad_id: Option<u32>,
    /// The token that begins a text, where config.json names one.
    pub bos_id: Option<u32>,
    /// The token that ends a text, where config.json names one.
    pub eos_id: Option<u32>,
}

impl ModernBertConfig {
    /// A ModernBERT of these sizes as published: every third block global, the others within 64 tokens on each side, no biases
    /// but that of the words.
    #[must_use]
    pub fn new(vocab_size: usize, layers: usize, d_model: usize, heads: usize, max_positions: usize) -> Self {
        Self {
            vocab_size,
            d_model,
            layers,
            heads,
            d_ff: inner_width(d_model),
            activation: "gelu".into(),
            max_positions,
            local_window: 128,
            local: local_blocks(layers, 3),
            rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            norm_eps: 1e-5,
            initializer_range: 0.02,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            embedding_dropout: 0.0,
            attention_dropout: 0.0,
            dropout: 0.0,
            mean_pooling: false,
            head_activation: "gelu".into(),
            head_bias: false,
            head_transform: true,
            classifier_dropout: 0.0,
            output_bias: true,
            tie_embeddings: true,
            pad_id: None,
            bos_id: None,
            eos_id: None,
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
            ("d_ff", self.d_ff, LARGEST_SIZE),
            ("max_positions", self.max_positions, LARGEST_SIZE),
            ("local_window", self.local_window, LARGEST_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if !self.d_model.is_multiple_of(self.heads) || !self.head_dim().is_multiple_of(2) {
            let expected = format!("a divisor of d_model = {} into heads of even width", self.d_model);
            return Err(wrong("heads", self.heads, expected));
        }
        if self.local.len() != self.layers {
            return Err(wrong("local", self.local.len(), format!("one for each of the {} blocks", self.layers)));
        }
        for (key, theta) in [("rope_theta", self.rope_theta), ("local_rope_theta", self.local_rope_theta)] {
            if !(theta > 1.0 && theta.is_finite()) {
                return Err(wrong(key, theta, "a number above 1"));
            }
        }
        for (key, share) in [
            ("embedding_dropout", self.embedding_dropout),
            ("attention_dropout", self.attention_dropout),
            ("dropout", self.dropout),
            ("classifier_dropout", self.classifier_dropout),
        ] {
            if !(0.0..1.0).contains(&share) {
                return Err(wrong(key, share, "a probability from 0 to below 1"));
            }
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            return Err(wrong("norm_eps", self.norm_eps, "a number between 0 and 1"));
        }
        if !(0.0..=MOST_DEVIATION).contains(&self.initializer_range) {
            return Err(wrong("initializer_range", self.initializer_range, "a number from 0 to 100"));
        }
        for (key, name) in [("activation", &self.activation), ("head_activation", &self.head_activation)] {
            if !ACTIVATIONS.contains(&name.as_str()) {
                return Err(wrong(key, format!("{name:?}"), format!("one of {}", ACTIVATIONS.join(", "))));
            }
        }
        for (key, id) in [("bos_id", self.bos_id), ("eos_id", self.eos_id), ("pad_id", self.pad_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Width of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.d_model / self.heads
    }

    /// The number n with which every n-th block is global, the first one included, if there is one.
    #[must_use]
    pub fn global_every(&self) -> Option<usize> {
        (1..=self.layers).find(|&every| self.local == local_blocks(self.layers, every))
    }

    /// Every parameter of the encoder with its shape, in a fixed order, by the names of `transformers` without the prefix.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let &Self { vocab_size, d_model, d_ff, norm_bias, attention_bias, mlp_bias, .. } = self;
        let mut table: Vec<NamedShape> = Vec::new();
        let mut push = |path: String, shape: &[usize], has_bias: bool| {
            table.push((format!("{path}.weight"), shape.to_vec()));
            table.extend(has_bias.then(|| (format!("{path}.bias"), shape[..1].to_vec())));
        };
        push("embeddings.tok_embeddings".into(), &[vocab_size, d_model], false);
        push("embeddings.norm".into(), &[d_model], norm_bias);
        for layer in 0..self.layers {
            let mut push =
                |name: &str, shape: &[usize], has_bias| push(format!("layers.{layer}.{name}"), shape, has_bias);
            if layer > 0 {
                push("attn_norm", &[d_model], norm_bias);
            }
            push("attn.Wqkv", &[3 * d_model, d_model], attention_bias);
            push("attn.Wo", &[d_model, d_model], attention_bias);
            push("mlp_norm", &[d_model], norm_bias);
            push("mlp.Wi", &[2 * d_ff, d_model], mlp_bias);
            push("mlp.Wo", &[d_model, d_ff], mlp_bias);
        }
        push("final_norm".into(), &[d_model], norm_bias);
        table
    }
}

/// Which blocks are local where every `global_every`-th is global, the first one included.
#[must_use]
pub fn local_blocks(layers: usize, global_every: usize) -> Vec<bool> {
    (0..layers).map(|layer| !layer.is_multiple_of(global_every)).collect()
}

/// Half as much again as `d_model`, as in ModernBERT-base.
#[must_use]
pub fn inner_width(d_model: usize) -> usize {
    d_model.saturating_mul(3) / 2
}
