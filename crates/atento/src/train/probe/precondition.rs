//! The preconditioner: what the curvature would be if it were the same for every row.

use atento_kernels::matmul::{Mat, MatMut, gemm};
use rayon::prelude::*;

use super::cholesky::{Cholesky, dot};
use super::columns::Columns;

/// Rows for each column, from which a part of the rows is read only: a preconditioner need not be exact.
const ROWS_PER_COLUMN: usize = 8;

/// Rows of one product in f32.
const BLOCK: usize = 2048;

/// What is added to the diagonal, relative to it, so that columns that follow from others can be factored.
const RIDGE: f64 = 1e-6;

/// The products of columns over the rows, `XᵀX`.
pub(super) struct Gram {
    rows: f64,
    width: usize,
    products: Vec<f64>,
}

impl Gram {
    /// The products over all rows, or estimated from every n-th.
    pub fn of(columns: &Columns) -> Self {
        let Columns { rows, width, ref values, .. } = *columns;
        let step = (rows / (ROWS_PER_COLUMN * width)).max(1);
        let read = rows.div_ceil(step);
        let mut products = vec![0.0; width * width];
        let mut part = vec![0.0; width * width];
        for first in (0..read).step_by(BLOCK) {
            let data = &values[first * step * width..];
            let x = Mat { data, rows: BLOCK.min(read - first), cols: width, row_stride: step * width, col_stride: 1 };
            gemm(1.0, x.t(), x, 0.0, MatMut::row_major(&mut part, width, width));
            products.iter_mut().zip(&part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
        let scale = rows as f64 / read as f64;
        products.iter_mut().for_each(|product| *product *= scale);
        Self { rows: rows as f64, width, products }
    }

    /// The preconditioner for a curvature and a regularisation of each column.
    pub fn preconditioner(&self, curvature: f64, penalty: &[f64]) -> Preconditioner {
        let mut ridge = RIDGE;
        loop {
            let mut matrix: Vec<f64> = self.products.iter().map(|product| curvature * product).collect();
            for column in 0..self.width {
                matrix[column * (self.width + 1)] += penalty[column] + ridge * curvature * self.rows;
            }
            if let Some(factor) = Cholesky::of(matrix, self.width) {
                return Preconditioner { curvature, width: self.width, bias: curvature * self.rows, factor };
            }
            ridge *= 10.0;
        }
    }
}

/// The matrix `curvature · XᵀX + penalty` for the weights of every output and `curvature · rows` for its bias, factored.
pub(super) struct Preconditioner {
    pub curvature: f64,
    width: usize,
    bias: f64,
    factor: Cholesky,
}

impl Preconditioner {
    /// `P⁻¹ v` for `v` of `[outputs, width + 1]`.
    pub fn solve(&self, v: &[f64]) -> Vec<f64> {
        let mut solved = v.to_vec();
        solved.par_chunks_exact_mut(self.width + 1).for_each(|v| {
            self.factor.solve(&mut v[..self.width]);
            v[self.width] /= self.bias;
        });
        solved
    }

    /// `√(vᵀ P⁻¹ v)`, the length of a gradient.
    pub fn dual_norm(&self, v: &[f64]) -> f64 {
        dot(v, &self.solve(v)).max(0.0).sqrt()
    }

    /// `√(vᵀ P v)`, the length of a layer.
    pub fn norm(&self, v: &[f64]) -> f64 {
        let squares = v.par_chunks_exact(self.width + 1).map(|v| {
            let (weight, bias) = v.split_at(self.width);
            self.factor.square(weight) + self.bias * bias[0] * bias[0]
        });
        squares.collect::<Vec<f64>>().into_iter().sum::<f64>().sqrt()
    }
}
