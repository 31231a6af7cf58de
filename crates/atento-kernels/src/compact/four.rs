//! Weights in four bits.
//!
//! A row is cut into blocks of 64. Of each, the largest absolute value is kept as `a`, and of each weight which of 16 levels
//! it is nearest to: `w ≈ a · level`. With two numbers in a byte and a factor for each block that is 4.5 bits a weight.
//!
//! [`INT4`] has levels at equal distances. [`NF4`] has those of the normal distribution, about as many weights at each (Dettmers
//! et al. 2023, "QLoRA", appendix E).

use rayon::prelude::*;

use crate::linear::WeightLayout;

/// Weights that share a factor.
pub const BLOCK: usize = 64;

/// Sixteen levels from −1 to 1 that rise, 0 among them.
pub type Levels = [f32; 16];

/// Fifteen levels at equal distances; the last comes twice.
pub const INT4: Levels = {
    let mut levels = [1.0; 16];
    let mut at = 0;
    while at < 15 {
        levels[at] = (at as f32 - 7.0) / 7.0;
        at += 1;
    }
    levels
};

/// The levels of four-bit NormalFloat.
pub const NF4: Levels = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// A matrix `[outputs, inputs]` in four bits, row by row; each row begins with a byte and a block of its own.
#[derive(Clone, Copy, Debug)]
pub struct FourBits<'a> {
    /// Two levels a byte, the first in the lower half: `[outputs, ⌈inputs / 2⌉]`.
    pub values: &'a [u8],
    /// The largest absolute value of each block: `[outputs, ⌈inputs / 64⌉]`.
    pub scales: &'a [f32],
    /// What the numbers stand for.
    pub levels: &'static Levels,
}

/// Bytes and factors of a row.
#[must_use]
pub fn row_sizes(inputs: usize) -> [usize; 2] {
    [inputs.div_ceil(2), inputs.div_ceil(BLOCK)]
}

/// The level that is nearest to a number from −1 to 1; of two as near, the lower one.
fn nearest(levels: &Levels, x: f32) -> u8 {
    let above = levels.partition_point(|level| *level < x).min(15);
    let is_lower = above > 0 && x - levels[above - 1] <= levels[above] - x;
    (above - usize::from(is_lower)) as u8
}

/// Rounds a weight to four bits, transposed to `[outputs, inputs]` where it is not.
///
/// # Shapes
/// `weight` as `layout` says; `out` and `scales` as [`FourBits`] has them.
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn to_four(
    weight: &[f32],
    layout: WeightLayout,
    inputs: usize,
    levels: &Levels,
    out: &mut [u8],
    scales: &mut [f32],
) {
    let (outputs, [bytes, blocks]) = (weight.len() / inputs.max(1), row_sizes(inputs));
    assert_eq!((out.len(), scales.len()), (outputs * bytes, outputs * blocks), "to_four: sizes");
    let rows = out.par_chunks_mut(bytes.max(1)).zip(scales.par_chunks_mut(blocks.max(1))).enumerate();
    rows.for_each(|(row, (out, scales))| {
        let at = |i: usize| match layout {
            WeightLayout::OutIn => weight[row * inputs + i],
            WeightLayout::InOut => weight[i * outputs + row],
        };
        out.fill(0);
        for (block, scale) in scales.iter_mut().enumerate() {
            let places = block * BLOCK..((block + 1) * BLOCK).min(inputs);
            *scale = places.clone().map(|i| at(i).abs()).fold(0.0, f32::max);
            let inverse = if *scale > 0.0 { scale.recip() } else { 0.0 };
            places.for_each(|i| out[i / 2] |= nearest(levels, at(i) * inverse) << (4 * (i % 2)));
        }
    });
}

impl FourBits<'_> {
    /// The f32 that one row stands for, times `factor`.
    #[track_caller]
    pub(super) fn widen_row(&self, row: usize, factor: f32, out: &mut [f32]) {
        let [bytes, blocks] = row_sizes(out.len());
        let (values, scales) = (&self.values[row * bytes..][..bytes], &self.scales[row * blocks..][..blocks]);
        for ((out, values), scale) in out.chunks_mut(BLOCK).zip(values.chunks(BLOCK / 2)).zip(scales) {
            // The sixteen numbers of the block.
            let numbers = self.levels.map(|level| level * (scale * factor));
            for (pair, byte) in out.chunks_mut(2).zip(values) {
                pair[0] = numbers[usize::from(byte & 15)];
                if let Some(second) = pair.get_mut(1) {
                    *second = numbers[usize::from(byte >> 4)];
                }
            }
        }
    }

    #[track_caller]
    pub(super) fn check(&self, outputs: usize, inputs: usize) {
        let [bytes, blocks] = row_sizes(inputs);
        let found = (self.values.len(), self.scales.len());
        assert_eq!(found, (outputs * bytes, outputs * blocks), "compact: four bits of [{outputs}, {inputs}]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::Compact;
    use crate::matmul::Precision;
    use crate::philox::Rng;

    fn normal(count: usize) -> Vec<f32> {
        let mut rng = Rng::new(3, 1);
        (0..count).map(|_| 0.02 * rng.normal()).collect()
    }

    /// A weight in four bits and back.
    fn rounded(weight: &[f32], layout: WeightLayout, inputs: usize, levels: &'static Levels) -> Vec<f32> {
        let (outputs, [bytes, blocks]) = (weight.len() / inputs, row_sizes(inputs));
        let (mut values, mut scales) = (vec![0; outputs * bytes], vec![0.0; outputs * blocks]);
        to_four(weight, layout, inputs, levels, &mut values, &mut scales);
        let held = Compact::Four(FourBits { values: &values, scales: &scales, levels });
        let mut out = vec![0.0; weight.len()];
        out.chunks_mut(inputs).enumerate().for_each(|(row, out)| held.widen_row(row, 1.0, out));
        out
    }

    #[test]
    fn a_weight_is_the_nearest_level_of_its_block() {
        for levels in [&INT4, &NF4] {
            assert!(levels.is_sorted() && levels.contains(&0.0) && levels[0] == -1.0 && levels[15] == 1.0);
            // Odd rows, and blocks that end early.
            for inputs in [1, 63, 64, 65, 129] {
                let weight = normal(3 * inputs);
                let found = rounded(&weight, WeightLayout::OutIn, inputs, levels);
                for (row, found) in weight.chunks(inputs).zip(found.chunks(inputs)) {
                    for (block, found) in row.chunks(BLOCK).zip(found.chunks(BLOCK)) {
                        let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                        for (x, found) in block.iter().zip(found) {
                            let error = |level: &f32| (x - largest * level).abs();
                            let least = levels.iter().map(error).fold(f32::MAX, f32::min);
                            assert!((x - found).abs() <= least + 1e-9, "{x} became {found}");
                        }
                    }
                }
                let columns: Vec<f32> = (0..inputs)
                    .flat_map(|i| (0..3).map(move |row| (row, i)))
                    .map(|(row, i)| weight[row * inputs + i])
                    .collect();
                assert_eq!(rounded(&columns, WeightLayout::InOut, inputs, levels), found);
            }
        }
        assert_eq!(rounded(&[0.0; 70], WeightLayout::OutIn, 70, &NF4), [0.0; 70]);
    }

    #[test]
    fn normal_weights_lose_less_with_levels_of_their_distribution() {
        let weight = normal(64 * 256);
        let error = |levels| -> f32 {
            let found = rounded(&weight, WeightLayout::OutIn, 256, levels);
            found.iter().zip(&weight).map(|(a, b)| (a - b).powi(2)).sum()
        };
        assert!(error(&NF4) < 0.9 * error(&INT4), "{} and {}", error(&NF4), error(&INT4));
    }

    #[test]
    fn products_are_those_of_the_numbers_that_it_stands_for() {
        let (inputs, outputs) = (70, 300);
        let weight = normal(outputs * inputs);
        let [bytes, blocks] = row_sizes(inputs);
        let (mut values, mut scales) = (vec![0; outputs * bytes], vec![0.0; outputs * blocks]);
        to_four(&weight, WeightLayout::OutIn, inputs, &NF4, &mut values, &mut scales);
        let held = Compact::Four(FourBits { values: &values, scales: &scales, levels: &NF4 });
        let wide = rounded(&weight, WeightLayout::OutIn, inputs, &NF4);
        for rows in [1, 3, 20] {
            let (x, mut y) = (normal(rows * inputs), vec![0.0; rows * outputs]);
            held.forward(Precision::F32, rows, &x, &mut y);
            let mut dx = vec![1.0; rows * inputs];
            held.backward_input(Precision::F32, rows, &y, &mut dx, true);
            for row in 0..rows {
                let dot = |o: usize| -> f32 { (0..inputs).map(|i| x[row * inputs + i] * wide[o * inputs + i]).sum() };
                (0..outputs).for_each(|o| assert!((y[row * outputs + o] - dot(o)).abs() < 1e-5));
                let back =
                    |i: usize| -> f32 { (0..outputs).map(|o| y[row * outputs + o] * wide[o * inputs + i]).sum() };
                (0..inputs).for_each(|i| assert!((dx[row * inputs + i] - 1.0 - back(i)).abs() < 1e-5));
            }
        }
    }
}
