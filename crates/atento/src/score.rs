//! How probable a model finds given translations, token by token.
//!
//! Teacher forcing: position t of the target is predicted from the source and the target's tokens before t. With
//! logits x, log p_t = x_t − log Σ exp x over the whole vocabulary, in f32; sums over tokens are f64.
//! A pair's numbers do not depend on the pairs beside it but for the rounding of matrix products.

pub mod causal;
pub mod completions;
pub mod perplexity;

use std::fmt;

use atento_kernels::cross_entropy;
use atento_tensor::{Graph, Pool};
use rayon::prelude::*;

use crate::data::batches::{PackedBatch, Pair};
use crate::models::Translator;
use crate::text::{self, Tokenizer};

/// Logits held at once, in numbers; a batch has at least one pair.
const BATCH_LOGITS: usize = 1 << 24;
/// Tokens of one side of a batch.
const BATCH_TOKENS: usize = 4096;
/// Logits copied at once to be reduced.
const CHUNK_LOGITS: usize = 1 << 20;

/// The log-probabilities of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The target's tokens, its end token included.
    pub ids: Vec<u32>,
    /// Natural log-probability of each token of `ids`.
    pub logprobs: Vec<f32>,
}

impl Score {
    /// Natural log-probability of the whole target.
    #[must_use]
    pub fn sum_logprob(&self) -> f64 {
        self.logprobs.iter().map(|&logprob| f64::from(logprob)).sum()
    }

    /// `exp(−mean log-probability of a token)`.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        (-self.sum_logprob() / self.ids.len() as f64).exp()
    }
}

/// That a model's answer is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the logits hold NaN or infinities: the model's weights are damaged or its activations overflow")]
pub struct NonFinite;

/// What can be wrong with a pair.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first pair that the model cannot represent.
    #[error("pair {line}: the {side} {fault}")]
    Pair {
        /// Which pair, counted from 1.
        line: usize,
        /// The side that is wrong.
        side: Side,
        /// What is wrong with that side.
        fault: Fault,
    },
    /// Nothing to make a batch of.
    #[error("there are no pairs: give at least one")]
    NoPairs,
    /// The decoder's first token has no row in the embedding table.
    #[error(
        "the decoder's start token is {id}, but the model's table has {vocab_size} rows: take the one that the model's \
         settings name"
    )]
    StartId {
        /// The id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
}

/// A side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is translated.
    Source,
    /// Its translation.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// Why the model cannot represent a sentence.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The tokenizer failed.
    #[error("cannot be tokenized: {0}")]
    Text(#[from] text::Error),
    /// There is nothing in it, and the tokenizer adds nothing.
    #[error("has no tokens, and the tokenizer adds none")]
    Empty,
    /// It does not fit the position table.
    #[error("has {tokens} tokens; the model has positions for {limit}: split the sentence")]
    TooLong {
        /// Its tokens, the end token included.
        tokens: usize,
        /// The model's positions.
        limit: usize,
    },
    /// A token id has no row in the embedding table.
    #[error("has token id {id}, but the model's table has {vocab_size} rows: the tokenizer belongs to another model")]
    UnknownId {
        /// The id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
}

impl Fault {
    /// Whether a model of this vocabulary and these positions can represent a sentence.
    pub(crate) fn check(ids: &[u32], vocab_size: usize, positions: Option<usize>) -> Result<(), Fault> {
        match ids {
            [] => Err(Fault::Empty),
            _ => Fault::check_fit(ids, vocab_size, positions),
        }
    }

    /// The same for a sentence that may be empty.
    pub(crate) fn check_fit(ids: &[u32], vocab_size: usize, positions: Option<usize>) -> Result<(), Fault> {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Fault::UnknownId { id, vocab_size });
        }
        match positions {
            Some(limit) if ids.len() > limit => Err(Fault::TooLong { tokens: ids.len(), limit }),
            _ => Ok(()),
        }
    }
}

/// The tokens of one side of a pair, checked against the model.
///
/// # Errors
/// A side that is empty, too long, or tokenised for another model.
pub fn encode_side(model: &dyn Translator, tokenizer: &Tokenizer, side: Side, text: &str) -> Result<Vec<u32>, Fault> {
    let ids = match side {
        Side::Source => tokenizer.encode_source(text)?,
        Side::Target => tokenizer.encode_target(text)?,
    };
    Fault::check(&ids, model.vocab_size(), model.max_positions())?;
    Ok(ids)
}

/// Scores the targets of `(source, target)` pairs; `start_id` is the decoder's first token. The scores are in the
/// order of the pairs.
///
/// # Errors
/// A pair that is too long, empty, or tokenised for another model, or a start token that is; nothing is scored then.
pub fn score_pairs<S: AsRef<str> + Sync>(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    pairs: &[(S, S)],
    start_id: u32,
) -> Result<Vec<Score>, Error> {
    let vocab_size = model.vocab_size();
    if start_id as usize >= vocab_size {
        return Err(Error::StartId { id: start_id, vocab_size });
    }
    Ok(score_ids(model, &encode_pairs(model, tokenizer, pairs)?, start_id))
}

/// The tokens of pairs, checked against the model.
pub(crate) fn encode_pairs<S: AsRef<str> + Sync>(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    pairs: &[(S, S)],
) -> Result<Vec<Pair>, Error> {
    let encode = |(id, (source, target)): (usize, &(S, S))| -> Result<Pair, Error> {
        let encode = |side, text: &S| {
            let ids = encode_side(model, tokenizer, side, text.as_ref());
            ids.map_err(|fault| Error::Pair { line: id + 1, side, fault })
        };
        Ok(Pair { id: id as u64, source: encode(Side::Source, source)?, target: encode(Side::Target, target)? })
    };
    let pairs: Vec<Result<Pair, Error>> = pairs.par_iter().enumerate().map(encode).collect();
    // In order, so that the first that is wrong is named.
    pairs.into_iter().collect()
}

/// Scores tokenised pairs, both sides ending with the end token, in the order given.
///
/// # Panics
/// If a side is empty or longer than the model's positions, or an id is not below its vocabulary; [`encode_side`] refuses
/// such.
#[must_use]
pub fn score_ids(model: &dyn Translator, pairs: &[Pair], start_id: u32) -> Vec<Score> {
    let length = |pair: &Pair| pair.source.len().max(pair.target.len());
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    // Like lengths together, the longest first: a batch is as wide as its first pair.
    order.sort_by_key(|&i| std::cmp::Reverse(length(&pairs[i])));
    let budget = (BATCH_LOGITS / model.vocab_size()).clamp(1, BATCH_TOKENS);
    let pool = Pool::new();
    let mut scores = vec![Score { ids: Vec::new(), logprobs: Vec::new() }; pairs.len()];
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let n = (budget / length(&pairs[longest]).max(1)).clamp(1, rest.len());
        let (batch, later) = rest.split_at(n);
        let found = score_batch(model, &pool, batch.iter().map(|&i| &pairs[i]), start_id);
        for (&i, score) in batch.iter().zip(found) {
            scores[i] = score;
        }
        rest = later;
    }
    scores
}

fn score_batch<'a>(
    model: &dyn Translator,
    pool: &Pool,
    pairs: impl Iterator<Item = &'a Pair> + Clone,
    start_id: u32,
) -> Vec<Score> {
    let batch = PackedBatch::new(pairs.clone(), start_id);
    let mut g = Graph::infer(model.params(), pool);
    let logits = model.logits(&mut g, &batch);
    let [tokens, vocab_size] = logits.dims();
    assert_eq!(tokens, batch.target_tokens(), "score: rows of logits against target tokens");
    let mut logprobs = target_logprobs(logits.values(), &batch.target_output, vocab_size).into_iter();
    let score =
        |pair: &Pair| Score { ids: pair.target.clone(), logprobs: logprobs.by_ref().take(pair.target.len()).collect() };
    pairs.map(score).collect()
}

/// The log-softmax of each row at its target.
///
/// # Shapes
/// `logits: [rows, vocab_size]`, `targets: [rows]`; returns `[rows]`.
fn target_logprobs(logits: &[f32], targets: &[u32], vocab_size: usize) -> Vec<f32> {
    let rows = (CHUNK_LOGITS / vocab_size).max(1);
    let (mut losses, mut nll) = (vec![0.0; targets.len()], vec![0.0; targets.len()]);
    let outputs = losses.chunks_mut(rows).zip(nll.chunks_mut(rows));
    for ((logits, targets), (losses, nll)) in logits.chunks(rows * vocab_size).zip(targets.chunks(rows)).zip(outputs) {
        // The kernel may write gradients over its logits, so it wants a copy even where it does not.
        let mut logits = logits.to_vec();
        cross_entropy::forward_backward(&mut logits, targets, 0.0, 1.0, false, losses, nll, None);
    }
    nll.into_iter().map(|nll| -nll).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Transformer, TransformerConfig};
    use crate::text::TrainOptions;

    const PAIRS: [(&str, &str); 4] =
        [("a dog runs", "ein Hund rennt"), ("", ""), ("dogs", "Hunde"), ("a dog and a cat", "ein Hund und eine Katze")];

    fn model() -> (Transformer, Tokenizer) {
        let lines = PAIRS.iter().flat_map(|&(source, target)| [source, target]).map(|text| Ok(text.to_owned()));
        let options = TrainOptions { vocab_size: 320, min_frequency: 1, ..TrainOptions::default() };
        let tokenizer = Tokenizer::train::<text::Error>(lines, &options).unwrap();
        let config = TransformerConfig { max_positions: 24, ..TransformerConfig::tiny(tokenizer.vocab_size()) };
        (Transformer::init(config, 7), tokenizer)
    }

    #[test]
    fn a_pair_scores_the_same_alone_and_among_others() {
        let (model, tokenizer) = model();
        let together = score_pairs(&model, &tokenizer, &PAIRS, 0).unwrap();
        for (pair, score) in PAIRS.iter().zip(&together) {
            let alone = &score_pairs(&model, &tokenizer, &[*pair], 0).unwrap()[0];
            assert_eq!(alone.ids, score.ids);
            assert_eq!(score.ids, tokenizer.encode_ids(pair.1, true).unwrap());
            for (alone, among) in alone.logprobs.iter().zip(&score.logprobs) {
                assert!((alone - among).abs() < 1e-5, "{alone} {among}");
            }
        }
    }

    #[test]
    fn log_probabilities_are_those_of_the_loss() {
        let (model, tokenizer) = model();
        let scores = score_pairs(&model, &tokenizer, &PAIRS, 0).unwrap();
        let pairs: Vec<Pair> = PAIRS
            .iter()
            .enumerate()
            .map(|(id, (source, target))| Pair {
                id: id as u64,
                source: tokenizer.encode_ids(source, true).unwrap(),
                target: tokenizer.encode_ids(target, true).unwrap(),
            })
            .collect();
        let pool = Pool::new();
        let mut g = Graph::infer(model.params(), &pool);
        let expected = model.loss(&mut g, &PackedBatch::new(&pairs, 0), 0.0, 1.0).nll_sum;
        let sum: f64 = scores.iter().map(Score::sum_logprob).sum();
        assert!((sum + expected).abs() < 1e-3, "{sum} {expected}");
        let first = &scores[0];
        assert!((first.perplexity().ln() * first.ids.len() as f64 + first.sum_logprob()).abs() < 1e-9);
    }

    #[test]
    fn rows_are_reduced_alike_however_they_are_cut() {
        let vocab_size = CHUNK_LOGITS / 2 + 1;
        let logits: Vec<f32> = (0..3 * vocab_size).map(|i| (i % 7) as f32).collect();
        let targets = [0, 6, 3];
        let expected: Vec<f32> = targets
            .iter()
            .zip(logits.chunks(vocab_size))
            .map(|(&target, row)| {
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                (f64::from(row[target as usize]) - sum.ln()) as f32
            })
            .collect();
        for (found, expected) in target_logprobs(&logits, &targets, vocab_size).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn a_pair_that_does_not_fit_is_named_with_its_side() {
        let (model, tokenizer) = model();
        let long = "dog ".repeat(40);
        let message = score_pairs(&model, &tokenizer, &[("a", "b"), ("a", &long)], 0).unwrap_err().to_string();
        assert!(message.starts_with("pair 2: the target has "), "{message}");
        assert!(message.ends_with("positions for 24: split the sentence"), "{message}");
    }
}
