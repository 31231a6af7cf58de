//! Dropout (Srivastava et al. 2014), inverted: kept values are scaled by `1/(1−p)`.
//!
//! The mask is a function of (seed, stream, element index), so the backward regenerates it instead of storing it. A row's
//! index counts on from the rows of the step that lie before this pass ([`Graph::set_rows_before`]).

use std::sync::Arc;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Drops values with the given probability when training; otherwise returns `x` itself.
    #[must_use]
    pub fn dropout(&mut self, x: &Tensor, probability: f32) -> Tensor {
        let width = x.shape().last().copied().unwrap_or(1);
        let Some(key) = self.next_dropout(probability, width) else { return x.clone() };
        let mut out = self.pool().take_as(x.dtype(), x.len());
        self.device().dropout(key, x.slice(), out.slice_mut());
        let y = self.output("dropout", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("dropout", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take_as(dy.dtype(), dy.len());
                pass.device().dropout(key, dy.slice(), dx.slice_mut());
                pass.accumulate(input, dx);
            });
        }
        y
    }

    /// [`Graph::dropout`] of rows in another order than the batch's: row `i` of `x` is row `rows[i]` there, and has its
    /// mask. `rows` is not looked at where nothing is dropped.
    ///
    /// # Panics
    /// If there is not one number for each row.
    #[must_use]
    #[track_caller]
    pub fn dropout_of_rows(&mut self, x: &Tensor, probability: f32, rows: &Arc<[u32]>) -> Tensor {
        let [n_rows, width] = x.dims();
        let Some(key) = self.next_dropout(probability, width) else { return x.clone() };
        assert_eq!(rows.len(), n_rows, "dropout_of_rows: numbers of rows for {:?}", x.shape());
        let mut out = self.pool().take_as(x.dtype(), x.len());
        self.device().dropout_rows(key, rows, x.slice(), out.slice_mut());
        let y = self.output("dropout", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            let rows = Arc::clone(rows);
            self.push("dropout", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take_as(dy.dtype(), dy.len());
                pass.device().dropout_rows(key, &rows, dy.slice(), dx.slice_mut());
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use atento_kernels::philox::Rng;

    use super::super::testing::{Case, wave};
    use crate::ops::{AttentionInput, AttentionSpec, Segment};
    use crate::{Grads, Graph, Init, Params, Pool, Side};

    #[test]
    fn the_backward_drops_what_the_forward_dropped() {
        let found = Case::new().leaf(&[8, 8]).check(&|g, x, _| vec![g.dropout(&x[0], 0.4)]);
        let (x, upstream) = (wave(64, 0), wave(64, 100));
        let mut dropped = 0;
        for i in 1..64 {
            let factor = found.outputs[0][i] / x[i];
            assert!(factor == 0.0 || (factor - 1.0 / 0.6).abs() < 1e-5, "factor {factor}");
            assert!((found.leaf_grads[0][i] - factor * upstream[i]).abs() < 1e-5);
            dropped += usize::from(factor == 0.0);
        }
        assert!((10..45).contains(&dropped), "{dropped} of 63 dropped at 0.4");
    }

    #[test]
    fn nothing_is_dropped_at_zero_or_in_inference() {
        let found = Case::new().leaf(&[9]).check_plain(&|g, x, _| vec![g.dropout(&x[0], 0.0)]);
        assert_eq!(found.outputs[0], wave(9, 0));
        let params = Params::new();
        let mut g = Graph::infer(&params, &Pool::new());
        let x = g.constant(&wave(9, 0), &[9]);
        assert_eq!(g.dropout(&x, 0.9).values(), x.values());
    }

    /// The mask of a large tensor, from a pool of so many threads, and the gradient of ones.
    fn mask(seed: u64, n_threads: usize) -> [Vec<f32>; 3] {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        threads.install(|| {
            let (params, pool) = (Params::new(), Pool::new());
            let mut grads = Grads::zeros(&params);
            let mut g = Graph::train(&params, &mut grads, &pool, seed);
            let x = g.variable(&vec![1.0; 100_003], &[100_003]);
            let (first, second) = (g.dropout(&x, 0.1), g.dropout(&x, 0.1));
            let ones = pool.copy_of(x.values());
            let values = [first.values().to_vec(), second.values().to_vec()];
            let dx = g.backward_from(vec![(first, ones)], &[&x]).remove(0).f32().to_vec();
            let [first, second] = values;
            [first, second, dx]
        })
    }

    #[test]
    fn the_mask_depends_on_seed_and_place_and_not_on_threads() {
        let [first, second, dx] = mask(5, 1);
        assert_eq!([first.clone(), second.clone(), dx.clone()], mask(5, 4));
        assert_eq!(first, dx);
        assert_ne!(first, second);
        assert_ne!(first, mask(6, 1)[0]);
        let kept = first.iter().filter(|&&x| x > 0.0).count() as f64 / first.len() as f64;
        // Five standard deviations of a fair draw.
        assert!((kept - 0.9).abs() < 0.005, "{kept} kept at 0.1");
    }

    /// What a pass over rows `first..first + n` of five makes of them, and the gradient: three heads of four, whatever drops.
    fn part(first: usize, n: usize) -> Vec<Vec<f32>> {
        let mut params = Params::new();
        let gamma = params.add("gamma", &[12], Init::Ones, &mut Rng::new(1, 1));
        let beta = params.add("beta", &[12], Init::Ones, &mut Rng::new(1, 1));
        let (pool, mut grads) = (Pool::new(), Grads::zeros(&params));
        let mut g = Graph::train(&params, &mut grads, &pool, 7);
        g.set_rows_before([99, first as u64]);
        g.set_side(Side::Target);
        let rows_of = |width: usize| wave(5 * width, 0)[first * width..(first + n) * width].to_vec();
        let x = g.variable(&rows_of(12), &[n, 12]);
        let qkv = g.variable(&rows_of(36), &[n, 36]);
        // A sequence for each row, so that a part of the rows is a batch by itself.
        let segments: Arc<[Segment]> =
            (0..n).map(|at| Segment { query_start: at, query_len: 1, key_start: at, key_len: 1 }).collect();
        let ones = g.constant(&vec![1.0; n * 12], &[n, 12]);
        let backwards: Arc<[u32]> = (0..n as u32).rev().collect();
        let outputs = vec![
            g.dropout(&x, 0.4),
            g.attention(AttentionSpec::new(3, 4, true, 0.4), AttentionInput::Packed(&qkv), None, &segments),
            g.residual_norm(&x, &x, 0.4, gamma, Some(beta), 1e-5).0,
            g.checkpoint(&[&x], |g, x| g.dropout(&x[0], 0.4)),
            g.dropout_of_rows(&ones, 0.4, &backwards),
        ];
        let mut found: Vec<Vec<f32>> = outputs.iter().map(|output| output.values().to_vec()).collect();
        // The last is a mask with its rows reversed.
        found[4] = found[4].chunks(12).rev().flatten().copied().collect();
        let upstream = outputs.into_iter().map(|output| (output.clone(), pool.copy_of(&vec![1.0; output.len()])));
        let gradients = g.backward_from(upstream.take(4).collect(), &[&x, &qkv]);
        found.extend(gradients.iter().map(|gradient| gradient.f32().to_vec()));
        found
    }

    #[test]
    fn a_pass_over_some_rows_of_a_step_drops_what_one_over_all_rows_drops_there() {
        let whole = part(0, 5);
        for cut in 1..5 {
            let (first, second) = (part(0, cut), part(cut, 5 - cut));
            for (at, whole) in whole.iter().enumerate() {
                assert_eq!(&[first[at].clone(), second[at].clone()].concat(), whole, "output {at}, cut at row {cut}");
            }
        }
    }
}
