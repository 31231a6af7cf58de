//! The join of a sub-layer with its residual stream in a pre-norm block with RMS normalisation (Llama):
//! `sum = x + dropout(y)`, `normalised = RmsNorm(sum)`.
//!
//! One pass over memory computes both. Backward: the gradient of `sum` is the norm's input gradient plus what arrives at
//! `sum` itself; it goes unchanged to `x`, and through the regenerated mask to `y`. Saved: `sum`, and the reciprocal root
//! mean square of each row.

use crate::{Buffer, Graph, Tensor, Weight};

impl Graph<'_> {
    /// Adds a dropped-out branch `y` to the residual stream `x` and normalises; returns `(sum, normalised)`.
    ///
    /// # Shapes
    /// `x`, `y`, both results: [rows, d_model]; `gamma`: `[d_model]`.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn residual_rms_norm(
        &mut self,
        x: &Tensor,
        y: &Tensor,
        gamma: Weight,
        eps: f32,
        dropout: f32,
    ) -> (Tensor, Tensor) {
        let [rows, d_model] = x.dims();
        assert_eq!(x.shape(), y.shape(), "residual_rms_norm: x and y");
        assert_eq!(gamma.len(), d_model, "residual_rms_norm: gamma");
        let key = self.next_dropout(dropout, d_model);
        let [mut sum, mut out] = [(); 2].map(|()| self.pool().take_as(x.dtype(), rows * d_model));
        let mut rstd = self.pool().take(rows);
        self.device().residual_rms_norm(
            x.slice(),
            y.slice(),
            key,
            self.params().slice(gamma),
            eps,
            sum.slice_mut(),
            out.slice_mut(),
            rstd.slice_mut(),
        );
        let tracked = x.node().is_some() || y.node().is_some() || self.trains(&[gamma]);
        let sum = self.output("residual", sum, &[rows, d_model], tracked);
        let normalised = self.output("rms_norm", out, &[rows, d_model], tracked);
        if let (Some(sum_node), Some(node)) = (sum.node(), normalised.node()) {
            let (residual, branch, saved) = (x.node(), y.node(), sum.detached());
            self.push("residual_rms_norm", move |pass| {
                let (dy, dsum) = (pass.take(node), pass.take(sum_node));
                if dy.is_none() && dsum.is_none() {
                    return;
                }
                // Without dropout one of the two inputs alone receives the sum's gradient itself.
                let apart = branch.is_some() && (residual.is_some() || key.is_some());
                let mut dbranch = apart.then(|| pass.pool.take_as(saved.dtype(), saved.len()));
                let accumulate = dsum.is_some();
                let mut dsum = dsum.unwrap_or_else(|| pass.pool.take_as(saved.dtype(), saved.len()));
                let device = pass.device();
                match (&dy, &mut dbranch, key) {
                    (Some(dy), dbranch, _) => device.residual_rms_norm_backward(
                        saved.slice(),
                        pass.params.slice(gamma),
                        rstd.slice(),
                        dy.slice(),
                        key,
                        dsum.slice_mut(),
                        accumulate,
                        dbranch.as_mut().map(Buffer::slice_mut),
                        pass.grads.slice_mut(gamma),
                    ),
                    (None, Some(dbranch), Some(key)) => device.dropout(key, dsum.slice(), dbranch.slice_mut()),
                    (None, Some(dbranch), None) => device.copy(dsum.slice(), dbranch.slice_mut()),
                    (None, None, _) => {}
                }
                match (residual, branch, dbranch) {
                    (residual, Some(branch), Some(dbranch)) => {
                        if let Some(residual) = residual {
                            pass.accumulate(residual, dsum);
                        }
                        pass.accumulate(branch, dbranch);
                    }
                    (Some(only), _, _) | (None, Some(only), None) => pass.accumulate(only, dsum),
                    (None, None, _) => {}
                }
            });
        }
        (sum, normalised)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close, wave};
    use crate::{Graph, Tensor, Weight};

    fn case() -> Case {
        Case::new().leaf(&[3, 5]).leaf(&[3, 5]).param(&[5])
    }

    fn join(g: &mut Graph<'_>, x: &[Tensor], w: &[Weight], dropout: f32) -> (Tensor, Tensor) {
        g.residual_rms_norm(&x[0], &x[1], w[0], 0.5, dropout)
    }

    #[test]
    fn gradients_arrive_from_the_norm_from_the_sum_and_from_both() {
        case().check_plain(&|g, x, w| vec![join(g, x, w, 0.0).1]);
        let found = case().check_plain(&|g, x, w| vec![join(g, x, w, 0.0).0]);
        assert_eq!(found.leaf_grads, [wave(15, 100), wave(15, 100)]);
        assert_eq!(found.param_grads, [[0.0; 5]]);
        case().check_plain(&|g, x, w| {
            let (sum, y) = join(g, x, w, 0.0);
            vec![sum, y]
        });
    }

    #[test]
    fn the_branch_alone_is_dropped() {
        case().check(&|g, x, w| vec![join(g, x, w, 0.5).0]);
        let found = case().check(&|g, x, w| {
            let (sum, y) = join(g, x, w, 0.5);
            vec![sum, y]
        });
        let residual = wave(15, 0);
        let dropped = (0..15).filter(|&i| found.outputs[0][i] == residual[i]).count();
        assert!((2..14).contains(&dropped), "{dropped} of 15 dropped at 0.5");
        for i in 0..15 {
            assert_eq!(found.outputs[0][i] == residual[i], found.leaf_grads[1][i] == 0.0);
        }
    }

    #[test]
    fn it_is_dropout_add_and_rms_norm_in_one() {
        for dropout in [0.0, 0.5] {
            let fused = case().run(&|g, x, w| vec![join(g, x, w, dropout).1]);
            let composed = case().run(&|g, x, w| {
                let branch = g.dropout(&x[1], dropout);
                let sum = g.add(&x[0], &branch);
                vec![g.rms_norm(&sum, w[0], 0.5)]
            });
            assert_close(&fused.outputs[0], &composed.outputs[0]);
            assert_close(&fused.param_grads[0], &composed.param_grads[0]);
            for k in 0..2 {
                assert_close(&fused.leaf_grads[k], &composed.leaf_grads[k]);
            }
        }
    }

    #[test]
    fn one_constant_among_the_inputs_is_left_alone() {
        for dropout in [0.0, 0.5] {
            let case = Case::new().leaf(&[2, 4]).param(&[4]);
            case.check(&|g, x, w| {
                let c = g.constant(&wave(8, 3), &[2, 4]);
                let (sum, first) = g.residual_rms_norm(&x[0], &c, w[0], 0.5, dropout);
                let (other, second) = g.residual_rms_norm(&c, &x[0], w[0], 0.5, dropout);
                vec![first, sum, second, other]
            });
        }
    }
}
