//! What low-rank pairs add to a product (Hu et al. 2021, eq. 3): `z[:, outputs] += scale · drop(x) downᵀ upᵀ`.
//!
//! Backward, with `h = scale · drop(x) downᵀ` saved and `dz` the gradient of those columns: `dup += dzᵀ h`,
//! `dh = scale · dz up`, `ddown += dhᵀ drop(x)`, `dx += drop(dh down)`. What was dropped is drawn again.

use atento_kernels::activation::Activation;
use atento_kernels::dropout::DropoutKey;
use atento_kernels::linear::WeightLayout;

use super::projection::{self, columns};
use crate::{Buffer, Grads, Graph, LowRank, Params, Pool, Slice, SliceMut, Weight};

const OUT_IN: WeightLayout = WeightLayout::OutIn;

/// A low-rank pair in one product.
pub(super) struct Added {
    low_rank: LowRank,
    /// The first of the product's columns that it is added to.
    first: usize,
    key: Option<DropoutKey>,
}

impl Graph<'_> {
    /// What is added to a product with this weight, with masks drawn for it.
    pub(super) fn low_ranks(&mut self, weight: Weight) -> Vec<Added> {
        let found = self.params().low_ranks(weight).into_iter();
        let draw = |(first, low_rank): (usize, LowRank)| {
            let key = self.next_dropout(low_rank.dropout, low_rank.down.cols);
            Added { low_rank, first, key }
        };
        found.map(draw).collect()
    }
}

impl Added {
    /// The parameters, which may be trained.
    pub(super) fn weights(&self) -> [Weight; 2] {
        [self.low_rank.down, self.low_rank.up]
    }

    /// Adds to the columns of `product`; returns `h`.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `product`: [rows, width]; result: [rows, rank].
    pub(super) fn forward(
        &self,
        params: &Params,
        pool: &Pool,
        rows: usize,
        x: Slice<'_>,
        product: SliceMut<'_>,
        width: usize,
    ) -> Buffer {
        let LowRank { down, up, scale, .. } = &self.low_rank;
        let device = pool.device();
        let dropped = self.dropped(pool, x);
        let x = dropped.as_ref().map_or(x, Buffer::slice);
        let mut hidden = pool.take_as(x.dtype(), rows * down.rows);
        let (identity, to) = (Activation::Identity, hidden.slice_mut());
        projection::forward(params, pool, rows, x, *down, OUT_IN, None, identity, None, to);
        device.scale(hidden.slice_mut(), *scale);
        device.linear_add(rows, hidden.slice(), params.slice(*up), product, width, self.first);
        hidden
    }

    /// Adds its gradients, and to `dx` what passes through it.
    ///
    /// # Shapes
    /// `x`, `dx`: [rows, inputs]; `hidden`: [rows, rank]; `dz`: [rows, width].
    pub(super) fn backward(
        &self,
        params: &Params,
        grads: &mut Grads,
        pool: &Pool,
        rows: usize,
        (x, hidden): (Slice<'_>, Slice<'_>),
        (dz, width): (Slice<'_>, usize),
        dx: Option<SliceMut<'_>>,
    ) {
        let LowRank { down, up, scale, .. } = &self.low_rank;
        let device = pool.device();
        let own = (up.rows < width).then(|| columns(pool, dz, width, self.first, up.rows));
        let dz = own.as_ref().map_or(dz, Buffer::slice);
        projection::backward_weight(params, grads, pool, rows, hidden, dz, *up, OUT_IN);
        if dx.is_none() && !params.is_any_trained(&[*down]) {
            return;
        }
        let mut dhidden = pool.take_as(dz.dtype(), hidden.len());
        projection::backward_input(params, pool, rows, dz, *up, OUT_IN, dhidden.slice_mut(), false);
        device.scale(dhidden.slice_mut(), *scale);
        let dhidden = dhidden.slice();
        if params.is_any_trained(&[*down]) {
            let dropped = self.dropped(pool, x);
            let x = dropped.as_ref().map_or(x, Buffer::slice);
            projection::backward_weight(params, grads, pool, rows, x, dhidden, *down, OUT_IN);
        }
        let Some(dx) = dx else { return };
        match self.key {
            None => projection::backward_input(params, pool, rows, dhidden, *down, OUT_IN, dx, true),
            Some(key) => {
                let [mut passed, mut kept] = [(); 2].map(|()| pool.take_as(dz.dtype(), x.len()));
                projection::backward_input(params, pool, rows, dhidden, *down, OUT_IN, passed.slice_mut(), false);
                device.dropout(key, passed.slice(), kept.slice_mut());
                device.add_assign(dx, kept.slice());
            }
        }
    }

    fn dropped(&self, pool: &Pool, x: Slice<'_>) -> Option<Buffer> {
        let key = self.key?;
        let mut dropped = pool.take_as(x.dtype(), x.len());
        pool.device().dropout(key, x, dropped.slice_mut());
        Some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use crate::ops::{Activation, WeightLayout};
    use crate::{Graph, LowRank, Tensor, Weight};

    /// A weight [4, 5] with a bias, and a pair of rank 2 on its last three outputs.
    fn case(layout: WeightLayout, dropout: f32) -> Case {
        let dims = if layout == WeightLayout::OutIn { [4, 5] } else { [5, 4] };
        let case = Case::new().leaf(&[3, 5]).matrix(&dims, layout).param(&[4]).param(&[2, 5]).param(&[3, 2]);
        case.low_rank(0, |w| LowRank { down: w[2], up: w[3], scale: 0.5, dropout, outputs: 1..4 })
    }

    fn op(
        layout: WeightLayout,
        activation: Activation,
    ) -> impl Fn(&mut Graph<'_>, &[Tensor], &[Weight]) -> Vec<Tensor> {
        move |g, x, w| vec![g.linear(&x[0], w[0], layout, Some(w[1]), activation)]
    }

    #[test]
    fn gradients_of_both_layouts_with_activations_and_dropout() {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for activation in [Activation::Identity, Activation::Gelu] {
                case(layout, 0.0).check_plain(&op(layout, activation));
                case(layout, 0.4).check(&op(layout, activation));
            }
        }
    }

    /// x Wᵀ + b + scale · x downᵀ upᵀ in the columns of the pair, op by op.
    #[test]
    fn the_product_is_that_of_the_sum_of_the_matrices() {
        let layout = WeightLayout::OutIn;
        let found = case(layout, 0.0).run(&op(layout, Activation::Identity));
        let plain = Case::new().leaf(&[3, 5]).param(&[4, 5]).param(&[4]).param(&[2, 5]).param(&[3, 2]);
        let parts = plain.run(&|g, x, w| {
            let identity = Activation::Identity;
            let whole = g.linear(&x[0], w[0], layout, Some(w[1]), identity);
            let hidden = g.linear(&x[0], w[2], layout, None, identity);
            vec![whole, g.linear(&hidden, w[3], layout, None, identity)]
        });
        let mut expected = parts.outputs[0].clone();
        for (row, added) in expected.chunks_mut(4).zip(parts.outputs[1].chunks(3)) {
            row[1..].iter_mut().zip(added).for_each(|(x, y)| *x += 0.5 * y);
        }
        assert_close(&found.outputs[0], &expected);
    }

    #[test]
    fn pairs_on_stacked_weights_are_added_where_their_part_lies() {
        let stacked = |with: bool| {
            let case = Case::new().leaf(&[3, 5]);
            let case = case.matrix(&[2, 5], WeightLayout::OutIn).matrix(&[4, 5], WeightLayout::OutIn);
            let case = case.param(&[1, 5]).param(&[4, 1]);
            let pair = |w: &[Weight]| LowRank { down: w[2], up: w[3], scale: 2.0, dropout: 0.0, outputs: 0..4 };
            if with { case.low_rank(1, pair) } else { case }
        };
        let op = |g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]| {
            let whole = g.params().fused(&w[..2]);
            vec![g.linear(&x[0], whole, WeightLayout::OutIn, None, Activation::Identity)]
        };
        let (found, plain) = (stacked(true).run(&op), stacked(false).run(&op));
        for (found, plain) in found.outputs[0].chunks(6).zip(plain.outputs[0].chunks(6)) {
            assert_eq!(found[..2], plain[..2]);
            assert!(found[2..] != plain[2..]);
        }
    }
}
