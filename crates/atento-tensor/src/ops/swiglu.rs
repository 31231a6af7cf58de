//! `y = silu(gate) ⊙ up` where `x = [gate | up]` (Shazeer 2020, eq. 6). Saved: `x`.

use atento_kernels::activation;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Gates the second half of each row by the first.
    ///
    /// # Shapes
    /// `x`: [rows, 2·d_ff]; result: [rows, d_ff].
    #[must_use]
    #[track_caller]
    pub fn swiglu(&mut self, x: &Tensor) -> Tensor {
        let [rows, width] = x.dims();
        assert!(width % 2 == 0, "swiglu: odd width {width}");
        let mut out = self.pool().take(rows * width / 2);
        activation::swiglu_forward(x.values(), width / 2, &mut out);
        let y = self.output("swiglu", out, &[rows, width / 2], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let x = x.clone();
            self.push("swiglu", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take(x.len());
                activation::swiglu_backward(x.values(), width / 2, &dy, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}
