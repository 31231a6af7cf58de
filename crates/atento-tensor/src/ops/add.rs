//! `y = a + b`. Backward: both inputs receive `dy`.

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Adds two tensors of one shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    #[track_caller]
    pub fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        assert_eq!(a.shape(), b.shape(), "add: shapes");
        let mut out = self.pool().take_as(a.dtype(), a.len());
        self.device().add(a.slice(), b.slice(), out.slice_mut());
        let nodes = (a.node(), b.node());
        let y = self.output("add", out, a.shape(), nodes.0.is_some() || nodes.1.is_some());
        if let Some(node) = y.node() {
            self.push("add", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                if let (Some(a), Some(_)) = nodes {
                    let copy = pass.pool.copy(dy.slice());
                    pass.accumulate(a, copy);
                }
                if let Some(last) = nodes.1.or(nodes.0) {
                    pass.accumulate(last, dy);
                }
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, wave};

    #[test]
    fn both_inputs_receive_the_gradient() {
        let found = Case::new().leaf(&[3, 4]).leaf(&[3, 4]).check_plain(&|g, x, _| vec![g.add(&x[0], &x[1])]);
        assert_eq!(found.leaf_grads, [wave(12, 100), wave(12, 100)]);
        assert_eq!(found.shapes, [[3, 4]]);
    }

    #[test]
    fn a_tensor_added_to_itself_receives_it_twice() {
        let found = Case::new().leaf(&[5]).check_plain(&|g, x, _| vec![g.add(&x[0], &x[0])]);
        assert_eq!(found.leaf_grads[0], wave(5, 100).iter().map(|d| 2.0 * d).collect::<Vec<_>>());
    }

    #[test]
    fn one_constant_among_them_is_left_alone() {
        for constant_first in [true, false] {
            Case::new().leaf(&[5]).check_plain(&|g, x, _| {
                let c = g.constant(&[1.0; 5], &[5]);
                vec![if constant_first { g.add(&c, &x[0]) } else { g.add(&x[0], &c) }]
            });
        }
    }

    #[test]
    #[should_panic(expected = "add: shapes")]
    fn shapes_have_to_be_equal() {
        Case::new().leaf(&[2, 3]).leaf(&[3, 2]).run(&|g, x, _| vec![g.add(&x[0], &x[1])]);
    }
}
