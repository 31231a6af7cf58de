//! What a [`LookupPair`] adds to rows that are looked up (Hu et al. 2021, eq. 3): `y[i] += scale · rows[ids[i]] · upᵀ`.
//!
//! Backward, with `h[i] = scale · rows[ids[i]]` saved: `dup += dyᵀ h`, and `drows[ids[i]] += scale · dy[i] up`.

use atento_kernels::linear::WeightLayout;

use super::projection;
use crate::{Backward, Buffer, Graph, LookupPair, Slice, SliceMut};

const OUT_IN: WeightLayout = WeightLayout::OutIn;

/// A pair in one lookup.
pub(super) struct Added {
    pair: LookupPair,
    /// The factor of the pair and of the lookup.
    scale: f32,
    /// `scale · rows[ids]`: [ids, rank].
    hidden: Buffer,
}

/// Adds to looked-up rows, which are multiplied by `scale` themselves; returns what the backward needs.
///
/// # Shapes
/// `out`: [ids, width].
pub(super) fn forward(g: &Graph<'_>, pair: LookupPair, ids: &[u32], scale: f32, out: SliceMut<'_>) -> Added {
    let (params, rank, scale) = (g.params(), pair.rows.cols, scale * pair.scale);
    let mut hidden = g.pool().take(ids.len() * rank);
    g.device().embedding(ids, params.view(pair.rows), rank, scale, hidden.slice_mut());
    g.device().linear_add(ids.len(), hidden.slice(), params.slice(pair.up), out, pair.up.rows, 0);
    Added { pair, scale, hidden }
}

impl Added {
    /// Adds its gradients.
    ///
    /// # Shapes
    /// `dy`: [ids, width].
    pub(super) fn backward(&self, pass: &mut Backward<'_>, ids: &[u32], dy: Slice<'_>) {
        let LookupPair { rows, up, .. } = self.pair;
        let (params, pool) = (pass.params, pass.pool.clone());
        projection::backward_weight(params, pass.grads, &pool, ids.len(), self.hidden.slice(), dy, up, OUT_IN);
        if let Some(drows) = pass.grads.slice_mut(rows) {
            let mut dhidden = pool.take_as(dy.dtype(), self.hidden.len());
            projection::backward_input(params, &pool, ids.len(), dy, up, OUT_IN, dhidden.slice_mut(), false);
            pool.device().scatter_add(ids, dhidden.slice(), self.scale, drows);
        }
    }
}
