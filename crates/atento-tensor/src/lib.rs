//! Tensors, the parameter arena and the tape.
//!
//! * [`Tensor`]: a contiguous row-major `f32` activation whose memory comes from a [`Pool`] and goes back to it.
//! * [`Params`]: every parameter of a model in one arena, with a name → (offset, dims) table; [`Grads`] mirrors it.
//! * [`Graph`]: records the ops of one forward pass and runs their backwards in reverse, freeing activations as it goes.
//! * [`ops`]: one file per differentiable op, each a method of [`Graph`].
//!
//! Every op has a backward: there is no way to reach an op without one from a tracked tensor.

mod graph;
pub mod ops;
mod params;
mod pool;
mod tensor;

pub use graph::{Backward, Graph, NodeId, NonFinite, Side};
pub use params::{Frozen, Grads, Init, ParamEntry, ParamId, Params, Values, View, Weight};
pub use pool::{Buffer, Pool, PoolStats};
pub use tensor::Tensor;
