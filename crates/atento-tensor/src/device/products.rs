//! Products with a weight, and what follows them.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use crate::params::View;
use crate::slice::{Slice, SliceMut};

/// Products. A weight is in one piece: f32 as its layout says, or `[outputs, inputs]` in fewer bits.
pub trait Products {
    /// `out = activation(x·weight + bias)`; where `pre` is given it receives `x·weight + bias`.
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `bias`: `[outputs]`; `pre`, `out`: [rows, outputs].
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
    );

    /// `out = activation(product + bias)` after a product made elsewhere, which lies in `pre` where that is given, else in
    /// `out`; `pre` receives `product + bias`.
    fn linear_epilogue(
        &self,
        bias: Option<Slice<'_>>,
        activation: Activation,
        pre: Option<SliceMut<'_>>,
        out: SliceMut<'_>,
        outputs: usize,
    );

    /// `out[:, first..first + outputs] += x·weightᵀ` of an f32 weight [outputs, inputs].
    ///
    /// # Shapes
    /// `x`: [rows, inputs]; `out`: [rows, width].
    fn linear_add(&self, rows: usize, x: Slice<'_>, weight: Slice<'_>, out: SliceMut<'_>, width: usize, first: usize);

    /// `dx = dy·weightᵀ`, or `dx += …` with `accumulate`.
    fn linear_backward_input(
        &self,
        rows: usize,
        dy: Slice<'_>,
        weight: View<'_>,
        layout: WeightLayout,
        dx: SliceMut<'_>,
        accumulate: bool,
    );

    /// `dweight += dyᵀ·x`.
    fn linear_backward_weight(
        &self,
        rows: usize,
        x: Slice<'_>,
        dy: Slice<'_>,
        layout: WeightLayout,
        dweight: SliceMut<'_>,
    );

    /// `dbias += Σ_rows dy`.
    fn linear_backward_bias(&self, dy: Slice<'_>, dbias: SliceMut<'_>);
}
