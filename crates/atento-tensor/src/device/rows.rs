//! Rows moved about: looked up, picked, joined, averaged, turned by their positions.

use atento_kernels::rope::Pairing;

use crate::params::View;
use crate::slice::{Slice, SliceMut};

/// Kernels over whole rows.
pub trait Rows {
    /// `out[i] = scale · table[ids[i]]`.
    ///
    /// # Shapes
    /// `table`: [vocab_size, width]; `out`: [ids, width].
    fn embedding(&self, ids: &[u32], table: View<'_>, width: usize, scale: f32, out: SliceMut<'_>);

    /// `out[i] += table[positions[i]]`.
    fn add_positions(&self, positions: &[u32], table: Slice<'_>, out: SliceMut<'_>);

    /// `out[i] = x[rows[i]]`.
    fn gather_rows(&self, x: Slice<'_>, width: usize, rows: &[u32], out: SliceMut<'_>);

    /// `out[rows[i]] = x[i]`; no row is named twice.
    fn scatter_rows(&self, x: Slice<'_>, width: usize, rows: &[u32], out: SliceMut<'_>);

    /// `out[rows[i]] += scale · x[i]`, in the order of `i`: the backward of looking up and of picking.
    fn scatter_add(&self, rows: &[u32], x: Slice<'_>, scale: f32, out: SliceMut<'_>);

    /// `out[.., out_first + j] = x[.., x_first + j]` for `j` below `width`.
    fn copy_columns(
        &self,
        x: Slice<'_>,
        x_width: usize,
        x_first: usize,
        out: SliceMut<'_>,
        out_width: usize,
        out_first: usize,
        width: usize,
    );

    /// The mean of each sequence's rows.
    fn mean_pool(&self, x: Slice<'_>, width: usize, cu_seqlens: &[u32], out: SliceMut<'_>);

    /// Its gradient.
    fn mean_pool_backward(&self, dy: Slice<'_>, width: usize, cu_seqlens: &[u32], dx: SliceMut<'_>);

    /// The neighbours of each row side by side: [rows, width·kernel].
    fn unfold(&self, x: Slice<'_>, width: usize, cu_seqlens: &[u32], kernel: usize, out: SliceMut<'_>);

    /// Adds its gradient.
    fn unfold_backward(&self, dy: Slice<'_>, width: usize, cu_seqlens: &[u32], kernel: usize, dx: SliceMut<'_>);

    /// The cosines and sines of tokens at these positions, times `factor`: [tokens, 2·frequencies].
    fn rope_turns(&self, positions: &[u32], frequencies: &[f32], factor: f32, turns: SliceMut<'_>);

    /// Turns the first `n_heads` heads of each row.
    fn rope(
        &self,
        x: SliceMut<'_>,
        turns: Slice<'_>,
        n_heads: usize,
        head_dim: usize,
        row_stride: usize,
        pairing: Pairing,
    );

    /// Turns them back.
    fn rope_backward(
        &self,
        dx: SliceMut<'_>,
        turns: Slice<'_>,
        n_heads: usize,
        head_dim: usize,
        row_stride: usize,
        pairing: Pairing,
    );
}
