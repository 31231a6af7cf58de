//! The join of a sub-layer with its residual stream: `sum = residual + dropout(branch)`, `y = LayerNorm(sum)`.
//!
//! Post-norm models (Vaswani et al. 2017, §3.1) carry `y` on; pre-norm models carry `sum` on and feed `y` to the next
//! sub-layer. One pass over memory computes both. Backward: the gradient of `sum` is the norm's input gradient plus what
//! arrives at `sum` itself; it goes unchanged to `residual`, and through the regenerated mask to `branch`.

use atento_kernels::norm;

use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// Adds a dropped-out branch to the residual stream and normalises; returns `(sum, normalised)`.
    ///
    /// # Shapes
    /// `residual`, `branch`, both results: [rows, d_model]; `gamma`, `beta`: [d_model].
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn residual_norm(
        &mut self,
        residual: &Tensor,
        branch: &Tensor,
        dropout: f32,
        gamma: Weight,
        beta: Weight,
        eps: f32,
    ) -> (Tensor, Tensor) {
        let [rows, d_model] = residual.dims();
        assert_eq!(residual.shape(), branch.shape(), "residual_norm: residual and branch");
        assert_eq!((gamma.len(), beta.len()), (d_model, d_model), "residual_norm: gamma and beta");
        let key = self.next_dropout(dropout);
        let mut sum = self.pool().take(rows * d_model);
        let mut out = self.pool().take(rows * d_model);
        let (mut mean, mut rstd) = (self.pool().take(rows), self.pool().take(rows));
        norm::add_dropout_layer_norm_forward(
            residual.values(),
            branch.values(),
            key,
            self.params().get(gamma),
            self.params().get(beta),
            eps,
            &mut sum,
            &mut out,
            &mut mean,
            &mut rstd,
        );
        let sum = self.output("residual", sum, &[rows, d_model], true);
        let y = self.output("layer_norm", out, &[rows, d_model], true);
        if let (Some(sum_node), Some(node)) = (sum.node(), y.node()) {
            let (residual_node, branch_node, saved) = (residual.node(), branch.node(), sum.detached());
            self.push("residual_norm", move |pass| {
                let (dy, dsum) = (pass.take(node), pass.take(sum_node));
                let dy = match (dy, &dsum) {
                    (Some(dy), _) => dy,
                    (None, Some(_)) => pass.pool.zeros(saved.len()),
                    (None, None) => return,
                };
                let mut dresidual = pass.pool.take(saved.len());
                let mut dbranch = pass.pool.take(saved.len());
                let grads = &mut pass.grads.values;
                let (dgamma, dbeta) = two_ranges(grads, gamma, beta);
                norm::add_dropout_layer_norm_backward(
                    saved.values(),
                    pass.params.get(gamma),
                    &mean,
                    &rstd,
                    &dy,
                    dsum.as_deref(),
                    key,
                    &mut dresidual,
                    &mut dbranch,
                    dgamma,
                    dbeta,
                );
                if let Some(node) = residual_node {
                    pass.accumulate(node, dresidual);
                }
                if let Some(node) = branch_node {
                    pass.accumulate(node, dbranch);
                }
            });
        }
        (sum, y)
    }
}

/// Two parameters' gradients at once; they never overlap.
pub(super) fn two_ranges(values: &mut [f32], first: Weight, second: Weight) -> (&mut [f32], &mut [f32]) {
    values.get_disjoint_mut([first.range(), second.range()]).map(|[a, b]| (a, b)).expect("parameters do not overlap")
}
