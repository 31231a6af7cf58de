//! What is added to a matrix without changing it: the product of two thin ones (Hu et al. 2021, LoRA, eq. 3).

use std::ops::Range;

use atento_kernels::linear::WeightLayout;

use super::{Params, Weight};

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
        let entry = &self.entries[weight.ids().start];
        let (outputs, inputs) = match entry.layout {
            Some(WeightLayout::OutIn) => (weight.rows, weight.cols),
            Some(WeightLayout::InOut) => (weight.cols, weight.rows),
            None => panic!("add_low_rank: {} is not multiplied", entry.name),
        };
        let LowRank { down, up, outputs: range, .. } = &low_rank;
        let fits = down.cols == inputs && up.cols == down.rows && up.rows == range.len() && range.end <= outputs;
        assert!(fits, "add_low_rank: {low_rank:?} to {}, [{outputs}, {inputs}]", entry.name);
        self.low_ranks.entry(weight.first).or_default().push(low_rank);
    }

    /// Takes away what was added to a matrix. The parameters of the thin ones stay in the table.
    pub fn take_low_ranks(&mut self, weight: Weight) -> Vec<LowRank> {
        self.low_ranks.remove(&weight.first).unwrap_or_default()
    }

    /// Whether something is added to a part of a weight.
    #[must_use]
    pub fn has_low_rank(&self, weight: Weight) -> bool {
        !self.low_ranks.is_empty()
            && self.entries[weight.ids()].iter().any(|part| self.low_ranks.contains_key(&part.weight.first))
    }

    /// What is added to the parts of a weight, each with its first output of the whole.
    pub fn low_ranks(&self, weight: Weight) -> Vec<(usize, LowRank)> {
        let (mut first, mut found) = (0, Vec::new());
        for part in &self.entries[weight.ids()] {
            let added = self.low_ranks.get(&part.weight.first).into_iter().flatten();
            found.extend(added.map(|low_rank| (first + low_rank.outputs.start, low_rank.clone())));
            first += part.weight.rows;
        }
        found
    }
}
