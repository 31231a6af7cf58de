//! Products of few rows with blocks, in whole numbers: inputs are rounded to 16 bits, with a factor for each group that has one
//! scale, multiplied with the whole numbers of the blocks, and added up exactly within the group; sums of groups are f32. What
//! is added to the weights of a group takes one multiplication with the sum of the inputs, which are not rounded for that.
//!
//! An input is off by at most its group's largest one divided by 65,534, as little as the sum of a few thousand products in f32.

use crate::matmul::Mat;
use crate::simd;
use crate::vector::WholeDot;

use super::packed::{MOST, Packed, Unpacked};

/// Most rows that are multiplied with a block at a time.
const MOST_ROWS: usize = 4;

/// The largest rounded input.
const LARGEST: f32 = 32_767.0;

/// Rows of inputs in 16 bits, the factor of each group, and the sums of each.
pub(super) struct Inputs {
    cols: usize,
    rounded: Vec<i16>,
    factors: Vec<f32>,
    sums: Vec<f32>,
}

impl Inputs {
    pub fn new(rows: Mat<'_>, group: usize) -> Self {
        let (cols, count) = (rows.cols, rows.rows * rows.cols);
        let mut own = Self {
            cols,
            rounded: vec![0; count],
            factors: Vec::with_capacity(count / group),
            sums: Vec::with_capacity(count / group),
        };
        let groups = (0..rows.rows).flat_map(|row| rows.data[row * rows.row_stride..][..cols].chunks_exact(group));
        for (x, rounded) in groups.zip(own.rounded.chunks_exact_mut(group)) {
            let [factor, sum] = crate::dispatch!(round(x: &[f32], rounded: &mut [i16]) -> [f32; 2]);
            own.factors.push(factor);
            own.sums.push(sum);
        }
        own
    }

    /// A row, with the factors and the sums of its groups.
    fn row(&self, row: usize, group: usize) -> Row<'_> {
        let groups = self.cols / group;
        Row {
            rounded: &self.rounded[row * self.cols..][..self.cols],
            factors: &self.factors[row * groups..][..groups],
            sums: &self.sums[row * groups..][..groups],
        }
    }
}

/// Rounds a group; the factor and the sum of it.
#[inline(always)]
fn round<const FMA: bool>(x: &[f32], rounded: &mut [i16]) -> [f32; 2] {
    let (mut largest, mut sums, mut broken) = ([0.0_f32; 16], [0.0; 16], [0.0; 16]);
    for x in x.as_chunks::<16>().0 {
        for i in 0..16 {
            largest[i] = if x[i].abs() > largest[i] { x[i].abs() } else { largest[i] };
            sums[i] += x[i];
            // Not 0 where a number is not finite, which then stays so in the product.
            broken[i] += x[i] * 0.0;
        }
    }
    let factor = largest.into_iter().fold(0.0, f32::max) / LARGEST;
    let inverse = if factor > 0.0 { factor.recip() } else { 0.0 };
    for (rounded, x) in rounded.iter_mut().zip(x) {
        *rounded = (x * inverse).round_ties_even() as i16;
    }
    [factor + broken.into_iter().sum::<f32>(), sums.into_iter().sum()]
}

struct Row<'a> {
    rounded: &'a [i16],
    factors: &'a [f32],
    sums: &'a [f32],
}

/// `out[i] = x[i] · w` of one output's blocks. A function of its own for each output: a loop over outputs in it makes LLVM take
/// the bytes of some kinds to pieces.
pub(super) fn dots<K: Packed>(inputs: &Inputs, blocks: &[u8], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
    fn avx512<K: Packed>(inputs: &Inputs, blocks: &[u8], out: &mut [f32]) {
        // SAFETY: this function has the instruction set.
        unsafe { rows::<std::arch::x86_64::__m512, K>(inputs, blocks, out) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2<K: Packed>(inputs: &Inputs, blocks: &[u8], out: &mut [f32]) {
        // SAFETY: this function has the instruction set.
        unsafe { rows::<std::arch::x86_64::__m256, K>(inputs, blocks, out) }
    }
    match simd::level() {
        // SAFETY: `level` reports only what `is_x86_feature_detected!` found.
        #[cfg(target_arch = "x86_64")]
        simd::Level::Avx512 => unsafe { avx512::<K>(inputs, blocks, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        simd::Level::Avx2 => unsafe { avx2::<K>(inputs, blocks, out) },
        // SAFETY: arrays need no instruction set.
        _ => unsafe { rows::<[f32; 4], K>(inputs, blocks, out) },
    }
}

/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn rows<V: WholeDot, K: Packed>(inputs: &Inputs, blocks: &[u8], out: &mut [f32]) {
    for (part, out) in out.chunks_mut(MOST_ROWS).enumerate() {
        let first = part * MOST_ROWS;
        // SAFETY: promised by the caller.
        unsafe {
            match out.len() {
                1 => some_rows::<V, K, 1>(inputs, first, blocks, out),
                2 => some_rows::<V, K, 2>(inputs, first, blocks, out),
                3 => some_rows::<V, K, 3>(inputs, first, blocks, out),
                _ => some_rows::<V, K, MOST_ROWS>(inputs, first, blocks, out),
            }
        }
    }
}

/// `M` rows from `first` on. Every row is summed in the same order, whatever `M` is.
///
/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn some_rows<V: WholeDot, K: Packed, const M: usize>(
    inputs: &Inputs,
    first: usize,
    blocks: &[u8],
    out: &mut [f32],
) {
    const { assert!(K::GROUP.is_multiple_of(16) && K::ELEMENTS <= MOST, "groups of 16s, and a block fits the buffer") };
    let x: [Row<'_>; M] = std::array::from_fn(|i| inputs.row(first + i, K::GROUP));
    assert_eq!(inputs.cols, blocks.len() / K::BYTES * K::ELEMENTS, "blocks: inputs");
    // SAFETY: promised by the caller, here and below.
    let (mut sums, mut offsets) = ([unsafe { V::zero() }; M], [0.0; M]);
    let (mut unpacked, mut group) = (Unpacked::new(), 0);
    for block in blocks.chunks_exact(K::BYTES) {
        // SAFETY: as above.
        unsafe { K::unpack::<V>(block, &mut unpacked) };
        for own in 0..K::ELEMENTS / K::GROUP {
            let quantized = &unpacked.quantized[own * K::GROUP..][..K::GROUP];
            for i in 0..M {
                // SAFETY: a row has as many elements as the blocks, and a factor and a sum for each group.
                let (x, factor, sum) = unsafe {
                    let rounded = x[i].rounded.get_unchecked(group * K::GROUP..(group + 1) * K::GROUP);
                    (rounded, *x[i].factors.get_unchecked(group), *x[i].sums.get_unchecked(group))
                };
                // SAFETY: as above; both are a group long.
                sums[i] = unsafe { V::dot(quantized, x).mul_add(V::splat(unpacked.scales[own] * factor), sums[i]) };
                if K::HAS_OFFSETS {
                    offsets[i] += unpacked.offsets[own] * sum;
                }
            }
            group += 1;
        }
    }
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: as above.
        *out = unsafe { sums[i].sum() } + offsets[i];
    }
}
