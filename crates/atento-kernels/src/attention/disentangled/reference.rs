//! Disentangled attention as its definition says, in plain loops that store every weight: what the tiled passes are tested
//! against, in f32 or f64.

use super::super::reference::{Real, dot, softmax};
use super::{Disentangled, Segment};

/// What the reference reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a, T> {
    /// `[tokens, H·D]`.
    pub query: &'a [T],
    /// `[tokens, H·D]`.
    pub key: &'a [T],
    /// `[tokens, H·D]`.
    pub value: &'a [T],
    /// `[2·span, H·D]`.
    pub relative_keys: Option<&'a [T]>,
    /// `[2·span, H·D]`.
    pub relative_queries: Option<&'a [T]>,
}

/// Gradients of [`Inputs`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T> {
    /// `[tokens, H·D]`.
    pub query: Vec<T>,
    /// `[tokens, H·D]`.
    pub key: Vec<T>,
    /// `[tokens, H·D]`.
    pub value: Vec<T>,
    /// `[2·span, H·D]`; empty where there are none.
    pub relative_keys: Vec<T>,
    /// `[2·span, H·D]`; empty where there are none.
    pub relative_queries: Vec<T>,
}

/// Where the vectors of a pair begin: its query, its key and its row of the relative tables.
struct Pair {
    query: usize,
    key: usize,
    relative: usize,
}

impl Disentangled<'_> {
    fn pair(&self, head: usize, segment: &Segment, i: usize, j: usize) -> Pair {
        let at = |row: usize| (row * self.n_heads + head) * self.head_dim;
        let relative = self.buckets.row(i as isize - j as isize, self.span);
        Pair { query: at(segment.query_start + i), key: at(segment.key_start + j), relative: at(relative) }
    }

    /// Calls `each(weight index, head, segment, i, j)` for every query and key, weights being `[H, len, len]` segment after
    /// segment.
    fn for_each_pair(&self, mut each: impl FnMut(usize, usize, &Segment, usize, usize)) {
        let mut index = 0;
        for segment in self.segments {
            for head in 0..self.n_heads {
                for (i, j) in (0..segment.query_len).flat_map(|i| (0..segment.key_len).map(move |j| (i, j))) {
                    each(index, head, segment, i, j);
                    index += 1;
                }
            }
        }
    }

    fn factor<T: Real>(&self, head: usize, segment: &Segment, i: usize, j: usize) -> T {
        T::of(self.dropout.map_or(1.0, |dropout| dropout.factor(head, segment.query_start + i, j)))
    }
}

/// Forward pass.
///
/// # Shapes
/// - `out`: `[tokens, H·D]`, overwritten in every row
/// - `weights`: `[H, len, len]` for each segment in turn, before dropout
pub fn forward<T: Real>(attention: &Disentangled<'_>, inputs: &Inputs<'_, T>, out: &mut [T], weights: &mut [T]) {
    let d = attention.head_dim;
    attention.for_each_pair(|at, head, segment, i, j| {
        let Pair { query, key, relative } = attention.pair(head, segment, i, j);
        let (q, k) = (&inputs.query[query..query + d], &inputs.key[key..key + d]);
        let mut score = dot(q, k);
        if let Some(relative_keys) = inputs.relative_keys {
            score += dot(q, &relative_keys[relative..relative + d]);
        }
        if let Some(relative_queries) = inputs.relative_queries {
            score += dot(k, &relative_queries[relative..relative + d]);
        }
        weights[at] = score * T::of(attention.scale);
    });
    let mut rest = &mut *weights;
    for segment in attention.segments.iter().filter(|segment| segment.key_len > 0) {
        let (rows, after) = rest.split_at_mut(attention.n_heads * segment.query_len * segment.key_len);
        rows.chunks_mut(segment.key_len).for_each(softmax);
        rest = after;
    }
    out.fill(T::of(0.0));
    attention.for_each_pair(|at, head, segment, i, j| {
        let Pair { query, key, .. } = attention.pair(head, segment, i, j);
        let weight = weights[at] * attention.factor(head, segment, i, j);
        for x in 0..d {
            out[query + x] += weight * inputs.value[key + x];
        }
    });
}

/// Backward pass, from the weights that [`forward`] wrote.
///
/// # Shapes
/// - `dout`: `[tokens, H·D]`
pub fn backward<T: Real>(
    attention: &Disentangled<'_>,
    inputs: &Inputs<'_, T>,
    weights: &[T],
    dout: &[T],
) -> Gradients<T> {
    let d = attention.head_dim;
    let zeros = |x: &[T]| vec![T::of(0.0); x.len()];
    let mut gradients = Gradients {
        query: zeros(inputs.query),
        key: zeros(inputs.key),
        value: zeros(inputs.value),
        relative_keys: inputs.relative_keys.map_or(Vec::new(), zeros),
        relative_queries: inputs.relative_queries.map_or(Vec::new(), zeros),
    };
    let dweight =
        |pair: &Pair, factor: T| factor * dot(&dout[pair.query..pair.query + d], &inputs.value[pair.key..pair.key + d]);
    // Σ_j w_ij·dw_ij of every query and head.
    let mut delta = vec![T::of(0.0); dout.len() / d];
    attention.for_each_pair(|at, head, segment, i, j| {
        let pair = attention.pair(head, segment, i, j);
        delta[pair.query / d] += weights[at] * dweight(&pair, attention.factor(head, segment, i, j));
    });
    attention.for_each_pair(|at, head, segment, i, j| {
        let pair = attention.pair(head, segment, i, j);
        let factor = attention.factor(head, segment, i, j);
        let dscore = weights[at] * (dweight(&pair, factor) - delta[pair.query / d]) * T::of(attention.scale);
        for x in 0..d {
            let (q, k, r) = (pair.query + x, pair.key + x, pair.relative + x);
            gradients.value[k] += weights[at] * factor * dout[q];
            gradients.query[q] += dscore * inputs.key[k];
            gradients.key[k] += dscore * inputs.query[q];
            if let Some(relative_keys) = inputs.relative_keys {
                gradients.query[q] += dscore * relative_keys[r];
                gradients.relative_keys[r] += dscore * inputs.query[q];
            }
            if let Some(relative_queries) = inputs.relative_queries {
                gradients.key[k] += dscore * relative_queries[r];
                gradients.relative_queries[r] += dscore * inputs.key[k];
            }
        }
    });
    gradients
}
