//! One pass over the rows: scores, what a loss makes of them, and the sums of that times the features.

use std::ops::Range;

use atento_kernels::matmul::{Mat, MatMut, gemm_serial};
use rayon::prelude::*;

use super::columns::Columns;

/// Rows whose features lie in the cache from the scores to the sums.
const BLOCK: usize = 256;

/// Most parts that the rows are cut into, each with sums of its own.
const PARTS: usize = 16;

/// What a pass gives.
pub(super) struct Sums {
    /// The sum of what was returned for the blocks.
    pub loss: f64,
    /// `[outputs, width + 1]`: for each output the sum over rows of its number times the features, then of its number.
    pub products: Vec<f64>,
}

/// For each block of rows: the scores `[outputs, rows]` of the layer `[outputs, width + 1]` (weights, then the bias), which
/// `make` turns into other numbers of that shape, keeping what it likes in `kept`, `[outputs]` numbers for each row.
///
/// Scores and products of a block are in f32; sums over blocks are in f64, in the order of the rows within a part and of
/// the parts. Parts follow from the number of rows.
pub(super) fn pass(
    columns: &Columns,
    layer: &[f64],
    outputs: usize,
    kept: &mut [f32],
    make: impl Fn(Range<usize>, &mut [f32], &mut [f32]) -> f64 + Sync,
) -> Sums {
    let Columns { rows, width, ref values, .. } = *columns;
    let weight: Vec<f32> =
        layer.chunks_exact(width + 1).flat_map(|row| row[..width].iter().map(|&weight| weight as f32)).collect();
    let part_rows = rows.div_ceil(PARTS).next_multiple_of(BLOCK);
    let part = |(part, (values, kept)): (usize, (&[f32], &mut [f32]))| {
        let mut sums = Sums { loss: 0.0, products: vec![0.0; layer.len()] };
        let mut scores = vec![0.0; outputs * BLOCK];
        let mut products = vec![0.0; outputs * width];
        let blocks = values.chunks(BLOCK * width).zip(kept.chunks_mut(BLOCK * outputs));
        for (block, (values, kept)) in blocks.enumerate() {
            let count = values.len() / width;
            let scores = &mut scores[..outputs * count];
            for (row, layer) in scores.chunks_exact_mut(count).zip(layer.chunks_exact(width + 1)) {
                row.fill(layer[width] as f32);
            }
            let x = Mat::row_major(values, count, width);
            let weight = Mat::row_major(&weight, outputs, width);
            gemm_serial(1.0, weight, x.t(), 1.0, MatMut::row_major(scores, outputs, count));
            let first = part * part_rows + block * BLOCK;
            sums.loss += make(first..first + count, scores, kept);
            let made = Mat::row_major(scores, outputs, count);
            gemm_serial(1.0, made, x, 0.0, MatMut::row_major(&mut products, outputs, width));
            let made = products.chunks_exact(width).zip(scores.chunks_exact(count));
            for (sums, (products, made)) in sums.products.chunks_exact_mut(width + 1).zip(made) {
                sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += f64::from(*product));
                sums[width] += made.iter().map(|made| f64::from(*made)).sum::<f64>();
            }
        }
        sums
    };
    let parts = values.par_chunks(part_rows * width).zip(kept.par_chunks_mut(part_rows * outputs));
    let parts: Vec<Sums> = parts.enumerate().map(part).collect();
    let mut sums = Sums { loss: 0.0, products: vec![0.0; layer.len()] };
    for part in parts {
        sums.loss += part.loss;
        sums.products.iter_mut().zip(part.products).for_each(|(sum, part)| *sum += part);
    }
    sums
}
