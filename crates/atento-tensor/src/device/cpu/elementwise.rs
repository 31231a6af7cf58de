//! Number by number.

use atento_kernels::activation::{self, Activation};
use atento_kernels::dropout::{self, DropoutKey};
use atento_kernels::{elementwise, gated};
use half::{bf16, f16};

use super::Cpu;
use crate::device::Elementwise;
use crate::slice::{Slice, SliceMut};

impl Elementwise for Cpu {
    fn copy(&self, x: Slice<'_>, out: SliceMut<'_>) {
        match (x, out) {
            (Slice::F32(x), SliceMut::F32(out)) => out.copy_from_slice(x),
            (Slice::F16(x), SliceMut::F16(out)) => out.copy_from_slice(x),
            (Slice::Bf16(x), SliceMut::Bf16(out)) => out.copy_from_slice(x),
            (x, out) => panic!("copy: {x:?} to {out:?}"),
        }
    }

    fn fill(&self, out: SliceMut<'_>, value: f32) {
        match out {
            SliceMut::F32(out) => out.fill(value),
            SliceMut::F16(out) => out.fill(f16::from_f32(value)),
            SliceMut::Bf16(out) => out.fill(bf16::from_f32(value)),
        }
    }

    fn add(&self, a: Slice<'_>, b: Slice<'_>, out: SliceMut<'_>) {
        elementwise::add(a.f32(), b.f32(), out.f32());
    }

    fn add_assign(&self, out: SliceMut<'_>, x: Slice<'_>) {
        elementwise::add_assign(out.f32(), x.f32());
    }

    fn mul(&self, a: Slice<'_>, b: Slice<'_>, out: SliceMut<'_>) {
        elementwise::mul(a.f32(), b.f32(), out.f32());
    }

    fn scale(&self, x: SliceMut<'_>, factor: f32) {
        elementwise::scale(x.f32(), factor);
    }

    fn scale_columns(&self, x: SliceMut<'_>, width: usize, first: usize, factors: Slice<'_>) {
        elementwise::scale_columns(x.f32(), width, first, factors.f32());
    }

    fn all_finite(&self, x: Slice<'_>) -> bool {
        elementwise::all_finite(x.f32())
    }

    fn activation(&self, function: Activation, x: Slice<'_>, out: SliceMut<'_>) {
        activation::forward(function, x.f32(), out.f32());
    }

    fn activation_backward(&self, function: Activation, x: Slice<'_>, dy: Slice<'_>, dx: SliceMut<'_>) {
        activation::backward(function, x.f32(), dy.f32(), dx.f32());
    }

    fn gated(&self, function: Activation, x: Slice<'_>, d_ff: usize, out: SliceMut<'_>) {
        gated::forward(function, x.f32(), d_ff, out.f32());
    }

    fn gated_backward(&self, function: Activation, x: Slice<'_>, d_ff: usize, dy: Slice<'_>, dx: SliceMut<'_>) {
        gated::backward(function, x.f32(), d_ff, dy.f32(), dx.f32());
    }

    fn dropout(&self, key: DropoutKey, x: Slice<'_>, out: SliceMut<'_>) {
        dropout::forward(key, x.f32(), out.f32());
    }

    fn dropout_rows(&self, key: DropoutKey, rows: &[u32], x: Slice<'_>, out: SliceMut<'_>) {
        dropout::forward_rows(key, rows, x.f32(), out.f32());
    }
}
