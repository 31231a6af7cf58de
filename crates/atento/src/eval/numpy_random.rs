//! The random indices of NumPy's `default_rng(seed).integers(0, n)`, so that a bootstrap draws the resamples sacreBLEU draws.
//!
//! Three published algorithms in a row:
//!
//! - *Seeding*: M. O'Neill's `seed_seq_fe` mixes the seed into four 32-bit words, which are stretched to 256 bits.
//! - *Generator*: PCG64 (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random
//!   Number Generation", 2014), a 128-bit linear congruential generator with output function XSL-RR. Each 64-bit output
//!   serves as two 32-bit ones, the low half first.
//! - *Bounding*: D. Lemire, "Fast Random Integer Generation in an Interval" (2019), on 32 bits.

use std::num::Wrapping;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
const POOL: usize = 4;

/// NumPy's default generator, limited to indices.
pub(crate) struct IndexGenerator {
    state: u128,
    increment: u128,
    /// The high half of the last 64-bit output, not yet used.
    spare: Option<u32>,
}

impl IndexGenerator {
    /// The generator that `numpy.random.default_rng(seed)` makes.
    pub(crate) fn new(seed: u64) -> Self {
        let [initial, sequence] = stretch(mix_seed(seed));
        let mut generator = IndexGenerator { state: 0, increment: (sequence << 1) | 1, spare: None };
        generator.step();
        generator.state = generator.state.wrapping_add(initial);
        generator.step();
        generator
    }

    /// A uniform index below `bound`.
    ///
    /// # Panics
    /// When `bound` is 0 or does not fit 32 bits.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).expect("IndexGenerator: the bound exceeds 32 bits");
        assert!(bound > 0, "IndexGenerator: the bound is 0");
        if bound == 1 {
            // There is nothing to choose, and NumPy draws nothing.
            return 0;
        }
        // The fraction of the product below this is what would favour some indices.
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as usize;
            }
        }
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.spare.take() {
            return high;
        }
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        let output = folded.rotate_right((self.state >> 122) as u32);
        self.spare = Some((output >> 32) as u32);
        output as u32
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// `seed_seq_fe`'s hash: a multiplier that changes with every call, so that equal words hash differently.
struct Hash {
    constant: Wrapping<u32>,
    multiplier: Wrapping<u32>,
}

impl Hash {
    fn apply(&mut self, word: Wrapping<u32>) -> Wrapping<u32> {
        let keyed = word ^ self.constant;
        self.constant *= self.multiplier;
        let product = keyed * self.constant;
        product ^ (product >> 16)
    }
}

fn mix_seed(seed: u64) -> [Wrapping<u32>; POOL] {
    let mut hash = Hash { constant: Wrapping(0x43b0_d7e5), multiplier: Wrapping(0x931e_8875) };
    let words = [seed as u32, (seed >> 32) as u32, 0, 0];
    let mut pool = words.map(|word| hash.apply(Wrapping(word)));
    for source in 0..POOL {
        for target in (0..POOL).filter(|&target| target != source) {
            let hashed = hash.apply(pool[source]);
            let mixed = Wrapping(0xca01_f9dd) * pool[target] - Wrapping(0x4973_f715) * hashed;
            pool[target] = mixed ^ (mixed >> 16);
        }
    }
    pool
}

/// The initial state and the stream number, 128 bits each.
fn stretch(pool: [Wrapping<u32>; POOL]) -> [u128; 2] {
    let mut hash = Hash { constant: Wrapping(0x8b51_f9dd), multiplier: Wrapping(0x58f3_8ded) };
    let words: [u128; 2 * POOL] = std::array::from_fn(|index| u128::from(hash.apply(pool[index % POOL]).0));
    // Words pair to 64 bits with the low one first, 64-bit words to 128 with the high one first.
    [0, 4].map(|i| words[i + 1] << 96 | words[i] << 64 | words[i + 3] << 32 | words[i + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices<const N: usize>(seed: u64, bound: usize) -> [usize; N] {
        let mut generator = IndexGenerator::new(seed);
        std::array::from_fn(|_| generator.below(bound))
    }

    /// The expected numbers are `numpy.random.default_rng(seed).choice(bound, size=12)` of NumPy 2.4.6.
    #[test]
    fn indices_are_those_of_numpy() {
        assert_eq!(indices(12345, 7), [4, 1, 5, 2, 1, 5, 4, 4, 6, 2, 5, 2]);
        assert_eq!(indices(0, 1000), [850, 636, 511, 269, 307, 40, 75, 16, 175, 813, 649, 912]);
        // A bound this large rejects many draws; a seed this large takes two words.
        assert_eq!(
            indices((1 << 40) + 3, 3_000_000_000),
            [
                2_320_968_254,
                1_334_032_640,
                1_141_922_330,
                1_419_536_743,
                194_552_075,
                2_358_795_727,
                586_955_668,
                1_697_236_867,
                1_996_938_572,
                2_274_276_571,
                1_684_215_677,
                2_615_676_964,
            ]
        );
    }

    #[test]
    fn a_single_index_is_not_drawn() {
        let mut generator = IndexGenerator::new(12345);
        assert_eq!(generator.below(1), 0);
        assert_eq!(generator.below(7), 4);
    }
}
