//! Philox 4×32-10, a counter-based random number generator.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A block
//! of four 32-bit numbers is a pure function of a 64-bit key (the seed) and a 128-bit counter
//! (here: 64 bits of block index and 64 bits of stream), so a mask can be made again in the
//! backward pass, in any order and on any number of threads.
//!
//! Number `i` of `(seed, stream)` is lane `i % 4` of block `i / 4`, everywhere in this crate.

use rayon::prelude::*;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Blocks that [`blocks`] computes at once, one per vector lane.
pub const BLOCKS: usize = 16;

/// One block of four random numbers: ten rounds over `counter` under `key`.
#[inline(always)]
pub fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let ([mut k0, mut k1], [mut c0, mut c1, mut c2, mut c3]) = (key, counter);
    for _ in 0..ROUNDS {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The key of a seed.
#[inline(always)]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The counter of a block of a stream.
#[inline(always)]
pub fn counter(block: u64, stream: u64) -> [u32; 4] {
    [block as u32, (block >> 32) as u32, stream as u32, (stream >> 32) as u32]
}

/// The four words of blocks `first .. first + BLOCKS`, in the low halves of `result[lane][block]`.
///
/// Each 32-bit word sits in a 64-bit lane, where the widening product is one instruction. The high
/// half of a lane is left as it falls: products ignore it and the end cuts it off.
#[inline(always)]
fn wide_blocks(seed: u64, stream: u64, first: u64) -> [[u64; BLOCKS]; 4] {
    const LOW: u64 = 0xffff_ffff;
    let [mut k0, mut k1] = key(seed).map(u64::from);
    let mut c = [[0u64; BLOCKS]; 4];
    let [c0, c1, c2, c3] = &mut c;
    for b in 0..BLOCKS {
        let at = first.wrapping_add(b as u64);
        (c0[b], c1[b], c2[b], c3[b]) = (at, at >> 32, stream, stream >> 32);
    }
    for _ in 0..ROUNDS {
        for b in 0..BLOCKS {
            let p0 = u64::from(MULTIPLIERS[0]) * (c0[b] & LOW);
            let p1 = u64::from(MULTIPLIERS[1]) * (c2[b] & LOW);
            (c0[b], c1[b], c2[b], c3[b]) = ((p1 >> 32) ^ c1[b] ^ k0, p1, (p0 >> 32) ^ c3[b] ^ k1, p0);
        }
        k0 = (k0 + u64::from(WEYL[0])) & LOW;
        k1 = (k1 + u64::from(WEYL[1])) & LOW;
    }
    c
}

/// Blocks `first .. first + BLOCKS` of a stream, `result[lane][block]`; vectorises over blocks.
#[inline(always)]
pub fn blocks(seed: u64, stream: u64, first: u64) -> [[u32; BLOCKS]; 4] {
    wide_blocks(seed, stream, first).map(|lane| lane.map(|word| word as u32))
}

/// Numbers `4·first .. 4·(first + BLOCKS)` of a stream, in order; vectorises over blocks.
#[inline(always)]
pub fn numbers(seed: u64, stream: u64, first: u64) -> [u32; 4 * BLOCKS] {
    let [c0, c1, c2, c3] = wide_blocks(seed, stream, first);
    let mut out = [0; 4 * BLOCKS];
    for (b, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *out = [c0[b] as u32, c1[b] as u32, c2[b] as u32, c3[b] as u32];
    }
    out
}

/// A number in [0, 1): the top 24 bits, every value exactly representable and equally likely.
#[inline(always)]
pub fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two independent standard normal numbers from two uniform ones (Box and Muller, 1958), in f64.
/// The first word is shifted into (0, 1] so that the logarithm is finite.
fn box_muller(a: u32, b: u32) -> (f64, f64) {
    let radius = (-2.0 * ((f64::from(a) + 1.0) / 4_294_967_296.0).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * f64::from(b) / 4_294_967_296.0).sin_cos();
    (radius * cos, radius * sin)
}

/// Elements per parallel task of the fills; a multiple of four, so tasks start at a block.
const FILL_CHUNK: usize = 16_384;

fn fill(out: &mut [f32], seed: u64, stream: u64, map: impl Fn([u32; 4]) -> [f32; 4] + Sync) {
    out.par_chunks_mut(FILL_CHUNK).enumerate().for_each(|(chunk, out)| {
        let first = (chunk * FILL_CHUNK / 4) as u64;
        for (at, out) in out.chunks_mut(4).enumerate() {
            let values = map(block(key(seed), counter(first + at as u64, stream)));
            out.copy_from_slice(&values[..out.len()]);
        }
    });
}

/// Fills `out` with numbers uniform in [0, 1).
pub fn fill_uniform(seed: u64, stream: u64, out: &mut [f32]) {
    fill(out, seed, stream, |bits| bits.map(uniform));
}

/// Fills `out` with normal numbers of mean 0 and standard deviation `std`.
pub fn fill_normal(seed: u64, stream: u64, std: f32, out: &mut [f32]) {
    let std = f64::from(std);
    fill(out, seed, stream, |[a, b, c, d]| {
        let ((w, x), (y, z)) = (box_muller(a, b), box_muller(c, d));
        [w, x, y, z].map(|v| (v * std) as f32)
    });
}

/// A sequential generator over one stream. Its three numbers are its whole state: saving and
/// restoring them continues the sequence exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    /// Key of the generator.
    pub seed: u64,
    /// Which of the seed's 2⁶⁴ sequences.
    pub stream: u64,
    /// 32-bit numbers drawn so far.
    pub counter: u64,
}

impl Rng {
    /// The beginning of a stream.
    pub fn new(seed: u64, stream: u64) -> Self {
        Rng { seed, stream, counter: 0 }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let bits = block(key(self.seed), counter(self.counter / 4, self.stream));
        let lane = (self.counter % 4) as usize;
        self.counter += 1;
        bits[lane]
    }

    /// A whole number in `0..n`, without bias (Lemire, "Fast random integer generation in an
    /// interval", 2019: the product's low half rejects the over-represented remainders).
    ///
    /// # Panics
    /// If `n` is 0 or more than 2³².
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0 && n as u64 <= 1 << 32, "Rng::below: n is {n}, must be in 1..=2^32");
        let n = n as u64;
        let threshold = (1u64 << 32) % n;
        loop {
            let product = u64::from(self.next_u32()) * n;
            if product & 0xFFFF_FFFF >= threshold {
                return (product >> 32) as usize;
            }
        }
    }

    /// A number uniform in [0, 1).
    pub fn uniform(&mut self) -> f32 {
        uniform(self.next_u32())
    }

    /// A standard normal number; draws two words and uses one of the pair they make.
    pub fn normal(&mut self) -> f32 {
        let (a, b) = (self.next_u32(), self.next_u32());
        box_muller(a, b).0 as f32
    }

    /// Puts `items` in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors published with Random123 (`kat_vectors`, philox4x32 10 rounds).
    #[test]
    fn blocks_are_the_published_known_answers() {
        let ones = u32::MAX;
        assert_eq!(block([0, 0], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(block([ones; 2], [ones; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let answer = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(block([0xa409_3822, 0x299f_31d0], pi), answer);
    }

    #[test]
    fn many_blocks_at_once_are_the_same_blocks() {
        let (seed, stream, first) = (0x1234_5678_9abc_def0, 77, u64::from(u32::MAX) - 3);
        let (many, numbers) = (blocks(seed, stream, first), numbers(seed, stream, first));
        for b in 0..BLOCKS {
            let one = block(key(seed), counter(first + b as u64, stream));
            assert_eq!([0, 1, 2, 3].map(|lane| many[lane][b]), one);
            assert_eq!(numbers[4 * b..][..4], one);
        }
    }

    #[test]
    fn a_fill_is_the_sequence_of_the_generator() {
        let mut out = vec![0.0; FILL_CHUNK + 7];
        fill_uniform(3, 5, &mut out);
        let mut rng = Rng::new(3, 5);
        assert!(out.iter().all(|&x| x == rng.uniform() && (0.0..1.0).contains(&x)));
    }

    #[test]
    fn normal_numbers_have_the_moments_of_a_normal_distribution() {
        let mut out = vec![0.0; 200_000];
        fill_normal(1, 2, 0.5, &mut out);
        let moment = |k: i32| out.iter().map(|&x| f64::from(x / 0.5).powi(k)).sum::<f64>() / out.len() as f64;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.01);
        assert!(moment(3).abs() < 0.03 && (moment(4) - 3.0).abs() < 0.06);
    }

    #[test]
    fn whole_numbers_below_n_are_equally_likely_and_never_n() {
        let mut rng = Rng::new(9, 0);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[rng.below(7)] += 1;
        }
        assert!(counts.iter().all(|&c| (9_600..10_400).contains(&c)), "{counts:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_the_state_continues_it() {
        let mut rng = Rng::new(4, 1);
        let mut items: Vec<usize> = (0..50).collect();
        rng.shuffle(&mut items);
        let mut copy = rng.clone();
        assert_eq!(copy.next_u32(), rng.next_u32());
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
