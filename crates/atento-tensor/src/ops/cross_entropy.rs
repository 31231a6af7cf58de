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
use atento_kernels::cross_entropy;
use atento_kernels::linear::{self, WeightLayout};

use crate::{Buffer, Graph, Tensor, Weight};

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
    /// `hidden`: [rows, d_model]; `weight`: [vocab_size, d_model]; `bias`: [vocab_size]; `targets`: [rows].
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
            let mut compact = self.pool().take(kept.len() * d_model);
            atento_kernels::elementwise::gather_rows(hidden.values(), d_model, &kept, &mut compact);
            compact
        });
        let input = gathered.as_deref().unwrap_or_else(|| hidden.values());
        let wants_grad = self.is_training();
        let mut dinput = wants_grad.then(|| self.pool().take(input.len()));
        let (loss_sum, nll_sum) = self.chunks(input, weight, bias, &ids, smoothing, scale, dinput.as_deref_mut());
        let out = self.pool().copy_of(&[(loss_sum * f64::from(scale)) as f32]);
        let loss = self.output("cross_entropy", out, &[1], wants_grad);
        if let (Some(node), Some(dinput), Some(target_node)) = (loss.node(), dinput, hidden.node()) {
            self.push("cross_entropy", move |pass| {
                let Some(dloss) = pass.take(node) else { return };
                assert_eq!(dloss[0], 1.0, "cross_entropy must be the root of the backward pass");
                let dhidden = if dense { dinput } else { scatter(pass, &dinput, &kept, rows, d_model) };
                pass.accumulate(target_node, dhidden);
            });
        }
        CrossEntropy { loss, loss_sum, nll_sum, n_targets: ids.len() }
    }

    /// Runs the chunks; returns the sums of losses and of negative log-likelihoods.
    fn chunks(
        &mut self,
        input: &[f32],
        weight: Weight,
        bias: Option<Weight>,
        ids: &[u32],
        smoothing: f32,
        scale: f32,
        mut dinput: Option<&mut [f32]>,
    ) -> (f64, f64) {
        let (vocab_size, d_model) = (weight.rows, weight.cols);
        let chunk_rows = (CHUNK_LOGITS / vocab_size).clamp(32, 4096).min(ids.len().max(1));
        let params = self.params();
        let pool = self.pool().clone();
        let mut logits = pool.take(chunk_rows * vocab_size);
        let (mut losses, mut nlls) = (vec![0.0; chunk_rows], vec![0.0; chunk_rows]);
        let (mut loss_sum, mut nll_sum) = (0.0, 0.0);
        for (chunk, ids) in ids.chunks(chunk_rows).enumerate() {
            let n = ids.len();
            let first = chunk * chunk_rows * d_model;
            let x = &input[first..first + n * d_model];
            let logits = &mut logits[..n * vocab_size];
            let bias_values = bias.map(|b| params.get(b));
            let weights = params.get(weight);
            linear::forward(n, x, weights, WeightLayout::OutIn, bias_values, Activation::Identity, None, logits);
            cross_entropy::forward_backward(
                logits,
                ids,
                smoothing,
                scale,
                dinput.is_some(),
                &mut losses[..n],
                &mut nlls[..n],
                None,
            );
            loss_sum += losses[..n].iter().map(|&x| f64::from(x)).sum::<f64>();
            nll_sum += nlls[..n].iter().map(|&x| f64::from(x)).sum::<f64>();
            if let (Some(dinput), Some(grads)) = (dinput.as_deref_mut(), self.grads_mut()) {
                let dx = &mut dinput[first..first + n * d_model];
                linear::backward_input(n, logits, weights, WeightLayout::OutIn, dx, false);
                linear::backward_weight(n, x, logits, WeightLayout::OutIn, grads.get_mut(weight));
                if let Some(bias) = bias {
                    linear::backward_bias(logits, grads.get_mut(bias));
                }
            }
        }
        (loss_sum, nll_sum)
    }
}

fn scatter(pass: &crate::Backward<'_>, compact: &[f32], kept: &[u32], rows: usize, width: usize) -> Buffer {
    let mut full = pass.pool.zeros(rows * width);
    for (source, &row) in compact.chunks_exact(width).zip(kept) {
        full[row as usize * width..][..width].copy_from_slice(source);
    }
    full
}
