//! Losses of few logits that exist as an array: labels of texts, ends of answers, choices. See
//! [`atento_kernels::group_losses`] for the formulas.

use atento_kernels::group_losses::Group;

use super::CrossEntropy;
use crate::{Graph, Tensor};

impl Graph<'_> {
    /// The cross-entropy of each group of logits, summed and multiplied by `scale`.
    ///
    /// # Shapes
    /// `logits`: any; `groups` say which of them belong together.
    ///
    /// # Panics
    /// If a group reaches beyond the logits, or its target is not in it.
    #[track_caller]
    pub fn group_cross_entropy(
        &mut self,
        logits: &Tensor,
        groups: Vec<Group>,
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let (loss_sum, nll_sum) = self.device().group_cross_entropy(logits.slice(), &groups, smoothing);
        let n_targets = groups.len();
        let loss = self.loss_of(logits, loss_sum, scale, move |device, logits, factor, dlogits| {
            device.group_cross_entropy_backward(logits, &groups, smoothing, factor, dlogits);
        });
        CrossEntropy { loss, loss_sum, nll_sum, n_targets }
    }

    /// The binary cross-entropy of each logit, summed and multiplied by `scale`.
    ///
    /// # Shapes
    /// `targets`: as many values in [0, 1] as there are logits.
    ///
    /// # Panics
    /// If there are more or fewer targets than logits.
    #[track_caller]
    pub fn binary_cross_entropy(&mut self, logits: &Tensor, targets: Vec<f32>, scale: f32) -> CrossEntropy {
        let sum = self.device().binary_cross_entropy(logits.slice(), &targets);
        let n_targets = targets.len();
        let loss = self.loss_of(logits, sum, scale, move |device, logits, factor, dlogits| {
            device.binary_cross_entropy_backward(logits, &targets, factor, dlogits);
        });
        CrossEntropy { loss, loss_sum: sum, nll_sum: sum, n_targets }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Case;
    use atento_kernels::group_losses::Group;

    #[test]
    fn groups_are_rows_columns_or_anything_between() {
        let row = |row: usize, target| Group { first: 3 * row, len: 3, stride: 1, target, weight: 1.0 };
        let column = |column, target| Group { first: column, len: 4, stride: 3, target, weight: 0.5 };
        for smoothing in [0.0, 0.1] {
            for groups in [vec![row(0, 2), row(3, 0)], vec![column(1, 3), column(0, 0), row(1, 1)]] {
                Case::new()
                    .leaf(&[4, 3])
                    .check_plain(&|g, x, _| vec![g.group_cross_entropy(&x[0], groups.clone(), smoothing, 0.25).loss]);
            }
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        // F.cross_entropy(x, [2, 0], weight=[1, 2, 0.5], reduction="sum") of rows, and F.binary_cross_entropy_with_logits.
        let x = [0.5, -1.0, 2.0, 0.0, 1.5, -0.5];
        let groups = vec![
            Group { first: 0, len: 3, stride: 1, target: 2, weight: 0.5 },
            Group { first: 3, len: 3, stride: 1, target: 0, weight: 1.0 },
        ];
        let found = Case::new()
            .leaf_of(&x, &[2, 3])
            .root()
            .check_plain(&|g, x, _| vec![g.group_cross_entropy(&x[0], groups.clone(), 0.0, 1.0).loss]);
        close(&found.outputs[0], &[EXPECTED_CE]);
        close(&found.leaf_grads[0], &EXPECTED_CE_GRAD);
        let targets = vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0];
        let found = Case::new()
            .leaf_of(&x, &[2, 3])
            .root()
            .check_plain(&|g, x, _| vec![g.binary_cross_entropy(&x[0], targets.clone(), 1.0).loss]);
        close(&found.outputs[0], &[EXPECTED_BCE]);
        close(&found.leaf_grads[0], &EXPECTED_BCE_GRAD);
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{found:?} and {expected:?}"));
    }

    const EXPECTED_CE: f32 = 1.927011;
    const EXPECTED_CE_GRAD: [f32; 6] = [0.0876452, 0.01955629, -0.1072015, -0.8357484, 0.7361246, 0.09962365];
    const EXPECTED_BCE: f32 = 2.782904;
    const EXPECTED_BCE_GRAD: [f32; 6] = [-0.3775406, 0.2689414, -0.119203, 0.5, -0.1824256, -0.6224593];

    #[test]
    fn large_logits_overflow_nothing() {
        let case = Case::new().leaf_of(&[1000.0, -1000.0, 88.0], &[3, 1]).root();
        let found = case.check_plain(&|g, x, _| vec![g.binary_cross_entropy(&x[0], vec![1.0, 0.0, 0.0], 1.0).loss]);
        assert_eq!(found.outputs[0], [88.0]);
    }

    #[test]
    #[should_panic(expected = "target 3 of 3")]
    fn a_target_is_in_its_group() {
        let group = Group { first: 0, len: 3, stride: 1, target: 3, weight: 1.0 };
        Case::new().leaf(&[1, 3]).run(&|g, x, _| vec![g.group_cross_entropy(&x[0], vec![group], 0.0, 1.0).loss]);
    }
}
