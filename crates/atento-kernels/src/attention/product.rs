//! The one matrix product of attention: small, on strided operands, accumulated in registers.
//!
//! `C[m][n] (op)= Σₖ A[m][k]·B[k][n]`, where the columns n are contiguous and fill vectors, and A
//! is read one number at a time, so its two strides are free: a matrix and its transpose are the
//! same to it, and neither keys nor values are ever packed. All six products of the forward and
//! the backward pass are of this form (see [`tile`](super::tile)).
//!
//! # Safety
//! As in [`lanes`](super::lanes); pointers and strides in a [`Product`] must be valid for its sizes.
#![allow(unsafe_op_in_unsafe_fn)]

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
    pub fn from_row(self, row: usize) -> Self {
        match self {
            Store::Overwrite | Store::Add => self,
            Store::Scale { new } => Store::Scale {
                new: new.wrapping_add(row),
            },
            Store::Blend { old, new } => Store::Blend {
                old: old.wrapping_add(row),
                new: new.wrapping_add(row),
            },
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
pub(super) type Kernel = unsafe fn(product: &Product, row: usize, column: usize);

/// The whole product, in register tiles: vertical panels as wide as registers allow, split evenly,
/// and within them bands of rows, split evenly, so that no tile is much smaller than the others
/// and the latency of the multiply-adds stays hidden.
#[inline(always)]
pub(super) unsafe fn multiply<S: Lanes>(product: &Product) {
    let vectors = product.columns / S::LANES;
    let panels = vectors.div_ceil(S::TILES.len());
    let mut done = 0;
    for panel in 0..panels {
        let width = (vectors - done).div_ceil(panels - panel);
        bands(product, S::TILES[width - 1], done * S::LANES);
        done += width;
    }
    if product.columns % S::LANES > 0 {
        bands(product, S::PARTIAL, done * S::LANES);
    }
}

#[inline(always)]
unsafe fn bands(product: &Product, kernels: &[Kernel], column: usize) {
    let mut left = product.rows.div_ceil(kernels.len());
    let mut row = 0;
    while left > 0 {
        let rows = (product.rows - row).div_ceil(left);
        kernels[rows - 1](product, row, column);
        row += rows;
        left -= 1;
    }
}

/// A register tile of `M` rows and `N` vectors; the last vector lacks columns if `PARTIAL`.
#[inline(always)]
pub(super) unsafe fn tile_body<S: Lanes, const M: usize, const N: usize, const PARTIAL: bool>(
    product: &Product,
    row: usize,
    column: usize,
) {
    let missing = product.columns - column;
    let mut a = product.a.add(row * product.a_row);
    let mut b = product.b.add(column);
    let mut sums = [[S::splat(0.0); N]; M];
    for _ in 0..product.depth {
        let mut columns = [S::splat(0.0); N];
        for j in 0..N {
            columns[j] = load::<S, PARTIAL>(b, j, missing);
        }
        for i in 0..M {
            let x = S::splat(*a.add(i * product.a_row));
            for j in 0..N {
                sums[i][j] = S::mul_add(x, columns[j], sums[i][j]);
            }
        }
        a = a.wrapping_add(product.a_column);
        b = b.wrapping_add(product.b_row);
    }
    for i in 0..M {
        let c = product.c.add((row + i) * product.c_row + column);
        let mut values = sums[i];
        match product.store {
            Store::Overwrite => {}
            Store::Add => {
                for j in 0..N {
                    values[j] = S::add(values[j], load::<S, PARTIAL>(c, j, missing));
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
                for j in 0..N {
                    let kept = S::mul(old, load::<S, PARTIAL>(c, j, missing));
                    values[j] = S::mul_add(values[j], new, kept);
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

/// Vector `j` from `from` on; of a partial vector, the columns there are.
#[inline(always)]
unsafe fn load<S: Lanes, const PARTIAL: bool>(from: *const f32, j: usize, columns: usize) -> S::V {
    if PARTIAL {
        S::load_first(from, columns)
    } else {
        S::load(from.add(j * S::LANES))
    }
}
