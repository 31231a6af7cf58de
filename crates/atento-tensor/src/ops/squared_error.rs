//! `loss = scale · Σ (x − t)²`, summed in f64. Backward: `dx = 2·scale·(x − t)·dloss`.

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// The sum of squared differences from `targets`, times `scale` (one over their number for the mean).
    ///
    /// # Shapes
    /// `targets`: as many values as `x` has; result: `[1]`.
    ///
    /// # Panics
    /// If there are more or fewer targets than values.
    #[must_use]
    #[track_caller]
    pub fn squared_error(&mut self, x: &Tensor, targets: &[f32], scale: f32) -> Tensor {
        assert_eq!(x.len(), targets.len(), "squared_error: x {:?} against targets", x.shape());
        let out = self.pool().copy_of(&[(self.device().squared_error(x.slice(), targets) * f64::from(scale)) as f32]);
        let loss = self.output("squared_error", out, &[1], x.node().is_some());
        if let (Some(node), Some(input)) = (loss.node(), x.node()) {
            let (x, targets) = (x.clone(), targets.to_vec());
            self.push("squared_error", move |pass| {
                let Some(dloss) = pass.take(node) else { return };
                let factor = 2.0 * scale * dloss.f32()[0];
                let mut dx = pass.pool.take_as(x.dtype(), x.len());
                pass.device().squared_error_backward(x.slice(), &targets, factor, dx.slice_mut());
                pass.accumulate(input, dx);
            });
        }
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;

    #[test]
    fn gradients_are_twice_the_differences() {
        let case = Case::new().leaf_of(&[1.0, -2.0, 0.5], &[3, 1]).root();
        let found = case.check_plain(&|g, x, _| vec![g.squared_error(&x[0], &[0.0, -2.0, 1.5], 0.5)]);
        assert_eq!((&found.shapes[0][..], &found.outputs[0][..]), (&[1][..], &[1.0][..]));
        assert_eq!(found.leaf_grads[0], [1.0, 0.0, -1.0]);
    }

    #[test]
    fn a_loss_that_is_scaled_on_scales_its_gradients() {
        Case::new().leaf(&[2, 3]).check_plain(&|g, x, _| {
            let loss = g.squared_error(&x[0], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1.0 / 6.0);
            vec![g.scale(&loss, -3.0)]
        });
    }

    #[test]
    #[should_panic(expected = "squared_error: x [2, 3] against targets")]
    fn every_value_has_a_target() {
        Case::new().leaf(&[2, 3]).run(&|g, x, _| vec![g.squared_error(&x[0], &[0.0], 1.0)]);
    }
}
