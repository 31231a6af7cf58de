//! The shape of an encoder–decoder Transformer ("Attention Is All You Need", 2017) and its presets.
//!
//! The library's own vocabulary; how Hugging Face spells the same things is `hub`'s affair.

use super::sinusoid::Sinusoid;
use serde::{Deserialize, Serialize};

/// Where a layer normalises: after the residual sum (the paper) or before each sublayer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// `norm(x + sublayer(x))`, as in the paper. Saved as `MarianMTModel`.
    Post,
    /// `x + sublayer(norm(x))` with one norm after the last layer. Saved as `M2M100ForConditionalGeneration`.
    Pre,
}

/// Which of the three vocabulary tables (source, target, output) are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TieEmbeddings {
    /// All three are one table (section 3.4 of the paper).
    All,
    /// Target and output are one, source has its own.
    Decoder,
    /// Three tables.
    None,
}

/// The names an activation may have; `gelu_pytorch_tanh` is another name of `gelu_new`, `swish` of `silu`.
pub const ACTIVATIONS: [&str; 7] = ["relu", "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "swish", "tanh"];

/// The names [`TransformerConfig::preset`] knows.
pub const PRESETS: [&str; 4] = ["base", "big", "small", "tiny"];

/// The largest vocabulary, width or number of positions accepted, so that products of sizes cannot overflow.
pub(crate) const LARGEST_SIZE: usize = 1 << 24;
/// The most layers accepted on one side.
pub(crate) const MOST_LAYERS: usize = 1024;
/// The largest standard deviation of random weights.
pub(crate) const MOST_DEVIATION: f32 = 100.0;

/// Everything that determines an encoder–decoder's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Rows of the embedding tables; source and target share one vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of encoder layers.
    pub encoder_layers: usize,
    /// Number of decoder layers.
    pub decoder_layers: usize,
    /// Heads of the encoder's self-attention.
    pub encoder_heads: usize,
    /// Heads of the decoder's self-attention and cross-attention.
    pub decoder_heads: usize,
    /// Inner width of the encoder's feed-forward sublayers.
    pub encoder_ffn: usize,
    /// Inner width of the decoder's feed-forward sublayers.
    pub decoder_ffn: usize,
    /// One of [`ACTIVATIONS`], between the two maps of a feed-forward sublayer.
    pub activation: String,
    /// Probability of dropping an element of a sublayer's output or of the summed embeddings.
    pub dropout: f32,
    /// Probability of dropping an attention weight.
    pub attention_dropout: f32,
    /// Probability of dropping an element after the feed-forward activation.
    pub activation_dropout: f32,
    /// The longest sentence, in tokens, on either side.
    pub max_positions: usize,
    /// Whether embeddings are multiplied by `sqrt(d_model)` before positions are added.
    pub scale_embedding: bool,
    /// Where layers normalise; the layout of the sinusoidal positions follows from it.
    pub norm: Norm,
    /// Added to the variance in layer norms; the reference formats fix it at 1e-5.
    pub layer_norm_eps: f32,
    /// Which vocabulary tables are one.
    pub tie_embeddings: TieEmbeddings,
    /// The padding token, never generated; [`NO_TOKEN`], or another id beyond the table, where there is none.
    pub pad_id: u32,
    /// The token that ends a sentence; an id beyond the table where there is none.
    pub eos_id: u32,
    /// The token that begins a sentence, where the vocabulary has one.
    pub bos_id: Option<u32>,
    /// The token of what the vocabulary lacks, where it has one.
    pub unk_id: Option<u32>,
    /// The decoder's first input; with an id beyond the table nothing can be decoded.
    pub decoder_start_id: u32,
}

/// An id that no table has.
pub const NO_TOKEN: u32 = u32::MAX;

/// A value of a configuration that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{key}` is {found}, expected {expected}")]
pub struct ConfigError {
    /// The field of the configuration.
    pub key: &'static str,
    /// The value it has.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl TransformerConfig {
    /// Table 3 of the paper, "base": 6 + 6 layers, width 512, 8 heads, inner width 2048, dropout 0.1.
    ///
    /// Special tokens are those of a tokenizer that was learned for translation, `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, and
    /// the decoder starts from `<pad>`, as Marian's does.
    pub fn base(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            d_model: 512,
            encoder_layers: 6,
            decoder_layers: 6,
            encoder_heads: 8,
            decoder_heads: 8,
            encoder_ffn: 2048,
            decoder_ffn: 2048,
            activation: "relu".into(),
            dropout: 0.1,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            max_positions: 512,
            scale_embedding: true,
            norm: Norm::Post,
            layer_norm_eps: 1e-5,
            tie_embeddings: TieEmbeddings::All,
            pad_id: 1,
            eos_id: 2,
            bos_id: Some(0),
            unk_id: Some(3),
            decoder_start_id: 1,
        }
    }

    /// Table 3 of the paper, "big": 6 + 6 layers, width 1024, 16 heads, inner width 4096, dropout 0.3.
    pub fn big(vocab_size: usize) -> Self {
        Self { dropout: 0.3, ..Self::base(vocab_size).with_sizes(6, 1024, 16, 4096) }
    }

    /// 3 + 3 layers, width 256, 4 heads, inner width 1024, dropout 0.1: a laptop's size.
    pub fn small(vocab_size: usize) -> Self {
        Self::base(vocab_size).with_sizes(3, 256, 4, 1024)
    }

    /// "Transformer-Tiny" of Wu et al., "Good for Misconceived Reasons" (ACL 2021), for Multi30k:
    /// 4 + 4 layers, width 128, 4 heads, inner width 256, dropout 0.3.
    pub fn tiny(vocab_size: usize) -> Self {
        Self { dropout: 0.3, ..Self::base(vocab_size).with_sizes(4, 128, 4, 256) }
    }

    /// The preset of that name, one of [`PRESETS`].
    ///
    /// # Errors
    /// A name that is not a preset's; the message lists them.
    pub fn preset(name: &str, vocab_size: usize) -> Result<Self, ConfigError> {
        match name {
            "base" => Ok(Self::base(vocab_size)),
            "big" => Ok(Self::big(vocab_size)),
            "small" => Ok(Self::small(vocab_size)),
            "tiny" => Ok(Self::tiny(vocab_size)),
            _ => Err(not_one_of("preset", name, &PRESETS)),
        }
    }

    /// The same model normalising elsewhere.
    ///
    /// A pre-norm decoder starts from `</s>`: M2M100 gives padding no position, so that the same prefix would
    /// stand at other positions with a cache than without, were its first token `<pad>`.
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self.decoder_start_id = match norm {
            Norm::Post => self.pad_id,
            Norm::Pre => self.eos_id,
        };
        self
    }

    /// The layout of the sinusoidal positions, which the checkpoint format fixes.
    pub fn sinusoid(&self) -> Sinusoid {
        match self.norm {
            Norm::Post => Sinusoid::Marian,
            Norm::Pre => Sinusoid::M2m100,
        }
    }

    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_sizes()?;
        self.validate_probabilities()?;
        self.validate_ids()?;
        if !ACTIVATIONS.contains(&self.activation.as_str()) {
            return Err(not_one_of("activation", &self.activation, &ACTIVATIONS));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(wrong("layer_norm_eps", self.layer_norm_eps, "a number between 0 and 1"));
        }
        Ok(())
    }

    fn with_sizes(mut self, layers: usize, d_model: usize, heads: usize, d_ff: usize) -> Self {
        self.d_model = d_model;
        (self.encoder_layers, self.decoder_layers) = (layers, layers);
        (self.encoder_heads, self.decoder_heads) = (heads, heads);
        (self.encoder_ffn, self.decoder_ffn) = (d_ff, d_ff);
        self
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        for (key, size, most) in [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("d_model", self.d_model, LARGEST_SIZE),
            ("encoder_layers", self.encoder_layers, MOST_LAYERS),
            ("decoder_layers", self.decoder_layers, MOST_LAYERS),
            ("encoder_ffn", self.encoder_ffn, LARGEST_SIZE),
            ("decoder_ffn", self.decoder_ffn, LARGEST_SIZE),
            ("max_positions", self.max_positions, LARGEST_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if !self.d_model.is_multiple_of(2) || self.d_model < 4 {
            return Err(wrong("d_model", self.d_model, "an even number from 4 up, for sinusoidal positions"));
        }
        for (key, heads) in [("encoder_heads", self.encoder_heads), ("decoder_heads", self.decoder_heads)] {
            if !self.d_model.is_multiple_of(heads) {
                return Err(wrong(key, heads, format!("a divisor of d_model = {}", self.d_model)));
            }
        }
        Ok(())
    }

    fn validate_probabilities(&self) -> Result<(), ConfigError> {
        for (key, probability) in [
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return Err(wrong(key, probability, "a probability from 0 to below 1"));
            }
        }
        Ok(())
    }

    fn validate_ids(&self) -> Result<(), ConfigError> {
        for (key, id) in [("bos_id", self.bos_id), ("unk_id", self.unk_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        if self.norm == Norm::Pre && self.pad_id as usize >= self.vocab_size {
            let expected = format!("a token id below vocab_size = {}: positions are counted from it", self.vocab_size);
            return Err(wrong("pad_id", self.pad_id, expected));
        }
        if self.norm == Norm::Pre && self.decoder_start_id == self.pad_id {
            let expected = "another token than pad_id in a pre-norm model, whose padding has no position";
            return Err(wrong("decoder_start_id", self.decoder_start_id, expected));
        }
        Ok(())
    }
}

pub(crate) fn wrong(key: &'static str, found: impl ToString, expected: impl Into<String>) -> ConfigError {
    ConfigError { key, found: found.to_string(), expected: expected.into() }
}

fn not_one_of(key: &'static str, found: &str, names: &[&str]) -> ConfigError {
    wrong(key, format!("{found:?}"), format!("one of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_in_both_norms() {
        for name in PRESETS {
            for norm in [Norm::Post, Norm::Pre] {
                let config = TransformerConfig::preset(name, 8000).unwrap().with_norm(norm);
                config.validate().unwrap();
                let text = toml::to_string(&config).unwrap();
                assert_eq!(toml::from_str::<TransformerConfig>(&text).unwrap(), config);
            }
        }
        let message = TransformerConfig::preset("bsae", 8).unwrap_err().to_string();
        assert_eq!(message, "`preset` is \"bsae\", expected one of base, big, small, tiny");
    }

    #[test]
    fn every_impossible_value_is_refused_by_its_key() {
        type Break = fn(&mut TransformerConfig);
        let cases: [(&str, Break); 12] = [
            ("vocab_size", |c| c.vocab_size = 0),
            ("vocab_size", |c| c.vocab_size = usize::MAX),
            ("encoder_layers", |c| c.encoder_layers = 1 << 40),
            ("d_model", |c| c.d_model = 7),
            ("encoder_heads", |c| c.encoder_heads = 3),
            ("decoder_heads", |c| c.decoder_heads = 0),
            ("dropout", |c| c.dropout = 1.0),
            ("attention_dropout", |c| c.attention_dropout = f32::NAN),
            ("activation", |c| c.activation = "rleu".into()),
            ("layer_norm_eps", |c| c.layer_norm_eps = 0.0),
            ("unk_id", |c| c.unk_id = Some(8000)),
            ("decoder_start_id", |c| c.norm = Norm::Pre),
        ];
        for (key, make_wrong) in cases {
            let mut config = TransformerConfig::small(8000);
            make_wrong(&mut config);
            assert_eq!(config.validate().unwrap_err().key, key);
        }
    }
}
