//! `y = a ⊙ b`. Backward: `da = dy ⊙ b`, `db = dy ⊙ a`.

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
        let mut out = self.pool().take_as(a.dtype(), a.len());
        self.device().mul(a.slice(), b.slice(), out.slice_mut());
        let y = self.output("mul", out, a.shape(), a.node().is_some() || b.node().is_some());
        if let Some(node) = y.node() {
            let (a, b) = (a.clone(), b.clone());
            self.push("mul", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                for (input, other) in [(&a, &b), (&b, &a)] {
                    if let Some(input) = input.node() {
                        let mut gradient = pass.pool.take_as(dy.dtype(), dy.len());
                        pass.device().mul(dy.slice(), other.slice(), gradient.slice_mut());
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
    fn each_input_receives_the_gradient_times_the_other() {
        Case::new().leaf(&[3, 4]).leaf(&[3, 4]).check_plain(&|g, x, _| vec![g.mul(&x[0], &x[1])]);
    }

    #[test]
    fn a_square_receives_both_halves() {
        Case::new().leaf(&[7]).check_plain(&|g, x, _| vec![g.mul(&x[0], &x[0])]);
    }

    #[test]
    fn one_constant_among_them_is_left_alone() {
        Case::new().leaf(&[4]).check_plain(&|g, x, _| {
            let c = g.constant(&[1.0, 2.0, -3.0, 0.0], &[4]);
            vec![g.mul(&c, &x[0]), g.mul(&x[0], &c)]
        });
    }

    #[test]
    #[should_panic(expected = "mul: shapes")]
    fn shapes_have_to_be_equal() {
        Case::new().leaf(&[2, 3]).leaf(&[3, 2]).run(&|g, x, _| vec![g.mul(&x[0], &x[1])]);
    }
}
