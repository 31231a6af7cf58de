//! Ridge regression.

use std::ops::Range;

use super::columns::Columns;
use super::logistic::linear;
use super::newton::{Loss, Problem};
use super::precondition::Gram;
use super::{Error, Examples, Scaling, check_finite, check_grid, check_strength};

/// How near the minimum is: nearer than for labels, since each step takes few products.
const TOLERANCE: f64 = 1e-8;

/// A linear layer that gives one value for a row of features.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeProbe {
    /// `[width]`
    pub weight: Vec<f32>,
    /// The value at features 0.
    pub bias: f32,
}

/// A probe, and how its `alpha` was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct ChosenRidge {
    /// The probe with the smallest mean squared error on the validation data; of several, the one that is regularised most.
    pub probe: RidgeProbe,
    /// Its strength of regularisation.
    pub alpha: f64,
    /// Its mean squared error on the validation data.
    pub valid_mse: f64,
    /// All that were tried, the one that is regularised most first.
    pub table: Vec<TriedRidge>,
}

/// A value of `alpha` and what it gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TriedRidge {
    /// The strength of regularisation.
    pub alpha: f64,
    /// The mean squared error on the validation data.
    pub valid_mse: f64,
}

impl RidgeProbe {
    /// Fits a probe to features as they are, the module's second function with its minimum as nearly as products in f32 give it.
    ///
    /// # Shapes
    /// * `features`: `[rows, width]`
    /// * `values`: `[rows]`
    ///
    /// # Errors
    /// Sizes that do not fit together, a feature or a value that is not finite, an `alpha` that is not above 0.
    pub fn fit(features: &[f32], width: usize, values: &[f32], alpha: f64) -> Result<Self, Error> {
        Self::fit_scaled(Examples { features, width, targets: values }, alpha, Scaling::AsGiven)
    }

    /// Fits a probe as [`RidgeProbe::fit`], with a choice of which weights are regularised.
    ///
    /// # Errors
    /// As [`RidgeProbe::fit`].
    pub fn fit_scaled(train: Examples<'_, f32>, alpha: f64, scaling: Scaling) -> Result<Self, Error> {
        check_strength("alpha", alpha)?;
        let fit = Fit::new(train)?;
        fit.probe(&fit.minimum(alpha, scaling, vec![0.0; train.width + 1])?)
    }

    /// Fits a probe with each `alpha` of a grid and chooses the one with the smallest mean squared error on validation data; of
    /// several, the largest.
    ///
    /// # Errors
    /// As [`RidgeProbe::fit`], for both sets; an empty grid.
    pub fn fit_chosen(
        train: Examples<'_, f32>,
        valid: Examples<'_, f32>,
        scaling: Scaling,
        grid: &[f64],
    ) -> Result<ChosenRidge, Error> {
        let grid = check_grid("alpha", grid, |a, b| b.total_cmp(a))?;
        valid.check_valid(train.width)?;
        check_values(valid.targets)?;
        let fit = Fit::new(train)?;
        let mut layer = vec![0.0; train.width + 1];
        let (mut best, mut table) = (None, Vec::with_capacity(grid.len()));
        for alpha in grid {
            layer = fit.minimum(alpha, scaling, layer)?;
            let probe = fit.probe(&layer)?;
            let tried = TriedRidge { alpha, valid_mse: probe.mean_squared_error(valid) };
            table.push(tried);
            if best.as_ref().is_none_or(|(_, best): &(_, TriedRidge)| tried.valid_mse < best.valid_mse) {
                best = Some((probe, tried));
            }
        }
        let (probe, TriedRidge { alpha, valid_mse }) = best.ok_or(Error::EmptyGrid { name: "alpha" })?;
        Ok(ChosenRidge { probe, alpha, valid_mse, table })
    }

    /// The value `[rows]` of each row of features `[rows, width]`.
    ///
    /// # Panics
    /// If the features are no whole rows.
    #[must_use]
    pub fn values(&self, features: &[f32]) -> Vec<f32> {
        linear(features, &self.weight, &[self.bias], self.weight.len())
    }

    fn mean_squared_error(&self, valid: Examples<'_, f32>) -> f64 {
        let errors = self.values(valid.features).into_iter().zip(valid.targets);
        let sum: f64 = errors.map(|(found, value)| (f64::from(found) - f64::from(*value)).powi(2)).sum();
        sum / valid.targets.len() as f64
    }
}

fn check_values(values: &[f32]) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(Error::Target { row, value: values[row] }),
        None => Ok(()),
    }
}

/// What all strengths of regularisation have in common. The values are standardised as the features are.
struct Fit {
    columns: Columns,
    gram: Gram,
    values: Columns,
}

impl Fit {
    fn new(train: Examples<'_, f32>) -> Result<Self, Error> {
        train.check()?;
        check_values(train.targets)?;
        check_finite(train.features, train.width)?;
        let columns = Columns::of(train.features, train.width);
        let gram = Gram::of(&columns);
        Ok(Self { columns, gram, values: Columns::of(train.targets, 1) })
    }

    /// The layer from standardised features to standardised values.
    fn minimum(&self, alpha: f64, scaling: Scaling, layer: Vec<f64>) -> Result<Vec<f64>, Error> {
        let penalty = self.columns.penalty(alpha, scaling);
        Problem {
            columns: &self.columns,
            gram: &self.gram,
            loss: &Squares(&self.values.values),
            penalty,
            tolerance: TOLERANCE,
        }
        .minimum(layer)
    }

    fn probe(&self, layer: &[f64]) -> Result<RidgeProbe, Error> {
        let layer: Vec<f64> = layer.iter().map(|weight| weight * self.values.deviations[0]).collect();
        let (weight, bias) = self.columns.fold(&layer)?;
        Ok(RidgeProbe { weight, bias: (bias[0] + self.values.means[0]) as f32 })
    }
}

/// The loss `½ (z − y)²`; its curvature is 1.
struct Squares<'a>(&'a [f32]);

impl Loss for Squares<'_> {
    fn outputs(&self) -> usize {
        1
    }

    fn derive(&self, rows: Range<usize>, scores: &mut [f32], _kept: &mut [f32]) -> f64 {
        let mut loss = 0.0;
        for (score, value) in scores.iter_mut().zip(&self.0[rows]) {
            *score -= value;
            loss += 0.5 * f64::from(*score).powi(2);
        }
        loss
    }

    fn curve(&self, _rows: Range<usize>, _scores: &mut [f32], _kept: &[f32]) {}

    fn curvature(&self, _kept: &[f32]) -> f64 {
        1.0
    }
}
