//! The neighbours of each row side by side, for convolutions; see [`atento_kernels::unfold`] for the order. Backward: each
//! row receives the sum of its copies' gradients.

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Sets the rows around each row of the same sequence beside one another; rows beyond its ends are zero.
    ///
    /// # Shapes
    /// `x`: [rows, width]; `cu_seqlens`: [sequences + 1], from 0 to rows; result: [rows, width·kernel].
    ///
    /// # Panics
    /// If the kernel is even, or the sequences do not end with the rows.
    #[must_use]
    #[track_caller]
    pub fn unfold(&mut self, x: &Tensor, cu_seqlens: &[u32], kernel: usize) -> Tensor {
        let [rows, width] = x.dims();
        assert!(!kernel.is_multiple_of(2), "unfold: a kernel of {kernel}, expected an odd number");
        assert_eq!(cu_seqlens.last().copied(), Some(rows as u32), "unfold: cu_seqlens end");
        let mut out = self.pool().take_as(x.dtype(), rows * width * kernel);
        self.device().unfold(x.slice(), width, cu_seqlens, kernel, out.slice_mut());
        let y = self.output("unfold", out, &[rows, width * kernel], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let cu_seqlens = cu_seqlens.to_vec();
            self.push("unfold", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.zeros_as(dy.dtype(), rows * width);
                pass.device().unfold_backward(dy.slice(), width, &cu_seqlens, kernel, dx.slice_mut());
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
    fn rows_see_their_neighbours_and_no_other_sequence() {
        let case = Case::new().leaf_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]);
        let found = case.check_plain(&|g, x, _| vec![g.unfold(&x[0], &[0, 2, 3], 3)]);
        let expected = [0.0, 1.0, 3.0, 0.0, 2.0, 4.0, 1.0, 3.0, 0.0, 2.0, 4.0, 0.0, 0.0, 5.0, 0.0, 0.0, 6.0, 0.0];
        assert_eq!((&found.shapes[0][..], &found.outputs[0][..]), (&[3, 6][..], &expected[..]));
        // A row is copied to itself and to its neighbours.
        Case::new().leaf(&[7, 3]).check_plain(&|g, x, _| vec![g.unfold(&x[0], &[0, 4, 4, 5, 7], 5)]);
    }

    #[test]
    #[should_panic(expected = "a kernel of 2")]
    fn a_kernel_has_a_middle() {
        Case::new().leaf(&[3, 2]).run(&|g, x, _| vec![g.unfold(&x[0], &[0, 3], 2)]);
    }
}
