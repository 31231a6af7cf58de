//! Products with few rows of A, the shape of token-by-token decoding. B is read once, in the order
//! it is stored, and the time is that of reading it from memory.

use rayon::prelude::*;

use crate::matmul::{Mat, MatMut};
use crate::simd::{self, mul_add};
use crate::vector::{Element, Load, Vector};

/// Most rows of A for which these loops are used.
pub(crate) const FEW_ROWS: usize = 8;

/// Multiplications of one task.
const TASK_WORK: usize = 1 << 16;

/// The product for few rows of A: tasks of whole columns of C.
pub(crate) fn product(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, parallel: bool) {
    let dots = b.row_stride == 1;
    // Row sums need wide tasks to read memory in long runs, dot products read whole columns of B.
    let width = (TASK_WORK / a.cols).max(if dots { 4 } else { 512 }).next_multiple_of(4);
    let tasks = b.cols.div_ceil(width);
    let out = Columns { data: c.data.as_mut_ptr(), stride: c.row_stride };
    let task = |task: usize| {
        let columns = task * width..((task + 1) * width).min(b.cols);
        // The temporary keeps the kernels' output contiguous; it is a few KiB.
        let mut block = vec![0.0; a.rows * columns.len()];
        if dots {
            let (data, stride, first, out) = (b.data, b.col_stride, columns.start, &mut block[..]);
            dot_columns(a, data, stride, first, out);
        } else {
            let (data, stride, first, out) = (b.data, b.row_stride, columns.start, &mut block[..]);
            crate::dispatch!(sum_rows(a: Mat<'_>, data: &[f32], stride: usize, first: usize, out: &mut [f32]));
        }
        for (row, block) in block.chunks_exact(columns.len()).enumerate() {
            // SAFETY: tasks write disjoint columns of `c`, all within its slice (`check`).
            let out = unsafe { out.row(row, columns.start, columns.len()) };
            for (out, value) in out.iter_mut().zip(block) {
                *out = if beta == 0.0 { alpha * value } else { alpha * value + beta * *out };
            }
        }
    };
    if parallel {
        (0..tasks).into_par_iter().for_each(task);
    } else {
        (0..tasks).for_each(task);
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
    let mut row = 0;
    while row < a.rows {
        // SAFETY: promised by the caller.
        unsafe {
            match a.rows - row {
                1 => dot_tiles::<V, W, 1, 4>(a, row, data, stride, first, out),
                2 => dot_tiles::<V, W, 2, 4>(a, row, data, stride, first, out),
                3 => dot_tiles::<V, W, 3, 2>(a, row, data, stride, first, out),
                _ => dot_tiles::<V, W, 4, 2>(a, row, data, stride, first, out),
            }
        }
        row += 4;
    }
}

/// `M` rows of A from `row` on against `N` columns at a time.
///
/// # Safety
/// The instruction set of `V` must be present.
#[inline(always)]
unsafe fn dot_tiles<V: Vector, W: Element + Load<V>, const M: usize, const N: usize>(
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
    for j in (0..columns).step_by(N) {
        // The last tile repeats its last column, so there is one loop.
        let at: [usize; N] = std::array::from_fn(|i| (j + i).min(columns - 1));
        let tile = at.map(|j| &data[(first + j) * stride..][..a.cols]);
        // SAFETY: promised by the caller; all slices are `a.cols` long.
        let sums = unsafe { dot_tile::<V, W, M, N>(rows, tile) };
        for i in 0..M {
            for (j, sum) in at.into_iter().zip(sums[i]) {
                out[(row + i) * columns + j] = sum;
            }
        }
    }
}

/// The `M·N` dot products of slices of one length.
///
/// # Safety
/// The instruction set of `V` must be present, and all slices as long as the first.
#[inline(always)]
unsafe fn dot_tile<V: Vector, W: Element + Load<V>, const M: usize, const N: usize>(
    a: [&[f32]; M],
    b: [&[W]; N],
) -> [[f32; N]; M]
where
    f32: Load<V>,
{
    let length = a[0].len();
    let mut at = 0;
    // SAFETY: promised by the caller, here and below; `at + WIDTH` stays within the length.
    let mut sums = [[unsafe { V::zero() }; N]; M];
    while at + V::WIDTH <= length {
        // SAFETY: as above.
        let b = b.map(|b| unsafe { W::load(b.as_ptr().add(at)) });
        for i in 0..M {
            // SAFETY: as above.
            let a = unsafe { f32::load(a[i].as_ptr().add(at)) };
            for j in 0..N {
                // SAFETY: as above.
                sums[i][j] = unsafe { a.mul_add(b[j], sums[i][j]) };
            }
        }
        at += V::WIDTH;
    }
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            let tail: f32 = a[i][at..].iter().zip(&b[j][at..]).map(|(a, b)| a * b.widen()).sum();
            // SAFETY: as above.
            unsafe { sums[i][j].sum() + tail }
        })
    })
}

/// `out[i, :] = Σ_k a[i, k] · row k of B`, columns `first..`, eight rows of B at a time so that
/// `out` passes through the registers once per eight.
#[inline(always)]
fn sum_rows<const FMA: bool>(a: Mat<'_>, data: &[f32], stride: usize, first: usize, out: &mut [f32]) {
    const DEPTH: usize = 8;
    let columns = out.len() / a.rows;
    let mut k = 0;
    while k + DEPTH <= a.cols {
        let b: [&[f32]; DEPTH] = std::array::from_fn(|d| &data[(k + d) * stride + first..][..columns]);
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let a: [f32; DEPTH] = std::array::from_fn(|d| a.data[i * a.row_stride + k + d]);
            for j in 0..columns {
                let mut sum = out[j];
                for d in 0..DEPTH {
                    sum = mul_add::<FMA>(a[d], b[d][j], sum);
                }
                out[j] = sum;
            }
        }
        k += DEPTH;
    }
    for k in k..a.cols {
        let b = &data[k * stride + first..][..columns];
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let a = a.data[i * a.row_stride + k];
            for (out, &b) in out.iter_mut().zip(b) {
                *out = mul_add::<FMA>(a, b, *out);
            }
        }
    }
}
