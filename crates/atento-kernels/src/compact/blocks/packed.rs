//! The kinds of blocks read: whole numbers, and what each group of them is multiplied by and added to.

use crate::vector::Vector;

/// The most elements of a block.
pub(super) const MOST: usize = 256;

/// The fewest elements of a group.
const LEAST_GROUP: usize = 16;

/// A block as `scale · q + offset`, group by group.
pub(super) struct Unpacked {
    pub quantized: [i8; MOST],
    pub scales: [f32; MOST / LEAST_GROUP],
    pub offsets: [f32; MOST / LEAST_GROUP],
}

impl Unpacked {
    pub const fn new() -> Self {
        Self { quantized: [0; MOST], scales: [0.0; MOST / LEAST_GROUP], offsets: [0.0; MOST / LEAST_GROUP] }
    }
}

/// A kind of block.
pub(super) trait Packed {
    /// The elements of a block, and its bytes.
    const ELEMENTS: usize;
    const BYTES: usize;
    /// The elements that have one scale.
    const GROUP: usize;
    /// Whether something is added: where it is not, offsets are not written.
    const HAS_OFFSETS: bool;

    /// Reads a block of [`Packed::BYTES`] bytes.
    ///
    /// # Safety
    /// The instruction set of `V` must be present.
    unsafe fn unpack<V: Vector>(block: &[u8], into: &mut Unpacked);
}

/// Four half floats from here on. Eight bytes are read where two are of interest: a processor reads them straight into the
/// register in which it widens them.
///
/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn halves<V: Vector>(bytes: &[u8]) -> [f32; 4] {
    let bytes = bytes.first_chunk().expect("blocks are longer");
    // SAFETY: promised by the caller.
    unsafe { V::widen_halves(bytes) }
}

/// The elements of 4 bits: 16 bytes hold the first 16 in their low halves and the others in their high ones.
#[inline(always)]
fn nibbles(bytes: &[u8], into: &mut Unpacked) {
    for (into, byte) in into.quantized[..16].iter_mut().zip(bytes) {
        *into = (byte & 15) as i8;
    }
    for (into, byte) in into.quantized[16..32].iter_mut().zip(bytes) {
        *into = (byte >> 4) as i8;
    }
}

/// The fifth bits of 32 elements.
#[inline(always)]
fn fifths(bits: &[u8], into: &mut Unpacked) {
    for (into, bits) in into.quantized[..32].chunks_exact_mut(8).zip(bits) {
        for (i, into) in into.iter_mut().enumerate() {
            *into |= ((bits >> i & 1) << 4) as i8;
        }
    }
}

/// Takes a number off 32 elements.
#[inline(always)]
fn lower(by: i8, into: &mut Unpacked) {
    into.quantized[..32].iter_mut().for_each(|quantized| *quantized -= by);
}

/// Kinds of 32 elements with one scale: their bytes, whether they have a least value, and how the elements are read from what
/// stands behind both.
macro_rules! of_32 {
    ($($name:ident, $bytes:literal, $least:literal, |$rest:ident, $into:ident| $read:expr;)*) => {$(
        pub(super) struct $name;

        impl Packed for $name {
            const ELEMENTS: usize = 32;
            const BYTES: usize = $bytes;
            const GROUP: usize = 32;
            const HAS_OFFSETS: bool = $least;

            #[inline(always)]
            unsafe fn unpack<V: Vector>(block: &[u8], $into: &mut Unpacked) {
                // SAFETY: promised by the caller.
                let [scale, least, ..] = unsafe { halves::<V>(block) };
                $into.scales[0] = scale;
                if $least {
                    $into.offsets[0] = least;
                }
                let $rest = &block[if $least { 4 } else { 2 }..];
                $read
            }
        }
    )*};
}

of_32! {
    Q4_0, 18, false, |rest, into| {
        nibbles(rest, into);
        lower(8, into);
    };
    Q4_1, 20, true, |rest, into| nibbles(rest, into);
    Q5_0, 22, false, |rest, into| {
        nibbles(&rest[4..], into);
        fifths(rest, into);
        lower(16, into);
    };
    Q5_1, 24, true, |rest, into| {
        nibbles(&rest[4..], into);
        fifths(rest, into);
    };
    Q8_0, 34, false, |rest, into| {
        into.quantized[..32].iter_mut().zip(rest).for_each(|(into, byte)| *into = *byte as i8);
    };
}

/// Scales and least values of 8 groups of 32: 6 bits each in 12 bytes, times those of the block.
///
/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn scales_and_least<V: Vector>(block: &[u8], into: &mut Unpacked) {
    // SAFETY: promised by the caller.
    let [d, m, ..] = unsafe { halves::<V>(block) };
    let packed = &block[4..16];
    for group in 0..8 {
        let (scale, least) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let low = packed[group + 4];
            (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
        };
        into.scales[group] = d * f32::from(scale);
        into.offsets[group] = -(m * f32::from(least));
    }
}

/// 64 elements of each 32 bytes: the low halves, then the high ones.
#[inline(always)]
fn long_nibbles(bytes: &[u8], into: &mut Unpacked) {
    for (into, bytes) in into.quantized.chunks_exact_mut(64).zip(bytes.chunks_exact(32)) {
        for i in 0..32 {
            into[i] = (bytes[i] & 15) as i8;
        }
        for i in 0..32 {
            into[32 + i] = (bytes[i] >> 4) as i8;
        }
    }
}

pub(super) struct Q4K;

impl Packed for Q4K {
    const ELEMENTS: usize = 256;
    const BYTES: usize = 144;
    const GROUP: usize = 32;
    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    unsafe fn unpack<V: Vector>(block: &[u8], into: &mut Unpacked) {
        // SAFETY: promised by the caller.
        unsafe { scales_and_least::<V>(block, into) };
        long_nibbles(&block[16..], into);
    }
}

pub(super) struct Q5K;

impl Packed for Q5K {
    const ELEMENTS: usize = 256;
    const BYTES: usize = 176;
    const GROUP: usize = 32;
    const HAS_OFFSETS: bool = true;

    #[inline(always)]
    unsafe fn unpack<V: Vector>(block: &[u8], into: &mut Unpacked) {
        // SAFETY: promised by the caller.
        unsafe { scales_and_least::<V>(block, into) };
        long_nibbles(&block[48..], into);
        let fifths = &block[16..48];
        for (group, into) in into.quantized.chunks_exact_mut(32).enumerate() {
            for i in 0..32 {
                into[i] |= ((fifths[i] >> group & 1) << 4) as i8;
            }
        }
    }
}

pub(super) struct Q6K;

impl Packed for Q6K {
    const ELEMENTS: usize = 256;
    const BYTES: usize = 210;
    const GROUP: usize = 16;
    const HAS_OFFSETS: bool = false;

    #[inline(always)]
    unsafe fn unpack<V: Vector>(block: &[u8], into: &mut Unpacked) {
        let (low, rest) = block.split_at(128);
        let (high, scales) = rest.split_at(64);
        // SAFETY: promised by the caller.
        let [.., d] = unsafe { halves::<V>(&scales[10..]) };
        for (into, scale) in into.scales.iter_mut().zip(scales) {
            *into = d * f32::from(*scale as i8);
        }
        for (group, into) in into.quantized.chunks_exact_mut(32).enumerate() {
            // 128 elements have 64 bytes of low bits, which are gone through twice, and 32 of high bits, four times.
            let (half, quarter) = (group / 4, group % 4);
            let (low, high) = (&low[half * 64 + quarter % 2 * 32..][..32], &high[half * 32..][..32]);
            for i in 0..32 {
                let quantized = low[i] >> (quarter / 2 * 4) & 15 | (high[i] >> (quarter * 2) & 3) << 4;
                into[i] = quantized as i8 - 32;
            }
        }
    }
}
