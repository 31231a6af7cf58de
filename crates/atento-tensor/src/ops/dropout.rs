//! Dropout (Srivastava et al. 2014), inverted: kept values are scaled by `1/(1−p)`.
//!
//! The mask is a function of (seed, stream, element index), so the backward regenerates it instead of storing it.

use atento_kernels::dropout;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Drops values with the given probability when training; otherwise returns `x` itself.
    #[must_use]
    pub fn dropout(&mut self, x: &Tensor, probability: f32) -> Tensor {
        let Some(key) = self.next_dropout(probability) else { return x.clone() };
        let mut out = self.pool().take(x.len());
        dropout::forward(key, x.values(), &mut out);
        let y = self.output("dropout", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("dropout", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take(dy.len());
                dropout::backward(key, &dy, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}
