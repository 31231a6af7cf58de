//! The best few entries of a log-softmax, without writing the log-softmax.
//!
//! log p_i = (x_i − m) − ln Σ_j exp(x_j − m), with m = max_j x_j.
//!
//! One pass over the row in blocks that stay in the first-level cache: a block's maximum, its contribution to the sum
//! (rescaled by exp(m_old − m_new) where the maximum grows: Milakov and Gimelshein 2018, "Online normalizer
//! calculation for softmax"), and, only where its maximum beats the k-th best so far, its entries one by one. After
//! the first blocks that is rare, so the cost is that of the exponentials.
//!
//! Numerics: f32, see [`atento_kernels::exp_sum`]. Deterministic, whatever the number of threads. PyTorch leaves the
//! order of exactly equal entries open; here the lower id comes first.

use atento_kernels::exp_sum::{exp_sum, max as maximum};

/// Logits per block: 1 KiB, few enough that a block is seldom searched in vain.
pub(super) const BLOCK: usize = 256;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its natural log-probability.
    pub logprob: f32,
    /// Its id.
    pub token: u32,
}

/// What turns a row's logits into log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Normalizer {
    max: f32,
    log_sum: f32,
}

impl Normalizer {
    /// ln p of a token with this logit.
    pub(super) fn logprob(self, logit: f32) -> f32 {
        (logit - self.max) - self.log_sum
    }
}

/// The `k` likeliest tokens that are not in `banned`, best first, the lower id first where equal. Banned tokens keep
/// their share of the probability. Tokens with a logit of −∞ are never returned, so there may be fewer than `k`.
///
/// `None` if a logit is NaN or +∞ or all are −∞.
///
/// # Shapes
/// - `logits`: `[vocab_size]`
pub fn top_k_log_softmax(logits: &[f32], k: usize, banned: &[u32]) -> Option<Vec<Candidate>> {
    let mut candidates = Vec::with_capacity(k.min(logits.len()) + 1);
    top_k_into(logits, k, banned, &mut candidates).map(|_| candidates)
}

/// [`top_k_log_softmax`] into a list that is kept from row to row, and what else the row is normalised by.
///
/// # Shapes
/// - `logits`: `[vocab_size]`
pub(super) fn top_k_into(
    logits: &[f32],
    k: usize,
    banned: &[u32],
    candidates: &mut Vec<Candidate>,
) -> Option<Normalizer> {
    candidates.clear();
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
    let mut best = Best { k: k.min(logits.len()), entries: candidates };
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let block_max = maximum(block);
        if block_max > max {
            sum *= (max - block_max).exp();
            max = block_max;
        }
        if max > f32::NEG_INFINITY {
            sum += exp_sum(block, max);
        } else if block.iter().any(|logit| logit.is_nan()) {
            return None;
        }
        if block_max > best.threshold() {
            best.offer(block, index * BLOCK, banned);
        }
    }
    let normalizer = Normalizer { max, log_sum: sum.ln() };
    for candidate in candidates {
        candidate.logprob = normalizer.logprob(candidate.logprob);
    }
    (max.is_finite() && sum.is_finite()).then_some(normalizer)
}

/// The `k` largest logits seen so far, largest first, each in its candidate's `logprob`.
struct Best<'c> {
    k: usize,
    entries: &'c mut Vec<Candidate>,
}

impl Best<'_> {
    /// What a logit must exceed to get in. A later position never displaces an equal earlier one.
    fn threshold(&self) -> f32 {
        match self.k.checked_sub(1) {
            Some(last) => self.entries.get(last).map_or(f32::NEG_INFINITY, |entry| entry.logprob),
            None => f32::INFINITY,
        }
    }

    fn offer(&mut self, block: &[f32], offset: usize, banned: &[u32]) {
        let mut threshold = self.threshold();
        for (i, &logit) in block.iter().enumerate() {
            let token = (offset + i) as u32;
            if logit > threshold && !banned.contains(&token) {
                let place = self.entries.partition_point(|entry| entry.logprob >= logit);
                self.entries.insert(place, Candidate { logprob: logit, token });
                self.entries.truncate(self.k);
                threshold = self.threshold();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sorts the whole row, in f64.
    fn reference(logits: &[f32], k: usize, banned: &[u32]) -> Vec<(f64, u32)> {
        let max = logits.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b as f64));
        let log_sum = logits.iter().map(|&x| (x as f64 - max).exp()).sum::<f64>().ln();
        let mut all: Vec<(f64, u32)> = (0..).zip(logits).map(|(i, &x)| (x as f64 - max - log_sum, i)).collect();
        all.retain(|(logprob, token)| logprob.is_finite() && !banned.contains(token));
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn the_best_candidates_are_those_of_a_full_sort(
            logits in prop::collection::vec(prop_oneof![9 => -30.0f32..30.0, 1 => Just(2.5), 1 => Just(f32::NEG_INFINITY)], 1..900),
            k in 0usize..20,
            banned in prop::collection::vec(0u32..900, 0..10),
        ) {
            prop_assume!(logits.iter().any(|logit| logit.is_finite()));
            let candidates = top_k_log_softmax(&logits, k, &banned).unwrap();
            let expected = reference(&logits, k, &banned);
            prop_assert_eq!(candidates.len(), expected.len());
            for (candidate, (logprob, token)) in candidates.iter().zip(expected) {
                prop_assert_eq!(candidate.token, token);
                prop_assert!((candidate.logprob as f64 - logprob).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn equal_logits_come_in_the_order_of_their_ids() {
        let tokens: Vec<u32> = top_k_log_softmax(&[1.0; 700], 4, &[1]).unwrap().iter().map(|c| c.token).collect();
        assert_eq!(tokens, [0, 2, 3, 4]);
    }

    #[test]
    fn a_row_that_is_no_distribution_has_no_candidates() {
        let with = |position: usize, value: f32| {
            let mut logits = [0.5; 600];
            logits[position] = value;
            top_k_log_softmax(&logits, 3, &[])
        };
        assert_eq!(with(0, f32::NAN), None);
        assert_eq!(with(599, f32::NAN), None);
        assert_eq!(with(300, f32::INFINITY), None);
        assert_eq!(top_k_log_softmax(&[f32::NEG_INFINITY; 5], 3, &[]), None);
        assert_eq!(top_k_log_softmax(&[f32::NEG_INFINITY, f32::NAN], 3, &[]), None);
        assert_eq!(top_k_log_softmax(&[], 3, &[]), None);
        assert!(with(300, f32::NEG_INFINITY).is_some());
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let candidates = top_k_log_softmax(&[1e30, -1e30, 1e30], 2, &[]).unwrap();
        assert_eq!(candidates.iter().map(|c| c.token).collect::<Vec<_>>(), [0, 2]);
        assert!((candidates[0].logprob + 2f32.ln()).abs() < 1e-6);
    }
}
