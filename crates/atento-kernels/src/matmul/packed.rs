//! Products of bf16 numbers with sums in f32: `C = A·B` or `C += A·B`.
//!
//! The operands are f32, rounded to the nearest bf16 (ties to even) as they are packed, or bf16 already. A product takes
//! stretches of at most `ROWS` × `COLS` of C and `DEPTH` along k. For each:
//! 1. The rows of A and the columns of B are packed into panels (`panels.rs`), each once, by all threads. Numbers beyond
//!    the edges are 0.
//! 2. Tasks of `TASK_ROWS` × `TASK_COLS` of C go through k in blocks of the unit's depth. For each block the unit's
//!    kernel multiplies a panel of A by a panel of B into a tile of sums in f32, which begin at 0, and the tile is added to C.
//!
//! Hence the order of sums: within a block as the unit sums (`emulated.rs`, `avx512.rs`, `amx.rs`), the blocks one after the
//! other, an old value of C first. It follows from the number of columns of A and from the unit alone: neither from the
//! number of threads nor from other rows and columns. Units differ in the last bits.
//!
//! Products in two parts (bf16x3) split each operand, `x = high + low` with `high = bf16(x)` and `low = bf16(x − high)`, and
//! sum `low·high + high·low + high·high` in one tile. What is left out, `low·low`, is at most 2⁻¹⁶ of the product (Henry, Tang &
//! Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations").
//!
//! Special numbers: NaN and infinity are as in f32, except that in two parts an infinite operand gives NaN, as `low` is
//! ∞ − ∞. Finite numbers from 3.3962·10³⁸ on round to infinity. The instructions read denormal operands as 0 and write
//! denormal sums as 0, whatever the processor's rounding mode; the emulation does so too.

mod amx;
mod avx512;
mod emulated;
mod panels;
#[cfg(test)]
mod tests;
mod unit;

use std::slice;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{Mat, MatMut, check};
use panels::{Line, Lines, PAIRS, Panels};

pub use panels::Operand;
pub use unit::{Unit, native_unit, unit, usable_unit, with_unit};

/// Rows of C, columns of C and numbers along k that are packed at a time: 8 MiB of A and of B in one part at most.
const ROWS: usize = 4096;
const COLS: usize = 4096;
const DEPTH: usize = 1024;

/// Rows and columns of C of one task: panels of A of one block stay in the second-level cache, and small products of
/// training still make enough tasks for the threads.
const TASK_ROWS: usize = 128;
const TASK_COLS: usize = 192;

/// Lines of one task of packing.
const TASK_LINES: usize = 1024;

/// The most numbers of a tile of any unit.
const TILE: usize = 32 * 32;

/// In how many bf16 numbers an operand is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Rounded.
    One,
    /// High and low.
    Two,
}

impl Parts {
    fn count(self) -> usize {
        match self {
            Parts::One => 1,
            Parts::Two => 2,
        }
    }
}

/// Panels of A and of B over the same stretch of k, which are multiplied.
type Term<'a> = (&'a [Line], &'a [Line]);

/// How a unit multiplies.
struct Kernel {
    /// Rows of a tile.
    rows: usize,
    /// Columns of a tile: whole lines.
    cols: usize,
    /// Numbers along k of one block, in one part: whole lines of A.
    depth: usize,
    /// `sums = Σ a·b` over the terms; `sums` is `rows` × `cols`.
    tile: fn(&[Term<'_>], &mut [f32]),
}

/// `c = a · b`, or `c += a · b` with `accumulate`, with products in bf16 on the unit of this machine ([`unit()`]).
///
/// # Panics
/// If the shapes do not fit together, a view reaches beyond its storage, or elements of `c` overlap; if neither rows nor
/// columns of `a` or `b`, or not the columns of `c`, are contiguous.
#[track_caller]
pub fn product<A: Operand, B: Operand>(parts: Parts, a: Mat<'_, A>, b: Mat<'_, B>, accumulate: bool, c: MatMut<'_>) {
    product_on(unit().kernel(), parts, a, b, accumulate, c);
}

#[track_caller]
fn product_on<A: Operand, B: Operand>(
    kernel: &Kernel,
    parts: Parts,
    a: Mat<'_, A>,
    b: Mat<'_, B>,
    accumulate: bool,
    c: MatMut<'_>,
) {
    check(&a, &b, &c);
    assert!(c.col_stride == 1 || c.cols <= 1, "packed product: the columns of c are {} apart", c.col_stride);
    if c.rows == 0 || c.cols == 0 {
        return;
    }
    let depth = a.cols;
    if depth == 0 && !accumulate {
        return (0..c.rows).for_each(|row| c.data[row * c.row_stride..][..c.cols].fill(0.0));
    }
    let whole = Out { at: c.data.as_mut_ptr(), row_stride: c.row_stride };
    let (a, b) = (Lines::of_rows(a), Lines::of_columns(b));
    let mut memory = Memory::take();
    for first_col in (0..c.cols).step_by(COLS) {
        let cols = first_col..c.cols.min(first_col + COLS);
        for first in (0..depth).step_by(DEPTH) {
            let along = first..depth.min(first + DEPTH);
            for first_row in (0..c.rows).step_by(ROWS) {
                let rows = first_row..c.rows.min(first_row + ROWS);
                let (panels_a, panels_b) = (
                    Panels::of_rows(kernel, parts, rows.len(), along.len()),
                    Panels::of_columns(kernel, parts, cols.len(), along.len()),
                );
                let (to_a, to_b) = memory.split(panels_a.lines(), panels_b.lines());
                let pack_b = || {
                    // The same columns lie there from the rows before.
                    if first_row == 0 {
                        panels_b.pack(&b, cols.start, along.clone(), to_b);
                    }
                };
                rayon::join(pack_b, || panels_a.pack(&a, rows.start, along.clone(), to_a));
                let add = accumulate || first > 0;
                // SAFETY: `check` asserted that c's elements, borrowed mutably, lie in its slice and are distinct; the
                // stretch is a part of c.
                let part = unsafe { whole.part(rows.start, cols.start) };
                multiply(kernel, parts, (&panels_a, to_a), (&panels_b, to_b), add, part, rows.len(), cols.len());
            }
        }
    }
    memory.give_back();
}

/// Multiplies packed panels into a stretch of C of `rows` × `cols`.
fn multiply(
    kernel: &Kernel,
    parts: Parts,
    (panels_a, a): (&Panels, &[Line]),
    (panels_b, b): (&Panels, &[Line]),
    add: bool,
    out: Out,
    rows: usize,
    cols: usize,
) {
    // Whole panels.
    let task_rows = TASK_ROWS.next_multiple_of(kernel.rows);
    let task_cols = TASK_COLS.next_multiple_of(kernel.cols);
    let tasks_across = cols.div_ceil(task_cols);
    (0..rows.div_ceil(task_rows) * tasks_across).into_par_iter().for_each(|task| {
        let (first_row, first_col) = (task / tasks_across * task_rows, task % tasks_across * task_cols);
        let (end_row, end_col) = (rows.min(first_row + task_rows), cols.min(first_col + task_cols));
        let mut sums = Tile([0.0; TILE]);
        let sums = &mut sums.0[..kernel.rows * kernel.cols];
        for block in 0..panels_a.blocks() {
            for col in (first_col..end_col).step_by(kernel.cols) {
                let b = panels_b.block(b, col / kernel.cols, block);
                for row in (first_row..end_row).step_by(kernel.rows) {
                    let a = panels_a.block(a, row / kernel.rows, block);
                    match parts {
                        Parts::One => (kernel.tile)(&[(a, b)], sums),
                        Parts::Two => {
                            let ((high_a, low_a), (high_b, low_b)) = (halves(a), halves(b));
                            (kernel.tile)(&[(low_a, high_b), (high_a, low_b), (high_a, high_b)], sums);
                        }
                    }
                    let (rows, cols) = (kernel.rows.min(end_row - row), kernel.cols.min(end_col - col));
                    // SAFETY: the tile lies within the stretch that `out` is; tasks have rows or columns of their own.
                    let mut tile = unsafe { out.part(row, col) };
                    for sums in sums.chunks_exact(kernel.cols).take(rows) {
                        // SAFETY: as above; `cols` ends where the stretch does.
                        let to = unsafe { tile.next_row(cols) };
                        write(&sums[..cols], add || block > 0, to);
                    }
                }
            }
        }
    });
}

fn halves(lines: &[Line]) -> (&[Line], &[Line]) {
    lines.split_at(lines.len() / 2)
}

/// `to = sums`, or `to += sums`.
fn write(sums: &[f32], add: bool, to: &mut [f32]) {
    #[inline(always)]
    fn body<const FMA: bool>(sums: &[f32], to: &mut [f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to += sum;
        }
    }
    match add {
        true => crate::dispatch!(body(sums: &[f32], to: &mut [f32])),
        false => to.copy_from_slice(sums),
    }
}

/// Sums, at the beginning of a cache line.
#[repr(align(64))]
struct Tile([f32; TILE]);

/// Where a stretch of C begins.
#[derive(Clone, Copy)]
struct Out {
    at: *mut f32,
    row_stride: usize,
}

// SAFETY: tasks write to rows and columns of their own (`multiply`).
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// # Safety
    /// The element lies in C.
    unsafe fn part(self, row: usize, col: usize) -> Self {
        // SAFETY: promised by the caller.
        Self { at: unsafe { self.at.add(row * self.row_stride + col) }, ..self }
    }

    /// The first columns of the first row; the next row is the first from then on.
    ///
    /// # Safety
    /// They lie in C, and nobody else has them.
    unsafe fn next_row<'a>(&mut self, cols: usize) -> &'a mut [f32] {
        // SAFETY: promised by the caller; the pointer may end behind C, where it is not read.
        unsafe {
            let row = slice::from_raw_parts_mut(self.at, cols);
            self.at = self.at.wrapping_add(self.row_stride);
            row
        }
    }
}

/// Memory of packed panels, kept from product to product: as many pieces as products ran at a time.
struct Memory(Vec<Line>);

static FREE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

impl Memory {
    fn take() -> Self {
        Self(FREE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default())
    }

    fn split(&mut self, a: usize, b: usize) -> (&mut [Line], &mut [Line]) {
        if self.0.len() < a + b {
            // B lies first: it stays while rows of A change.
            self.0.resize(a + b, Line([0; PAIRS]));
        }
        let (b, rest) = self.0.split_at_mut(b);
        (&mut rest[..a], b)
    }

    fn give_back(self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}
