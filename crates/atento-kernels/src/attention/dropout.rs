//! Dropout of attention weights, from a counter instead of a stored mask.

use crate::philox;

/// Dropout of attention weights.
///
/// Whether a weight is dropped is a function of seed, stream, head, query row (counted on from
/// `first_row`) and key position in the segment, so the backward pass makes the same mask again. A Philox block
/// serves eight keys with 16 bits each: the probability is rounded to a multiple of 2⁻¹⁶, and the
/// factor of the weights that stay is the inverse of exactly what is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a weight is dropped, 0 ≤ p < 1.
    pub probability: f32,
    /// Key of the generator.
    pub seed: u64,
    /// Which of the seed's sequences; a different one for every layer and step.
    pub stream: u64,
    /// The number of the buffer's first query row, where other rows share the mask.
    pub first_row: u64,
}

impl Dropout {
    pub(super) const KEYS_PER_BLOCK: usize = 8;

    /// Draws of 16 bits below this are dropped.
    #[inline(always)]
    pub(super) fn threshold(&self) -> u32 {
        ((self.probability * 65_536.0).round() as u32).min(65_535)
    }

    #[inline(always)]
    pub(super) fn kept_factor(&self) -> f32 {
        65_536.0 / (65_536 - self.threshold()) as f32
    }

    /// The block of random numbers for `key` and the seven after it. Consecutive query rows have
    /// consecutive blocks.
    #[inline(always)]
    pub(super) fn block(&self, head: usize, query_row: usize, key: usize) -> u64 {
        let keys = (key / Self::KEYS_PER_BLOCK) as u64;
        ((head as u64) << 52 | keys << 32).wrapping_add(self.first_row.wrapping_add(query_row as u64))
    }

    /// The factor of one weight: 0 if dropped, else 1 / (1 − p).
    pub fn factor(&self, head: usize, query_row: usize, key: usize) -> f32 {
        let counter = philox::counter(self.block(head, query_row, key), self.stream);
        let words = philox::block(philox::key(self.seed), counter);
        let draw = words[key % 4] >> (key / 4 % 2 * 16) & 0xFFFF;
        if draw >= self.threshold() { self.kept_factor() } else { 0.0 }
    }
}
