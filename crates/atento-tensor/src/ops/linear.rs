//! `y = f(x Wᵀ + b)`: a projection with bias and activation in its epilogue.
//!
//! Backward, with `z = x Wᵀ + b` and `dz = dy ⊙ f'(z)`: `dx = dz W`, `dW += dzᵀ x`, `db += Σ_rows dz`; the parameter
//! gradients are accumulated straight into the arena. Saved: `x`, and what `f'` needs (the output for ReLU, `z` for the
//! smooth activations, nothing for the identity).

use atento_kernels::activation::{self, Activation};
use atento_kernels::linear::{self, WeightLayout};

use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// Projects every row of `x`.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `weight`: [outputs, inputs] or, for [`WeightLayout::InOut`], [inputs, outputs];
    /// `bias`: [outputs]; result: [rows, outputs].
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn linear(
        &mut self,
        x: &Tensor,
        weight: Weight,
        layout: WeightLayout,
        bias: Option<Weight>,
        activation: Activation,
    ) -> Tensor {
        let [rows, inputs] = x.dims();
        let (outputs, weight_inputs) = match layout {
            WeightLayout::OutIn => (weight.rows, weight.cols),
            WeightLayout::InOut => (weight.cols, weight.rows),
        };
        assert_eq!(inputs, weight_inputs, "linear: x {:?}, weight {weight:?} {layout:?}", x.shape());
        let recording = self.is_training();
        let mut pre_activation =
            (recording && needs_pre_activation(activation)).then(|| self.pool().take(rows * outputs));
        let mut out = self.pool().take(rows * outputs);
        let params = self.params();
        let bias_values = bias.map(|b| params.get(b));
        linear::forward(
            rows,
            x.values(),
            params.get(weight),
            layout,
            bias_values,
            activation,
            pre_activation.as_deref_mut(),
            &mut out,
        );
        let y = self.output("linear", out, &[rows, outputs], true);
        if let Some(node) = y.node() {
            let (x, saved_output) = (x.clone(), (activation == Activation::Relu).then(|| y.detached()));
            self.push("linear", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let dz = match (&pre_activation, &saved_output) {
                    (Some(z), _) => activation_gradient(pass, activation, z, dy),
                    (_, Some(y)) => activation_gradient(pass, activation, y.values(), dy),
                    _ => dy,
                };
                let (_, dweight) = pass.param(weight);
                linear::backward_weight(rows, x.values(), &dz, layout, dweight);
                if let Some(bias) = bias {
                    linear::backward_bias(&dz, pass.param(bias).1);
                }
                if let Some(input) = x.node() {
                    let (mut dx, accumulate) = pass.slot(input, x.len());
                    linear::backward_input(rows, &dz, pass.params.get(weight), layout, &mut dx, accumulate);
                    pass.put(input, dx);
                }
            });
        }
        y
    }
}

fn needs_pre_activation(activation: Activation) -> bool {
    !matches!(activation, Activation::Identity | Activation::Relu)
}

fn activation_gradient(
    pass: &crate::Backward<'_>,
    activation: Activation,
    saved: &[f32],
    dy: crate::Buffer,
) -> crate::Buffer {
    let mut dz = pass.pool.take(dy.len());
    activation::backward(activation, saved, &dy, &mut dz);
    dz
}
