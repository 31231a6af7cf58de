//! Gated recurrent layers (Cho et al. 2014): in one direction, in both, and attending (Bahdanau et al. 2015).

use std::sync::Arc;

use atento_kernels::philox::Rng;
use atento_tensor::ops::{AttentiveGru, Direction, GruRecurrence, Memory, TimeSteps};
use atento_tensor::{Graph, Init, Params, Tensor};

use super::Linear;

/// A GRU in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Gru {
    /// From the input to the gates: `weight_ih` [3·hidden, inputs], `bias_ih`.
    pub input: Linear,
    /// From the state to the gates: `weight_hh`, `bias_hh`.
    pub recurrence: GruRecurrence,
    /// The order in which tokens are read.
    pub direction: Direction,
}

impl Gru {
    /// Weights uniform in ±1/√hidden as PyTorch's, biases zero; named `{path}.weight_ih`, `{path}.weight_hh`,
    /// `{path}.bias_ih`, `{path}.bias_hh`.
    pub fn init(
        params: &mut Params,
        path: &str,
        inputs: usize,
        hidden: usize,
        direction: Direction,
        rng: &mut Rng,
    ) -> Self {
        let uniform = Init::Uniform((hidden as f32).powf(-0.5));
        let mut add = |name: &str, dims: &[usize], init| params.add(&format!("{path}.{name}"), dims, init, rng);
        let weight_ih = add("weight_ih", &[3 * hidden, inputs], uniform);
        let weight = add("weight_hh", &[3 * hidden, hidden], uniform);
        let bias_ih = add("bias_ih", &[3 * hidden], Init::Zeros);
        let bias = add("bias_hh", &[3 * hidden], Init::Zeros);
        let input = Linear::over(weight_ih, Some(bias_ih));
        Self { input, recurrence: GruRecurrence { weight, bias }, direction }
    }

    /// The state after each token, from `initial` or from zeros.
    ///
    /// # Shapes
    /// `x`: [tokens, inputs], step by step; `initial`: [sequences, hidden]; result: [tokens, hidden].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor, initial: Option<&Tensor>, steps: &Arc<TimeSteps>) -> Tensor {
        let gates = self.input.forward(g, x);
        g.gru_sequence(&gates, initial, self.recurrence, steps, self.direction)
    }
}

/// Two GRUs over one input, one in each direction.
#[derive(Clone, Copy, Debug)]
pub struct BidirectionalGru {
    /// Reads from the first token to the last.
    pub forward: Gru,
    /// Reads from the last token to the first.
    pub backward: Gru,
}

impl BidirectionalGru {
    /// Named `{path}.forward` and `{path}.backward`; `hidden` is the width of each direction.
    pub fn init(params: &mut Params, path: &str, inputs: usize, hidden: usize, rng: &mut Rng) -> Self {
        let forward = Gru::init(params, &format!("{path}.forward"), inputs, hidden, Direction::Forward, rng);
        let backward = Gru::init(params, &format!("{path}.backward"), inputs, hidden, Direction::Reverse, rng);
        Self { forward, backward }
    }

    /// Annotations, the states of both directions side by side, and the backward direction's states alone.
    ///
    /// # Shapes
    /// `x`: [tokens, inputs], step by step; results: [tokens, 2·hidden] and [tokens, hidden].
    #[must_use]
    #[track_caller]
    pub fn forward(&self, g: &mut Graph<'_>, x: &Tensor, steps: &Arc<TimeSteps>) -> (Tensor, Tensor) {
        let forward = self.forward.forward(g, x, None, steps);
        let backward = self.backward.forward(g, x, None, steps);
        (g.concat_columns(&forward, &backward), backward)
    }
}

/// A GRU whose input is a token and what it finds, by additive attention, in another sequence.
#[derive(Clone, Copy, Debug)]
pub struct AttendingGru {
    /// From the token to the gates: `weight_ih` [3·hidden, inputs], `bias_ih`.
    pub input: Linear,
    /// From an annotation to its key: `U_a` and its bias.
    pub key: Linear,
    /// Everything inside the loop over time.
    pub cell: AttentiveGru,
}

impl AttendingGru {
    /// A GRU's parameters as [`Gru::init`] names them, `{path}.weight_ch` from the context to the gates, and
    /// `{path}.attention.{query,key}.weight`, `{path}.attention.key.bias`, `{path}.attention.score`. The attention is
    /// as wide as the state.
    pub fn init(
        params: &mut Params,
        path: &str,
        inputs: usize,
        hidden: usize,
        annotation: usize,
        rng: &mut Rng,
    ) -> Self {
        let gru = Gru::init(params, path, inputs, hidden, Direction::Forward, rng);
        let uniform = Init::Uniform((hidden as f32).powf(-0.5));
        let context = params.add(&format!("{path}.weight_ch"), &[3 * hidden, annotation], uniform, rng);
        let query = params.add(&format!("{path}.attention.query.weight"), &[hidden, hidden], Init::Xavier, rng);
        let key = Linear::init(params, &format!("{path}.attention.key"), annotation, hidden, rng);
        let score = params.add(&format!("{path}.attention.score"), &[hidden], uniform, rng);
        Self { input: gru.input, key, cell: AttentiveGru { recurrence: gru.recurrence, context, query, score } }
    }

    /// What the annotations of packed sentences are attended to as.
    ///
    /// # Shapes
    /// `annotations`: [source_tokens, annotation]; `cu_keys`: [sequences + 1].
    #[must_use]
    #[track_caller]
    pub fn memory(&self, g: &mut Graph<'_>, annotations: Tensor, cu_keys: Arc<[u32]>) -> Memory {
        Memory { keys: self.key.forward(g, &annotations), values: annotations, cu_keys }
    }

    /// The state after each token, and the context it was read with.
    ///
    /// # Shapes
    /// `x`: [tokens, inputs], step by step; `initial`: [sequences, hidden]; results: [tokens, hidden] and
    /// [tokens, annotation].
    #[must_use]
    #[track_caller]
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        x: &Tensor,
        initial: &Tensor,
        memory: &Memory,
        steps: &Arc<TimeSteps>,
    ) -> (Tensor, Tensor) {
        let gates = self.input.forward(g, x);
        g.attentive_gru(&gates, initial, self.cell, memory, steps)
    }
}
