//! Matrix multiplication `C = α·A·B + β·C` over views with strides.
//!
//! Large products go to the `gemm` crate (packed panels, register tiles). Products with at most
//! [`FEW_ROWS`] rows of A, the shape of token-by-token decoding, read B once and are bound by
//! memory bandwidth, so they have loops of their own: dot products when the columns of B are
//! contiguous, sums of rows when its rows are. Sums are in f32.

use rayon::prelude::*;

use crate::simd::mul_add;

/// Most rows of A for which the bandwidth-bound loops are used.
pub const FEW_ROWS: usize = 8;

/// Multiplications from which a product is spread over threads.
const PARALLEL_WORK: usize = 1 << 18;

/// Multiplications of one task of the bandwidth-bound loops.
const TASK_WORK: usize = 1 << 16;

/// A matrix to read: element `(i, j)` is `data[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    /// Storage; may hold more than the matrix.
    pub data: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub col_stride: usize,
}

/// A matrix to write, laid out as [`Mat`].
#[derive(Debug)]
pub struct MatMut<'a> {
    /// Storage; may hold more than the matrix.
    pub data: &'a mut [f32],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub col_stride: usize,
}

/// Elements of storage a matrix of this layout reaches over.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        0
    } else {
        (rows - 1) * row_stride + (cols - 1) * col_stride + 1
    }
}

impl<'a> Mat<'a> {
    /// A contiguous matrix stored row by row.
    ///
    /// # Panics
    /// If `data` is not `rows · cols` long.
    #[track_caller]
    pub fn row_major(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "Mat::row_major: data against {rows} x {cols}"
        );
        Mat {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }

    /// The transpose, over the same storage.
    pub fn t(self) -> Self {
        Mat {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

impl<'a> MatMut<'a> {
    /// A contiguous matrix stored row by row.
    ///
    /// # Panics
    /// If `data` is not `rows · cols` long.
    #[track_caller]
    pub fn row_major(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "MatMut::row_major: data against {rows} x {cols}"
        );
        MatMut {
            data,
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
        }
    }
}

/// `c = alpha · a · b + beta · c`, on all threads when the product is large. With `beta` 0 the old
/// content of `c` is not read.
///
/// # Panics
/// If the shapes do not fit together, a view reaches beyond its storage, or the rows and columns
/// of `c` overlap.
#[track_caller]
pub fn gemm(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>) {
    let parallel = a.rows * a.cols * b.cols >= PARALLEL_WORK && rayon::current_num_threads() > 1;
    let threads = if parallel {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    product(alpha, a, b, beta, c, threads);
}

/// [`gemm`] on the calling thread only, for use inside tasks.
///
/// # Panics
/// As [`gemm`].
#[track_caller]
pub fn gemm_serial(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>) {
    product(alpha, a, b, beta, c, gemm::Parallelism::None);
}

#[track_caller]
fn check(a: &Mat<'_>, b: &Mat<'_>, c: &MatMut<'_>) {
    assert!(
        a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
        "gemm: {}x{} times {}x{} into {}x{}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        c.rows,
        c.cols
    );
    let fits = |length, rows, cols, rs, cs| length >= extent(rows, cols, rs, cs);
    assert!(
        fits(a.data.len(), a.rows, a.cols, a.row_stride, a.col_stride),
        "gemm: a leaves its storage"
    );
    assert!(
        fits(b.data.len(), b.rows, b.cols, b.row_stride, b.col_stride),
        "gemm: b leaves its storage"
    );
    assert!(
        fits(c.data.len(), c.rows, c.cols, c.row_stride, c.col_stride),
        "gemm: c leaves its storage"
    );
    let separate = c.rows <= 1 || c.cols <= 1 || {
        let by_rows = c.col_stride >= 1 && c.row_stride > (c.cols - 1) * c.col_stride;
        by_rows || (c.row_stride >= 1 && c.col_stride > (c.rows - 1) * c.row_stride)
    };
    assert!(separate, "gemm: elements of c overlap");
}

#[track_caller]
fn product(
    alpha: f32,
    a: Mat<'_>,
    b: Mat<'_>,
    beta: f32,
    c: MatMut<'_>,
    threads: gemm::Parallelism,
) {
    check(&a, &b, &c);
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    let few = a.rows <= FEW_ROWS && a.col_stride == 1 && c.col_stride == 1 && a.cols > 0;
    if few && (b.row_stride == 1 || b.col_stride == 1) {
        return few_rows(
            alpha,
            a,
            b,
            beta,
            c,
            !matches!(threads, gemm::Parallelism::None),
        );
    }
    // SAFETY: `check` established that every element of the three matrices lies in its slice and
    // that the elements of `c`, borrowed mutably, are distinct. Slices have at most isize::MAX bytes,
    // so strides fit isize.
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data.as_mut_ptr(),
            c.col_stride as isize,
            c.row_stride as isize,
            beta != 0.0,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            threads,
        );
    }
}

/// The product for few rows of A: tasks of whole columns of C.
fn few_rows(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, parallel: bool) {
    let dots = b.row_stride == 1;
    // Row sums need wide tasks to read memory in long runs, dot products read whole columns of B.
    let width = (TASK_WORK / a.cols)
        .max(if dots { 4 } else { 512 })
        .next_multiple_of(4);
    let tasks = b.cols.div_ceil(width);
    let out = Columns {
        data: c.data.as_mut_ptr(),
        stride: c.row_stride,
    };
    let task = |task: usize| {
        let columns = task * width..((task + 1) * width).min(b.cols);
        // The temporary keeps the kernels' output contiguous; it is a few KiB.
        let mut block = vec![0.0; a.rows * columns.len()];
        if dots {
            let (data, stride, first, out) = (b.data, b.col_stride, columns.start, &mut block[..]);
            crate::dispatch!(dot_columns(a: Mat<'_>, data: &[f32], stride: usize, first: usize, out: &mut [f32]));
        } else {
            let (data, stride, first, out) = (b.data, b.row_stride, columns.start, &mut block[..]);
            crate::dispatch!(sum_rows(a: Mat<'_>, data: &[f32], stride: usize, first: usize, out: &mut [f32]));
        }
        for (row, block) in block.chunks_exact(columns.len()).enumerate() {
            // SAFETY: tasks write disjoint columns of `c`, all within its slice (`check`).
            let out = unsafe { out.row(row, columns.start, columns.len()) };
            for (out, value) in out.iter_mut().zip(block) {
                *out = if beta == 0.0 {
                    alpha * value
                } else {
                    alpha * value + beta * *out
                };
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
#[inline(always)]
fn dot_columns<const FMA: bool>(
    a: Mat<'_>,
    data: &[f32],
    stride: usize,
    first: usize,
    out: &mut [f32],
) {
    match a.rows {
        1 => dot_tiles::<FMA, 1, 4>(a, 0, data, stride, first, out),
        2 => dot_tiles::<FMA, 2, 4>(a, 0, data, stride, first, out),
        3 => dot_tiles::<FMA, 3, 4>(a, 0, data, stride, first, out),
        rows => {
            let mut row = 0;
            while row + 4 <= rows {
                dot_tiles::<FMA, 4, 4>(a, row, data, stride, first, out);
                row += 4;
            }
            match rows - row {
                1 => dot_tiles::<FMA, 1, 4>(a, row, data, stride, first, out),
                2 => dot_tiles::<FMA, 2, 4>(a, row, data, stride, first, out),
                3 => dot_tiles::<FMA, 3, 4>(a, row, data, stride, first, out),
                _ => {}
            }
        }
    }
}

/// `M` rows of A from `row` on against `N` columns at a time.
#[inline(always)]
fn dot_tiles<const FMA: bool, const M: usize, const N: usize>(
    a: Mat<'_>,
    row: usize,
    data: &[f32],
    stride: usize,
    first: usize,
    out: &mut [f32],
) {
    let columns = out.len() / a.rows;
    let rows: [&[f32]; M] = std::array::from_fn(|i| &a.data[(row + i) * a.row_stride..][..a.cols]);
    for j in (0..columns).step_by(N) {
        // The last tile repeats its last column, so there is one loop.
        let at: [usize; N] = std::array::from_fn(|i| (j + i).min(columns - 1));
        let tile = at.map(|j| &data[(first + j) * stride..][..a.cols]);
        let sums = dot_tile::<FMA, M, N>(rows, tile);
        for i in 0..M {
            for (j, sum) in at.into_iter().zip(sums[i]) {
                out[(row + i) * columns + j] = sum;
            }
        }
    }
}

#[inline(always)]
fn dot_tile<const FMA: bool, const M: usize, const N: usize>(
    a: [&[f32]; M],
    b: [&[f32]; N],
) -> [[f32; N]; M] {
    const LANES: usize = crate::simd::LANES;
    let mut lanes = [[[0.0; LANES]; N]; M];
    let chunks = a[0].len() / LANES;
    let a_chunks = a.map(|a| a.as_chunks::<LANES>().0);
    let b_chunks = b.map(|b| b.as_chunks::<LANES>().0);
    for at in 0..chunks {
        for i in 0..M {
            for j in 0..N {
                let (a, b) = (&a_chunks[i][at], &b_chunks[j][at]);
                for l in 0..LANES {
                    lanes[i][j][l] = mul_add::<FMA>(a[l], b[l], lanes[i][j][l]);
                }
            }
        }
    }
    let mut sums = [[0.0; N]; M];
    for i in 0..M {
        for j in 0..N {
            let tail = a[i][chunks * LANES..].iter().zip(&b[j][chunks * LANES..]);
            let tail = tail.fold(0.0, |sum, (&a, &b)| mul_add::<FMA>(a, b, sum));
            sums[i][j] = crate::simd::reduce_sum(lanes[i][j]) + tail;
        }
    }
    sums
}

/// `out[i, :] = Σ_k a[i, k] · row k of B`, columns `first..`, eight rows of B at a time so that
/// `out` passes through the registers once per eight.
#[inline(always)]
fn sum_rows<const FMA: bool>(
    a: Mat<'_>,
    data: &[f32],
    stride: usize,
    first: usize,
    out: &mut [f32],
) {
    const DEPTH: usize = 8;
    let columns = out.len() / a.rows;
    let mut k = 0;
    while k + DEPTH <= a.cols {
        let b: [&[f32]; DEPTH] =
            std::array::from_fn(|d| &data[(k + d) * stride + first..][..columns]);
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

/// The triple loop, with sums in f64.
pub fn reference(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>) {
    check(&a, &b, &c);
    for i in 0..c.rows {
        for j in 0..c.cols {
            let term = |k| {
                let a = a.data[i * a.row_stride + k * a.col_stride];
                f64::from(a) * f64::from(b.data[k * b.row_stride + j * b.col_stride])
            };
            let sum: f64 = (0..a.cols).map(term).sum();
            let out = &mut c.data[i * c.row_stride + j * c.col_stride];
            let old = if beta == 0.0 {
                0.0
            } else {
                f64::from(beta) * f64::from(*out)
            };
            *out = (f64::from(alpha) * sum + old) as f32;
        }
    }
}
