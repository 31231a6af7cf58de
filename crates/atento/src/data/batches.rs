//! Packed batches, and the plan that says which pairs go into which batch.
//!
//! A batch has no padding: the sequences lie one after the other, and a table of cumulative lengths
//! says where each begins. Its size is limited by a budget of real tokens.

use std::ops::Range;

use atento_kernels::philox::Rng;
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
        let mut batch = PackedBatch {
            cu_source: vec![0],
            cu_target: vec![0],
            ..PackedBatch::default()
        };
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
        assert!(
            !batch.ids.is_empty(),
            "PackedBatch::new: no pairs, a batch must have at least one"
        );
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
            let problem =
                format!("the longest sentence has {longest} tokens and must fit into a batch");
            return Err(Error::Option {
                key: "max_tokens",
                value: self.max_tokens.to_string(),
                problem,
            });
        }
        if self.max_sentences == Some(0) {
            let problem = "a batch needs at least one sentence".into();
            return Err(Error::Option {
                key: "max_sentences",
                value: "0".into(),
                problem,
            });
        }
        Ok(())
    }
}

/// Which pairs of a window go into which batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Positions in the window, in the order of use.
    order: Vec<usize>,
    /// Each batch, as a range of `order`; in the order of use.
    batches: Vec<Range<usize>>,
}

impl Plan {
    /// The plan depends on nothing but its arguments.
    pub(super) fn new(pairs: &[Pair], options: &BatchOptions, epoch: u64, window: u64) -> Self {
        let mut rng = Rng::new(options.seed, stream(epoch, window));
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        if options.order != Order::AsWritten {
            rng.shuffle(&mut order);
        }
        if options.order == Order::Bucketed {
            sort_by_length(&mut order, pairs, &mut rng);
        }
        let mut batches = cut(&order, pairs, options);
        if options.order == Order::Bucketed {
            rng.shuffle(&mut batches);
        }
        Plan { order, batches }
    }

    /// Number of batches.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Packs batch `index`.
    pub(super) fn pack(&self, index: usize, pairs: &[Pair], start_id: u32) -> PackedBatch {
        PackedBatch::new(
            self.order[self.batches[index].clone()]
                .iter()
                .map(|&at| &pairs[at]),
            start_id,
        )
    }
}

/// The generator's stream for a window of an epoch. The tag in the top bits keeps it apart from the
/// streams of masks and initial weights under the same seed.
fn stream(epoch: u64, window: u64) -> u64 {
    const TAG: u64 = 0x5348;
    TAG << 48 | (epoch & 0xFF_FFFF) << 24 | (window & 0xFF_FFFF)
}

/// Sorts by (target, source) length. Each length first grows by a random amount of up to an eighth
/// and one, so that the company a pair is in changes from epoch to epoch.
fn sort_by_length(order: &mut [usize], pairs: &[Pair], rng: &mut Rng) {
    let mut blurred = |length: usize| length + rng.below(2 + length / 8);
    let mut keyed: Vec<(usize, usize, usize)> = order
        .iter()
        .map(|&at| {
            (
                blurred(pairs[at].target.len()),
                blurred(pairs[at].source.len()),
                at,
            )
        })
        .collect();
    keyed.sort_by_key(|&(target, source, _)| (target, source));
    for (at, (_, _, sorted)) in order.iter_mut().zip(keyed) {
        *at = sorted;
    }
}

/// Cuts the order into batches, each as full as the budget allows.
fn cut(order: &[usize], pairs: &[Pair], options: &BatchOptions) -> Vec<Range<usize>> {
    let max_sentences = options.max_sentences.unwrap_or(usize::MAX);
    let mut batches = Vec::new();
    let (mut start, mut source, mut target) = (0, 0, 0);
    for (end, &at) in order.iter().enumerate() {
        let (a, b) = (pairs[at].source.len(), pairs[at].target.len());
        let full = source + a > options.max_tokens
            || target + b > options.max_tokens
            || end - start == max_sentences;
        if full && end > start {
            batches.push(start..end);
            (start, source, target) = (end, 0, 0);
        }
        source += a;
        target += b;
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(lengths: &[(usize, usize)]) -> Vec<Pair> {
        let pair = |(id, &(a, b)): (usize, &(usize, usize))| Pair {
            id: id as u64,
            source: vec![7; a],
            target: vec![9; b],
        };
        lengths.iter().enumerate().map(pair).collect()
    }

    #[test]
    fn the_decoder_reads_the_target_shifted_by_the_start_token() {
        let a = Pair {
            id: 3,
            source: vec![5, 1],
            target: vec![6, 7, 1],
        };
        let b = Pair {
            id: 8,
            source: vec![4, 4, 1],
            target: vec![1],
        };
        let batch = PackedBatch::new([&a, &b], 0);
        assert_eq!(batch.ids, [3, 8]);
        assert_eq!(
            (batch.source.as_slice(), batch.cu_source.as_slice()),
            (&[5, 1, 4, 4, 1][..], &[0, 2, 5][..])
        );
        assert_eq!(batch.target_input, [0, 6, 7, 0]);
        assert_eq!(batch.target_output, [6, 7, 1, 1]);
        assert_eq!(batch.cu_target, [0, 3, 4]);
        assert_eq!(
            (
                batch.sentences(),
                batch.source_tokens(),
                batch.target_tokens()
            ),
            (2, 5, 4)
        );
    }

    #[test]
    #[should_panic(expected = "pair 5 has 0 source and 1 target tokens")]
    fn an_empty_sequence_is_never_packed() {
        PackedBatch::new(
            [&Pair {
                id: 5,
                source: vec![],
                target: vec![1],
            }],
            0,
        );
    }

    #[test]
    fn a_budget_below_the_longest_sentence_is_refused() {
        let options = BatchOptions {
            max_tokens: 9,
            ..BatchOptions::default()
        };
        assert!(options.check(9).is_ok());
        let message = options.check(10).unwrap_err().to_string();
        assert_eq!(
            message,
            "max_tokens = 9: the longest sentence has 10 tokens and must fit into a batch"
        );
        assert!(
            BatchOptions {
                max_sentences: Some(0),
                ..options
            }
            .check(1)
            .is_err()
        );
    }

    #[test]
    fn bucketed_batches_hold_like_lengths_and_differ_by_epoch_and_window() {
        let lengths: Vec<(usize, usize)> = (0..4000)
            .map(|i| (5 + i * 7 % 40, 5 + i * 11 % 40))
            .collect();
        let pairs = pairs(&lengths);
        let options = BatchOptions {
            max_tokens: 500,
            ..BatchOptions::default()
        };
        let plan = Plan::new(&pairs, &options, 0, 0);
        for batch in &plan.batches {
            let targets = plan.order[batch.clone()]
                .iter()
                .map(|&at| pairs[at].target.len());
            let (least, most) = (targets.clone().min().unwrap(), targets.max().unwrap());
            assert!(most - least <= 2 + most / 4, "{least}..{most}");
        }
        assert_ne!(plan, Plan::new(&pairs, &options, 1, 0));
        assert_ne!(plan, Plan::new(&pairs, &options, 0, 1));
        assert_ne!(
            plan,
            Plan::new(
                &pairs,
                &BatchOptions {
                    seed: 1,
                    ..options.clone()
                },
                0,
                0
            )
        );
        assert_eq!(plan, Plan::new(&pairs, &options, 0, 0));
    }

    #[test]
    fn as_written_keeps_the_order_of_the_file() {
        let pairs = pairs(&[(3, 4), (9, 2), (1, 1), (5, 5)]);
        let options = BatchOptions {
            max_tokens: 10,
            order: Order::AsWritten,
            ..BatchOptions::default()
        };
        let plan = Plan::new(&pairs, &options, 4, 2);
        assert_eq!(plan.order, [0, 1, 2, 3]);
        assert_eq!(plan.batches, [0..1, 1..3, 3..4]);
    }

    proptest! {
        #[test]
        fn every_pair_is_in_exactly_one_batch_within_the_budget(
            lengths in proptest::collection::vec((1usize..30, 1usize..30), 0..200),
            max_tokens in 30usize..100,
            max_sentences in proptest::option::of(1usize..8),
            order in prop_oneof![Just(Order::Bucketed), Just(Order::Shuffled), Just(Order::AsWritten)],
            seed: u64,
        ) {
            let pairs = pairs(&lengths);
            let options = BatchOptions { max_tokens, max_sentences, order, seed, ..BatchOptions::default() };
            let plan = Plan::new(&pairs, &options, 1, 0);
            let mut ids = Vec::new();
            for index in 0..plan.len() {
                let batch = plan.pack(index, &pairs, 0);
                prop_assert!(batch.source_tokens() <= max_tokens && batch.target_tokens() <= max_tokens);
                prop_assert!(batch.sentences() <= max_sentences.unwrap_or(usize::MAX));
                ids.extend(batch.ids);
            }
            ids.sort_unstable();
            prop_assert_eq!(ids, (0..lengths.len() as u64).collect::<Vec<_>>());
        }
    }
}
