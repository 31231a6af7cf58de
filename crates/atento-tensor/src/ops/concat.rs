//! Columns side by side: `y = [a | b]`. Backward: the columns go back to where they came from.

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
        let mut out = self.pool().take_as(a.dtype(), rows * (a_cols + b_cols));
        let width = a_cols + b_cols;
        self.device().copy_columns(a.slice(), a_cols, 0, out.slice_mut(), width, 0, a_cols);
        self.device().copy_columns(b.slice(), b_cols, 0, out.slice_mut(), width, a_cols, b_cols);
        let nodes = (a.node(), b.node());
        let y = self.output("concat", out, &[rows, a_cols + b_cols], nodes.0.is_some() || nodes.1.is_some());
        if let Some(node) = y.node() {
            self.push("concat", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let [mut da, mut db] = [a_cols, b_cols].map(|cols| pass.pool.take_as(dy.dtype(), rows * cols));
                pass.device().copy_columns(dy.slice(), width, 0, da.slice_mut(), a_cols, 0, a_cols);
                pass.device().copy_columns(dy.slice(), width, a_cols, db.slice_mut(), b_cols, 0, b_cols);
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

#[cfg(test)]
mod tests {
    use super::super::testing::Case;

    #[test]
    fn columns_and_their_gradients_stay_side_by_side() {
        let case = Case::new().leaf_of(&[1.0, 2.0], &[2, 1]).leaf_of(&[3.0, 4.0, 5.0, 6.0], &[2, 2]);
        let found = case.check_plain(&|g, x, _| vec![g.concat_columns(&x[0], &x[1])]);
        assert_eq!(found.outputs[0], [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        assert_eq!(found.shapes, [[2, 3]]);
    }

    #[test]
    fn a_tensor_beside_itself_receives_both_halves() {
        Case::new().leaf(&[3, 2]).check_plain(&|g, x, _| vec![g.concat_columns(&x[0], &x[0])]);
    }

    #[test]
    fn one_constant_among_them_is_left_alone() {
        Case::new().leaf(&[2, 3]).check_plain(&|g, x, _| {
            let c = g.constant(&[1.0, 2.0], &[2, 1]);
            vec![g.concat_columns(&c, &x[0]), g.concat_columns(&x[0], &c)]
        });
    }
}
