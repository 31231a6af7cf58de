//! Losses of few logits: cross-entropy within groups that lie anywhere in an array, and binary cross-entropy of single ones.
//!
//! A group is a softmax over `len` logits, `stride` apart: the labels of one text (a row), the tokens at which an answer may
//! begin (a column of one text's rows), the choices of one question. With weight w and smoothing ε (Szegedy et al. 2016, §7):
//! ```text
//! loss = w·((1 − ε)·(−log p_t) + ε·mean_c(−log p_c))     dx_c = w·(p_c − (1 − ε)·[c = t] − ε/len)
//! ```
//! Binary cross-entropy of a logit x with target t in [0, 1] is `max(x, 0) − x·t + ln(1 + e^−|x|)`, its gradient σ(x) − t.
//!
//! Arithmetic is in f64, one group after the other: there are few of them.

/// A softmax within an array of logits, and what it should have given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Where the first logit lies.
    pub first: usize,
    /// How many there are.
    pub len: usize,
    /// How far they lie apart.
    pub stride: usize,
    /// Which of them is right, from 0.
    pub target: usize,
    /// The factor on the group's loss.
    pub weight: f32,
}

impl Group {
    fn at(&self, i: usize) -> usize {
        self.first + i * self.stride
    }

    /// log p of every logit.
    fn log_probabilities(&self, logits: &[f32]) -> Vec<f64> {
        let values = || (0..self.len).map(|i| f64::from(logits[self.at(i)]));
        let highest = values().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = values().map(|x| (x - highest).exp()).sum::<f64>().ln();
        values().map(|x| x - highest - log_sum).collect()
    }
}

/// The sums over groups of the weighted, smoothed losses and of the plain −log p of the targets, unweighted.
///
/// # Panics
/// If a group reaches beyond the logits, or a target is not in its group.
#[must_use]
#[track_caller]
pub fn cross_entropy(logits: &[f32], groups: &[Group], smoothing: f32) -> (f64, f64) {
    let (mut loss, mut nll) = (0.0, 0.0);
    for group in groups {
        check(group, logits.len());
        let log_p = group.log_probabilities(logits);
        let own = -log_p[group.target];
        let mean = -log_p.iter().sum::<f64>() / group.len as f64;
        let (smoothing, weight) = (f64::from(smoothing), f64::from(group.weight));
        loss += weight * ((1.0 - smoothing) * own + smoothing * mean);
        nll += own;
    }
    (loss, nll)
}

/// Adds `factor` times the gradient of [`cross_entropy`]'s loss.
///
/// # Panics
/// As there; if the arrays differ in length.
#[track_caller]
pub fn cross_entropy_backward(logits: &[f32], groups: &[Group], smoothing: f32, factor: f32, dlogits: &mut [f32]) {
    assert_eq!(logits.len(), dlogits.len(), "group cross_entropy: logits and their gradient");
    for group in groups {
        check(group, logits.len());
        let factor = f64::from(factor) * f64::from(group.weight);
        let smoothing = f64::from(smoothing);
        for (i, log_p) in group.log_probabilities(logits).into_iter().enumerate() {
            let own = if i == group.target { 1.0 - smoothing } else { 0.0 };
            let gradient = log_p.exp() - own - smoothing / group.len as f64;
            dlogits[group.at(i)] += (factor * gradient) as f32;
        }
    }
}

#[track_caller]
fn check(group: &Group, logits: usize) {
    assert!(group.target < group.len, "group cross_entropy: target {} of {}", group.target, group.len);
    assert!(group.at(group.len - 1) < logits, "group cross_entropy: {group:?} among {logits} logits");
}

/// The sum of the binary cross-entropies of logits and targets in [0, 1].
///
/// # Panics
/// If there are more or fewer targets than logits.
#[must_use]
#[track_caller]
pub fn binary_cross_entropy(logits: &[f32], targets: &[f32]) -> f64 {
    assert_eq!(logits.len(), targets.len(), "binary cross_entropy: logits and targets");
    let one = |(&x, &t): (&f32, &f32)| {
        let (x, t) = (f64::from(x), f64::from(t));
        x.max(0.0) - x * t + (-x.abs()).exp().ln_1p()
    };
    logits.iter().zip(targets).map(one).sum()
}

/// `dx = factor · (σ(x) − t)`.
///
/// # Panics
/// If the arrays differ in length.
#[track_caller]
pub fn binary_cross_entropy_backward(logits: &[f32], targets: &[f32], factor: f32, dlogits: &mut [f32]) {
    assert!(logits.len() == targets.len() && logits.len() == dlogits.len(), "binary cross_entropy: lengths");
    for ((dx, &x), &t) in dlogits.iter_mut().zip(logits).zip(targets) {
        let probability = 1.0 / (1.0 + (-f64::from(x)).exp());
        *dx = (f64::from(factor) * (probability - f64::from(t))) as f32;
    }
}
