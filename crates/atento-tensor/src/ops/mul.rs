//! `y = a ⊙ b`. Backward: `da = dy ⊙ b`, `db = dy ⊙ a`.

use atento_kernels::elementwise;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Multiplies two tensors of one shape, value by value.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    #[track_caller]
    pub fn mul(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "mul: shapes");
        let mut out = self.pool().take(a.len());
        elementwise::mul(a.values(), b.values(), &mut out);
        let y = self.output("mul", out, a.shape(), a.node().is_some() || b.node().is_some());
        if let Some(node) = y.node() {
            let (a, b) = (a.clone(), b.clone());
            self.push("mul", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                for (input, other) in [(&a, &b), (&b, &a)] {
                    if let Some(input) = input.node() {
                        let mut gradient = pass.pool.take(dy.len());
                        elementwise::mul(&dy, other.values(), &mut gradient);
                        pass.accumulate(input, gradient);
                    }
                }
            });
        }
        y
    }
}
