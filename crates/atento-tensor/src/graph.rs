//! The tape: one forward pass recorded, then run backwards.
//!
//! Each op pushes an entry holding what its backward needs. [`Graph::backward`] pops the entries in reverse order; an
//! entry's saved tensors are dropped as soon as it has run, so activations go back to the pool while the backward
//! proceeds and the gradients reuse their memory.
//!
//! Dropout masks are never stored: each op that drops takes the next *stream* number of the pass, and the pair
//! (seed, stream) regenerates the mask ([`atento_kernels::dropout`]). A step may be computed in several passes: told what
//! rows lie before its own ([`Graph::set_rows_before`]), a pass drops what one pass over all of them would drop there.

mod explain;

use atento_kernels::dropout::DropoutKey;

use crate::buffer::Buffer;
use crate::device::Device;
use crate::params::{Grads, Params, Weight};
use crate::pool::Pool;
use crate::slice::{Dtype, SliceMut};
use crate::tensor::Tensor;

/// A value on the tape whose gradient is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

type BackwardFn = Box<dyn FnOnce(&mut Backward<'_>) + Send>;

struct Entry {
    op: &'static str,
    backward: BackwardFn,
}

/// An activation or gradient that is not finite, found by [`Graph::check_finite`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// The op that made it.
    pub op: &'static str,
    /// The label of the module being run ([`Graph::label`]), e.g. `decoder.layers.1`.
    pub module: String,
}

/// The two sides of a batch of pairs, whose rows are counted apart; a batch that is not of pairs has the first only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The rows of what is read, and all rows of a batch that has one side.
    Source,
    /// The rows of what is written.
    Target,
}

/// What the next dropout mask follows from.
#[derive(Clone, Copy)]
struct Masks {
    seed: u64,
    next_stream: u64,
    /// Rows of the step before this pass, of each side.
    rows_before: [u64; 2],
    side: Side,
}

/// One forward pass over a set of parameters, recorded when gradients are wanted.
pub struct Graph<'p> {
    params: &'p Params,
    grads: Option<&'p mut Grads>,
    pool: Pool,
    tape: Vec<Entry>,
    n_nodes: usize,
    masks: Masks,
    dropping: bool,
    /// Whether an output so far would be tracked by a pass that records.
    has_tracked: bool,
    module: String,
    check_finite: bool,
    non_finite: Option<NonFinite>,
    /// The weights of each attention so far, where they are wanted: a tensor a segment.
    attention: Option<Vec<Vec<Tensor>>>,
}

impl<'p> Graph<'p> {
    /// A pass that records, with dropout on. `grads` is added to, never cleared. `seed` decides every dropout mask.
    #[must_use]
    pub fn train(params: &'p Params, grads: &'p mut Grads, pool: &Pool, seed: u64) -> Self {
        assert!(grads.belong_to(params), "Graph::train: gradients of other parameters");
        Self::new(params, Some(grads), pool, seed)
    }

    /// A pass that only computes: nothing is recorded and nothing is dropped.
    #[must_use]
    pub fn infer(params: &'p Params, pool: &Pool) -> Self {
        Self::new(params, None, pool, 0)
    }

    fn new(params: &'p Params, grads: Option<&'p mut Grads>, pool: &Pool, seed: u64) -> Self {
        Self {
            params,
            dropping: grads.is_some(),
            has_tracked: false,
            grads,
            pool: pool.clone(),
            tape: Vec::new(),
            n_nodes: 0,
            masks: Masks { seed, next_stream: 0, rows_before: [0; 2], side: Side::Source },
            module: String::new(),
            check_finite: false,
            non_finite: None,
            attention: None,
        }
    }

    /// The parameters of this pass.
    #[must_use]
    pub fn params(&self) -> &'p Params {
        self.params
    }

    /// Where this pass takes its memory.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What computes this pass: the device whose memory the pool is.
    #[must_use]
    pub fn device(&self) -> &'static dyn Device {
        self.pool.device()
    }

    /// Whether the pass records gradients and applies dropout.
    #[must_use]
    pub fn is_training(&self) -> bool {
        self.grads.is_some()
    }

    /// Says how many rows of a step other passes compute before this one, of each [`Side`]. Masks then are those of one
    /// pass over all of them: they do not depend on how a step is cut.
    pub fn set_rows_before(&mut self, source_and_target: [u64; 2]) {
        self.masks.rows_before = source_and_target;
    }

    /// Says whose rows the tensors from here on have; [`Side::Source`] at the beginning.
    pub fn set_side(&mut self, side: Side) {
        self.masks.side = side;
    }

    /// From here on every op's output is searched for NaN and infinities; the first is kept for
    /// [`Graph::non_finite`]. Slow: for diagnosing a pass that went wrong.
    pub fn check_finite(&mut self) {
        self.check_finite = true;
    }

    /// Names the module whose ops follow, for diagnostics.
    pub fn label(&mut self, module: impl FnOnce() -> String) {
        if self.check_finite {
            self.module = module();
        }
    }

    /// The first non-finite output, when [`Graph::check_finite`] was asked for.
    #[must_use]
    pub fn non_finite(&self) -> Option<&NonFinite> {
        self.non_finite.as_ref()
    }

    /// A constant: its gradient is not wanted.
    #[must_use]
    #[track_caller]
    pub fn constant(&self, values: &[f32], dims: &[usize]) -> Tensor {
        Tensor::new(self.pool.copy_of(values), dims, None)
    }

    /// A tracked leaf whose gradient [`Graph::backward_from`] returns. For tests and for inputs that are not parameters.
    #[must_use]
    #[track_caller]
    pub fn variable(&mut self, values: &[f32], dims: &[usize]) -> Tensor {
        let node = self.new_node();
        Tensor::new(self.pool.copy_of(values), dims, Some(node))
    }

    /// Runs the tape backwards from a scalar loss.
    ///
    /// # Panics
    /// If `loss` is not a tracked scalar of this graph.
    #[track_caller]
    pub fn backward(&mut self, loss: &Tensor) {
        assert_eq!(loss.len(), 1, "backward: the loss has {} values", loss.len());
        let ones = self.pool.copy_of(&[1.0]);
        let _ = self.backward_from(vec![(loss.clone(), ones)], &[]);
    }

    /// Runs the tape backwards from the sum of several scalar losses. One that nothing trainable had a part in is passed over.
    ///
    /// # Panics
    /// If a loss is not a scalar.
    #[track_caller]
    pub fn backward_all<'t>(&mut self, losses: impl IntoIterator<Item = &'t Tensor>) {
        let mut outputs = Vec::new();
        for loss in losses {
            assert_eq!(loss.len(), 1, "backward_all: a loss has {} values", loss.len());
            if loss.node().is_some() {
                outputs.push((loss.clone(), self.pool.copy_of(&[1.0])));
            }
        }
        let _ = self.backward_from(outputs, &[]);
    }

    /// Runs the tape backwards from given output gradients; returns the gradients of `wanted` leaves (zeros where
    /// nothing flowed).
    ///
    /// # Panics
    /// If the graph does not record, or a tensor is not tracked.
    #[track_caller]
    pub fn backward_from(&mut self, outputs: Vec<(Tensor, Buffer)>, wanted: &[&Tensor]) -> Vec<Buffer> {
        let tape = std::mem::take(&mut self.tape);
        let grads = self.grads.as_deref_mut().expect("backward: this graph does not record");
        let mut pass = Backward {
            params: self.params,
            grads,
            pool: self.pool.clone(),
            nodes: (0..self.n_nodes).map(|_| None).collect(),
        };
        for (tensor, gradient) in outputs {
            let node = tensor.node().expect("backward: the output is not tracked");
            pass.accumulate(node, gradient);
        }
        for entry in tape.into_iter().rev() {
            (entry.backward)(&mut pass);
        }
        wanted
            .iter()
            .map(|tensor| {
                let node = tensor.node().expect("backward: a wanted leaf is not tracked");
                pass.take(node).unwrap_or_else(|| pass.pool.zeros_as(tensor.dtype(), tensor.len()))
            })
            .collect()
    }

    /// Runs `body` without recording and records instead that it must be run again in the backward: activations inside
    /// are not kept (gradient checkpointing, Chen et al. 2016). `body` must be a pure function of its inputs and the
    /// parameters; dropout masks are replayed.
    pub fn checkpoint<F>(&mut self, inputs: &[&Tensor], body: F) -> Tensor
    where
        F: Fn(&mut Graph<'_>, &[Tensor]) -> Tensor + Send + 'static,
    {
        let inputs: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
        if !self.is_training() {
            return body(self, &inputs);
        }
        let masks = self.masks;
        let (output, has_tracked) = self.without_recording(|quiet| body(quiet, &inputs));
        if !has_tracked {
            // Nothing before it and nothing in it is trained.
            return output;
        }
        let node = self.new_node();
        self.push("checkpoint", move |pass| {
            let Some(dy) = pass.take(node) else { return };
            let mut inner = Graph::new(pass.params, Some(&mut *pass.grads), &pass.pool, masks.seed);
            inner.masks = masks;
            let leaves: Vec<Tensor> = inputs
                .iter()
                .map(|t| match t.node() {
                    Some(_) => t.clone().tracked_as(Some(inner.new_node())),
                    None => t.clone(),
                })
                .collect();
            let y = body(&mut inner, &leaves);
            if y.node().is_none() {
                // Nothing trainable inside: whether there is, only this recorded run shows.
                return;
            }
            let tracked: Vec<&Tensor> = leaves.iter().filter(|t| t.node().is_some()).collect();
            let gradients = inner.backward_from(vec![(y, dy)], &tracked);
            drop(inner);
            let nodes = inputs.iter().filter_map(Tensor::node);
            for (outer, gradient) in nodes.zip(gradients) {
                pass.accumulate(outer, gradient);
            }
        });
        output.tracked_as(Some(node))
    }

    /// Runs `body` with dropout but without a tape; says whether a tape would hold anything.
    fn without_recording(&mut self, body: impl FnOnce(&mut Graph<'_>) -> Tensor) -> (Tensor, bool) {
        let mut quiet = Graph::new(self.params, None, &self.pool, self.masks.seed);
        quiet.dropping = self.dropping;
        quiet.masks = self.masks;
        quiet.check_finite = self.check_finite;
        quiet.module.clone_from(&self.module);
        let output = body(&mut quiet);
        self.masks = quiet.masks;
        self.non_finite = self.non_finite.take().or(quiet.non_finite);
        (output, quiet.has_tracked)
    }

    // What ops use. -------------------------------------------------------------------------------------------------

    /// The mask key of the next dropout op, over rows of this width, or `None` when nothing is dropped.
    pub(crate) fn next_dropout(&mut self, probability: f32, width: usize) -> Option<DropoutKey> {
        if !self.dropping || probability == 0.0 {
            return None;
        }
        let Masks { seed, next_stream, rows_before: [source, target], side } = &mut self.masks;
        *next_stream += 1;
        let rows_before = if *side == Side::Source { *source } else { *target };
        Some(DropoutKey { probability, seed: *seed, stream: *next_stream, first: rows_before * width as u64 })
    }

    /// Whether a part of one of these parameters is trained.
    pub(crate) fn trains(&self, weights: &[Weight]) -> bool {
        self.params.is_any_trained(weights)
    }

    /// Gradients to add to directly, for ops that compute them in the forward.
    pub(crate) fn grads_mut(&mut self) -> Option<&mut Grads> {
        self.grads.as_deref_mut()
    }

    pub(crate) fn new_node(&mut self) -> NodeId {
        self.n_nodes += 1;
        NodeId(self.n_nodes - 1)
    }

    pub(crate) fn push(&mut self, op: &'static str, backward: impl FnOnce(&mut Backward<'_>) + Send + 'static) {
        self.tape.push(Entry { op, backward: Box::new(backward) });
    }

    /// Wraps an op's output: tracked when the graph records and `tracked` says that something upstream is trainable.
    pub(crate) fn output(&mut self, op: &'static str, data: Buffer, dims: &[usize], tracked: bool) -> Tensor {
        if self.check_finite && self.non_finite.is_none() && !self.device().all_finite(data.slice()) {
            self.non_finite = Some(NonFinite { op, module: self.module.clone() });
        }
        self.has_tracked |= tracked;
        let node = (tracked && self.is_training()).then(|| self.new_node());
        Tensor::new(data, dims, node)
    }

    /// The ops on the tape, in order, for tests.
    #[must_use]
    pub fn recorded_ops(&self) -> Vec<&'static str> {
        self.tape.iter().map(|entry| entry.op).collect()
    }
}

/// What an entry's backward works on: gradients of tape nodes and of parameters.
pub struct Backward<'a> {
    pub(crate) params: &'a Params,
    pub(crate) grads: &'a mut Grads,
    pub(crate) pool: Pool,
    nodes: Vec<Option<Buffer>>,
}

impl Backward<'_> {
    /// What computes this pass.
    pub(crate) fn device(&self) -> &'static dyn Device {
        self.pool.device()
    }

    /// Takes the gradient that has arrived at a node; `None` when its value was never used.
    pub(crate) fn take(&mut self, node: NodeId) -> Option<Buffer> {
        self.nodes[node.0].take()
    }

    /// Adds a gradient to a node.
    pub(crate) fn accumulate(&mut self, node: NodeId, gradient: Buffer) {
        let device = self.device();
        match &mut self.nodes[node.0] {
            Some(sum) => device.add_assign(sum.slice_mut(), gradient.slice()),
            empty => *empty = Some(gradient),
        }
    }

    /// The node's gradient buffer to write into, and whether it already holds a sum to add to. Hand it back with
    /// [`Backward::put`].
    pub(crate) fn slot(&mut self, node: NodeId, dtype: Dtype, len: usize) -> (Buffer, bool) {
        match self.nodes[node.0].take() {
            Some(buffer) => (buffer, true),
            None => (self.pool.take_as(dtype, len), false),
        }
    }

    /// Puts back what [`Backward::slot`] lent.
    pub(crate) fn put(&mut self, node: NodeId, gradient: Buffer) {
        self.nodes[node.0] = Some(gradient);
    }

    /// The gradients of a norm's gain and bias, to add to; those of one which is not trained, or not there, go nowhere.
    pub(crate) fn with_norm(
        &mut self,
        gamma: Weight,
        beta: Option<Weight>,
        work: impl FnOnce(&Params, [SliceMut<'_>; 2]),
    ) {
        let [first, second] = match beta {
            Some(beta) => self.grads.find_pair_mut([gamma, beta]),
            None => [self.grads.find_mut(gamma), None],
        };
        let scratch = |found: &Option<&mut [f32]>| match found {
            Some(_) => self.pool.zeros(0),
            None => self.pool.zeros(gamma.len()),
        };
        let (mut one, mut other) = (scratch(&first), scratch(&second));
        work(self.params, [first.unwrap_or(one.f32_mut()).into(), second.unwrap_or(other.f32_mut()).into()]);
    }
}

#[cfg(test)]
mod tests;
