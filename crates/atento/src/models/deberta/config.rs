//! The shape of a DeBERTa, version 2 or 3 (He et al. 2021, arXiv:2006.03654; He et al. 2023, arXiv:2111.09543).

use crate::models::config::{ACTIVATIONS, ConfigError, LARGEST_SIZE, MOST_DEVIATION, MOST_LAYERS, wrong};
use crate::models::parameters::NamedShape;

/// The convolution beside the first block.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Tokens that it reads at once, an odd number.
    pub kernel: usize,
    /// The name of its activation function.
    pub activation: String,
}

/// Everything that determines a DeBERTa's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct DebertaConfig {
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
    /// Probability of dropping an element of the embeddings, of a sublayer's output or of the relative embeddings.
    pub dropout: f32,
    /// Probability of dropping an attention weight.
    pub attention_dropout: f32,
    /// Probability of dropping an element of what a classifier reads; `dropout` if left out.
    pub classifier_dropout: Option<f32>,
    /// The longest text, in tokens.
    pub max_positions: usize,
    /// Whether the embeddings have absolute positions too.
    pub absolute_positions: bool,
    /// Types of tokens; 0 where there is no table of them.
    pub token_types: usize,
    /// ε of the layer norms, inside the square root.
    pub norm_eps: f32,
    /// The standard deviation of random weights.
    pub initializer_range: f32,
    /// The furthest relative position that is told from others.
    pub max_relative: usize,
    /// Into how many buckets relative positions fall on each side, the further ones by their logarithm; without a number each
    /// has its own.
    pub buckets: Option<usize>,
    /// Whether queries meet relative positions (content to position).
    pub content_to_position: bool,
    /// Whether keys meet relative positions (position to content).
    pub position_to_content: bool,
    /// Whether relative embeddings are projected by the projections of queries and keys.
    pub shares_projections: bool,
    /// Whether relative embeddings are normalised.
    pub norms_relative: bool,
    /// The convolution, where there is one.
    pub convolution: Option<Convolution>,
    /// Width of the pooler.
    pub pooler_size: usize,
    /// The name of the pooler's activation function.
    pub pooler_activation: String,
    /// Probability of dropping an element of what the pooler reads.
    pub pooler_dropout: f32,
    /// Whether the words of masked tokens are found by the table of tokens.
    pub tie_embeddings: bool,
    /// Whether the part of masked words has the names of transformers' first DeBERTa, `cls.predictions`.
    pub legacy_head: bool,
    /// The padding token, whose embedding is not trained.
    pub pad_id: Option<u32>,
    /// The token that begins a text, where config.json names one.
    pub bos_id: Option<u32>,
    /// The token that ends a text, where config.json names one.
    pub eos_id: Option<u32>,
}

impl DebertaConfig {
    /// A DeBERTa of version 3 of these sizes: both kinds of relative positions in 256 buckets, shared projections.
    #[must_use]
    pub fn new(vocab_size: usize, layers: usize, d_model: usize, heads: usize, max_positions: usize) -> Self {
        Self {
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
            absolute_positions: false,
            token_types: 0,
            norm_eps: 1e-7,
            initializer_range: 0.02,
            max_relative: max_positions,
            buckets: Some(256),
            content_to_position: true,
            position_to_content: true,
            shares_projections: true,
            norms_relative: true,
            convolution: None,
            pooler_size: d_model,
            pooler_activation: "gelu".into(),
            pooler_dropout: 0.0,
            tie_embeddings: true,
            legacy_head: true,
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
            ("max_relative", self.max_relative, LARGEST_SIZE),
            ("pooler_size", self.pooler_size, LARGEST_SIZE),
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
        if let Some(buckets) = self.buckets.filter(|&buckets| buckets < 4 || buckets / 2 + 1 >= self.max_relative) {
            let expected =
                format!("a whole number from 4, half of it and one below the furthest position, {}", self.max_relative);
            return Err(wrong("buckets", buckets, expected));
        }
        if let Some(Convolution { kernel, activation }) = &self.convolution {
            if kernel.is_multiple_of(2) || *kernel > 65 {
                return Err(wrong("kernel", kernel, "an odd number up to 65"));
            }
            check_activation("conv_activation", activation)?;
        }
        for (key, share) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("classifier_dropout", self.classifier_dropout.unwrap_or(0.0)),
            ("pooler_dropout", self.pooler_dropout),
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
        check_activation("activation", &self.activation)?;
        check_activation("pooler_activation", &self.pooler_activation)?;
        for (key, id) in [("bos_id", self.bos_id), ("eos_id", self.eos_id), ("pad_id", self.pad_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Relative positions told apart on each side: half the rows of the table of relative embeddings.
    #[must_use]
    pub fn span(&self) -> usize {
        self.buckets.unwrap_or(self.max_relative)
    }

    /// Every parameter of the encoder with its shape, in a fixed order, by the names of `transformers`.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let &Self { vocab_size, embedding_size, d_model, d_ff, .. } = self;
        let mut table: Vec<NamedShape> = Vec::new();
        let mut push = |name: String, shape: &[usize]| table.push((name, shape.to_vec()));
        push("embeddings.word_embeddings.weight".into(), &[vocab_size, embedding_size]);
        if self.absolute_positions {
            push("embeddings.position_embeddings.weight".into(), &[self.max_positions, embedding_size]);
        }
        if self.token_types > 0 {
            push("embeddings.token_type_embeddings.weight".into(), &[self.token_types, embedding_size]);
        }
        if embedding_size != d_model {
            push("embeddings.embed_proj.weight".into(), &[d_model, embedding_size]);
        }
        let norm = |push: &mut dyn FnMut(String, &[usize]), path: &str| {
            ["weight", "bias"].iter().for_each(|end| push(format!("{path}.{end}"), &[d_model]));
        };
        norm(&mut push, "embeddings.LayerNorm");
        push("encoder.rel_embeddings.weight".into(), &[2 * self.span(), d_model]);
        if self.norms_relative {
            norm(&mut push, "encoder.LayerNorm");
        }
        if let Some(Convolution { kernel, .. }) = self.convolution {
            push("encoder.conv.conv.weight".into(), &[d_model, d_model * kernel]);
            push("encoder.conv.conv.bias".into(), &[d_model]);
            norm(&mut push, "encoder.conv.LayerNorm");
        }
        for layer in 0..self.layers {
            let mut push = |name: String, shape: &[usize]| push(format!("encoder.layer.{layer}.{name}"), shape);
            let own = self.projections();
            own.iter().for_each(|part| push(format!("attention.self.{part}.weight"), &[d_model, d_model]));
            own.iter().for_each(|part| push(format!("attention.self.{part}.bias"), &[d_model]));
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
                push(name.to_owned(), shape);
            }
        }
        table
    }

    /// The projections of an attention, those of relative embeddings last.
    #[must_use]
    pub fn projections(&self) -> Vec<&'static str> {
        let mut names = vec!["query_proj", "key_proj", "value_proj"];
        if !self.shares_projections {
            names.extend(self.content_to_position.then_some("pos_key_proj"));
            names.extend(self.position_to_content.then_some("pos_query_proj"));
        }
        names
    }
}

fn check_activation(key: &'static str, name: &str) -> Result<(), ConfigError> {
    match ACTIVATIONS.contains(&name) {
        true => Ok(()),
        false => Err(wrong(key, format!("{name:?}"), format!("one of {}", ACTIVATIONS.join(", ")))),
    }
}
