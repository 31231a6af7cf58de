//! A gated recurrent unit run over packed sequences (Cho et al. 2014), with PyTorch's weights.
//!
//! The inputs' share of the gates, `x Wᵢᵀ + bᵢ`, does not depend on the states and is computed beforehand for all tokens
//! in one product. At step t only the recurrent share is left: `h_{t−1} Wₕᵀ + bₕ` for the sequences alive at t, then the
//! cell ([`atento_kernels::gru`]).
//!
//! Backward, step by step in reverse: `dh_t` is what arrives from outside and from step t+1; the cell gives the
//! gradients of both shares of the gates and `dh_t ⊙ z`; `dh_{t−1} = dh_t ⊙ z + dgates_h Wₕ`. The parameters' gradients
//! need no order, so they are one product over all steps at the end: `dWₕ += dgates_hᵀ h_prev`. Saved: each step's
//! previous states and the cell's `[r | z | n | nₕ]`.

use std::sync::Arc;

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::time_steps::{Direction, TimeSteps, span};
use crate::{Backward, Buffer, Graph, Tensor, Weight};

/// The recurrent parameters of a GRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GruRecurrence {
    /// `weight_hh`: [3·hidden, hidden], gates in the order reset, update, new.
    pub weight: Weight,
    /// `bias_hh`: [3·hidden].
    pub bias: Weight,
}

impl GruRecurrence {
    /// The width of the state.
    ///
    /// # Panics
    /// If the parameters' shapes are not those of a GRU.
    #[must_use]
    #[track_caller]
    pub fn hidden(&self) -> usize {
        let hidden = self.weight.cols;
        assert_eq!((self.weight.rows, self.bias.len()), (3 * hidden, 3 * hidden), "gru: {self:?}");
        hidden
    }
}

impl Graph<'_> {
    /// Runs a GRU over every sequence and returns its state after each token.
    ///
    /// # Shapes
    /// `gates_x`: [tokens, 3·hidden], laid out as `steps` says; `initial`: [sequences, hidden], zeros if left out;
    /// result: [tokens, hidden].
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn gru_sequence(
        &mut self,
        gates_x: &Tensor,
        initial: Option<&Tensor>,
        recurrence: GruRecurrence,
        steps: &Arc<TimeSteps>,
        direction: Direction,
    ) -> Tensor {
        let hidden = recurrence.hidden();
        let tokens = steps.tokens();
        assert_eq!(gates_x.shape(), [tokens, 3 * hidden], "gru_sequence: gates_x for {tokens} tokens");
        if let Some(initial) = initial {
            assert_eq!(initial.shape(), [steps.sequences(), hidden], "gru_sequence: initial");
        }
        let (device, dtype) = (self.device(), gates_x.dtype());
        let [mut states, mut previous, mut saved] =
            [1, 1, 4].map(|widths| self.pool().take_as(dtype, tokens * widths * hidden));
        let mut gates_h = self.pool().take_as(dtype, steps.sequences() * 3 * hidden);
        let (weight, bias) = (self.params().view(recurrence.weight), self.params().slice(recurrence.bias));
        for t in steps.order(direction) {
            let rows = steps.rows(t);
            let mut previous = previous.part_mut(span(&rows, hidden));
            let begin = initial.map(Tensor::slice);
            steps.copy_previous(device, direction, t, hidden, states.slice(), begin, previous.reborrow());
            let (previous, mut gates_h) = (previous.as_slice(), gates_h.part_mut(0..rows.len() * 3 * hidden));
            device.linear(
                rows.len(),
                previous,
                weight,
                WeightLayout::OutIn,
                Some(bias),
                Activation::Identity,
                None,
                gates_h.reborrow(),
            );
            device.gru(
                gates_x.slice().part(span(&rows, 3 * hidden)),
                gates_h.as_slice(),
                previous,
                hidden,
                states.part_mut(span(&rows, hidden)),
                saved.part_mut(span(&rows, 4 * hidden)),
            );
        }
        self.pool().count_product(tokens, recurrence.weight.len());
        let upstream = gates_x.node().is_some() || initial.is_some_and(|initial| initial.node().is_some());
        let tracked = upstream || self.trains(&[recurrence.weight, recurrence.bias]);
        let y = self.output("gru_sequence", states, &[tokens, hidden], tracked);
        if let Some(node) = y.node() {
            let (gates_node, initial_node) = (gates_x.node(), initial.and_then(Tensor::node));
            let steps = Arc::clone(steps);
            self.push("gru_sequence", move |pass| {
                let Some(dstates) = pass.take(node) else { return };
                let cell = SavedCell { recurrence, steps, direction, previous, saved };
                let (dgates_x, dinitial) = cell.backward(pass, dstates, initial_node.is_some());
                if let Some(node) = gates_node {
                    pass.accumulate(node, dgates_x);
                }
                if let (Some(node), Some(dinitial)) = (initial_node, dinitial) {
                    pass.accumulate(node, dinitial);
                }
            });
        }
        y
    }
}

/// What the backward needs of the forward.
struct SavedCell {
    recurrence: GruRecurrence,
    steps: Arc<TimeSteps>,
    direction: Direction,
    /// [tokens, hidden]
    previous: Buffer,
    /// [tokens, 4·hidden]
    saved: Buffer,
}

impl SavedCell {
    /// Adds the parameters' gradients; returns those of `gates_x` and, if wanted, of the initial states.
    fn backward(&self, pass: &mut Backward<'_>, mut dstates: Buffer, wants_initial: bool) -> (Buffer, Option<Buffer>) {
        let Self { recurrence, steps, direction, previous, saved } = self;
        let (tokens, hidden) = (steps.tokens(), recurrence.hidden());
        let (device, dtype) = (pass.device(), dstates.dtype());
        let weight = pass.params.view(recurrence.weight);
        let [mut dgates_x, mut dgates_h] = [(); 2].map(|()| pass.pool.take_as(dtype, tokens * 3 * hidden));
        let mut dprevious = pass.pool.take_as(dtype, steps.sequences() * hidden);
        let mut dinitial = wants_initial.then(|| pass.pool.zeros_as(dtype, steps.sequences() * hidden));
        for t in steps.order(*direction).into_iter().rev() {
            let rows = steps.rows(t);
            let (states, gates) = (span(&rows, hidden), span(&rows, 3 * hidden));
            let mut dprevious = dprevious.part_mut(0..states.len());
            device.gru_backward(
                dstates.part(states.clone()),
                previous.part(states),
                saved.part(span(&rows, 4 * hidden)),
                hidden,
                dgates_x.part_mut(gates.clone()),
                dgates_h.part_mut(gates.clone()),
                dprevious.reborrow(),
            );
            let (dgates, out_in) = (dgates_h.part(gates), WeightLayout::OutIn);
            device.linear_backward_input(rows.len(), dgates, weight, out_in, dprevious.reborrow(), true);
            let begin = dinitial.as_mut().map(Buffer::slice_mut);
            steps.add_previous(device, *direction, t, hidden, dprevious.as_slice(), dstates.slice_mut(), begin);
        }
        pass.pool.count_product(tokens, recurrence.weight.len());
        if let Some(dweight) = pass.grads.slice_mut(recurrence.weight) {
            pass.pool.count_product(tokens, recurrence.weight.len());
            device.linear_backward_weight(tokens, previous.slice(), dgates_h.slice(), WeightLayout::OutIn, dweight);
        }
        if let Some(dbias) = pass.grads.slice_mut(recurrence.bias) {
            device.linear_backward_bias(dgates_h.slice(), dbias);
        }
        (dgates_x, dinitial)
    }
}

#[cfg(test)]
mod tests;
