//! Reusable activation memory.
//!
//! A training step needs the same buffers as the one before it. Taking them from the allocator each time costs page
//! faults and zeroing (measured at a tenth of a step and more in other engines), so a [`Pool`] keeps what was freed.
//! A request is served by the smallest free buffer that fits and wastes at most half of itself; otherwise a new one is
//! allocated, its capacity rounded up by at most an eighth, so that batches of slightly different sizes share buffers.
//! The new buffer takes the place of a free one that is somewhat too small, if there is one: when batches vary, buffers
//! grow to the largest of them instead of gathering in every size.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

/// Values in 64 bytes: buffers begin at a cache line, which the vector units read a tenth faster.
const ALIGNMENT: usize = 16;

/// A shared store of free buffers. Cloning it gives another handle to the same store.
#[derive(Clone, Default)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Default)]
struct Shelves {
    free: BTreeMap<usize, Vec<Vec<f32>>>,
    stats: PoolStats,
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

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `len` values with unspecified (but initialised) contents: the caller overwrites all of it.
    #[must_use]
    pub fn take(&self, len: usize) -> Buffer {
        let mut shelves = self.lock();
        shelves.stats.requests += 1;
        // Rounding makes the smallest buffers more than twice what was asked for; they still serve such requests again.
        let largest = len.saturating_mul(2).max(rounded_capacity(len));
        let fitting = shelves.free.range(len..=largest).next().map(|(&capacity, _)| capacity);
        let data = match fitting {
            Some(capacity) => shelves.remove(capacity),
            None => {
                let capacity = rounded_capacity(len);
                let outgrown = shelves.free.range(len / 2..len).next_back().map(|(&capacity, _)| capacity);
                if let Some(outgrown) = outgrown {
                    drop(shelves.remove(outgrown));
                    shelves.stats.held_bytes -= outgrown * size_of::<f32>();
                }
                shelves.stats.allocations += 1;
                shelves.stats.held_bytes += capacity * size_of::<f32>();
                vec![0.0; capacity + ALIGNMENT]
            }
        };
        shelves.stats.live_bytes += (data.len() - ALIGNMENT) * size_of::<f32>();
        shelves.stats.peak_bytes = shelves.stats.peak_bytes.max(shelves.stats.live_bytes);
        // The address of a buffer never changes, so neither does where its aligned part begins.
        let start = data.as_ptr().align_offset(ALIGNMENT * size_of::<f32>()).min(ALIGNMENT);
        Buffer { data, start, len, pool: self.clone() }
    }

    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A buffer holding a copy of `values`.
    #[must_use]
    pub fn copy_of(&self, values: &[f32]) -> Buffer {
        let mut buffer = self.take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Counts since the pool was made.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.lock().stats
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // A panic while the lock is held leaves the shelves valid: every change is a single push or pop.
        self.shelves.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Shelves {
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

/// A run of `f32` on loan from a [`Pool`]; dropping it gives the memory back.
pub struct Buffer {
    data: Vec<f32>,
    start: usize,
    len: usize,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let mut shelves = self.pool.lock();
        let capacity = data.len() - ALIGNMENT;
        shelves.stats.live_bytes -= capacity * size_of::<f32>();
        shelves.free.entry(capacity).or_default().push(data);
    }
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
        pool.take(64).fill(7.0);
        assert!(pool.zeros(64).iter().all(|&x| x == 0.0));
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
    fn rounding_wastes_at_most_an_eighth() {
        for len in [1, 15, 17, 1000, 4097, 1 << 20, (1 << 20) + 1] {
            let capacity = rounded_capacity(len);
            assert!(capacity >= len && capacity <= len + len / 8 + 16, "{len} -> {capacity}");
        }
    }
}
