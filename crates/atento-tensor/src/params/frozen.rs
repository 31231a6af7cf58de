//! What a frozen parameter holds: f32, f16, bf16, int8, four bits or llama.cpp's blocks, its own or read where it lies in a file.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use atento_kernels::compact::{BlockKind, Blocks, Compact, FourBits, Levels, row_sizes};
use half::{bf16, f16};

use super::Weight;
use crate::slice::Slice;

/// Numbers that nothing changes.
#[derive(Clone)]
pub enum Values<T> {
    /// In memory of their own.
    Owned(Arc<[T]>),
    /// Somewhere else, such as in a file mapped into memory.
    Elsewhere(Arc<dyn AsRef<[T]> + Send + Sync>),
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Values::Owned(values) => values,
            Values::Elsewhere(values) => (**values).as_ref(),
        }
    }
}

impl<T> From<Vec<T>> for Values<T> {
    fn from(values: Vec<T>) -> Self {
        Values::Owned(values.into())
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self, Values::Owned(_)) { "owned" } else { "elsewhere" };
        write!(f, "{} values, {place}", self.len())
    }
}

/// The values of a parameter that is not trained. In fewer bits than f32 it is a matrix `[outputs, inputs]`, whatever the
/// layout that its projection names.
#[derive(Clone, Debug)]
pub enum Frozen {
    /// As the parameter's dimensions say.
    F32(Values<f32>),
    /// Half floats.
    F16(Values<f16>),
    /// Brain floats.
    Bf16(Values<bf16>),
    /// Whole numbers, and the factor of each output.
    Int8 {
        /// `[outputs, inputs]`
        values: Values<i8>,
        /// `[outputs]`
        scales: Values<f32>,
    },
    /// Levels in four bits, as [`FourBits`] has them.
    Four {
        /// Two levels a byte.
        values: Values<u8>,
        /// The factor of each block.
        scales: Values<f32>,
        /// What the numbers stand for.
        levels: &'static Levels,
    },
    /// Blocks of llama.cpp's files, as [`Blocks`] has them.
    Blocks {
        /// Row by row.
        bytes: Values<u8>,
        /// What they are.
        kind: BlockKind,
        /// Rows of a head whose two halves lie in turn; 0 where rows lie in their order.
        paired: usize,
    },
}

impl Frozen {
    /// Whether there is a number for each value of `weight`, and of int8 a factor for each output.
    pub(super) fn fits(&self, weight: Weight) -> bool {
        match self {
            Frozen::F32(values) => values.len() == weight.len(),
            Frozen::F16(values) => values.len() == weight.len(),
            Frozen::Bf16(values) => values.len() == weight.len(),
            // The outputs are rows or columns, as the weight's layout has it.
            Frozen::Int8 { values, scales } => {
                values.len() == weight.len() && [weight.rows, weight.cols].contains(&scales.len())
            }
            Frozen::Four { values, scales, .. } => [(weight.rows, weight.cols), (weight.cols, weight.rows)]
                .into_iter()
                .any(|(outputs, inputs)| row_sizes(inputs).map(|size| size * outputs) == [values.len(), scales.len()]),
            Frozen::Blocks { bytes, kind, .. } => {
                let (elements, size) = kind.sizes();
                weight.len().is_multiple_of(elements) && bytes.len() == weight.len() / elements * size
            }
        }
    }

    /// The same in memory of its own, where it is exact and lies elsewhere.
    pub(super) fn owned(&self) -> Option<Self> {
        match self {
            Frozen::F32(Values::Elsewhere(values)) => Some(Frozen::F32((**values).as_ref().to_vec().into())),
            _ => None,
        }
    }

    /// The values, as an op reads them.
    pub(super) fn view(&self) -> View<'_> {
        match self {
            Frozen::F32(values) => View::Exact((**values).into()),
            Frozen::F16(values) => View::Compact(Compact::F16(values)),
            Frozen::Bf16(values) => View::Compact(Compact::Bf16(values)),
            Frozen::Int8 { values, scales } => View::Compact(Compact::Int8 { values, scales }),
            Frozen::Four { values, scales, levels } => {
                View::Compact(Compact::Four(FourBits { values, scales, levels }))
            }
            Frozen::Blocks { bytes, kind, paired } => {
                View::Compact(Compact::Blocks(Blocks { bytes, kind: *kind, paired: *paired }))
            }
        }
    }
}

/// The values of a weight, as an op reads them.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// As the parameter's dimensions say, row by row.
    Exact(Slice<'a>),
    /// A matrix `[outputs, inputs]` in fewer bits.
    Compact(Compact<'a>),
    /// Neighbours that do not lie side by side: each of the weight's [parts](crate::Params::parts) has a view of its own.
    Parts,
}
