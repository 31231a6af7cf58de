//! Selected rows: `y[i] = x[rows[i]]`. Backward: each row of `dy` is added to the row it came from, in order.

use atento_kernels::{elementwise, embedding};

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Picks rows of `x`; a row may be picked several times or not at all.
    ///
    /// # Shapes
    /// `x`: [n, width]; result: [rows, width].
    ///
    /// # Panics
    /// If a row index is not below `n`.
    #[must_use]
    #[track_caller]
    pub fn gather_rows(&mut self, x: &Tensor, rows: &[u32]) -> Tensor {
        let [n, width] = x.dims();
        assert!(rows.iter().all(|&row| (row as usize) < n), "gather_rows: a row beyond {n}");
        let mut out = self.pool().take(rows.len() * width);
        elementwise::gather_rows(x.values(), width, rows, &mut out);
        let y = self.output("gather_rows", out, &[rows.len(), width], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let rows = rows.to_vec();
            self.push("gather_rows", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.zeros(n * width);
                embedding::backward(&rows, &dy, 1.0, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}
