//! The parameters of a model: a table, and where the values of each one lie.
//!
//! A parameter is an id into the table; layers hold a [`Weight`], an id with a shape. Its values lie in one of three places:
//!
//! ```text
//! trained   one f32 arena; gradients, moments and averages are vectors of exactly its length
//! buffers   one small f32 arena: part of the model, but never trained; a checkpoint of a run holds them too
//! frozen    each apart, its own or read where it lies in a file, in f32, f16, bf16 or int8; no gradient, no moments
//! ```
//!
//! One pass updates everything that trains, one pass measures the gradient norm, one write saves it. Parameters that are
//! added one after the other are neighbours, so a group of projections can be multiplied as one matrix ([`Params::fused`])
//! while each keeps its own name in files.

mod bottleneck;
mod freezing;
mod frozen;
mod grads;
mod handles;
mod init;
mod low_rank;
mod scaling;
mod tables;
#[cfg(test)]
mod tests;
mod virtual_tokens;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use atento_kernels::compact::Compact;
use atento_kernels::linear::WeightLayout;
use atento_kernels::philox::Rng;

pub use bottleneck::Bottleneck;
pub use frozen::{Frozen, Values, View};
pub use grads::Grads;
pub use handles::{ParamEntry, ParamId, Weight};
pub use init::Init;
pub use low_rank::{LowRank, Magnitude, Placed};
pub use scaling::Scaling;
pub use tables::{LookupPair, ReplacedRows};
pub use virtual_tokens::VirtualTokens;

use handles::Place;

use crate::slice::Slice;

/// The parameters of a model.
#[derive(Clone, Default)]
pub struct Params {
    entries: Vec<ParamEntry>,
    index: HashMap<String, ParamId>,
    trained: Arena,
    buffers: Arena,
    /// A parameter that is frozen and not here has no values yet.
    frozen: BTreeMap<ParamId, Frozen>,
    /// What is added to matrices in products.
    low_ranks: BTreeMap<ParamId, Vec<LowRank>>,
    /// What is added to rows of tables when they are looked up.
    lookup_pairs: BTreeMap<ParamId, LookupPair>,
    /// What stands in the place of rows of tables.
    replaced_rows: BTreeMap<ParamId, ReplacedRows>,
    /// Factors on what matrices take and give in products.
    scalings: BTreeMap<ParamId, Scaling>,
    /// Small layers behind matrices.
    bottlenecks: BTreeMap<ParamId, Bottleneck>,
    /// What stands before every text.
    virtual_tokens: Option<VirtualTokens>,
    /// Whether there is the table alone, and no value.
    is_outline: bool,
    /// Whether no value was written yet: their memory is untouched.
    is_blank: bool,
}

/// Values one after the other.
#[derive(Clone, Default)]
struct Arena {
    /// Zero beyond `len`.
    values: Vec<f32>,
    len: usize,
}

impl Arena {
    /// Makes place for `count` more values; returns where they begin.
    fn extend(&mut self, count: usize, is_outline: bool) -> usize {
        let start = self.len;
        self.len += count;
        if !is_outline && self.len > self.values.len() {
            self.values.resize(self.len, 0.0);
        }
        start
    }
}

impl Params {
    /// Without a parameter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Without a parameter, but with room for `count` values. Their memory is not touched before they are written.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        Self { trained: Arena { values: vec![0.0; count], len: 0 }, ..Self::new() }
    }

    /// Without a parameter; those that are added, of `count` values in all, get theirs later, however they are to start.
    /// Until then all are zero, and their memory is not touched.
    #[must_use]
    pub fn unloaded(count: usize) -> Self {
        Self { is_blank: true, ..Self::with_room(count) }
    }

    /// Ends what [`unloaded`](Self::unloaded) says: parameters that are added from here on start as they are to. Those before
    /// keep their zeros until they are loaded.
    pub fn start_values(&mut self) {
        self.is_blank = false;
    }

    /// The table alone: parameters have names, dimensions and places, but no values. It takes no memory to speak of,
    /// whatever the size of the model.
    ///
    /// Reading or writing a value panics.
    #[must_use]
    pub fn outline() -> Self {
        Self { is_outline: true, ..Self::new() }
    }

    /// Whether this is an [`outline`](Self::outline).
    #[must_use]
    pub fn is_outline(&self) -> bool {
        self.is_outline
    }

    /// Whether there are values: not in an [`outline`](Self::outline), and not yet in what is [unloaded](Self::unloaded).
    #[must_use]
    pub fn has_values(&self) -> bool {
        !self.is_outline && !self.is_blank
    }

    /// Adds a parameter of one or two dimensions, initialised from `rng`.
    ///
    /// # Panics
    /// If the name is taken or `dims` is not a vector's or a matrix's.
    #[track_caller]
    pub fn add(&mut self, name: &str, dims: &[usize], init: Init, rng: &mut Rng) -> Weight {
        self.add_entry(name, dims, None, init, rng)
    }

    /// Adds a matrix that rows are multiplied by or looked up in, lying as `layout` says.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn add_matrix(
        &mut self,
        name: &str,
        shape: [usize; 2],
        layout: WeightLayout,
        init: Init,
        rng: &mut Rng,
    ) -> Weight {
        self.add_entry(name, &shape, Some(layout), init, rng)
    }

    #[track_caller]
    fn add_entry(
        &mut self,
        name: &str,
        dims: &[usize],
        layout: Option<WeightLayout>,
        init: Init,
        rng: &mut Rng,
    ) -> Weight {
        let (rows, cols) = match *dims {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => panic!("parameter {name}: dims {dims:?} are neither a vector's nor a matrix's"),
        };
        let id = ParamId(u32::try_from(self.entries.len()).expect("a table of less than 2³² parameters"));
        let weight = Weight { first: id, parts: 1, rows, cols };
        let previous = self.index.insert(name.to_owned(), id);
        assert!(previous.is_none(), "parameter {name} is added twice");
        let start = self.trained.extend(weight.len(), self.is_outline);
        if self.has_values() {
            init.write(&mut self.trained.values[start..start + weight.len()], rows, cols, rng);
        }
        let (decay, place) = (dims.len() == 2, Place::Trained(start));
        let (name, dims) = (name.to_owned(), dims.to_vec());
        self.entries.push(ParamEntry { name, dims, weight, decay, layout, is_added: false, place });
        weight
    }

    /// Adds a parameter that trains to a model that was whole without it.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    #[track_caller]
    pub fn add_trained(&mut self, name: &str, dims: &[usize], init: Init, rng: &mut Rng) -> Weight {
        let weight = self.add_entry(name, dims, None, init, rng);
        self.entries[weight.ids().start].is_added = true;
        weight
    }

    /// Adds a frozen parameter of one or two dimensions to a model that was whole without it.
    ///
    /// # Panics
    /// If the name is taken, `dims` is not a vector's or a matrix's, or there are not as many values.
    #[track_caller]
    pub fn add_frozen(&mut self, name: &str, dims: &[usize], values: Frozen) -> Weight {
        let (rows, cols) = match *dims {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => panic!("parameter {name}: dims {dims:?} are neither a vector's nor a matrix's"),
        };
        let id = ParamId(u32::try_from(self.entries.len()).expect("a table of less than 2³² parameters"));
        let weight = Weight { first: id, parts: 1, rows, cols };
        assert!(values.fits(weight), "add_frozen: {values:?} for {name} {dims:?}");
        assert!(self.index.insert(name.to_owned(), id).is_none(), "parameter {name} is added twice");
        let (name, dims, decay, place) = (name.to_owned(), dims.to_vec(), dims.len() == 2, Place::Frozen);
        self.entries.push(ParamEntry { name, dims, weight, decay, layout: None, is_added: true, place });
        self.frozen.insert(id, values);
        weight
    }

    /// One handle over neighbours of equal width, stacked by rows; vectors are joined end to end.
    ///
    /// # Panics
    /// If they are not adjacent in the given order, or their widths differ.
    #[must_use]
    #[track_caller]
    pub fn fused(&self, parts: &[Weight]) -> Weight {
        let first = parts[0];
        let (mut end, mut len) = (first.ids().start, 0);
        for part in parts {
            assert_eq!(part.ids().start, end, "fused: parameters are not neighbours: {parts:?}");
            assert!(part.cols == first.cols || first.rows == 1, "fused: widths differ: {parts:?}");
            end = part.ids().end;
            len += part.len();
        }
        let (rows, cols) = if first.rows == 1 { (1, len) } else { (len / first.cols, first.cols) };
        Weight { first: first.first, parts: parts.iter().map(|part| part.parts).sum(), rows, cols }
    }

    /// The parameters that a weight is made of, in their order.
    pub fn parts(&self, weight: Weight) -> impl ExactSizeIterator<Item = Weight> + use<> {
        let parts: Vec<Weight> = self.entries[weight.ids()].iter().map(|entry| entry.weight).collect();
        parts.into_iter()
    }

    /// The values of a weight, as an op reads them.
    ///
    /// # Panics
    /// If a frozen parameter has no values yet.
    #[must_use]
    #[track_caller]
    pub fn view(&self, weight: Weight) -> View<'_> {
        if let Some((arena, start)) = self.stretch(weight) {
            return View::Exact(arena.values[start..start + weight.len()].into());
        }
        if weight.parts > 1 {
            return View::Parts;
        }
        let frozen = self.frozen.get(&weight.first);
        let name = || &self.entries[weight.ids().start].name;
        frozen.unwrap_or_else(|| panic!("view: {} is frozen and has no values yet", name())).view()
    }

    /// The arena in which all parts of a weight lie side by side, and where they begin.
    fn stretch(&self, weight: Weight) -> Option<(&Arena, usize)> {
        let mut entries = self.entries[weight.ids()].iter();
        let (arena, start) = match entries.next()?.place {
            Place::Trained(start) => (&self.trained, start),
            Place::Buffer(start) => (&self.buffers, start),
            Place::Frozen => return None,
        };
        // What is all in one arena lies in the order of the table.
        let is_there = |entry: &ParamEntry| match entry.place {
            Place::Trained(_) => std::ptr::eq(arena, &self.trained),
            Place::Buffer(_) => std::ptr::eq(arena, &self.buffers),
            Place::Frozen => false,
        };
        entries.all(is_there).then_some((arena, start))
    }

    /// The values of one parameter, which is held in f32.
    ///
    /// # Panics
    /// If it is held in fewer bits, or its parts do not lie side by side.
    #[must_use]
    #[track_caller]
    pub fn get(&self, weight: Weight) -> &[f32] {
        match self.view(weight) {
            View::Exact(values) => values.f32(),
            other => panic!("get: {weight:?} is {other:?}, expected f32 in one piece"),
        }
    }

    /// [`get`](Self::get) for kernels.
    #[track_caller]
    pub(crate) fn slice(&self, weight: Weight) -> Slice<'_> {
        match self.view(weight) {
            View::Exact(values) => values,
            other => panic!("slice: {weight:?} is {other:?}, expected one piece"),
        }
    }

    /// The values of one parameter as f32, row by row as its dimensions say; those of a matrix in half precision are widened.
    ///
    /// # Panics
    /// If it is held in int8 or four bits, or its parts do not lie side by side.
    #[must_use]
    #[track_caller]
    pub fn to_f32(&self, weight: Weight) -> Cow<'_, [f32]> {
        match self.view(weight) {
            View::Exact(values) => Cow::Borrowed(values.f32()),
            View::Compact(compact @ (Compact::F16(_) | Compact::Bf16(_))) => {
                let mut wide = vec![0.0; weight.len()];
                let rows = wide.chunks_exact_mut(weight.cols).enumerate();
                rows.for_each(|(row, values)| compact.widen_row(row, 1.0, values));
                Cow::Owned(wide)
            }
            View::Compact(_) | View::Parts => panic!("to_f32: {weight:?} is in too few bits, or in parts"),
        }
    }

    /// The values of one parameter, for loading.
    ///
    /// # Panics
    /// If it is frozen.
    #[track_caller]
    pub fn get_mut(&mut self, weight: Weight) -> &mut [f32] {
        let entries = &self.entries[weight.ids()];
        let (arena, start) = match entries[0].place {
            Place::Trained(start) => (&mut self.trained, start),
            Place::Buffer(start) => (&mut self.buffers, start),
            Place::Frozen => panic!("get_mut: {} is frozen", entries[0].name),
        };
        let same =
            |entry: &ParamEntry| std::mem::discriminant(&entry.place) == std::mem::discriminant(&entries[0].place);
        assert!(entries.iter().all(same), "get_mut: {weight:?} does not lie in one piece");
        self.is_blank = false;
        &mut arena.values[start..start + weight.len()]
    }

    /// Where the values of a trained parameter begin in the arena.
    fn offset(&self, weight: Weight) -> Option<usize> {
        match self.entries[weight.ids().start].place {
            Place::Trained(start) => Some(start),
            _ => None,
        }
    }

    /// Whether a part of one of these is trained.
    #[must_use]
    pub fn is_any_trained(&self, weights: &[Weight]) -> bool {
        weights.iter().any(|weight| self.entries[weight.ids()].iter().any(ParamEntry::is_trained))
    }

    /// The entry of that name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&ParamEntry> {
        self.index.get(name).map(|id| &self.entries[id.0 as usize])
    }

    /// All entries in the order in which they were added.
    #[must_use]
    pub fn entries(&self) -> &[ParamEntry] {
        &self.entries
    }

    /// The entry whose values include position `position` of the arena of what trains.
    #[must_use]
    pub fn entry_at(&self, position: usize) -> Option<&ParamEntry> {
        self.entries.iter().find(|entry| {
            self.offset(entry.weight).is_some_and(|start| (start..start + entry.weight.len()).contains(&position))
        })
    }

    /// Every value that trains.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.trained.values[..self.trained.len]
    }

    /// Every value that trains, for the optimiser and for checkpoints.
    pub fn values_mut(&mut self) -> &mut [f32] {
        self.is_blank = false;
        &mut self.trained.values[..self.trained.len]
    }

    /// Every value of a buffer.
    #[must_use]
    pub fn buffers(&self) -> &[f32] {
        &self.buffers.values[..self.buffers.len]
    }

    /// Every value of a buffer, for checkpoints.
    pub fn buffers_mut(&mut self) -> &mut [f32] {
        self.is_blank = false;
        &mut self.buffers.values[..self.buffers.len]
    }

    /// The number of parameters, counted value by value, trained or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.iter().map(|entry| entry.weight.len()).sum()
    }

    /// The number of parameters that training changes.
    #[must_use]
    pub fn trainable_count(&self) -> usize {
        self.trained.len
    }

    /// Neighbouring trained parameters of the same group, as few ranges of the arena as possible; `group` says which one a
    /// parameter is of.
    #[must_use]
    pub fn update_groups<G: PartialEq>(&self, group: impl Fn(&ParamEntry) -> G) -> Vec<(Range<usize>, G)> {
        let mut groups: Vec<(Range<usize>, G)> = Vec::new();
        for entry in &self.entries {
            let Some(start) = self.offset(entry.weight) else { continue };
            let (end, own) = (start + entry.weight.len(), group(entry));
            match groups.last_mut() {
                Some((last, group)) if *group == own => last.end = end,
                _ => groups.push((start..end, own)),
            }
        }
        groups
    }
}
