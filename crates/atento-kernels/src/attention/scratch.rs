//! Scratch that a thread keeps, and what is put there: transposed blocks and gathered rows.
//!
//! # Safety
//! Callers promise what [`lanes`](super::lanes) says. A [`View`] is a pointer to `rows` rows of `columns` or of `head_dim`
//! numbers.

use std::cell::RefCell;

use super::Attention;
use super::lanes::{Lanes, WIDEST};
use super::layout::View;
use super::tile::KEYS;

/// Transposes rows into `packed[column][row]` with `row_len` numbers a row, times `scale`. Lanes
/// beyond the last row repeat it, so that they hold numbers like any other.
///
/// # Safety
/// `packed` is `columns` rows of `row_len` numbers, no fewer than the rows of `rows` rounded up to whole vectors.
#[inline(always)]
pub(super) unsafe fn pack<S: Lanes>(rows: View, columns: usize, scale: f32, packed: *mut f32, row_len: usize) {
    for lane in (0..rows.rows).step_by(S::LANES) {
        let pointers: [*const f32; WIDEST] = std::array::from_fn(|i| {
            let row = (lane + i % S::LANES).min(rows.rows - 1);
            rows.start.wrapping_add(row * rows.stride).cast_const()
        });
        // SAFETY: the caller promises `columns` numbers at each of the pointers, and `columns` rows of `packed`, in each of
        // which a vector from `lane` on lies; the columns reached, `c`, or `c` and three more, are below `columns`.
        unsafe {
            for c in (0..columns / 4 * 4).step_by(4) {
                let four = S::four_columns(&pointers.map(|row| row.wrapping_add(c)));
                for i in 0..4 {
                    let column = S::mul(four[i], S::splat(scale));
                    S::store(packed.add((c + i) * row_len + lane), column);
                }
            }
            for c in columns / 4 * 4..columns {
                for i in 0..S::LANES {
                    *packed.add(c * row_len + lane + i) = *pointers[i].add(c) * scale;
                }
            }
        }
    }
}

/// Whether a pass over so many blocks of queries and so many keys first gathers the keys.
///
/// Rows of a fused projection lie far apart, by a multiple of a large power of two and each in a
/// page of its own: few of them fit a cache at once, and the processor cannot foresee the next.
/// Read again and again, they are better copied together once, into scratch linear in length.
#[inline(always)]
pub(super) fn worth_gathering(blocks: usize, keys: usize) -> bool {
    blocks > 1 && keys > 8 * KEYS
}

/// Numbers of scratch: `fixed`, `rows` times a head's, and `copies` gathered sets of the longest segment's keys.
///
/// # Panics
/// If they are more than can be counted: a size that wrapped would be too small.
#[track_caller]
pub(super) fn scratch_len(attention: &Attention<'_>, fixed: usize, rows: usize, copies: usize) -> usize {
    let head_dim = attention.head_dim;
    let keys = attention.segments.iter().map(|segment| segment.key_len).max().unwrap_or(0);
    let rows = copies.checked_mul(keys).and_then(|copied| copied.checked_add(rows));
    let len = rows.and_then(|rows| rows.checked_mul(head_dim)).and_then(|len| len.checked_add(fixed));
    let Some(len) = len else {
        panic!("attention: the scratch for {keys} keys with heads of {head_dim} is too many numbers");
    };
    len
}

/// A head's rows as a matrix of their own, at `to`.
#[inline(always)]
pub(super) fn gathered(rows: usize, head_dim: usize, to: *mut f32) -> View {
    View { start: to, stride: head_dim, rows }
}

/// Copies a head's rows.
///
/// # Safety
/// `to` has as many rows as `from`, and they can be written.
#[inline(always)]
pub(super) unsafe fn copy_rows<S: Lanes>(from: View, to: View, head_dim: usize) {
    let whole = head_dim / S::LANES * S::LANES;
    for t in 0..from.rows {
        let (from, to) = (from.row(t).0, to.row_mut(t).0);
        // SAFETY: the caller promises that both views have row `t`, of `head_dim` numbers: the whole vectors and the rest.
        unsafe {
            for d in (0..whole).step_by(S::LANES) {
                S::store(to.add(d), S::load(from.add(d)));
            }
            if whole < head_dim {
                let rest = S::load_first(from.add(whole), head_dim - whole);
                S::store_first(to.add(whole), rest, head_dim - whole);
            }
        }
    }
}

/// Zeroes `count` rows.
///
/// # Safety
/// The pointer is, `stride` apart, to `count` rows of `head_dim` numbers.
#[inline(always)]
pub(super) unsafe fn clear_rows((row, stride): (*mut f32, usize), count: usize, head_dim: usize) {
    for t in 0..count {
        for d in 0..head_dim {
            // SAFETY: promised by the caller: `t` is one of the rows, and `d` of its numbers.
            unsafe { *row.add(t * stride + d) = 0.0 };
        }
    }
}

/// A 64-byte cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; 16]);

/// Gives `work` an aligned buffer of `len` numbers, which the thread keeps for the next call.
/// What it holds is left from the last one. The buffer is for `work` alone, and only while it runs.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(*mut f32) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|lines| {
        let count = len.div_ceil(16);
        if lines.len() < count {
            lines.resize(count, Line([0.0; 16]));
        }
        work(lines.as_mut_ptr().cast())
    })
}
