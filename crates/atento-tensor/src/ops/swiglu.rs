//! `y = silu(gate) ⊙ up` where `x = [gate | up]` (Shazeer 2020, eq. 6). Saved: `x`.

use atento_kernels::activation;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Gates the second half of each row by the first.
    ///
    /// # Shapes
    /// `x`: [rows, 2·d_ff]; result: [rows, d_ff].
    #[must_use]
    #[track_caller]
    pub fn swiglu(&mut self, x: &Tensor) -> Tensor {
        let [rows, width] = x.dims();
        assert!(width % 2 == 0, "swiglu: odd width {width}");
        let mut out = self.pool().take(rows * width / 2);
        activation::swiglu_forward(x.values(), width / 2, &mut out);
        let y = self.output("swiglu", out, &[rows, width / 2], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let x = x.clone();
            self.push("swiglu", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take(x.len());
                activation::swiglu_backward(x.values(), width / 2, &dy, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};

    #[test]
    fn both_halves_receive_their_gradient() {
        let found = Case::new().leaf(&[3, 10]).check_plain(&|g, x, _| vec![g.swiglu(&x[0])]);
        assert_eq!(found.shapes, [[3, 5]]);
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let found = Case::new().leaf(&[2, 4]).run(&|g, x, _| vec![g.swiglu(&x[0])]);
        assert_close(&found.outputs[0], &[0.0, 0.2925567, 0.1168425, 0.09837916]);
        let dx = [0.2515855, 0.4769274, 0.0, 0.4958632, -0.4609738, -0.003681132, -0.09906196, -0.02207822];
        assert_close(&found.leaf_grads[0], &dx);
    }

    #[test]
    #[should_panic(expected = "swiglu: odd width 3")]
    fn the_width_is_even() {
        Case::new().leaf(&[2, 3]).run(&|g, x, _| vec![g.swiglu(&x[0])]);
    }
}
