//! Factors on the numbers that a projection takes and gives ((IA)³, Liu et al. 2022, §3.3).

use super::{Params, Weight};

/// Factors of a projection, for one of its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaling {
    /// Factors `[inputs]` on what it takes.
    pub inputs: Option<Weight>,
    /// Factors `[outputs]` on what it gives, its bias included.
    pub outputs: Option<Weight>,
}

impl Params {
    /// Puts factors on what a matrix takes and gives, in every projection that it is multiplied in, in the place of those that
    /// it may have.
    ///
    /// # Panics
    /// If `weight` is several parameters or not a projection's, or the sizes do not fit.
    #[track_caller]
    pub fn set_scaling(&mut self, weight: Weight, scaling: Scaling) {
        assert_eq!(weight.parts, 1, "set_scaling: {weight:?} is made of several parameters");
        let (outputs, inputs) = self.projection_sizes(weight);
        let fits = |factors: Option<Weight>, count: usize| factors.is_none_or(|factors| factors.len() == count);
        let name = &self.entries[weight.ids().start].name;
        let fit = fits(scaling.inputs, inputs) && fits(scaling.outputs, outputs);
        assert!(fit, "set_scaling: {scaling:?} for {name}, [{outputs}, {inputs}]");
        self.scalings.insert(weight.first, scaling);
    }

    /// Takes away the factors of a matrix. Their parameters stay in the table.
    pub fn take_scaling(&mut self, weight: Weight) -> Option<Scaling> {
        self.scalings.remove(&weight.first)
    }

    /// The factors of a parameter.
    #[must_use]
    pub fn scaling(&self, weight: Weight) -> Option<Scaling> {
        self.scalings.get(&weight.first).copied()
    }

    /// Whether a part of a weight has factors.
    #[must_use]
    pub fn has_scaling(&self, weight: Weight) -> bool {
        !self.scalings.is_empty()
            && self.entries[weight.ids()].iter().any(|part| self.scalings.contains_key(&part.weight.first))
    }
}
