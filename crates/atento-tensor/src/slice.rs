//! Typed views: a run of values with their dtype, read or written.
//!
//! Ops hand these to the device and look at no value themselves, so an op works for every dtype and device that its
//! kernels work for. [`Slice::f32`] and [`SliceMut::f32`] are for kernels, and for code that reads results.

use std::fmt;
use std::ops::Range;

use half::{bf16, f16};

/// How a value is held in memory. A frozen matrix may also be int8, which needs factors beside it: see
/// [`Frozen`](crate::Frozen).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// Half floats.
    F16,
    /// Brain floats.
    Bf16,
}

impl Dtype {
    /// Bytes of one value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
        })
    }
}

/// Values that are read.
#[derive(Clone, Copy)]
pub enum Slice<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Half floats.
    F16(&'a [f16]),
    /// Brain floats.
    Bf16(&'a [bf16]),
}

/// Values that are written.
pub enum SliceMut<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// Half floats.
    F16(&'a mut [f16]),
    /// Brain floats.
    Bf16(&'a mut [bf16]),
}

impl<'a> Slice<'a> {
    /// How the values are held.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Slice::F32(_) => Dtype::F32,
            Slice::F16(_) => Dtype::F16,
            Slice::Bf16(_) => Dtype::Bf16,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Slice::F32(values) => values.len(),
            Slice::F16(values) => values.len(),
            Slice::Bf16(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Some of the values.
    ///
    /// # Panics
    /// If the range reaches beyond them.
    #[must_use]
    #[track_caller]
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Slice::F32(values) => Slice::F32(&values[range]),
            Slice::F16(values) => Slice::F16(&values[range]),
            Slice::Bf16(values) => Slice::Bf16(&values[range]),
        }
    }

    /// The values, which are f32.
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    #[track_caller]
    pub fn f32(self) -> &'a [f32] {
        match self {
            Slice::F32(values) => values,
            other => panic!("expected f32, found {other:?}"),
        }
    }
}

impl<'a> SliceMut<'a> {
    /// The same values, read.
    #[must_use]
    pub fn as_slice(&self) -> Slice<'_> {
        match self {
            SliceMut::F32(values) => Slice::F32(values),
            SliceMut::F16(values) => Slice::F16(values),
            SliceMut::Bf16(values) => Slice::Bf16(values),
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the values.
    ///
    /// # Panics
    /// If the range reaches beyond them.
    #[must_use]
    #[track_caller]
    pub fn part(&mut self, range: Range<usize>) -> SliceMut<'_> {
        match self {
            SliceMut::F32(values) => SliceMut::F32(&mut values[range]),
            SliceMut::F16(values) => SliceMut::F16(&mut values[range]),
            SliceMut::Bf16(values) => SliceMut::Bf16(&mut values[range]),
        }
    }

    /// The values again, for a call that takes them.
    #[must_use]
    pub fn reborrow(&mut self) -> SliceMut<'_> {
        self.part(0..self.len())
    }

    /// The values, which are f32.
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    #[track_caller]
    pub fn f32(self) -> &'a mut [f32] {
        match self {
            SliceMut::F32(values) => values,
            other => panic!("expected f32, found {:?}", other.as_slice()),
        }
    }
}

impl<'a> From<&'a [f32]> for Slice<'a> {
    fn from(values: &'a [f32]) -> Self {
        Slice::F32(values)
    }
}

impl<'a> From<&'a mut [f32]> for SliceMut<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        SliceMut::F32(values)
    }
}

impl fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values of {}", self.len(), self.dtype())
    }
}

impl fmt::Debug for SliceMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}
