//! Products: the `gemm` crate, and our own for few rows, for bf16 and for weights in fewer bits.

use atento_kernels::activation::Activation;
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::{Mat, MatMut, gemm_in};

use super::Cpu;
use crate::device::Products;
use crate::params::View;
use crate::slice::{Slice, SliceMut};

impl Products for Cpu {
    fn linear(
        &self,
        rows: usize,
        x: Slice<'_>,
        weight: View<'_>,
        layout: WeightLayout,
        bias: Option<Slice<'_>>,
        activation: Activation,
        pre: Option<SliceMut<'_>>,
        out: SliceMut<'_>,
    ) {
        let (bias, mut pre, out) = (bias.map(Slice::f32), pre.map(SliceMut::f32), out.f32());
        match weight {
            View::Exact(weight) => {
                linear::forward(self.precision, rows, x.f32(), weight.f32(), layout, bias, activation, pre, out)
            }
            View::Compact(_) if out.is_empty() => {}
            View::Compact(weight) => {
                let outputs = out.len() / rows;
                weight.forward(self.precision, rows, x.f32(), pre.as_deref_mut().unwrap_or(&mut *out));
                linear::finish(bias, activation, pre, out, outputs);
            }
            View::Parts => panic!("linear: the weight is not in one piece"),
        }
    }

    fn linear_epilogue(
        &self,
        bias: Option<Slice<'_>>,
        activation: Activation,
        pre: Option<SliceMut<'_>>,
        out: SliceMut<'_>,
        outputs: usize,
    ) {
        linear::finish(bias.map(Slice::f32), activation, pre.map(SliceMut::f32), out.f32(), outputs);
    }

    fn linear_add(&self, rows: usize, x: Slice<'_>, weight: Slice<'_>, out: SliceMut<'_>, width: usize, first: usize) {
        let (x, weight, out) = (x.f32(), weight.f32(), out.f32());
        if x.is_empty() {
            return;
        }
        let inputs = x.len() / rows;
        let outputs = weight.len() / inputs;
        assert!(first + outputs <= width, "linear_add: {outputs} columns from {first} of {width}");
        let weight = Mat::row_major(weight, outputs, inputs).t();
        let out = MatMut { data: &mut out[first..], rows, cols: outputs, row_stride: width, col_stride: 1 };
        gemm_in(self.precision, Mat::row_major(x, rows, inputs), weight, true, out);
    }

    fn linear_backward_input(
        &self,
        rows: usize,
        dy: Slice<'_>,
        weight: View<'_>,
        layout: WeightLayout,
        dx: SliceMut<'_>,
        accumulate: bool,
    ) {
        match weight {
            View::Exact(weight) => {
                linear::backward_input(self.precision, rows, dy.f32(), weight.f32(), layout, dx.f32(), accumulate)
            }
            View::Compact(weight) => weight.backward_input(self.precision, rows, dy.f32(), dx.f32(), accumulate),
            View::Parts => panic!("linear_backward_input: the weight is not in one piece"),
        }
    }

    fn linear_backward_weight(
        &self,
        rows: usize,
        x: Slice<'_>,
        dy: Slice<'_>,
        layout: WeightLayout,
        dweight: SliceMut<'_>,
    ) {
        linear::backward_weight(self.precision, rows, x.f32(), dy.f32(), layout, dweight.f32());
    }

    fn linear_backward_bias(&self, dy: Slice<'_>, dbias: SliceMut<'_>) {
        linear::backward_bias(dy.f32(), dbias.f32());
    }
}
