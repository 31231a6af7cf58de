//! A contiguous, row-major activation.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::graph::NodeId;
use crate::pool::Pool;
use crate::slice::{Dtype, Slice};

/// A contiguous row-major array. Cloning shares the memory.
#[derive(Clone)]
pub struct Tensor {
    data: Arc<Buffer>,
    dims: Vec<usize>,
    node: Option<NodeId>,
}

impl Tensor {
    /// Wraps a buffer. `node` is the tape entry whose gradient this tensor's is, or `None` for a constant.
    ///
    /// # Panics
    /// If the buffer's length is not the product of `dims`.
    #[track_caller]
    pub(crate) fn new(data: Buffer, dims: &[usize], node: Option<NodeId>) -> Self {
        assert_eq!(data.len(), dims.iter().product::<usize>(), "Tensor::new: {} values for dims {dims:?}", data.len());
        Self { data: Arc::new(data), dims: dims.to_vec(), node }
    }

    /// The dimensions, checked to be `N` of them: `let [tokens, d_model] = x.dims();`
    ///
    /// # Panics
    /// If the tensor has another rank.
    #[must_use]
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> [usize; N] {
        self.dims.as_slice().try_into().unwrap_or_else(|_| panic!("expected {N} dimensions, found {:?}", self.dims))
    }

    /// The dimensions, whatever their number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.dims
    }

    /// The values, row-major, for code that reads results.
    ///
    /// # Panics
    /// If they are not f32.
    #[must_use]
    #[track_caller]
    pub fn values(&self) -> &[f32] {
        self.data.f32()
    }

    /// The values, row-major, of whatever dtype, for kernels.
    #[must_use]
    pub fn slice(&self) -> Slice<'_> {
        self.data.slice()
    }

    /// How the values are held.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.data.dtype()
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether the tensor has no values (a batch without tokens).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The tape node this tensor's gradient belongs to; `None` when nothing upstream is trainable.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The same values with other dimensions.
    ///
    /// # Panics
    /// If the number of values differs.
    #[must_use]
    #[track_caller]
    pub fn reshaped(&self, dims: &[usize]) -> Self {
        assert_eq!(self.len(), dims.iter().product::<usize>(), "reshape {:?} to {dims:?}", self.dims);
        Self { data: Arc::clone(&self.data), dims: dims.to_vec(), node: self.node }
    }

    /// The same values, cut from the tape: gradients stop here.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { node: None, ..self.clone() }
    }
}

impl Tensor {
    /// The values in a buffer of their own: the tensor's, if nothing else holds it, or a copy.
    pub(crate) fn into_buffer(self, pool: &Pool) -> Buffer {
        Arc::try_unwrap(self.data).unwrap_or_else(|shared| pool.copy(shared.slice()))
    }

    pub(crate) fn tracked_as(mut self, node: Option<NodeId>) -> Self {
        self.node = node;
        self
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{:?}", self.dims)
    }
}
