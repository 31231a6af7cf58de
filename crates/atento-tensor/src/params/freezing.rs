//! Which parameters train: those that do not leave the arena for the buffers, or are frozen.

use super::handles::Place;
use super::{Arena, Frozen, ParamEntry, Params, Weight};

impl Params {
    /// Makes parameters buffers: they are part of the model, but not trained.
    ///
    /// # Panics
    /// If one of them is frozen.
    #[track_caller]
    pub fn make_buffers(&mut self, which: impl Fn(&ParamEntry) -> bool) {
        let moves = |entry: &ParamEntry| entry.is_trained() && which(entry);
        assert!(!self.entries.iter().any(|entry| entry.is_frozen() && which(entry)), "make_buffers: one is frozen");
        self.rebuild(moves, |params, index, values| {
            let start = params.buffers.extend(params.entries[index].weight.len(), params.is_outline);
            params.entries[index].place = Place::Buffer(start);
            if let Some(values) = values {
                params.buffers.values[start..start + values.len()].copy_from_slice(values);
            }
        });
    }

    /// Freezes parameters: from here on they have values that nothing trains, apart from the arena. Before any value was
    /// written they have none until [`set_frozen`](Self::set_frozen).
    pub fn freeze(&mut self, which: impl Fn(&ParamEntry) -> bool) {
        self.rebuild(
            |entry| entry.is_trained() && which(entry),
            |params, index, values| {
                let entry = &mut params.entries[index];
                entry.place = Place::Frozen;
                if let Some(values) = values {
                    params.frozen.insert(entry.weight.first, Frozen::F32(values.to_vec().into()));
                }
            },
        );
    }

    /// As [`freeze`](Self::freeze), but the values are forgotten: [`set_frozen`](Self::set_frozen) gives others.
    pub fn freeze_without_values(&mut self, which: impl Fn(&ParamEntry) -> bool) {
        let leaves = |entry: &ParamEntry| entry.is_trained() && which(entry);
        self.rebuild(leaves, |params, index, _| params.entries[index].place = Place::Frozen);
    }

    /// Takes trained parameters out of their arena and hands each over with its values, if any was written.
    fn rebuild(
        &mut self,
        leaves: impl Fn(&ParamEntry) -> bool,
        mut take: impl FnMut(&mut Self, usize, Option<&[f32]>),
    ) {
        let count =
            self.entries.iter().filter(|entry| entry.is_trained() && !leaves(entry)).map(|e| e.weight.len()).sum();
        if count == self.trained.len {
            return;
        }
        let has_values = self.has_values();
        let room = if self.is_outline { 0 } else { count };
        let old = std::mem::replace(&mut self.trained, Arena { values: vec![0.0; room], len: 0 });
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            let Place::Trained(from) = entry.place else { continue };
            let len = entry.weight.len();
            let values = has_values.then(|| &old.values[from..from + len]);
            if leaves(entry) {
                take(self, index, values);
                continue;
            }
            let start = self.trained.extend(len, self.is_outline);
            self.entries[index].place = Place::Trained(start);
            if let Some(values) = values {
                self.trained.values[start..start + len].copy_from_slice(values);
            }
        }
    }

    /// Copies exact values that lie in a file to memory of their own, so that the file is needed no more.
    pub fn own_frozen(&mut self) {
        self.frozen.values_mut().for_each(|values| {
            if let Some(owned) = values.owned() {
                *values = owned;
            }
        });
    }

    /// What a frozen parameter holds.
    #[must_use]
    pub fn frozen(&self, weight: Weight) -> Option<&Frozen> {
        self.frozen.get(&weight.first).filter(|_| weight.parts == 1)
    }

    /// Gives a frozen parameter its values.
    ///
    /// # Panics
    /// If the parameter is not frozen, or there are not as many values.
    #[track_caller]
    pub fn set_frozen(&mut self, weight: Weight, values: Frozen) {
        assert_eq!(weight.parts, 1, "set_frozen: {weight:?} is made of several parameters");
        assert!(self.entries[weight.ids().start].is_frozen(), "set_frozen: {weight:?} is not frozen");
        assert!(values.fits(weight), "set_frozen: {values:?} for {weight:?}");
        self.frozen.insert(weight.first, values);
    }
}
