//! The recurrent decoder, one token at a time: what it remembers is one state per layer and row.
//!
//! A step is [`Recurrent::decode`] over a single step. Rows of one sentence read the same annotations; each row has its
//! own copy of them, which is made anew only when the rows' sentences change, not at every reordering of a beam.

use std::sync::Arc;

use atento_kernels::threads::within;
use atento_tensor::ops::{Memory, TimeSteps};
use atento_tensor::{Graph, Pool, Tensor};

use super::recurrent::{Encoded, Recurrent, cumulative};
use crate::generate::StepDecoder;

/// Decoding state of a batch of source sentences.
pub struct RecurrentDecoder<'m> {
    model: &'m Recurrent,
    pool: Pool,
    /// The annotations and keys of each sentence.
    sentences: Memory,
    /// The sentence of each live row.
    row_sentence: Vec<u32>,
    /// The annotations and keys of each row, and its states.
    rows: Encoded,
}

impl<'m> RecurrentDecoder<'m> {
    /// Encodes packed source sentences; one row per sentence to begin with.
    ///
    /// # Shapes
    /// `ids`: `[source_tokens]`; `cu_source`: [sentences + 1].
    ///
    /// # Panics
    /// If a sentence has no tokens: sources end with the end token.
    #[must_use]
    pub fn new(model: &'m Recurrent, pool: &Pool, ids: &[u32], cu_source: &[u32]) -> Self {
        let row_sentence: Vec<u32> = (0..cu_source.len() as u32 - 1).collect();
        let rows = within(|| model.encode(&mut Graph::infer(&model.params, pool), ids, cu_source, &row_sentence));
        Self { model, pool: pool.clone(), sentences: rows.memory.clone(), row_sentence, rows }
    }

    /// Each row's copy of its sentence's annotations and keys.
    fn memory_of_rows(&self, g: &mut Graph<'_>) -> Memory {
        let cu = &self.sentences.cu_keys;
        let tokens: Vec<u32> = self.row_sentence.iter().flat_map(|&s| cu[s as usize]..cu[s as usize + 1]).collect();
        Memory {
            keys: g.gather_rows(&self.sentences.keys, &tokens),
            values: g.gather_rows(&self.sentences.values, &tokens),
            cu_keys: cumulative(cu, &self.row_sentence),
        }
    }
}

impl StepDecoder for RecurrentDecoder<'_> {
    fn vocab_size(&self) -> usize {
        self.model.config.vocab_size
    }

    fn step(&mut self, tokens: &[u32], logits: &mut [f32]) {
        assert_eq!(tokens.len(), self.row_sentence.len(), "RecurrentDecoder::step: one token per row");
        within(|| {
            let mut g = Graph::infer(&self.model.params, &self.pool);
            let one_step = Arc::new(TimeSteps::new(&[tokens.len() as u32]));
            let decoded = self.model.decode(&mut g, &self.rows, tokens, &[].into(), &one_step);
            logits.copy_from_slice(self.model.project(&mut g, &decoded.hidden).values());
            self.rows.states = decoded.states;
        });
    }

    fn reorder(&mut self, parents: &[usize]) {
        let mut g = Graph::infer(&self.model.params, &self.pool);
        let rows: Vec<u32> = parents.iter().map(|&parent| parent as u32).collect();
        let states: Vec<Tensor> = self.rows.states.iter().map(|state| g.gather_rows(state, &rows)).collect();
        self.rows.states = states;
        let row_sentence: Vec<u32> = parents.iter().map(|&parent| self.row_sentence[parent]).collect();
        if row_sentence != self.row_sentence {
            self.row_sentence = row_sentence;
            self.rows.memory = self.memory_of_rows(&mut g);
        }
    }
}
