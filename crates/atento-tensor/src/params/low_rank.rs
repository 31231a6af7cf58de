//! What is added to a matrix without changing it: the product of two thin ones (Hu et al. 2021, LoRA, eq. 3), and the lengths
//! that its rows are then brought to (Liu et al. 2024, DoRA, eq. 5).

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::{Params, View, Weight};
use crate::device::Device;

/// `W + scale · up · down` in the place of `W`, for some of its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// [rank, inputs]
    pub down: Weight,
    /// [outputs, rank]
    pub up: Weight,
    /// The factor of the product: α / r (Hu et al. 2021), or α / √r (Kalajdzievski 2023).
    pub scale: f32,
    /// The probability with which values of the input are dropped before `down`, in training.
    pub dropout: f32,
    /// The outputs of the matrix that it is added to.
    pub outputs: Range<usize>,
    /// The lengths that the rows of the sum are brought to, where they are learned apart.
    pub magnitude: Option<Magnitude>,
}

/// The lengths of rows, which are then trained by themselves. No gradient passes through the division by the length that a row
/// has (Liu et al. 2024, §4.3).
#[derive(Clone, Debug)]
pub struct Magnitude {
    /// `[outputs]`
    weight: Weight,
    /// The squared lengths of the matrix's own rows, which stay as they are.
    squares: OnceLock<Arc<[f64]>>,
    /// One over the lengths of the sum's rows, where nothing of them is trained.
    inverse: OnceLock<Arc<[f32]>>,
}

impl Magnitude {
    /// Lengths `[outputs]` for a matrix that keeps its values.
    #[must_use]
    pub fn new(weight: Weight) -> Self {
        Self { weight, squares: OnceLock::new(), inverse: OnceLock::new() }
    }

    /// The parameter.
    #[must_use]
    pub fn weight(&self) -> Weight {
        self.weight
    }
}

/// Equal where they are the same parameter.
impl PartialEq for Magnitude {
    fn eq(&self, other: &Self) -> bool {
        self.weight == other.weight
    }
}

/// A pair in a weight that may have several parts.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'p> {
    /// The pair.
    pub low_rank: &'p LowRank,
    /// The first of its outputs among those of the whole weight.
    pub first: usize,
    /// The part of the weight that it is added to.
    pub part: Weight,
    /// Which of the part's pairs it is.
    pub(crate) at: usize,
}

impl Params {
    /// Adds the product of two thin matrices to a matrix, in every projection that it is multiplied in. Several may be added to
    /// one matrix.
    ///
    /// # Panics
    /// If `weight` is several parameters or not a projection's, or the sizes do not fit.
    #[track_caller]
    pub fn add_low_rank(&mut self, weight: Weight, low_rank: LowRank) {
        assert_eq!(weight.parts, 1, "add_low_rank: {weight:?} is made of several parameters");
        let (outputs, inputs) = self.projection_sizes(weight);
        let LowRank { down, up, outputs: range, magnitude, .. } = &low_rank;
        let fits = down.cols == inputs && up.cols == down.rows && up.rows == range.len() && range.end <= outputs;
        let fits = fits && magnitude.as_ref().is_none_or(|magnitude| magnitude.weight.len() == range.len());
        let name = &self.entries[weight.ids().start].name;
        assert!(fits, "add_low_rank: {low_rank:?} to {name}, [{outputs}, {inputs}]");
        let pairs = self.low_ranks.entry(weight.first).or_default();
        let is_shared = |other: &LowRank| {
            (other.magnitude.is_some() || magnitude.is_some())
                && other.outputs.start < range.end
                && range.start < other.outputs.end
        };
        assert!(!pairs.iter().any(is_shared), "add_low_rank: rows of one length have one pair");
        pairs.push(low_rank);
    }

    /// The lengths of the rows of a matrix, a row for each output.
    ///
    /// # Panics
    /// If `weight` is several parameters or not a projection's.
    #[must_use]
    #[track_caller]
    pub fn row_lengths(&self, weight: Weight) -> Vec<f32> {
        assert_eq!(weight.parts, 1, "row_lengths: {weight:?} is made of several parameters");
        let outputs = self.projection_sizes(weight).0;
        let layout = self.entries[weight.ids().start].layout.expect("sizes were found");
        squares(self, weight, layout, &(0..outputs)).iter().map(|square| square.sqrt() as f32).collect()
    }

    /// Outputs and inputs of a parameter that rows are multiplied by.
    #[track_caller]
    pub(super) fn projection_sizes(&self, weight: Weight) -> (usize, usize) {
        let entry = &self.entries[weight.ids().start];
        match entry.layout {
            Some(WeightLayout::OutIn) => (weight.rows, weight.cols),
            Some(WeightLayout::InOut) => (weight.cols, weight.rows),
            None => panic!("{} is not multiplied", entry.name),
        }
    }

    /// Takes away what was added to a matrix. The parameters of the thin ones stay in the table.
    pub fn take_low_ranks(&mut self, weight: Weight) -> Vec<LowRank> {
        self.low_ranks.remove(&weight.first).unwrap_or_default()
    }

    /// Whether the model computes something else than its own parameters say: products and lookups are changed beside their
    /// matrices, or virtual tokens stand before texts.
    #[must_use]
    pub fn is_adapted(&self) -> bool {
        let has_matrices = !self.low_ranks.is_empty() || !self.scalings.is_empty() || !self.bottlenecks.is_empty();
        let has_tables = !self.lookup_pairs.is_empty() || !self.replaced_rows.is_empty();
        has_matrices || has_tables || self.virtual_tokens.is_some()
    }

    /// Whether something is added to a part of a weight.
    #[must_use]
    pub fn has_low_rank(&self, weight: Weight) -> bool {
        !self.low_ranks.is_empty()
            && self.entries[weight.ids()].iter().any(|part| self.low_ranks.contains_key(&part.weight.first))
    }

    /// What is added to the parts of a weight.
    #[must_use]
    pub fn low_ranks(&self, weight: Weight) -> Vec<Placed<'_>> {
        let (mut begin, mut found) = (0, Vec::new());
        for entry in &self.entries[weight.ids()] {
            let (part, start) = (entry.weight, begin);
            let pairs = self.low_ranks.get(&part.first).into_iter().flatten().enumerate();
            found.extend(pairs.map(|(at, low_rank)| Placed {
                low_rank,
                first: start + low_rank.outputs.start,
                part,
                at,
            }));
            begin += part.rows;
        }
        found
    }

    /// One of the pairs of a parameter.
    pub(crate) fn low_rank(&self, part: Weight, at: usize) -> &LowRank {
        &self.low_ranks[&part.first][at]
    }
}

impl Placed<'_> {
    /// One over the lengths of the rows of `W + scale · up · down`, which magnitudes are multiplied by; `None` where the pair has
    /// no magnitude. With `wᵢ` a row of `W` and `bᵢ` of `up`:
    ///
    /// ```text
    /// |wᵢ + s bᵢ A|² = |wᵢ|² + 2 s bᵢ·(A wᵢ) + s² bᵢ (A Aᵀ) bᵢ
    /// ```
    #[must_use]
    pub fn inverse_lengths(&self, params: &Params, device: &dyn Device) -> Option<Arc<[f32]>> {
        let magnitude = self.low_rank.magnitude.as_ref()?;
        if params.is_any_trained(&[self.low_rank.down, self.low_rank.up]) {
            return Some(self.compute(magnitude, params, device));
        }
        Some(Arc::clone(magnitude.inverse.get_or_init(|| self.compute(magnitude, params, device))))
    }

    fn compute(&self, magnitude: &Magnitude, params: &Params, device: &dyn Device) -> Arc<[f32]> {
        let LowRank { down, up, scale, outputs, .. } = self.low_rank;
        let (rank, scale) = (down.rows, f64::from(*scale));
        let layout = params.entries[self.part.ids().start].layout.expect("a matrix that has a pair");
        let all = params.projection_sizes(self.part).0;
        let squares = magnitude.squares.get_or_init(|| squares(params, self.part, layout, outputs));
        let a = params.slice(*down);
        let mut aw = vec![0.0_f32; rank * all];
        let mut aa = vec![0.0_f32; rank * rank];
        let identity = Activation::Identity;
        device.linear(rank, a, params.view(self.part), layout, None, identity, None, (&mut aw[..]).into());
        device.linear(rank, a, View::Exact(a), WeightLayout::OutIn, None, identity, None, (&mut aa[..]).into());
        let length = |(row, square): (usize, &f64)| {
            let b = &params.get(*up)[row * rank..][..rank];
            let (mut cross, mut own) = (0.0, 0.0);
            for i in 0..rank {
                let bi = f64::from(b[i]);
                cross += bi * f64::from(aw[i * all + outputs.start + row]);
                own += bi * (0..rank).map(|j| f64::from(aa[i * rank + j]) * f64::from(b[j])).sum::<f64>();
            }
            (1.0 / (square + 2.0 * scale * cross + scale * scale * own).max(0.0).sqrt()) as f32
        };
        squares.iter().enumerate().map(length).collect()
    }
}

/// The squared lengths of some of a matrix's rows, a row for each output.
fn squares(params: &Params, weight: Weight, layout: WeightLayout, outputs: &Range<usize>) -> Arc<[f64]> {
    let square = |x: &f32| f64::from(*x).powi(2);
    match (params.view(weight), layout) {
        (View::Exact(values), WeightLayout::InOut) => {
            let mut sums = vec![0.0; outputs.len()];
            for row in values.f32().chunks_exact(weight.cols) {
                sums.iter_mut().zip(&row[outputs.clone()]).for_each(|(sum, x)| *sum += square(x));
            }
            sums.into()
        }
        (View::Exact(values), WeightLayout::OutIn) => {
            let rows = values.f32().chunks_exact(weight.cols).take(outputs.end).skip(outputs.start);
            rows.map(|row| row.iter().map(square).sum()).collect()
        }
        (View::Compact(values), _) => {
            let mut wide = vec![0.0; params.projection_sizes(weight).1];
            let row = |row: usize| {
                values.widen_row(row, 1.0, &mut wide);
                wide.iter().map(square).sum()
            };
            outputs.clone().map(row).collect()
        }
        (View::Parts, _) => unreachable!("one parameter"),
    }
}
