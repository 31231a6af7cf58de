//! Root-mean-square normalisation (Zhang & Sennrich 2019): `y = x · rstd · γ`, `rstd = (mean(x²) + ε)^(−1/2)`.
//!
//! Backward, with `g = dy ⊙ γ`: `dx = rstd (g − x̂ mean(g ⊙ x̂))`, `x̂ = x · rstd`; `dγ += Σ dy ⊙ x̂`.

use crate::{Buffer, Graph, Tensor, Weight};

impl Graph<'_> {
    /// Scales each row of `x` to unit root mean square.
    ///
    /// # Shapes
    /// `x` and the result: [rows, d_model]; `gamma`: `[d_model]`.
    #[track_caller]
    pub fn rms_norm(&mut self, x: &Tensor, gamma: Weight, eps: f32) -> Tensor {
        let [rows, d_model] = x.dims();
        assert_eq!(gamma.len(), d_model, "rms_norm: gamma");
        let mut out = self.pool().take_as(x.dtype(), rows * d_model);
        let mut rstd = self.pool().take(rows);
        let gamma_values = self.params().slice(gamma);
        self.device().rms_norm(x.slice(), gamma_values, eps, out.slice_mut(), rstd.slice_mut());
        let tracked = x.node().is_some() || self.trains(&[gamma]);
        let y = self.output("rms_norm", out, &[rows, d_model], tracked);
        if let Some(node) = y.node() {
            let x = x.clone();
            self.push("rms_norm", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let (mut dx, accumulate) = match x.node().map(|input| pass.slot(input, x.dtype(), x.len())) {
                    Some((dx, accumulate)) => (Some(dx), accumulate),
                    None => (None, false),
                };
                pass.device().rms_norm_backward(
                    x.slice(),
                    pass.params.slice(gamma),
                    rstd.slice(),
                    dy.slice(),
                    dx.as_mut().map(Buffer::slice_mut),
                    accumulate,
                    pass.grads.slice_mut(gamma),
                );
                if let (Some(input), Some(dx)) = (x.node(), dx) {
                    pass.put(input, dx);
                }
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};

    #[test]
    fn rows_of_every_width_have_their_gradients() {
        for dims in [[3, 5], [1, 8], [4, 1], [2, 17]] {
            let case = Case::new().leaf(&dims).param(&[dims[1]]);
            let found = case.check_plain(&|g, x, w| vec![g.rms_norm(&x[0], w[0], 0.5)]);
            assert_eq!(found.shapes, [dims]);
        }
    }

    #[test]
    fn a_gradient_is_added_to_what_its_input_received_elsewhere() {
        let case = Case::new().leaf(&[2, 6]).param(&[6]);
        case.check_plain(&|g, x, w| vec![g.rms_norm(&x[0], w[0], 0.1), g.scale(&x[0], 2.0)]);
        case.check_plain(&|g, x, w| vec![g.scale(&x[0], 2.0), g.rms_norm(&x[0], w[0], 0.1)]);
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let case = Case::new().leaf(&[2, 4]).param(&[4]);
        let found = case.run(&|g, x, w| vec![g.rms_norm(&x[0], w[0], 1e-6)]);
        let y = [0.0, 0.9733464, 1.347875, 0.2905199, -0.08593044, -1.150524, -1.288823, -0.1932081];
        let dx = [0.193891, 1.319104, 1.032766, 0.07362554, -0.2922613, -1.204338, -1.000534, 0.1177755];
        assert_close(&found.outputs[0], &y);
        assert_close(&found.leaf_grads[0], &dx);
        assert_close(&found.param_grads[0], &[0.2246162, 2.35288, 2.0564, -0.005362079]);
    }
}
