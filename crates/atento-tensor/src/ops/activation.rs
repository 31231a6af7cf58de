//! `y = f(x)` for the functions of [`Activation`]. Backward: `dx = dy ⊙ f'(x)`. Saved: `x`.

use atento_kernels::activation::{self, Activation};

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Applies an activation function to every value.
    #[must_use]
    pub fn activation(&mut self, x: &Tensor, function: Activation) -> Tensor {
        let mut out = self.pool().take(x.len());
        activation::forward(function, x.values(), &mut out);
        let y = self.output("activation", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let x = x.clone();
            self.push("activation", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take(dy.len());
                activation::backward(function, x.values(), &dy, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}
