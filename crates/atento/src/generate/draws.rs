//! Random numbers of one sample, each a pure function of (seed, sequence, sample, position, purpose).
//!
//! Nothing depends on what else is in the batch, on the order of the work or on the number of threads.

use atento_kernels::philox::{block, counter, key};

/// What a random number decides. Decisions about the same token must not share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The token, from the model's own distribution.
    Token = 0,
    /// The draft model's proposal (speculative decoding).
    Proposal = 1,
    /// Whether the proposal is accepted.
    Acceptance = 2,
    /// The token in place of a rejected proposal.
    Replacement = 3,
}

/// Most samples of a prompt: the sample's number has 28 of the counter's bits.
pub const MOST_SAMPLES: usize = 1 << 28;

/// The random numbers of one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    seed: u64,
    sequence: u64,
    sample: u64,
}

impl Draws {
    pub(super) fn new(seed: u64, sequence: u64, sample: usize) -> Self {
        Draws { seed, sequence, sample: sample as u64 }
    }

    /// A number uniform in [0, 1), a multiple of 2⁻⁵³. `position` counts the new tokens before this one.
    pub(super) fn uniform(self, position: usize, purpose: Purpose) -> f64 {
        let index = (purpose as u64) << 60 | self.sample << 32 | (position as u64 & 0xFFFF_FFFF);
        let [low, high, ..] = block(key(self.seed), counter(index, self.sequence));
        let bits = u64::from(high) << 32 | u64::from(low);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_changes_the_number_and_nothing_else_does() {
        let draw =
            |seed, sequence, sample, position, purpose| Draws::new(seed, sequence, sample).uniform(position, purpose);
        let first = draw(1, 2, 3, 4, Purpose::Token);
        assert_eq!(first, draw(1, 2, 3, 4, Purpose::Token));
        let others = [
            draw(2, 2, 3, 4, Purpose::Token),
            draw(1, 3, 3, 4, Purpose::Token),
            draw(1, 2, 4, 4, Purpose::Token),
            draw(1, 2, 3, 5, Purpose::Token),
            draw(1, 2, 3, 4, Purpose::Acceptance),
        ];
        assert!(others.iter().all(|&other| other != first && (0.0..1.0).contains(&other)));
    }

    #[test]
    fn the_numbers_of_a_sample_are_uniform() {
        let draws = Draws::new(7, 0, 0);
        let mut counts = [0; 10];
        for position in 0..20_000 {
            counts[(draws.uniform(position, Purpose::Token) * 10.0) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1850..2150).contains(count)), "{counts:?}");
    }
}
