//! Normalisation of rows and of heads, by itself and joined with the residual stream.

use atento_kernels::dropout::DropoutKey;
use atento_kernels::qk_norm::Heads;

use crate::slice::{Slice, SliceMut};

/// Norms. Statistics have one value a row (or head) in f32. Gradients of gammas and betas are added to.
pub trait Norms {
    /// `out = (x − mean) · rstd · gamma + beta`.
    fn layer_norm(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        beta: Slice<'_>,
        eps: f32,
        out: SliceMut<'_>,
        mean: SliceMut<'_>,
        rstd: SliceMut<'_>,
    );

    /// Its gradients; `dx` is added to with `accumulate`, else written.
    fn layer_norm_backward(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        mean: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dx: SliceMut<'_>,
        accumulate: bool,
        dgamma: SliceMut<'_>,
        dbeta: SliceMut<'_>,
    );

    /// `sum = residual + dropout(branch)`, and its layer norm.
    fn residual_layer_norm(
        &self,
        residual: Slice<'_>,
        branch: Slice<'_>,
        dropout: Option<DropoutKey>,
        gamma: Slice<'_>,
        beta: Slice<'_>,
        eps: f32,
        sum: SliceMut<'_>,
        out: SliceMut<'_>,
        mean: SliceMut<'_>,
        rstd: SliceMut<'_>,
    );

    /// Its gradients, where `dsum` is what arrives at the sum itself.
    fn residual_layer_norm_backward(
        &self,
        sum: Slice<'_>,
        gamma: Slice<'_>,
        mean: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dsum: Option<Slice<'_>>,
        dropout: Option<DropoutKey>,
        dresidual: SliceMut<'_>,
        dbranch: SliceMut<'_>,
        dgamma: SliceMut<'_>,
        dbeta: SliceMut<'_>,
    );

    /// `out = x · rstd · gamma`.
    fn rms_norm(&self, x: Slice<'_>, gamma: Slice<'_>, eps: f32, out: SliceMut<'_>, rstd: SliceMut<'_>);

    /// Its gradients, those that are wanted; `dx` is added to with `accumulate`, else written.
    fn rms_norm_backward(
        &self,
        x: Slice<'_>,
        gamma: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dx: Option<SliceMut<'_>>,
        accumulate: bool,
        dgamma: Option<SliceMut<'_>>,
    );

    /// `sum = residual + dropout(branch)`, and its RMS norm.
    fn residual_rms_norm(
        &self,
        residual: Slice<'_>,
        branch: Slice<'_>,
        dropout: Option<DropoutKey>,
        gamma: Slice<'_>,
        eps: f32,
        sum: SliceMut<'_>,
        out: SliceMut<'_>,
        rstd: SliceMut<'_>,
    );

    /// Its gradients, those that are wanted; `dresidual` is added to with `accumulate`, else written.
    fn residual_rms_norm_backward(
        &self,
        sum: Slice<'_>,
        gamma: Slice<'_>,
        rstd: Slice<'_>,
        dy: Slice<'_>,
        dropout: Option<DropoutKey>,
        dresidual: SliceMut<'_>,
        accumulate: bool,
        dbranch: Option<SliceMut<'_>>,
        dgamma: Option<SliceMut<'_>>,
    );

    /// The RMS norm of each head of queries and keys; values pass.
    fn qk_norm(
        &self,
        x: Slice<'_>,
        heads: Heads,
        gammas: [Slice<'_>; 2],
        eps: f32,
        out: SliceMut<'_>,
        rstd: SliceMut<'_>,
    );

    /// Its gradients: `dx` holds the output's and receives the input's.
    fn qk_norm_backward(
        &self,
        x: Slice<'_>,
        heads: Heads,
        gammas: [Slice<'_>; 2],
        rstd: Slice<'_>,
        dx: SliceMut<'_>,
        dgammas: [Option<SliceMut<'_>>; 2],
    );
}
