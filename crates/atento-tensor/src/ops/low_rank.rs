//! What low-rank pairs add to a product (Hu et al. 2021, eq. 3): `z[:, outputs] += scale · drop(x) downᵀ upᵀ`.
//!
//! Backward, with `h = scale · drop(x) downᵀ` saved and `dz` the gradient of those columns: `dup += dzᵀ h`,
//! `dh = scale · dz up`, `ddown += dhᵀ drop(x)`, `dx += drop(dh down)`. What was dropped is drawn again.
//!
//! Where the rows' lengths are learned apart (Liu et al. 2024, eq. 5), those columns are then multiplied by
//! `f = m / |W + scale · up down|`, each by its own; the length is a constant of the backward: `dz ← f dz`, and with `y` the
//! columns before that, saved where `m` is trained, `dm += Σ_rows dz y / |…|`.

use std::sync::Arc;

use atento_kernels::activation::Activation;
use atento_kernels::dropout::DropoutKey;
use atento_kernels::linear::WeightLayout;

use super::projection::{self, columns};
use crate::params::Placed;
use crate::{Buffer, Grads, Graph, LowRank, Params, Pool, Slice, SliceMut, Weight};

const OUT_IN: WeightLayout = WeightLayout::OutIn;

/// A low-rank pair in one product.
pub(super) struct Added {
    /// The parameter that it is added to, and which of its pairs it is.
    part: Weight,
    at: usize,
    /// The first of the product's columns that it is added to.
    first: usize,
    key: Option<DropoutKey>,
}

/// What its backward needs of the forward.
pub(super) struct Kept {
    hidden: Buffer,
    pub(super) lengths: Option<Lengths>,
}

/// Of a pair with lengths of its own.
pub(super) struct Lengths {
    /// One over the lengths that the rows have.
    inverse: Arc<[f32]>,
    /// The columns before they are multiplied, where that is needed.
    before: Option<Buffer>,
}

impl Graph<'_> {
    /// What is added to a product with this weight, with masks drawn for it.
    pub(super) fn low_ranks(&mut self, weight: Weight) -> Vec<Added> {
        let params = self.params();
        let found = params.low_ranks(weight).into_iter();
        let draw = |Placed { low_rank, first, part, at }: Placed<'_>| {
            let key = self.next_dropout(low_rank.dropout, low_rank.down.cols);
            Added { part, at, first, key }
        };
        found.map(draw).collect()
    }
}

impl Added {
    /// The parameters, which may be trained.
    pub(super) fn weights(&self, params: &Params) -> Vec<Weight> {
        let LowRank { down, up, magnitude, .. } = self.low_rank(params);
        [*down, *up].into_iter().chain(magnitude.as_ref().map(|magnitude| magnitude.weight())).collect()
    }

    fn low_rank<'p>(&self, params: &'p Params) -> &'p LowRank {
        params.low_rank(self.part, self.at)
    }

    /// Adds to the columns of `product`; returns what the backward needs, where there will be one.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `product`: [rows, width].
    pub(super) fn forward(
        &self,
        params: &Params,
        pool: &Pool,
        rows: usize,
        x: Slice<'_>,
        product: SliceMut<'_>,
        width: usize,
        recording: bool,
    ) -> Kept {
        let hidden = self.hidden(params, pool, rows, x);
        let inverse = self.inverse_lengths(params, pool);
        let lengths = self.add(params, pool, rows, (hidden.slice(), inverse.as_ref()), (product, width), recording);
        Kept { hidden, lengths }
    }

    /// `scale · drop(x) downᵀ`: [rows, rank].
    ///
    /// # Shapes
    /// `x`: [rows, inputs].
    pub(super) fn hidden(&self, params: &Params, pool: &Pool, rows: usize, x: Slice<'_>) -> Buffer {
        let LowRank { down, scale, .. } = self.low_rank(params);
        let dropped = self.dropped(pool, x);
        let x = dropped.as_ref().map_or(x, Buffer::slice);
        let mut hidden = pool.take_as(x.dtype(), rows * down.rows);
        let (identity, to) = (Activation::Identity, hidden.slice_mut());
        projection::forward(params, pool, rows, x, *down, OUT_IN, None, identity, None, to);
        pool.device().scale(hidden.slice_mut(), *scale);
        hidden
    }

    /// One over the lengths that the rows have, where they are learned apart.
    pub(super) fn inverse_lengths(&self, params: &Params, pool: &Pool) -> Option<Arc<[f32]>> {
        let low_rank = self.low_rank(params);
        Placed { low_rank, first: self.first, part: self.part, at: self.at }.inverse_lengths(params, pool.device())
    }

    /// Adds `hidden upᵀ` to the columns of `product`, and multiplies them by `m / |…|` where lengths are learned apart.
    ///
    /// # Shapes
    /// `hidden`: [rows, rank]; `product`: [rows, width].
    pub(super) fn add(
        &self,
        params: &Params,
        pool: &Pool,
        rows: usize,
        (hidden, inverse): (Slice<'_>, Option<&Arc<[f32]>>),
        (mut product, width): (SliceMut<'_>, usize),
        recording: bool,
    ) -> Option<Lengths> {
        let LowRank { up, magnitude, .. } = self.low_rank(params);
        pool.count_product(rows, up.len());
        pool.device().linear_add(rows, hidden, params.slice(*up), product.reborrow(), width, self.first);
        let (magnitude, inverse) = magnitude.as_ref().zip(inverse)?;
        let is_needed = recording && params.is_any_trained(&[magnitude.weight()]);
        let before = is_needed.then(|| columns(pool, product.as_slice(), width, self.first, up.rows));
        let lengths = Lengths { inverse: Arc::clone(inverse), before };
        self.scale(params, pool, &lengths, product, width);
        Some(lengths)
    }

    /// Multiplies the columns by `m / |…|`.
    fn scale(&self, params: &Params, pool: &Pool, lengths: &Lengths, z: SliceMut<'_>, width: usize) {
        let magnitude = self.low_rank(params).magnitude.as_ref().expect("a pair with a magnitude").weight();
        let mut factors = pool.take(magnitude.len());
        pool.device().mul(params.slice(magnitude), (&*lengths.inverse).into(), factors.slice_mut());
        pool.device().scale_columns(z, width, self.first, factors.slice());
    }

    /// The gradient of the lengths from `dz`, and `dz` as what lies before them sees it.
    ///
    /// # Shapes
    /// `dz`: [rows, width].
    pub(super) fn backward_lengths(
        &self,
        params: &Params,
        grads: &mut Grads,
        pool: &Pool,
        lengths: Option<&Lengths>,
        mut dz: SliceMut<'_>,
        width: usize,
    ) {
        let Some(lengths) = lengths else { return };
        let magnitude = self.low_rank(params).magnitude.as_ref().expect("a pair with a magnitude").weight();
        if let (Some(before), Some(dmagnitude)) = (&lengths.before, grads.slice_mut(magnitude)) {
            let own = columns(pool, dz.as_slice(), width, self.first, magnitude.len());
            let mut products = pool.take_as(own.dtype(), own.len());
            pool.device().mul(own.slice(), before.slice(), products.slice_mut());
            let [mut sums, mut scaled] = [pool.zeros(magnitude.len()), pool.take(magnitude.len())];
            pool.device().linear_backward_bias(products.slice(), sums.slice_mut());
            pool.device().mul(sums.slice(), (&*lengths.inverse).into(), scaled.slice_mut());
            pool.device().add_assign(dmagnitude, scaled.slice());
        }
        self.scale(params, pool, lengths, dz.reborrow(), width);
    }

    /// Whether its columns are multiplied by lengths.
    pub(super) fn has_lengths(&self, params: &Params) -> bool {
        self.low_rank(params).magnitude.is_some()
    }

    /// Adds its gradients, and to `dx` what passes through it.
    ///
    /// # Shapes
    /// `x`, `dx`: [rows, inputs]; `dz`: [rows, width].
    pub(super) fn backward(
        &self,
        params: &Params,
        grads: &mut Grads,
        pool: &Pool,
        rows: usize,
        (x, kept): (Slice<'_>, &Kept),
        dz: (Slice<'_>, usize),
        dx: Option<SliceMut<'_>>,
    ) {
        let hidden = kept.hidden.slice();
        let mut dhidden =
            (dx.is_some() || self.trains_down(params)).then(|| pool.take_as(hidden.dtype(), hidden.len()));
        self.backward_up(params, grads, pool, rows, hidden, dz, dhidden.as_mut().map(Buffer::slice_mut));
        if let Some(dhidden) = dhidden {
            self.backward_down(params, grads, pool, rows, x, dhidden.slice(), dx);
        }
    }

    /// The rank of the pair.
    pub(super) fn rank(&self, params: &Params) -> usize {
        self.low_rank(params).down.rows
    }

    /// Whether the thin matrix that reads the input is trained.
    pub(super) fn trains_down(&self, params: &Params) -> bool {
        params.is_any_trained(&[self.low_rank(params).down])
    }

    /// The gradient of `up`, and that of what it reads, before the factor.
    ///
    /// # Shapes
    /// `hidden`, `dhidden`: [rows, rank]; `dz`: [rows, width].
    pub(super) fn backward_up(
        &self,
        params: &Params,
        grads: &mut Grads,
        pool: &Pool,
        rows: usize,
        hidden: Slice<'_>,
        (dz, width): (Slice<'_>, usize),
        dhidden: Option<SliceMut<'_>>,
    ) {
        let LowRank { up, scale, .. } = self.low_rank(params);
        let own = (up.rows < width).then(|| columns(pool, dz, width, self.first, up.rows));
        let dz = own.as_ref().map_or(dz, Buffer::slice);
        projection::backward_weight(params, grads, pool, rows, hidden, dz, *up, OUT_IN);
        if let Some(mut dhidden) = dhidden {
            projection::backward_input(params, pool, rows, dz, *up, OUT_IN, dhidden.reborrow(), false);
            pool.device().scale(dhidden, *scale);
        }
    }

    /// The gradient of `down`, and to `dx` what passes through it.
    ///
    /// # Shapes
    /// `x`, `dx`: [rows, inputs]; `dhidden`: [rows, rank].
    pub(super) fn backward_down(
        &self,
        params: &Params,
        grads: &mut Grads,
        pool: &Pool,
        rows: usize,
        x: Slice<'_>,
        dhidden: Slice<'_>,
        dx: Option<SliceMut<'_>>,
    ) {
        let (LowRank { down, .. }, device) = (self.low_rank(params), pool.device());
        if self.trains_down(params) {
            let dropped = self.dropped(pool, x);
            let x = dropped.as_ref().map_or(x, Buffer::slice);
            projection::backward_weight(params, grads, pool, rows, x, dhidden, *down, OUT_IN);
        }
        let Some(dx) = dx else { return };
        match self.key {
            None => projection::backward_input(params, pool, rows, dhidden, *down, OUT_IN, dx, true),
            Some(key) => {
                let [mut passed, mut kept] = [(); 2].map(|()| pool.take_as(dhidden.dtype(), x.len()));
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
    use super::super::testing::{Case, assert_close, wave};
    use crate::ops::{Activation, WeightLayout};
    use crate::{Graph, LowRank, Magnitude, Tensor, Weight};

    /// A weight [4, 5] with a bias, and a pair of rank 2 on its last three outputs.
    fn case(layout: WeightLayout, dropout: f32) -> Case {
        let dims = if layout == WeightLayout::OutIn { [4, 5] } else { [5, 4] };
        let case = Case::new().leaf(&[3, 5]).matrix(&dims, layout).param(&[4]).param(&[2, 5]).param(&[3, 2]);
        case.low_rank(0, |w| LowRank { down: w[2], up: w[3], scale: 0.5, dropout, outputs: 1..4, magnitude: None })
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
            let pair = |w: &[Weight]| LowRank {
                down: w[2],
                up: w[3],
                scale: 2.0,
                dropout: 0.0,
                outputs: 0..4,
                magnitude: None,
            };
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

    /// A frozen weight [4, 5] with a bias and a pair of rank 2 on its last three outputs, whose lengths are trained; the
    /// pair itself is frozen, so that the lengths it gives the rows are the constants that the backward takes them for.
    fn lengths(layout: WeightLayout) -> Case {
        let dims = if layout == WeightLayout::OutIn { [4, 5] } else { [5, 4] };
        let case = Case::new().leaf(&[3, 5]).matrix(&dims, layout).param(&[4]).param(&[2, 5]).param(&[3, 2]);
        let case = case.param_of(&[0.5, 2.0, 1.5], &[3]);
        let pair = |w: &[Weight]| LowRank {
            down: w[2],
            up: w[3],
            scale: 0.5,
            dropout: 0.0,
            outputs: 1..4,
            magnitude: Some(Magnitude::new(w[4])),
        };
        case.low_rank(0, pair).frozen(&[0, 2, 3])
    }

    #[test]
    fn gradients_of_lengths_of_both_layouts_with_activations() {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for activation in [Activation::Identity, Activation::Gelu] {
                lengths(layout).check_plain(&op(layout, activation));
            }
        }
    }

    /// The rows of W + scale · up · down, each brought to its length, op by op.
    #[test]
    fn rows_with_lengths_of_their_own_have_them() {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            let found = lengths(layout).run(&op(layout, Activation::Identity));
            let at = |k: usize, len: usize| wave(len, 50 + 10 * k);
            let (w, bias, down, up, x) = (at(0, 20), at(1, 4), at(2, 10), at(3, 6), wave(15, 0));
            let entry = |o: usize, i: usize| if layout == WeightLayout::OutIn { w[o * 5 + i] } else { w[i * 4 + o] };
            let row = |o: usize| -> Vec<f32> {
                let plain = (0..5).map(|i| entry(o, i));
                if o == 0 {
                    return plain.collect();
                }
                let added = |i: usize| 0.5 * (0..2).map(|r| up[(o - 1) * 2 + r] * down[r * 5 + i]).sum::<f32>();
                let sum: Vec<f32> = plain.enumerate().map(|(i, w)| w + added(i)).collect();
                let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
                sum.iter().map(|x| x * [0.5, 2.0, 1.5][o - 1] / length).collect()
            };
            let rows: Vec<Vec<f32>> = (0..4).map(row).collect();
            let product = |x: &[f32], o: usize| x.iter().zip(&rows[o]).map(|(x, w)| x * w).sum::<f32>() + bias[o];
            let expected: Vec<f32> =
                x.chunks(5).flat_map(|x| (0..4).map(move |o| (x, o))).map(|(x, o)| product(x, o)).collect();
            assert_close(&found.outputs[0], &expected);
        }
    }
}
