//! Features with columns of mean 0 and variance 1, and the way back.

use rayon::prelude::*;

use super::{Error, Scaling};

/// Rows whose sums are added up before those of others.
const ROWS: usize = 1024;

/// A column whose deviation is below this share of its mean, or of the widest column's deviation, is constant: in f32 its
/// changes are lost beside what they are added to. A weight that made something of them would be so large that no further
/// training could start from it.
const LEAST: f64 = f32::EPSILON as f64;

/// Standardised features.
pub(super) struct Columns {
    pub rows: usize,
    pub width: usize,
    /// `[rows, width]`: the features less their means, divided by their deviations; 0 in columns that are constant ([`LEAST`]).
    pub values: Vec<f32>,
    pub means: Vec<f64>,
    /// The root of the mean squared deviation of each column; 1 of one that is constant.
    pub deviations: Vec<f64>,
}

impl Columns {
    /// Standardises features `[rows, width]`, all finite; means and deviations in two passes.
    pub fn of(features: &[f32], width: usize) -> Self {
        let rows = features.len() / width;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / rows as f64).collect::<Vec<_>>();
        let means = mean(column_sums(features, width, |_, x| f64::from(x)));
        let squares = mean(column_sums(features, width, |column, x| (f64::from(x) - means[column]).powi(2)));
        let widest = squares.iter().copied().fold(0.0, f64::max);
        let varies: Vec<bool> = squares
            .iter()
            .zip(&means)
            .map(|(square, mean)| square.sqrt() > LEAST * widest.max(mean * mean).sqrt())
            .collect();
        let deviations: Vec<f64> =
            squares.iter().zip(&varies).map(|(square, varies)| if *varies { square.sqrt() } else { 1.0 }).collect();
        let mut values = vec![0.0; features.len()];
        values.par_chunks_mut(ROWS * width).zip(features.par_chunks(ROWS * width)).for_each(|(to, from)| {
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(width)) {
                for column in 0..width {
                    if varies[column] {
                        to[column] = ((f64::from(from[column]) - means[column]) / deviations[column]) as f32;
                    }
                }
            }
        });
        Self { rows, width, values, means, deviations }
    }

    /// What a regularisation of strength `strength` costs the weights of each standardised column.
    pub fn penalty(&self, strength: f64, scaling: Scaling) -> Vec<f64> {
        let of = |deviation: &f64| match scaling {
            Scaling::AsGiven => strength / (deviation * deviation),
            Scaling::Standardized => strength,
        };
        self.deviations.iter().map(of).collect()
    }

    /// The weights `[outputs, width]` and biases `[outputs]` over the features as they were that give the scores of `layer`
    /// `[outputs, width + 1]` over the standardised ones.
    pub fn fold(&self, layer: &[f64]) -> Result<(Vec<f32>, Vec<f64>), Error> {
        let (mut weights, mut biases) = (Vec::with_capacity(layer.len()), Vec::new());
        for row in layer.chunks_exact(self.width + 1) {
            let mut bias = row[self.width];
            for column in 0..self.width {
                let weight = row[column] / self.deviations[column];
                if !(weight as f32).is_finite() {
                    return Err(Error::Weight { column });
                }
                bias -= weight * self.means[column];
                weights.push(weight as f32);
            }
            biases.push(bias);
        }
        Ok((weights, biases))
    }
}

/// The sum over rows of what `of` makes of each column, added up block by block.
fn column_sums(features: &[f32], width: usize, of: impl Fn(usize, f32) -> f64 + Sync) -> Vec<f64> {
    let block = |rows: &[f32]| {
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            for (column, (sum, x)) in sums.iter_mut().zip(row).enumerate() {
                *sum += of(column, *x);
            }
        }
        sums
    };
    let blocks: Vec<Vec<f64>> = features.par_chunks(ROWS * width).map(block).collect();
    let mut sums = vec![0.0; width];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
    }
    sums
}
