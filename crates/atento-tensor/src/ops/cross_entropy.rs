//! The vocabulary projection and the softmax cross-entropy in one op.
//!
//! The matrix of all logits is the largest array of a training step and is needed only for a scalar, so it is never
//! stored: rows are taken in chunks, and each chunk's logits are turned in place into their own gradient, which at once
//! yields `d hidden` and is added to `d weight`. All of that happens in the forward; the backward hands over the stored
//! `d hidden`. Rows without a target (`None`) are not projected at all.
//!
//! With label smoothing ε (Szegedy et al. 2016, §7): `loss = (1−ε)·nll + ε·mean_c(−log p_c)`.
//! `d logits = scale · (p − (1−ε)·onehot − ε/V)`.

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::projection;
use crate::{Backward, Buffer, Graph, Slice, SliceMut, Tensor, Weight};

const OUT_IN: WeightLayout = WeightLayout::OutIn;

/// At most this many logits exist at a time (16 MiB): large enough for an efficient product, small enough for caches.
const CHUNK_LOGITS: usize = 4 << 20;

/// What [`Graph::cross_entropy`] returns.
pub struct CrossEntropy {
    /// `scale · Σ` of the smoothed losses: the scalar to run backwards from.
    pub loss: Tensor,
    /// Sum of the smoothed losses over rows with a target, in nats, unscaled.
    pub loss_sum: f64,
    /// Sum of the plain negative log-likelihoods over rows with a target, in nats.
    pub nll_sum: f64,
    /// Rows with a target.
    pub n_targets: usize,
}

impl Graph<'_> {
    /// Projects rows that have a target onto the vocabulary and measures the cross-entropy.
    ///
    /// `scale` multiplies the loss and all gradients (e.g. one over the target tokens of a whole accumulated step). The
    /// loss must be the root of the backward pass: its own gradient is taken to be 1.
    ///
    /// # Shapes
    /// `hidden`: [rows, d_model]; `weight`: [vocab_size, d_model]; `bias`: `[vocab_size]`; `targets`: `[rows]`.
    ///
    /// # Panics
    /// If a target is not below `vocab_size`.
    #[track_caller]
    pub fn cross_entropy(
        &mut self,
        hidden: &Tensor,
        weight: Weight,
        bias: Option<Weight>,
        targets: &[Option<u32>],
        smoothing: f32,
        scale: f32,
    ) -> CrossEntropy {
        let [rows, d_model] = hidden.dims();
        assert_eq!((rows, d_model), (targets.len(), weight.cols), "cross_entropy: hidden {:?}", hidden.shape());
        let kept: Vec<u32> = (0..rows as u32).filter(|&i| targets[i as usize].is_some()).collect();
        let ids: Vec<u32> = targets.iter().copied().flatten().collect();
        let dense = kept.len() == rows;
        let gathered = (!dense).then(|| {
            let mut compact = self.pool().take_as(hidden.dtype(), kept.len() * d_model);
            self.device().gather_rows(hidden.slice(), d_model, &kept, compact.slice_mut());
            compact
        });
        let input = gathered.as_ref().map_or_else(|| hidden.slice(), Buffer::slice);
        let wants_grad = self.is_training();
        let mut dinput =
            (wants_grad && hidden.node().is_some()).then(|| self.pool().take_as(input.dtype(), input.len()));
        let to = dinput.as_mut().map(Buffer::slice_mut);
        let (loss_sum, nll_sum) = self.chunks(input, weight, bias, &ids, smoothing, scale, to);
        let out = self.pool().copy_of(&[(loss_sum * f64::from(scale)) as f32]);
        let trained = self.trains(&[weight]) || bias.is_some_and(|bias| self.trains(&[bias]));
        let loss = self.output("cross_entropy", out, &[1], hidden.node().is_some() || trained);
        if let (Some(node), Some(dinput), Some(target_node)) = (loss.node(), dinput, hidden.node()) {
            self.push("cross_entropy", move |pass| {
                let Some(dloss) = pass.take(node) else { return };
                assert_eq!(dloss.f32(), [1.0], "cross_entropy must be the root of the backward pass");
                let dhidden = if dense { dinput } else { scatter(pass, dinput.slice(), &kept, rows, d_model) };
                pass.accumulate(target_node, dhidden);
            });
        }
        CrossEntropy { loss, loss_sum, nll_sum, n_targets: ids.len() }
    }

    /// Runs the chunks; returns the sums of losses and of negative log-likelihoods.
    fn chunks(
        &mut self,
        input: Slice<'_>,
        weight: Weight,
        bias: Option<Weight>,
        ids: &[u32],
        smoothing: f32,
        scale: f32,
        mut dinput: Option<SliceMut<'_>>,
    ) -> (f64, f64) {
        let (vocab_size, d_model) = (weight.rows, weight.cols);
        let chunk_rows = (CHUNK_LOGITS / vocab_size).clamp(32, 4096).min(ids.len().max(1));
        let params = self.params();
        let (pool, device) = (self.pool().clone(), self.device());
        let mut logits = pool.take_as(input.dtype(), chunk_rows * vocab_size);
        let (mut losses, mut nlls) = (pool.take(chunk_rows), pool.take(chunk_rows));
        let (mut loss_sum, mut nll_sum) = (0.0, 0.0);
        let wants_grad = dinput.is_some()
            || (self.is_training() && (self.trains(&[weight]) || bias.is_some_and(|bias| self.trains(&[bias]))));
        for (chunk, ids) in ids.chunks(chunk_rows).enumerate() {
            let n = ids.len();
            let rows = chunk * chunk_rows * d_model..(chunk * chunk_rows + n) * d_model;
            let x = input.part(rows.clone());
            let mut logits = logits.part_mut(0..n * vocab_size);
            let (identity, to) = (Activation::Identity, logits.reborrow());
            projection::forward(params, &pool, n, x, weight, OUT_IN, bias, identity, None, to);
            let (each_loss, each_nll) = (losses.part_mut(0..n), nlls.part_mut(0..n));
            device.cross_entropy(logits.reborrow(), ids, smoothing, scale, wants_grad, each_loss, each_nll);
            loss_sum += device.sum(losses.part(0..n));
            nll_sum += device.sum(nlls.part(0..n));
            let logits = logits.as_slice();
            if let Some(dinput) = &mut dinput {
                let dx = dinput.part(rows);
                projection::backward_input(params, &pool, n, logits, weight, OUT_IN, dx, false);
            }
            if let Some(grads) = self.grads_mut() {
                projection::backward_weight(params, grads, &pool, n, x, logits, weight, OUT_IN);
                if let Some(bias) = bias {
                    projection::backward_bias(params, grads, &pool, logits, bias);
                }
            }
        }
        (loss_sum, nll_sum)
    }
}

fn scatter(pass: &Backward<'_>, compact: Slice<'_>, kept: &[u32], rows: usize, width: usize) -> Buffer {
    let mut full = pass.pool.zeros_as(compact.dtype(), rows * width);
    pass.device().scatter_rows(compact, width, kept, full.slice_mut());
    full
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, assert_close, wave};
    use super::CrossEntropy;
    use crate::{Grads, Graph, Init, Params, Pool, Tensor, Weight};
    use atento_kernels::philox::Rng;

    const TARGETS: [Option<u32>; 4] = [Some(2), None, Some(0), Some(2)];

    #[test]
    fn gradients_with_every_combination_of_bias_smoothing_and_scale() {
        for (smoothing, scale) in [(0.0, 1.0), (0.1, 1.0), (0.3, 0.25)] {
            let case = Case::new().leaf(&[4, 3]).param(&[5, 3]).root();
            let loss = |g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]| {
                vec![g.cross_entropy(&x[0], w[0], w.get(1).copied(), &TARGETS, smoothing, scale).loss]
            };
            let found = case.check_plain(&loss);
            assert_eq!(found.leaf_grads[0][3..6], [0.0; 3]);
            case.param(&[5]).check_plain(&loss);
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let case = Case::new().leaf(&[3, 2]).param(&[4, 2]).param(&[4]).root();
        let found = case
            .run(&|g, x, w| vec![g.cross_entropy(&x[0], w[0], Some(w[1]), &[Some(3), None, Some(0)], 0.1, 1.0).loss]);
        assert_close(&found.outputs[0], &[5.338387]);
        assert_close(&found.leaf_grads[0], &[-0.7836155, 0.1728529, 0.0, 0.0, 0.640237, -1.587787]);
        let dweight = [-0.1975503, 1.030823, 0.004254704, 0.1128827, 0.1825006, -0.4894448, 0.01079493, -0.6542608];
        assert_close(&found.param_grads[0], &dweight);
        assert_close(&found.param_grads[1], &[-0.5444913, 0.192876, 1.123697, -0.7720819]);
    }

    /// A loss with its gradients, of `rows` waves of width 3 over a vocabulary of 8.
    fn measure(x: &[f32], targets: &[Option<u32>]) -> (CrossEntropy, Vec<f32>, Vec<f32>, Pool) {
        let mut params = Params::new();
        let weight = params.add("weight", &[8, 3], Init::Normal(0.7), &mut Rng::new(3, 0));
        let mut grads = Grads::zeros(&params);
        let pool = Pool::new();
        let mut g = Graph::train(&params, &mut grads, &pool, 0);
        let hidden = g.variable(x, &[x.len() / 3, 3]);
        let measured = g.cross_entropy(&hidden, weight, None, targets, 0.1, 0.5);
        let one = pool.copy_of(&[1.0]);
        let dhidden = g.backward_from(vec![(measured.loss.clone(), one)], &[&hidden]).remove(0).f32().to_vec();
        drop(g);
        (measured, dhidden, grads.values, pool)
    }

    #[test]
    fn rows_without_a_target_cost_nothing_and_change_nothing() {
        let x = wave(300, 0);
        let targets: Vec<Option<u32>> = (0..100).map(|i| (i % 3 == 1).then_some(i % 8)).collect();
        let kept: Vec<usize> = (0..100).filter(|&i| targets[i].is_some()).collect();
        let compact: Vec<f32> = kept.iter().flat_map(|&i| x[3 * i..3 * i + 3].to_vec()).collect();
        let compact_targets: Vec<Option<u32>> = kept.iter().map(|&i| targets[i]).collect();
        let (sparse, dsparse, sparse_grads, pool) = measure(&x, &targets);
        let (dense, ddense, dense_grads, _) = measure(&compact, &compact_targets);
        assert_eq!((sparse.loss_sum, sparse.nll_sum, sparse.n_targets), (dense.loss_sum, dense.nll_sum, 33));
        assert_eq!(sparse_grads, dense_grads);
        for i in 0..100 {
            let expected = kept.iter().position(|&k| k == i).map_or(&[0.0; 3][..], |k| &ddense[3 * k..3 * k + 3]);
            assert_eq!(&dsparse[3 * i..3 * i + 3], expected);
        }
        // Logits of all 100 rows would take 3200 bytes; those of 33 rows take 1056, rounded up by an eighth at most.
        // Live beside them: hidden and its compact copy and gradient (1200 + 2 × 396 bytes).
        assert!(pool.stats().peak_bytes < 4000, "{} bytes", pool.stats().peak_bytes);
    }

    #[test]
    fn no_target_at_all_is_no_loss() {
        let (measured, dhidden, grads, _) = measure(&wave(9, 0), &[None; 3]);
        assert_eq!((measured.loss.values()[0], measured.loss_sum, measured.n_targets), (0.0, 0.0, 0));
        assert!(dhidden.iter().chain(&grads).all(|&d| d == 0.0));
    }

    /// A vocabulary of 8 takes chunks of 4096 rows: 10,000 rows are three of them.
    #[test]
    fn several_chunks_are_one_loss() {
        let (x, rows) = (wave(30_000, 0), 10_000);
        let targets: Vec<Option<u32>> = (0..rows as u32).map(|i| Some(i * 7 % 8)).collect();
        let (whole, dhidden, grads, _) = measure(&x, &targets);
        let (mut loss, mut nll, mut parts, mut sum) = (0.0, 0.0, Vec::new(), vec![0f64; grads.len()]);
        for (x, targets) in x.chunks(3 * 2500).zip(targets.chunks(2500)) {
            let (part, dpart, part_grads, _) = measure(x, targets);
            (loss, nll) = (loss + part.loss_sum, nll + part.nll_sum);
            parts.extend(dpart);
            sum.iter_mut().zip(part_grads).for_each(|(sum, d)| *sum += f64::from(d));
        }
        assert!((whole.loss_sum - loss).abs() < 1e-9 * loss && (whole.nll_sum - nll).abs() < 1e-9 * nll);
        assert_eq!(whole.n_targets, rows);
        assert!((f64::from(whole.loss.values()[0]) - 0.5 * loss).abs() < 1e-6 * loss);
        assert_close(&dhidden, &parts);
        let scale = sum.iter().fold(0f64, |max, d| max.max(d.abs()));
        for (found, expected) in grads.iter().zip(&sum) {
            assert!((f64::from(*found) - expected).abs() < 1e-5 * scale, "{found} {expected}");
        }
    }

    #[test]
    #[should_panic(expected = "must be the root of the backward pass")]
    fn the_loss_is_the_root() {
        let case = Case::new().leaf(&[4, 3]).param(&[5, 3]).root();
        case.run(&|g, x, w| {
            let loss = g.cross_entropy(&x[0], w[0], None, &TARGETS, 0.0, 1.0).loss;
            vec![g.scale(&loss, 2.0)]
        });
    }
}
