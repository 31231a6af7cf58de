//! Optimiser updates, each one pass over memory.
//!
//! AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) in PyTorch's form, at step t = 1, 2, …:
//! θ ← θ·(1 − lr·λ); m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²;
//! θ ← θ − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε).
//! Adam (Kingma and Ba 2014, arXiv:1412.6980) adds λθ to the gradient instead of shrinking θ.
//! SGD: b ← μb + g + λθ (b = g + λθ at the first step), θ ← θ − lr·b.
//!
//! Step-dependent factors are computed in f64. `grad_scale` multiplies the gradient as it is read:
//! clipping and averaging over micro-batches cost no pass of their own.

use rayon::prelude::*;

use crate::parallel::TASK;
use crate::simd::mul_add;

/// Settings of one [`adamw_step`] or [`adam_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to √v̂.
    pub eps: f32,
    /// λ.
    pub weight_decay: f32,
    /// This step's number, from 1.
    pub step: u64,
}

/// The factors of one step, computed once.
#[derive(Clone, Copy)]
struct Factors {
    shrink: f32,
    decay: f32,
    beta1: f32,
    beta2: f32,
    step_size: f32,
    inverse_root: f32,
    eps: f32,
    grad_scale: f32,
}

impl AdamW {
    fn factors(&self, decoupled: bool, grad_scale: f32) -> Factors {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(self.step as f64);
        let shrink = 1.0 - f64::from(self.lr) * f64::from(self.weight_decay);
        Factors {
            shrink: if decoupled { shrink as f32 } else { 1.0 },
            decay: if decoupled { 0.0 } else { self.weight_decay },
            beta1: self.beta1,
            beta2: self.beta2,
            step_size: (f64::from(self.lr) / correction(self.beta1)) as f32,
            inverse_root: (1.0 / correction(self.beta2).sqrt()) as f32,
            eps: self.eps,
            grad_scale,
        }
    }
}

#[inline(always)]
fn adam_body<const FMA: bool>(values: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], f: Factors) {
    for (((value, &grad), m), v) in values.iter_mut().zip(grads).zip(m).zip(v) {
        let grad = mul_add::<FMA>(f.decay, *value, grad * f.grad_scale);
        *m = mul_add::<FMA>(grad - *m, 1.0 - f.beta1, *m);
        *v = mul_add::<FMA>((1.0 - f.beta2) * grad, grad, f.beta2 * *v);
        let denominator = mul_add::<FMA>(v.sqrt(), f.inverse_root, f.eps);
        *value = mul_add::<FMA>(-f.step_size, *m / denominator, *value * f.shrink);
    }
}

#[track_caller]
fn adam(values: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], factors: Factors) {
    let n = values.len();
    assert!(grads.len() == n && m.len() == n && v.len() == n, "adam: values, grads, m and v");
    values
        .par_chunks_mut(TASK)
        .zip(grads.par_chunks(TASK))
        .zip(m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK)))
        .for_each(|((values, grads), (m, v))| {
            crate::dispatch!(adam_body(values: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], factors: Factors));
        });
}

/// One step of AdamW: weight decay shrinks the values, apart from the gradient.
///
/// # Panics
/// If the lengths differ or `step` is 0.
#[track_caller]
pub fn adamw_step(values: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], settings: AdamW, grad_scale: f32) {
    assert!(settings.step > 0, "adamw_step: steps count from 1");
    adam(values, grads, m, v, settings.factors(true, grad_scale));
}

/// One step of Adam: weight decay is part of the gradient.
///
/// # Panics
/// If the lengths differ or `step` is 0.
#[track_caller]
pub fn adam_step(values: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], settings: AdamW, grad_scale: f32) {
    assert!(settings.step > 0, "adam_step: steps count from 1");
    adam(values, grads, m, v, settings.factors(false, grad_scale));
}

/// Settings of one [`sgd_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate of this step.
    pub lr: f32,
    /// μ.
    pub momentum: f32,
    /// λ, part of the gradient.
    pub weight_decay: f32,
    /// This step's number, from 1.
    pub step: u64,
}

/// One step of gradient descent with momentum (not Nesterov's). `buffer` is b above.
///
/// # Panics
/// If the lengths differ or `step` is 0.
#[track_caller]
pub fn sgd_step(values: &mut [f32], grads: &[f32], buffer: &mut [f32], settings: Sgd, grad_scale: f32) {
    assert!(grads.len() == values.len() && buffer.len() == values.len(), "sgd_step: values, grads and buffer");
    assert!(settings.step > 0, "sgd_step: steps count from 1");
    #[inline(always)]
    fn body<const FMA: bool>(values: &mut [f32], grads: &[f32], buffer: &mut [f32], s: Sgd, grad_scale: f32) {
        let momentum = if s.step == 1 { 0.0 } else { s.momentum };
        for ((value, &grad), buffer) in values.iter_mut().zip(grads).zip(buffer) {
            let grad = mul_add::<FMA>(s.weight_decay, *value, grad * grad_scale);
            *buffer = mul_add::<FMA>(momentum, *buffer, grad);
            *value = mul_add::<FMA>(-s.lr, *buffer, *value);
        }
    }
    let chunks = values.par_chunks_mut(TASK).zip(grads.par_chunks(TASK)).zip(buffer.par_chunks_mut(TASK));
    chunks.for_each(|((values, grads), buffer)| {
        crate::dispatch!(body(values: &mut [f32], grads: &[f32], buffer: &mut [f32], settings: Sgd, grad_scale: f32));
    });
}

/// `average += (1 − decay)·(values − average)`: the exponential moving average of weights.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn ema_update(average: &mut [f32], values: &[f32], decay: f32) {
    assert_eq!(average.len(), values.len(), "ema_update: average and values");
    #[inline(always)]
    fn body<const FMA: bool>(average: &mut [f32], values: &[f32], decay: f32) {
        for (average, &value) in average.iter_mut().zip(values) {
            *average = mul_add::<FMA>(value - *average, 1.0 - decay, *average);
        }
    }
    average.par_chunks_mut(TASK).zip(values.par_chunks(TASK)).for_each(|(average, values)| {
        crate::dispatch!(body(average: &mut [f32], values: &[f32], decay: f32));
    });
}

/// One step of AdamW or Adam in f64, element by element, as PyTorch's documentation writes it.
pub fn reference(values: &mut [f64], grads: &[f64], m: &mut [f64], v: &mut [f64], settings: AdamW, decoupled: bool) {
    let [lr, beta1, beta2, eps, decay] =
        [settings.lr, settings.beta1, settings.beta2, settings.eps, settings.weight_decay].map(f64::from);
    let t = settings.step as f64;
    for i in 0..values.len() {
        let grad = if decoupled { grads[i] } else { grads[i] + decay * values[i] };
        if decoupled {
            values[i] -= lr * decay * values[i];
        }
        m[i] = beta1 * m[i] + (1.0 - beta1) * grad;
        v[i] = beta2 * v[i] + (1.0 - beta2) * grad * grad;
        let corrected = (m[i] / (1.0 - beta1.powf(t)), v[i] / (1.0 - beta2.powf(t)));
        values[i] -= lr * corrected.0 / (corrected.1.sqrt() + eps);
    }
}
