//! Some of the columns: `y = x[:, first..end]`. Backward: they go back to their places, and the others receive zeros.

use std::ops::Range;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Picks columns that lie side by side.
    ///
    /// # Shapes
    /// `x`: [rows, width]; result: [rows, columns].
    ///
    /// # Panics
    /// If a column is not below `width`.
    #[must_use]
    #[track_caller]
    pub fn columns(&mut self, x: &Tensor, columns: Range<usize>) -> Tensor {
        let ([rows, width], count) = (x.dims(), columns.len());
        assert!(columns.end <= width, "columns: {columns:?} of {width}");
        let mut out = self.pool().take_as(x.dtype(), rows * count);
        self.device().copy_columns(x.slice(), width, columns.start, out.slice_mut(), count, 0, count);
        let y = self.output("columns", out, &[rows, count], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("columns", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.zeros_as(dy.dtype(), rows * width);
                pass.device().copy_columns(dy.slice(), count, 0, dx.slice_mut(), width, columns.start, count);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;

    #[test]
    fn columns_go_back_to_their_places() {
        let case = Case::new().leaf_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
        let found = case.check_plain(&|g, x, _| vec![g.columns(&x[0], 1..3)]);
        assert_eq!(found.outputs[0], [2.0, 3.0, 5.0, 6.0]);
        assert_eq!((found.leaf_grads[0][0], found.leaf_grads[0][3]), (0.0, 0.0));
    }

    #[test]
    fn all_columns_in_two_parts_are_the_whole() {
        let case = Case::new().leaf(&[3, 5]);
        let found = case.check_plain(&|g, x, _| {
            let parts = [0..2, 2..5].map(|part| g.columns(&x[0], part));
            vec![g.concat_columns(&parts[0], &parts[1])]
        });
        assert_eq!(found.outputs, case.run(&|_, x, _| vec![x[0].clone()]).outputs);
    }

    #[test]
    #[should_panic(expected = "of 2")]
    fn columns_have_to_exist() {
        Case::new().leaf(&[3, 2]).run(&|g, x, _| vec![g.columns(&x[0], 1..3)]);
    }
}
