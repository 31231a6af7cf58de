//! Whole rows.

use atento_kernels::rope::{self, Pairing};
use atento_kernels::{elementwise, embedding, unfold};

use super::Cpu;
use crate::device::Rows;
use crate::params::View;
use crate::slice::{Slice, SliceMut};

impl Rows for Cpu {
    fn embedding(&self, ids: &[u32], table: View<'_>, width: usize, scale: f32, out: SliceMut<'_>) {
        let out = out.f32();
        match table {
            View::Exact(table) => embedding::forward(ids, table.f32(), scale, out),
            View::Compact(table) => {
                for (&id, row) in ids.iter().zip(out.chunks_exact_mut(width)) {
                    table.widen_row(id as usize, scale, row);
                }
            }
            View::Parts => panic!("embedding: the table is not in one piece"),
        }
    }

    fn add_positions(&self, positions: &[u32], table: Slice<'_>, out: SliceMut<'_>) {
        embedding::add_positions(positions, table.f32(), out.f32());
    }

    fn gather_rows(&self, x: Slice<'_>, width: usize, rows: &[u32], out: SliceMut<'_>) {
        elementwise::gather_rows(x.f32(), width, rows, out.f32());
    }

    fn scatter_rows(&self, x: Slice<'_>, width: usize, rows: &[u32], out: SliceMut<'_>) {
        let out = out.f32();
        for (row, &to) in x.f32().chunks_exact(width).zip(rows) {
            out[to as usize * width..][..width].copy_from_slice(row);
        }
    }

    fn scatter_add(&self, rows: &[u32], x: Slice<'_>, scale: f32, out: SliceMut<'_>) {
        embedding::backward(rows, x.f32(), scale, out.f32());
    }

    fn copy_columns(
        &self,
        x: Slice<'_>,
        x_width: usize,
        x_first: usize,
        out: SliceMut<'_>,
        out_width: usize,
        out_first: usize,
        width: usize,
    ) {
        elementwise::copy_columns(x.f32(), x_width, x_first, out.f32(), out_width, out_first, width);
    }

    fn mean_pool(&self, x: Slice<'_>, width: usize, cu_seqlens: &[u32], out: SliceMut<'_>) {
        elementwise::mean_pool_forward(x.f32(), width, cu_seqlens, out.f32());
    }

    fn mean_pool_backward(&self, dy: Slice<'_>, width: usize, cu_seqlens: &[u32], dx: SliceMut<'_>) {
        elementwise::mean_pool_backward(dy.f32(), width, cu_seqlens, dx.f32());
    }

    fn unfold(&self, x: Slice<'_>, width: usize, cu_seqlens: &[u32], kernel: usize, out: SliceMut<'_>) {
        unfold::forward(x.f32(), width, cu_seqlens, kernel, out.f32());
    }

    fn unfold_backward(&self, dy: Slice<'_>, width: usize, cu_seqlens: &[u32], kernel: usize, dx: SliceMut<'_>) {
        unfold::backward(dy.f32(), width, cu_seqlens, kernel, dx.f32());
    }

    fn rope_turns(&self, positions: &[u32], frequencies: &[f32], factor: f32, turns: SliceMut<'_>) {
        rope::fill_turns(positions, frequencies, factor, turns.f32());
    }

    fn rope(
        &self,
        x: SliceMut<'_>,
        turns: Slice<'_>,
        n_heads: usize,
        head_dim: usize,
        row_stride: usize,
        pairing: Pairing,
    ) {
        rope::forward(x.f32(), turns.f32(), n_heads, head_dim, row_stride, pairing);
    }

    fn rope_backward(
        &self,
        dx: SliceMut<'_>,
        turns: Slice<'_>,
        n_heads: usize,
        head_dim: usize,
        row_stride: usize,
        pairing: Pairing,
    ) {
        rope::backward(dx.f32(), turns.f32(), n_heads, head_dim, row_stride, pairing);
    }
}
