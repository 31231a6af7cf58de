//! The join of a sub-layer with its residual stream: `sum = residual + dropout(branch)`, `y = LayerNorm(sum)`.
//!
//! Post-norm models (Vaswani et al. 2017, §3.1) carry `y` on; pre-norm models carry `sum` on and feed `y` to the next
//! sub-layer. One pass over memory computes both. Backward: the gradient of `sum` is the norm's input gradient plus what
//! arrives at `sum` itself; it goes unchanged to `residual`, and through the regenerated mask to `branch`.

use crate::{Buffer, Graph, Tensor, Weight};

impl Graph<'_> {
    /// Adds a dropped-out branch to the residual stream and normalises; returns `(sum, normalised)`.
    ///
    /// # Shapes
    /// `residual`, `branch`, both results: [rows, d_model]; `gamma`, `beta`: `[d_model]`.
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
        beta: Option<Weight>,
        eps: f32,
    ) -> (Tensor, Tensor) {
        let [rows, d_model] = residual.dims();
        assert_eq!(residual.shape(), branch.shape(), "residual_norm: residual and branch");
        let beta_len = beta.map_or(d_model, |beta| beta.len());
        assert_eq!((gamma.len(), beta_len), (d_model, d_model), "residual_norm: gamma and beta");
        let none = self.no_beta(gamma, beta);
        let key = self.next_dropout(dropout, d_model);
        let mut sum = self.pool().take_as(residual.dtype(), rows * d_model);
        let mut out = self.pool().take_as(residual.dtype(), rows * d_model);
        let (mut mean, mut rstd) = (self.pool().take(rows), self.pool().take(rows));
        self.device().residual_layer_norm(
            residual.slice(),
            branch.slice(),
            key,
            self.params().slice(gamma),
            beta.map_or(none.slice(), |beta| self.params().slice(beta)),
            eps,
            sum.slice_mut(),
            out.slice_mut(),
            mean.slice_mut(),
            rstd.slice_mut(),
        );
        let tracked = residual.node().is_some()
            || branch.node().is_some()
            || self.trains(&[gamma])
            || beta.is_some_and(|beta| self.trains(&[beta]));
        let sum = self.output("residual", sum, &[rows, d_model], tracked);
        let y = self.output("layer_norm", out, &[rows, d_model], tracked);
        if let (Some(sum_node), Some(node)) = (sum.node(), y.node()) {
            let (residual_node, branch_node, saved) = (residual.node(), branch.node(), sum.detached());
            self.push("residual_norm", move |pass| {
                let (dy, dsum) = (pass.take(node), pass.take(sum_node));
                let dy = match (dy, &dsum) {
                    (Some(dy), _) => dy,
                    (None, Some(_)) => pass.pool.zeros_as(saved.dtype(), saved.len()),
                    (None, None) => return,
                };
                let mut dresidual = pass.pool.take_as(saved.dtype(), saved.len());
                let mut dbranch = pass.pool.take_as(saved.dtype(), saved.len());
                let device = pass.device();
                pass.with_norm(gamma, beta, |params, [dgamma, dbeta]| {
                    device.residual_layer_norm_backward(
                        saved.slice(),
                        params.slice(gamma),
                        mean.slice(),
                        rstd.slice(),
                        dy.slice(),
                        dsum.as_ref().map(Buffer::slice),
                        key,
                        dresidual.slice_mut(),
                        dbranch.slice_mut(),
                        dgamma,
                        dbeta,
                    );
                });
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close, wave};
    use crate::{Graph, Tensor, Weight};

    fn case() -> Case {
        let wide: Vec<f32> = wave(15, 0).iter().map(|x| 3.0 * x).collect();
        Case::new().leaf_of(&wide, &[3, 5]).leaf(&[3, 5]).param(&[5]).param(&[5])
    }

    fn join(g: &mut Graph<'_>, x: &[Tensor], w: &[Weight], dropout: f32) -> (Tensor, Tensor) {
        g.residual_norm(&x[0], &x[1], dropout, w[0], w.get(1).copied(), 1e-5)
    }

    #[test]
    fn gradients_arrive_from_the_norm_from_the_sum_and_from_both() {
        case().check_plain(&|g, x, w| vec![join(g, x, w, 0.0).1]);
        let found = case().check_plain(&|g, x, w| vec![join(g, x, w, 0.0).0]);
        assert_eq!(found.leaf_grads, [wave(15, 100), wave(15, 100)]);
        assert_eq!(found.param_grads, [[0.0; 5], [0.0; 5]]);
        case().check_plain(&|g, x, w| {
            let (sum, y) = join(g, x, w, 0.0);
            vec![sum, y]
        });
    }

    #[test]
    fn the_branch_alone_is_dropped() {
        let found = case().check(&|g, x, w| {
            let (sum, y) = join(g, x, w, 0.5);
            vec![sum, y]
        });
        let residual: Vec<f32> = wave(15, 0).iter().map(|x| 3.0 * x).collect();
        let dropped = (0..15).filter(|&i| found.outputs[0][i] == residual[i]).count();
        assert!((2..14).contains(&dropped), "{dropped} of 15 dropped at 0.5");
        for i in 0..15 {
            assert_eq!(found.outputs[0][i] == residual[i], found.leaf_grads[1][i] == 0.0);
        }
    }

    #[test]
    fn it_is_dropout_add_and_layer_norm_in_one() {
        let fused = case().run(&|g, x, w| vec![join(g, x, w, 0.5).1]);
        let composed = case().run(&|g, x, w| {
            let branch = g.dropout(&x[1], 0.5);
            let sum = g.add(&x[0], &branch);
            vec![g.layer_norm(&sum, w[0], Some(w[1]), 1e-5)]
        });
        assert_close(&fused.outputs[0], &composed.outputs[0]);
        for k in 0..2 {
            assert_close(&fused.leaf_grads[k], &composed.leaf_grads[k]);
            assert_close(&fused.param_grads[k], &composed.param_grads[k]);
        }
    }

    #[test]
    fn one_constant_among_the_inputs_is_left_alone() {
        let case = Case::new().leaf(&[2, 4]).param(&[4]).param(&[4]);
        case.check_plain(&|g, x, w| {
            let c = g.constant(&wave(8, 3), &[2, 4]);
            let first = g.residual_norm(&x[0], &c, 0.0, w[0], Some(w[1]), 0.1).1;
            vec![first, g.residual_norm(&c, &x[0], 0.0, w[0], Some(w[1]), 0.1).1]
        });
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let case = Case::new().leaf(&[2, 4]).leaf(&[2, 4]).param(&[4]).param(&[4]);
        let found = case.run(&|g, x, w| vec![join(g, x, w, 0.0).1]);
        let y = [-0.02193948, 0.9065966, 0.9110558, -0.9982487, -0.591776, -1.775779, 1.394589, -0.5345113];
        let dx = [0.08420801, -0.194797, 0.7095865, -0.5989973, -0.386739, 0.001282811, -0.1054544, 0.4909106];
        assert_close(&found.outputs[0], &y);
        assert_close(&found.leaf_grads[0], &dx);
        assert_close(&found.leaf_grads[1], &dx);
        assert_close(&found.param_grads[0], &[1.296029, 2.96764, -0.347712, 0.05714647]);
        assert_close(&found.param_grads[1], &[0.1794639, -0.01923287, -0.1538351, 0.2242261]);
    }
}
