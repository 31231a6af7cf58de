//! The weights of a sequence, to be looked at: plain loops that store every one of them, as no other pass does.

use rayon::prelude::*;

use super::super::Qkv;
use super::super::reference::softmax;
use super::{Disentangled, Relative};

impl Disentangled<'_> {
    /// Explains one segment: writes its weights, after softmax and before dropout.
    ///
    /// # Shapes
    /// - `weights`: `[H, len, len]` of the segment; rows sum to 1
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if there are not as many weights.
    #[track_caller]
    pub fn weights(&self, qkv: &[f32], relative: Relative<'_>, segment: usize, weights: &mut [f32]) {
        let attention = self.plain();
        self.checked(&attention, &Qkv::Packed(qkv).views(&attention), relative);
        let segment = &self.segments[segment];
        let (len, d, width) = (segment.key_len, self.head_dim, self.n_heads * self.head_dim);
        let count = len.checked_mul(len).and_then(|pairs| pairs.checked_mul(self.n_heads));
        assert!(
            count == Some(weights.len()),
            "disentangled attention: weights of {segment:?} are {count:?} numbers, not {}",
            weights.len()
        );
        weights.par_chunks_mut(len.max(1)).enumerate().for_each(|(at, row)| {
            let (head, i) = (at / len, at % len);
            let own = head * d..(head + 1) * d;
            let token = |t: usize, part: usize| &qkv[((segment.key_start + t) * 3 + part) * width..][own.clone()];
            let query = token(i, 0);
            for (j, weight) in row.iter_mut().enumerate() {
                let key = token(j, 1);
                let position = self.buckets.row(i as isize - j as isize, self.span) * width;
                let met = |table: &[f32], by: &[f32]| dot(by, &table[position..][own.clone()]);
                let content = dot(query, key);
                let relative = [relative.keys.map(|keys| met(keys, query)), relative.queries.map(|u| met(u, key))];
                *weight = self.scale * (content + relative.into_iter().flatten().sum::<f32>());
            }
            softmax(row);
        });
    }
}

/// A product of two heads. Several sums at a time are one vector.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}
