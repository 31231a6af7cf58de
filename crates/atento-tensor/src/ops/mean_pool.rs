//! The mean of each sequence's rows. Backward: every row of a sequence receives `dy / length`.

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Averages the tokens of each packed sequence; an empty sequence gives zeros.
    ///
    /// # Shapes
    /// `x`: [tokens, width]; `cu_seqlens`: [sequences + 1], from 0 to tokens; result: [sequences, width].
    #[must_use]
    #[track_caller]
    pub fn mean_pool(&mut self, x: &Tensor, cu_seqlens: &[u32]) -> Tensor {
        let [tokens, width] = x.dims();
        assert_eq!(cu_seqlens.last().copied(), Some(tokens as u32), "mean_pool: cu_seqlens end");
        let sequences = cu_seqlens.len() - 1;
        let mut out = self.pool().take_as(x.dtype(), sequences * width);
        self.device().mean_pool(x.slice(), width, cu_seqlens, out.slice_mut());
        let y = self.output("mean_pool", out, &[sequences, width], x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let cu_seqlens = cu_seqlens.to_vec();
            self.push("mean_pool", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take_as(dy.dtype(), tokens * width);
                pass.device().mean_pool_backward(dy.slice(), width, &cu_seqlens, dx.slice_mut());
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
    fn sequences_of_every_length_are_averaged() {
        let found = Case::new().leaf(&[6, 3]).check_plain(&|g, x, _| vec![g.mean_pool(&x[0], &[0, 1, 1, 6])]);
        assert_eq!(found.shapes, [[3, 3]]);
        assert_eq!(found.outputs[0][3..6], [0.0; 3]);
    }
}
