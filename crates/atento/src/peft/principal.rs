//! Pairs that begin with the principal directions of their matrix (Meng et al. 2024, PiSSA, eq. 2–4): of `W = U S Vᵀ`, with a
//! factor s of the pair, `up = U √(S/s)` and `down = √(S/s) Vᵀ` of the greatest singular values. What is trained is that part
//! of the matrix, and the rest of it stays.
//!
//! The matrix itself is not changed here. A second pair, which is not trained, takes away what the first begins with:
//! `W − s·up₀·down₀ + s·up·down`. So the frozen values stay those of the model's file, and an adapter is saved as the
//! difference of the two pairs, of twice the rank, which goes with the model as it is.
//!
//! Singular vectors are found by a block Krylov method, begun anew with the best vectors so far (Golub & Van Loan, Matrix
//! Computations, §10.3 and §10.5), in f64.

use atento_kernels::linear::WeightLayout;
use atento_kernels::philox::Rng;
use atento_tensor::{Frozen, LowRank, Params, View, Weight};
use rayon::prelude::*;

use super::modules::Module;
use super::spectrum::eigen;

/// The random stream that the search starts from.
const STREAM: u64 = 0x7072_696e;

/// Vectors more than are wanted, which bring those nearer.
const MORE: usize = 8;

/// How many vectors are sought in at a time, unless so many are wanted that they are few.
const BASIS: usize = 96;

/// Rounds, after which what was found is taken.
const MOST_ROUNDS: usize = 100;

/// The share of the sum of squares by which a last round may raise it.
const SETTLED: f64 = 1e-13;

/// The names of what the second pair consists of.
pub(super) const TAKEN: [&str; 2] = ["lora_A0.weight", "lora_B0.weight"];

/// `[rank, inputs]` and `[outputs, rank]`, the factor of whose product is `scale`.
pub(super) type Halves = [Vec<f32>; 2];

/// The principal pair of some outputs of a matrix.
pub(super) fn of_module(
    params: &Params,
    module: &Module,
    outputs: &std::ops::Range<usize>,
    rank: usize,
    scale: f64,
) -> Halves {
    let (Module { weight, .. }, (all, inputs)) = (module, module.sizes());
    let mut rows = vec![0.0; outputs.len() * inputs];
    match (params.view(*weight), module.layout) {
        // A row for each output, however the parameter lies.
        (View::Compact(compact), _) => {
            outputs.clone().zip(rows.chunks_exact_mut(inputs)).for_each(|(at, row)| compact.widen_row(at, 1.0, row));
        }
        (_, WeightLayout::OutIn) => {
            rows.copy_from_slice(&params.to_f32(*weight)[outputs.start * inputs..outputs.end * inputs]);
        }
        (_, WeightLayout::InOut) => {
            for (input, own) in params.to_f32(*weight).chunks_exact(all).enumerate() {
                for (output, value) in own[outputs.clone()].iter().enumerate() {
                    rows[output * inputs + input] = *value;
                }
            }
        }
    }
    let values: Vec<f64> = rows.into_iter().map(f64::from).collect();
    Matrix { values: &values, rows: outputs.len(), cols: inputs }.principal(rank, scale)
}

/// Puts the second pair on a module.
pub(super) fn take_away(
    params: &mut Params,
    weight: Weight,
    names: [String; 2],
    halves: Option<Halves>,
    pair: &LowRank,
) {
    let dims = [[pair.down.rows, pair.down.cols], [pair.up.rows, pair.up.cols]];
    let halves = halves.unwrap_or_else(|| dims.map(|[rows, cols]| vec![0.0; rows * cols]));
    let mut add = |at: usize, values: Vec<f32>| params.add_frozen(&names[at], &dims[at], Frozen::F32(values.into()));
    let [down, up] = halves;
    let (down, up) = (add(0, down), add(1, up));
    let taken = LowRank { down, up, scale: -pair.scale, dropout: 0.0, outputs: pair.outputs.clone(), magnitude: None };
    params.add_low_rank(weight, taken);
}

struct Matrix<'v> {
    values: &'v [f64],
    rows: usize,
    cols: usize,
}

impl Matrix<'_> {
    fn principal(&self, rank: usize, scale: f64) -> Halves {
        let (rows, cols) = (self.rows, self.cols);
        let block = (rank + MORE.max(rank / 4)).min(cols);
        let steps = (BASIS / block).max(3);
        let rng = &mut Rng::new(0, STREAM);
        let mut start: Vec<Vec<f64>> =
            (0..block).map(|_| (0..cols).map(|_| f64::from(rng.uniform()) - 0.5).collect()).collect();
        // Within what the rows span.
        start = self.turned_times(&self.times(&start));
        let mut before = 0.0;
        for round in 1.. {
            let (basis, images) = self.krylov(start, steps);
            let size = basis.len();
            let mut gram: Vec<f64> = (0..size * size)
                .into_par_iter()
                .map(|at| if at / size <= at % size { dot(&images[at / size], &images[at % size]) } else { 0.0 })
                .collect();
            for at in 0..size * size {
                gram[at] = gram[(at / size).min(at % size) * size + (at / size).max(at % size)];
            }
            let (squares, vectors) = eigen(&mut gram, size);
            let mut order: Vec<usize> = (0..size).collect();
            order.sort_by(|x, y| squares[*y].total_cmp(&squares[*x]));
            let mixed = |of: &[Vec<f64>], one: usize| -> Vec<f64> {
                let mut sum = vec![0.0; of[0].len()];
                of.iter().enumerate().for_each(|(at, vector)| add(&mut sum, vectors[at * size + one], vector));
                sum
            };
            let most: f64 = order.iter().take(rank).map(|one| squares[*one].max(0.0)).sum();
            let is_settled = most - before <= SETTLED * most || size == cols.min(rows);
            if !is_settled && round < MOST_ROUNDS {
                before = most;
                start = order.par_iter().take(block).map(|one| mixed(&basis, *one)).collect();
                continue;
            }
            let (mut down, mut up) = (vec![0.0; rank * cols], vec![0.0; rows * rank]);
            for (at, &one) in order.iter().take(rank).enumerate() {
                let size = squares[one].max(0.0).sqrt();
                if size == 0.0 {
                    continue;
                }
                let share = (size / scale).sqrt();
                let (left, right) = (mixed(&images, one), mixed(&basis, one));
                down[at * cols..][..cols].iter_mut().zip(right).for_each(|(to, x)| *to = (share * x) as f32);
                up.iter_mut().skip(at).step_by(rank).zip(left).for_each(|(to, x)| *to = (share * x / size) as f32);
            }
            return [down, up];
        }
        unreachable!("rounds end")
    }

    /// Orthonormal vectors of the space that a block, its images under `WᵀW`, theirs and so on span, and their images under `W`.
    fn krylov(&self, start: Vec<Vec<f64>>, steps: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let (mut basis, mut images): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        let mut block = start;
        for step in 1..=steps {
            let first = basis.len();
            for mut vector in block {
                // Twice, for the first time leaves what rounding has put in.
                let before = dot(&vector, &vector).sqrt();
                for _ in 0..2 {
                    basis.iter().for_each(|other| remove(&mut vector, other));
                }
                let length = dot(&vector, &vector).sqrt();
                if length > 1e-10 * before && basis.len() < self.cols.min(self.rows) {
                    vector.iter_mut().for_each(|x| *x /= length);
                    basis.push(vector);
                }
            }
            images.extend(self.times(&basis[first..]));
            if first == basis.len() || step == steps {
                break;
            }
            block = self.turned_times(&images[first..]);
        }
        (basis, images)
    }

    /// `W` times vectors.
    fn times(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let image = |vector: &Vec<f64>| self.values.chunks_exact(self.cols).map(|row| dot(row, vector)).collect();
        vectors.par_iter().map(image).collect()
    }

    /// `Wᵀ` times vectors.
    fn turned_times(&self, vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let image = |vector: &Vec<f64>| {
            let mut sum = vec![0.0; self.cols];
            self.values.chunks_exact(self.cols).zip(vector).for_each(|(row, by)| add(&mut sum, *by, row));
            sum
        };
        vectors.par_iter().map(image).collect()
    }
}

/// Eight sums side by side, which the compiler makes one of.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        (0..8).for_each(|at| sums[at] += x[at] * y[at]);
    }
    rest + sums.iter().sum::<f64>()
}

/// Takes away what of a vector lies along another, of length 1.
fn remove(from: &mut [f64], unit: &[f64]) {
    let along = dot(from, unit);
    add(from, -along, unit);
}

fn add(to: &mut [f64], by: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += by * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix with singular values that are known: `Σ σ u vᵀ` with orthonormal u and v.
    fn known(rows: usize, cols: usize, values: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let rng = &mut Rng::new(3, 1);
        let mut orthonormal = |length: usize| {
            let mut found: Vec<Vec<f64>> = Vec::new();
            while found.len() < values.len() {
                let mut vector: Vec<f64> = (0..length).map(|_| f64::from(rng.uniform()) - 0.5).collect();
                for _ in 0..2 {
                    found.iter().for_each(|other| remove(&mut vector, other));
                }
                let size = dot(&vector, &vector).sqrt();
                found.push(vector.into_iter().map(|x| x / size).collect());
            }
            found
        };
        let (left, right) = (orthonormal(rows), orthonormal(cols));
        let mut matrix = vec![0.0; rows * cols];
        for ((value, u), v) in values.iter().zip(&left).zip(&right) {
            matrix.chunks_exact_mut(cols).zip(u).for_each(|(row, u)| add(row, value * u, v));
        }
        (matrix, left, right)
    }

    #[test]
    fn the_pair_is_the_part_of_the_matrix_with_the_greatest_singular_values() {
        // Values that hardly fall, as those of a trained matrix, and sizes on both sides of a square's.
        let values: Vec<f64> = (0..60).map(|at| 2.0 * 0.98_f64.powi(at)).collect();
        for (rows, cols) in [(60, 200), (200, 60), (70, 61)] {
            let (matrix, left, right) = known(rows, cols, &values);
            let [down, up] = Matrix { values: &matrix, rows, cols }.principal(4, 0.5);
            for row in 0..rows {
                for col in 0..cols {
                    let found: f64 = (0..4).map(|k| f64::from(up[row * 4 + k]) * f64::from(down[k * cols + col])).sum();
                    let known: f64 = (0..4).map(|k| values[k] * left[k][row] * right[k][col]).sum();
                    assert!((0.5 * found - known).abs() < 1e-5, "{rows} x {cols}: {found} {known}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_of_less_rank_is_the_pair_whole() {
        let (matrix, ..) = known(9, 6, &[3.0, 1.0]);
        let [down, up] = Matrix { values: &matrix, rows: 9, cols: 6 }.principal(4, 2.0);
        for (at, value) in matrix.iter().enumerate() {
            let found: f32 = (0..4).map(|k| up[at / 6 * 4 + k] * down[k * 6 + at % 6]).sum();
            assert!((2.0 * f64::from(found) - value).abs() < 1e-6);
        }
        let [down, up] = Matrix { values: &[0.0; 12], rows: 3, cols: 4 }.principal(2, 1.0);
        assert!(down.iter().chain(&up).all(|value| *value == 0.0));
    }
}
