//! Rows of a table, looked up by id, times a constant (`√d_model` in Vaswani et al. 2017, §3.4); and positions added.
//!
//! Backward: each id's row of the gradient table receives the sum of its tokens' gradients, in token order whatever the
//! number of threads.

use std::sync::Arc;

use crate::{Graph, Tensor, Weight};

/// What is added to each token according to its position.
#[derive(Clone)]
pub enum Positions {
    /// A trained table: [max_positions, d_model].
    Learned(Weight),
    /// Fixed values, e.g. sinusoids: [max_positions, d_model], row-major.
    Fixed(Arc<[f32]>),
}

impl Graph<'_> {
    /// Looks up `ids` in `table` and multiplies by `scale`. Lookups of `padding_id` give no gradient, as with the
    /// `padding_idx` of PyTorch's `Embedding`.
    ///
    /// # Shapes
    /// `table`: [vocab_size, d_model]; result: [ids, d_model].
    ///
    /// # Panics
    /// If an id is not below `vocab_size` (callers validate token ids where they enter).
    #[track_caller]
    pub fn embedding(&mut self, table: Weight, ids: &[u32], scale: f32, padding_id: Option<u32>) -> Tensor {
        let mut out = self.pool().take(ids.len() * table.cols);
        self.device().embedding(ids, self.params().view(table), table.cols, scale, out.slice_mut());
        let tracked = self.trains(&[table]);
        let y = self.output("embedding", out, &[ids.len(), table.cols], tracked);
        if let Some(node) = y.node() {
            let ids = ids.to_vec();
            self.push("embedding", move |pass| {
                let Some(mut dy) = pass.take(node) else { return };
                let device = pass.device();
                for row in (0..ids.len()).filter(|&row| Some(ids[row]) == padding_id) {
                    device.fill(dy.part_mut(row * table.cols..(row + 1) * table.cols), 0.0);
                }
                if let Some(dtable) = pass.grads.slice_mut(table) {
                    device.scatter_add(&ids, dy.slice(), scale, dtable);
                }
            });
        }
        y
    }

    /// Adds the row of `positions` to each token.
    ///
    /// # Shapes
    /// `x` and the result: [tokens, d_model]; `position_ids`: one per token, below max_positions.
    #[track_caller]
    pub fn add_positions(&mut self, x: &Tensor, positions: &Positions, position_ids: &[u32]) -> Tensor {
        let [tokens, d_model] = x.dims();
        assert_eq!(tokens, position_ids.len(), "add_positions: one position per token");
        let mut out = self.pool().copy(x.slice());
        let table = match positions {
            Positions::Learned(table) => self.params().slice(*table),
            Positions::Fixed(values) => (&**values).into(),
        };
        self.device().add_positions(position_ids, table, out.slice_mut());
        let learned = matches!(positions, Positions::Learned(table) if self.trains(&[*table]));
        let y = self.output("add_positions", out, &[tokens, d_model], learned || x.node().is_some());
        if let Some(node) = y.node() {
            let (input, positions, position_ids) = (x.node(), positions.clone(), position_ids.to_vec());
            self.push("add_positions", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let device = pass.device();
                if let Positions::Learned(table) = positions
                    && let Some(dtable) = pass.grads.slice_mut(table)
                {
                    device.scatter_add(&position_ids, dy.slice(), 1.0, dtable);
                }
                if let Some(input) = input {
                    pass.accumulate(input, dy);
                }
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close, wave};
    use super::Positions;

    #[test]
    fn tokens_met_twice_add_up_and_others_receive_nothing() {
        let found =
            Case::new().param(&[5, 3]).check_plain(&|g, _, w| vec![g.embedding(w[0], &[4, 0, 4, 1], 1.5, None)]);
        assert_eq!(found.shapes, [[4, 3]]);
        assert_eq!(found.param_grads[0][6..12], [0.0; 6]);
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch_padding_untrained() {
        let case = Case::new().param(&[3, 2]);
        let found = case.run(&|g, _, w| vec![g.embedding(w[0], &[2, 0, 2, 1], 1.5, Some(0))]);
        let y = [0.7062835, -1.457383, -0.3935623, 1.341591, 0.7062835, -1.457383, -1.394178, 0.5162234];
        assert_close(&found.outputs[0], &y);
        assert_close(&found.param_grads[0], &[0.0, 0.0, 0.9693799, 0.2077226, 0.2691957, -0.02884924]);
    }

    #[test]
    fn learned_positions_are_trained() {
        let case = Case::new().leaf(&[4, 3]).param(&[6, 3]);
        let found = case.check_plain(&|g, x, w| vec![g.add_positions(&x[0], &Positions::Learned(w[0]), &[0, 1, 5, 0])]);
        assert_eq!(found.leaf_grads[0], wave(12, 100));
        assert_eq!(found.param_grads[0][6..15], [0.0; 9]);
    }

    #[test]
    fn fixed_positions_are_added_and_nothing_more() {
        let table = Positions::Fixed([1.0, 2.0, 3.0, 4.0].into());
        let case = Case::new().leaf_of(&[0.5, 0.5, 0.0, 0.0, -1.0, 1.0], &[3, 2]);
        let found = case.check_plain(&|g, x, _| vec![g.add_positions(&x[0], &table, &[0, 1, 1])]);
        assert_eq!(found.outputs[0], [1.5, 2.5, 3.0, 4.0, 2.0, 5.0]);
        assert_eq!(found.leaf_grads[0], wave(6, 100));
    }

    #[test]
    #[should_panic]
    fn ids_have_to_exist() {
        Case::new().param(&[5, 3]).run(&|g, _, w| vec![g.embedding(w[0], &[5], 1.0, None)]);
    }
}
