//! Singular values and vectors of a product of two thin matrices, found on matrices as small as its rank.
//!
//! Those of `B A` are the roots of the eigenvalues of `Lᵀ (A Aᵀ) L` with `L Lᵀ = Bᵀ B`. Eigenvalues by Jacobi's rotations (Golub
//! & Van Loan, Matrix Computations, §8.5), in f64.

use atento_tensor::{LookupPair, LowRank, Params};

use super::tables::transposed;

/// Rounds of rotations, far more than a matrix of any rank needs.
const MOST_ROUNDS: usize = 60;

/// The singular values of `scale · up · down`, in falling order.
pub(super) fn of_pair(params: &Params, pair: &LowRank) -> Vec<f64> {
    let (rank, down, up) = (pair.down.rows, params.to_f32(pair.down), params.to_f32(pair.up));
    let turned = transposed(&down, pair.down.cols);
    of_grams(gram(&turned, rank), &gram(&up, rank), rank, pair.scale)
}

/// The singular values of what a pair adds to the rows of a table, in falling order.
pub(super) fn of_lookup_pair(params: &Params, pair: &LookupPair) -> Vec<f64> {
    let (rank, rows, up) = (pair.rows.cols, params.to_f32(pair.rows), params.to_f32(pair.up));
    of_grams(gram(&up, rank), &gram(&rows, rank), rank, pair.scale)
}

/// The products of the columns of a matrix of this width with each other.
fn gram(values: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width * width];
    for row in values.chunks_exact(width) {
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(row[at / width]) * f64::from(row[at % width]);
        }
    }
    sums
}

/// The singular values of `scale · up · down` from `a = down downᵀ` and `b = upᵀ up`, in falling order.
fn of_grams(a: Vec<f64>, b: &[f64], rank: usize, scale: f32) -> Vec<f64> {
    let square = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        (0..rank * rank).map(|at| of(at / rank, at % rank)).collect()
    };
    let l = lower_root(b, rank);
    let la: Vec<f64> = square(&|i, j| (0..rank).map(|k| l[k * rank + i] * a[k * rank + j]).sum());
    let mut lal: Vec<f64> = square(&|i, j| (0..rank).map(|k| la[i * rank + k] * l[k * rank + j]).sum());
    let (mut found, _) = eigen(&mut lal, rank);
    found.iter_mut().for_each(|value| *value = f64::from(scale.abs()) * value.max(0.0).sqrt());
    found.sort_by(|x, y| y.total_cmp(x));
    found
}

/// `L` of `L Lᵀ`, lower triangular; a column without length is zero (Cholesky).
fn lower_root(a: &[f64], n: usize) -> Vec<f64> {
    let mut l = vec![0.0_f64; n * n];
    for j in 0..n {
        let rest = a[j * n + j] - (0..j).map(|k| l[j * n + k].powi(2)).sum::<f64>();
        if rest <= 1e-14 * a[j * n + j].abs() {
            continue;
        }
        let root = rest.sqrt();
        l[j * n + j] = root;
        for i in j + 1..n {
            let sum: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            l[i * n + j] = (a[i * n + j] - sum) / root;
        }
    }
    l
}

/// The pair of a rank whose product is nearest to that of a pair of any (Eckart & Young 1936): the greatest singular values
/// with their vectors.
///
/// # Shapes
/// `down`: [all, inputs]; `up`: [outputs, all]; results: [rank, inputs], [outputs, rank].
pub(super) fn truncated(down: &[f64], up: &[f64], all: usize, rank: usize) -> [Vec<f32>; 2] {
    let (inputs, outputs) = (down.len() / all, up.len() / all);
    let row = |at: usize| &down[at * inputs..][..inputs];
    let column = |at: usize| up.iter().skip(at).step_by(all);
    let gram = |of: &dyn Fn(usize, usize) -> f64| (0..all * all).map(|at| of(at / all, at % all)).collect::<Vec<f64>>();
    let (d, v) = eigen(&mut gram(&|i, j| column(i).zip(column(j)).map(|(x, y)| x * y).sum()), all);
    let (e, w) = eigen(&mut gram(&|i, j| row(i).iter().zip(row(j)).map(|(x, y)| x * y).sum()), all);
    let roots = |values: &[f64]| -> Vec<f64> {
        let most = values.iter().fold(0.0_f64, |most, x| most.max(*x));
        values.iter().map(|x| if *x > 1e-14 * most { x.sqrt() } else { 0.0 }).collect()
    };
    let (d, e) = (roots(&d), roots(&e));
    // up · down = U (√D Vᵀ W √E) Tᵀ with U and T orthonormal.
    let core = gram(&|i, j| d[i] * (0..all).map(|k| v[k * all + i] * w[k * all + j]).sum::<f64>() * e[j]);
    let mut square = gram(&|i, j| (0..all).map(|k| core[k * all + i] * core[k * all + j]).sum());
    let (squares, p) = eigen(&mut square, all);
    let mut order: Vec<usize> = (0..all).collect();
    order.sort_by(|x, y| squares[*y].total_cmp(&squares[*x]));
    let (mut new_down, mut new_up) = (vec![0.0; rank * inputs], vec![0.0; outputs * rank]);
    let share = |root: f64| if root > 0.0 { 1.0 / root } else { 0.0 };
    for (at, &one) in order.iter().take(rank).enumerate() {
        let size = squares[one].max(0.0).sqrt();
        if size == 0.0 {
            continue;
        }
        let left = |i: usize| (0..all).map(|j| core[i * all + j] * p[j * all + one]).sum::<f64>() / size;
        let of_rows: Vec<f64> =
            (0..all).map(|k| (0..all).map(|j| w[k * all + j] * share(e[j]) * p[j * all + one]).sum()).collect();
        let lefts: Vec<f64> = (0..all).map(|i| left(i) * share(d[i])).collect();
        let of_columns: Vec<f64> = (0..all).map(|k| (0..all).map(|i| v[k * all + i] * lefts[i]).sum()).collect();
        for input in 0..inputs {
            let sum: f64 = (0..all).map(|k| of_rows[k] * down[k * inputs + input]).sum();
            new_down[at * inputs + input] = (size.sqrt() * sum) as f32;
        }
        for output in 0..outputs {
            let sum: f64 = (0..all).map(|k| of_columns[k] * up[output * all + k]).sum();
            new_up[output * rank + at] = (size.sqrt() * sum) as f32;
        }
    }
    [new_down, new_up]
}

/// The eigenvalues of a symmetric matrix, which is changed, and their vectors, a column each.
pub(super) fn eigen(a: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
    for _ in 0..MOST_ROUNDS {
        let outside: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at].powi(2)).sum();
        let inside: f64 = (0..n).map(|i| a[i * n + i].powi(2)).sum();
        if outside <= 1e-30 * inside {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(a, &mut vectors, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

/// Makes the element in row `p` and column `q` zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (kp, kq) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * kp - s * kq, s * kp + c * kq);
        let (kp, kq) = (vectors[k * n + p], vectors[k * n + q]);
        (vectors[k * n + p], vectors[k * n + q]) = (c * kp - s * kq, s * kp + c * kq);
    }
    for k in 0..n {
        let (pk, qk) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * pk - s * qk, s * pk + c * qk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atento_kernels::philox::Rng;
    use atento_tensor::Init;

    fn pair(down: &[f32], up: &[f32], rank: usize, scale: f32) -> Vec<f64> {
        let (mut params, rng) = (Params::new(), &mut Rng::new(0, 0));
        let (inputs, outputs) = (down.len() / rank, up.len() / rank);
        let a = params.add("a", &[rank, inputs], Init::Zeros, rng);
        let b = params.add("b", &[outputs, rank], Init::Zeros, rng);
        params.get_mut(a).copy_from_slice(down);
        params.get_mut(b).copy_from_slice(up);
        of_pair(&params, &LowRank { down: a, up: b, scale, dropout: 0.0, outputs: 0..outputs, magnitude: None })
    }

    #[test]
    fn singular_values_are_those_of_the_product() {
        // Orthogonal rows and columns: 2 · 3 · 0.5 and 1 · 4 · 0.5.
        let found = pair(&[0.0, 2.0, 0.0, 1.0, 0.0, 0.0], &[3.0, 0.0, 0.0, 4.0], 2, 0.5);
        assert!((found[0] - 3.0).abs() < 1e-12 && (found[1] - 2.0).abs() < 1e-12, "{found:?}");
        // The same row twice: one direction alone, of length √(1 + 4) · √(1 + 1) · …: B = [1 1], A = [1 2; 1 2].
        let found = pair(&[1.0, 2.0, 1.0, 2.0], &[1.0, 1.0], 2, 1.0);
        assert!((found[0] - 2.0 * 5.0_f64.sqrt()).abs() < 1e-9 && found[1].abs() < 1e-6, "{found:?}");
        assert_eq!(pair(&[1.0, 2.0], &[0.0, 0.0, 0.0], 1, 1.0), [0.0]);
    }

    /// All of a product comes back, and of a part what is left out is what its other singular values say.
    #[test]
    fn the_nearest_pair_of_a_rank_leaves_out_the_smallest_values() {
        let wave = |len: usize, phase: f64| (0..len).map(|i| (1.3 * i as f64 + phase).sin()).collect::<Vec<f64>>();
        let (inputs, outputs, all) = (11, 7, 4);
        let (down, up) = (wave(all * inputs, 0.0), wave(outputs * all, 2.0));
        let single = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let values = pair(&single(&down), &single(&up), all, 1.0);
        for rank in [1, 2, 4, 6] {
            let [new_down, new_up] = truncated(&down, &up, all, rank);
            let mut left = 0.0;
            for at in 0..outputs * inputs {
                let (o, i) = (at / inputs, at % inputs);
                let before: f64 = (0..all).map(|k| up[o * all + k] * down[k * inputs + i]).sum();
                let entry = |k: usize| f64::from(new_up[o * rank + k]) * f64::from(new_down[k * inputs + i]);
                left += (before - (0..rank).map(entry).sum::<f64>()).powi(2);
            }
            let expected: f64 = values.iter().skip(rank).map(|value| value * value).sum();
            assert!((left - expected).abs() < 1e-5 * values[0].powi(2), "rank {rank}: {left}, {expected}");
        }
    }

    /// Σ σ² is the squared norm of the product.
    #[test]
    fn their_squares_sum_to_the_norm_of_the_product() {
        let wave = |len: usize, phase: f32| (0..len).map(|i| (1.3 * i as f32 + phase).sin()).collect::<Vec<f32>>();
        let (down, up, rank) = (wave(5 * 11, 0.0), wave(7 * 5, 2.0), 5);
        let found = pair(&down, &up, rank, 2.0);
        let entry = |o: usize, i: usize| 2.0 * (0..rank).map(|r| up[o * rank + r] * down[r * 11 + i]).sum::<f32>();
        let norm: f64 = (0..77).map(|at| f64::from(entry(at / 11, at % 11)).powi(2)).sum();
        assert!((found.iter().map(|s| s * s).sum::<f64>() / norm - 1.0).abs() < 1e-5);
        assert!(found.is_sorted_by(|x, y| x >= y));
    }
}
