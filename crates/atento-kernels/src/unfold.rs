//! The neighbours of each row side by side, so that a convolution over a sequence is a product with a matrix.
//!
//! With kernel k, an odd number: `y[t, i·k + j] = x[t + j − (k − 1)/2, i]`, 0 where that row is not of t's sequence. The order
//! of the columns is that of a weight `[out, in, k]`, as PyTorch's `Conv1d` stores it.

use std::ops::Range;

/// Writes the neighbours of every row.
///
/// # Shapes
/// `x`: [rows, width]; `cu_seqlens`: [sequences + 1], from 0 to rows; `out`: [rows, width·kernel].
///
/// # Panics
/// If the lengths do not fit.
#[track_caller]
pub fn forward(x: &[f32], width: usize, cu_seqlens: &[u32], kernel: usize, out: &mut [f32]) {
    assert_eq!(x.len() * kernel, out.len(), "unfold: x and out for a kernel of {kernel}");
    for_neighbours(cu_seqlens, kernel, |row, tap, from| {
        let out = &mut out[row * width * kernel..(row + 1) * width * kernel];
        match from {
            Some(from) => {
                let x = &x[from * width..(from + 1) * width];
                x.iter().enumerate().for_each(|(i, &x)| out[i * kernel + tap] = x);
            }
            None => (0..width).for_each(|i| out[i * kernel + tap] = 0.0),
        }
    });
}

/// Adds the gradient of `x`: each row receives what its copies have.
///
/// # Shapes
/// As [`forward`].
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward(dout: &[f32], width: usize, cu_seqlens: &[u32], kernel: usize, dx: &mut [f32]) {
    assert_eq!(dx.len() * kernel, dout.len(), "unfold: dx and dout for a kernel of {kernel}");
    for_neighbours(cu_seqlens, kernel, |row, tap, from| {
        let Some(from) = from else { return };
        let dout = &dout[row * width * kernel..(row + 1) * width * kernel];
        let dx = &mut dx[from * width..(from + 1) * width];
        dx.iter_mut().enumerate().for_each(|(i, dx)| *dx += dout[i * kernel + tap]);
    });
}

/// Every row with every tap, and the row that is read there, if it is one of the same sequence.
fn for_neighbours(cu_seqlens: &[u32], kernel: usize, mut each: impl FnMut(usize, usize, Option<usize>)) {
    let before = kernel / 2;
    for pair in cu_seqlens.windows(2) {
        let rows: Range<usize> = pair[0] as usize..pair[1] as usize;
        for row in rows.clone() {
            for tap in 0..kernel {
                let from = (row + tap).checked_sub(before).filter(|from| rows.contains(from));
                each(row, tap, from);
            }
        }
    }
}
