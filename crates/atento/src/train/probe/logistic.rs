//! Multinomial logistic regression.

use std::ops::Range;

use atento_kernels::matmul::{Mat, MatMut, gemm};

use super::columns::Columns;
use super::newton::{Loss, Problem};
use super::precondition::Gram;
use super::{Error, Examples, Scaling, check_finite, check_grid, check_strength};

/// How near the minimum is, about what the rounding of products in f32 allows.
const TOLERANCE: f64 = 1e-7;

/// The bias of a class that no row has: below every score, and finite.
const NEVER: f32 = -1e30;

/// A linear layer that classifies rows of features.
///
/// A class that no row of the training data has gets weights 0 and a bias of −10³⁰, so that it is never found. The biases of
/// the other classes have mean 0.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticProbe {
    /// `[classes, width]`
    pub weight: Vec<f32>,
    /// `[classes]`
    pub bias: Vec<f32>,
    /// Features of a row.
    pub width: usize,
    /// How many classes there are.
    pub classes: usize,
}

/// A probe, and how its `c` was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The probe with the highest accuracy on the validation data; of several, the one that is regularised most.
    pub probe: LogisticProbe,
    /// Its inverse strength of regularisation.
    pub c: f64,
    /// Its accuracy on the validation data, 0 to 1.
    pub valid_accuracy: f64,
    /// All that were tried, the one that is regularised most first.
    pub table: Vec<Tried>,
}

/// A value of `c` and what it gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The inverse strength of regularisation.
    pub c: f64,
    /// The accuracy on the validation data, 0 to 1.
    pub valid_accuracy: f64,
}

impl LogisticProbe {
    /// Fits a probe to features as they are, the module's first function with its minimum as nearly as products in f32 give it.
    ///
    /// # Shapes
    /// * `features`: `[rows, width]`
    /// * `labels`: `[rows]`, below `classes`
    ///
    /// # Errors
    /// Sizes that do not fit together, a feature that is not finite, a label that is no class, rows of one class only, a `c`
    /// that is not above 0.
    pub fn fit(features: &[f32], width: usize, labels: &[u32], classes: usize, c: f64) -> Result<Self, Error> {
        Self::fit_scaled(Examples { features, width, targets: labels }, classes, c, Scaling::AsGiven)
    }

    /// Fits a probe as [`LogisticProbe::fit`], with a choice of which weights are regularised.
    ///
    /// # Errors
    /// As [`LogisticProbe::fit`].
    pub fn fit_scaled(train: Examples<'_, u32>, classes: usize, c: f64, scaling: Scaling) -> Result<Self, Error> {
        check_strength("c", c)?;
        let fit = Fit::new(train, classes)?;
        fit.probe(&fit.minimum(c, scaling, fit.nothing())?)
    }

    /// Fits a probe with each `c` of a grid and chooses the one with the highest accuracy on validation data; of several, the
    /// smallest. Each fit begins at the result of the one before, so the weights of a `c` may differ from those of
    /// [`LogisticProbe::fit`] within its accuracy.
    ///
    /// # Errors
    /// As [`LogisticProbe::fit`], for both sets; an empty grid.
    pub fn fit_chosen(
        train: Examples<'_, u32>,
        valid: Examples<'_, u32>,
        classes: usize,
        scaling: Scaling,
        grid: &[f64],
    ) -> Result<Chosen, Error> {
        let grid = check_grid("c", grid, f64::total_cmp)?;
        valid.check_valid(train.width)?;
        check_labels(valid.targets, classes)?;
        let fit = Fit::new(train, classes)?;
        let mut layer = fit.nothing();
        let (mut best, mut table) = (None, Vec::with_capacity(grid.len()));
        for c in grid {
            layer = fit.minimum(c, scaling, layer)?;
            let probe = fit.probe(&layer)?;
            let tried = Tried { c, valid_accuracy: probe.accuracy(valid) };
            table.push(tried);
            if best.as_ref().is_none_or(|(_, best): &(_, Tried)| tried.valid_accuracy > best.valid_accuracy) {
                best = Some((probe, tried));
            }
        }
        let (probe, Tried { c, valid_accuracy }) = best.ok_or(Error::EmptyGrid { name: "c" })?;
        Ok(Chosen { probe, c, valid_accuracy, table })
    }

    /// The scores `[rows, classes]` of features `[rows, width]`; their softmax are probabilities.
    ///
    /// # Panics
    /// If the features are no whole rows.
    #[must_use]
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        linear(features, &self.weight, &self.bias, self.width)
    }

    /// The class with the highest score for each row; of several, the first.
    ///
    /// # Panics
    /// As [`LogisticProbe::logits`].
    #[must_use]
    pub fn labels(&self, features: &[f32]) -> Vec<u32> {
        let first_highest = |row: &[f32]| {
            let better = |best: usize, (at, score): (usize, &f32)| if *score > row[best] { at } else { best };
            row.iter().enumerate().fold(0, better) as u32
        };
        self.logits(features).chunks_exact(self.classes).map(first_highest).collect()
    }

    /// The share of rows whose label is found.
    fn accuracy(&self, valid: Examples<'_, u32>) -> f64 {
        let found = self.labels(valid.features);
        let right = found.iter().zip(valid.targets).filter(|(found, label)| found == label).count();
        right as f64 / valid.targets.len() as f64
    }
}

/// `x Wᵀ + b`.
///
/// # Shapes
/// * `x`: `[rows, width]`; `weight`: `[outputs, width]`; `bias`: `[outputs]`; the result: `[rows, outputs]`
#[track_caller]
pub(super) fn linear(x: &[f32], weight: &[f32], bias: &[f32], width: usize) -> Vec<f32> {
    assert!(x.len().is_multiple_of(width), "probe: {} features in rows of {width}", x.len());
    let (rows, outputs) = (x.len() / width, bias.len());
    let mut scores: Vec<f32> = bias.iter().copied().cycle().take(rows * outputs).collect();
    let (x, weight) = (Mat::row_major(x, rows, width), Mat::row_major(weight, outputs, width));
    gemm(1.0, x, weight.t(), 1.0, MatMut::row_major(&mut scores, rows, outputs));
    scores
}

fn check_labels(labels: &[u32], classes: usize) -> Result<(), Error> {
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(row) => Err(Error::Label { row, label: labels[row], classes }),
        None => Ok(()),
    }
}

/// What all strengths of regularisation have in common.
struct Fit {
    columns: Columns,
    gram: Gram,
    loss: Softmax,
    classes: usize,
    /// The classes that rows have, in order.
    present: Vec<u32>,
}

impl Fit {
    fn new(train: Examples<'_, u32>, classes: usize) -> Result<Self, Error> {
        train.check()?;
        check_labels(train.targets, classes)?;
        check_finite(train.features, train.width)?;
        let mut present = train.targets.to_vec();
        present.sort_unstable();
        present.dedup();
        if let [label] = present[..] {
            return Err(Error::OneClass { label, rows: train.targets.len() });
        }
        let number = |label: &u32| present.partition_point(|present| present < label);
        let labels = train.targets.iter().map(number).collect();
        let columns = Columns::of(train.features, train.width);
        let gram = Gram::of(&columns);
        let loss = Softmax { labels, classes: present.len() };
        Ok(Self { columns, gram, loss, classes, present })
    }

    /// The layer of zeros.
    fn nothing(&self) -> Vec<f64> {
        vec![0.0; self.present.len() * (self.columns.width + 1)]
    }

    /// The layer over standardised features with the smallest function, searched from `layer`.
    fn minimum(&self, c: f64, scaling: Scaling, layer: Vec<f64>) -> Result<Vec<f64>, Error> {
        // Two classes share one vector w = w1 - w0: at the minimum w1 = -w0, so |w|^2 is twice the sum of their squares.
        let strength = if self.present.len() == 2 { 2.0 / c } else { 1.0 / c };
        let penalty = self.columns.penalty(strength, scaling);
        Problem { columns: &self.columns, gram: &self.gram, loss: &self.loss, penalty, tolerance: TOLERANCE }
            .minimum(layer)
    }

    /// The probe of a layer over standardised features.
    fn probe(&self, layer: &[f64]) -> Result<LogisticProbe, Error> {
        let width = self.columns.width;
        let (weight, mut bias) = self.columns.fold(layer)?;
        let mean = bias.iter().sum::<f64>() / bias.len() as f64;
        bias.iter_mut().for_each(|bias| *bias -= mean);
        let mut probe = LogisticProbe {
            weight: vec![0.0; self.classes * width],
            bias: vec![NEVER; self.classes],
            width,
            classes: self.classes,
        };
        for ((&class, weight), bias) in self.present.iter().zip(weight.chunks_exact(width)).zip(bias) {
            probe.weight[class as usize * width..][..width].copy_from_slice(weight);
            probe.bias[class as usize] = bias as f32;
        }
        Ok(probe)
    }
}

/// The loss `−log softmax(z)[y]`. Probabilities are kept for its curvature, `diag(p) − p pᵀ`.
struct Softmax {
    labels: Vec<usize>,
    classes: usize,
}

impl Loss for Softmax {
    fn outputs(&self) -> usize {
        self.classes
    }

    fn derive(&self, rows: Range<usize>, scores: &mut [f32], kept: &mut [f32]) -> f64 {
        let count = rows.len();
        let mut exps = vec![0.0; self.classes];
        let mut loss = 0.0;
        for (at, &label) in self.labels[rows].iter().enumerate() {
            let score = |class: usize| f64::from(scores[class * count + at]);
            let largest = (0..self.classes).map(score).fold(f64::NEG_INFINITY, f64::max);
            exps.iter_mut().enumerate().for_each(|(class, exp)| *exp = (score(class) - largest).exp());
            let sum: f64 = exps.iter().sum();
            loss += sum.ln() + largest - score(label);
            for (class, exp) in exps.iter().enumerate() {
                let probability = exp / sum;
                kept[class * count + at] = probability as f32;
                scores[class * count + at] = (probability - f64::from(u8::from(class == label))) as f32;
            }
        }
        loss
    }

    fn curve(&self, rows: Range<usize>, scores: &mut [f32], kept: &[f32]) {
        let count = rows.len();
        let mut means = vec![0.0; count];
        for (scores, kept) in scores.chunks_exact(count).zip(kept.chunks_exact(count)) {
            for ((mean, score), probability) in means.iter_mut().zip(scores).zip(kept) {
                *mean += score * probability;
            }
        }
        for (scores, kept) in scores.chunks_exact_mut(count).zip(kept.chunks_exact(count)) {
            for ((mean, score), probability) in means.iter().zip(scores).zip(kept) {
                *score = probability * (*score - mean);
            }
        }
    }

    /// At equal probabilities, the one that changes of scores have whose sum is 0: `1 / classes`.
    fn curvature(&self, kept: &[f32]) -> f64 {
        let sum: f64 = kept.iter().map(|&p| f64::from(p) * (1.0 - f64::from(p))).sum();
        let rows = kept.len() as f64 / self.classes as f64;
        (sum / rows / (self.classes - 1) as f64).max(1e-9)
    }
}
