//! How work is cut into tasks for rayon.
//!
//! Task sizes depend on the shapes only, never on the number of threads, and partial sums are
//! added in task order: a kernel's result is the same on any number of threads. Rayon runs an
//! iterator of one task on the calling thread, so tiny inputs never enter the pool.

use rayon::iter::Either;
use rayon::prelude::*;

/// Elements of one task: 64 KiB of f32, a multiple of every vector and Philox group.
pub(crate) const TASK: usize = 16_384;

/// Most partial sums of a reduction over rows.
const PARTIALS: usize = 16;

/// Rows of `width` elements that make one task.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Rows that share one partial sum in a reduction over `rows` rows of `width` elements.
pub(crate) fn rows_per_partial(rows: usize, width: usize) -> usize {
    rows.div_ceil(PARTIALS).max(rows_per_task(width))
}

/// `slice` in chunks of `size`, or `count` times `None`.
pub(crate) fn optional_chunks_mut(
    slice: Option<&mut [f32]>,
    size: usize,
    count: usize,
) -> impl IndexedParallelIterator<Item = Option<&mut [f32]>> {
    match slice {
        Some(slice) => Either::Left(slice.par_chunks_mut(size).map(Some)),
        None => Either::Right((0..count).into_par_iter().map(|_| None)),
    }
}

/// The same for a slice that is only read.
pub(crate) fn optional_chunks(
    slice: Option<&[f32]>,
    size: usize,
    count: usize,
) -> impl IndexedParallelIterator<Item = Option<&[f32]>> {
    match slice {
        Some(slice) => Either::Left(slice.par_chunks(size).map(Some)),
        None => Either::Right((0..count).into_par_iter().map(|_| None)),
    }
}

/// Adds the rows of `partials` to `out`, in order.
pub(crate) fn add_partials(partials: &[f32], out: &mut [f32]) {
    for partial in partials.chunks_exact(out.len().max(1)) {
        for (out, partial) in out.iter_mut().zip(partial) {
            *out += partial;
        }
    }
}
