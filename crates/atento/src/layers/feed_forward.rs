//! The position-wise feed-forward sub-layer.

use atento_kernels::philox::Rng;
use atento_tensor::ops::Activation;
use atento_tensor::{Graph, Params, Tensor};

use super::Linear;

/// `FFN(x) = f(x W₁ + b₁) W₂ + b₂` (Vaswani et al. 2017, eq. 2, with ReLU for `f`).
#[derive(Clone, Copy, Debug)]
pub struct FeedForward {
    inner: Linear,
    outer: Linear,
    activation: Activation,
    dropout: f32,
}

impl FeedForward {
    /// Random weights, named `{path}.fc1`, `{path}.fc2`; `dropout` applies to the inner activations.
    pub fn init(
        params: &mut Params,
        path: &str,
        d_model: usize,
        d_ff: usize,
        activation: Activation,
        dropout: f32,
        rng: &mut Rng,
    ) -> Self {
        let inner = Linear::init(params, &format!("{path}.fc1"), d_model, d_ff, rng);
        let outer = Linear::init(params, &format!("{path}.fc2"), d_ff, d_model, rng);
        Self { inner, outer, activation, dropout }
    }

    /// Applies the sub-layer to every token.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, d_model].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        let hidden = self.inner.forward_activated(g, x, self.activation);
        let hidden = g.dropout(&hidden, self.dropout);
        self.outer.forward(g, &hidden)
    }
}
