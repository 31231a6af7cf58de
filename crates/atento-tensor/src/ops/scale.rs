//! `y = c · x` for a constant `c`. Backward: `dx = c · dy`.

use atento_kernels::elementwise;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Multiplies every value by `factor`.
    #[must_use]
    pub fn scale(&mut self, x: &Tensor, factor: f32) -> Tensor {
        let mut out = self.pool().copy_of(x.values());
        elementwise::scale(&mut out, factor);
        let y = self.output("scale", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("scale", move |pass| {
                let Some(mut dy) = pass.take(node) else { return };
                elementwise::scale(&mut dy, factor);
                pass.accumulate(input, dy);
            });
        }
        y
    }
}
