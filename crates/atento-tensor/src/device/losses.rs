//! Losses, and sums that the host reads.

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

    /// The sum in f64, one after the other.
    fn sum(&self, x: Slice<'_>) -> f64;
}
