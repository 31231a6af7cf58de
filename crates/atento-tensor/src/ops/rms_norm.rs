//! Root-mean-square normalisation (Zhang & Sennrich 2019): `y = x · rstd · γ`, `rstd = (mean(x²) + ε)^(−1/2)`.
//!
//! Backward, with `g = dy ⊙ γ`: `dx = rstd (g − x̂ mean(g ⊙ x̂))`, `x̂ = x · rstd`; `dγ += Σ dy ⊙ x̂`.

use atento_kernels::rms_norm;

use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// Scales each row of `x` to unit root mean square.
    ///
    /// # Shapes
    /// `x` and the result: [rows, d_model]; `gamma`: [d_model].
    #[track_caller]
    pub fn rms_norm(&mut self, x: &Tensor, gamma: Weight, eps: f32) -> Tensor {
        let [rows, d_model] = x.dims();
        assert_eq!(gamma.len(), d_model, "rms_norm: gamma");
        let mut out = self.pool().take(rows * d_model);
        let mut rstd = self.pool().take(rows);
        rms_norm::rms_norm_forward(x.values(), self.params().get(gamma), eps, &mut out, &mut rstd);
        let y = self.output("rms_norm", out, &[rows, d_model], true);
        if let Some(node) = y.node() {
            let x = x.clone();
            self.push("rms_norm", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let (mut dx, accumulate) = match x.node() {
                    Some(input) => pass.slot(input, x.len()),
                    None => (pass.pool.take(x.len()), false),
                };
                let (gamma_values, dgamma) = pass.param(gamma);
                rms_norm::rms_norm_backward(x.values(), gamma_values, &rstd, &dy, &mut dx, accumulate, dgamma);
                if let Some(input) = x.node() {
                    pass.put(input, dx);
                }
            });
        }
        y
    }
}
