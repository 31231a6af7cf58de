//! The projection: every product of states with a weight, the output projection and fused queries, keys and values included.

use atento_kernels::philox::Rng;
use atento_tensor::ops::{Activation, CrossEntropy, WeightLayout};
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

/// `y = x Wᵀ + b`.
///
/// The weight may be several parameters, stacked by outputs, which are multiplied as one matrix: each keeps its own name,
/// and each can be frozen or held in fewer bits by itself.
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
        Self::stacked(params, &[(path, outputs)], inputs, true, Init::Xavier, rng)
    }

    /// A projection of parameters that exist, [outputs, inputs] and `[outputs]`.
    #[must_use]
    pub fn over(weight: Weight, bias: Option<Weight>) -> Self {
        Self { weight, layout: WeightLayout::OutIn, bias }
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
        let weight = params.add_matrix(&format!("{path}.weight"), [inputs, outputs], WeightLayout::InOut, init, rng);
        let bias = params.add(&format!("{path}.bias"), &[outputs], Init::Zeros, rng);
        Self { weight, layout: WeightLayout::InOut, bias: Some(bias) }
    }

    /// Several projections of one input, each with its path and its number of outputs, stored as neighbours and multiplied
    /// as one matrix; biases, if there are any, start at zero.
    pub fn stacked(
        params: &mut Params,
        parts: &[(&str, usize)],
        inputs: usize,
        has_bias: bool,
        init: Init,
        rng: &mut Rng,
    ) -> Self {
        let mut weights = Vec::with_capacity(parts.len());
        for &(path, outputs) in parts {
            let shape = [outputs, inputs];
            weights.push(params.add_matrix(&format!("{path}.weight"), shape, WeightLayout::OutIn, init, rng));
        }
        let bias = has_bias.then(|| {
            let biases: Vec<Weight> = parts
                .iter()
                .map(|&(path, outputs)| params.add(&format!("{path}.bias"), &[outputs], Init::Zeros, rng))
                .collect();
            params.fused(&biases)
        });
        Self::over(params.fused(&weights), bias)
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

    /// The loss of predicting targets from the projection, which is never stored; see [`Graph::cross_entropy`].
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `targets`: `[rows]`, numbers of outputs.
    #[track_caller]
    pub fn cross_entropy(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        assert_eq!(self.layout, WeightLayout::OutIn, "cross_entropy: a weight [outputs, inputs]");
        g.cross_entropy(x, self.weight, self.bias, targets, smoothing, scale)
    }
}
