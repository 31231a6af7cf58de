//! Examples in packed batches, epoch by epoch, from a position that can be saved.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use serde::{Deserialize, Serialize};

use super::Example;
use crate::data::tokens::{CausalBatch, Cursor, Error};

/// How examples are dealt out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackOptions {
    /// The most tokens of a batch, over all its sequences.
    pub max_tokens: usize,
    /// The most sequences of a batch.
    pub max_sequences: Option<usize>,
    /// Whether every epoch has an order of its own, which follows from the seed; else it is that of the source.
    pub shuffle: bool,
    /// Seed of the orders.
    pub seed: u64,
    /// How many epochs are dealt out; without a number, for ever.
    pub epochs: Option<u64>,
}

impl Default for PackOptions {
    /// 4,096 tokens, shuffled, without end.
    fn default() -> Self {
        PackOptions { max_tokens: 4096, max_sequences: None, shuffle: true, seed: 0, epochs: None }
    }
}

/// An endless (or, with [`PackOptions::epochs`], ending) sequence of batches, each with the cursor that
/// continues after it. Which batch comes at a cursor depends only on the examples, the options and the cursor.
#[derive(Clone, Debug)]
pub struct InstructBatches {
    examples: Arc<Vec<Example>>,
    train_on_prompt: bool,
    options: PackOptions,
    cursor: Cursor,
    /// The order of the examples in the epoch of the cursor, once it was needed.
    order: Option<(u64, Vec<usize>)>,
}

impl InstructBatches {
    pub(super) fn new(examples: Arc<Vec<Example>>, train_on_prompt: bool, options: PackOptions) -> Result<Self, Error> {
        let longest = examples.iter().map(Example::tokens).max().unwrap_or(0);
        if options.max_tokens < longest {
            let problem = format!("the longest example has {longest} tokens and must fit into a batch");
            return Err(Error::option("max_tokens", options.max_tokens, problem));
        }
        if options.max_sequences == Some(0) {
            return Err(Error::option("max_sequences", 0, "a batch needs at least one sequence"));
        }
        Ok(InstructBatches { examples, train_on_prompt, options, cursor: Cursor::default(), order: None })
    }

    /// The position before the next batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues from a cursor, exactly as an uninterrupted sequence would.
    ///
    /// # Errors
    /// [`Error::Cursor`] if there is no such example.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        let length = self.examples.len() as u64;
        if cursor.index >= length {
            return Err(Error::Cursor { cursor, length });
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Batches of the first epoch, counted without packing them.
    pub fn batches_per_epoch(&self) -> u64 {
        let mut counted = self.clone();
        let (mut index, mut batches) = (0, 0);
        while index < self.examples.len() {
            index += counted.next_examples(0, index).len();
            batches += 1;
        }
        batches
    }

    /// The examples of the batch that begins at `index` of an epoch's order.
    fn next_examples(&mut self, epoch: u64, index: usize) -> Vec<usize> {
        let examples = self.examples.clone();
        let (max_tokens, max_sequences) = (self.options.max_tokens, self.options.max_sequences);
        let mut tokens = 0;
        let fits = |at: &usize| {
            tokens += examples[*at].tokens();
            tokens <= max_tokens
        };
        let rest = self.order(epoch)[index..].iter().copied();
        rest.take(max_sequences.unwrap_or(usize::MAX)).take_while(fits).collect()
    }

    fn order(&mut self, epoch: u64) -> &[usize] {
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order: Vec<usize> = (0..self.examples.len()).collect();
            if self.options.shuffle {
                Rng::new(self.options.seed, stream(epoch)).shuffle(&mut order);
            }
            self.order = Some((epoch, order));
        }
        self.order.as_ref().map_or(&[], |(_, order)| order)
    }
}

impl Iterator for InstructBatches {
    type Item = (CausalBatch, Cursor);

    fn next(&mut self) -> Option<Self::Item> {
        let Cursor { epoch, index } = self.cursor;
        if self.options.epochs.is_some_and(|epochs| epoch >= epochs) {
            return None;
        }
        let (examples, train_on_prompt) = (self.examples.clone(), self.train_on_prompt);
        let taken = self.next_examples(epoch, index as usize);
        let batch = CausalBatch::pack(taken.into_iter().map(|at| examples[at].window(train_on_prompt)));
        let index = index + batch.sequences() as u64;
        self.cursor = match index < examples.len() as u64 {
            true => Cursor { epoch, index },
            false => Cursor { epoch: epoch + 1, index: 0 },
        };
        Some((batch, self.cursor))
    }
}

/// The generator's stream for an epoch; the tag in the top bits keeps it apart from other uses of the seed.
fn stream(epoch: u64) -> u64 {
    const TAG: u64 = 0x494E;
    TAG << 48 | epoch & 0xFFFF_FFFF_FFFF
}
