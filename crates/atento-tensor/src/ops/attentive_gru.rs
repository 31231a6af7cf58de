//! A GRU that looks at another sequence before each step: the decoder of Bahdanau et al. 2015 (appendix A.2.2).
//!
//! For target token i of a sentence whose source has annotations `h_j` ("values") and keys `k_j = U_a h_j`:
//! `e_ij = vᵀ tanh(W_a s_{i−1} + k_j)`, `α_i = softmax(e_i)`, `c_i = Σ_j α_ij h_j`, and the state
//! `s_i = GRU(s_{i−1}, [y_{i−1}; c_i])`. The context depends on the state before it, so attention stands inside the
//! loop over time; everything that does not (the keys, the token's share `W y + b` of the gates) is computed beforehand
//! for all tokens in one product.
//!
//! Backward, step by step in reverse: the cell gives `dgates_x`, `dgates_h` and `dh ⊙ z`; `dc_i` is what arrives from
//! outside plus `dgates_x C`; the attention's backward ([`atento_kernels::additive_attention`]) turns it into `dq_i` and
//! adds to `dk`, `dh_j`, `dv`; `ds_{i−1} = dh ⊙ z + dgates_h U + dq_i W_a`. The matrices' gradients are one product each
//! over all steps at the end. Saved: previous states, queries, contexts, attention weights and the cell's four parts.

use std::ops::Range;
use std::sync::Arc;

use atento_kernels::activation::Activation;
use atento_kernels::attention::Segment;
use atento_kernels::linear::WeightLayout;

use super::gru_sequence::GruRecurrence;
use super::time_steps::{Direction, TimeSteps, span};
use crate::device::{AdditiveGradients, AdditiveInputs};
use crate::{Backward, Buffer, Dtype, Graph, Slice, SliceMut, Tensor, Weight};

/// The parameters of a GRU that attends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentiveGru {
    /// `U`: from the state to the gates.
    pub recurrence: GruRecurrence,
    /// `C`: from the context to the gates: [3·hidden, values_width].
    pub context: Weight,
    /// `W_a`: from the state to the query: [attention_width, hidden].
    pub query: Weight,
    /// `v`: from a hidden unit of the attention to its score: `[attention_width]`.
    pub score: Weight,
}

impl AttentiveGru {
    /// Numbers of all matrices that a step multiplies with.
    fn numbers(&self) -> usize {
        self.recurrence.weight.len() + self.context.len() + self.query.len()
    }
}

/// What is attended to: one run of keys and values for each sequence.
#[derive(Clone)]
pub struct Memory {
    /// [source_tokens, attention_width].
    pub keys: Tensor,
    /// [source_tokens, values_width].
    pub values: Tensor,
    /// Where each sequence's run begins: [sequences + 1], from 0 to source_tokens.
    pub cu_keys: Arc<[u32]>,
}

impl Graph<'_> {
    /// Runs the attending GRU over every sequence; returns its state after each token, and the context that each token
    /// was read with. Sequence i attends to run i of the memory.
    ///
    /// # Shapes
    /// `gates_x`: [tokens, 3·hidden], laid out as `steps` says; `initial`: [sequences, hidden]; `memory`: see
    /// [`Memory`]; results: [tokens, hidden] and [tokens, values_width].
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn attentive_gru(
        &mut self,
        gates_x: &Tensor,
        initial: &Tensor,
        cell: AttentiveGru,
        memory: &Memory,
        steps: &Arc<TimeSteps>,
    ) -> (Tensor, Tensor) {
        let sizes = Sizes::check(gates_x, initial, cell, memory, steps);
        let mut saved = Saved::new(self, sizes, gates_x.dtype(), memory, steps);
        let [mut states, mut contexts] =
            [sizes.hidden, sizes.values].map(|width| self.pool().take_as(gates_x.dtype(), steps.tokens() * width));
        saved.forward(self, gates_x, initial, cell, memory, &mut states, &mut contexts);
        saved.keep_weights(self, memory);
        let upstream = [gates_x, initial, &memory.keys, &memory.values].iter().any(|input| input.node().is_some());
        let AttentiveGru { recurrence, context, query, score } = cell;
        let tracked = upstream || self.trains(&[recurrence.weight, recurrence.bias, context, query, score]);
        let states = self.output("attentive_gru", states, &[steps.tokens(), sizes.hidden], tracked);
        let contexts = self.output("attentive_gru", contexts, &[steps.tokens(), sizes.values], tracked);
        if let (Some(states_node), Some(contexts_node)) = (states.node(), contexts.node()) {
            let (memory, contexts) = (memory.clone(), contexts.detached());
            let (gates_node, initial_node) = (gates_x.node(), initial.node());
            self.push("attentive_gru", move |pass| {
                let (dstates, dcontexts) = (pass.take(states_node), pass.take(contexts_node));
                if dstates.is_none() && dcontexts.is_none() {
                    return;
                }
                let zeros = |len: usize| pass.pool.zeros_as(contexts.dtype(), len);
                let dstates = dstates.unwrap_or_else(|| zeros(saved.previous.len()));
                let dcontexts = dcontexts.unwrap_or_else(|| zeros(contexts.len()));
                let found = saved.backward(pass, cell, &memory, contexts.slice(), dstates, dcontexts);
                let nodes = [gates_node, initial_node, memory.keys.node(), memory.values.node()];
                for (node, gradient) in nodes.into_iter().zip(found) {
                    if let Some(node) = node {
                        pass.accumulate(node, gradient);
                    }
                }
            });
        }
        (states, contexts)
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    hidden: usize,
    attention: usize,
    values: usize,
}

impl Sizes {
    #[track_caller]
    fn check(gates_x: &Tensor, initial: &Tensor, cell: AttentiveGru, memory: &Memory, steps: &TimeSteps) -> Self {
        let hidden = cell.recurrence.hidden();
        let ([keys, attention], [rows, values]) = (memory.keys.dims(), memory.values.dims());
        assert_eq!(gates_x.shape(), [steps.tokens(), 3 * hidden], "attentive_gru: gates_x");
        assert_eq!(initial.shape(), [steps.sequences(), hidden], "attentive_gru: initial");
        assert_eq!(keys, rows, "attentive_gru: keys and values");
        assert_eq!((cell.context.rows, cell.context.cols), (3 * hidden, values), "attentive_gru: context weight");
        assert_eq!((cell.query.rows, cell.query.cols), (attention, hidden), "attentive_gru: query weight");
        assert_eq!(cell.score.len(), attention, "attentive_gru: score weight");
        assert_eq!(memory.cu_keys.len(), steps.sequences() + 1, "attentive_gru: a run of keys for each sequence");
        assert_eq!(memory.cu_keys.last().map(|&end| end as usize), Some(keys), "attentive_gru: end of cu_keys");
        Self { hidden, attention, values }
    }
}

/// What the forward leaves for the backward.
struct Saved {
    sizes: Sizes,
    steps: Arc<TimeSteps>,
    /// Where each step's attention weights lie in `alpha`.
    alpha_at: Vec<Range<usize>>,
    alpha: Buffer,
    /// [tokens, attention_width]
    queries: Buffer,
    /// [tokens, hidden]
    previous: Buffer,
    /// `[r | z | n | nₕ]`: [tokens, 4·hidden]
    cell: Buffer,
}

impl Saved {
    fn new(g: &Graph<'_>, sizes: Sizes, dtype: Dtype, memory: &Memory, steps: &Arc<TimeSteps>) -> Self {
        let mut end = 0;
        let alpha_at: Vec<Range<usize>> = (steps.order(Direction::Forward).into_iter())
            .map(|t| {
                let start = end;
                end += memory.cu_keys[steps.rows(t).len()] as usize;
                start..end
            })
            .collect();
        let (pool, tokens) = (g.pool(), steps.tokens());
        Self {
            sizes,
            steps: Arc::clone(steps),
            alpha_at,
            alpha: pool.take_as(dtype, end),
            queries: pool.take_as(dtype, tokens * sizes.attention),
            previous: pool.take_as(dtype, tokens * sizes.hidden),
            cell: pool.take_as(dtype, tokens * 4 * sizes.hidden),
        }
    }

    fn forward(
        &mut self,
        g: &Graph<'_>,
        gates_x: &Tensor,
        initial: &Tensor,
        cell: AttentiveGru,
        memory: &Memory,
        states: &mut Buffer,
        contexts: &mut Buffer,
    ) {
        let (device, params, Sizes { hidden, attention, values }) = (g.device(), g.params(), self.sizes);
        let steps = Arc::clone(&self.steps);
        let project = |rows: usize, x: Slice<'_>, weight: Weight, bias: Option<Slice<'_>>, out: SliceMut<'_>| {
            let (weight, identity) = (params.view(weight), Activation::Identity);
            device.linear(rows, x, weight, WeightLayout::OutIn, bias, identity, None, out);
        };
        let mut gates_x = g.pool().copy(gates_x.slice());
        let mut gates_h = g.pool().take_as(gates_x.dtype(), steps.sequences() * 3 * hidden);
        for t in steps.order(Direction::Forward) {
            let rows = steps.rows(t);
            let n = rows.len();
            let mut previous = self.previous.part_mut(span(&rows, hidden));
            let begin = Some(initial.slice());
            steps.copy_previous(device, Direction::Forward, t, hidden, states.slice(), begin, previous.reborrow());
            let previous = previous.as_slice();
            let mut queries = self.queries.part_mut(span(&rows, attention));
            project(n, previous, cell.query, None, queries.reborrow());
            let mut context = contexts.part_mut(span(&rows, values));
            let inputs = attention_inputs(memory, n, queries.as_slice(), params.slice(cell.score));
            device.additive_attention(inputs, self.alpha.part_mut(self.alpha_at[t].clone()), context.reborrow());
            let mut gates_x = gates_x.part_mut(span(&rows, 3 * hidden));
            let gates = params.slice(cell.context);
            device.linear_add(n, context.as_slice(), gates, gates_x.reborrow(), cell.context.rows, 0);
            let mut gates_h = gates_h.part_mut(0..n * 3 * hidden);
            let bias = Some(params.slice(cell.recurrence.bias));
            project(n, previous, cell.recurrence.weight, bias, gates_h.reborrow());
            let (state, saved) = (states.part_mut(span(&rows, hidden)), self.cell.part_mut(span(&rows, 4 * hidden)));
            device.gru(gates_x.as_slice(), gates_h.as_slice(), previous, hidden, state, saved);
        }
        g.pool().count_product(steps.tokens(), cell.numbers());
    }

    /// Keeps the weights of each sequence, if they are wanted: one head, whose queries are the sequence's tokens.
    fn keep_weights(&self, g: &mut Graph<'_>, memory: &Memory) {
        let (device, steps, runs) = (g.device(), self.steps.order(Direction::Forward), &memory.cu_keys);
        let of_sequence = |sequence: usize| steps.iter().filter(move |&&t| self.steps.rows(t).len() > sequence);
        let segment = |(sequence, run): (usize, &[u32])| Segment {
            query_start: 0,
            query_len: of_sequence(sequence).count(),
            key_start: run[0] as usize,
            key_len: (run[1] - run[0]) as usize,
        };
        let segments: Vec<Segment> = runs.windows(2).enumerate().map(segment).collect();
        g.keep_attention(1, &segments, |sequence, mut weights| {
            let Segment { key_start, key_len, .. } = segments[sequence];
            for (query, &t) in of_sequence(sequence).enumerate() {
                let start = self.alpha_at[t].start + key_start;
                let row = weights.part(query * key_len..(query + 1) * key_len);
                device.copy(self.alpha.part(start..start + key_len), row);
            }
        });
    }

    /// Adds the parameters' gradients; returns those of `gates_x`, `initial`, the keys and the values.
    fn backward(
        &self,
        pass: &mut Backward<'_>,
        cell: AttentiveGru,
        memory: &Memory,
        contexts: Slice<'_>,
        mut dstates: Buffer,
        mut dcontexts: Buffer,
    ) -> [Buffer; 4] {
        let (params, steps, Sizes { hidden, attention, values }) = (pass.params, &self.steps, self.sizes);
        let (device, dtype, tokens) = (pass.device(), dstates.dtype(), steps.tokens());
        let input_gradient = |rows: usize, dy: Slice<'_>, weight: Weight, dx: SliceMut<'_>| {
            device.linear_backward_input(rows, dy, params.view(weight), WeightLayout::OutIn, dx, true);
        };
        let take = |rows: usize, width: usize| pass.pool.take_as(dtype, rows * width);
        let zeros = |rows: usize, width: usize| pass.pool.zeros_as(dtype, rows * width);
        let [mut dgates_x, mut dgates_h, mut dqueries] =
            [3 * hidden, 3 * hidden, attention].map(|width| take(tokens, width));
        let (mut dprevious, mut dinitial) = (take(steps.sequences(), hidden), zeros(steps.sequences(), hidden));
        let (mut dkeys, mut dvalues) = (zeros(memory.keys.len(), 1), zeros(memory.values.len(), 1));
        let mut dscore = pass.pool.zeros(attention);
        for t in steps.order(Direction::Forward).into_iter().rev() {
            let rows = steps.rows(t);
            let n = rows.len();
            let (state, gates, query) = (span(&rows, hidden), span(&rows, 3 * hidden), span(&rows, attention));
            let (mut dgates_x, mut dgates_h) = (dgates_x.part_mut(gates.clone()), dgates_h.part_mut(gates));
            let (mut dprevious, saved) = (dprevious.part_mut(0..n * hidden), self.cell.part(span(&rows, 4 * hidden)));
            let (dstate, previous) = (dstates.part(state.clone()), self.previous.part(state));
            let [to_x, to_h, to_previous] = [&mut dgates_x, &mut dgates_h, &mut dprevious].map(SliceMut::reborrow);
            device.gru_backward(dstate, previous, saved, hidden, to_x, to_h, to_previous);
            let mut dcontext = dcontexts.part_mut(span(&rows, values));
            input_gradient(n, dgates_x.as_slice(), cell.context, dcontext.reborrow());
            let inputs = attention_inputs(memory, n, self.queries.part(query.clone()), params.slice(cell.score));
            let keys = inputs.cu_keys[n] as usize;
            let gradients = AdditiveGradients {
                queries: dqueries.part_mut(query.clone()),
                keys: dkeys.part_mut(0..keys * attention),
                values: dvalues.part_mut(0..keys * values),
                score: dscore.slice_mut(),
            };
            let alpha = self.alpha.part(self.alpha_at[t].clone());
            device.additive_attention_backward(inputs, alpha, dcontext.as_slice(), gradients);
            input_gradient(n, dgates_h.as_slice(), cell.recurrence.weight, dprevious.reborrow());
            input_gradient(n, dqueries.part(query), cell.query, dprevious.reborrow());
            let begin = Some(dinitial.slice_mut());
            let (from, to) = (dprevious.as_slice(), dstates.slice_mut());
            steps.add_previous(device, Direction::Forward, t, hidden, from, to, begin);
        }
        if let Some(total) = pass.grads.slice_mut(cell.score) {
            device.add_assign(total, dscore.slice());
        }
        pass.pool.count_product(tokens, cell.numbers());
        let mut weight_gradient = |x: Slice<'_>, dy: &Buffer, weight: Weight| {
            if let Some(dweight) = pass.grads.slice_mut(weight) {
                pass.pool.count_product(tokens, weight.len());
                device.linear_backward_weight(tokens, x, dy.slice(), WeightLayout::OutIn, dweight);
            }
        };
        weight_gradient(self.previous.slice(), &dgates_h, cell.recurrence.weight);
        weight_gradient(self.previous.slice(), &dqueries, cell.query);
        weight_gradient(contexts, &dgates_x, cell.context);
        if let Some(dbias) = pass.grads.slice_mut(cell.recurrence.bias) {
            device.linear_backward_bias(dgates_h.slice(), dbias);
        }
        [dgates_x, dinitial, dkeys, dvalues]
    }
}

/// One step's attention of the first `n` sequences.
fn attention_inputs<'a>(memory: &'a Memory, n: usize, queries: Slice<'a>, score: Slice<'a>) -> AdditiveInputs<'a> {
    let ([_, attention], [_, values]) = (memory.keys.dims(), memory.values.dims());
    let cu_keys = &memory.cu_keys[..=n];
    let keys = cu_keys[n] as usize;
    AdditiveInputs {
        queries,
        keys: memory.keys.slice().part(0..keys * attention),
        values: memory.values.slice().part(0..keys * values),
        score,
        cu_keys,
    }
}

#[cfg(test)]
mod tests;
