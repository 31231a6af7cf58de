//! Matrix multiplication `C = α·A·B + β·C` over views with strides.
//!
//! Large products go to the `gemm` crate (packed panels, register tiles). Products with at most
//! eight rows of A, the shape of token-by-token decoding, read B once and are bound by
//! memory bandwidth, so they have loops of their own: dot products when the columns of B are
//! contiguous, sums of rows when its rows are. Sums are in f32.
//!
//! Products of bf16 numbers, which training may use in place of these, are in [`packed`]; [`gemm_in`] chooses.

pub mod packed;
mod precision;

use crate::few_rows::{self, FEW_ROWS};

pub use precision::{Precision, gemm_in};

/// Rows of the product that one call of `gemm` computes where it may copy all of A: it copies up to 512 columns of them
/// at a time, into memory that it asks the system for in every call, here 1 MiB. Of B it copies no more than 1.5 MiB,
/// and A and B both only where both are transposed. Blocks of 2 MiB and more would be mapped anew for every product.
const PACKED_ROWS: usize = 512;

/// Columns of the product up to which `gemm` reads rows of A, if they are contiguous, where they lie.
const UNPACKED_COLS: usize = 1024;

/// Multiplications from which a product is spread over threads.
const PARALLEL_WORK: usize = 1 << 18;

/// A matrix to read: element `(i, j)` is `data[i·row_stride + j·col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T = f32> {
    /// Storage; may hold more than the matrix.
    pub data: &'a [T],
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

/// Elements of storage a matrix of this layout reaches over; `None` where that is more than can be counted.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let (down, across) = ((rows - 1).checked_mul(row_stride)?, (cols - 1).checked_mul(col_stride)?);
    down.checked_add(across)?.checked_add(1)
}

/// Whether no two elements of a matrix of this layout are one number: the columns of a row lie apart and rows begin
/// behind each other's ends, or the same with rows and columns exchanged.
fn elements_are_distinct(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> bool {
    let apart = |inner: usize, inner_stride: usize, outer: usize, outer_stride: usize| {
        let end = (inner - 1).checked_mul(inner_stride);
        (inner == 1 || inner_stride > 0) && (outer == 1 || end.is_some_and(|end| outer_stride > end))
    };
    rows == 0 || cols == 0 || apart(cols, col_stride, rows, row_stride) || apart(rows, row_stride, cols, col_stride)
}

/// A stride for the `gemm` crate. One beyond `isize` only belongs to a single row or column (`check`), which is never
/// stepped over.
fn signed(stride: usize) -> isize {
    isize::try_from(stride).unwrap_or(isize::MAX)
}

impl<'a, T> Mat<'a, T> {
    /// A contiguous matrix stored row by row.
    ///
    /// # Panics
    /// If `data` is not `rows · cols` long.
    #[track_caller]
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "Mat::row_major: data against {rows} x {cols}");
        Mat { data, rows, cols, row_stride: cols, col_stride: 1 }
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
        assert_eq!(Some(data.len()), rows.checked_mul(cols), "MatMut::row_major: data against {rows} x {cols}");
        MatMut { data, rows, cols, row_stride: cols, col_stride: 1 }
    }
}

/// `c = alpha · a · b + beta · c`, on all threads when the product is large. With `beta` 0 the old
/// content of `c` is not read.
///
/// # Panics
/// If the shapes do not fit together, a view reaches beyond its storage, or elements of `c` overlap.
#[track_caller]
pub fn gemm(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>) {
    // Threads share out the product's tiles; they decide neither which kernel computes a tile nor in which order it sums.
    let work = a.rows.saturating_mul(a.cols).saturating_mul(b.cols);
    let parallel = work >= PARALLEL_WORK && rayon::current_num_threads() > 1;
    let threads = if parallel { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    product(alpha, a, b, beta, c, threads);
}

/// [`gemm()`] on the calling thread only, for use inside tasks.
///
/// # Panics
/// As [`gemm()`].
#[track_caller]
pub fn gemm_serial(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>) {
    product(alpha, a, b, beta, c, gemm::Parallelism::None);
}

#[track_caller]
fn check<A, B>(a: &Mat<'_, A>, b: &Mat<'_, B>, c: &MatMut<'_>) {
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
    let fits = |len: usize, rows, cols, rs, cs| extent(rows, cols, rs, cs).is_some_and(|extent| extent <= len);
    assert!(fits(a.data.len(), a.rows, a.cols, a.row_stride, a.col_stride), "gemm: a leaves its storage");
    assert!(fits(b.data.len(), b.rows, b.cols, b.row_stride, b.col_stride), "gemm: b leaves its storage");
    assert!(fits(c.data.len(), c.rows, c.cols, c.row_stride, c.col_stride), "gemm: c leaves its storage");
    let distinct = elements_are_distinct(c.rows, c.cols, c.row_stride, c.col_stride);
    assert!(distinct, "gemm: elements of c overlap");
}

#[track_caller]
fn product(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, threads: gemm::Parallelism) {
    check(&a, &b, &c);
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    let few = a.rows <= FEW_ROWS && a.col_stride == 1 && c.col_stride == 1 && a.cols > 0;
    if few && (b.row_stride == 1 || b.col_stride == 1) {
        return few_rows::product(alpha, a, b, beta, c, !matches!(threads, gemm::Parallelism::None));
    }
    if a.rows > PACKED_ROWS && (a.col_stride != 1 || b.cols > UNPACKED_COLS) {
        return in_parts(alpha, a, b, beta, c, threads);
    }
    call(alpha, a, b, beta, c, threads);
}

/// The product in parts of equally many rows, about [`PACKED_ROWS`].
fn in_parts(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, threads: gemm::Parallelism) {
    let MatMut { data, rows, cols, row_stride, col_stride } = c;
    let part = rows.div_ceil(rows.div_ceil(PACKED_ROWS));
    for first in (0..rows).step_by(part) {
        let rows = part.min(rows - first);
        // A view without elements has no place to begin.
        let from = if a.cols == 0 { 0 } else { first * a.row_stride };
        let a = Mat { data: &a.data[from..], rows, ..a };
        let c = MatMut { data: &mut data[first * row_stride..], rows, cols, row_stride, col_stride };
        check(&a, &b, &c);
        call(alpha, a, b, beta, c, threads);
    }
}

/// The product of matrices that `check` has passed.
fn call(alpha: f32, a: Mat<'_>, b: Mat<'_>, beta: f32, c: MatMut<'_>, threads: gemm::Parallelism) {
    // SAFETY: `check` asserted, in arithmetic that cannot wrap, that every element of the three matrices lies in its slice
    // and that the elements of `c`, borrowed mutably, are distinct. Slices have at most isize::MAX bytes, so every stride
    // that is stepped over fits isize (`signed`).
    unsafe {
        gemm::gemm(
            c.rows,
            c.cols,
            a.cols,
            c.data.as_mut_ptr(),
            signed(c.col_stride),
            signed(c.row_stride),
            beta != 0.0,
            a.data.as_ptr(),
            signed(a.col_stride),
            signed(a.row_stride),
            b.data.as_ptr(),
            signed(b.col_stride),
            signed(b.row_stride),
            beta,
            alpha,
            false,
            false,
            false,
            threads,
        );
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
            let old = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(*out) };
            *out = (f64::from(alpha) * sum + old) as f32;
        }
    }
}
