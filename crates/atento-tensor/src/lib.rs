//! Tensors, the parameter arena and the tape.
//!
//! * [`Tensor`]: a contiguous row-major activation whose memory, a [`Buffer`] of one [`Dtype`], comes from a [`Pool`] and
//!   goes back to it.
//! * [`device`]: the one table of kernels, and the processor as its first implementation.
//! * [`Params`]: every parameter of a model in one arena, with a name → (offset, dims) table; [`Grads`] mirrors it.
//! * [`Graph`]: records the ops of one forward pass and runs their backwards in reverse, freeing activations as it goes.
//! * [`ops`]: one file per differentiable op, each a method of [`Graph`].
//!
//! Every op has a backward: there is no way to reach an op without one from a tracked tensor.

mod buffer;
pub mod device;
mod graph;
pub mod ops;
mod params;
mod pool;
mod slice;
mod tensor;

pub use buffer::Buffer;
pub use graph::{Backward, Graph, NodeId, NonFinite, Side};
pub use params::{
    Bottleneck, Frozen, Grads, Init, LookupPair, LowRank, Magnitude, ParamEntry, ParamId, Params, Placed, ReplacedRows,
    Scaling, Values, View, VirtualTokens, Weight,
};
pub use pool::{Pool, PoolStats};
pub use slice::{Dtype, Slice, SliceMut};
pub use tensor::Tensor;
