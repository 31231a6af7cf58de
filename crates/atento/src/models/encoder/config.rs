//! The shape of a bidirectional Transformer encoder: BERT (Devlin et al. 2019) and the models that differ from it in
//! positions, token types, the width of embeddings, or names alone.

use crate::models::config::{ACTIVATIONS, ConfigError, LARGEST_SIZE, MOST_DEVIATION, MOST_LAYERS, wrong};
use crate::models::parameters::NamedShape;

/// As which published model an encoder is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BERT (Devlin et al. 2019).
    Bert,
    /// RoBERTa (Liu et al. 2019).
    Roberta,
    /// XLM-RoBERTa (Conneau et al. 2020).
    XlmRoberta,
    /// CamemBERT (Martin et al. 2020).
    Camembert,
    /// DistilBERT (Sanh et al. 2019).
    DistilBert,
    /// ELECTRA (Clark et al. 2020).
    Electra,
}

/// Everything that determines an encoder's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// As which model it is written.
    pub kind: Kind,
    /// Rows of the table of tokens.
    pub vocab_size: usize,
    /// Width of the embeddings; where it is not that of the states, they are projected.
    pub embedding_size: usize,
    /// Width of the states.
    pub d_model: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; they divide `d_model`.
    pub heads: usize,
    /// Inner width of the feed-forward sublayers.
    pub d_ff: usize,
    /// One of [`ACTIVATIONS`], in the feed-forward sublayers and before the words of masked tokens.
    pub activation: String,
    /// Probability of dropping an element of the embeddings or of a sublayer's output.
    pub dropout: f32,
    /// Probability of dropping an attention weight.
    pub attention_dropout: f32,
    /// Probability of dropping an element of what a classifier reads; `dropout` if left out.
    pub classifier_dropout: Option<f32>,
    /// The longest text, in tokens.
    pub max_positions: usize,
    /// The row of a text's first token in the table of positions: the rows before it are never used.
    pub first_position: usize,
    /// Types of tokens; 0 where there is no table of them.
    pub token_types: usize,
    /// ε of the layer norms, inside the square root.
    pub norm_eps: f32,
    /// The standard deviation of random weights.
    pub initializer_range: f32,
    /// Whether the words of masked tokens are found by the table of tokens.
    pub tie_embeddings: bool,
    /// The padding token, whose embedding is not trained.
    pub pad_id: Option<u32>,
    /// The token that begins a text, where config.json names one.
    pub bos_id: Option<u32>,
    /// The token that ends a text, where config.json names one.
    pub eos_id: Option<u32>,
}

impl EncoderConfig {
    /// A BERT of these sizes, with dropout 0.1 and four times as wide inside.
    #[must_use]
    pub fn new(vocab_size: usize, layers: usize, d_model: usize, heads: usize, max_positions: usize) -> Self {
        Self {
            kind: Kind::Bert,
            vocab_size,
            embedding_size: d_model,
            d_model,
            layers,
            heads,
            d_ff: d_model.saturating_mul(4),
            activation: "gelu".into(),
            dropout: 0.1,
            attention_dropout: 0.1,
            classifier_dropout: None,
            max_positions,
            first_position: 0,
            token_types: 2,
            norm_eps: 1e-12,
            initializer_range: 0.02,
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
            ("embedding_size", self.embedding_size, LARGEST_SIZE),
            ("d_model", self.d_model, LARGEST_SIZE),
            ("layers", self.layers, MOST_LAYERS),
            ("heads", self.heads, LARGEST_SIZE),
            ("d_ff", self.d_ff, LARGEST_SIZE),
            ("max_positions", self.max_positions, LARGEST_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if self.token_types > LARGEST_SIZE {
            return Err(wrong("token_types", self.token_types, format!("a whole number up to {LARGEST_SIZE}")));
        }
        if !self.d_model.is_multiple_of(self.heads) {
            return Err(wrong("heads", self.heads, format!("a divisor of d_model = {}", self.d_model)));
        }
        for (key, share) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("classifier_dropout", self.classifier_dropout.unwrap_or(0.0)),
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

    /// The probability of dropping an element of what a classifier reads.
    #[must_use]
    pub fn head_dropout(&self) -> f32 {
        self.classifier_dropout.unwrap_or(self.dropout)
    }

    /// Rows of the table of positions.
    #[must_use]
    pub fn position_rows(&self) -> usize {
        self.first_position + self.max_positions
    }

    /// Every parameter of the encoder with its shape, in a fixed order, by the names of BERT.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let &Self { vocab_size, embedding_size, d_model, d_ff, .. } = self;
        let mut table: Vec<NamedShape> = Vec::new();
        let mut push = |name: String, shape: &[usize]| table.push((name, shape.to_vec()));
        push("embeddings.word_embeddings.weight".into(), &[vocab_size, embedding_size]);
        push("embeddings.position_embeddings.weight".into(), &[self.position_rows(), embedding_size]);
        if self.token_types > 0 {
            push("embeddings.token_type_embeddings.weight".into(), &[self.token_types, embedding_size]);
        }
        ["weight", "bias"].iter().for_each(|end| push(format!("embeddings.LayerNorm.{end}"), &[embedding_size]));
        if embedding_size != d_model {
            push("embeddings_project.weight".into(), &[d_model, embedding_size]);
            push("embeddings_project.bias".into(), &[d_model]);
        }
        for layer in 0..self.layers {
            let mut push = |name: &str, shape: &[usize]| push(format!("encoder.layer.{layer}.{name}"), shape);
            let parts = ["query", "key", "value"];
            parts.iter().for_each(|part| push(&format!("attention.self.{part}.weight"), &[d_model, d_model]));
            parts.iter().for_each(|part| push(&format!("attention.self.{part}.bias"), &[d_model]));
            for (name, shape) in [
                ("attention.output.dense.weight", &[d_model, d_model][..]),
                ("attention.output.dense.bias", &[d_model]),
                ("attention.output.LayerNorm.weight", &[d_model]),
                ("attention.output.LayerNorm.bias", &[d_model]),
                ("intermediate.dense.weight", &[d_ff, d_model]),
                ("intermediate.dense.bias", &[d_ff]),
                ("output.dense.weight", &[d_model, d_ff]),
                ("output.dense.bias", &[d_model]),
                ("output.LayerNorm.weight", &[d_model]),
                ("output.LayerNorm.bias", &[d_model]),
            ] {
                push(name, shape);
            }
        }
        table
    }
}
