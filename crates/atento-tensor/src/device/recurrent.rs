//! One step of a gated recurrent unit, and the additive attention beside it.

use crate::slice::{Slice, SliceMut};

/// What an additive attention reads.
#[derive(Clone, Copy)]
pub struct AdditiveInputs<'a> {
    /// Projected queries: [sequences, attention_width].
    pub queries: Slice<'a>,
    /// Projected keys: [keys, attention_width].
    pub keys: Slice<'a>,
    /// What is averaged: [keys, values_width].
    pub values: Slice<'a>,
    /// The vector that turns a hidden unit into a score: `[attention_width]`.
    pub score: Slice<'a>,
    /// Where each sequence's keys begin: [sequences + 1].
    pub cu_keys: &'a [u32],
}

/// Gradients of what an additive attention reads.
pub struct AdditiveGradients<'a> {
    /// Written.
    pub queries: SliceMut<'a>,
    /// Added to.
    pub keys: SliceMut<'a>,
    /// Added to.
    pub values: SliceMut<'a>,
    /// Added to.
    pub score: SliceMut<'a>,
}

/// Kernels of recurrent networks.
pub trait Recurrent {
    /// The state after one step of a GRU; `saved` receives `[r | z | n | nₕ]`.
    ///
    /// # Shapes
    /// `gates_x`, `gates_h`: [sequences, 3·hidden]; `previous`, `state`: [sequences, hidden]; `saved`: [sequences, 4·hidden].
    fn gru(
        &self,
        gates_x: Slice<'_>,
        gates_h: Slice<'_>,
        previous: Slice<'_>,
        hidden: usize,
        state: SliceMut<'_>,
        saved: SliceMut<'_>,
    );

    /// The gradients of both shares of the gates, and the previous state's share that passes the cell.
    fn gru_backward(
        &self,
        dstate: Slice<'_>,
        previous: Slice<'_>,
        saved: Slice<'_>,
        hidden: usize,
        dgates_x: SliceMut<'_>,
        dgates_h: SliceMut<'_>,
        dprevious: SliceMut<'_>,
    );

    /// The weights `alpha` of all keys, and the mean of the values that they give.
    fn additive_attention(&self, inputs: AdditiveInputs<'_>, alpha: SliceMut<'_>, context: SliceMut<'_>);

    /// Its gradients.
    fn additive_attention_backward(
        &self,
        inputs: AdditiveInputs<'_>,
        alpha: Slice<'_>,
        dcontext: Slice<'_>,
        gradients: AdditiveGradients<'_>,
    );
}
