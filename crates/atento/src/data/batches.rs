//! Packed batches and the options they are made with.
//!
//! A batch has no padding: the sequences lie one after the other, and a table of cumulative lengths
//! says where each begins. Its size is limited by a budget of real tokens.

use serde::{Deserialize, Serialize};

use super::Error;

/// One tokenised pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The line it comes from, from 0.
    pub id: u64,
    /// Source ids, ending with the end token.
    pub source: Vec<u32>,
    /// Target ids, ending with the end token.
    pub target: Vec<u32>,
}

/// A batch of `n` pairs without padding.
///
/// # Shapes
/// - `ids`: `[n]`
/// - `source`: `[source_tokens]`, `cu_source`: `[n + 1]`
/// - `target_input`, `target_output`: `[target_tokens]`, `cu_target`: `[n + 1]`
///
/// Sequence `i` is `source[cu_source[i]..cu_source[i + 1]]`, the same for the target. Position `t` of
/// `target_input` is what the decoder sees when it has to predict position `t` of `target_output`: the
/// start token, then the target without its last token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedBatch {
    /// The line of each pair, from 0.
    pub ids: Vec<u64>,
    /// All source ids.
    pub source: Vec<u32>,
    /// Where each source sequence begins, and the total.
    pub cu_source: Vec<u32>,
    /// What the decoder reads.
    pub target_input: Vec<u32>,
    /// What it should answer.
    pub target_output: Vec<u32>,
    /// Where each target sequence begins, and the total.
    pub cu_target: Vec<u32>,
}

impl PackedBatch {
    /// Packs pairs; `start_id` is what the decoder sees first.
    ///
    /// # Panics
    /// If there are no pairs, or one has an empty side: neither leaves the encoder of a data set.
    pub fn new<'a>(pairs: impl IntoIterator<Item = &'a Pair>, start_id: u32) -> Self {
        let mut batch = PackedBatch { cu_source: vec![0], cu_target: vec![0], ..PackedBatch::default() };
        for pair in pairs {
            let Pair { id, source, target } = pair;
            let (a, b) = (source.len(), target.len());
            assert!(
                a > 0 && b > 0,
                "PackedBatch::new: pair {id} has {a} source and {b} target tokens, both must be > 0"
            );
            batch.ids.push(*id);
            batch.source.extend(source);
            batch.cu_source.push(batch.source.len() as u32);
            batch.target_input.push(start_id);
            batch.target_input.extend(&target[..b - 1]);
            batch.target_output.extend(target);
            batch.cu_target.push(batch.target_output.len() as u32);
        }
        assert!(!batch.ids.is_empty(), "PackedBatch::new: no pairs, a batch must have at least one");
        batch
    }

    /// Number of pairs.
    pub fn sentences(&self) -> usize {
        self.ids.len()
    }

    /// Number of source tokens, end tokens included.
    pub fn source_tokens(&self) -> usize {
        self.source.len()
    }

    /// Number of target tokens, end tokens included: the number of predictions.
    pub fn target_tokens(&self) -> usize {
        self.target_output.len()
    }
}

/// In which order pairs are dealt out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Random, but pairs of like length share a batch.
    #[default]
    Bucketed,
    /// Random.
    Shuffled,
    /// As in the file, for validation.
    AsWritten,
}

/// How batches are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// The most source tokens and the most target tokens of a batch, each.
    pub max_tokens: usize,
    /// The most pairs of a batch.
    pub max_sentences: Option<usize>,
    /// In which order pairs are dealt out.
    pub order: Order,
    /// Seed of that order.
    pub seed: u64,
    /// What the decoder sees first; for Marian the padding id.
    pub start_id: u32,
    /// How many times the data is dealt out; without a number, for ever.
    pub epochs: Option<u64>,
}

impl Default for BatchOptions {
    /// 4,096 tokens of like lengths, in random order without end; the decoder starts with token 0.
    fn default() -> Self {
        BatchOptions {
            max_tokens: 4096,
            max_sentences: None,
            order: Order::Bucketed,
            seed: 0,
            start_id: 0,
            epochs: None,
        }
    }
}

impl BatchOptions {
    /// Checks the options against the longest sequence they have to hold.
    pub(super) fn check(&self, longest: usize) -> Result<(), Error> {
        if self.max_tokens < longest {
            let problem = format!("the longest sentence has {longest} tokens and must fit into a batch");
            return Err(Error::Option { key: "max_tokens", value: self.max_tokens.to_string(), problem });
        }
        if self.max_sentences == Some(0) {
            let problem = "a batch needs at least one sentence".into();
            return Err(Error::Option { key: "max_sentences", value: "0".into(), problem });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoder_reads_the_target_shifted_by_the_start_token() {
        let a = Pair { id: 3, source: vec![5, 1], target: vec![6, 7, 1] };
        let b = Pair { id: 8, source: vec![4, 4, 1], target: vec![1] };
        let batch = PackedBatch::new([&a, &b], 0);
        assert_eq!(batch.ids, [3, 8]);
        assert_eq!((batch.source.as_slice(), batch.cu_source.as_slice()), (&[5, 1, 4, 4, 1][..], &[0, 2, 5][..]));
        assert_eq!(batch.target_input, [0, 6, 7, 0]);
        assert_eq!(batch.target_output, [6, 7, 1, 1]);
        assert_eq!(batch.cu_target, [0, 3, 4]);
        assert_eq!((batch.sentences(), batch.source_tokens(), batch.target_tokens()), (2, 5, 4));
    }

    #[test]
    #[should_panic(expected = "pair 5 has 0 source and 1 target tokens")]
    fn an_empty_sequence_is_never_packed() {
        PackedBatch::new([&Pair { id: 5, source: vec![], target: vec![1] }], 0);
    }

    #[test]
    fn a_budget_below_the_longest_sentence_is_refused() {
        let options = BatchOptions { max_tokens: 9, ..BatchOptions::default() };
        assert!(options.check(9).is_ok());
        let message = options.check(10).unwrap_err().to_string();
        assert_eq!(message, "max_tokens = 9: the longest sentence has 10 tokens and must fit into a batch");
        assert!(BatchOptions { max_sentences: Some(0), ..options }.check(1).is_err());
    }
}
