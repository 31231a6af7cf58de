//! `y[:, j] = l[j] · x[:, j]`: columns multiplied by parameters ((IA)³, Liu et al. 2022, §3.3).
//!
//! Backward: `dx[:, j] = l[j] · dy[:, j]`, `dl[j] += Σ_rows dy[:, j] x[:, j]`. Saved: `x`, where `l` is trained.

use super::projection::columns;
use crate::{Graph, Tensor, Weight};

impl Graph<'_> {
    /// Multiplies columns by factors; each of `factors` comes with its first column, and the rest stays as it is.
    ///
    /// # Shapes
    /// `x`: [rows, width]; a weight of `factors`: `[count]`; result: [rows, width].
    ///
    /// # Panics
    /// If factors leave a row.
    #[track_caller]
    pub fn scale_columns(&mut self, x: &Tensor, factors: &[(usize, Weight)]) -> Tensor {
        let [rows, width] = x.dims();
        let fits = factors.iter().all(|(first, factors)| first + factors.len() <= width);
        assert!(fits, "scale_columns: {factors:?} of {width} columns");
        let (params, pool) = (self.params(), self.pool().clone());
        let weights: Vec<Weight> = factors.iter().map(|(_, weight)| *weight).collect();
        let is_trained = self.trains(&weights);
        let mut out = pool.copy(x.slice());
        for &(first, weight) in factors {
            pool.device().scale_columns(out.slice_mut(), width, first, params.slice(weight));
        }
        let y = self.output("scale_columns", out, &[rows, width], x.node().is_some() || is_trained);
        let Some(node) = y.node() else { return y };
        let (input, factors) = (x.node(), factors.to_vec());
        let x = is_trained.then(|| x.clone());
        self.push("scale_columns", move |pass| {
            let Some(mut dy) = pass.take(node) else { return };
            let (params, pool) = (pass.params, pass.pool.clone());
            for &(first, weight) in &factors {
                if let (Some(x), Some(gradient)) = (&x, pass.grads.slice_mut(weight)) {
                    let [dy, x] = [dy.slice(), x.slice()].map(|all| columns(&pool, all, width, first, weight.len()));
                    let mut products = pool.take_as(dy.dtype(), dy.len());
                    pool.device().mul(dy.slice(), x.slice(), products.slice_mut());
                    pool.device().linear_backward_bias(products.slice(), gradient);
                }
                pool.device().scale_columns(dy.slice_mut(), width, first, params.slice(weight));
            }
            if let Some(input) = input {
                pass.accumulate(input, dy);
            }
        });
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close};

    #[test]
    fn columns_are_multiplied_and_the_others_are_not() {
        let case = Case::new().leaf_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).param_of(&[10.0], &[1]);
        let found = case.run(&|g, x, w| vec![g.scale_columns(&x[0], &[(1, w[0])])]);
        assert_close(&found.outputs[0], &[1.0, 20.0, 3.0, 4.0, 50.0, 6.0]);
    }

    #[test]
    fn gradients_of_columns_and_factors() {
        let case = Case::new().leaf(&[3, 5]).param(&[2]).param(&[1, 2]);
        case.check_plain(&|g, x, w| vec![g.scale_columns(&x[0], &[(0, w[0]), (3, w[1])])]);
        case.check_plain(&|g, x, w| {
            let y = g.scale_columns(&x[0], &[(1, w[0])]);
            vec![g.scale_columns(&x[0], &[(3, w[1])]), y]
        });
    }
}
