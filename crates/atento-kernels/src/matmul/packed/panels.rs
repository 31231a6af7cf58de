//! Panels of packed operands.
//!
//! A [`Line`] is 64 bytes: sixteen pairs of bf16 numbers that are neighbours along k, the earlier one in the low half. A
//! panel covers the rows of A, or the columns of B, of one tile, and all of the stretch along k, block by block. Within a
//! block all of the high parts come first, then, where there are two parts, the low ones. A part is
//! * of A: for each 32 numbers along k, a line of them for each row;
//! * of B: for each pair along k, the pairs of all columns: a line for each sixteen of them.
//!
//! These are the layouts that tiles are loaded in (rows of A as they are, B in pairs); a vector unit reads a pair of A for
//! all lanes and a line of B. Blocks are filled up with zeros to 32 numbers.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::super::Mat;
use super::{Kernel, Parts, TASK_LINES};

/// Pairs of a line.
pub(super) const PAIRS: usize = 16;

/// Rows of the narrowest panels.
const HALF: usize = PAIRS / 2;

/// Sixteen pairs of bf16 numbers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; PAIRS]);

/// A number that a product reads.
pub trait Operand: Copy + Default + Send + Sync {
    /// The bits of the nearest bf16 number.
    fn high(self) -> u16;
    /// Those of the nearest bf16 number to what `high` leaves.
    fn low(self) -> u16;
}

impl Operand for f32 {
    /// To nearest, ties to even. A NaN becomes a quiet one. Without branches, so that loops are vectorised.
    #[inline(always)]
    fn high(self) -> u16 {
        let bits = self.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        let quiet = bits | 0x0040_0000;
        ((if self.is_nan() { quiet } else { rounded }) >> 16) as u16
    }

    #[inline(always)]
    fn low(self) -> u16 {
        (self - f32::from_bits(u32::from(self.high()) << 16)).high()
    }
}

impl Operand for bf16 {
    #[inline(always)]
    fn high(self) -> u16 {
        self.to_bits()
    }

    #[inline(always)]
    fn low(self) -> u16 {
        0
    }
}

/// Rows of A or columns of B, with what is along k.
pub(super) struct Lines<'a, T> {
    data: &'a [T],
    count: usize,
    /// Elements from a row or column to the next; from a number along k to the next. One of them is 1.
    stride: usize,
    along: usize,
}

impl<'a, T> Lines<'a, T> {
    #[track_caller]
    pub fn of_rows(a: Mat<'a, T>) -> Self {
        let contiguous = a.row_stride == 1 || a.col_stride == 1 || a.rows <= 1 || a.cols <= 1;
        assert!(contiguous, "packed product: rows {} apart, columns {}", a.row_stride, a.col_stride);
        // A stride that is never stepped over may be anything.
        let along = if a.cols <= 1 { 1 } else { a.col_stride };
        Self { data: a.data, count: a.rows, stride: a.row_stride, along }
    }

    #[track_caller]
    pub fn of_columns(b: Mat<'a, T>) -> Self {
        Self::of_rows(b.t())
    }
}

/// The sizes of packed panels.
pub(super) struct Panels {
    is_of_a: bool,
    parts: usize,
    /// Rows or columns of a panel, and how many there are in all.
    width: usize,
    count: usize,
    /// Numbers along k, filled up, and of one block.
    depth: usize,
    block: usize,
}

impl Panels {
    pub fn of_rows(kernel: &Kernel, parts: Parts, count: usize, depth: usize) -> Self {
        let depth = depth.next_multiple_of(2 * PAIRS);
        let block = kernel.depth / parts.count();
        Self { is_of_a: true, parts: parts.count(), width: kernel.rows, count, depth, block }
    }

    pub fn of_columns(kernel: &Kernel, parts: Parts, count: usize, depth: usize) -> Self {
        Self { is_of_a: false, width: kernel.cols, ..Self::of_rows(kernel, parts, count, depth) }
    }

    /// Lines of all panels.
    pub fn lines(&self) -> usize {
        self.count.div_ceil(self.width) * self.panel_lines()
    }

    fn panel_lines(&self) -> usize {
        self.parts * self.part_lines(self.depth)
    }

    /// Lines of a part that is this long along k.
    fn part_lines(&self, depth: usize) -> usize {
        self.width * depth / (2 * PAIRS)
    }

    /// Blocks along k.
    pub fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// One block of one panel.
    pub fn block<'a>(&self, lines: &'a [Line], panel: usize, block: usize) -> &'a [Line] {
        let first = block * self.block;
        let depth = self.block.min(self.depth - first);
        let from = panel * self.panel_lines() + self.parts * self.part_lines(first);
        &lines[from..][..self.parts * self.part_lines(depth)]
    }

    /// Packs the rows or columns from `first` on and `along` of k.
    pub fn pack<T: Operand>(&self, from: &Lines<'_, T>, first: usize, along: Range<usize>, to: &mut [Line]) {
        let at_a_time = TASK_LINES.div_ceil(self.panel_lines());
        to.par_chunks_mut(self.panel_lines()).enumerate().with_min_len(at_a_time).for_each(|(panel, mut to)| {
            let first = first + panel * self.width;
            let width = self.width.min(from.count - first);
            for start in (along.start..along.end).step_by(self.block) {
                let filled = self.block.min(self.depth - (start - along.start));
                let along = start..along.end.min(start + self.block);
                for part in 0..self.parts {
                    let (now, rest) = to.split_at_mut(self.part_lines(filled));
                    to = rest;
                    let source = Part { from, first, width, along: along.clone(), is_low: part > 0 };
                    pack_part(&source, self.is_of_a, self.width, now);
                }
            }
        });
    }
}

/// What is packed into one part of one block.
struct Part<'a, T> {
    from: &'a Lines<'a, T>,
    first: usize,
    width: usize,
    along: Range<usize>,
    is_low: bool,
}

fn pack_part<T: Operand>(part: &Part<'_, T>, is_of_a: bool, width: usize, to: &mut [Line]) {
    #[inline(always)]
    fn body<const FMA: bool, T: Operand>(part: &Part<'_, T>, is_of_a: bool, width: usize, to: &mut [Line]) {
        let is_wide = width.is_multiple_of(PAIRS);
        match (part.from.along == 1, part.is_low) {
            (true, false) => along_k(part, is_of_a, width, to, T::high),
            (true, true) => along_k(part, is_of_a, width, to, T::low),
            (false, false) if is_wide => across::<PAIRS, T>(part, is_of_a, width, to, T::high),
            (false, true) if is_wide => across::<PAIRS, T>(part, is_of_a, width, to, T::low),
            (false, false) => across::<HALF, T>(part, is_of_a, width, to, T::high),
            (false, true) => across::<HALF, T>(part, is_of_a, width, to, T::low),
        }
    }
    fn run<T: Operand>(part: &Part<'_, T>, is_of_a: bool, width: usize, to: &mut [Line]) {
        crate::dispatch!(body<T: Operand>(part: &Part<'_, T>, is_of_a: bool, width: usize, to: &mut [Line]));
    }
    run(part, is_of_a, width, to);
}

/// Where the numbers along k are neighbours in memory: 32 of a row or column at a time.
#[inline(always)]
fn along_k<T: Operand>(
    part: &Part<'_, T>,
    is_of_a: bool,
    width: usize,
    to: &mut [Line],
    bits: impl Fn(T) -> u16 + Copy,
) {
    let lines = part.from;
    // Lines of 32 numbers along k, of all rows or columns.
    for (step, to) in to.chunks_exact_mut(width).enumerate() {
        let start = part.along.start + step * 2 * PAIRS;
        let len = part.along.end.saturating_sub(start).min(2 * PAIRS);
        for line in 0..width {
            let mut numbers = [T::default(); 2 * PAIRS];
            if line < part.width {
                let from = &lines.data[(part.first + line) * lines.stride + start..][..len];
                match from.first_chunk() {
                    Some(whole) => numbers = *whole,
                    None => numbers[..len].copy_from_slice(from),
                }
            }
            let pairs = std::array::from_fn(|i| pair(bits(numbers[2 * i]), bits(numbers[2 * i + 1])));
            match is_of_a {
                true => to[line].0 = pairs,
                false => {
                    for (to, pair) in to.chunks_exact_mut(width / PAIRS).zip(pairs) {
                        to[line / PAIRS].0[line % PAIRS] = pair;
                    }
                }
            }
        }
    }
}

/// Where the rows or columns are neighbours in memory: a pair along k of `N` of them at a time.
#[inline(always)]
fn across<const N: usize, T: Operand>(
    part: &Part<'_, T>,
    is_of_a: bool,
    width: usize,
    to: &mut [Line],
    bits: impl Fn(T) -> u16 + Copy,
) {
    let lines = part.from;
    let numbers = |k: usize, line: usize| -> [T; N] {
        let mut numbers = [T::default(); N];
        let len = part.width.saturating_sub(line).min(N);
        if k < part.along.end && len > 0 {
            let from = &lines.data[k * lines.along + (part.first + line) * lines.stride..][..len];
            match from.first_chunk() {
                Some(whole) => numbers = *whole,
                None => numbers[..len].copy_from_slice(from),
            }
        }
        numbers
    };
    for (step, to) in to.chunks_exact_mut(width).enumerate() {
        for k in 0..PAIRS {
            let at = part.along.start + (step * PAIRS + k) * 2;
            for line in (0..width).step_by(N) {
                let (even, odd) = (numbers(at, line), numbers(at + 1, line));
                let pairs: [u32; N] = std::array::from_fn(|i| pair(bits(even[i]), bits(odd[i])));
                match is_of_a {
                    true => {
                        for (to, pair) in to[line..].iter_mut().zip(pairs) {
                            to.0[k] = pair;
                        }
                    }
                    false => to[k * (width / PAIRS) + line / PAIRS].0[..N].copy_from_slice(&pairs),
                }
            }
        }
    }
}

#[inline(always)]
fn pair(even: u16, odd: u16) -> u32 {
    u32::from(even) | u32::from(odd) << 16
}
