//! The shape of the recurrent encoder–decoder, and what its parameters are called.

use serde::{Deserialize, Serialize};

use super::config::{ConfigError, LARGEST_SIZE, MOST_LAYERS, TieEmbeddings, wrong};
use super::parameters::NamedShape;

/// Everything that determines the recurrent network's parameters and its forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecurrentConfig {
    /// Rows of the embedding tables; source and target share one vocabulary.
    pub vocab_size: usize,
    /// Width of embeddings and of what the output projection reads.
    pub embedding: usize,
    /// Width of each recurrent state and of the attention.
    pub hidden: usize,
    /// Recurrent layers on each side.
    pub layers: usize,
    /// Probability of dropping an element of the embeddings, between layers, of the annotations, and before the output
    /// projection.
    pub dropout: f32,
    /// Which vocabulary tables are one.
    pub tie_embeddings: TieEmbeddings,
    /// The padding token; never generated.
    pub pad_id: u32,
    /// The token that ends a sentence.
    pub eos_id: u32,
    /// The token that begins a sentence, where the vocabulary has one.
    pub bos_id: Option<u32>,
    /// The token of what the vocabulary lacks, where it has one.
    pub unk_id: Option<u32>,
    /// The decoder's first input.
    pub decoder_start_id: u32,
}

impl RecurrentConfig {
    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, size, most) in [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("embedding", self.embedding, LARGEST_SIZE),
            ("hidden", self.hidden, LARGEST_SIZE),
            ("layers", self.layers, MOST_LAYERS),
        ] {
            if !(1..=most).contains(&size) {
                return Err(wrong(key, size, format!("a whole number from 1 to {most}")));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(wrong("dropout", self.dropout, "a probability from 0 to below 1"));
        }
        for (key, id) in [("bos_id", self.bos_id), ("unk_id", self.unk_id)] {
            if let Some(id) = id.filter(|&id| id as usize >= self.vocab_size) {
                return Err(wrong(key, id, format!("a token id below vocab_size = {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Every parameter of the model with its shape, embeddings first, in a fixed order.
    #[must_use]
    pub fn parameters(&self) -> Vec<NamedShape> {
        let (embedding, hidden) = (self.embedding, self.hidden);
        let tables: &[&str] = match self.tie_embeddings {
            TieEmbeddings::All => &["shared"],
            TieEmbeddings::Decoder => &["encoder.embed_tokens", "decoder.embed_tokens"],
            TieEmbeddings::None => &["encoder.embed_tokens", "decoder.embed_tokens", "lm_head"],
        };
        let mut table: Vec<NamedShape> =
            tables.iter().map(|path| (format!("{path}.weight"), vec![self.vocab_size, embedding])).collect();
        table.push(("lm_head.bias".into(), vec![self.vocab_size]));
        for layer in 0..self.layers {
            let inputs = if layer == 0 { embedding } else { 2 * hidden };
            for direction in ["forward", "backward"] {
                push_gru(&mut table, &format!("encoder.layers.{layer}.{direction}"), inputs, hidden);
            }
        }
        for layer in 0..self.layers {
            push_linear(&mut table, &format!("decoder.initial.{layer}"), hidden, hidden);
        }
        push_gru(&mut table, "decoder.layers.0", embedding, hidden);
        table.push(("decoder.layers.0.weight_ch".into(), vec![3 * hidden, 2 * hidden]));
        table.push(("decoder.layers.0.attention.query.weight".into(), vec![hidden, hidden]));
        push_linear(&mut table, "decoder.layers.0.attention.key", hidden, 2 * hidden);
        table.push(("decoder.layers.0.attention.score".into(), vec![hidden]));
        for layer in 1..self.layers {
            push_gru(&mut table, &format!("decoder.layers.{layer}"), hidden, hidden);
        }
        push_linear(&mut table, "decoder.readout", embedding, hidden + embedding + 2 * hidden);
        table
    }
}

fn push_gru(table: &mut Vec<NamedShape>, path: &str, inputs: usize, hidden: usize) {
    table.push((format!("{path}.weight_ih"), vec![3 * hidden, inputs]));
    table.push((format!("{path}.weight_hh"), vec![3 * hidden, hidden]));
    table.push((format!("{path}.bias_ih"), vec![3 * hidden]));
    table.push((format!("{path}.bias_hh"), vec![3 * hidden]));
}

fn push_linear(table: &mut Vec<NamedShape>, path: &str, outputs: usize, inputs: usize) {
    table.push((format!("{path}.weight"), vec![outputs, inputs]));
    table.push((format!("{path}.bias"), vec![outputs]));
}
