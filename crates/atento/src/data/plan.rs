//! The plan of a window: which pairs go into which batch, and in which order.

use std::ops::Range;

use atento_kernels::philox::Rng;

use super::batches::{BatchOptions, Order, PackedBatch, Pair};

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
        PackedBatch::new(self.order[self.batches[index].clone()].iter().map(|&at| &pairs[at]), start_id)
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
    let mut keyed: Vec<(usize, usize, usize)> =
        order.iter().map(|&at| (blurred(pairs[at].target.len()), blurred(pairs[at].source.len()), at)).collect();
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
        let full = source + a > options.max_tokens || target + b > options.max_tokens || end - start == max_sentences;
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
        let pair =
            |(id, &(a, b)): (usize, &(usize, usize))| Pair { id: id as u64, source: vec![7; a], target: vec![9; b] };
        lengths.iter().enumerate().map(pair).collect()
    }

    #[test]
    fn bucketed_batches_hold_like_lengths_and_differ_by_epoch_and_window() {
        let lengths: Vec<(usize, usize)> = (0..4000).map(|i| (5 + i * 7 % 40, 5 + i * 11 % 40)).collect();
        let pairs = pairs(&lengths);
        let options = BatchOptions { max_tokens: 500, ..BatchOptions::default() };
        let plan = Plan::new(&pairs, &options, 0, 0);
        for batch in &plan.batches {
            let targets = plan.order[batch.clone()].iter().map(|&at| pairs[at].target.len());
            let (least, most) = (targets.clone().min().unwrap(), targets.max().unwrap());
            assert!(most - least <= 2 + most / 4, "{least}..{most}");
        }
        assert_ne!(plan, Plan::new(&pairs, &options, 1, 0));
        assert_ne!(plan, Plan::new(&pairs, &options, 0, 1));
        assert_ne!(plan, Plan::new(&pairs, &BatchOptions { seed: 1, ..options.clone() }, 0, 0));
        assert_eq!(plan, Plan::new(&pairs, &options, 0, 0));
    }

    #[test]
    fn as_written_keeps_the_order_of_the_file() {
        let pairs = pairs(&[(3, 4), (9, 2), (1, 1), (5, 5)]);
        let options = BatchOptions { max_tokens: 10, order: Order::AsWritten, ..BatchOptions::default() };
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
