//! The one matrix product of attention: small, on strided operands, accumulated in registers.
//!
//! `C[m][n] (op)= Σₖ A[m][k]·B[k][n]`, where the columns n are contiguous and fill vectors, and A
//! is read one number at a time, so its two strides are free: a matrix and its transpose are the
//! same to it, and neither keys nor values are ever packed. All six products of the forward and
//! the backward pass are of this form (see [`tile`](super::tile)).
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says, and that the [`Product`] is valid: its pointers, with their strides,
//! are to `rows` × `depth` numbers of A, `depth` × `columns` of B, `rows` × `columns` of C and, in its [`Store`], `rows`
//! factors. C may be written. `rows` and `columns` fit 32 bits.

use super::lanes::Lanes;

/// What happens to the sums.
#[derive(Clone, Copy)]
pub(super) enum Store {
    /// `C = AB`; what was in C is not read.
    Overwrite,
    /// `C += AB`.
    Add,
    /// `C[m] = new[m]·AB[m]`; what was in C is not read.
    Scale { new: *const f32 },
    /// `C[m] = old[m]·C[m] + new[m]·AB[m]`.
    Blend { old: *const f32, new: *const f32 },
}

impl Store {
    /// The same for the rows of C from `row` on.
    #[inline(always)]
    pub fn of_rows(self, row: usize) -> Self {
        match self {
            Store::Overwrite | Store::Add => self,
            Store::Scale { new } => Store::Scale { new: new.wrapping_add(row) },
            Store::Blend { old, new } => Store::Blend { old: old.wrapping_add(row), new: new.wrapping_add(row) },
        }
    }
}

/// Operands of a product. `A[m][k]` is `a[m·a_row + k·a_column]`, B and C are `b[k·b_row + n]` and
/// `c[m·c_row + n]`.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub a: *const f32,
    pub a_row: usize,
    pub a_column: usize,
    pub b: *const f32,
    pub b_row: usize,
    pub c: *mut f32,
    pub c_row: usize,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub store: Store,
}

/// Computes a register tile of the product from `(row, column)` on.
///
/// # Safety
/// As [`tile_body`].
pub(super) type Kernel = unsafe fn(product: &Product, row: usize, column: usize);

/// The whole product, in register tiles: vertical panels as wide as registers allow, split evenly,
/// and within them bands of rows, split evenly, so that no tile is much smaller than the others
/// and the latency of the multiply-adds stays hidden.
#[inline(always)]
pub(super) unsafe fn multiply<S: Lanes>(product: &Product) {
    let vectors = product.columns / S::LANES;
    let mut column = 0;
    for width in even_parts(vectors, S::TILES.len()) {
        // SAFETY: the caller promises a valid product. The widths add up to `vectors`, the whole vectors of its columns,
        // so `width` of them are left from `column` on, as many as the kernels of this table compute.
        unsafe { bands(product, S::TILES[width - 1], column) };
        column += width * S::LANES;
    }
    if column < product.columns {
        // SAFETY: as above; less than a vector is left from `column` on, which is for the partial kernels.
        unsafe { bands(product, S::PARTIAL, column) };
    }
}

/// All rows of the columns that `kernels` compute from `column` on.
///
/// # Safety
/// The product is valid, `kernels[m − 1]` computes `m` rows, and its columns from `column` on are the product's.
#[inline(always)]
unsafe fn bands(product: &Product, kernels: &[Kernel], column: usize) {
    let mut row = 0;
    for rows in even_parts(product.rows, kernels.len()) {
        // SAFETY: promised by the caller; the parts add up to the product's rows, so `rows` of them are left from `row` on.
        unsafe { kernels[rows - 1](product, row, column) };
        row += rows;
    }
}

/// The fewest parts of `total` that are at most `largest`, no two of which differ by more than one.
/// Both numbers fit 32 bits, whose division is twice as fast.
#[inline(always)]
fn even_parts(total: usize, largest: usize) -> impl Iterator<Item = usize> {
    let (total, largest) = (total as u32, largest as u32);
    let (parts, part, longer) = if total <= largest {
        (u32::from(total > 0), total, 0)
    } else {
        let parts = total.div_ceil(largest);
        (parts, total / parts, total % parts)
    };
    (0..parts).map(move |i| (part + u32::from(i < longer)) as usize)
}

/// Groups of four rows in the highest register tile.
const GROUPS: usize = 4;

/// A register tile of `M` rows and `N` vectors; the last vector lacks columns if `PARTIAL`.
///
/// # Safety
/// The product is valid and has `M` rows from `row` on. From `column` on it has the columns of `N` vectors or, if
/// `PARTIAL`, of less than one, and `N` is 1.
#[inline(always)]
pub(super) unsafe fn tile_body<S: Lanes, const M: usize, const N: usize, const PARTIAL: bool>(
    product: &Product,
    row: usize,
    column: usize,
) {
    let missing = product.columns - column;
    let mut a = [product.a.wrapping_add(row * product.a_row); GROUPS];
    let mut b = product.b.wrapping_add(column);
    // SAFETY: the caller promises the instruction set.
    let mut sums = unsafe { [[S::splat(0.0); N]; M] };
    // SAFETY: the caller promises the instruction set, `M` rows of A from `row` on, and in each row of B the columns of
    // the tile from `column` on. Of A, step k reads `M` numbers, one of each row, in column k; of B the tile's columns in
    // row k; and k < depth. Pointers that a last step moves past the end are not read through.
    unsafe {
        if product.a_row == 1 {
            for _ in 0..product.depth {
                let columns = load::<S, N, PARTIAL>(b, missing);
                for i in 0..M {
                    let x = S::splat(*a[0].wrapping_add(i));
                    for j in 0..N {
                        sums[i][j] = S::mul_add(x, columns[j], sums[i][j]);
                    }
                }
                a[0] = a[0].wrapping_add(product.a_column);
                b = b.wrapping_add(product.b_row);
            }
        } else {
            // A pointer for every four rows: one for all would make the processor find each row's
            // address from the row before it, a chain as long as the tile is high.
            for group in 1..M.div_ceil(4) {
                a[group] = a[group - 1].wrapping_add(4 * product.a_row);
            }
            for _ in 0..product.depth {
                let columns = load::<S, N, PARTIAL>(b, missing);
                for i in 0..M {
                    let x = S::splat(*a[i / 4].wrapping_add(i % 4 * product.a_row));
                    for j in 0..N {
                        sums[i][j] = S::mul_add(x, columns[j], sums[i][j]);
                    }
                }
                for group in 0..M.div_ceil(4) {
                    a[group] = a[group].wrapping_add(product.a_column);
                }
                b = b.wrapping_add(product.b_row);
            }
        }
    }
    for i in 0..M {
        let c = product.c.wrapping_add((row + i) * product.c_row + column);
        let mut values = sums[i];
        // SAFETY: the caller promises the instruction set, that `row + i` is a row of C and a place in the factors, and
        // that C has the columns of the tile from `column` on, the numbers at `c`.
        unsafe {
            match product.store {
                Store::Overwrite => {}
                Store::Add => {
                    let before = load::<S, N, PARTIAL>(c, missing);
                    for j in 0..N {
                        values[j] = S::add(values[j], before[j]);
                    }
                }
                Store::Scale { new } => {
                    let new = S::splat(*new.add(row + i));
                    for j in 0..N {
                        values[j] = S::mul(values[j], new);
                    }
                }
                Store::Blend { old, new } => {
                    let (old, new) = (S::splat(*old.add(row + i)), S::splat(*new.add(row + i)));
                    let before = load::<S, N, PARTIAL>(c, missing);
                    for j in 0..N {
                        values[j] = S::mul_add(values[j], new, S::mul(old, before[j]));
                    }
                }
            }
            for j in 0..N {
                if PARTIAL {
                    S::store_first(c, values[j], missing);
                } else {
                    S::store(c.add(j * S::LANES), values[j]);
                }
            }
        }
    }
}

/// The numbers of `N` vectors from `from` on or, if `PARTIAL`, the first `columns` of one, which are less than a vector.
///
/// # Safety
/// `from` is a pointer to these numbers.
#[inline(always)]
unsafe fn load<S: Lanes, const N: usize, const PARTIAL: bool>(from: *const f32, columns: usize) -> [S::V; N] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut vectors = [S::splat(0.0); N];
        for j in 0..N {
            vectors[j] = if PARTIAL { S::load_first(from, columns) } else { S::load(from.add(j * S::LANES)) };
        }
        vectors
    }
}
