//! Linear probes: the linear layer that best reads labels or values off given features, such as a frozen model's states.
//!
//! [`LogisticProbe`] is multinomial logistic regression, [`RidgeProbe`] ridge regression. Both minimise a convex function to
//! its end, so a probe follows from the features alone: there is no learning rate, no seed and no number of epochs. The
//! result is a plain linear layer, weight `[outputs, width]` and bias `[outputs]`.
//!
//! # What is minimised
//! With features `x_i`, weights `W`, biases `b` and scores `z_i = W x_i + b`:
//!
//! * [`LogisticProbe`]: `Σ_i −log softmax(z_i)[y_i] + ‖W‖² / 2c`. With two classes the second term is `‖w_1 − w_0‖² / 2c`: they
//!   share one weight vector. This is what scikit-learn's `LogisticRegression(C=c)` minimises.
//! * [`RidgeProbe`]: `½ Σ_i (z_i − y_i)² + ½ α ‖w‖²`, as scikit-learn's `Ridge(alpha)`.
//!
//! Biases are not regularised. [`Scaling`] says whether `W` weights the features as they are or standardised.
//!
//! # How
//! Newton's method with a line search, each step solved by preconditioned conjugate gradients (`newton`; J. Nocedal and
//! S. Wright, "Numerical Optimization", 2006, algorithm 7.1). Columns are centred and divided by their deviations first
//! (`columns`); the regularisation of each column takes that back. The preconditioner is one Cholesky factor of the products
//! of columns (`precondition`), so that correlated columns cost no iterations. Products of matrices are in f32 over blocks of
//! rows, the sums over blocks and everything else in f64. Blocks and the order of sums follow from the shape: the number of
//! threads changes no bit.

mod cholesky;
mod columns;
mod gold;
mod layers;
mod logistic;
mod newton;
mod pass;
mod precondition;
mod ridge;

pub use gold::{Gold, Layer};
pub use layers::{LayerScore, gold, layers};
pub use logistic::{Chosen, LogisticProbe, Tried};
pub use ridge::{ChosenRidge, RidgeProbe, TriedRidge};

/// Rows of features, each with what is to be read off it.
///
/// # Shapes
/// * `features`: `[rows, width]`, row by row
/// * `targets`: `[rows]`, the numbers of labels or values
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a, T> {
    /// The features.
    pub features: &'a [f32],
    /// How many features a row has.
    pub width: usize,
    /// The target of each row.
    pub targets: &'a [T],
}

/// Which weights the regularisation holds small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// The weights of the features as they are: features with large values are regularised less.
    #[default]
    AsGiven,
    /// The weights of features with mean 0 and variance 1 over the rows of the training data, as after scikit-learn's
    /// `StandardScaler`. The probe that results takes the features as they are.
    Standardized,
}

/// Features or settings from which no probe can be fitted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The sizes do not fit together.
    #[error("{features} features are not {targets} rows of {width}: every target needs one row of features")]
    Shape {
        /// How many numbers there are.
        features: usize,
        /// How many make a row.
        width: usize,
        /// How many targets there are.
        targets: usize,
    },
    /// Validation data has rows of another width than training data.
    #[error("the rows of the validation data have {found} features but those of the training data {expected}")]
    Width {
        /// Features of a row of validation data.
        found: usize,
        /// Features of a row of training data.
        expected: usize,
    },
    /// There is nothing to learn from or to choose on.
    #[error("there are no rows: a probe needs at least one")]
    NoRows,
    /// A feature is infinite or not a number.
    #[error("feature {column} of row {row} is {value}: features must be finite (rows and features count from 0)")]
    Feature {
        /// The row, from 0.
        row: usize,
        /// The feature in the row, from 0.
        column: usize,
        /// What it is.
        value: f32,
    },
    /// A value to learn is infinite or not a number.
    #[error("the target of row {row} is {value}: values must be finite (rows count from 0)")]
    Target {
        /// The row, from 0.
        row: usize,
        /// What it is.
        value: f32,
    },
    /// A label is not one of the classes.
    #[error("the label of row {row} is {label} but there are {classes} classes, 0 to {} (rows count from 0)", classes.saturating_sub(1))]
    Label {
        /// The row, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },
    /// All rows have one label.
    #[error("all {rows} rows have label {label}: a probe needs rows of two labels at least")]
    OneClass {
        /// The label.
        label: u32,
        /// How many rows there are.
        rows: usize,
    },
    /// The strength of regularisation is impossible.
    #[error("{name} is {value}: it must be a finite number above 0")]
    Strength {
        /// Which: `c` or `alpha`.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// There is no strength to choose from.
    #[error("the grid is empty: give at least one value of {name}")]
    EmptyGrid {
        /// Which: `c` or `alpha`.
        name: &'static str,
    },
    /// The solution does not fit f32.
    #[error(
        "the weights of feature {column} are too large for f32: its values are too close to each other; multiply them"
    )]
    Weight {
        /// The feature, from 0.
        column: usize,
    },
    /// The method found no minimum.
    #[error("no minimum was found in {steps} steps: regularise more")]
    Unsolved {
        /// Newton steps that were made.
        steps: usize,
    },
}

impl<T> Examples<'_, T> {
    /// Checks the sizes.
    fn check(&self) -> Result<(), Error> {
        let Self { features, width, targets } = self;
        if Some(features.len()) != width.checked_mul(targets.len()) || *width == 0 {
            return Err(Error::Shape { features: features.len(), width: *width, targets: targets.len() });
        }
        if targets.is_empty() { Err(Error::NoRows) } else { Ok(()) }
    }

    /// Checks the sizes of validation data and that all features are finite.
    fn check_valid(&self, width: usize) -> Result<(), Error> {
        self.check()?;
        if self.width != width {
            return Err(Error::Width { found: self.width, expected: width });
        }
        check_finite(self.features, width)
    }
}

/// Checks that all features are finite.
pub(crate) fn check_finite(features: &[f32], width: usize) -> Result<(), Error> {
    match features.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::Feature { row: at / width, column: at % width, value: features[at] }),
        None => Ok(()),
    }
}

/// Checks a strength of regularisation.
fn check_strength(name: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(Error::Strength { name, value }) }
}

/// The strengths to try, without doubles, the ones that regularise most first.
fn check_grid(
    name: &'static str,
    grid: &[f64],
    strongest_first: fn(&f64, &f64) -> std::cmp::Ordering,
) -> Result<Vec<f64>, Error> {
    let mut grid = grid.iter().map(|value| check_strength(name, *value)).collect::<Result<Vec<_>, _>>()?;
    grid.sort_by(strongest_first);
    grid.dedup();
    if grid.is_empty() { Err(Error::EmptyGrid { name }) } else { Ok(grid) }
}

/// `count` values from `first` to `last`, each the one before times the same factor.
///
/// # Panics
/// If there are fewer than two, or `first` and `last` are not above 0.
#[must_use]
pub fn logarithmic_grid(first: f64, last: f64, count: usize) -> Vec<f64> {
    assert!(count > 1 && first > 0.0 && last > 0.0, "logarithmic_grid: {count} values from {first} to {last}");
    let (from, to) = (first.log10(), last.log10());
    let value = |at: usize| 10_f64.powf(from + (to - from) * at as f64 / (count - 1) as f64);
    (0..count).map(value).collect()
}

#[cfg(test)]
mod tests;
