//! `y = f(x)` for the functions of [`Activation`]. Backward: `dx = dy ⊙ f'(x)`. Saved: `x`.

use atento_kernels::activation::Activation;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Applies an activation function to every value.
    #[must_use]
    pub fn activation(&mut self, x: &Tensor, function: Activation) -> Tensor {
        let mut out = self.pool().take_as(x.dtype(), x.len());
        self.device().activation(function, x.slice(), out.slice_mut());
        let y = self.output("activation", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let x = x.clone();
            self.push("activation", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take_as(x.dtype(), x.len());
                pass.device().activation_backward(function, x.slice(), dy.slice(), dx.slice_mut());
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};
    use atento_kernels::activation::Activation::{self, Gelu, GeluTanh, Identity, Relu, Silu};

    fn case_of(function: Activation, case: &Case) -> super::super::testing::Found {
        case.check_plain(&|g, x, _| vec![g.activation(&x[0], function)])
    }

    #[test]
    fn every_function_has_its_derivative() {
        for function in [Identity, Gelu, GeluTanh, Silu] {
            case_of(function, &Case::new().leaf(&[3, 5]));
        }
        case_of(Relu, &Case::new().leaf_of(&[-1.5, 0.5, -0.25, 2.0], &[2, 2]));
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let golden: [(Activation, [f32; 4], [f32; 4]); 4] = [
            (Relu, [0.0, 0.7457052, 0.0, 0.5784398], [0.0, 0.980415, 0.0, 0.08574436]),
            (Gelu, [0.0, 0.5757419, -0.159176, 0.4156184], [-0.2531828, 0.9778262, 0.06542675, 0.07834729]),
            (GeluTanh, [0.0, 0.5756744, -0.1593266, 0.4155895], [-0.2531828, 0.9775468, 0.06514479, 0.07833222]),
            (Silu, [0.0, 0.5057687, -0.2684791, 0.3706112], [-0.2531828, 0.8245066, -0.05940115, 0.06635463]),
        ];
        for (function, y, dx) in golden {
            let found = Case::new().leaf(&[1, 4]).run(&|g, x, _| vec![g.activation(&x[0], function)]);
            assert_close(&found.outputs[0], &y);
            assert_close(&found.leaf_grads[0], &dx);
        }
    }
}
