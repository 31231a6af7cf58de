//! `loss = scale · Σ (x − t)²`, summed in f64. Backward: `dx = 2·scale·(x − t)·dloss`.

use crate::device::Device;
use crate::{Graph, Slice, SliceMut, Tensor};

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
        let (sum, targets) = (self.device().squared_error(x.slice(), targets), targets.to_vec());
        self.loss_of(x, sum, scale, move |device, x, factor, dx| {
            device.squared_error_backward(x, &targets, 2.0 * factor, dx);
        })
    }

    /// A loss that is `scale` times the sum that a kernel has found in `x`; `backward` writes a factor times the gradient of
    /// the sum over zeros.
    pub(super) fn loss_of(
        &mut self,
        x: &Tensor,
        sum: f64,
        scale: f32,
        backward: impl FnOnce(&dyn Device, Slice<'_>, f32, SliceMut<'_>) + Send + 'static,
    ) -> Tensor {
        let out = self.pool().copy_of(&[(sum * f64::from(scale)) as f32]);
        let loss = self.output("loss", out, &[1], x.node().is_some());
        if let (Some(node), Some(input)) = (loss.node(), x.node()) {
            let x = x.clone();
            self.push("loss", move |pass| {
                let Some(dloss) = pass.take(node) else { return };
                let mut dx = pass.pool.zeros_as(x.dtype(), x.len());
                backward(pass.device(), x.slice(), scale * dloss.f32()[0], dx.slice_mut());
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
