//! The parameter arena.
//!
//! All parameters of a model live in one `Vec<f32>`, gradients and optimiser moments in vectors of the same length.
//! One pass updates everything, one pass measures the gradient norm, one write saves a checkpoint. Tensors that are
//! added one after the other are neighbours, so a group of projections can be multiplied as one matrix
//! ([`Params::fused`]) while each keeps its own name in files.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use atento_kernels::compact::Compact;
use atento_kernels::philox::Rng;
use half::bf16;

/// Where a parameter lies in the arena: a small copyable handle that layers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// First value in the arena.
    pub offset: usize,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Weight {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether the parameter holds no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values' place in the arena.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// One row of the parameter table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamEntry {
    /// Dotted module path, e.g. `encoder.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Dimensions as stored in files.
    pub dims: Vec<usize>,
    /// Place in the arena.
    pub weight: Weight,
    /// Whether weight decay applies: true for matrices, false for biases and norms.
    pub decay: bool,
    /// Whether training changes it.
    pub trainable: bool,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones (norm gains).
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform in ±bound.
    Uniform(f32),
    /// Uniform in ±sqrt(6 / (rows + cols)) (Glorot & Bengio 2010, eq. 16).
    Xavier,
}

/// The parameters of a model: one arena and its table.
#[derive(Clone, Default)]
pub struct Params {
    /// Zero beyond `count`.
    values: Vec<f32>,
    count: usize,
    entries: Vec<ParamEntry>,
    index: HashMap<String, usize>,
    /// By the offset of their weight; no two overlap.
    held: BTreeMap<usize, (Weight, Held)>,
    /// Whether there is the table alone, and no value.
    is_outline: bool,
}

/// A matrix held in fewer bits than the arena's, for inference: `[outputs, inputs]`, whatever its layout in the arena.
#[derive(Clone, Debug)]
pub enum Held {
    /// Brain floats.
    Bf16(Vec<bf16>),
    /// Whole numbers, and the factor of each output.
    Int8 {
        /// `[outputs, inputs]`
        values: Vec<i8>,
        /// `[outputs]`
        scales: Vec<f32>,
    },
}

impl Held {
    /// Whether there is a number for each value of `weight`, and of int8 a factor for each output.
    fn fits(&self, weight: Weight) -> bool {
        match self {
            Held::Bf16(values) => values.len() == weight.len(),
            // The outputs are rows or columns, as the weight's layout has it.
            Held::Int8 { values, scales } => {
                values.len() == weight.len() && [weight.rows, weight.cols].contains(&scales.len())
            }
        }
    }
}

/// Gradients of [`Params`], value for value.
pub struct Grads {
    /// d loss / d value, same offsets as the arena.
    pub values: Vec<f32>,
}

impl Params {
    /// An empty arena.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty arena with room for `count` values. Their memory is not touched before they are written.
    #[must_use]
    pub fn with_room(count: usize) -> Self {
        Self { values: vec![0.0; count], ..Self::default() }
    }

    /// The table alone: parameters have names, dimensions and places, but no values. It takes no memory to speak of,
    /// whatever the size of the model.
    ///
    /// Reading or writing a value panics.
    #[must_use]
    pub fn outline() -> Self {
        Self { is_outline: true, ..Self::default() }
    }

    /// Whether this is an [`outline`](Self::outline).
    #[must_use]
    pub fn is_outline(&self) -> bool {
        self.is_outline
    }

    /// Adds a parameter of one or two dimensions, initialised from `rng`.
    ///
    /// # Panics
    /// If the name is taken or `dims` is not a vector's or a matrix's.
    #[track_caller]
    pub fn add(&mut self, name: &str, dims: &[usize], init: Init, rng: &mut Rng) -> Weight {
        let (rows, cols) = match *dims {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => panic!("parameter {name}: dims {dims:?} are neither a vector's nor a matrix's"),
        };
        let weight = Weight { offset: self.count, rows, cols };
        let previous = self.index.insert(name.to_owned(), self.entries.len());
        assert!(previous.is_none(), "parameter {name} is added twice");
        self.count = weight.range().end;
        if !self.is_outline {
            if self.count > self.values.len() {
                self.values.resize(self.count, 0.0);
            }
            initialise(&mut self.values[weight.range()], rows, cols, init, rng);
        }
        let decay = dims.len() == 2;
        self.entries.push(ParamEntry { name: name.to_owned(), dims: dims.to_vec(), weight, decay, trainable: true });
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
        let mut end = first.offset;
        for part in parts {
            assert_eq!(part.offset, end, "fused: parameters are not neighbours: {parts:?}");
            assert!(part.cols == first.cols || first.rows == 1, "fused: widths differ: {parts:?}");
            end = part.range().end;
        }
        let len = end - first.offset;
        match first.rows {
            1 => Weight { offset: first.offset, rows: 1, cols: len },
            _ => Weight { offset: first.offset, rows: len / first.cols, cols: first.cols },
        }
    }

    /// Holds a matrix in fewer bits. Its place in the arena is not read any more, and while it was never written takes no
    /// memory. Neighbours that are read as one matrix ([`Params::fused`]) are held as one.
    ///
    /// # Panics
    /// If `held` has another number of values, or a part of the matrix, or more than it, is held already.
    #[track_caller]
    pub fn hold(&mut self, weight: Weight, held: Held) {
        assert!(held.fits(weight), "hold: numbers for {weight:?}");
        let _ = self.held(weight);
        self.held.insert(weight.offset, (weight, held));
    }

    /// The matrix as it is held in fewer bits, where it is.
    ///
    /// # Panics
    /// If a part of it, or more than it, is held: what lies there is not this matrix.
    #[must_use]
    #[track_caller]
    pub fn held(&self, weight: Weight) -> Option<Compact<'_>> {
        let (of, held) = self.held_within(weight)?;
        assert_eq!(weight, of, "held: a matrix is read in another shape than it is held in");
        Some(match held {
            Held::Bf16(values) => Compact::Bf16(values),
            Held::Int8 { values, scales } => Compact::Int8 { values, scales },
        })
    }

    /// The last matrix held in fewer bits that shares values with `weight`.
    fn held_within(&self, weight: Weight) -> Option<(Weight, &Held)> {
        let Range { start, end } = weight.range();
        let (_, (of, held)) = self.held.range(..end).next_back()?;
        (of.range().end > start).then_some((*of, held))
    }

    /// The values of one parameter.
    ///
    /// # Panics
    /// If some of them are held in fewer bits.
    #[must_use]
    #[track_caller]
    pub fn get(&self, weight: Weight) -> &[f32] {
        assert!(self.held_within(weight).is_none(), "get: {weight:?} is held in fewer bits");
        &self.values[weight.range()]
    }

    /// The values of one parameter, for loading.
    ///
    /// # Panics
    /// If some of them are held in fewer bits.
    #[track_caller]
    pub fn get_mut(&mut self, weight: Weight) -> &mut [f32] {
        assert!(self.held_within(weight).is_none(), "get_mut: {weight:?} is held in fewer bits");
        &mut self.values[weight.range()]
    }

    /// The entry of that name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&ParamEntry> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// All entries in arena order.
    #[must_use]
    pub fn entries(&self) -> &[ParamEntry] {
        &self.entries
    }

    /// The entry whose values include arena position `position`.
    #[must_use]
    pub fn entry_at(&self, position: usize) -> Option<&ParamEntry> {
        self.entries.iter().find(|e| e.weight.range().contains(&position))
    }

    /// Every value of the arena.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values[..self.count]
    }

    /// Every value of the arena, for the optimiser and for checkpoints.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.count]
    }

    /// The number of parameters.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of parameters that training changes.
    #[must_use]
    pub fn trainable_count(&self) -> usize {
        self.entries.iter().filter(|e| e.trainable).map(|e| e.weight.len()).sum()
    }

    /// Marks a parameter as trained or frozen.
    ///
    /// # Panics
    /// If there is no parameter of that name.
    #[track_caller]
    pub fn set_trainable(&mut self, name: &str, trainable: bool) {
        let index = *self.index.get(name).unwrap_or_else(|| panic!("no parameter {name}"));
        self.entries[index].trainable = trainable;
    }

    /// Neighbouring trainable parameters of the same decay group, as few arena ranges as possible.
    #[must_use]
    pub fn update_groups(&self) -> Vec<(Range<usize>, bool)> {
        let mut groups: Vec<(Range<usize>, bool)> = Vec::new();
        for entry in self.entries.iter().filter(|e| e.trainable) {
            let range = entry.weight.range();
            match groups.last_mut() {
                Some((last, decay)) if last.end == range.start && *decay == entry.decay => last.end = range.end,
                _ => groups.push((range, entry.decay)),
            }
        }
        groups
    }
}

impl Grads {
    /// Zero gradients for `params`.
    #[must_use]
    pub fn zeros(params: &Params) -> Self {
        Self { values: vec![0.0; params.count()] }
    }

    /// The gradient of one parameter.
    #[must_use]
    pub fn get(&self, weight: Weight) -> &[f32] {
        &self.values[weight.range()]
    }

    /// The gradient of one parameter, to accumulate into.
    pub fn get_mut(&mut self, weight: Weight) -> &mut [f32] {
        &mut self.values[weight.range()]
    }
}

fn initialise(values: &mut [f32], rows: usize, cols: usize, init: Init, rng: &mut Rng) {
    let mut fill_uniform = |bound: f32| values.iter_mut().for_each(|v| *v = (2.0 * rng.uniform() - 1.0) * bound);
    match init {
        // As the arena's room is.
        Init::Zeros => {}
        Init::Ones => values.fill(1.0),
        Init::Normal(std) => values.iter_mut().for_each(|v| *v = rng.normal() * std),
        Init::Uniform(bound) => fill_uniform(bound),
        Init::Xavier => fill_uniform((6.0 / (rows + cols) as f32).sqrt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Rng {
        Rng::new(1, 2)
    }

    #[test]
    fn an_outline_of_any_size_has_the_table_and_no_values() {
        let (mut outline, rng) = (Params::outline(), &mut Rng::new(1, 0));
        let first = outline.add("a", &[1 << 20, 1 << 20], Init::Xavier, rng);
        let second = outline.add("b", &[7], Init::Ones, rng);
        assert_eq!((first.offset, second.offset, outline.count()), (0, 1 << 40, (1 << 40) + 7));
        assert_eq!(outline.entries()[0].dims, [1 << 20, 1 << 20]);
        assert_eq!(outline.trainable_count(), outline.count());
    }

    #[test]
    fn neighbours_fuse_into_one_matrix() {
        let mut params = Params::new();
        let mut rng = rng();
        let q = params.add("q", &[4, 3], Init::Xavier, &mut rng);
        let k = params.add("k", &[2, 3], Init::Xavier, &mut rng);
        let fused = params.fused(&[q, k]);
        assert_eq!((fused.rows, fused.cols, fused.offset), (6, 3, 0));
        assert_eq!(params.get(fused)[12..], *params.get(k));
    }

    #[test]
    fn room_beyond_the_parameters_is_not_theirs() {
        let mut params = Params::with_room(5);
        params.add("a", &[3], Init::Ones, &mut rng());
        assert_eq!((params.count(), params.values()), (3, &[1.0; 3][..]));
        params.add("b", &[3], Init::Zeros, &mut rng());
        assert_eq!(params.values_mut(), [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "not neighbours")]
    fn strangers_do_not_fuse() {
        let mut params = Params::new();
        let mut rng = rng();
        let q = params.add("q", &[4, 3], Init::Zeros, &mut rng);
        params.add("x", &[1], Init::Zeros, &mut rng);
        let k = params.add("k", &[4, 3], Init::Zeros, &mut rng);
        let _ = params.fused(&[q, k]);
    }

    /// q and k, three rows of two, and what int8 and bf16 hold of rows: row number r is all r.
    fn held_pair() -> (Params, [Weight; 2], Weight) {
        let (mut params, mut rng) = (Params::new(), rng());
        let q = params.add("q", &[3, 2], Init::Ones, &mut rng);
        let k = params.add("k", &[3, 2], Init::Ones, &mut rng);
        let fused = params.fused(&[q, k]);
        (params, [q, k], fused)
    }

    fn kinds(rows: Range<usize>) -> [Held; 2] {
        let values = rows.clone().flat_map(|row| [row as i8; 2]);
        [
            Held::Bf16(values.clone().map(|value| bf16::from_f32(f32::from(value))).collect()),
            Held::Int8 { values: values.collect(), scales: vec![1.0; rows.len()] },
        ]
    }

    #[test]
    fn a_fused_projection_that_is_held_is_read_whole() {
        for held in kinds(0..6) {
            let (mut params, _, fused) = held_pair();
            params.hold(fused, held);
            let mut out = [0.0; 6];
            params.held(fused).unwrap().forward(1, &[1.0, 1.0], &mut out);
            assert_eq!(out, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        }
    }

    #[test]
    fn what_is_held_is_never_taken_for_a_part_of_it_or_for_more() {
        let panics = |f: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
        let refuses = |params: &Params, weight: Weight| {
            let read = panics(&|| assert!(params.get(weight).len() == weight.len()));
            let written = panics(&|| params.clone().get_mut(weight).fill(0.0));
            read && written && panics(&|| assert!(params.held(weight).is_none()))
        };
        for kind in 0..2 {
            let [whole, first, second] = [0..6, 0..3, 3..6].map(|rows| kinds(rows)[kind].clone());
            let (mut together, [q, k], fused) = held_pair();
            let mut apart = together.clone();
            together.hold(fused, whole.clone());
            apart.hold(q, first);
            assert!(apart.held(k).is_none() && apart.get(k) == [1.0; 6], "k is not held");
            assert!(refuses(&apart, fused), "q is held");
            apart.hold(k, second);
            assert!(apart.held(q).is_some() && apart.held(k).is_some());
            assert!(refuses(&apart, fused), "q and k are held");
            assert!(panics(&|| apart.clone().hold(fused, whole.clone())));
            for part in [q, k] {
                let first = kinds(0..3)[kind].clone();
                assert!(refuses(&together, part) && panics(&|| together.clone().hold(part, first.clone())));
            }
        }
    }

    #[test]
    fn update_groups_skip_frozen_and_split_by_decay() {
        let mut params = Params::new();
        let mut rng = rng();
        for (name, dims) in [("a", vec![2, 2]), ("b", vec![2, 2]), ("c", vec![3]), ("d", vec![2, 2])] {
            params.add(name, &dims, Init::Ones, &mut rng);
        }
        assert_eq!(params.update_groups(), [(0..8, true), (8..11, false), (11..15, true)]);
        params.set_trainable("a", false);
        assert_eq!(params.update_groups(), [(4..8, true), (8..11, false), (11..15, true)]);
        assert_eq!(params.trainable_count(), 11);
    }
}
