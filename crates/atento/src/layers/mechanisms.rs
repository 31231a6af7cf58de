//! The attention mechanisms of "Attention Is All You Need" (Vaswani et al. 2017) as short pure functions over a plain
//! [`Matrix`]: to be read and run, not to be fast. The examples `01_self_attention` to `06_positions` walk through
//! them in order. The models use the fused attention kernel, which computes the same.
//!
//! One row of a matrix is one token. With queries Q, keys K and values V, row i of every mechanism is
//!
//! α_ij = softmax_j(score_ij),   z_i = Σ_j α_ij v_j,
//!
//! where α is the *attention matrix*, each of its rows a distribution over the tokens that row i looks at, and z_i is
//! token i's *context vector*. The mechanisms differ in where the scores come from:
//!
//! | mechanism | scores | values |
//! |---|---|---|
//! | [`self_attention`], without parameters | x_i · x_j | x_j |
//! | [`scaled_dot_product`] (eq. 1) | q_i · k_j / √d_k | v_j |
//! | … masked ([`causal_mask`]) | −∞ for j > i | v_j |
//! | … cross-attention | q from one sentence, k and v from another | v_j |
//! | [`MultiHeadAttention`] (§3.2.2) | h of them at once, each in d_model/h dimensions | |
//!
//! Numerics: f32; a row's maximum is subtracted before the exponential; a row whose scores are all −∞ gets weights 0.

use std::ops::Range;

use atento_kernels::philox;

/// A table of numbers, stored row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// The numbers: `rows` times `cols` of them.
    pub data: Vec<f32>,
}

impl Matrix {
    /// The matrix whose number in row i and column j is `value(i, j)`.
    pub fn from_fn(rows: usize, cols: usize, mut value: impl FnMut(usize, usize) -> f32) -> Self {
        let data = (0..rows * cols).map(|index| value(index / cols, index % cols)).collect();
        Matrix { rows, cols, data }
    }

    /// The matrix of these rows.
    pub fn from_rows<const N: usize>(rows: &[[f32; N]]) -> Self {
        Matrix { rows: rows.len(), cols: N, data: rows.concat() }
    }

    /// Random weights for a linear map of `rows` inputs: normal with variance 1/`rows`, so that the outputs vary as
    /// much as the inputs do. The same seed gives the same weights.
    pub fn random(rows: usize, cols: usize, seed: u64) -> Self {
        let mut data = vec![0.0; rows * cols];
        philox::fill_normal(seed, 0, 1.0 / (rows as f32).sqrt(), &mut data);
        Matrix { rows, cols, data }
    }

    /// The numbers of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// The number in row `i` and column `j`.
    pub fn at(&self, i: usize, j: usize) -> f32 {
        self.row(i)[j]
    }

    /// The product: row i, column j of the result is row i of `self` times column j of `other`.
    ///
    /// # Shapes
    /// - `self`: `[rows, inner]`, `other`: `[inner, cols]`, result: `[rows, cols]`
    ///
    /// # Panics
    /// If the inner sizes differ.
    #[track_caller]
    pub fn matmul(&self, other: &Matrix) -> Matrix {
        assert_eq!(
            self.cols, other.rows,
            "matmul: [{}, {}] times [{}, {}]",
            self.rows, self.cols, other.rows, other.cols
        );
        let product = |i: usize, j: usize| (0..self.cols).map(|inner| self.at(i, inner) * other.at(inner, j)).sum();
        Matrix::from_fn(self.rows, other.cols, product)
    }

    /// Rows become columns.
    pub fn transpose(&self) -> Matrix {
        Matrix::from_fn(self.cols, self.rows, |i, j| self.at(j, i))
    }

    /// The sum, number by number.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn plus(&self, other: &Matrix) -> Matrix {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "plus: the shapes differ");
        Matrix::from_fn(self.rows, self.cols, |i, j| self.at(i, j) + other.at(i, j))
    }

    /// Every number times `factor`.
    pub fn scaled(&self, factor: f32) -> Matrix {
        Matrix::from_fn(self.rows, self.cols, |i, j| self.at(i, j) * factor)
    }

    /// The columns `range` of every row.
    pub fn columns(&self, range: Range<usize>) -> Matrix {
        Matrix::from_fn(self.rows, range.len(), |i, j| self.at(i, range.start + j))
    }

    /// The matrices side by side.
    ///
    /// # Panics
    /// If there is none, or one has other rows than the first.
    #[track_caller]
    pub fn side_by_side(parts: &[Matrix]) -> Matrix {
        let rows = parts[0].rows;
        assert!(parts.iter().all(|part| part.rows == rows), "side_by_side: the numbers of rows differ");
        let data: Vec<f32> = (0..rows).flat_map(|i| parts.iter().flat_map(move |part| part.row(i)).copied()).collect();
        Matrix { rows, cols: data.len() / rows.max(1), data }
    }
}

/// What a mechanism computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// The attention matrix α, `[queries, keys]`; each row sums to 1.
    pub weights: Matrix,
    /// The context vectors z, `[queries, d_value]`.
    pub context: Matrix,
}

/// Turns each row of scores into a distribution: exp(s_ij) / Σ_j exp(s_ij). A row of −∞ alone becomes 0.
///
/// # Shapes
/// - `scores` and the result: `[queries, keys]`
pub fn softmax_rows(scores: &Matrix) -> Matrix {
    let mut weights = scores.clone();
    for row in weights.data.chunks_mut(scores.cols.max(1)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if max == f32::NEG_INFINITY {
            row.fill(0.0);
            continue;
        }
        row.iter_mut().for_each(|score| *score = (*score - max).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
    weights
}

/// Self-attention without parameters: z_i = Σ_j softmax_j(x_i · x_j) x_j. Similar tokens look at each other.
///
/// # Shapes
/// - `x`: `[tokens, d]`
pub fn self_attention(x: &Matrix) -> Attention {
    let weights = softmax_rows(&x.matmul(&x.transpose()));
    let context = weights.matmul(x);
    Attention { weights, context }
}

/// Scaled dot-product attention: softmax(Q Kᵀ / √d_k + mask) V (Vaswani et al. 2017, eq. 1 and §3.2.3).
/// Dividing by √d_k keeps the scores' variance at that of the inputs, so that the softmax does not saturate.
///
/// # Shapes
/// - `query`: `[queries, d_k]`
/// - `key`: `[keys, d_k]`
/// - `value`: `[keys, d_value]`
/// - `mask`: `[queries, keys]`, 0 where looking is allowed and −∞ where it is not
///
/// # Panics
/// If the shapes do not fit together.
#[track_caller]
pub fn scaled_dot_product(query: &Matrix, key: &Matrix, value: &Matrix, mask: Option<&Matrix>) -> Attention {
    let scores = query.matmul(&key.transpose()).scaled(1.0 / (query.cols as f32).sqrt());
    let weights = softmax_rows(&mask.map_or_else(|| scores.clone(), |mask| scores.plus(mask)));
    let context = weights.matmul(value);
    Attention { weights, context }
}

/// The mask that hides the future: 0 for j ≤ i, −∞ for j > i. A decoder's token may look at itself and back.
///
/// # Shapes
/// - result: `[tokens, tokens]`
pub fn causal_mask(tokens: usize) -> Matrix {
    Matrix::from_fn(tokens, tokens, |i, j| if j > i { f32::NEG_INFINITY } else { 0.0 })
}

/// Multi-head attention (Vaswani et al. 2017, §3.2.2): Concat(head_1, …, head_h) W_O, where
/// head_n = Attention(X_q W_Q⁽ⁿ⁾, X_kv W_K⁽ⁿ⁾, X_kv W_V⁽ⁿ⁾). The heads' maps stand side by side in `w_q`, `w_k` and
/// `w_v`, so head n owns the columns n·d_model/h to (n+1)·d_model/h.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    /// Number of heads h.
    pub n_heads: usize,
    /// W_Q: token vector → query; `[d_model, d_model]` like the others.
    pub w_q: Matrix,
    /// W_K: token vector → key.
    pub w_k: Matrix,
    /// W_V: token vector → value.
    pub w_v: Matrix,
    /// W_O: the heads' context vectors → output.
    pub w_o: Matrix,
}

/// What multi-head attention computes.
#[derive(Clone, Debug)]
pub struct MultiHead {
    /// Each head's weights `[queries, keys]` and context vectors `[queries, d_model / h]`.
    pub heads: Vec<Attention>,
    /// The mixed context vectors, `[queries, d_model]`.
    pub output: Matrix,
}

impl MultiHeadAttention {
    /// Random weights; the same seed gives the same ones.
    ///
    /// # Panics
    /// If `d_model` is not a multiple of `n_heads`.
    #[track_caller]
    pub fn init(d_model: usize, n_heads: usize, seed: u64) -> Self {
        assert!(
            n_heads > 0 && d_model.is_multiple_of(n_heads),
            "MultiHeadAttention: {n_heads} heads do not divide d_model {d_model}"
        );
        let [w_q, w_k, w_v, w_o] = [0, 1, 2, 3].map(|n| Matrix::random(d_model, d_model, 4 * seed + n));
        MultiHeadAttention { n_heads, w_q, w_k, w_v, w_o }
    }

    /// Lets each token of `x_query` look at the tokens of `x_key_value`: the same matrix for self-attention, another
    /// sentence for cross-attention.
    ///
    /// # Shapes
    /// - `x_query`: `[queries, d_model]`
    /// - `x_key_value`: `[keys, d_model]`
    /// - `mask`: `[queries, keys]`, 0 or −∞
    #[track_caller]
    pub fn forward(&self, x_query: &Matrix, x_key_value: &Matrix, mask: Option<&Matrix>) -> MultiHead {
        let query = x_query.matmul(&self.w_q);
        let key = x_key_value.matmul(&self.w_k);
        let value = x_key_value.matmul(&self.w_v);
        let head_dim = self.w_q.cols / self.n_heads;
        let head = |n: usize| {
            let own = n * head_dim..(n + 1) * head_dim;
            let [query, key, value] = [&query, &key, &value].map(|all| all.columns(own.clone()));
            scaled_dot_product(&query, &key, &value, mask)
        };
        let heads: Vec<Attention> = (0..self.n_heads).map(head).collect();
        let contexts: Vec<Matrix> = heads.iter().map(|head| head.context.clone()).collect();
        MultiHead { output: Matrix::side_by_side(&contexts).matmul(&self.w_o), heads }
    }
}

/// Sinusoidal positions (Vaswani et al. 2017, §3.5): PE(pos, 2i) = sin(pos / 10000^(2i/d)),
/// PE(pos, 2i+1) = cos(pos / 10000^(2i/d)). Computed in f64. The models keep all sines before all cosines, as Marian
/// does: the same numbers in another order.
///
/// # Shapes
/// - result: `[positions, d]`
pub fn sinusoidal_positions(positions: usize, d: usize) -> Matrix {
    Matrix::from_fn(positions, d, |position, column| {
        let pair = (column / 2 * 2) as f64;
        let angle = position as f64 / 10_000f64.powf(pair / d as f64);
        (if column % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that depend on their place only, easy to make again in another language.
    fn waves(rows: usize, cols: usize, seed: usize) -> Matrix {
        Matrix::from_fn(rows, cols, |i, j| ((i * cols + j + seed) as f32).sin())
    }

    #[track_caller]
    fn assert_close(found: &Matrix, expected: &Matrix) {
        assert_eq!((found.rows, found.cols), (expected.rows, expected.cols));
        for (index, (a, b)) in found.data.iter().zip(&expected.data).enumerate() {
            assert!((a - b).abs() < 2e-6, "number {index}: {a} instead of {b}");
        }
    }

    fn assert_rows_sum_to_one(weights: &Matrix) {
        for i in 0..weights.rows {
            assert!((weights.row(i).iter().sum::<f32>() - 1.0).abs() < 1e-6, "row {i}");
        }
    }

    #[test]
    fn a_token_looks_most_at_the_tokens_like_itself() {
        let x = Matrix::from_rows(&[[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]]);
        let Attention { weights, context } = self_attention(&x);
        assert_rows_sum_to_one(&weights);
        // Scores 4, 0, 4: weights e⁴/(2e⁴+1), 1/(2e⁴+1), e⁴/(2e⁴+1).
        let e4 = 4f32.exp();
        let (like, unlike) = (e4 / (2.0 * e4 + 1.0), 1.0 / (2.0 * e4 + 1.0));
        let expected = Matrix::from_fn(3, 3, |i, j| match (i, j) {
            (1, 1) => e4 / (e4 + 2.0),
            (1, _) => 1.0 / (e4 + 2.0),
            (_, 1) => unlike,
            _ => like,
        });
        assert_close(&weights, &expected);
        assert!((context.at(0, 0) - 4.0 * like).abs() < 1e-6);
    }

    #[test]
    fn self_attention_does_not_see_the_order_of_the_tokens() {
        let x = waves(4, 3, 1);
        let reversed = |m: &Matrix| Matrix::from_fn(m.rows, m.cols, |i, j| m.at(m.rows - 1 - i, j));
        assert_close(&self_attention(&reversed(&x)).context, &reversed(&self_attention(&x).context));
    }

    #[test]
    fn scaled_dot_product_is_that_of_pytorch() {
        let found = scaled_dot_product(&waves(2, 4, 0), &waves(3, 4, 10), &waves(3, 2, 20), None);
        assert_rows_sum_to_one(&found.weights);
        let expected = [[-0.3240116, -0.2094499], [0.2203185, 0.3609705]];
        assert_close(&found.context, &Matrix::from_rows(&expected));
    }

    fn two_heads() -> MultiHeadAttention {
        let [w_q, w_k, w_v, w_o] = [30, 31, 32, 33].map(|seed| waves(4, 4, seed));
        MultiHeadAttention { n_heads: 2, w_q, w_k, w_v, w_o }
    }

    #[test]
    fn masked_multi_head_attention_is_that_of_pytorch() {
        let x = waves(3, 4, 40);
        let found = two_heads().forward(&x, &x, Some(&causal_mask(3)));
        let expected = [
            [-0.2223629, -0.2155433, -0.0105543, 0.2041384],
            [0.1084024, 0.0665923, -0.0364424, -0.1059722],
            [-0.075469, -0.0886023, -0.0202751, 0.066693],
        ];
        assert_close(&found.output, &Matrix::from_rows(&expected));
        let expected = [[1.0, 0.0, 0.0], [0.3883967, 0.6116033, 0.0], [0.3902016, 0.2385032, 0.3712952]];
        assert_close(&found.heads[1].weights, &Matrix::from_rows(&expected));
    }

    #[test]
    fn cross_attention_is_that_of_pytorch() {
        let found = two_heads().forward(&waves(2, 4, 50), &waves(3, 4, 40), None);
        found.heads.iter().for_each(|head| assert_rows_sum_to_one(&head.weights));
        let expected = [[0.0041688, 0.0303904, 0.0286712, 0.0005918], [-0.0804146, -0.0920195, -0.0190222, 0.0714641]];
        assert_close(&found.output, &Matrix::from_rows(&expected));
    }

    #[test]
    fn the_causal_mask_lets_no_weight_fall_on_the_future() {
        let x = waves(5, 4, 3);
        let weights = scaled_dot_product(&x, &x, &x, Some(&causal_mask(5))).weights;
        assert_rows_sum_to_one(&weights);
        assert_eq!(weights.at(0, 0), 1.0);
        for (i, j) in (0..5).flat_map(|i| (i + 1..5).map(move |j| (i, j))) {
            assert_eq!(weights.at(i, j), 0.0);
        }
    }

    #[test]
    fn rows_of_a_fully_masked_query_are_zero() {
        let x = waves(2, 4, 3);
        let mask = Matrix::from_rows(&[[f32::NEG_INFINITY; 2], [0.0; 2]]);
        let found = scaled_dot_product(&x, &x, &x, Some(&mask));
        assert_eq!(found.weights.row(0), [0.0; 2]);
        assert_eq!(found.context.row(0), [0.0; 4]);
    }

    #[test]
    fn huge_scores_do_not_overflow() {
        let x = waves(3, 2, 1).scaled(1e15);
        assert_rows_sum_to_one(&self_attention(&x).weights);
    }

    #[test]
    fn positions_are_those_of_the_paper() {
        let positions = sinusoidal_positions(3, 4);
        let expected = Matrix::from_rows(&[
            [0.0, 1.0, 0.0, 1.0],
            [1f32.sin(), 1f32.cos(), 0.01f32.sin(), 0.01f32.cos()],
            [2f32.sin(), 2f32.cos(), 0.02f32.sin(), 0.02f32.cos()],
        ]);
        assert_close(&positions, &expected);
    }

    #[test]
    fn random_weights_depend_on_the_seed_alone_and_keep_the_variance() {
        let weights = Matrix::random(256, 64, 7);
        assert_eq!(weights, Matrix::random(256, 64, 7));
        assert_ne!(weights, Matrix::random(256, 64, 8));
        let variance = weights.data.iter().map(|w| w * w).sum::<f32>() / weights.data.len() as f32;
        assert!((variance * 256.0 - 1.0).abs() < 0.05);
    }

    #[test]
    #[should_panic(expected = "matmul: [2, 3] times [2, 3]")]
    fn a_product_of_shapes_that_do_not_fit_names_them() {
        let _ = waves(2, 3, 0).matmul(&waves(2, 3, 0));
    }
}
