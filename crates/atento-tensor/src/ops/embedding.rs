//! Rows of a table, looked up by id, times a constant (`√d_model` in Vaswani et al. 2017, §3.4); and positions added.
//!
//! Backward: each id's row of the gradient table receives the sum of its tokens' gradients, in token order whatever the
//! number of threads.
//!
//! A table may have a pair that is added to what is looked up (`ops/lookup_pair.rs`), and rows in the place of its own
//! (`ops/replaced_rows.rs`).

use std::sync::Arc;

use super::{lookup_pair, replaced_rows};
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
        let (params, pool) = (self.params(), self.pool().clone());
        let mut out = pool.take(ids.len() * table.cols);
        self.device().embedding(ids, params.view(table), table.cols, scale, out.slice_mut());
        let replaced = params.replaced_rows(table).map(|found| (found.clone(), replaced_rows::places(found, ids)));
        if let Some((replaced, (places, rows))) = &replaced {
            replaced_rows::look_up(params, &pool, replaced, (places, rows), scale, out.slice_mut());
        }
        let pair = params.lookup_pair(table);
        let added = pair.map(|pair| lookup_pair::forward(self, pair, ids, scale, out.slice_mut()));
        let tracked = self.trains(&[table])
            || replaced.as_ref().is_some_and(|(replaced, _)| self.trains(&[replaced.rows]))
            || pair.is_some_and(|pair| self.trains(&[pair.rows, pair.up]));
        let y = self.output("embedding", out, &[ids.len(), table.cols], tracked);
        if let Some(node) = y.node() {
            let ids = ids.to_vec();
            self.push("embedding", move |pass| {
                let Some(mut dy) = pass.take(node) else { return };
                let device = pass.device();
                for row in (0..ids.len()).filter(|&row| Some(ids[row]) == padding_id) {
                    device.fill(dy.part_mut(row * table.cols..(row + 1) * table.cols), 0.0);
                }
                if let Some(added) = &added {
                    added.backward(pass, &ids, dy.slice());
                }
                if let Some((replaced, (places, rows))) = &replaced {
                    let pool = (&pass.pool, device);
                    replaced_rows::look_up_backward(pass.grads, pool, replaced, (places, rows), scale, &mut dy);
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
        let params = self.params();
        let mut out = self.pool().copy(x.slice());
        let table = match positions {
            Positions::Learned(table) => params.slice(*table),
            Positions::Fixed(values) => (&**values).into(),
        };
        self.device().add_positions(position_ids, table, out.slice_mut());
        let pair = match positions {
            Positions::Learned(table) => params.lookup_pair(*table),
            Positions::Fixed(_) => None,
        };
        let added = pair.map(|pair| lookup_pair::forward(self, pair, position_ids, 1.0, out.slice_mut()));
        let learned = matches!(positions, Positions::Learned(table) if self.trains(&[*table]))
            || pair.is_some_and(|pair| self.trains(&[pair.rows, pair.up]));
        let y = self.output("add_positions", out, &[tokens, d_model], learned || x.node().is_some());
        if let Some(node) = y.node() {
            let (input, positions, position_ids) = (x.node(), positions.clone(), position_ids.to_vec());
            self.push("add_positions", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let device = pass.device();
                if let Some(added) = &added {
                    added.backward(pass, &position_ids, dy.slice());
                }
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
    use crate::{LookupPair, ReplacedRows};

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

    /// A table [5, 3] with a pair of rank 2.
    fn with_pair() -> Case {
        let case = Case::new().param(&[5, 3]).param(&[5, 2]).param(&[3, 2]);
        case.lookup_pair(0, |w| LookupPair { rows: w[1], up: w[2], scale: 0.5 })
    }

    #[test]
    fn a_pair_is_added_to_what_is_looked_up_and_both_halves_are_trained() {
        let found = with_pair().check_plain(&|g, _, w| vec![g.embedding(w[0], &[4, 0, 4, 1], 1.5, None)]);
        let at = |phase: usize, len: usize| wave(len, 50 + 10 * phase);
        let (table, rows, up) = (at(0, 15), at(1, 10), at(2, 6));
        let value = |id: usize, column: usize| {
            let added: f32 = (0..2).map(|r| rows[id * 2 + r] * up[column * 2 + r]).sum();
            1.5 * (table[id * 3 + column] + 0.5 * added)
        };
        let expected: Vec<f32> = [4, 0, 4, 1].iter().flat_map(|id| (0..3).map(|c| value(*id, c))).collect();
        assert_close(&found.outputs[0], &expected);
        assert_eq!(found.param_grads[1][4..8], [0.0; 4], "what is not looked up");
        let padded = with_pair().run(&|g, _, w| vec![g.embedding(w[0], &[4, 0, 4, 1], 1.5, Some(1))]);
        assert_eq!(padded.param_grads[1][2..4], [0.0; 2], "padding");
    }

    #[test]
    fn a_pair_is_added_to_learned_positions() {
        let case = with_pair().leaf(&[4, 3]);
        case.check_plain(&|g, x, w| vec![g.add_positions(&x[0], &Positions::Learned(w[0]), &[0, 1, 4, 0])]);
    }

    #[test]
    fn rows_in_the_place_of_others_are_looked_up_and_trained() {
        let case = Case::new().param(&[5, 3]).param(&[2, 3]);
        let case = case.replaced_rows(0, |w| ReplacedRows { ids: [4, 1].into(), rows: w[1] });
        let found = case.check_plain(&|g, _, w| vec![g.embedding(w[0], &[4, 0, 4, 1], 2.0, None)]);
        let rows: Vec<f32> = wave(6, 60).iter().map(|x| 2.0 * x).collect();
        assert_eq!((&found.outputs[0][..3], &found.outputs[0][9..]), (&rows[..3], &rows[3..]));
        assert_eq!(found.param_grads[0][3..], [0.0; 12]);
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
