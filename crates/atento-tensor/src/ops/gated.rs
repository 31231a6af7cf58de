//! `y = f(gate) ⊙ up` where `x = [gate | up]` (Shazeer 2020, eq. 5 and 6): SwiGLU with SiLU, GEGLU with GELU.
//!
//! Backward: `dgate = dy ⊙ up ⊙ f′(gate)`, `dup = dy ⊙ f(gate)`. Saved: `x`.

use atento_kernels::activation::Activation;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Gates the second half of each row by a function of the first.
    ///
    /// # Shapes
    /// `x`: [rows, 2·d_ff]; result: [rows, d_ff].
    ///
    /// # Panics
    /// If the rows have no two halves.
    #[must_use]
    #[track_caller]
    pub fn gated(&mut self, x: &Tensor, activation: Activation) -> Tensor {
        let [rows, width] = x.dims();
        assert!(width % 2 == 0, "gated: odd width {width}");
        let mut out = self.pool().take_as(x.dtype(), rows * width / 2);
        self.device().gated(activation, x.slice(), width / 2, out.slice_mut());
        let y = self.output("gated", out, &[rows, width / 2], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let x = x.clone();
            self.push("gated", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take_as(x.dtype(), x.len());
                pass.device().gated_backward(activation, x.slice(), width / 2, dy.slice(), dx.slice_mut());
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use atento_kernels::activation::Activation::{Gelu, GeluTanh, Identity, Relu, Silu, Tanh};

    #[test]
    fn both_halves_receive_their_gradient() {
        for activation in [Identity, Gelu, GeluTanh, Silu, Tanh] {
            let found = Case::new().leaf(&[3, 10]).check_plain(&|g, x, _| vec![g.gated(&x[0], activation)]);
            assert_eq!(found.shapes, [[3, 5]]);
        }
        let away_from_zero = [-1.5, 0.5, 0.25, 2.0, 1.0, -0.75, -0.5, 1.5];
        Case::new().leaf_of(&away_from_zero, &[2, 4]).check_plain(&|g, x, _| vec![g.gated(&x[0], Relu)]);
    }

    #[test]
    fn it_is_the_activation_of_one_half_times_the_other() {
        for activation in [Relu, Gelu, GeluTanh, Silu] {
            let gated = Case::new().leaf(&[1, 6]).run(&|g, x, _| vec![g.gated(&x[0], activation)]);
            let halves = Case::new().leaf(&[1, 6]).run(&|g, x, _| {
                let gate = g.constant(&x[0].values()[..3], &[1, 3]);
                let up = g.constant(&x[0].values()[3..], &[1, 3]);
                let gate = g.activation(&gate, activation);
                vec![g.mul(&gate, &up)]
            });
            assert_close(&gated.outputs[0], &halves.outputs[0]);
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let found = Case::new().leaf(&[2, 4]).run(&|g, x, _| vec![g.gated(&x[0], Silu)]);
        assert_close(&found.outputs[0], &[0.0, 0.2925567, 0.1168425, 0.09837916]);
        let dx = [0.2515855, 0.4769274, 0.0, 0.4958632, -0.4609738, -0.003681132, -0.09906196, -0.02207822];
        assert_close(&found.leaf_grads[0], &dx);
    }

    #[test]
    #[should_panic(expected = "gated: odd width 3")]
    fn the_width_is_even() {
        Case::new().leaf(&[2, 3]).run(&|g, x, _| vec![g.gated(&x[0], Silu)]);
    }
}
