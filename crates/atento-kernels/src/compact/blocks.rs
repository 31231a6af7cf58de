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

mod dots;
mod packed;

use rayon::prelude::*;

use crate::matmul::Mat;
use dots::{Inputs, dots};
use packed::{Packed, Unpacked};

/// Weights of one task.
const TASK: usize = 1 << 16;

/// Runs an expression with the type that reads a kind of block.
macro_rules! of_kind {
    ($kind:expr, $type:ident => $body:expr) => {{
        macro_rules! with {
            ($found:ty) => {{
                type $type = $found;
                $body
            }};
        }
        match $kind {
            BlockKind::Q4_0 => with!(packed::Q4_0),
            BlockKind::Q4_1 => with!(packed::Q4_1),
            BlockKind::Q5_0 => with!(packed::Q5_0),
            BlockKind::Q5_1 => with!(packed::Q5_1),
            BlockKind::Q8_0 => with!(packed::Q8_0),
            BlockKind::Q4K => with!(packed::Q4K),
            BlockKind::Q5K => with!(packed::Q5K),
            BlockKind::Q6K => with!(packed::Q6K),
        }
    }};
}

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
        of_kind!(self, K => (K::ELEMENTS, K::BYTES))
    }

    /// The numbers that blocks stand for.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of `values`.
    #[track_caller]
    pub fn widen(self, bytes: &[u8], values: &mut [f32]) {
        let (elements, size) = self.sizes();
        assert_eq!((values.len() % elements, values.len() / elements * size), (0, bytes.len()), "blocks: sizes");
        of_kind!(self, K => {
            crate::dispatch!(widen<K: Packed>(bytes: &[u8], values: &mut [f32]));
        });
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
        self.kind.widen(self.row(row, out.len()), out);
        if factor != 1.0 {
            crate::elementwise::scale(out, factor);
        }
    }

    /// The blocks of a row.
    #[track_caller]
    fn row(&self, row: usize, inputs: usize) -> &[u8] {
        let (elements, size) = self.kind.sizes();
        let bytes = inputs / elements * size;
        let row = match self.paired {
            0 => row,
            head => row / head * head + row % head % (head / 2) * 2 + row % head / (head / 2),
        };
        &self.bytes[row * bytes..][..bytes]
    }

    /// The product with a few rows: every block is read once. Tasks of whole outputs.
    pub(super) fn few_rows(&self, x: Mat<'_>, out: &mut [f32]) {
        let (rows, outputs) = (x.rows, out.len() / x.rows);
        of_kind!(self.kind, K => {
            let inputs = Inputs::new(x, K::GROUP);
            let per_task = (TASK / x.cols).max(1);
            let some = |first: usize, found: &mut [f32]| {
                for (at, found) in found.chunks_exact_mut(rows).enumerate() {
                    dots::<K>(&inputs, self.row(first + at, x.cols), found);
                }
            };
            if rows == 1 {
                out.par_chunks_mut(per_task).enumerate().for_each(|(task, out)| some(task * per_task, out));
            } else {
                let mut found = vec![0.0; out.len()];
                let tasks = found.par_chunks_mut(rows * per_task).enumerate();
                tasks.for_each(|(task, found)| some(task * per_task, found));
                for (output, found) in found.chunks_exact(rows).enumerate() {
                    found.iter().enumerate().for_each(|(row, found)| out[row * outputs + output] = *found);
                }
            }
        });
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
fn widen<const FMA: bool, K: Packed>(bytes: &[u8], values: &mut [f32]) {
    let mut unpacked = Unpacked::new();
    for (block, values) in bytes.chunks_exact(K::BYTES).zip(values.chunks_exact_mut(K::ELEMENTS)) {
        // SAFETY: arrays need no instruction set.
        unsafe { K::unpack::<[f32; 4]>(block, &mut unpacked) };
        let groups = values.chunks_exact_mut(K::GROUP).zip(unpacked.quantized.chunks_exact(K::GROUP));
        for (group, (values, quantized)) in groups.enumerate() {
            let (scale, offset) = (unpacked.scales[group], unpacked.offsets[group]);
            for (value, quantized) in values.iter_mut().zip(quantized) {
                let product = scale * f32::from(*quantized);
                *value = if K::HAS_OFFSETS { product + offset } else { product };
            }
        }
    }
}
