//! Projections with a bottleneck behind them (Houlsby et al. 2019): `z = x Wᵀ + b`, `y = f(z + up · g(down · z + c) + d)`.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// [`Graph::linear`] with a weight that has a bottleneck behind one of its parts.
    ///
    /// # Panics
    /// As there; the bias has other parts than the weight, which has several.
    #[track_caller]
    pub(super) fn linear_with_bottleneck(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        let Some(bottleneck) = self.params().bottleneck(weight) else {
            let parts: Vec<Weight> = self.params().parts(weight).collect();
            let y = self.by_parts(x, &parts, layout, bias);
            return self.activated(y, activation);
        };
        let y = self.scaled_or_plain(x, weight, layout, bias, Activation::Identity);
        let out_in = WeightLayout::OutIn;
        let narrow = self.product(&y, bottleneck.down, out_in, Some(bottleneck.down_bias), bottleneck.activation);
        let wide = self.product(&narrow, bottleneck.up, out_in, Some(bottleneck.up_bias), Activation::Identity);
        let y = self.add(&y, &wide);
        self.activated(y, activation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use crate::ops::{Activation, WeightLayout};
    use crate::{Bottleneck, Graph, Tensor, Weight};

    fn bottleneck(w: &[Weight]) -> Bottleneck {
        let [down, down_bias, up, up_bias] = [w[0], w[1], w[2], w[3]];
        Bottleneck { down, down_bias, up, up_bias, activation: Activation::Gelu }
    }

    /// A weight [4, 5] with a bias, and the parts of a bottleneck of 3.
    fn case(layout: WeightLayout) -> Case {
        let dims = if layout == WeightLayout::OutIn { [4, 5] } else { [5, 4] };
        let case = Case::new().leaf(&[3, 5]).matrix(&dims, layout).param(&[4]);
        case.param(&[3, 4]).param(&[3]).param(&[4, 3]).param(&[4])
    }

    #[test]
    fn gradients_of_both_layouts_with_activations() {
        for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
            for activation in [Activation::Identity, Activation::Gelu] {
                let case = case(layout).bottleneck(0, |w| bottleneck(&w[2..]));
                case.check_plain(&|g, x, w| vec![g.linear(&x[0], w[0], layout, Some(w[1]), activation)]);
            }
        }
    }

    #[test]
    fn it_is_what_its_parts_compute() {
        let out_in = WeightLayout::OutIn;
        let whole = case(out_in).bottleneck(0, |w| bottleneck(&w[2..]));
        let found = whole.run(&|g, x, w| vec![g.linear(&x[0], w[0], out_in, Some(w[1]), Activation::Identity)]);
        let expected = case(out_in).run(&|g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]| {
            let y = g.linear(&x[0], w[0], out_in, Some(w[1]), Activation::Identity);
            let narrow = g.linear(&y, w[2], out_in, Some(w[3]), Activation::Gelu);
            let wide = g.linear(&narrow, w[4], out_in, Some(w[5]), Activation::Identity);
            vec![g.add(&y, &wide)]
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_part_of_a_stacked_weight_has_one_of_its_own() {
        let out_in = WeightLayout::OutIn;
        let plain = Case::new().leaf(&[3, 5]).matrix(&[2, 5], out_in).matrix(&[4, 5], out_in).param(&[2]).param(&[4]);
        let plain = plain.param(&[3, 4]).param(&[3]).param(&[4, 3]).param(&[4]);
        let stacked = plain.clone().bottleneck(1, |w| bottleneck(&w[4..]));
        let found = stacked.run(&|g, x, w| {
            let (whole, bias) = (g.params().fused(&w[..2]), g.params().fused(&w[2..4]));
            vec![g.linear(&x[0], whole, out_in, Some(bias), Activation::Identity)]
        });
        let expected = stacked.run(&|g, x, w| {
            let parts = [0, 1].map(|at| g.linear(&x[0], w[at], out_in, Some(w[2 + at]), Activation::Identity));
            vec![g.concat_columns(&parts[0], &parts[1])]
        });
        assert_close(&found.outputs[0], &expected.outputs[0]);
        assert_close(&found.leaf_grads[0], &expected.leaf_grads[0]);
    }
}
