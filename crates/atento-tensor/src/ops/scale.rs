//! `y = c · x` for a constant `c`. Backward: `dx = c · dy`.

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Multiplies every value by `factor`.
    #[must_use]
    pub fn scale(&mut self, x: &Tensor, factor: f32) -> Tensor {
        let mut out = self.pool().copy(x.slice());
        self.device().scale(out.slice_mut(), factor);
        let y = self.output("scale", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("scale", move |pass| {
                let Some(mut dy) = pass.take(node) else { return };
                pass.device().scale(dy.slice_mut(), factor);
                pass.accumulate(input, dy);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;

    #[test]
    fn the_gradient_is_scaled_alike() {
        let found = Case::new().leaf(&[3, 2]).check_plain(&|g, x, _| vec![g.scale(&x[0], -2.5)]);
        assert_eq!(found.shapes, [[3, 2]]);
        let found = Case::new().leaf(&[3]).check_plain(&|g, x, _| vec![g.scale(&x[0], 0.0)]);
        assert_eq!(found.leaf_grads[0], [0.0; 3]);
    }
}
