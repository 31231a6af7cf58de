//! Attention weights of a pass, to be looked at. No op stores weights by itself; where they are wanted, every attention
//! computes them apart from its output.

use atento_kernels::attention::Segment;

use super::Graph;
use crate::slice::{Dtype, SliceMut};
use crate::tensor::Tensor;

impl Graph<'_> {
    /// From here on the weights of every attention are kept for [`Graph::take_attention`].
    ///
    /// # Panics
    /// If the graph records gradients.
    #[track_caller]
    pub fn record_attention(&mut self) {
        assert!(!self.is_training(), "record_attention: weights are for passes that only compute");
        self.attention.get_or_insert_default();
    }

    /// The weights of every attention since the last call, in the order of the pass: a tensor for each of its segments.
    ///
    /// # Shapes
    /// A tensor: [n_heads, query_len, key_len] of its segment.
    #[must_use]
    pub fn take_attention(&mut self) -> Vec<Vec<Tensor>> {
        self.attention.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps the weights that `write` computes of each segment, if they are wanted.
    pub(crate) fn keep_attention(&mut self, n_heads: usize, segments: &[Segment], write: impl Fn(usize, SliceMut<'_>)) {
        let Some(kept) = &mut self.attention else { return };
        let pool = &self.pool;
        let of_segment = |(number, segment): (usize, &Segment)| {
            let dims = [n_heads, segment.query_len, segment.key_len];
            let mut weights = pool.take_as(Dtype::F32, dims.iter().product());
            write(number, weights.slice_mut());
            Tensor::new(weights, &dims, None)
        };
        kept.push(segments.iter().enumerate().map(of_segment).collect());
    }
}
