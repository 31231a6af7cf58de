//! Products with few rows of A, the shape of token-by-token decoding. B is read once, in the order
//! it is stored, and the time is that of reading it from memory.

use std::ops::Range;

use rayon::prelude::*;

use crate::matmul::{Mat, MatMut};
use crate::simd::{self, mul_add};
use crate::vector::{Element, Load, Vector};

/// Most rows of A for which these loops are used.
pub(crate) const FEW_ROWS: usize = 8;

/// Multiplications of one task.
const TASK_WORK: usize = 1 << 16;

/// Sums of one dot product that do not wait for each other.
const CHAINS: usize = 4;

/// Most partial sums of a product whose tasks are rows of B.
const MOST_PARTIALS: usize = 8;

/// Rows of B, and columns of it, that are multiplied at a time.
const DEPTH: usize = 8;
const STRIP: usize = 512;

/// The product for few rows of A, of matrices that `matmul::check` has passed, with the rows of A and C contiguous.
pub(crate) fn product(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, parallel: bool) {
    if b.row_stride == 1 {
        dot_product(alpha, a, b, beta, c, parallel)
    } else {
        row_sums(alpha, a, b, beta, c, parallel)
    }
}

/// `out = alpha · sum + beta · out`
fn finish(alpha: f32, beta: f32, sums: &[f32], out: &mut [f32]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = if beta == 0.0 { alpha * sum } else { alpha * sum + beta * *out };
    }
}

/// Columns of B are contiguous: tasks of whole columns of C.
fn dot_product(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, parallel: bool) {
    let width = (TASK_WORK / a.cols).max(4).next_multiple_of(4);
    let out = Columns { data: c.data.as_mut_ptr(), stride: c.row_stride };
    let task = |task: usize| {
        let columns = task * width..((task + 1) * width).min(b.cols);
        // The temporary keeps the kernels' output contiguous; it is a few KiB.
        let mut block = vec![0.0; a.rows * columns.len()];
        dot_columns(a, b.data, b.col_stride, columns.start, &mut block);
        for (row, block) in block.chunks_exact(columns.len()).enumerate() {
            // SAFETY: `matmul::check` asserted that `c` lies in its slice and that its elements are distinct; tasks
            // write disjoint ranges of its columns, which are contiguous.
            finish(alpha, beta, block, unsafe { out.row(row, columns.start, columns.len()) });
        }
    };
    let tasks = b.cols.div_ceil(width);
    if parallel {
        (0..tasks).into_par_iter().for_each(task);
    } else {
        (0..tasks).for_each(task);
    }
}

/// Rows of B are contiguous: tasks of whole rows of B, each a stretch of memory, whose partial sums are added in order.
fn row_sums(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, parallel: bool) {
    // A power of two, so that two, four or eight threads have equal shares.
    let tasks = 1 << (b.rows * b.cols / TASK_WORK).clamp(1, MOST_PARTIALS).ilog2();
    let depth = b.rows.div_ceil(tasks).next_multiple_of(DEPTH);
    let size = a.rows * b.cols;
    let mut partials = vec![0.0; b.rows.div_ceil(depth) * size];
    let task = |(task, out): (usize, &mut [f32])| {
        let (data, stride, rows) = (b.data, b.row_stride, task * depth..((task + 1) * depth).min(b.rows));
        crate::dispatch!(sum_rows(a: Mat<'_>, data: &[f32], stride: usize, rows: Range<usize>, out: &mut [f32]));
    };
    if parallel {
        partials.par_chunks_exact_mut(size).enumerate().for_each(task);
    } else {
        partials.chunks_exact_mut(size).enumerate().for_each(task);
    }
    let (sums, rest) = partials.split_at_mut(size);
    let add = |(row, (sums, out)): (usize, (&mut [f32], &mut [f32]))| {
        for partial in rest.chunks_exact(size) {
            let partial = &partial[row * b.cols..][..b.cols];
            sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
        }
        finish(alpha, beta, sums, &mut out[..b.cols]);
    };
    // A single row may have any stride.
    let stride = c.row_stride.max(b.cols);
    if parallel && a.rows > 1 {
        sums.par_chunks_exact_mut(b.cols).zip(c.data.par_chunks_mut(stride)).enumerate().for_each(add);
    } else {
        sums.chunks_exact_mut(b.cols).zip(c.data.chunks_mut(stride)).enumerate().for_each(add);
    }
}

/// Columns of a matrix handed out to tasks.
struct Columns {
    data: *mut f32,
    stride: usize,
}

// SAFETY: every task uses a range of columns of its own, so no element is reached by two threads.
unsafe impl Sync for Columns {}

impl Columns {
    /// # Safety
    /// The range must lie in the storage and in no other living slice.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(&self, row: usize, first: usize, len: usize) -> &mut [f32] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride + first), len) }
    }
}

/// `out[i, j] = a[i] · column first+j`, where column `j` is `data[j·stride..]`.
pub(crate) fn dot_columns<W: Element>(a: Mat<'_>, data: &[W], stride: usize, first: usize, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512<W: Element>(a: Mat<'_>, data: &[W], stride: usize, first: usize, out: &mut [f32]) {
        // SAFETY: this function has the instruction set.
        unsafe { dot_rows::<std::arch::x86_64::__m512, W>(a, data, stride, first, out) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<W: Element>(a: Mat<'_>, data: &[W], stride: usize, first: usize, out: &mut [f32]) {
        // SAFETY: this function has the instruction set.
        unsafe { dot_rows::<std::arch::x86_64::__m256, W>(a, data, stride, first, out) }
    }
    match simd::level() {
        // SAFETY: `level` reports only what `is_x86_feature_detected!` found.
        #[cfg(target_arch = "x86_64")]
        simd::Level::Avx512 => unsafe { avx512(a, data, stride, first, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        simd::Level::Avx2 => unsafe { avx2(a, data, stride, first, out) },
        // SAFETY: arrays need no instruction set.
        _ => unsafe { dot_rows::<[f32; 4], W>(a, data, stride, first, out) },
    }
}

/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn dot_rows<V: Vector, W: Element + Load<V>>(
    a: Mat<'_>,
    data: &[W],
    stride: usize,
    first: usize,
    out: &mut [f32],
) where
    f32: Load<V>,
{
    for row in (0..a.rows).step_by(4) {
        // SAFETY: promised by the caller.
        unsafe {
            match a.rows - row {
                1 => dot_columns_of::<V, W, 1>(a, row, data, stride, first, out),
                2 => dot_columns_of::<V, W, 2>(a, row, data, stride, first, out),
                3 => dot_columns_of::<V, W, 3>(a, row, data, stride, first, out),
                _ => dot_columns_of::<V, W, 4>(a, row, data, stride, first, out),
            }
        }
    }
}

/// `M` rows of A from `row` on against one column after the other: memory is read as one stream, which is up to twice as
/// fast as several columns at a time.
///
/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn dot_columns_of<V: Vector, W: Element + Load<V>, const M: usize>(
    a: Mat<'_>,
    row: usize,
    data: &[W],
    stride: usize,
    first: usize,
    out: &mut [f32],
) where
    f32: Load<V>,
{
    let columns = out.len() / a.rows;
    let rows: [&[f32]; M] = std::array::from_fn(|i| &a.data[(row + i) * a.row_stride..][..a.cols]);
    for j in 0..columns {
        let column = &data[(first + j) * stride..][..a.cols];
        // SAFETY: promised by the caller; all slices are `a.cols` long.
        let sums = unsafe { dots::<V, W, M>(rows, column) };
        for (i, sum) in sums.into_iter().enumerate() {
            out[(row + i) * columns + j] = sum;
        }
    }
}

/// `N` of the sums of [`dots`], from number `first` on.
///
/// # Safety
/// As there, and `first + N` must not be above [`CHAINS`].
#[inline(always)]
unsafe fn chains<V: Vector, W: Element + Load<V>, const M: usize, const N: usize>(
    a: [&[f32]; M],
    b: &[W],
    first: usize,
) -> [[V; N]; M]
where
    f32: Load<V>,
{
    debug_assert!(first + N <= CHAINS);
    // SAFETY: promised by the caller, here and below.
    let mut sums = [[unsafe { V::zero() }; N]; M];
    let mut at = first * V::WIDTH;
    // Loops written out: a closure would lack the instruction set.
    while at + (CHAINS - first) * V::WIDTH <= b.len() {
        for chain in 0..N {
            // SAFETY: as above; `at` is that of sum `first`, and all sums up to the last lie within the length.
            let b = unsafe { W::load(b.as_ptr().add(at + chain * V::WIDTH)) };
            for i in 0..M {
                // SAFETY: as above.
                let a = unsafe { f32::load(a[i].as_ptr().add(at + chain * V::WIDTH)) };
                // SAFETY: as above.
                sums[i][chain] = unsafe { a.mul_add(b, sums[i][chain]) };
            }
        }
        at += CHAINS * V::WIDTH;
    }
    sums
}

/// Dot products of `M` slices with one, all of one length. Every row is summed in the same order, whatever `M` is.
///
/// # Safety
/// The instruction set of `V` must be present, and all slices as long as `b`.
#[inline(always)]
unsafe fn dots<V: Vector, W: Element + Load<V>, const M: usize>(a: [&[f32]; M], b: &[W]) -> [f32; M]
where
    f32: Load<V>,
{
    // SAFETY: promised by the caller, here and below; `at + WIDTH` stays within the length.
    let mut sums = [[unsafe { V::zero() }; CHAINS]; M];
    // Of many rows the registers hold half of the sums.
    if M <= 2 {
        // SAFETY: as above.
        sums = unsafe { chains::<V, W, M, CHAINS>(a, b, 0) };
    } else {
        for first in [0, CHAINS / 2] {
            // SAFETY: as above.
            let half = unsafe { chains::<V, W, M, { CHAINS / 2 }>(a, b, first) };
            for i in 0..M {
                sums[i][first..first + CHAINS / 2].copy_from_slice(&half[i]);
            }
        }
    }
    let whole = b.len() / (CHAINS * V::WIDTH) * CHAINS * V::WIDTH;
    let (mut at, mut chain) = (whole, 0);
    while at + V::WIDTH <= b.len() {
        // SAFETY: as above.
        let b = unsafe { W::load(b.as_ptr().add(at)) };
        for i in 0..M {
            // SAFETY: as above.
            sums[i][chain] = unsafe { f32::load(a[i].as_ptr().add(at)).mul_add(b, sums[i][chain]) };
        }
        (at, chain) = (at + V::WIDTH, chain + 1);
    }
    std::array::from_fn(|i| {
        let tail: f32 = a[i][at..].iter().zip(&b[at..]).map(|(a, b)| a * b.widen()).sum();
        // SAFETY: as above.
        unsafe { sums[i].into_iter().map(|chain| chain.sum()).sum::<f32>() + tail }
    })
}

/// `out[i, :] = Σ_k a[i, k] · row k of B` over `rows`, [`DEPTH`] rows of B at a time so that `out` passes through the
/// registers once for them, [`STRIP`] columns at a time so that these stay in the first cache for every row of A.
#[inline(always)]
fn sum_rows<const FMA: bool>(a: Mat<'_>, data: &[f32], stride: usize, rows: Range<usize>, out: &mut [f32]) {
    let columns = out.len() / a.rows;
    let whole = rows.start + rows.len() / DEPTH * DEPTH;
    for k in (rows.start..whole).step_by(DEPTH) {
        for first in (0..columns).step_by(STRIP) {
            let width = STRIP.min(columns - first);
            let b: [&[f32]; DEPTH] = std::array::from_fn(|d| &data[(k + d) * stride + first..][..width]);
            for (i, out) in out.chunks_exact_mut(columns).enumerate() {
                let a: [f32; DEPTH] = std::array::from_fn(|d| a.data[i * a.row_stride + k + d]);
                let out = &mut out[first..][..width];
                for j in 0..width {
                    let mut sum = out[j];
                    for d in 0..DEPTH {
                        sum = mul_add::<FMA>(a[d], b[d][j], sum);
                    }
                    out[j] = sum;
                }
            }
        }
    }
    for k in whole..rows.end {
        let b = &data[k * stride..][..columns];
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let a = a.data[i * a.row_stride + k];
            for (out, &b) in out.iter_mut().zip(b) {
                *out = mul_add::<FMA>(a, b, *out);
            }
        }
    }
}
