//! Memory on loan from a [`Pool`]: bytes with a dtype, seen through typed views.

use std::ops::Range;

use crate::pool::{Memory, Pool};
use crate::slice::{Dtype, Slice, SliceMut};

/// Values of one dtype on loan from a [`Pool`]; dropping them gives the memory back.
pub struct Buffer {
    pub(crate) memory: Memory,
    pub(crate) dtype: Dtype,
    pub(crate) len: usize,
    pub(crate) pool: Pool,
}

impl Buffer {
    /// How the values are held.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values, read.
    #[must_use]
    pub fn slice(&self) -> Slice<'_> {
        let words = self.memory.words();
        match self.dtype {
            Dtype::F32 => Slice::F32(&words[..self.len]),
            Dtype::F16 => Slice::F16(&bytemuck::cast_slice(words)[..self.len]),
            Dtype::Bf16 => Slice::Bf16(&bytemuck::cast_slice(words)[..self.len]),
        }
    }

    /// The values, written.
    #[must_use]
    pub fn slice_mut(&mut self) -> SliceMut<'_> {
        let words = self.memory.words_mut();
        match self.dtype {
            Dtype::F32 => SliceMut::F32(&mut words[..self.len]),
            Dtype::F16 => SliceMut::F16(&mut bytemuck::cast_slice_mut(words)[..self.len]),
            Dtype::Bf16 => SliceMut::Bf16(&mut bytemuck::cast_slice_mut(words)[..self.len]),
        }
    }

    /// Some of the values, read.
    ///
    /// # Panics
    /// If the range reaches beyond them.
    #[must_use]
    #[track_caller]
    pub fn part(&self, range: Range<usize>) -> Slice<'_> {
        self.slice().part(range)
    }

    /// Some of the values, written.
    ///
    /// # Panics
    /// If the range reaches beyond them.
    #[must_use]
    #[track_caller]
    pub fn part_mut(&mut self, range: Range<usize>) -> SliceMut<'_> {
        match self.slice_mut() {
            SliceMut::F32(values) => SliceMut::F32(&mut values[range]),
            SliceMut::F16(values) => SliceMut::F16(&mut values[range]),
            SliceMut::Bf16(values) => SliceMut::Bf16(&mut values[range]),
        }
    }

    /// The values, which are f32.
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    #[track_caller]
    pub fn f32(&self) -> &[f32] {
        self.slice().f32()
    }

    /// The values, which are f32.
    ///
    /// # Panics
    /// If they are not.
    #[must_use]
    #[track_caller]
    pub fn f32_mut(&mut self) -> &mut [f32] {
        self.slice_mut().f32()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn a_buffer_of_half_the_bits_is_half_the_bytes() {
        let pool = Pool::new();
        let (wide, narrow) = (pool.take(1024), pool.take_as(Dtype::Bf16, 1024));
        assert_eq!((wide.len(), narrow.len()), (1024, 1024));
        assert_eq!(pool.stats().live_bytes, 4 * 1024 + 2 * 1024);
        drop(narrow);
        assert_eq!(pool.stats().live_bytes, 4 * 1024);
    }

    #[test]
    fn views_are_of_the_dtype_that_was_asked_for() {
        let pool = Pool::new();
        for len in [0, 1, 7, 64] {
            let mut buffer = pool.zeros_as(Dtype::Bf16, len);
            let SliceMut::Bf16(values) = buffer.slice_mut() else { panic!("{:?}", buffer.slice()) };
            values.fill(bf16::ONE);
            let Slice::Bf16(values) = buffer.slice() else { panic!("{:?}", buffer.slice()) };
            assert_eq!(values, vec![bf16::ONE; len]);
            assert!(matches!(pool.zeros_as(Dtype::F16, len).slice(), Slice::F16(values) if values.len() == len));
        }
        assert_eq!(pool.take(3).dtype(), Dtype::F32);
    }

    #[test]
    #[should_panic(expected = "expected f32, found 5 values of bf16")]
    fn values_of_another_dtype_are_never_taken_for_f32() {
        let _ = Pool::new().take_as(Dtype::Bf16, 5).f32();
    }
}
