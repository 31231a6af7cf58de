//! The output of a model, solved on features: a linear layer for labels, for any number of labels, or for values.

use super::logistic::linear;
use super::{Error, Examples, LogisticProbe, RidgeProbe, Scaling, logarithmic_grid};

/// Strengths of regularisation that are tried; features are standardised for them.
const STRENGTHS: (f64, f64, usize) = (1e-4, 1e2, 13);

/// What is to be read off the features of each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Gold {
    /// One label of each row.
    Labels {
        /// The number of each row's.
        labels: Vec<u32>,
        /// How many there are.
        classes: usize,
    },
    /// Any number of labels of each row.
    ManyLabels {
        /// Which labels a row has.
        flags: Vec<Vec<bool>>,
        /// How many there are.
        labels: usize,
    },
    /// A value of each row.
    Values(Vec<f32>),
}

/// A linear layer, and how it was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `[outputs, width]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// The inverse strength of regularisation of each problem that was solved, `1 / α` of values.
    pub strengths: Vec<f64>,
}

/// Rows of features, row by row, and how many a row has.
pub type Rows<'a> = (&'a [f32], usize);

impl Layer {
    /// The layer that fits the training data best, regularised as fits the validation data best: by accuracy for labels, by
    /// the squared error for values. Without validation data the strength is 1, scikit-learn's default.
    ///
    /// # Errors
    /// As [`LogisticProbe::fit`] and [`RidgeProbe::fit`].
    pub fn fit(train: (Rows<'_>, &Gold), valid: Option<(Rows<'_>, &Gold)>) -> Result<Self, Error> {
        let ((features, width), gold) = train;
        let held_out = valid.map(|((features, _), gold)| (features, gold));
        match gold {
            Gold::Labels { labels, classes } => {
                let valid = held_out.and_then(|(features, gold)| match gold {
                    Gold::Labels { labels, .. } => Some((features, &labels[..])),
                    _ => None,
                });
                let (probe, strength) = logistic((features, labels), valid, width, *classes)?;
                Ok(Self { weight: probe.weight, bias: probe.bias, strengths: vec![strength] })
            }
            Gold::ManyLabels { flags, labels } => {
                let mut layer = Self { weight: Vec::new(), bias: Vec::new(), strengths: Vec::new() };
                let column = |flags: &[Vec<bool>], at: usize| -> Vec<u32> {
                    flags.iter().map(|flags| u32::from(flags[at])).collect()
                };
                for at in 0..*labels {
                    let own = column(flags, at);
                    let valid = held_out.and_then(|(features, gold)| match gold {
                        Gold::ManyLabels { flags, .. } => Some((features, column(flags, at))),
                        _ => None,
                    });
                    let valid = valid.as_ref().map(|(features, labels)| (*features, &labels[..]));
                    layer.push_yes_or_no(logistic((features, &own), valid, width, 2), width)?;
                }
                Ok(layer)
            }
            Gold::Values(values) => {
                let train = Examples { features, width, targets: values };
                let valid = held_out.and_then(|(features, gold)| match gold {
                    Gold::Values(values) => Some(Examples { features, width, targets: &values[..] }),
                    _ => None,
                });
                let (probe, alpha) = match valid {
                    None => (RidgeProbe::fit_scaled(train, 1.0, Scaling::Standardized)?, 1.0),
                    Some(valid) => {
                        // Of a mean over rows, so that strengths mean the same whatever the number of rows.
                        let rows = values.len() as f64;
                        let grid: Vec<f64> = strengths().iter().map(|strength| rows / (1e3 * strength)).collect();
                        let chosen = RidgeProbe::fit_chosen(train, valid, Scaling::Standardized, &grid)?;
                        (chosen.probe, chosen.alpha)
                    }
                };
                Ok(Self { weight: probe.weight, bias: vec![probe.bias], strengths: vec![1.0 / alpha] })
            }
        }
    }

    /// The scores of rows of features, `[rows, outputs]`.
    ///
    /// # Panics
    /// If the features are no whole rows.
    #[must_use]
    pub fn scores(&self, (features, width): Rows<'_>) -> Vec<f32> {
        linear(features, &self.weight, &self.bias, width)
    }

    /// One output of two classes: the score of the second less that of the first.
    fn push_yes_or_no(&mut self, fitted: Result<(LogisticProbe, f64), Error>, width: usize) -> Result<(), Error> {
        let (weight, bias, strength) = match fitted {
            Ok((probe, strength)) => {
                let (no, yes) = probe.weight.split_at(width);
                (no.iter().zip(yes).map(|(no, yes)| yes - no).collect(), probe.bias[1] - probe.bias[0], strength)
            }
            // A label that all rows have, or none: it never changes.
            Err(Error::OneClass { label, .. }) => (vec![0.0; width], if label == 1 { ALWAYS } else { -ALWAYS }, 1.0),
            Err(error) => return Err(error),
        };
        self.weight.extend::<Vec<f32>>(weight);
        self.bias.push(bias);
        self.strengths.push(strength);
        Ok(())
    }
}

/// The score of a label that every row of the training data has.
const ALWAYS: f32 = 20.0;

fn strengths() -> Vec<f64> {
    let (first, last, count) = STRENGTHS;
    logarithmic_grid(first, last, count)
}

fn logistic(
    (features, targets): (&[f32], &[u32]),
    valid: Option<(&[f32], &[u32])>,
    width: usize,
    classes: usize,
) -> Result<(LogisticProbe, f64), Error> {
    let train = Examples { features, width, targets };
    match valid {
        None => Ok((LogisticProbe::fit_scaled(train, classes, 1.0, Scaling::Standardized)?, 1.0)),
        Some((features, targets)) => {
            let valid = Examples { features, width, targets };
            let chosen = LogisticProbe::fit_chosen(train, valid, classes, Scaling::Standardized, &strengths())?;
            Ok((chosen.probe, chosen.c))
        }
    }
}
