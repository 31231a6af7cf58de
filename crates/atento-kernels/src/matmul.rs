//! Matrix multiplication `C = α·A·B + β·C` over views with strides.
//!
//! Large products go to the `gemm` crate (packed panels, register tiles). Products with at most
//! eight rows of A, the shape of token-by-token decoding, read B once and are bound by
//! memory bandwidth, so they have loops of their own: dot products when the columns of B are
//! contiguous, sums of rows when its rows are. Sums are in f32.

use crate::few_rows::{self, FEW_ROWS};

/// Multiplications from which a product is spread over threads.
const PARALLEL_WORK: usize = 1 << 18;

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
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 }
}

impl<'a> Mat<'a> {
    /// A contiguous matrix stored row by row.
    ///
    /// # Panics
    /// If `data` is not `rows · cols` long.
    #[track_caller]
    pub fn row_major(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "Mat::row_major: data against {rows} x {cols}");
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
        assert_eq!(data.len(), rows * cols, "MatMut::row_major: data against {rows} x {cols}");
        MatMut { data, rows, cols, row_stride: cols, col_stride: 1 }
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
    assert!(fits(a.data.len(), a.rows, a.cols, a.row_stride, a.col_stride), "gemm: a leaves its storage");
    assert!(fits(b.data.len(), b.rows, b.cols, b.row_stride, b.col_stride), "gemm: b leaves its storage");
    assert!(fits(c.data.len(), c.rows, c.cols, c.row_stride, c.col_stride), "gemm: c leaves its storage");
    let separate = c.rows <= 1 || c.cols <= 1 || {
        let by_rows = c.col_stride >= 1 && c.row_stride > (c.cols - 1) * c.col_stride;
        by_rows || (c.row_stride >= 1 && c.col_stride > (c.rows - 1) * c.row_stride)
    };
    assert!(separate, "gemm: elements of c overlap");
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
