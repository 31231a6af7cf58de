//! A projection with a bias.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

/// `y = x Wᵀ + b`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// As `layout` says.
    pub weight: Weight,
    /// How the weight is stored: [outputs, inputs] unless made by [`Linear::init_in_out`].
    pub layout: WeightLayout,
    /// `[outputs]`.
    pub bias: Option<Weight>,
}

impl Linear {
    /// A projection with random weights (Glorot & Bengio 2010) and a zero bias, named `{path}.weight`, `{path}.bias`.
    pub fn init(params: &mut Params, path: &str, inputs: usize, outputs: usize, rng: &mut Rng) -> Self {
        let weight = params.add(&format!("{path}.weight"), &[outputs, inputs], Init::Xavier, rng);
        let bias = params.add(&format!("{path}.bias"), &[outputs], Init::Zeros, rng);
        Self::over(weight, bias)
    }

    /// A projection of parameters that exist, [outputs, inputs] and `[outputs]`.
    #[must_use]
    pub fn over(weight: Weight, bias: Weight) -> Self {
        Self { weight, layout: WeightLayout::OutIn, bias: Some(bias) }
    }

    /// A projection stored [inputs, outputs], as GPT-2's `Conv1D`, with a zero bias.
    pub fn init_in_out(
        params: &mut Params,
        path: &str,
        inputs: usize,
        outputs: usize,
        init: Init,
        rng: &mut Rng,
    ) -> Self {
        let weight = params.add(&format!("{path}.weight"), &[inputs, outputs], init, rng);
        let bias = params.add(&format!("{path}.bias"), &[outputs], Init::Zeros, rng);
        Self { weight, layout: WeightLayout::InOut, bias: Some(bias) }
    }

    /// Several projections of one input, stored as neighbours and multiplied as one matrix, each keeping its own name.
    pub fn init_fused(
        params: &mut Params,
        paths: &[String],
        inputs: usize,
        outputs_each: usize,
        rng: &mut Rng,
    ) -> Self {
        let weights: Vec<Weight> = paths
            .iter()
            .map(|path| params.add(&format!("{path}.weight"), &[outputs_each, inputs], Init::Xavier, rng))
            .collect();
        let biases: Vec<Weight> =
            paths.iter().map(|path| params.add(&format!("{path}.bias"), &[outputs_each], Init::Zeros, rng)).collect();
        Self::over(params.fused(&weights), params.fused(&biases))
    }

    /// Projects every row.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; result: [rows, outputs].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        self.forward_activated(g, x, Activation::Identity)
    }

    /// Projects every row and applies an activation function in the same pass.
    ///
    /// # Shapes
    /// As [`Linear::forward`].
    #[must_use]
    #[track_caller]
    pub fn forward_activated(&self, g: &mut Graph<'_>, x: &Tensor, activation: Activation) -> Tensor {
        g.linear(x, self.weight, self.layout, self.bias, activation)
    }
}
