//! `y = a + b`. Backward: both inputs receive `dy`.

use atento_kernels::elementwise;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Adds two tensors of one shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    #[track_caller]
    pub fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "add: shapes");
        let mut out = self.pool().take(a.len());
        elementwise::add(a.values(), b.values(), &mut out);
        let nodes = (a.node(), b.node());
        let y = self.output("add", out, a.shape(), nodes.0.is_some() || nodes.1.is_some());
        if let Some(node) = y.node() {
            self.push("add", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                if let (Some(a), Some(_)) = nodes {
                    let copy = pass.pool.copy_of(&dy);
                    pass.accumulate(a, copy);
                }
                if let Some(last) = nodes.1.or(nodes.0) {
                    pass.accumulate(last, dy);
                }
            });
        }
        y
    }
}
