//! Selected rows: `y[i] = x[rows[i]]`. Backward: each row of `dy` is added to the row it came from, in order.

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
        let mut out = self.pool().take_as(x.dtype(), rows.len() * width);
        self.device().gather_rows(x.slice(), width, rows, out.slice_mut());
        let y = self.output("gather_rows", out, &[rows.len(), width], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let rows = rows.to_vec();
            self.push("gather_rows", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.zeros_as(dy.dtype(), n * width);
                pass.device().scatter_add(&rows, dy.slice(), 1.0, dx.slice_mut());
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
    fn rows_picked_twice_receive_both_gradients_and_others_none() {
        let case = Case::new().leaf_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]);
        let found = case.check_plain(&|g, x, _| vec![g.gather_rows(&x[0], &[2, 0, 2, 2])]);
        assert_eq!(found.outputs[0], [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 5.0, 6.0]);
        assert_eq!(found.leaf_grads[0][2..4], [0.0, 0.0]);
    }

    #[test]
    fn no_rows_are_no_rows() {
        let found = Case::new().leaf(&[3, 2]).check_plain(&|g, x, _| vec![g.gather_rows(&x[0], &[])]);
        assert_eq!((found.shapes, found.leaf_grads), (vec![vec![0, 2]], vec![vec![0.0; 6]]));
    }

    #[test]
    #[should_panic(expected = "a row beyond 3")]
    fn rows_have_to_exist() {
        Case::new().leaf(&[3, 2]).run(&|g, x, _| vec![g.gather_rows(&x[0], &[3])]);
    }
}
