//! Layer normalisation over the last dimension (Ba et al. 2016): `y = (x − mean) · rstd · γ + β`, or without β.
//!
//! Backward, with `x̂ = (x − mean)·rstd` and `g = dy ⊙ γ`: `dx = rstd (g − mean(g) − x̂ mean(g ⊙ x̂))`,
//! `dγ += Σ dy ⊙ x̂`, `dβ += Σ dy`. Saved: `x`, and `mean` and `rstd` of each row.

use crate::{Buffer, Graph, Tensor, Weight};

impl Graph<'_> {
    /// Normalises each row of `x`.
    ///
    /// # Shapes
    /// `x` and the result: [rows, d_model]; `gamma`, `beta`: `[d_model]`.
    #[track_caller]
    pub fn layer_norm(&mut self, x: &Tensor, gamma: Weight, beta: Option<Weight>, eps: f32) -> Tensor {
        let [rows, d_model] = x.dims();
        let beta_len = beta.map_or(d_model, |beta| beta.len());
        assert_eq!((gamma.len(), beta_len), (d_model, d_model), "layer_norm: gamma and beta");
        let none = self.no_beta(gamma, beta);
        let mut out = self.pool().take_as(x.dtype(), rows * d_model);
        let (mut mean, mut rstd) = (self.pool().take(rows), self.pool().take(rows));
        self.device().layer_norm(
            x.slice(),
            self.params().slice(gamma),
            beta.map_or(none.slice(), |beta| self.params().slice(beta)),
            eps,
            out.slice_mut(),
            mean.slice_mut(),
            rstd.slice_mut(),
        );
        let tracked = x.node().is_some() || self.trains(&[gamma]) || beta.is_some_and(|beta| self.trains(&[beta]));
        let y = self.output("layer_norm", out, &[rows, d_model], tracked);
        if let Some(node) = y.node() {
            let x = x.clone();
            self.push("layer_norm", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let input = x.node();
                let (mut dx, accumulate) = match input {
                    Some(input) => pass.slot(input, x.dtype(), x.len()),
                    None => (pass.pool.take_as(x.dtype(), x.len()), false),
                };
                let device = pass.device();
                pass.with_norm(gamma, beta, |params, [dgamma, dbeta]| {
                    device.layer_norm_backward(
                        x.slice(),
                        params.slice(gamma),
                        mean.slice(),
                        rstd.slice(),
                        dy.slice(),
                        dx.slice_mut(),
                        accumulate,
                        dgamma,
                        dbeta,
                    );
                });
                if let Some(input) = input {
                    pass.put(input, dx);
                }
            });
        }
        y
    }

    /// The zeros that stand for the bias of a norm without one.
    pub(super) fn no_beta(&self, gamma: Weight, beta: Option<Weight>) -> Buffer {
        self.pool().zeros(if beta.is_some() { 0 } else { gamma.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use crate::{Graph, Tensor, Weight};

    fn norm(g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]) -> Vec<Tensor> {
        vec![g.layer_norm(&x[0], w[0], w.get(1).copied(), 1e-5)]
    }

    #[test]
    fn rows_of_every_width_have_their_gradients() {
        for dims in [[3, 5], [1, 8], [4, 2], [2, 17]] {
            let d = [dims[1]];
            // Steps of the differences are small against the spread of a row.
            let x: Vec<f32> = super::super::testing::wave(dims[0] * dims[1], 0).iter().map(|x| 3.0 * x).collect();
            let found = Case::new().leaf_of(&x, &dims).param(&d).param(&d).check_plain(&norm);
            assert_eq!(found.shapes, [dims]);
        }
    }

    #[test]
    fn without_a_bias_it_is_what_a_bias_of_zeros_gives() {
        let case = || Case::new().leaf(&[3, 6]).param(&[6]);
        let (found, zeros) = (case().check_plain(&norm), case().param_of(&[0.0; 6], &[6]).check_plain(&norm));
        assert_eq!((found.outputs, found.leaf_grads), (zeros.outputs, zeros.leaf_grads));
        assert_eq!(found.param_grads, zeros.param_grads[..1]);
    }

    #[test]
    fn a_gradient_is_added_to_what_its_input_received_elsewhere() {
        let case = Case::new().leaf(&[2, 6]).param(&[6]).param(&[6]);
        case.check_plain(&|g, x, w| vec![g.layer_norm(&x[0], w[0], Some(w[1]), 0.1), g.scale(&x[0], 2.0)]);
        case.check_plain(&|g, x, w| vec![g.scale(&x[0], 2.0), g.layer_norm(&x[0], w[0], Some(w[1]), 0.1)]);
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let found = Case::new().leaf(&[2, 4]).param(&[4]).param(&[4]).run(&norm);
        let y = [-0.2729452, 0.3647337, 2.451238, -0.5487003, -0.3995578, -1.628393, -0.340007, -0.9813666];
        let dx = [-0.4740682, 0.7472277, 0.2539306, -0.5270901, 0.3099283, -0.634774, -0.3776501, 0.702496];
        assert_close(&found.outputs[0], &y);
        assert_close(&found.leaf_grads[0], &dx);
        assert_close(&found.param_grads[0], &[0.3091606, 2.208932, 2.184178, -0.01065861]);
        assert_close(&found.param_grads[1], &[0.1794639, -0.01923287, -0.1538351, 0.2242261]);
    }

    #[test]
    fn a_constant_row_is_beta() {
        let case = Case::new().leaf_of(&[7.0; 4], &[1, 4]).param(&[4]).param_of(&[1.0, 2.0, 3.0, 4.0], &[4]);
        assert_eq!(case.run(&norm).outputs[0], [1.0, 2.0, 3.0, 4.0]);
    }
}
