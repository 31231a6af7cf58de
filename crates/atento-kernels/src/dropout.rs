//! Dropout (Srivastava et al. 2014): an element is zeroed with probability p, else scaled by
//! 1/(1 − p), so that the expectation stays.
//!
//! Element `i` of a mask is kept when the uniform number made of lane `i % 4` of Philox block `i / 4` of
//! `(seed, stream)` is at least p; a tensor may begin anywhere in its mask, so that a part of a larger one gets that
//! part of the larger one's mask. Nothing is stored: the backward makes the same numbers again and
//! is the forward applied to the gradient, `dx = dy · mask / (1 − p)`.

use rayon::prelude::*;

use crate::parallel::{TASK, rows_per_task};
use crate::philox;
use crate::simd::mul_add;

/// What decides a dropout mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutKey {
    /// Probability of an element to be zeroed, in [0, 1).
    pub probability: f32,
    /// Key of the generator.
    pub seed: u64,
    /// Which of the seed's sequences; one per dropout of a step.
    pub stream: u64,
    /// The place in the mask of the tensor's first element.
    pub first: u64,
}

/// Elements whose random numbers are made together.
pub(crate) const GROUP: usize = 4 * philox::BLOCKS;

impl DropoutKey {
    /// The factor of kept elements.
    pub fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }

    /// What element `index` of the tensor is multiplied by: 0 or [`scale`](Self::scale).
    pub fn multiplier(&self, index: u64) -> f32 {
        let index = self.first.wrapping_add(index);
        let bits = philox::block(philox::key(self.seed), philox::counter(index / 4, self.stream));
        self.choose(bits[(index % 4) as usize])
    }

    #[inline(always)]
    fn choose(&self, bits: u32) -> f32 {
        if philox::uniform(bits) < self.probability { 0.0 } else { self.scale() }
    }

    /// The multipliers of elements `GROUP·group ..`.
    #[inline(always)]
    pub(crate) fn multipliers(&self, group: u64) -> [f32; GROUP] {
        let bits = philox::numbers(self.seed, self.stream, group * philox::BLOCKS as u64);
        bits.map(|bits| self.choose(bits))
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        assert!(
            (0.0..1.0).contains(&self.probability),
            "dropout: probability is {}, must be in [0, 1)",
            self.probability
        );
    }
}

/// Calls `apply(range, multipliers)` for pieces of `0..len`, where element 0 is element `first` of the tensor.
#[inline(always)]
pub(crate) fn for_groups(
    key: DropoutKey,
    first: usize,
    len: usize,
    mut apply: impl FnMut(std::ops::Range<usize>, &[f32]),
) {
    let mut at = 0;
    while at < len {
        let index = key.first.wrapping_add((first + at) as u64);
        let skip = (index % GROUP as u64) as usize;
        let n = (GROUP - skip).min(len - at);
        let multipliers = key.multipliers(index / GROUP as u64);
        apply(at..at + n, &multipliers[skip..skip + n]);
        at += n;
    }
}

#[inline(always)]
fn forward_body<const FMA: bool>(key: DropoutKey, first: usize, x: &[f32], out: &mut [f32]) {
    for_groups(key, first, x.len().min(out.len()), |range, multipliers| {
        for ((out, x), m) in out[range.clone()].iter_mut().zip(&x[range]).zip(multipliers) {
            *out = x * m;
        }
    });
}

#[inline(always)]
fn inplace_body<const FMA: bool>(key: DropoutKey, first: usize, x: &mut [f32]) {
    for_groups(key, first, x.len(), |range, multipliers| {
        for (x, m) in x[range].iter_mut().zip(multipliers) {
            *x *= m;
        }
    });
}

/// `out = residual + dropout(branch)`, elements counted from `first`.
#[inline(always)]
pub(crate) fn add_body<const FMA: bool>(
    key: DropoutKey,
    first: usize,
    residual: &[f32],
    branch: &[f32],
    out: &mut [f32],
) {
    for_groups(key, first, out.len(), |range, multipliers| {
        let (residual, branch) = (&residual[range.clone()], &branch[range.clone()]);
        for (((out, r), b), m) in out[range].iter_mut().zip(residual).zip(branch).zip(multipliers) {
            *out = mul_add::<FMA>(*b, *m, *r);
        }
    });
}

/// `out = dropout(x)`.
///
/// # Panics
/// If the lengths differ or the probability is not in [0, 1).
#[track_caller]
pub fn forward(key: DropoutKey, x: &[f32], out: &mut [f32]) {
    key.check();
    assert_eq!(x.len(), out.len(), "dropout::forward: x and out");
    x.par_chunks(TASK).zip(out.par_chunks_mut(TASK)).enumerate().for_each(|(task, (x, out))| {
        let first = task * TASK;
        crate::dispatch!(forward_body(key: DropoutKey, first: usize, x: &[f32], out: &mut [f32]));
    });
}

/// `dx = dy · mask / (1 − p)`.
///
/// # Panics
/// If the lengths differ or the probability is not in [0, 1).
#[track_caller]
pub fn backward(key: DropoutKey, dy: &[f32], dx: &mut [f32]) {
    assert_eq!(dy.len(), dx.len(), "dropout::backward: dy and dx");
    forward(key, dy, dx);
}

/// [`forward`] of rows that lie elsewhere in the mask than in the tensor: row `i` is row `rows[i]` of the mask.
///
/// # Shapes
/// `x, out: [rows, width]`.
///
/// # Panics
/// If the lengths do not fit or the probability is not in [0, 1).
#[track_caller]
pub fn forward_rows(key: DropoutKey, rows: &[u32], x: &[f32], out: &mut [f32]) {
    key.check();
    assert_eq!(x.len(), out.len(), "dropout::forward_rows: x and out");
    if rows.is_empty() || x.is_empty() {
        return assert!(x.is_empty(), "dropout::forward_rows: no rows for {} elements", x.len());
    }
    let width = x.len() / rows.len();
    assert_eq!(x.len(), rows.len() * width, "dropout::forward_rows: x against {} rows", rows.len());
    #[inline(always)]
    fn body<const FMA: bool>(key: DropoutKey, rows: &[u32], x: &[f32], out: &mut [f32]) {
        let width = x.len() / rows.len();
        for ((row, x), out) in rows.iter().zip(x.chunks_exact(width)).zip(out.chunks_exact_mut(width)) {
            forward_body::<FMA>(key, *row as usize * width, x, out);
        }
    }
    let chunk = rows_per_task(width);
    let tasks = rows.par_chunks(chunk).zip(x.par_chunks(chunk * width)).zip(out.par_chunks_mut(chunk * width));
    tasks.for_each(|((rows, x), out)| {
        crate::dispatch!(body(key: DropoutKey, rows: &[u32], x: &[f32], out: &mut [f32]));
    });
}

/// `x = dropout(x)`.
///
/// # Panics
/// If the probability is not in [0, 1).
#[track_caller]
pub fn forward_inplace(key: DropoutKey, x: &mut [f32]) {
    key.check();
    x.par_chunks_mut(TASK).enumerate().for_each(|(task, x)| {
        let first = task * TASK;
        crate::dispatch!(inplace_body(key: DropoutKey, first: usize, x: &mut [f32]));
    });
}

/// `out = residual + dropout(branch)`.
///
/// # Panics
/// If the lengths differ or the probability is not in [0, 1).
#[track_caller]
pub fn add_dropout(key: DropoutKey, residual: &[f32], branch: &[f32], out: &mut [f32]) {
    key.check();
    assert!(residual.len() == out.len() && branch.len() == out.len(), "add_dropout: residual, branch and out");
    let chunks = residual.par_chunks(TASK).zip(branch.par_chunks(TASK)).zip(out.par_chunks_mut(TASK));
    chunks.enumerate().for_each(|(task, ((residual, branch), out))| {
        let first = task * TASK;
        crate::dispatch!(add_body(key: DropoutKey, first: usize, residual: &[f32], branch: &[f32], out: &mut [f32]));
    });
}

/// [`forward`] one element at a time.
pub fn reference(key: DropoutKey, x: &[f32], out: &mut [f32]) {
    for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
        *out = x * key.multiplier(i as u64);
    }
}
