//! Newton's method for a convex loss of linear scores with a quadratic penalty.

use std::ops::Range;

use super::Error;
use super::cholesky::dot;
use super::columns::Columns;
use super::pass::pass;
use super::precondition::{Gram, Preconditioner};

/// Share of the function that a step promises at which the rounding of f32 may hide whether it falls.
const ROUNDING: f64 = 1e-8;

/// How much of the function rounding may add in a step that the slope approves of.
const SLACK: f64 = 1e-5;

/// Share of the gradient's length at the start below which a search that gets no nearer for so many steps is at its end.
const NEAR: f64 = 1e-3;
const PATIENCE: usize = 10;

/// Most steps, most halvings of one and most products with the curvature for one.
const STEPS: usize = 200;
const HALVINGS: usize = 40;
const PRODUCTS: usize = 500;

/// A loss of the scores of rows.
pub(super) trait Loss: Sync {
    /// Scores of a row. Of several, only the differences matter.
    fn outputs(&self) -> usize;

    /// Turns scores `[outputs, rows]` into the derivatives of the loss, keeps in `kept` what [`Loss::curve`] needs, and
    /// returns the sum of the losses.
    fn derive(&self, rows: Range<usize>, scores: &mut [f32], kept: &mut [f32]) -> f64;

    /// Turns changes of scores `[outputs, rows]` into the changes of the derivatives.
    fn curve(&self, rows: Range<usize>, scores: &mut [f32], kept: &[f32]);

    /// The second derivative that [`Loss::curve`] has on average, above 0.
    fn curvature(&self, kept: &[f32]) -> f64;
}

/// The function to minimise: `Σ loss(scores) + ½ Σ penalty_j w_kj²`.
pub(super) struct Problem<'a, L> {
    pub columns: &'a Columns,
    pub gram: &'a Gram,
    pub loss: &'a L,
    /// For each column.
    pub penalty: Vec<f64>,
    /// Length of the gradient, relative to that of the layer, at which the minimum is reached.
    pub tolerance: f64,
}

/// The function and its gradient.
struct Value {
    value: f64,
    gradient: Vec<f64>,
}

impl<L: Loss> Problem<'_, L> {
    /// The layer `[outputs, width + 1]`, weights and then the bias of each output, at which the function is smallest; the
    /// search begins at `layer`.
    pub fn minimum(&self, mut layer: Vec<f64>) -> Result<Vec<f64>, Error> {
        let mut kept = vec![0.0; self.columns.rows * self.loss.outputs()];
        let mut trial_kept = kept.clone();
        let mut here = self.value(&layer, &mut kept);
        let mut preconditioner: Option<Preconditioner> = None;
        let mut first = None;
        let mut last = (f64::INFINITY, layer.clone());
        let (mut best, mut stalled) = ((f64::INFINITY, layer.clone()), 0);
        for steps in 1..=STEPS {
            let curvature = self.loss.curvature(&kept);
            let factored = preconditioner.take().filter(|p| (0.7..1.4).contains(&(curvature / p.curvature)));
            let p = factored.unwrap_or_else(|| self.gram.preconditioner(curvature, &self.penalty));
            let length = p.dual_norm(&here.gradient);
            if length <= self.tolerance * p.norm(&layer) {
                return Ok(layer);
            }
            let first = *first.get_or_insert(length);
            stalled = if length < 0.9 * best.0 { 0 } else { stalled + 1 };
            if length < best.0 {
                best = (length, layer.clone());
            }
            // Where the loss all but vanishes, its own size says nothing of the rounding of the scores.
            let is_near = best.0 <= NEAR * first;
            if stalled >= PATIENCE && is_near {
                return Ok(best.1);
            }
            let accuracy = (length / first).sqrt().clamp(0.01, 0.1);
            let direction = self.direction(&here.gradient, accuracy, &p, &mut kept);
            let slope = dot(&here.gradient, &direction);
            let hidden = slope.abs() <= ROUNDING * here.value.abs();
            if hidden && length > 0.5 * last.0 {
                // Rounding is all that is left.
                return Ok(if length < last.0 { layer } else { last.1 });
            }
            let step = self.step(&layer, &here, &direction, slope, &mut trial_kept);
            let Some((next, there)) = step else {
                return match (hidden, is_near) {
                    (true, _) => Ok(layer),
                    (_, true) => Ok(best.1),
                    _ => Err(Error::Unsolved { steps }),
                };
            };
            std::mem::swap(&mut kept, &mut trial_kept);
            last = (length, std::mem::replace(&mut layer, next));
            here = there;
            preconditioner = Some(p);
        }
        match first {
            Some(first) if best.0 <= NEAR * first => Ok(best.1),
            _ => Err(Error::Unsolved { steps: STEPS }),
        }
    }

    /// The longest of the halved steps that lowers the function. Where rounding hides that, the slope tells: a convex
    /// function that still falls at the end of a step, or has become flat there, has fallen on the way.
    fn step(
        &self,
        layer: &[f64],
        here: &Value,
        direction: &[f64],
        slope: f64,
        kept: &mut [f32],
    ) -> Option<(Vec<f64>, Value)> {
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            let next: Vec<f64> = layer.iter().zip(direction).map(|(x, d)| x + share * d).collect();
            let there = self.value(&next, kept);
            let falls = there.value <= here.value + 1e-4 * share * slope;
            let flat = dot(&there.gradient, direction).abs() <= 0.9 * slope.abs();
            if falls || flat && there.value <= here.value + SLACK * here.value.abs() {
                return Some((next, there));
            }
            share *= 0.5;
        }
        None
    }

    /// The function and its gradient at a layer.
    fn value(&self, layer: &[f64], kept: &mut [f32]) -> Value {
        let derive = |rows: Range<usize>, scores: &mut [f32], kept: &mut [f32]| self.loss.derive(rows, scores, kept);
        let sums = pass(self.columns, layer, self.loss.outputs(), kept, derive);
        let (mut value, mut gradient) = (sums.loss, balanced(sums.products, self.columns.width));
        for (row, gradient) in self.weights(layer).zip(gradient.chunks_exact_mut(self.columns.width + 1)) {
            for ((weight, penalty), gradient) in row.iter().zip(&self.penalty).zip(gradient) {
                value += 0.5 * penalty * weight * weight;
                *gradient += penalty * weight;
            }
        }
        Value { value, gradient }
    }

    /// The curvature times a direction.
    fn curve(&self, direction: &[f64], kept: &mut [f32]) -> Vec<f64> {
        let curve = |rows: Range<usize>, scores: &mut [f32], kept: &mut [f32]| {
            self.loss.curve(rows, scores, kept);
            0.0
        };
        let product = pass(self.columns, direction, self.loss.outputs(), kept, curve).products;
        let mut product = balanced(product, self.columns.width);
        for (row, product) in self.weights(direction).zip(product.chunks_exact_mut(self.columns.width + 1)) {
            for ((weight, penalty), product) in row.iter().zip(&self.penalty).zip(product) {
                *product += penalty * weight;
            }
        }
        product
    }

    /// Newton's direction, by conjugate gradients up to a relative accuracy in the length of what remains of the gradient.
    fn direction(&self, gradient: &[f64], accuracy: f64, p: &Preconditioner, kept: &mut [f32]) -> Vec<f64> {
        let mut found = vec![0.0; gradient.len()];
        let mut rest: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut solved = p.solve(&rest);
        let mut direction = solved.clone();
        let mut square = dot(&rest, &solved);
        let enough = accuracy * accuracy * square;
        for _ in 0..PRODUCTS {
            let curved = self.curve(&direction, kept);
            let bend = dot(&direction, &curved);
            if bend <= 0.0 {
                break;
            }
            let share = square / bend;
            found.iter_mut().zip(&direction).for_each(|(found, d)| *found += share * d);
            rest.iter_mut().zip(&curved).for_each(|(rest, curved)| *rest -= share * curved);
            solved = p.solve(&rest);
            let next = dot(&rest, &solved);
            if next <= enough {
                break;
            }
            let keep = next / square;
            direction.iter_mut().zip(&solved).for_each(|(d, solved)| *d = solved + keep * *d);
            square = next;
        }
        found
    }

    /// The weights of each output, without the biases.
    fn weights<'b>(&self, layer: &'b [f64]) -> impl Iterator<Item = &'b [f64]> {
        let width = self.columns.width;
        layer.chunks_exact(width + 1).map(move |row| &row[..width])
    }
}

/// Takes from the numbers of each column their mean over the outputs, where there are several.
///
/// Scores to which the same is added mean the same, so derivatives and their changes sum to 0 over the outputs. What rounding
/// leaves of the sum would be a gradient without curvature against it.
fn balanced(mut products: Vec<f64>, width: usize) -> Vec<f64> {
    let outputs = products.len() / (width + 1);
    if outputs > 1 {
        for column in 0..=width {
            let mean = products.iter().skip(column).step_by(width + 1).sum::<f64>() / outputs as f64;
            products.iter_mut().skip(column).step_by(width + 1).for_each(|product| *product -= mean);
        }
    }
    products
}
