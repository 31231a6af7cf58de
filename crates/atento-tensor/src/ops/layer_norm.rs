//! Layer normalisation over the last dimension (Ba et al. 2016): `y = (x − mean) · rstd · γ + β`.
//!
//! Backward, with `x̂ = (x − mean)·rstd` and `g = dy ⊙ γ`: `dx = rstd (g − mean(g) − x̂ mean(g ⊙ x̂))`,
//! `dγ += Σ dy ⊙ x̂`, `dβ += Σ dy`. Saved: `x`, and `mean` and `rstd` of each row.

use atento_kernels::norm;

use super::residual_norm::two_ranges;
use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// Normalises each row of `x`.
    ///
    /// # Shapes
    /// `x` and the result: [rows, d_model]; `gamma`, `beta`: [d_model].
    #[track_caller]
    pub fn layer_norm(&mut self, x: &Tensor, gamma: Weight, beta: Weight, eps: f32) -> Tensor {
        let [rows, d_model] = x.dims();
        assert_eq!((gamma.len(), beta.len()), (d_model, d_model), "layer_norm: gamma and beta");
        let mut out = self.pool().take(rows * d_model);
        let (mut mean, mut rstd) = (self.pool().take(rows), self.pool().take(rows));
        let (gamma_values, beta_values) = (self.params().get(gamma), self.params().get(beta));
        norm::layer_norm_forward(x.values(), gamma_values, beta_values, eps, &mut out, &mut mean, &mut rstd);
        let y = self.output("layer_norm", out, &[rows, d_model], true);
        if let Some(node) = y.node() {
            let x = x.clone();
            self.push("layer_norm", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let input = x.node();
                let (mut dx, accumulate) = match input {
                    Some(input) => pass.slot(input, x.len()),
                    None => (pass.pool.take(x.len()), false),
                };
                let (dgamma, dbeta) = two_ranges(&mut pass.grads.values, gamma, beta);
                let gamma_values = pass.params.get(gamma);
                norm::layer_norm_backward(
                    x.values(),
                    gamma_values,
                    &mean,
                    &rstd,
                    &dy,
                    &mut dx,
                    accumulate,
                    dgamma,
                    dbeta,
                );
                if let Some(input) = input {
                    pass.put(input, dx);
                }
            });
        }
        y
    }
}
