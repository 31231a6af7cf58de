//! Elements of tensors as real numbers, in the arithmetic of llama.cpp's `dequantize_row_*`: products and sums in f32.
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

use half::{bf16, f16};
use rayon::prelude::*;

use super::element_type::ElementType;

/// Elements of one task.
const TASK: usize = 1 << 16;

/// Reads the elements in `bytes` into `values`.
///
/// # Shapes
/// - `bytes`: the blocks of `values`, whole ones
pub(super) fn dequantize(kind: ElementType, bytes: &[u8], values: &mut [f32]) {
    match kind {
        ElementType::F32 => each(bytes, values, |block, [value]| *value = f32::from_le_bytes(*block)),
        ElementType::F16 => each(bytes, values, |block, [value]| *value = f16::from_le_bytes(*block).to_f32()),
        ElementType::Bf16 => each(bytes, values, |block, [value]| *value = bf16::from_le_bytes(*block).to_f32()),
        ElementType::Q4_0 => each(bytes, values, q4_0),
        ElementType::Q4_1 => each(bytes, values, q4_1),
        ElementType::Q5_0 => each(bytes, values, q5_0),
        ElementType::Q5_1 => each(bytes, values, q5_1),
        ElementType::Q8_0 => each(bytes, values, q8_0),
        ElementType::Q4K => each(bytes, values, q4_k),
        ElementType::Q5K => each(bytes, values, q5_k),
        ElementType::Q6K => each(bytes, values, q6_k),
    }
}

/// Reads block after block: `B` bytes are `N` elements.
fn each<const B: usize, const N: usize>(
    bytes: &[u8],
    values: &mut [f32],
    read: impl Fn(&[u8; B], &mut [f32; N]) + Sync,
) {
    let (blocks, values) = (bytes.as_chunks::<B>().0, values.as_chunks_mut::<N>().0);
    let tasks = values.par_chunks_mut(TASK / N).zip(blocks.par_chunks(TASK / N));
    tasks.for_each(|(values, blocks)| values.iter_mut().zip(blocks).for_each(|(values, block)| read(block, values)));
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The element of 4 bits: 16 bytes hold the first 16 in their low halves and the others in their high ones.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 }
}

fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let d = half(block, 0);
    for (i, value) in values.iter_mut().enumerate() {
        *value = d * f32::from(nibble(&block[2..], i) as i8 - 8);
    }
}

fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (i, value) in values.iter_mut().enumerate() {
        *value = d * f32::from(nibble(&block[4..], i)) + m;
    }
}

fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let d = half(block, 0);
    for (i, value) in values.iter_mut().enumerate() {
        let fifth = (block[2 + i / 8] >> (i % 8) & 1) << 4;
        *value = d * f32::from((nibble(&block[6..], i) | fifth) as i8 - 16);
    }
}

fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (i, value) in values.iter_mut().enumerate() {
        let fifth = (block[4 + i / 8] >> (i % 8) & 1) << 4;
        *value = d * f32::from(nibble(&block[8..], i) | fifth) + m;
    }
}

fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let d = half(block, 0);
    for (value, byte) in values.iter_mut().zip(&block[2..]) {
        *value = d * f32::from(*byte as i8);
    }
}

/// The scale and the least value of a group of 32, 6 bits each, of the 12 bytes that hold those of 8 groups.
fn scale_and_least(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, least) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
    };
    (scale.into(), least.into())
}

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hub::safetensors::SafeTensors;

    #[test]
    fn every_type_gives_the_numbers_of_llama_cpps_own_package() {
        use ElementType::{Bf16, F16, F32, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/types.safetensors");
        let tensors = SafeTensors::open(&path).unwrap();
        for kind in [F32, F16, Bf16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K, Q6K] {
            let bytes = tensors.get(&format!("{}.bytes", kind.name())).unwrap().bytes;
            let name = format!("{}.values", kind.name());
            let shape = tensors.get(&name).unwrap().shape;
            let (elements, size) = kind.block();
            assert_eq!(shape[0] * size, bytes.len() * elements, "{}", kind.name());
            let mut values = vec![f32::NAN; shape[0]];
            dequantize(kind, bytes, &mut values);
            assert_eq!(values, tensors.read_f32(&name, shape).unwrap(), "{}", kind.name());
        }
    }
}
