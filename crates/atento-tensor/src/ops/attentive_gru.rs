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
use atento_kernels::additive_attention::{self, Gradients, Inputs};
use atento_kernels::elementwise;
use atento_kernels::gru;
use atento_kernels::linear::{self, WeightLayout};
use atento_kernels::matmul::{self, Mat, MatMut};

use super::gru_sequence::GruRecurrence;
use super::time_steps::{Direction, TimeSteps, span};
use crate::{Backward, Buffer, Graph, Tensor, Weight};

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
        let mut saved = Saved::new(self, sizes, memory, steps);
        let mut states = self.pool().take(steps.tokens() * sizes.hidden);
        let mut contexts = self.pool().take(steps.tokens() * sizes.values);
        saved.forward(self, gates_x, initial, cell, memory, &mut states, &mut contexts);
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
                let dstates = dstates.unwrap_or_else(|| pass.pool.zeros(saved.steps.tokens() * sizes.hidden));
                let dcontexts = dcontexts.unwrap_or_else(|| pass.pool.zeros(contexts.len()));
                let found = saved.backward(pass, cell, &memory, contexts.values(), dstates, dcontexts);
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
    fn new(g: &Graph<'_>, sizes: Sizes, memory: &Memory, steps: &Arc<TimeSteps>) -> Self {
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
            alpha: pool.take(end),
            queries: pool.take(tokens * sizes.attention),
            previous: pool.take(tokens * sizes.hidden),
            cell: pool.take(tokens * 4 * sizes.hidden),
        }
    }

    fn forward(
        &mut self,
        g: &Graph<'_>,
        gates_x: &Tensor,
        initial: &Tensor,
        cell: AttentiveGru,
        memory: &Memory,
        states: &mut [f32],
        contexts: &mut [f32],
    ) {
        let (params, Sizes { hidden, attention, values }) = (g.params(), self.sizes);
        let steps = Arc::clone(&self.steps);
        let project = |rows: usize, x: &[f32], weight: Weight, bias: Option<&[f32]>, out: &mut [f32]| {
            let (weight, identity) = (params.get(weight), Activation::Identity);
            linear::forward(rows, x, weight, WeightLayout::OutIn, bias, identity, None, out);
        };
        let mut gates_x = g.pool().copy_of(gates_x.values());
        let mut gates_h = g.pool().take(steps.sequences() * 3 * hidden);
        for t in steps.order(Direction::Forward) {
            let rows = steps.rows(t);
            let n = rows.len();
            let previous = &mut self.previous[span(&rows, hidden)];
            steps.copy_previous(Direction::Forward, t, hidden, states, Some(initial.values()), previous);
            let queries = &mut self.queries[span(&rows, attention)];
            project(n, previous, cell.query, None, queries);
            let context = &mut contexts[span(&rows, values)];
            let inputs = attention_inputs(memory, n, queries, params.get(cell.score));
            additive_attention::forward(inputs, &mut self.alpha[self.alpha_at[t].clone()], context);
            let gates_x = &mut gates_x[span(&rows, 3 * hidden)];
            let weight = Mat::row_major(params.get(cell.context), 3 * hidden, values).t();
            let context = Mat::row_major(context, n, values);
            matmul::gemm(1.0, context, weight, 1.0, MatMut::row_major(gates_x, n, 3 * hidden));
            let gates_h = &mut gates_h[..n * 3 * hidden];
            project(n, previous, cell.recurrence.weight, Some(params.get(cell.recurrence.bias)), gates_h);
            let (state, saved) = (&mut states[span(&rows, hidden)], &mut self.cell[span(&rows, 4 * hidden)]);
            gru::forward(gates_x, gates_h, previous, hidden, state, saved);
        }
    }

    /// Adds the parameters' gradients; returns those of `gates_x`, `initial`, the keys and the values.
    fn backward(
        &self,
        pass: &mut Backward<'_>,
        cell: AttentiveGru,
        memory: &Memory,
        contexts: &[f32],
        mut dstates: Buffer,
        mut dcontexts: Buffer,
    ) -> [Buffer; 4] {
        let (params, steps, Sizes { hidden, attention, values }) = (pass.params, &self.steps, self.sizes);
        let tokens = steps.tokens();
        let input_gradient = |rows: usize, dy: &[f32], weight: Weight, dx: &mut [f32]| {
            linear::backward_input(rows, dy, params.get(weight), WeightLayout::OutIn, dx, true);
        };
        let mut dgates_x = pass.pool.take(tokens * 3 * hidden);
        let mut dgates_h = pass.pool.take(tokens * 3 * hidden);
        let mut dqueries = pass.pool.take(tokens * attention);
        let mut dprevious = pass.pool.take(steps.sequences() * hidden);
        let mut dscore = pass.pool.zeros(attention);
        let mut dinitial = pass.pool.zeros(steps.sequences() * hidden);
        let (mut dkeys, mut dvalues) = (pass.pool.zeros(memory.keys.len()), pass.pool.zeros(memory.values.len()));
        for t in steps.order(Direction::Forward).into_iter().rev() {
            let rows = steps.rows(t);
            let n = rows.len();
            let (state, gates, query) = (span(&rows, hidden), span(&rows, 3 * hidden), span(&rows, attention));
            let (dgates_x, dgates_h) = (&mut dgates_x[gates.clone()], &mut dgates_h[gates]);
            let (dprevious, saved) = (&mut dprevious[..n * hidden], &self.cell[span(&rows, 4 * hidden)]);
            let previous = &self.previous[state.clone()];
            gru::backward(&dstates[state], previous, saved, hidden, dgates_x, dgates_h, dprevious);
            let dcontext = &mut dcontexts[span(&rows, values)];
            input_gradient(n, dgates_x, cell.context, dcontext);
            let inputs = attention_inputs(memory, n, &self.queries[query.clone()], params.get(cell.score));
            let keys = inputs.cu_k[n] as usize;
            let gradients = Gradients {
                dq_proj: &mut dqueries[query.clone()],
                dk_proj: &mut dkeys[..keys * attention],
                dvalues: &mut dvalues[..keys * values],
                dv: &mut dscore,
            };
            additive_attention::backward(inputs, &self.alpha[self.alpha_at[t].clone()], dcontext, gradients);
            input_gradient(n, dgates_h, cell.recurrence.weight, dprevious);
            input_gradient(n, &dqueries[query], cell.query, dprevious);
            steps.add_previous(Direction::Forward, t, hidden, dprevious, &mut dstates, Some(&mut dinitial));
        }
        if let Some(total) = pass.grads.find_mut(cell.score) {
            elementwise::add_assign(total, &dscore);
        }
        let mut weight_gradient = |x: &[f32], dy: &[f32], weight: Weight| {
            if let Some(dweight) = pass.grads.find_mut(weight) {
                linear::backward_weight(tokens, x, dy, WeightLayout::OutIn, dweight);
            }
        };
        weight_gradient(&self.previous, &dgates_h, cell.recurrence.weight);
        weight_gradient(&self.previous, &dqueries, cell.query);
        weight_gradient(contexts, &dgates_x, cell.context);
        if let Some(dbias) = pass.grads.find_mut(cell.recurrence.bias) {
            linear::backward_bias(&dgates_h, dbias);
        }
        [dgates_x, dinitial, dkeys, dvalues]
    }
}

/// One step's attention of the first `n` sequences.
fn attention_inputs<'a>(memory: &'a Memory, n: usize, queries: &'a [f32], score: &'a [f32]) -> Inputs<'a> {
    let ([_, attention], [_, values]) = (memory.keys.dims(), memory.values.dims());
    let cu_k = &memory.cu_keys[..=n];
    let keys = cu_k[n] as usize;
    Inputs {
        q_proj: queries,
        k_proj: &memory.keys.values()[..keys * attention],
        values: &memory.values.values()[..keys * values],
        v: score,
        cu_k,
    }
}

#[cfg(test)]
mod tests;
