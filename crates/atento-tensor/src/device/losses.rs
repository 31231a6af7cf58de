//! Losses, and sums that the host reads.

use atento_kernels::group_losses::Group;

use crate::slice::{Slice, SliceMut};

/// Kernels of losses.
pub trait Losses {
    /// The smoothed loss and the negative log-likelihood of each row; logits become `grad_scale` times their own gradient
    /// where that is wanted.
    ///
    /// # Shapes
    /// `logits`: [targets, vocab_size]; `losses`, `nlls`: `[targets]`.
    fn cross_entropy(
        &self,
        logits: SliceMut<'_>,
        targets: &[u32],
        smoothing: f32,
        grad_scale: f32,
        wants_grad: bool,
        losses: SliceMut<'_>,
        nlls: SliceMut<'_>,
    );

    /// `Σ (x − target)²` in f64.
    fn squared_error(&self, x: Slice<'_>, targets: &[f32]) -> f64;

    /// `dx = factor · (x − target)`.
    fn squared_error_backward(&self, x: Slice<'_>, targets: &[f32], factor: f32, dx: SliceMut<'_>);

    /// The sums of the weighted losses and of the negative log-likelihoods of groups of logits.
    fn group_cross_entropy(&self, logits: Slice<'_>, groups: &[Group], smoothing: f32) -> (f64, f64);

    /// Adds `factor` times the gradient of the weighted losses.
    fn group_cross_entropy_backward(
        &self,
        logits: Slice<'_>,
        groups: &[Group],
        smoothing: f32,
        factor: f32,
        dlogits: SliceMut<'_>,
    );

    /// The sum of the binary cross-entropies of logits.
    fn binary_cross_entropy(&self, logits: Slice<'_>, targets: &[f32]) -> f64;

    /// `dx = factor · (σ(x) − target)`.
    fn binary_cross_entropy_backward(&self, logits: Slice<'_>, targets: &[f32], factor: f32, dlogits: SliceMut<'_>);

    /// The sum in f64, one after the other.
    fn sum(&self, x: Slice<'_>) -> f64;
}
