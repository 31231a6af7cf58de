//! Columns side by side, `y = [a | b]`, and rows below rows. Backward: they go back to where they came from.

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
        self.side_by_side([a, b], rows, &[rows, a_cols + b_cols])
    }

    /// Joins two matrices of as many columns, one below the other.
    ///
    /// # Shapes
    /// `a`: [n, width]; `b`: [m, width]; result: [n + m, width].
    #[must_use]
    #[track_caller]
    pub fn concat_rows(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        let ([n, width], [m, b_width]) = (a.dims(), b.dims());
        assert_eq!(width, b_width, "concat_rows: columns");
        // Row by row they lie one behind the other.
        self.side_by_side([a, b], 1, &[n + m, width])
    }

    /// The values of two tensors, each cut into so many pieces of one length, piece beside piece.
    fn side_by_side(&mut self, [a, b]: [&Tensor; 2], pieces: usize, dims: &[usize; 2]) -> Tensor {
        let [a_len, b_len] = [a, b].map(|tensor| tensor.len() / pieces.max(1));
        let mut out = self.pool().take_as(a.dtype(), a.len() + b.len());
        let width = a_len + b_len;
        self.device().copy_columns(a.slice(), a_len, 0, out.slice_mut(), width, 0, a_len);
        self.device().copy_columns(b.slice(), b_len, 0, out.slice_mut(), width, a_len, b_len);
        let nodes = (a.node(), b.node());
        let y = self.output("concat", out, dims, nodes.0.is_some() || nodes.1.is_some());
        if let Some(node) = y.node() {
            self.push("concat", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let [mut da, mut db] = [a_len, b_len].map(|len| pass.pool.take_as(dy.dtype(), pieces * len));
                pass.device().copy_columns(dy.slice(), width, 0, da.slice_mut(), a_len, 0, a_len);
                pass.device().copy_columns(dy.slice(), width, a_len, db.slice_mut(), b_len, 0, b_len);
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
    fn rows_and_their_gradients_stay_in_order() {
        let case = Case::new().leaf_of(&[1.0, 2.0], &[1, 2]).leaf_of(&[3.0, 4.0, 5.0, 6.0], &[2, 2]);
        let found = case.check_plain(&|g, x, _| vec![g.concat_rows(&x[0], &x[1])]);
        assert_eq!(found.outputs[0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(found.shapes, [[3, 2]]);
    }

    #[test]
    fn one_constant_among_them_is_left_alone() {
        Case::new().leaf(&[2, 3]).check_plain(&|g, x, _| {
            let c = g.constant(&[1.0, 2.0], &[2, 1]);
            vec![g.concat_columns(&c, &x[0]), g.concat_columns(&x[0], &c)]
        });
    }
}
