//! Value by value: sums and products, activation functions, dropout.

use atento_kernels::activation::Activation;
use atento_kernels::dropout::DropoutKey;

use crate::slice::{Slice, SliceMut};

/// Kernels whose operands have one length, unless their shapes are given.
pub trait Elementwise {
    /// `out = x`, of any dtype.
    fn copy(&self, x: Slice<'_>, out: SliceMut<'_>);

    /// Writes `value` everywhere, in any dtype.
    fn fill(&self, out: SliceMut<'_>, value: f32);

    /// `out = a + b`.
    fn add(&self, a: Slice<'_>, b: Slice<'_>, out: SliceMut<'_>);

    /// `out += x`.
    fn add_assign(&self, out: SliceMut<'_>, x: Slice<'_>);

    /// `out = a ⊙ b`.
    fn mul(&self, a: Slice<'_>, b: Slice<'_>, out: SliceMut<'_>);

    /// `x *= factor`.
    fn scale(&self, x: SliceMut<'_>, factor: f32);

    /// `x[.., first + j] *= factors[j]` in rows of this width.
    fn scale_columns(&self, x: SliceMut<'_>, width: usize, first: usize, factors: Slice<'_>);

    /// Whether no value is infinite or NaN.
    fn all_finite(&self, x: Slice<'_>) -> bool;

    /// `out = f(x)`.
    fn activation(&self, function: Activation, x: Slice<'_>, out: SliceMut<'_>);

    /// `dx = dy ⊙ f′(x)`; for ReLU `x` may be the output.
    fn activation_backward(&self, function: Activation, x: Slice<'_>, dy: Slice<'_>, dx: SliceMut<'_>);

    /// `out = f(gate) ⊙ up` where `x = [gate | up]`: [rows, 2·d_ff].
    fn gated(&self, function: Activation, x: Slice<'_>, d_ff: usize, out: SliceMut<'_>);

    /// Its gradient.
    fn gated_backward(&self, function: Activation, x: Slice<'_>, d_ff: usize, dy: Slice<'_>, dx: SliceMut<'_>);

    /// `out = x ⊙ mask`: forward, and backward with gradients in the place of values.
    fn dropout(&self, key: DropoutKey, x: Slice<'_>, out: SliceMut<'_>);

    /// The same of rows that lie elsewhere in the mask: row `i` is row `rows[i]` there.
    fn dropout_rows(&self, key: DropoutKey, rows: &[u32], x: Slice<'_>, out: SliceMut<'_>);
}
