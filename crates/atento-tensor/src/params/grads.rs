//! Gradients of what trains.

use std::sync::Arc;

use super::{Params, Weight};
use crate::slice::SliceMut;

/// Gradients of [`Params`], value for value of the arena of what trains.
pub struct Grads {
    /// d loss / d value, same offsets as the arena.
    pub values: Vec<f32>,
    /// Where the gradient of each parameter begins; nowhere for one that is not trained.
    offsets: Arc<[Option<usize>]>,
}

impl Grads {
    /// Zero gradients for `params`.
    #[must_use]
    pub fn zeros(params: &Params) -> Self {
        let offsets = params.entries().iter().map(|entry| params.offset(entry.weight)).collect();
        Self { values: vec![0.0; params.trainable_count()], offsets }
    }

    /// Whether these are gradients of the same parameters, of which the same are trained.
    pub(crate) fn belong_to(&self, params: &Params) -> bool {
        let entries = params.entries();
        self.values.len() == params.trainable_count()
            && self.offsets.len() == entries.len()
            && entries.iter().zip(&*self.offsets).all(|(entry, offset)| params.offset(entry.weight) == *offset)
    }

    /// The gradient of one parameter, or of neighbours read as one.
    ///
    /// # Panics
    /// If it is not trained, or not all of the neighbours are.
    #[must_use]
    #[track_caller]
    pub fn get(&self, weight: Weight) -> &[f32] {
        let start = self.offset(weight).unwrap_or_else(|| panic!("get: {weight:?} is not trained and has no gradient"));
        &self.values[start..start + weight.len()]
    }

    /// The gradient of a parameter, to accumulate into; `None` for one that is not trained.
    ///
    /// # Panics
    /// If of neighbours read as one some are trained and some are not.
    #[track_caller]
    pub fn find_mut(&mut self, weight: Weight) -> Option<&mut [f32]> {
        let start = self.offset(weight)?;
        Some(&mut self.values[start..start + weight.len()])
    }

    /// [`find_mut`](Self::find_mut) for kernels.
    #[track_caller]
    pub(crate) fn slice_mut(&mut self, weight: Weight) -> Option<SliceMut<'_>> {
        self.find_mut(weight).map(SliceMut::from)
    }

    /// Two gradients at once, of different parameters; `None` for one that is not trained.
    pub(crate) fn find_pair_mut(&mut self, [first, second]: [Weight; 2]) -> [Option<&mut [f32]>; 2] {
        let range = |weight: Weight, start: usize| start..start + weight.len();
        match (self.offset(first), self.offset(second)) {
            (Some(one), Some(other)) => {
                let ranges = [range(first, one), range(second, other)];
                self.values.get_disjoint_mut(ranges).expect("parameters do not overlap").map(Some)
            }
            (Some(one), None) => [Some(&mut self.values[range(first, one)]), None],
            (None, Some(other)) => [None, Some(&mut self.values[range(second, other)])],
            (None, None) => [None, None],
        }
    }

    #[track_caller]
    fn offset(&self, weight: Weight) -> Option<usize> {
        let offsets = &self.offsets[weight.ids()];
        let trained = offsets.iter().flatten().count();
        assert!(
            trained == 0 || trained == offsets.len(),
            "gradients: some parts of {weight:?} are trained, some are not"
        );
        // Neighbours that are all trained lie side by side.
        offsets[0]
    }
}
