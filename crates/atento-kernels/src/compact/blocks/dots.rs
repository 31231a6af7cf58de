//! Products of few rows with blocks, whose whole numbers become f32 in registers: a group's sum first, then its scale, so that
//! a weight takes one multiplication; what is added to a group takes one with the sum of the inputs.

use crate::matmul::Mat;
use crate::simd;
use crate::vector::{Load, Vector};

use super::packed::{MOST, Packed, Unpacked};

/// Most rows that are multiplied with a block at a time.
const MOST_ROWS: usize = 4;

/// Rows of inputs, and the sums of each group of theirs.
pub(super) struct Inputs<'a> {
    pub rows: Mat<'a>,
    sums: Vec<f32>,
}

impl<'a> Inputs<'a> {
    pub fn new(rows: Mat<'a>, group: usize) -> Self {
        let groups = |row: &'a [f32]| row.chunks_exact(group).map(|group| group.iter().sum());
        let sums = (0..rows.rows).flat_map(|row| groups(&rows.data[row * rows.row_stride..][..rows.cols])).collect();
        Self { rows, sums }
    }

    fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let Mat { rows, cols, .. } = self.rows;
        let groups = self.sums.len() / rows;
        (&self.rows.data[row * self.rows.row_stride..][..cols], &self.sums[row * groups..][..groups])
    }
}

/// `out[i] = x[i] · w` of one output's blocks.
pub(super) fn dots<K: Packed>(inputs: &Inputs<'_>, blocks: &[u8], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,f16c")]
    fn avx512<K: Packed>(inputs: &Inputs<'_>, blocks: &[u8], out: &mut [f32]) {
        // SAFETY: this function has the instruction set.
        unsafe { rows::<std::arch::x86_64::__m512, K>(inputs, blocks, out) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2<K: Packed>(inputs: &Inputs<'_>, blocks: &[u8], out: &mut [f32]) {
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
unsafe fn rows<V: Vector, K: Packed>(inputs: &Inputs<'_>, blocks: &[u8], out: &mut [f32])
where
    f32: Load<V>,
    i8: Load<V>,
{
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
unsafe fn some_rows<V: Vector, K: Packed, const M: usize>(
    inputs: &Inputs<'_>,
    first: usize,
    blocks: &[u8],
    out: &mut [f32],
) where
    f32: Load<V>,
    i8: Load<V>,
{
    const { assert!(K::GROUP % V::WIDTH == 0 && K::ELEMENTS <= MOST, "a group fills whole registers, a block the buffer") };
    let x: [(&[f32], &[f32]); M] = std::array::from_fn(|i| inputs.row(first + i));
    let count = blocks.len() / K::BYTES * K::ELEMENTS;
    assert!(x.iter().all(|(row, sums)| row.len() == count && sums.len() == count / K::GROUP), "blocks: inputs");
    // SAFETY: promised by the caller, here and below.
    let (mut sums, mut offsets) = ([unsafe { V::zero() }; M], [0.0; M]);
    let (mut unpacked, mut group) = (Unpacked::new(), 0);
    for block in blocks.chunks_exact(K::BYTES) {
        // SAFETY: as above.
        unsafe { K::unpack::<V>(block, &mut unpacked) };
        for own in 0..K::ELEMENTS / K::GROUP {
            // SAFETY: as above.
            let mut product = [unsafe { V::zero() }; M];
            for at in (0..K::GROUP).step_by(V::WIDTH) {
                // SAFETY: a block has so many elements.
                let quantized = unsafe { i8::load(unpacked.quantized.as_ptr().add(own * K::GROUP + at)) };
                for i in 0..M {
                    // SAFETY: a row has as many elements as the blocks.
                    let x = unsafe { f32::load(x[i].0.as_ptr().add(group * K::GROUP + at)) };
                    // SAFETY: as above.
                    product[i] = unsafe { x.mul_add(quantized, product[i]) };
                }
            }
            // SAFETY: as above.
            let scale = unsafe { V::splat(unpacked.scales[own]) };
            for i in 0..M {
                // SAFETY: as above.
                sums[i] = unsafe { product[i].mul_add(scale, sums[i]) };
                if K::HAS_OFFSETS {
                    // SAFETY: a row has a sum for each group.
                    offsets[i] += unpacked.offsets[own] * unsafe { *x[i].1.get_unchecked(group) };
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
