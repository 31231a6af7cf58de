//! RMS normalisation of each head of queries and keys (Qwen 3): `q̂ = q · rstd(q) · γ_q`, `k̂ = k · rstd(k) · γ_k`.
//!
//! Backward: that of [`rms_norm`](Graph::rms_norm) with a head in the place of a row, in place of the output's gradient.
//! Saved: the input, and the reciprocal root mean square of each head.

use atento_kernels::qk_norm::Heads;

use crate::{Graph, SliceMut, Tensor, Weight};

impl Graph<'_> {
    /// Scales each head of the queries and of the keys to unit root mean square, times a gamma that all query heads share
    /// and one that all key heads share. Values stay as they are.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, (n_heads + 2·n_kv_heads)·head_dim], queries first, then keys, then values; `q_gamma`,
    /// `k_gamma`: `[head_dim]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn qk_norm(
        &mut self,
        x: &Tensor,
        q_gamma: Weight,
        k_gamma: Weight,
        n_heads: usize,
        n_kv_heads: usize,
        head_dim: usize,
        eps: f32,
    ) -> Tensor {
        let heads = Heads { n_heads, n_kv_heads, head_dim };
        let [tokens, width] = x.dims();
        assert_eq!(width, heads.width(), "qk_norm: packed width for {heads:?}");
        assert_eq!((q_gamma.len(), k_gamma.len()), (head_dim, head_dim), "qk_norm: gammas");
        let mut out = self.pool().take_as(x.dtype(), x.len());
        let mut rstd = self.pool().take(tokens * heads.normalised());
        let gammas = [q_gamma, k_gamma].map(|gamma| self.params().slice(gamma));
        self.device().qk_norm(x.slice(), heads, gammas, eps, out.slice_mut(), rstd.slice_mut());
        let tracked = x.node().is_some() || self.trains(&[q_gamma, k_gamma]);
        let y = self.output("qk_norm", out, &[tokens, width], tracked);
        if let Some(node) = y.node() {
            let x = x.clone();
            self.push("qk_norm", move |pass| {
                let Some(mut dx) = pass.take(node) else { return };
                let gammas = [q_gamma, k_gamma].map(|gamma| pass.params.slice(gamma));
                let device = pass.device();
                let dgammas = pass.grads.find_pair_mut([q_gamma, k_gamma]).map(|dgamma| dgamma.map(SliceMut::from));
                device.qk_norm_backward(x.slice(), heads, gammas, rstd.slice(), dx.slice_mut(), dgammas);
                if let Some(input) = x.node() {
                    pass.accumulate(input, dx);
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
    fn heads_of_queries_and_keys_have_their_gradients_and_values_pass() {
        for (n_heads, n_kv_heads, head_dim) in [(1, 1, 4), (4, 2, 3), (2, 1, 17)] {
            let width = (n_heads + 2 * n_kv_heads) * head_dim;
            let case = Case::new().leaf(&[3, width]).param(&[head_dim]).param(&[head_dim]);
            let found =
                case.check_plain(&|g, x, w| vec![g.qk_norm(&x[0], w[0], w[1], n_heads, n_kv_heads, head_dim, 0.5)]);
            assert_eq!(found.shapes, [[3, width]]);
        }
    }

    /// Each head is a row of an RMS norm of its own.
    #[test]
    fn it_is_an_rms_norm_of_every_head() {
        let (n_heads, n_kv_heads, head_dim) = (2, 1, 6);
        let packed = Case::new().leaf(&[5, 24]).param(&[6]).param(&[6]);
        let packed = packed.run(&|g, x, w| vec![g.qk_norm(&x[0], w[0], w[1], n_heads, n_kv_heads, head_dim, 1e-6)]);
        let rows = Case::new().leaf(&[20, 6]).param(&[6]).param(&[6]);
        let rows = rows.run(&|g, x, w| vec![g.rms_norm(&x[0], w[0], 1e-6), g.rms_norm(&x[0], w[1], 1e-6)]);
        let heads = packed.outputs[0].chunks(6).enumerate();
        for (at, head) in heads {
            let from = at * 6..(at + 1) * 6;
            match at % 4 {
                0 | 1 => assert_close(head, &rows.outputs[0][from]),
                2 => assert_close(head, &rows.outputs[1][from]),
                _ => assert_eq!(head, &super::super::testing::wave(120, 0)[from]),
            }
        }
    }

    #[test]
    #[should_panic(expected = "qk_norm: packed width")]
    fn the_width_is_that_of_the_heads() {
        let case = Case::new().leaf(&[2, 12]).param(&[4]).param(&[4]);
        case.run(&|g, x, w| vec![g.qk_norm(&x[0], w[0], w[1], 2, 1, 4, 1e-6)]);
    }
}
