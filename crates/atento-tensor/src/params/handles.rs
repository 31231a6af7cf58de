//! What a layer holds of a parameter, and a row of the table.

use std::ops::Range;

use atento_kernels::linear::WeightLayout;

/// The number of a parameter in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(super) u32);

/// A parameter, or neighbours read as one matrix: a small copyable handle that layers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The first parameter.
    pub(super) first: ParamId,
    /// How many parameters it is made of.
    pub(super) parts: u32,
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

    /// Places in the table.
    pub(super) fn ids(&self) -> Range<usize> {
        let first = self.first.0 as usize;
        first..first + self.parts as usize
    }
}

/// Where the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the arena of what trains, from this value on.
    Trained(usize),
    /// In the arena of buffers, from this value on.
    Buffer(usize),
    /// Among the frozen ones.
    Frozen,
}

/// One row of the parameter table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamEntry {
    /// Dotted module path, e.g. `encoder.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Dimensions as stored in files.
    pub dims: Vec<usize>,
    /// Its handle.
    pub weight: Weight,
    /// Whether weight decay applies: true for matrices, false for biases and norms.
    pub decay: bool,
    /// How it lies, if it is a matrix that rows are multiplied by or looked up in: only such may be held in fewer bits.
    pub layout: Option<WeightLayout>,
    /// Whether it was added to a model that was whole without it, as those of adapters are: no file of the model has it.
    pub is_added: bool,
    pub(super) place: Place,
}

impl ParamEntry {
    /// Whether training changes it.
    #[must_use]
    pub fn is_trained(&self) -> bool {
        matches!(self.place, Place::Trained(_))
    }

    /// Whether it is frozen, which a buffer is not: that could not be trained.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.place == Place::Frozen
    }
}
