//! Weights in the blocks that llama.cpp's files have, read as they lie there. Numbers are those of its `dequantize_row_*`:
//! products and sums in f32.
//!
//! Bytes of a block, `d` and `m` being f16:
//!
//! ```text
//! Q4_0   d, 16 × two elements: the low halves are the first 16       d · (q − 8)
//! Q4_1   d, m, likewise                                              d · q + m
//! Q5_0   d, the fifth bits of all 32, then as Q4_0                   d · (q − 16)
//! Q5_1   d, m, likewise                                              d · q + m
//! Q8_0   d, 32 × i8                                                  d · q
//! Q4_K   d, m, 8 scales and least values, 4 × 64 elements            d · scale · q − m · least
//! Q5_K   likewise, the fifth bits before the elements                d · scale · q − m · least
//! Q6_K   low 4 bits, high 2 bits, 16 scales (i8), d                  d · scale · (q − 32)
//! ```

use half::f16;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// 4 bits and a scale for 32 elements.
    Q4_0,
    /// 4 bits, a scale and a least value for 32 elements.
    Q4_1,
    /// 5 bits and a scale for 32 elements.
    Q5_0,
    /// 5 bits, a scale and a least value for 32 elements.
    Q5_1,
    /// 8 bits and a scale for 32 elements.
    Q8_0,
    /// 4 bits, with scales and least values of 6 bits for 32 elements and of 16 bits for 256.
    Q4K,
    /// The same with 5 bits.
    Q5K,
    /// 6 bits, with scales of 8 bits for 16 elements and of 16 bits for 256.
    Q6K,
}

impl BlockKind {
    /// The elements of a block, and its bytes.
    #[must_use]
    pub fn sizes(self) -> (usize, usize) {
        match self {
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// The numbers that blocks stand for.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of `values`.
    #[track_caller]
    pub fn widen(self, bytes: &[u8], values: &mut [f32]) {
        let (elements, size) = self.sizes();
        assert_eq!((values.len() % elements, values.len() / elements * size), (0, bytes.len()), "blocks: sizes");
        let kind = self;
        crate::dispatch!(widen(kind: BlockKind, bytes: &[u8], values: &mut [f32]));
    }
}

/// A matrix `[outputs, inputs]` in blocks, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// Whole blocks for each row.
    pub bytes: &'a [u8],
    /// What they are.
    pub kind: BlockKind,
    /// Rows of a head whose two halves lie in turn, a row of each; 0 where rows lie in their order.
    pub paired: usize,
}

impl Blocks<'_> {
    /// The f32 that one row stands for, times `factor`.
    #[track_caller]
    pub(super) fn widen_row(&self, row: usize, factor: f32, out: &mut [f32]) {
        let (elements, size) = self.kind.sizes();
        let bytes = out.len() / elements * size;
        let row = match self.paired {
            0 => row,
            head => row / head * head + row % head % (head / 2) * 2 + row % head / (head / 2),
        };
        self.kind.widen(&self.bytes[row * bytes..][..bytes], out);
        if factor != 1.0 {
            crate::elementwise::scale(out, factor);
        }
    }

    #[track_caller]
    pub(super) fn check(&self, outputs: usize, inputs: usize) {
        let (elements, size) = self.kind.sizes();
        assert_eq!(inputs % elements, 0, "compact: {inputs} inputs in blocks of {elements}");
        assert_eq!(self.bytes.len(), outputs * (inputs / elements) * size, "compact: blocks of [{outputs}, {inputs}]");
        assert!(self.paired == 0 || outputs.is_multiple_of(self.paired), "compact: heads of [{outputs}, {inputs}]");
    }
}

#[inline(always)]
fn widen<const FMA: bool>(kind: BlockKind, bytes: &[u8], values: &mut [f32]) {
    // Block after block. A function that is handed over would not be compiled for the instruction set; and a number that the
    // compiler knows nothing of keeps it from working on several blocks side by side, a byte of each, which takes three times
    // as long.
    macro_rules! each {
        ($read:ident) => {{
            let (blocks, values) = (bytes.as_chunks().0, values.as_chunks_mut().0);
            for at in 0..values.len() {
                let at = std::hint::black_box(at);
                $read(&blocks[at], &mut values[at]);
            }
        }};
    }
    match kind {
        BlockKind::Q4_0 => each!(q4_0),
        BlockKind::Q4_1 => each!(q4_1),
        BlockKind::Q5_0 => each!(q5_0),
        BlockKind::Q5_1 => each!(q5_1),
        BlockKind::Q8_0 => each!(q8_0),
        BlockKind::Q4K => each!(q4_k),
        BlockKind::Q5K => each!(q5_k),
        BlockKind::Q6K => each!(q6_k),
    }
}

#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    // Without asking the processor for its instructions in every block.
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32_const()
}

/// The elements of 4 bits: 16 bytes hold the first 16 in their low halves and the others in their high ones.
#[inline(always)]
fn nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut found = [0; 32];
    for i in 0..16 {
        found[i] = bytes[i] & 15;
    }
    for i in 0..16 {
        found[16 + i] = bytes[i] >> 4;
    }
    found
}

#[inline(always)]
fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let (d, quantized) = (half(block, 0), nibbles(&block[2..]));
    for i in 0..32 {
        values[i] = d * f32::from(quantized[i] as i8 - 8);
    }
}

#[inline(always)]
fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (d, m, quantized) = (half(block, 0), half(block, 2), nibbles(&block[4..]));
    for i in 0..32 {
        values[i] = d * f32::from(quantized[i]) + m;
    }
}

#[inline(always)]
fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let (d, quantized) = (half(block, 0), nibbles(&block[6..]));
    for i in 0..32 {
        let fifth = (block[2 + i / 8] >> (i % 8) & 1) << 4;
        values[i] = d * f32::from((quantized[i] | fifth) as i8 - 16);
    }
}

#[inline(always)]
fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (d, m, quantized) = (half(block, 0), half(block, 2), nibbles(&block[8..]));
    for i in 0..32 {
        let fifth = (block[4 + i / 8] >> (i % 8) & 1) << 4;
        values[i] = d * f32::from(quantized[i] | fifth) + m;
    }
}

#[inline(always)]
fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let d = half(block, 0);
    for (value, byte) in values.iter_mut().zip(&block[2..]) {
        *value = d * f32::from(*byte as i8);
    }
}

/// The scale and the least value of a group of 32, 6 bits each, of the 12 bytes that hold those of 8 groups.
#[inline(always)]
fn scale_and_least(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, least) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
    };
    (scale.into(), least.into())
}

#[inline(always)]
fn q4_k(block: &[u8; 144], values: &mut [f32; 256]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let (packed, elements) = block[4..].split_at(12);
    for (group, values) in values.chunks_exact_mut(32).enumerate() {
        let (scale, least) = scale_and_least(packed, group);
        let (scale, least) = (d * scale, m * least);
        for (value, byte) in values.iter_mut().zip(&elements[group / 2 * 32..]) {
            *value = scale * f32::from(byte >> (group % 2 * 4) & 15) - least;
        }
    }
}

#[inline(always)]
fn q5_k(block: &[u8; 176], values: &mut [f32; 256]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let (packed, rest) = block[4..].split_at(12);
    let (fifths, elements) = rest.split_at(32);
    for (group, values) in values.chunks_exact_mut(32).enumerate() {
        let (scale, least) = scale_and_least(packed, group);
        let (scale, least) = (d * scale, m * least);
        for ((value, byte), fifth) in values.iter_mut().zip(&elements[group / 2 * 32..]).zip(fifths) {
            let quantized = byte >> (group % 2 * 4) & 15 | (fifth >> group & 1) << 4;
            *value = scale * f32::from(quantized) - least;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8; 210], values: &mut [f32; 256]) {
    let (low, rest) = block.split_at(128);
    let (high, scales) = rest.split_at(64);
    let d = half(scales, 16);
    for (group, values) in values.chunks_exact_mut(32).enumerate() {
        // 128 elements have 64 bytes of low bits, which are gone through twice, and 32 of high bits, four times.
        let (half, quarter) = (group / 4, group % 4);
        let (low, high) = (&low[half * 64 + quarter % 2 * 32..], &high[half * 32..]);
        for (i, ((value, low), high)) in values.iter_mut().zip(low).zip(high).enumerate() {
            let quantized = low >> (quarter / 2 * 4) & 15 | (high >> (quarter * 2) & 3) << 4;
            let scale = d * f32::from(scales[group * 2 + i / 16] as i8);
            *value = scale * f32::from(quantized as i8 - 32);
        }
    }
}
