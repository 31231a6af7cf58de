//! Rotary position embedding (Su et al. 2021, eq. 15) of the first heads of every row.
//!
//! With queries, keys and values in one row, queries and keys are turned and values are not. Backward: a rotation's
//! inverse is its transpose, so the gradient is turned back by the same angle. Saved: the positions.

use std::sync::Arc;

use atento_kernels::rope::{self, Pairing};

use crate::{Graph, Tensor};

/// The angles of every position and how a head's elements are paired.
#[derive(Clone, Debug)]
pub struct Rope {
    head_dim: usize,
    pairing: Pairing,
    /// [max_positions, head_dim]: cosines, then sines.
    table: Arc<[f32]>,
}

impl Rope {
    /// The rotations by `position · theta^(−2i/head_dim)` (θ is 10,000 in the paper) for positions below
    /// `max_positions`.
    ///
    /// # Panics
    /// If `head_dim` is 0 or odd.
    #[must_use]
    #[track_caller]
    pub fn new(head_dim: usize, max_positions: usize, theta: f64, pairing: Pairing) -> Self {
        let mut table = vec![0.0; max_positions * head_dim];
        rope::fill_table(head_dim, theta, &mut table);
        Self { head_dim, pairing, table: table.into() }
    }
}

impl Graph<'_> {
    /// Turns the first `n_heads` heads of each row by the row's position; the rest of the row stays as it is.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, width] with `width ≥ n_heads · head_dim`; `position_ids`: one per token.
    ///
    /// # Panics
    /// If the shapes do not fit or a position is not below the rope's `max_positions`.
    #[must_use]
    #[track_caller]
    pub fn rope(&mut self, x: &Tensor, rope: &Rope, n_heads: usize, position_ids: &[u32]) -> Tensor {
        let [tokens, width] = x.dims();
        assert_eq!(tokens, position_ids.len(), "rope: one position per token");
        let mut out = self.pool().copy_of(x.values());
        rope::forward(&mut out, position_ids, n_heads, rope.head_dim, width, &rope.table, rope.pairing);
        let y = self.output("rope", out, &[tokens, width], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let (rope, position_ids) = (rope.clone(), position_ids.to_vec());
            self.push("rope", move |pass| {
                let Some(mut dx) = pass.take(node) else { return };
                rope::backward(&mut dx, &position_ids, n_heads, rope.head_dim, width, &rope.table, rope.pairing);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests;
