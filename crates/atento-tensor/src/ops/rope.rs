//! Rotary position embedding (Su et al. 2021, eq. 15) of the first heads of every row.
//!
//! With queries, keys and values in one row, queries and keys are turned and values are not. Backward: a rotation's
//! inverse is its transpose, so the gradient is turned back by the same angle. Saved: the cosines and sines, which all
//! layers of a pass share.

use std::sync::Arc;

use atento_kernels::rope::{Pairing, periods};

use crate::{Buffer, Graph, Pool, Tensor};

mod scaling;

pub use scaling::RopeScaling;

/// How fast each pair of a head's elements turns, and which elements are a pair.
#[derive(Clone, Debug)]
pub struct Rope {
    pairing: Pairing,
    /// Radians a position, of each pair.
    frequencies: Arc<[f32]>,
    /// Factor on cosines and sines.
    attention_factor: f32,
}

/// The cosines and sines of a batch's tokens.
#[derive(Clone)]
pub struct Turns {
    pairing: Pairing,
    head_dim: usize,
    /// [tokens, head_dim]: a token's cosines, then its sines.
    table: Arc<Buffer>,
}

impl Rope {
    /// Rotations by `position · theta^(−2i/head_dim)`; θ is 10,000 in the paper.
    ///
    /// # Panics
    /// If `head_dim` is 0 or odd.
    #[must_use]
    #[track_caller]
    pub fn new(head_dim: usize, theta: f64, pairing: Pairing) -> Self {
        Self::scaled(head_dim, theta, pairing, &RopeScaling::None)
    }

    /// The same with frequencies changed for contexts longer than those of the first training.
    ///
    /// # Panics
    /// If `head_dim` is 0 or odd.
    #[must_use]
    #[track_caller]
    pub fn scaled(head_dim: usize, theta: f64, pairing: Pairing, scaling: &RopeScaling) -> Self {
        assert!(head_dim > 0 && head_dim.is_multiple_of(2), "rope: head_dim is {head_dim}, must be even");
        let mut frequencies = vec![0.0; head_dim / 2];
        periods(theta, &mut frequencies);
        scaling.frequencies(theta, &mut frequencies);
        Self { pairing, frequencies: frequencies.into(), attention_factor: scaling.attention_factor() }
    }

    /// Width of one head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Radians a position, of each pair: [head_dim / 2].
    #[must_use]
    pub fn frequencies(&self) -> &[f32] {
        &self.frequencies
    }

    /// The factor on cosines and sines; 1 except for YaRN.
    #[must_use]
    pub fn attention_factor(&self) -> f32 {
        self.attention_factor
    }

    /// The cosines and sines of tokens at these positions, for every layer of a pass.
    #[must_use]
    pub fn at(&self, pool: &Pool, position_ids: &[u32]) -> Turns {
        let mut table = pool.take(position_ids.len() * self.head_dim());
        pool.device().rope_turns(position_ids, &self.frequencies, self.attention_factor, table.slice_mut());
        Turns { pairing: self.pairing, head_dim: self.head_dim(), table: Arc::new(table) }
    }
}

impl Graph<'_> {
    /// Turns the first `n_heads` heads of each row by its token's angles; the rest of the row stays as it is. A tensor
    /// that nothing else holds is turned in place.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, width] with `width ≥ n_heads · head_dim`; `turns`: of as many tokens.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn rope(&mut self, x: Tensor, turns: &Turns, n_heads: usize) -> Tensor {
        let ([tokens, width], input) = (x.dims(), x.node());
        let &Turns { pairing, head_dim, .. } = turns;
        assert_eq!(tokens * head_dim, turns.table.len(), "rope: turns of as many tokens as x");
        assert!(n_heads * head_dim <= width, "rope: {n_heads} heads of {head_dim} in rows of {width}");
        let mut out = x.into_buffer(self.pool());
        self.device().rope(out.slice_mut(), turns.table.slice(), n_heads, head_dim, width, pairing);
        let y = self.output("rope", out, &[tokens, width], input.is_some());
        if let (Some(node), Some(input)) = (y.node(), input) {
            let table = Arc::clone(&turns.table);
            self.push("rope", move |pass| {
                let Some(mut dx) = pass.take(node) else { return };
                pass.device().rope_backward(dx.slice_mut(), table.slice(), n_heads, head_dim, width, pairing);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests;
