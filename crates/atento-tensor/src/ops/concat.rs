//! Columns side by side: `y = [a | b]`. Backward: the columns go back to where they came from.

use atento_kernels::elementwise;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Joins two matrices of as many rows.
    ///
    /// # Shapes
    /// `a`: [rows, n]; `b`: [rows, m]; result: [rows, n + m].
    #[must_use]
    #[track_caller]
    pub fn concat_columns(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let ([rows, a_cols], [b_rows, b_cols]) = (a.dims(), b.dims());
        assert_eq!(rows, b_rows, "concat_columns: rows");
        let mut out = self.pool().take(rows * (a_cols + b_cols));
        let width = a_cols + b_cols;
        elementwise::copy_columns(a.values(), a_cols, 0, &mut out, width, 0, a_cols);
        elementwise::copy_columns(b.values(), b_cols, 0, &mut out, width, a_cols, b_cols);
        let nodes = (a.node(), b.node());
        let y = self.output("concat", out, &[rows, a_cols + b_cols], nodes.0.is_some() || nodes.1.is_some());
        if let Some(node) = y.node() {
            self.push("concat", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let (mut da, mut db) = (pass.pool.take(rows * a_cols), pass.pool.take(rows * b_cols));
                elementwise::copy_columns(&dy, width, 0, &mut da, a_cols, 0, a_cols);
                elementwise::copy_columns(&dy, width, a_cols, &mut db, b_cols, 0, b_cols);
                for (input, gradient) in [(nodes.0, da), (nodes.1, db)] {
                    if let Some(input) = input {
                        pass.accumulate(input, gradient);
                    }
                }
            });
        }
        y
    }
}
