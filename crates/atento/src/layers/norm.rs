//! Normalisations with their gains and biases.

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::{Graph, Init, Params, Tensor, Weight};

/// `y = (x − mean) / sqrt(var + ε) · γ + β` (Ba et al. 2016).
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// γ: `[d_model]`.
    pub gamma: Weight,
    /// β, where there is one: `[d_model]`.
    pub beta: Option<Weight>,
    /// ε, inside the square root.
    pub eps: f32,
}

impl LayerNorm {
    /// Gain 1, bias 0, named `{path}.weight`, `{path}.bias`.
    pub fn init(params: &mut Params, path: &str, d_model: usize, eps: f32, rng: &mut Rng) -> Self {
        let gamma = params.add(&format!("{path}.weight"), &[d_model], Init::Ones, rng);
        let beta = params.add(&format!("{path}.bias"), &[d_model], Init::Zeros, rng);
        Self { gamma, beta: Some(beta), eps }
    }

    /// Gain 1 and no bias, named `{path}.weight`.
    pub fn init_without_bias(params: &mut Params, path: &str, d_model: usize, eps: f32, rng: &mut Rng) -> Self {
        Self { gamma: params.add(&format!("{path}.weight"), &[d_model], Init::Ones, rng), beta: None, eps }
    }

    /// Normalises each row.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        g.layer_norm(x, self.gamma, self.beta, self.eps)
    }

    /// Joins a sub-layer to its residual stream; returns `(residual + dropout(branch), its normalisation)`.
    #[track_caller]
    pub fn forward_residual(
        &self,
        g: &mut Graph<'_>,
        residual: &Tensor,
        branch: &Tensor,
        dropout: f32,
    ) -> (Tensor, Tensor) {
        g.residual_norm(residual, branch, dropout, self.gamma, self.beta, self.eps)
    }

    /// The normalisation of [`LayerNorm::forward_residual`]. With `rows`, row `i` of `residual` and `branch` is row `rows[i]`
    /// of the batch and drops what that row drops there.
    #[must_use]
    #[track_caller]
    pub fn join(
        &self,
        g: &mut Graph<'_>,
        residual: &Tensor,
        branch: &Tensor,
        dropout: f32,
        rows: Option<&Arc<[u32]>>,
    ) -> Tensor {
        let Some(rows) = rows else { return self.forward_residual(g, residual, branch, dropout).1 };
        let branch = g.dropout_of_rows(branch, dropout, rows);
        self.forward_residual(g, residual, &branch, 0.0).1
    }
}

/// `y = x / sqrt(mean(x²) + ε) · γ` (Zhang & Sennrich 2019).
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// γ: `[d_model]`.
    pub gamma: Weight,
    /// ε, inside the square root.
    pub eps: f32,
}

impl RmsNorm {
    /// Gain 1, named `{path}.weight`.
    pub fn init(params: &mut Params, path: &str, d_model: usize, eps: f32, rng: &mut Rng) -> Self {
        Self { gamma: params.add(&format!("{path}.weight"), &[d_model], Init::Ones, rng), eps }
    }

    /// Normalises each row.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        g.rms_norm(x, self.gamma, self.eps)
    }

    /// Joins a sub-layer to its residual stream; returns `(residual + branch, its normalisation)`.
    #[track_caller]
    pub fn forward_residual(&self, g: &mut Graph<'_>, residual: &Tensor, branch: &Tensor) -> (Tensor, Tensor) {
        g.residual_rms_norm(residual, branch, self.gamma, self.eps, 0.0)
    }
}
