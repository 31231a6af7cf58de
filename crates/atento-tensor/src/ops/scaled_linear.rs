//! Projections with factors on what they take and give ((IA)³, Liu et al. 2022): `y = f(l_out ⊙ ((l_in ⊙ x) Wᵀ + b))`.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// [`Graph::linear`] with a weight whose parts have factors.
    ///
    /// # Panics
    /// As there; one of several parts has factors on what it takes, and the bias has other parts.
    #[track_caller]
    pub(super) fn scaled_linear(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        let params = self.params();
        let parts: Vec<Weight> = params.parts(weight).collect();
        let inputs = |part: &Weight| params.scaling(*part).and_then(|scaling| scaling.inputs);
        if parts.len() > 1 && parts.iter().any(|part| inputs(part).is_some()) {
            let y = self.by_parts(x, &parts, layout, bias);
            return self.activated(y, activation);
        }
        let mut first = 0;
        let mut outputs = Vec::new();
        for part in &parts {
            outputs.extend(params.scaling(*part).and_then(|scaling| scaling.outputs).map(|factors| (first, factors)));
            first += part.rows;
        }
        let scaled = inputs(&parts[0]).map(|factors| self.scale_columns(x, &[(0, factors)]));
        let x = scaled.as_ref().unwrap_or(x);
        if outputs.is_empty() {
            return self.product(x, weight, layout, bias, activation);
        }
        let y = self.product(x, weight, layout, bias, Activation::Identity);
        let y = self.scale_columns(&y, &outputs);
        self.activated(y, activation)
    }

    /// Each part by itself, side by side.
    pub(super) fn by_parts(
        &mut self,
        x: &Tensor,
        parts: &[Weight],
        layout: WeightLayout,
        bias: Option<Weight>,
    ) -> Tensor {
        let biases: Vec<Weight> = bias.map_or(Vec::new(), |bias| self.params().parts(bias).collect());
        assert!(biases.is_empty() || biases.len() == parts.len(), "linear: {bias:?} has other parts than its weight");
        let mut whole: Option<Tensor> = None;
        for (at, part) in parts.iter().enumerate() {
            let y = self.linear(x, *part, layout, biases.get(at).copied(), Activation::Identity);
            whole = Some(match whole {
                None => y,
                Some(before) => self.concat_columns(&before, &y),
            });
        }
        whole.expect("a weight has a part")
    }

    /// An activation function behind a product.
    pub(super) fn activated(&mut self, y: Tensor, activation: Activation) -> Tensor {
        if activation == Activation::Identity { y } else { self.activation(&y, activation) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use crate::ops::{Activation, WeightLayout};
    use crate::{Graph, Scaling, Tensor, Weight};

    /// A weight [4, 5] with a bias, factors on its inputs and on its outputs.
    fn case(layout: WeightLayout) -> Case {
        let dims = if layout == WeightLayout::OutIn { [4, 5] } else { [5, 4] };
        let case = Case::new().leaf(&[3, 5]).matrix(&dims, layout).param(&[4]).param(&[5]).param(&[4]);
        case.scaling(0, |w| Scaling { inputs: Some(w[2]), outputs: Some(w[3]) })
    }

    #[test]
    fn gradients_of_both_layouts_with_activations() {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for activation in [Activation::Identity, Activation::Gelu] {
                case(layout).check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], layout, Some(w[1]), activation)]);
            }
        }
    }

    /// Factors on one part of a stacked weight, op by op.
    #[test]
    fn parts_of_a_stacked_weight_have_factors_of_their_own() {
        let out_in = WeightLayout::OutIn;
        let plain = Case::new().leaf(&[3, 5]).matrix(&[2, 5], out_in).matrix(&[4, 5], out_in).param(&[2]).param(&[4]);
        let plain = plain.param(&[4]).param(&[5]);
        let op = |g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]| {
            let (whole, bias) = (g.params().fused(&w[..2]), g.params().fused(&w[2..4]));
            vec![g.linear(&x[0], whole, out_in, Some(bias), Activation::Gelu)]
        };
        let one_by_one = |with_inputs: bool| {
            move |g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]| {
                let first = g.linear(&x[0], w[0], out_in, Some(w[2]), Activation::Identity);
                let taken = if with_inputs { g.scale_columns(&x[0], &[(0, w[5])]) } else { x[0].clone() };
                let second = g.linear(&taken, w[1], out_in, Some(w[3]), Activation::Identity);
                let second = g.scale_columns(&second, &[(0, w[4])]);
                let whole = g.concat_columns(&first, &second);
                vec![g.activation(&whole, Activation::Gelu)]
            }
        };
        for with_inputs in [false, true] {
            let inputs = |w: &[Weight]| with_inputs.then_some(w[5]);
            let scaled = plain.clone().scaling(1, |w| Scaling { inputs: inputs(w), outputs: Some(w[4]) });
            let (found, expected) = (scaled.run(&op), plain.run(&one_by_one(with_inputs)));
            assert_close(&found.outputs[0], &expected.outputs[0]);
            assert_close(&found.leaf_grads[0], &expected.leaf_grads[0]);
            for (found, expected) in found.param_grads.iter().zip(&expected.param_grads) {
                assert_close(found, expected);
            }
        }
    }
}
