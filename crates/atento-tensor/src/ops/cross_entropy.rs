//! The vocabulary projection and the softmax cross-entropy in one op.
//!
//! The matrix of all logits is the largest array of a training step and is needed only for a scalar, so it is never
//! stored: rows are taken in chunks, and each chunk's logits are turned in place into their own gradient, which at once
//! yields `d hidden` and is added to `d weight`. All of that happens in the forward; the backward hands over the stored
//! `d hidden`. Rows without a target (`None`) are not projected at all.
//!
//! With label smoothing ε (Szegedy et al. 2016, §7): `loss = (1−ε)·nll + ε·mean_c(−log p_c)`.
//! `d logits = scale · (p − (1−ε)·onehot − ε/V)`.
//!
//! Low-rank pairs on the weight (`ops/low_rank.rs`) are added to each chunk's logits. What they read of the input, [rows, rank],
//! is computed once for all rows, so that a dropped value is the same as in a projection of all of them. Rows in the place of
//! the weight's own (`ops/replaced_rows.rs`) are columns of each chunk.

use std::sync::Arc;

use atento_kernels::activation::Activation;
use atento_kernels::linear::WeightLayout;

use super::low_rank::Added;
use super::{projection, replaced_rows};
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

/// A low-rank pair on the weight.
struct Pair {
    added: Added,
    rank: usize,
    /// `scale · drop(x) downᵀ` of rows with a target: [targets, rank].
    hidden: Buffer,
    /// One over the lengths of the rows, where those are learned apart.
    inverse: Option<Arc<[f32]>>,
    /// The gradient before the factor, where it is needed: [targets, rank].
    dhidden: Option<Buffer>,
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
        let pool = self.pool().clone();
        let gather = |full: Slice<'_>, width: usize| {
            let mut compact = pool.take_as(full.dtype(), kept.len() * width);
            pool.device().gather_rows(full, width, &kept, compact.slice_mut());
            compact
        };
        let gathered = (!dense).then(|| gather(hidden.slice(), d_model));
        let input = gathered.as_ref().map_or_else(|| hidden.slice(), Buffer::slice);
        let (params, wants_grad) = (self.params(), self.is_training());
        let mut dinput = (wants_grad && hidden.node().is_some()).then(|| pool.take_as(input.dtype(), input.len()));
        let added = if params.has_low_rank(weight) { self.low_ranks(weight) } else { Vec::new() };
        let pair = |added: Added| {
            let whole = added.hidden(params, &pool, rows, hidden.slice());
            let rank = added.rank(params);
            let hidden_of_pair = if dense { whole } else { gather(whole.slice(), rank) };
            let is_read = hidden.node().is_some() || added.trains_down(params);
            let dhidden = (wants_grad && is_read).then(|| pool.take_as(input.dtype(), hidden_of_pair.len()));
            let inverse = added.inverse_lengths(params, &pool);
            Pair { added, rank, hidden: hidden_of_pair, inverse, dhidden }
        };
        let mut pairs: Vec<Pair> = added.into_iter().map(pair).collect();
        let to = dinput.as_mut().map(Buffer::slice_mut);
        let (loss_sum, nll_sum) = self.chunks(input, weight, bias, &mut pairs, &ids, smoothing, scale, to);
        let out = pool.copy_of(&[(loss_sum * f64::from(scale)) as f32]);
        let trained = self.trains_output(weight, bias, &pairs);
        let loss = self.output("cross_entropy", out, &[1], hidden.node().is_some() || trained);
        let is_done = dinput.is_none() && pairs.iter().all(|pair| pair.dhidden.is_none());
        if let (Some(node), false) = (loss.node(), is_done) {
            let x = hidden.clone();
            self.push("cross_entropy", move |pass| {
                let Some(dloss) = pass.take(node) else { return };
                assert_eq!(dloss.f32(), [1.0], "cross_entropy must be the root of the backward pass");
                let spread = |pass: &Backward<'_>, compact: Buffer, width: usize| match dense {
                    true => compact,
                    false => scatter(pass, compact.slice(), &kept, rows, width),
                };
                let mut dx = dinput.map(|dinput| spread(pass, dinput, d_model));
                for Pair { added, rank, dhidden, .. } in pairs {
                    let Some(dhidden) = dhidden.map(|dhidden| spread(pass, dhidden, rank)) else { continue };
                    let (params, pool, dx) = (pass.params, pass.pool.clone(), dx.as_mut().map(Buffer::slice_mut));
                    added.backward_down(params, pass.grads, &pool, rows, x.slice(), dhidden.slice(), dx);
                }
                if let (Some(dx), Some(target_node)) = (dx, x.node()) {
                    pass.accumulate(target_node, dx);
                }
            });
        }
        CrossEntropy { loss, loss_sum, nll_sum, n_targets: ids.len() }
    }

    /// Whether something of the output is trained.
    fn trains_output(&self, weight: Weight, bias: Option<Weight>, pairs: &[Pair]) -> bool {
        let params = self.params();
        let replaced = params.replaced_rows(weight).map(|replaced| replaced.rows);
        let of_pairs = pairs.iter().flat_map(|pair| pair.added.weights(params));
        let all: Vec<Weight> = [weight].into_iter().chain(bias).chain(replaced).chain(of_pairs).collect();
        self.trains(&all)
    }

    /// Runs the chunks; returns the sums of losses and of negative log-likelihoods.
    fn chunks(
        &mut self,
        input: Slice<'_>,
        weight: Weight,
        bias: Option<Weight>,
        pairs: &mut [Pair],
        ids: &[u32],
        smoothing: f32,
        scale: f32,
        mut dinput: Option<SliceMut<'_>>,
    ) -> (f64, f64) {
        let (vocab_size, d_model) = (weight.rows, weight.cols);
        let chunk_rows = (CHUNK_LOGITS / vocab_size).clamp(32, 4096).min(ids.len().max(1));
        let params = self.params();
        let (pool, device) = (self.pool().clone(), self.device());
        let replaced = params.replaced_rows(weight);
        let mut logits = pool.take_as(input.dtype(), chunk_rows * vocab_size);
        let (mut losses, mut nlls) = (pool.take(chunk_rows), pool.take(chunk_rows));
        let (mut loss_sum, mut nll_sum) = (0.0, 0.0);
        let wants_grad = dinput.is_some() || (self.is_training() && self.trains_output(weight, bias, pairs));
        for (chunk, ids) in ids.chunks(chunk_rows).enumerate() {
            let (n, identity) = (ids.len(), Activation::Identity);
            let part = |width: usize| chunk * chunk_rows * width..(chunk * chunk_rows + n) * width;
            let x = input.part(part(d_model));
            let mut logits = logits.part_mut(0..n * vocab_size);
            let is_plain = pairs.is_empty() && replaced.is_none();
            let (first_bias, to) = (bias.filter(|_| is_plain), logits.reborrow());
            projection::forward(params, &pool, n, x, weight, OUT_IN, first_bias, identity, None, to);
            let mut lengths = Vec::with_capacity(pairs.len());
            for Pair { added, rank, hidden, inverse, .. } in &*pairs {
                let (hidden, to) = (hidden.part(part(*rank)), (logits.reborrow(), vocab_size));
                lengths.push(added.add(params, &pool, n, (hidden, inverse.as_ref()), to, wants_grad));
            }
            if let Some(replaced) = replaced {
                replaced_rows::forward(params, &pool, n, x, replaced, (logits.reborrow(), vocab_size));
            }
            if !is_plain {
                projection::epilogue(params, &pool, bias, identity, None, logits.reborrow(), vocab_size);
            }
            let (each_loss, each_nll) = (losses.part_mut(0..n), nlls.part_mut(0..n));
            device.cross_entropy(logits.reborrow(), ids, smoothing, scale, wants_grad, each_loss, each_nll);
            loss_sum += device.sum(losses.part(0..n));
            nll_sum += device.sum(nlls.part(0..n));
            let Some(grads) = self.grads_mut().filter(|_| wants_grad) else { continue };
            if let Some(bias) = bias {
                projection::backward_bias(params, grads, &pool, logits.as_slice(), bias);
            }
            for (pair, lengths) in pairs.iter().zip(&lengths) {
                let dz = logits.reborrow();
                pair.added.backward_lengths(params, grads, &pool, lengths.as_ref(), dz, vocab_size);
            }
            let of_rows = replaced
                .map(|replaced| (replaced_rows::take(&pool, n, replaced, (logits.reborrow(), vocab_size)), replaced));
            let logits = logits.as_slice();
            let mut dx = dinput.as_mut().map(|dinput| dinput.part(part(d_model)));
            if let Some(dx) = &mut dx {
                projection::backward_input(params, &pool, n, logits, weight, OUT_IN, dx.reborrow(), false);
            }
            projection::backward_weight(params, grads, &pool, n, x, logits, weight, OUT_IN);
            for Pair { added, rank, hidden, dhidden, .. } in &mut *pairs {
                let own = part(*rank);
                let (hidden, dhidden) = (hidden.part(own.clone()), dhidden.as_mut().map(|whole| whole.part_mut(own)));
                added.backward_up(params, grads, &pool, n, hidden, (logits, vocab_size), dhidden);
            }
            if let Some((dz, replaced)) = &of_rows {
                replaced_rows::backward(params, grads, &pool, n, x, (dz.slice(), *replaced), dx);
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
    use super::{CrossEntropy, WeightLayout};
    use crate::{Grads, Graph, Init, LowRank, Magnitude, Params, Pool, ReplacedRows, Tensor, Weight};
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

    fn with_bias(g: &mut Graph<'_>, x: &[Tensor], w: &[Weight]) -> Vec<Tensor> {
        vec![g.cross_entropy(&x[0], w[0], Some(w[1]), &TARGETS, 0.1, 0.5).loss]
    }

    /// A weight [5, 3] with a bias, and the halves of a pair of rank 2.
    fn for_pair() -> Case {
        Case::new().leaf(&[4, 3]).matrix(&[5, 3], WeightLayout::OutIn).param(&[5]).param(&[2, 3]).param(&[5, 2]).root()
    }

    fn pair(w: &[Weight], dropout: f32) -> LowRank {
        LowRank { down: w[2], up: w[3], scale: 0.5, dropout, outputs: 0..5, magnitude: None }
    }

    #[test]
    fn a_pair_on_the_weight_is_trained_with_it() {
        let found = for_pair().low_rank(0, |w| pair(w, 0.0)).check_plain(&with_bias);
        assert_eq!(found.leaf_grads[0][3..6], [0.0; 3]);
        for_pair().low_rank(0, |w| pair(w, 0.4)).check(&with_bias);
    }

    /// What is dropped follows from a row's place among all rows, whether they have targets or not.
    #[test]
    fn with_a_pair_the_loss_is_that_of_the_projection() {
        for dropout in [0.0, 0.4] {
            let case = for_pair().low_rank(0, |w| pair(w, dropout));
            let found = case.run(&with_bias).outputs;
            let logits = case.run(&|g, x, w| {
                vec![g.linear(&x[0], w[0], WeightLayout::OutIn, Some(w[1]), crate::ops::Activation::Identity)]
            });
            let (mut sum, logits) = (0.0, &logits.outputs[0]);
            for (row, target) in logits.chunks(5).zip(TARGETS).filter_map(|(row, target)| Some((row, target?))) {
                let all = row.iter().map(|x| x.exp()).sum::<f32>().ln();
                let mean = row.iter().map(|x| all - x).sum::<f32>() / 5.0;
                sum += 0.9 * (all - row[target as usize]) + 0.1 * mean;
            }
            assert_close(&found[0], &[0.5 * sum]);
        }
    }

    /// The pair is frozen, so that the lengths it gives the rows are the constants that the backward takes them for.
    #[test]
    fn lengths_of_rows_are_trained() {
        let case = for_pair().param_of(&[0.5, 2.0, 1.5, 1.0, 0.7], &[5]);
        let with_lengths = |w: &[Weight]| LowRank { magnitude: Some(Magnitude::new(w[4])), ..pair(w, 0.0) };
        case.low_rank(0, with_lengths).frozen(&[0, 2, 3]).check_plain(&with_bias);
    }

    #[test]
    fn rows_in_the_place_of_the_weights_own_are_trained() {
        let case = Case::new().leaf(&[4, 3]).param(&[5, 3]).param(&[5]).param(&[2, 3]).root();
        let case = case.replaced_rows(0, |w| ReplacedRows { ids: [2, 4].into(), rows: w[2] });
        let found = case.check_plain(&with_bias);
        assert_eq!((&found.param_grads[0][6..9], &found.param_grads[0][12..]), (&[0.0; 3][..], &[0.0; 3][..]));
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
