//! A random order of `0..n` that takes no memory: a Feistel network over the smallest even number of bits
//! that holds `n`, applied again while the result is not below `n` (Black and Rogaway, "Ciphers with
//! arbitrary finite domains", 2002). Its round function is Philox.

use atento_kernels::philox;

const ROUNDS: u32 = 6;

/// A permutation of `0..len`.
#[derive(Clone, Copy, Debug)]
pub(in crate::data) struct Permutation {
    seed: u64,
    stream: u64,
    len: u64,
    half_bits: u32,
}

impl Permutation {
    /// The permutation depends on nothing but its arguments.
    pub(in crate::data) fn new(seed: u64, stream: u64, len: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Permutation { seed, stream, len, half_bits: bits.div_ceil(2).max(1) }
    }

    /// What stands at a position, in O(1): four rounds of the network on average, at most.
    ///
    /// # Panics
    /// If the position is not below `len`.
    pub(in crate::data) fn at(&self, position: u64) -> u64 {
        assert!(position < self.len, "Permutation::at: position {position} of {}", self.len);
        let mut value = self.encrypt(position);
        while value >= self.len {
            value = self.encrypt(value);
        }
        value
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let counter = philox::counter(u64::from(round) << 32 | right, self.stream);
            let bits = u64::from(philox::block(philox::key(self.seed), counter)[0]);
            (left, right) = (right, left ^ (bits & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_orders_differ() {
        for len in (1..70).chain([255, 256, 257, 1000, 5000]) {
            let order = |seed, stream| -> Vec<u64> {
                let permutation = Permutation::new(seed, stream, len);
                (0..len).map(|at| permutation.at(at)).collect()
            };
            let mut all = order(3, 1);
            if len > 20 {
                assert_ne!(all, order(3, 2));
                assert_ne!(all, order(4, 1));
                assert_ne!(all, (0..len).collect::<Vec<_>>());
            }
            all.sort_unstable();
            assert_eq!(all, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_is_not_near_the_old_one() {
        let len = 10_000;
        let permutation = Permutation::new(1, 1, len);
        let displacement: u64 = (0..len).map(|at| permutation.at(at).abs_diff(at)).sum();
        // A random permutation moves a number by a third of the length, on average.
        assert!((0.32..0.35).contains(&(displacement as f64 / (len * len) as f64)));
    }
}
