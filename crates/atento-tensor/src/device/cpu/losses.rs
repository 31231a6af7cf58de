//! Losses.

use atento_kernels::cross_entropy;
use atento_kernels::group_losses::{self, Group};

use super::Cpu;
use crate::device::Losses;
use crate::slice::{Slice, SliceMut};

impl Losses for Cpu {
    fn cross_entropy(
        &self,
        logits: SliceMut<'_>,
        targets: &[u32],
        smoothing: f32,
        grad_scale: f32,
        wants_grad: bool,
        losses: SliceMut<'_>,
        nlls: SliceMut<'_>,
    ) {
        let (logits, losses, nlls) = (logits.f32(), losses.f32(), nlls.f32());
        cross_entropy::forward_backward(logits, targets, smoothing, grad_scale, wants_grad, losses, nlls, None);
    }

    fn squared_error(&self, x: Slice<'_>, targets: &[f32]) -> f64 {
        x.f32().iter().zip(targets).map(|(x, target)| f64::from(x - target).powi(2)).sum()
    }

    fn squared_error_backward(&self, x: Slice<'_>, targets: &[f32], factor: f32, dx: SliceMut<'_>) {
        for ((dx, x), target) in dx.f32().iter_mut().zip(x.f32()).zip(targets) {
            *dx = factor * (x - target);
        }
    }

    fn group_cross_entropy(&self, logits: Slice<'_>, groups: &[Group], smoothing: f32) -> (f64, f64) {
        group_losses::cross_entropy(logits.f32(), groups, smoothing)
    }

    fn group_cross_entropy_backward(
        &self,
        logits: Slice<'_>,
        groups: &[Group],
        smoothing: f32,
        factor: f32,
        dlogits: SliceMut<'_>,
    ) {
        group_losses::cross_entropy_backward(logits.f32(), groups, smoothing, factor, dlogits.f32());
    }

    fn binary_cross_entropy(&self, logits: Slice<'_>, targets: &[f32]) -> f64 {
        group_losses::binary_cross_entropy(logits.f32(), targets)
    }

    fn binary_cross_entropy_backward(&self, logits: Slice<'_>, targets: &[f32], factor: f32, dlogits: SliceMut<'_>) {
        group_losses::binary_cross_entropy_backward(logits.f32(), targets, factor, dlogits.f32());
    }

    fn sum(&self, x: Slice<'_>) -> f64 {
        x.f32().iter().map(|&x| f64::from(x)).sum()
    }
}
