//! Attention query by query, with lanes along dimensions and keys: for the one or few queries of a
//! decoding step, where vectors of queries would be empty, and for looking at weights.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says. The job, or attention and views, are valid as [`Forward`] says;
//! `segment` is one of its segments, `head` one of its heads and `query` one of the segment's. Then a query sees at most
//! `key_len` keys, those of a range that ends within the segment, and the views hold their rows.

use std::f32::consts::{LN_2, LOG2_E};

use super::forward::Forward;
use super::lanes::{Lanes, instantiate};
use super::layout::Views;
use super::product::{Product, Store, multiply};
use super::scratch::clear_rows;
use super::tile::Mask;
use super::{Attention, Segment};

/// Segments with at most so many queries go query by query.
pub(super) const FEW: usize = 4;

/// Outputs of all queries of a segment; `weights` has room for a row of them.
///
/// # Safety
/// `weights` is `key_len` numbers. No other thread touches the segment's outputs of the head.
#[inline(always)]
pub(super) unsafe fn few_queries<S: Lanes>(job: &Forward<'_>, segment: &Segment, head: usize, weights: *mut f32) {
    let attention = job.attention;
    let head_dim = attention.head_dim;
    for query in 0..segment.query_len {
        let row = segment.query_start + query;
        let out = (job.out.at(row, head, head_dim), job.out.stride);
        let mask = Mask::new(attention, segment);
        let (first, seen) = (mask.first_key_of(query), mask.keys_seen_by(query));
        // SAFETY: the caller promises a valid job and `key_len` numbers of weights, at least as many as are seen. The
        // product is one row: A the weights seen, B the values of their keys, C the query's output. `head_dim` fits 32 bits.
        unsafe {
            let (maximum, sum) = weigh_row::<S>(attention, &job.views, segment, head, query, weights);
            if seen == 0 {
                clear_rows(out, 1, head_dim);
            } else {
                let kv_head = attention.kv_head(head);
                let values = job.views.value.head(segment.key_start, kv_head, head_dim, seen).row(first);
                multiply::<S>(&Product {
                    a: weights.add(first),
                    a_row: 0,
                    a_column: 1,
                    b: values.0,
                    b_row: values.1,
                    c: out.0,
                    c_row: 0,
                    rows: 1,
                    columns: head_dim,
                    depth: seen - first,
                    store: Store::Scale { new: &inverse(sum) },
                });
            }
            if let Some(lse) = job.lse {
                *lse.at(row, head, 1) = maximum * LN_2 + sum.ln();
            }
        }
    }
}

instantiate! {
    /// Writes the weights `[H, query_len, key_len]` of a segment.
    ///
    /// # Safety
    /// `weights` is that many numbers.
    fn segment_weights_at = segment_weights(
        attention: &Attention<'_>, views: &Views, segment: &Segment, weights: *mut f32)
}

/// # Safety
/// As [`segment_weights_at`].
#[inline(always)]
unsafe fn segment_weights<S: Lanes>(attention: &Attention<'_>, views: &Views, segment: &Segment, weights: *mut f32) {
    for head in 0..attention.n_heads {
        for query in 0..segment.query_len {
            // SAFETY: the caller promises a row of `key_len` weights for each head and query, and `seen` is no more.
            unsafe {
                let row = weights.add((head * segment.query_len + query) * segment.key_len);
                let (_, sum) = weigh_row::<S>(attention, views, segment, head, query, row);
                let mask = Mask::new(attention, segment);
                let (first, seen) = (mask.first_key_of(query), mask.keys_seen_by(query));
                for key in first..seen {
                    *row.add(key) *= inverse(sum);
                }
                for key in (0..first).chain(seen..segment.key_len) {
                    *row.add(key) = 0.0;
                }
            }
        }
    }
}

/// Of a sum of weights, which is 0 where there are none.
#[inline(always)]
fn inverse(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

/// Weights of the keys that a query sees, `2^(score − maximum)`, at their place among the segment's keys; returns the
/// maximum and their sum.
///
/// # Safety
/// `weights` is a number for each of the keys up to the last one seen.
#[inline(always)]
unsafe fn weigh_row<S: Lanes>(
    attention: &Attention<'_>,
    views: &Views,
    segment: &Segment,
    head: usize,
    query: usize,
    weights: *mut f32,
) -> (f32, f32) {
    let head_dim = attention.head_dim;
    let row = segment.query_start + query;
    let from = views.query.at(row, head, head_dim);
    let mask = Mask::new(attention, segment);
    let (first, seen) = (mask.first_key_of(query), mask.keys_seen_by(query));
    let kv_head = attention.kv_head(head);
    let keys = views.key.head(segment.key_start, kv_head, head_dim, seen).row(first);
    // SAFETY: the caller promises `seen` numbers of weights; the views hold the query's row and `seen` rows of keys.
    unsafe {
        dot_rows::<S>(from, keys, seen - first, head_dim, weights.add(first));
        let mut maximum = f32::MIN;
        for key in first..seen {
            let mut score = *weights.add(key) * attention.scale;
            if let Some(bias) = &attention.bias {
                score += bias.data[bias.at(head, query, key)];
            }
            score *= LOG2_E;
            *weights.add(key) = score;
            maximum = if score > maximum { score } else { maximum };
        }
        let sum = exp2_row::<S>(weights.add(first), seen - first, maximum);
        (maximum, sum)
    }
}

/// `out[n] = Σ_d x[d]·rows[n][d]`, four rows at a time.
///
/// # Safety
/// `x` is `head_dim` numbers, `rows` are `count` rows of as many, and `out` is `count` numbers.
#[inline(always)]
unsafe fn dot_rows<S: Lanes>(x: *const f32, rows: (*const f32, usize), count: usize, head_dim: usize, out: *mut f32) {
    const TOGETHER: usize = 4;
    let whole = head_dim / S::LANES * S::LANES;
    for n in (0..count).step_by(TOGETHER) {
        // SAFETY: the caller promises `count` rows, and none after the last is named. Of `x` and each row, `head_dim` numbers
        // are read: the whole vectors and the rest. Of `out`, numbers below `count` are written.
        unsafe {
            // Past the last row, the last row again.
            let mut from = [rows.0; TOGETHER];
            for i in 0..TOGETHER {
                from[i] = rows.0.add((n + i).min(count - 1) * rows.1);
            }
            let mut sums = [S::splat(0.0); TOGETHER];
            for d in (0..whole).step_by(S::LANES) {
                let x = S::load(x.add(d));
                for i in 0..TOGETHER {
                    sums[i] = S::mul_add(x, S::load(from[i].add(d)), sums[i]);
                }
            }
            if whole < head_dim {
                let x = S::load_first(x.add(whole), head_dim - whole);
                for i in 0..TOGETHER {
                    let row = S::load_first(from[i].add(whole), head_dim - whole);
                    sums[i] = S::mul_add(x, row, sums[i]);
                }
            }
            for i in 0..TOGETHER.min(count - n) {
                *out.add(n + i) = S::sum(sums[i]);
            }
        }
    }
}

/// Turns scores into `2^(score − maximum)` and returns their sum.
///
/// # Safety
/// `scores` is `count` numbers.
#[inline(always)]
unsafe fn exp2_row<S: Lanes>(scores: *mut f32, count: usize, maximum: f32) -> f32 {
    // SAFETY: the caller promises `count` numbers: the whole vectors, which end at `whole`, and the rest.
    unsafe {
        let (maximum, whole) = (S::splat(maximum), count / S::LANES * S::LANES);
        let mut total = S::splat(0.0);
        for n in (0..whole).step_by(S::LANES) {
            let weight = S::exp2(S::sub(S::load(scores.add(n)), maximum));
            total = S::add(total, weight);
            S::store(scores.add(n), weight);
        }
        let mut sum = S::sum(total);
        if whole < count {
            let scores = scores.add(whole);
            let rest = S::load_first(scores, count - whole);
            S::store_first(scores, S::exp2(S::sub(rest, maximum)), count - whole);
            for n in 0..count - whole {
                sum += *scores.add(n);
            }
        }
        sum
    }
}
