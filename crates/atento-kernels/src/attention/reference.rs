//! Attention as its definition says, in plain loops that store every weight: what the tiled passes
//! are tested against, in f32 or f64.

use std::ops::{Add, AddAssign, Div, Mul, Range, Sub};

use super::{Attention, Segment};

/// The numbers the reference computes with, f32 or f64.
pub trait Real:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + AddAssign
{
    /// The nearest number to an `f32`.
    fn of(x: f32) -> Self;
    /// eˣ.
    fn exp(self) -> Self;
}

impl Real for f32 {
    fn of(x: f32) -> f32 {
        x
    }
    fn exp(self) -> f32 {
        self.exp()
    }
}

impl Real for f64 {
    fn of(x: f32) -> f64 {
        f64::from(x)
    }
    fn exp(self) -> f64 {
        self.exp()
    }
}

/// Calls `each(weight index, head, segment, i, j)` for every query and key that sees each other,
/// weights being `[H, query_len, key_len]` segment after segment.
fn for_each_pair(attention: &Attention<'_>, mut each: impl FnMut(usize, usize, &Segment, usize, usize)) {
    let mut index = 0;
    for segment in attention.segments {
        for head in 0..attention.n_heads {
            for i in 0..segment.query_len {
                for j in 0..segment.key_len {
                    // Where the query and the key stand, counted from the end of both.
                    let (query, key) = (i + segment.key_len, j + segment.query_len);
                    let is_near = attention.window.is_none_or(|window| query.abs_diff(key) < window);
                    if is_near && (!attention.causal || key <= query) {
                        each(index, head, segment, i, j);
                    }
                    index += 1;
                }
            }
        }
    }
}

/// Where the vectors of a query and a key begin.
fn offsets(attention: &Attention<'_>, head: usize, segment: &Segment, i: usize, j: usize) -> (usize, usize) {
    let query = (segment.query_start + i) * attention.n_heads + head;
    let kv_head = head / (attention.n_heads / attention.n_kv_heads);
    let key = (segment.key_start + j) * attention.n_kv_heads + kv_head;
    (query * attention.head_dim, key * attention.head_dim)
}

pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::of(0.0), |sum, (&a, &b)| sum + a * b)
}

fn dropout_factor<T: Real>(attention: &Attention<'_>, head: usize, segment: &Segment, i: usize, j: usize) -> T {
    let row = segment.query_start + i;
    T::of(attention.dropout.map_or(1.0, |dropout| dropout.factor(head, row, j)))
}

/// Forward pass.
///
/// # Shapes
/// - `query`, `out`: `[query tokens, H·D]`; `key`, `value`: `[key tokens, K·D]`
/// - `weights`: `[H, query_len, key_len]` for each segment in turn, before dropout
pub fn forward<T: Real>(
    attention: &Attention<'_>,
    query: &[T],
    key: &[T],
    value: &[T],
    out: &mut [T],
    weights: &mut [T],
) {
    let d = attention.head_dim;
    weights.fill(T::of(0.0));
    out.fill(T::of(0.0));
    // Scores, seen or not; those not seen never enter the softmax.
    let mut rows = Vec::new();
    for_each_pair(attention, |at, head, segment, i, j| {
        let (q, k) = offsets(attention, head, segment, i, j);
        weights[at] = T::of(attention.scale) * dot(&query[q..q + d], &key[k..k + d]);
        if let Some(bias) = &attention.bias {
            weights[at] += T::of(bias.data[bias.at(head, i, j)]);
        }
        if j == 0 || rows.last().is_none_or(|row: &Range<usize>| row.end != at) {
            rows.push(at..at);
        }
        if let Some(row) = rows.last_mut() {
            row.end = at + 1;
        }
    });
    for row in rows {
        softmax(&mut weights[row]);
    }
    for_each_pair(attention, |at, head, segment, i, j| {
        let (q, k) = offsets(attention, head, segment, i, j);
        let weight = weights[at] * dropout_factor(attention, head, segment, i, j);
        for x in 0..d {
            out[q + x] += weight * value[k + x];
        }
    });
}

pub(super) fn softmax<T: Real>(row: &mut [T]) {
    let maximum = row.iter().fold(row[0], |a, &b| if b > a { b } else { a });
    if maximum == T::of(f32::NEG_INFINITY) {
        return row.fill(T::of(0.0));
    }
    let mut sum = T::of(0.0);
    for x in row.iter_mut() {
        *x = (*x - maximum).exp();
        sum += *x;
    }
    for x in row {
        *x = *x / sum;
    }
}

/// Backward pass; gradients are overwritten, `dbias` is accumulated.
///
/// # Shapes
/// - as [`forward`]; `dout`, `dquery`: as `query`; `dkey`, `dvalue`: as `key`
/// - `dbias`: as the bias
pub fn backward<T: Real>(
    attention: &Attention<'_>,
    query: &[T],
    key: &[T],
    value: &[T],
    weights: &[T],
    dout: &[T],
    dquery: &mut [T],
    dkey: &mut [T],
    dvalue: &mut [T],
    mut dbias: Option<&mut [T]>,
) {
    let d = attention.head_dim;
    for gradient in [&mut *dquery, &mut *dkey, &mut *dvalue] {
        gradient.fill(T::of(0.0));
    }
    // Σ_j w_ij·dw_ij of every query and head.
    let mut delta = vec![T::of(0.0); dout.len() / d];
    let dweight = |head, segment: &Segment, i, j| {
        let (q, k) = offsets(attention, head, segment, i, j);
        let factor = dropout_factor::<T>(attention, head, segment, i, j);
        factor * dot(&dout[q..q + d], &value[k..k + d])
    };
    for_each_pair(attention, |at, head, segment, i, j| {
        let (q, _) = offsets(attention, head, segment, i, j);
        delta[q / d] += weights[at] * dweight(head, segment, i, j);
    });
    for_each_pair(attention, |at, head, segment, i, j| {
        let (q, k) = offsets(attention, head, segment, i, j);
        let dscore = weights[at] * (dweight(head, segment, i, j) - delta[q / d]);
        let scaled = dscore * T::of(attention.scale);
        let weight = weights[at] * dropout_factor(attention, head, segment, i, j);
        for x in 0..d {
            dquery[q + x] += scaled * key[k + x];
            dkey[k + x] += scaled * query[q + x];
            dvalue[k + x] += weight * dout[q + x];
        }
        if let (Some(dbias), Some(bias)) = (dbias.as_deref_mut(), &attention.bias) {
            dbias[bias.at(head, i, j)] += dscore;
        }
    });
}
