//! Dropout (Srivastava et al. 2014), inverted: kept values are scaled by `1/(1−p)`.
//!
//! The mask is a function of (seed, stream, element index), so the backward regenerates it instead of storing it.

use atento_kernels::dropout;

use crate::{Graph, Tensor};

impl Graph<'_> {
    /// Drops values with the given probability when training; otherwise returns `x` itself.
    #[must_use]
    pub fn dropout(&mut self, x: &Tensor, probability: f32) -> Tensor {
        let Some(key) = self.next_dropout(probability) else { return x.clone() };
        let mut out = self.pool().take(x.len());
        dropout::forward(key, x.values(), &mut out);
        let y = self.output("dropout", out, x.shape(), x.node().is_some());
        if let (Some(node), Some(input)) = (y.node(), x.node()) {
            self.push("dropout", move |pass| {
                let Some(dy) = pass.take(node) else { return };
                let mut dx = pass.pool.take(dy.len());
                dropout::backward(key, &dy, &mut dx);
                pass.accumulate(input, dx);
            });
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, wave};
    use crate::{Grads, Graph, Params, Pool};

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
            let dx = g.backward_from(vec![(first, ones)], &[&x]).remove(0).to_vec();
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
}
