//! `y = f(x Wᵀ + b)`: a projection with bias and activation in its epilogue.
//!
//! Backward, with `z = x Wᵀ + b` and `dz = dy ⊙ f'(z)`: `dx = dz W`, `dW += dzᵀ x`, `db += Σ_rows dz`; the parameter
//! gradients are accumulated straight into the arena, those of frozen parameters are not computed. Saved: `x`, and what `f'` needs (the output for ReLU, `z` for the
//! smooth activations, nothing for the identity).

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::{projection, replaced_rows};
use crate::{Backward, Buffer, Graph, Slice, Tensor, Weight};

impl Graph<'_> {
    /// Projects every row of `x`.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `weight`: [outputs, inputs] or, for [`WeightLayout::InOut`], [inputs, outputs];
    /// `bias`: `[outputs]`; result: [rows, outputs].
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn linear(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        match self.params().has_bottleneck(weight) {
            true => self.linear_with_bottleneck(x, weight, layout, bias, activation),
            false => self.scaled_or_plain(x, weight, layout, bias, activation),
        }
    }

    /// [`Graph::linear`], whatever stands behind the weight.
    #[track_caller]
    pub(super) fn scaled_or_plain(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        match self.params().has_scaling(weight) {
            true => self.scaled_linear(x, weight, layout, bias, activation),
            false => self.product(x, weight, layout, bias, activation),
        }
    }

    /// [`Graph::linear`], whatever factors the weight has.
    #[track_caller]
    pub(super) fn product(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        let [rows, inputs] = x.dims();
        let (outputs, weight_inputs) = projection::sizes(weight, layout);
        assert_eq!(inputs, weight_inputs, "linear: x {:?}, weight {weight:?} {layout:?}", x.shape());
        let (params, pool) = (self.params(), self.pool().clone());
        let added = if params.has_low_rank(weight) { self.low_ranks(weight) } else { Vec::new() };
        let replaced = params.replaced_rows(weight).cloned();
        let tracked = x.node().is_some()
            || self.trains(&[weight])
            || bias.is_some_and(|bias| self.trains(&[bias]))
            || added.iter().any(|added| self.trains(&added.weights(params)))
            || replaced.as_ref().is_some_and(|replaced| self.trains(&[replaced.rows]));
        let recording = tracked && self.is_training();
        let mut pre_activation =
            (recording && needs_pre_activation(activation)).then(|| pool.take_as(x.dtype(), rows * outputs));
        let mut out = pool.take_as(x.dtype(), rows * outputs);
        let mut kept = Vec::with_capacity(added.len());
        if added.is_empty() && replaced.is_none() {
            let (pre, to) = (pre_activation.as_mut().map(Buffer::slice_mut), out.slice_mut());
            projection::forward(params, &pool, rows, x.slice(), weight, layout, bias, activation, pre, to);
        } else {
            let product = pre_activation.as_mut().unwrap_or(&mut out);
            let identity = Activation::Identity;
            projection::forward(
                params,
                &pool,
                rows,
                x.slice(),
                weight,
                layout,
                None,
                identity,
                None,
                product.slice_mut(),
            );
            for added in &added {
                kept.push(added.forward(params, &pool, rows, x.slice(), product.slice_mut(), outputs, recording));
            }
            if let Some(replaced) = &replaced {
                assert_eq!(layout, WeightLayout::OutIn, "linear: rows of a table are outputs");
                replaced_rows::forward(params, &pool, rows, x.slice(), replaced, (product.slice_mut(), outputs));
            }
            let pre = pre_activation.as_mut().map(Buffer::slice_mut);
            projection::epilogue(params, &pool, bias, activation, pre, out.slice_mut(), outputs);
        }
        let y = self.output("linear", out, &[rows, outputs], tracked);
        if let Some(node) = y.node() {
            let (x, saved_output) = (x.clone(), (activation == Activation::Relu).then(|| y.detached()));
            self.push("linear", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let dz = match (&pre_activation, &saved_output) {
                    (Some(z), _) => activation_gradient(pass, activation, z.slice(), dy),
                    (_, Some(y)) => activation_gradient(pass, activation, y.slice(), dy),
                    _ => dy,
                };
                let (params, pool) = (pass.params, pass.pool.clone());
                if let Some(bias) = bias {
                    projection::backward_bias(params, pass.grads, &pool, dz.slice(), bias);
                }
                let mut dz = dz;
                if added.iter().any(|added| added.has_lengths(params)) {
                    // The bias lies behind the lengths, the weight before them.
                    let mut before = pool.take_as(dz.dtype(), dz.len());
                    pool.device().copy(dz.slice(), before.slice_mut());
                    for (added, kept) in added.iter().zip(&kept) {
                        let lengths = kept.lengths.as_ref();
                        added.backward_lengths(params, pass.grads, &pool, lengths, before.slice_mut(), outputs);
                    }
                    dz = before;
                }
                let of_rows = replaced.as_ref().map(|replaced| {
                    let taken = replaced_rows::take(&pool, rows, replaced, (dz.slice_mut(), outputs));
                    (taken, replaced)
                });
                projection::backward_weight(params, pass.grads, &pool, rows, x.slice(), dz.slice(), weight, layout);
                let mut slot = x.node().map(|input| (input, pass.slot(input, x.dtype(), x.len())));
                if let Some((_, (dx, accumulate))) = &mut slot {
                    let to = dx.slice_mut();
                    projection::backward_input(params, &pool, rows, dz.slice(), weight, layout, to, *accumulate);
                }
                for (added, kept) in added.iter().zip(&kept) {
                    let dx = slot.as_mut().map(|(_, (dx, _))| dx.slice_mut());
                    let (inputs, dz) = ((x.slice(), kept), (dz.slice(), outputs));
                    added.backward(params, pass.grads, &pool, rows, inputs, dz, dx);
                }
                if let Some((dz, replaced)) = &of_rows {
                    let dx = slot.as_mut().map(|(_, (dx, _))| dx.slice_mut());
                    let own = (dz.slice(), *replaced);
                    replaced_rows::backward(params, pass.grads, &pool, rows, x.slice(), own, dx);
                }
                if let Some((input, (dx, _))) = slot {
                    pass.put(input, dx);
                }
            });
        }
        y
    }
}

fn needs_pre_activation(activation: Activation) -> bool {
    !matches!(activation, Activation::Identity | Activation::Relu)
}

fn activation_gradient(pass: &Backward<'_>, activation: Activation, saved: Slice<'_>, dy: Buffer) -> Buffer {
    let mut dz = pass.pool.take_as(dy.dtype(), dy.len());
    pass.device().activation_backward(activation, saved, dy.slice(), dz.slice_mut());
    dz
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use super::Activation::{self, Gelu, GeluTanh, Identity, Relu, Silu};
    use super::WeightLayout::{self, InOut, OutIn};
    use crate::{Frozen, Grads, Graph, Init, Params, Pool, ReplacedRows};
    use atento_kernels::philox::Rng;
    use half::bf16;

    fn case(layout: WeightLayout) -> Case {
        let case = Case::new().leaf(&[3, 5]);
        match layout {
            OutIn => case.param(&[4, 5]),
            InOut => case.param(&[5, 4]),
        }
    }

    fn check(case: &Case, layout: WeightLayout, activation: Activation) {
        let found = case.check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], layout, w.get(1).copied(), activation)]);
        assert_eq!(found.shapes, [[3, 4]]);
    }

    #[test]
    fn every_smooth_activation_in_both_layouts_with_and_without_bias() {
        for layout in [OutIn, InOut] {
            for activation in [Identity, Gelu, GeluTanh, Silu] {
                check(&case(layout), layout, activation);
                check(&case(layout).param(&[4]), layout, activation);
            }
        }
    }

    /// Biases of ±8 keep sums of five products of numbers below 1 away from the kink.
    #[test]
    fn relu_in_both_layouts() {
        for layout in [OutIn, InOut] {
            check(&case(layout).param_of(&[8.0, -8.0, 8.0, -8.0], &[4]), layout, Relu);
        }
    }

    #[test]
    fn the_layouts_are_transposes_of_one_another() {
        let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let transposed = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        let [one, other] = [(matrix, [2, 3], OutIn), (transposed, [3, 2], InOut)].map(|(values, dims, layout)| {
            let case = Case::new().leaf(&[4, 3]).param_of(&values, &dims);
            case.run(&|g, x, w| vec![g.linear(&x[0], w[0], layout, None, Identity)])
        });
        assert_close(&one.outputs[0], &other.outputs[0]);
        assert_close(&one.leaf_grads[0], &other.leaf_grads[0]);
        let turned: Vec<f32> = (0..6).map(|i| other.param_grads[0][i % 3 * 2 + i / 3]).collect();
        assert_close(&one.param_grads[0], &turned);
    }

    #[test]
    fn a_gradient_is_added_to_what_its_input_received_elsewhere() {
        let case = case(OutIn).param(&[4]);
        case.check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], OutIn, None, Identity), g.scale(&x[0], 2.0)]);
        case.check_plain(&|g, x, w| vec![g.scale(&x[0], 2.0), g.linear(&x[0], w[0], OutIn, Some(w[1]), Silu)]);
    }

    #[test]
    fn a_weight_used_twice_receives_both_gradients() {
        let case = Case::new().leaf(&[2, 3]).param(&[3, 3]);
        case.check_plain(&|g, x, w| {
            let hidden = g.linear(&x[0], w[0], OutIn, None, Gelu);
            vec![g.linear(&hidden, w[0], InOut, None, Identity)]
        });
    }

    #[test]
    fn rows_in_the_place_of_a_tables_own_are_outputs() {
        let case = case(OutIn).param(&[4]).param(&[3, 5]);
        let case = case.replaced_rows(0, |w| ReplacedRows { ids: [3, 0, 1].into(), rows: w[2] });
        let found = case.check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], OutIn, Some(w[1]), Gelu)]);
        assert_eq!((&found.param_grads[0][..10], &found.param_grads[0][15..]), (&[0.0; 10][..], &[0.0; 5][..]));
        assert!(found.param_grads[0][10..15].iter().any(|d| *d != 0.0));
    }

    #[test]
    fn operations_are_counted_forward_and_backward_of_what_trains() {
        let mut params = Params::new();
        let weight = params.add("w", &[4, 5], Init::Normal(1.0), &mut Rng::new(3, 1));
        let product = 2 * 3 * 4 * 5;
        let count = |params: &Params, expected: [u64; 2]| {
            let (pool, mut grads) = (Pool::new(), Grads::zeros(params));
            let mut g = Graph::train(params, &mut grads, &pool, 1);
            let x = g.variable(&[0.5; 15], &[3, 5]);
            let y = g.linear(&x, weight, OutIn, None, Identity);
            assert_eq!(pool.operations(), expected[0]);
            let upstream = pool.copy_of(&[1.0; 12]);
            let _ = g.backward_from(vec![(y, upstream)], &[&x]);
            assert_eq!(pool.operations(), expected[1]);
        };
        count(&params, [product, 3 * product]);
        let held = Frozen::F32(params.get(weight).to_vec().into());
        params.freeze(|_| true);
        params.set_frozen(weight, held);
        count(&params, [product, 2 * product]);
    }

    #[test]
    fn no_rows_are_no_rows() {
        let case = Case::new().leaf(&[0, 3]).param(&[2, 3]).param(&[2]);
        let found = case.check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], OutIn, Some(w[1]), Gelu)]);
        assert_eq!(found.shapes, [[0, 2]]);
        assert_eq!(found.param_grads, [vec![0.0; 6], vec![0.0; 2]]);
    }

    /// Three neighbours, read as one matrix, of which these are frozen and held in this way.
    fn fused(frozen: &[usize], hold: &dyn Fn(&[f32]) -> Frozen) -> [Vec<Vec<f32>>; 2] {
        let (mut params, rng) = (Params::new(), &mut Rng::new(3, 1));
        let weights = ["q", "k", "v"].map(|name| params.add(name, &[4, 5], Init::Normal(1.0), rng));
        let biases = ["qb", "kb", "vb"].map(|name| params.add(name, &[4], Init::Normal(1.0), rng));
        let (weight, bias) = (params.fused(&weights), params.fused(&biases));
        for &k in frozen {
            let held = hold(params.get(weights[k]));
            params.freeze(|entry| entry.weight == weights[k] || entry.weight == biases[k]);
            params.set_frozen(weights[k], held);
        }
        let (pool, mut grads) = (Pool::new(), Grads::zeros(&params));
        let mut g = Graph::train(&params, &mut grads, &pool, 1);
        let x = g.variable(&super::super::testing::wave(15, 3), &[3, 5]);
        let y = g.linear(&x, weight, OutIn, Some(bias), Silu);
        let values = vec![y.values().to_vec()];
        let upstream = pool.copy_of(&super::super::testing::wave(y.len(), 7));
        let dx = g.backward_from(vec![(y, upstream)], &[&x])[0].f32().to_vec();
        drop(g);
        let trained = weights.iter().chain(&biases).filter(|weight| params.is_any_trained(&[**weight]));
        [[values, vec![dx]].concat(), trained.map(|weight| grads.get(*weight).to_vec()).collect()]
    }

    #[test]
    fn parts_of_a_fused_weight_are_frozen_each_by_itself() {
        let exact = |values: &[f32]| Frozen::F32(values.to_vec().into());
        let [values, gradients] = fused(&[], &exact);
        for frozen in [&[0][..], &[1], &[0, 2], &[0, 1, 2]] {
            let [found, trained] = fused(frozen, &exact);
            for (found, expected) in found.iter().zip(&values) {
                assert_close(found, expected);
            }
            let expected = gradients.iter().enumerate().filter(|(k, _)| !frozen.contains(&(k % 3)));
            assert_eq!(trained.len(), expected.clone().count());
            for (found, (_, expected)) in trained.iter().zip(expected) {
                assert_close(found, expected);
            }
        }
    }

    #[test]
    fn a_frozen_part_in_fewer_bits_computes_what_its_numbers_say_and_passes_the_gradient_on() {
        let rounded = |values: &[f32]| -> Vec<f32> { values.iter().map(|x| bf16::from_f32(*x).to_f32()).collect() };
        let exact = |values: &[f32]| Frozen::F32(rounded(values).into());
        let halves =
            |values: &[f32]| Frozen::Bf16(values.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>().into());
        for frozen in [&[1][..], &[0, 1, 2]] {
            let (expected, found) = (fused(frozen, &exact), fused(frozen, &halves));
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert_close(found, expected);
            }
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let case = Case::new().leaf(&[2, 3]).param(&[2, 3]).param(&[2]);
        let found = case.run(&|g, x, w| vec![g.linear(&x[0], w[0], OutIn, Some(w[1]), Gelu)]);
        assert_close(&found.outputs[0], &[1.158099, 0.6401682, 0.3956751, 0.4799895]);
        let dx = [0.4948537, -0.03705627, -0.4454743, 0.217241, -0.6065125, 0.5909685];
        assert_close(&found.leaf_grads[0], &dx);
        let dweight = [-0.4170815, -0.5855767, 1.197393, 0.04715737, 0.7665147, -1.068578];
        assert_close(&found.param_grads[0], &dweight);
        assert_close(&found.param_grads[1], &[-1.290792, 1.085063]);
    }

    #[test]
    #[should_panic(expected = "linear: x [3, 5]")]
    fn shapes_have_to_fit() {
        case(OutIn).run(&|g, x, w| vec![g.linear(&x[0], w[0], InOut, None, Identity)]);
    }
}
