//! Reusable activation memory.
//!
//! A training step needs the same buffers as the one before it. Taking them from the allocator each time costs page
//! faults and zeroing (measured at a tenth of a step and more in other engines), so a [`Pool`] keeps what was freed.
//! A request is served by the smallest free buffer that fits and wastes at most half of itself; otherwise a new one is
//! allocated, its capacity rounded up by at most an eighth, so that batches of slightly different sizes share buffers.
//! The new buffer takes the place of a free one that is somewhat too small, if there is one: when batches vary, buffers
//! grow to the largest of them instead of gathering in every size.
//!
//! Memory has no dtype: the bytes of a buffer of one dtype serve the next of another. A pool is memory of one
//! [`Device`], whose kernels work on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use atento_kernels::matmul::Precision;

use crate::buffer::Buffer;
use crate::device::{Cpu, Device};
use crate::slice::{Dtype, Slice};

/// Words in 64 bytes: buffers begin at a cache line, which the vector units read a tenth faster.
const ALIGNMENT: usize = 16;

/// Bytes of the words that memory is counted in. A word is an f32, so that f32 needs no conversion.
const WORD: usize = size_of::<f32>();

/// A shared store of free buffers. Cloning it gives another handle to the same store.
#[derive(Clone)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
    operations: Arc<AtomicU64>,
    device: &'static dyn Device,
}

/// Free memory by its capacity in words.
#[derive(Default)]
struct Shelves {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    stats: PoolStats,
}

/// A run of words that begins at a cache line.
#[derive(Default)]
pub(crate) struct Memory {
    words: Vec<f32>,
    start: usize,
}

impl Memory {
    fn new(words: Vec<f32>) -> Self {
        // The address of a vector never changes, so neither does where its aligned part begins.
        let start = words.as_ptr().align_offset(ALIGNMENT * WORD).min(ALIGNMENT);
        Self { words, start }
    }

    pub(crate) fn words(&self) -> &[f32] {
        &self.words[self.start..]
    }

    pub(crate) fn words_mut(&mut self) -> &mut [f32] {
        &mut self.words[self.start..]
    }
}

/// What a pool has handed out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Buffers taken from the system allocator since the start.
    pub allocations: usize,
    /// Bytes taken from the system allocator and not given back: on loan or free.
    pub held_bytes: usize,
    /// Requests served, by new buffers or kept ones.
    pub requests: usize,
    /// Bytes on loan now.
    pub live_bytes: usize,
    /// The most bytes that were ever on loan at a time.
    pub peak_bytes: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// An empty pool of the processor's memory, with products in f32.
    #[must_use]
    pub fn new() -> Self {
        Self { shelves: Arc::default(), operations: Arc::default(), device: Cpu::computing_in(Precision::F32) }
    }

    /// The same memory and count, with products with weights in this precision.
    #[must_use]
    pub fn in_precision(&self, precision: Precision) -> Self {
        let (shelves, operations) = (Arc::clone(&self.shelves), Arc::clone(&self.operations));
        Self { shelves, operations, device: Cpu::computing_in(precision) }
    }

    /// Whose memory this is: the device that computes on it.
    #[must_use]
    pub fn device(&self) -> &'static dyn Device {
        self.device
    }

    /// A buffer of `len` values of f32 with unspecified (but initialised) contents: the caller overwrites all of it.
    #[must_use]
    pub fn take(&self, len: usize) -> Buffer {
        self.take_as(Dtype::F32, len)
    }

    /// [`take`](Self::take) for any dtype.
    #[must_use]
    pub fn take_as(&self, dtype: Dtype, len: usize) -> Buffer {
        let words = len.saturating_mul(dtype.size()).div_ceil(WORD);
        let memory = Memory::new(self.lock().take(words));
        Buffer { memory, dtype, len, pool: self.clone() }
    }

    /// A buffer of `len` zeros of f32.
    #[must_use]
    pub fn zeros(&self, len: usize) -> Buffer {
        self.zeros_as(Dtype::F32, len)
    }

    /// [`zeros`](Self::zeros) for any dtype.
    #[must_use]
    pub fn zeros_as(&self, dtype: Dtype, len: usize) -> Buffer {
        let mut buffer = self.take_as(dtype, len);
        self.device.fill(buffer.slice_mut(), 0.0);
        buffer
    }

    /// A buffer holding a copy of `values`.
    #[must_use]
    pub fn copy_of(&self, values: &[f32]) -> Buffer {
        self.copy(values.into())
    }

    /// A buffer holding a copy of values of any dtype.
    #[must_use]
    pub fn copy(&self, values: Slice<'_>) -> Buffer {
        let mut buffer = self.take_as(values.dtype(), values.len());
        self.device.copy(values, buffer.slice_mut());
        buffer
    }

    /// Counts since the pool was made.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.lock().stats
    }

    /// Floating-point operations of the products and attentions that were computed in this memory, forward and backward: two
    /// for each number of a matrix and row that it is multiplied with. What is done element by element is not counted, nor
    /// the lengths of low-rank pairs.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(crate) fn count_operations(&self, operations: u64) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }

    /// Counts a product of `rows` rows with a matrix of so many numbers.
    pub(crate) fn count_product(&self, rows: usize, numbers: usize) {
        self.count_operations(2 * rows as u64 * numbers as u64);
    }

    pub(crate) fn give_back(&self, memory: Memory) {
        self.lock().give_back(memory.words);
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // A panic while the lock is held leaves the shelves valid: every change is a single push or pop.
        self.shelves.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Shelves {
    /// Memory for `words` words.
    fn take(&mut self, words: usize) -> Vec<f32> {
        self.stats.requests += 1;
        // Rounding makes the smallest buffers more than twice what was asked for; they still serve such requests again.
        let largest = words.saturating_mul(2).max(rounded_capacity(words));
        let fitting = self.free.range(words..=largest).next().map(|(&capacity, _)| capacity);
        let data = match fitting {
            Some(capacity) => self.remove(capacity),
            None => {
                let capacity = rounded_capacity(words);
                let outgrown = self.free.range(words / 2..words).next_back().map(|(&capacity, _)| capacity);
                if let Some(outgrown) = outgrown {
                    drop(self.remove(outgrown));
                    self.stats.held_bytes -= outgrown * WORD;
                }
                self.stats.allocations += 1;
                self.stats.held_bytes += capacity * WORD;
                vec![0.0; capacity + ALIGNMENT]
            }
        };
        self.stats.live_bytes += (data.len() - ALIGNMENT) * WORD;
        self.stats.peak_bytes = self.stats.peak_bytes.max(self.stats.live_bytes);
        data
    }

    fn give_back(&mut self, data: Vec<f32>) {
        let capacity = data.len() - ALIGNMENT;
        self.stats.live_bytes -= capacity * WORD;
        self.free.entry(capacity).or_default().push(data);
    }

    fn remove(&mut self, capacity: usize) -> Vec<f32> {
        let shelf = self.free.get_mut(&capacity).expect("the shelf was just found");
        let data = shelf.pop().expect("shelves are removed when they become empty");
        if shelf.is_empty() {
            self.free.remove(&capacity);
        }
        data
    }
}

/// Rounds up to the next multiple of an eighth of the power of two below `len`.
fn rounded_capacity(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(16);
    len.max(1).next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_buffer_is_used_again() {
        let pool = Pool::new();
        drop(pool.take(1000));
        let again = pool.take(990);
        assert_eq!(again.len(), 990);
        assert_eq!(pool.stats().allocations, 1);
        assert_eq!(pool.stats().requests, 2);
    }

    #[test]
    fn a_much_larger_buffer_is_not_wasted_on_a_small_request() {
        let pool = Pool::new();
        drop(pool.take(100_000));
        drop(pool.take(100));
        assert_eq!(pool.stats().allocations, 2);
    }

    #[test]
    fn zeros_are_zero_even_from_a_used_buffer() {
        let pool = Pool::new();
        pool.take(64).f32_mut().fill(7.0);
        assert!(pool.zeros(64).f32().iter().all(|&x| x == 0.0));
    }

    #[test]
    fn a_buffer_somewhat_too_small_makes_place_for_its_successor() {
        let pool = Pool::new();
        for len in [800, 1000, 1300, 300] {
            drop(pool.take(len));
        }
        let bytes = |capacity: usize| capacity * size_of::<f32>();
        assert_eq!(pool.stats().held_bytes, bytes(rounded_capacity(1300)) + bytes(rounded_capacity(300)));
    }

    #[test]
    fn the_smallest_buffers_are_used_again_too() {
        let pool = Pool::new();
        for len in [0, 1, 3, 7, 1, 0] {
            drop(pool.take(len));
        }
        assert_eq!(pool.stats().allocations, 1);
    }

    #[test]
    fn what_is_on_loan_is_counted() {
        let pool = Pool::new();
        let (first, second) = (pool.take(64), pool.take(32));
        drop(first);
        assert_eq!((pool.stats().live_bytes, pool.stats().peak_bytes), (128, 384));
        drop(second);
        assert_eq!((pool.stats().live_bytes, pool.stats().peak_bytes), (0, 384));
    }

    #[test]
    fn memory_of_one_dtype_serves_the_next_of_another() {
        let pool = Pool::new();
        drop(pool.take(1000));
        drop(pool.take_as(Dtype::Bf16, 2000));
        drop(pool.copy_of(&[1.0; 1000]));
        assert_eq!((pool.stats().allocations, pool.stats().requests), (1, 3));
    }

    #[test]
    fn buffers_begin_at_a_cache_line() {
        let pool = Pool::new();
        let buffers = [1, 17, 1000].map(|len| pool.take(len));
        assert!(buffers.iter().all(|buffer| buffer.f32().as_ptr().addr().is_multiple_of(64)));
    }

    #[test]
    fn rounding_wastes_at_most_an_eighth() {
        for len in [1, 15, 17, 1000, 4097, 1 << 20, (1 << 20) + 1] {
            let capacity = rounded_capacity(len);
            assert!(capacity >= len && capacity <= len + len / 8 + 16, "{len} -> {capacity}");
        }
    }
}
