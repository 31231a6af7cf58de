//! How well a language model predicts a text of any length: its loss over overlapping windows.
//!
//! What is scored where is for [`Strided`](crate::data::tokens::Strided) to say. Numerics as in [`super`]: a token's
//! log-probability is f32, their sum f64 in the order of the text. Windows are computed together, packed, which changes
//! the rounding of matrix products and nothing else; the number of threads changes nothing.

use std::f64::consts::LN_2;
use std::iter::Peekable;

use atento_tensor::Pool;

use super::causal::logprobs;
use super::{Fault, NonFinite};
use crate::data::tokens::{self, CausalBatch, Window};
use crate::models::CausalLm;

/// How well a text is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TextLoss {
    /// Negative log-likelihood of all tokens that were scored, in nats.
    pub nll_sum: f64,
    /// Their number.
    pub tokens: usize,
}

impl TextLoss {
    /// Mean negative log-likelihood of a token, in nats.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.nll_sum / self.tokens as f64
    }

    /// `e^loss`.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// Bits that the text takes for each of its bytes, which does not depend on how it is cut into tokens.
    #[must_use]
    pub fn bits_per_byte(&self, bytes: u64) -> f64 {
        self.nll_sum / LN_2 / bytes as f64
    }
}

/// Why a text cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Data(#[from] tokens::Error),
    /// A window that the model cannot read.
    #[error("the window at token {token} (from 0) {fault}")]
    Window {
        /// Its first token.
        token: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The model's answer to a part of it is no number.
    #[error("at token {token} (from 0): {fault}")]
    NonFinite {
        /// The first token of the window, counted from 0.
        token: u64,
        /// What is wrong.
        fault: NonFinite,
    },
}

/// The loss over windows, about `batch_tokens` tokens of them at a time; only speed and memory depend on that. `progress`
/// is told, after each batch, what was found so far.
///
/// # Errors
/// Those of the windows; a window that is empty, longer than the model's positions or tokenised for another model; the first
/// window of which the loss is no number.
pub fn text_loss(
    model: &dyn CausalLm,
    windows: impl IntoIterator<Item = Result<Window, tokens::Error>>,
    batch_tokens: usize,
    mut progress: impl FnMut(&TextLoss),
) -> Result<TextLoss, Error> {
    let (pool, mut found) = (Pool::new(), TextLoss::default());
    let mut windows = windows.into_iter().peekable();
    while windows.peek().is_some() {
        let batch = next_batch(&mut windows, batch_tokens)?;
        for Window { sample, ids, .. } in &batch {
            let fits = Fault::check(ids, model.vocab_size(), Some(model.max_positions()));
            fits.map_err(|fault| Error::Window { token: *sample, fault })?;
        }
        let batch = CausalBatch::pack(batch);
        let logprobs = logprobs(model, &pool, &batch.ids, &batch.cu_seqlens, &batch.targets);
        if let Some(at) = logprobs.iter().position(|logprob| !logprob.is_finite()) {
            let predicting = batch.targets.iter().enumerate().filter(|(_, target)| target.is_some()).nth(at);
            let row = predicting.map_or(0, |(row, _)| row as u32);
            let window = batch.cu_seqlens.windows(2).position(|bounds| row < bounds[1]).unwrap_or(0);
            return Err(Error::NonFinite { token: batch.samples[window], fault: NonFinite });
        }
        found.nll_sum -= logprobs.iter().map(|&logprob| f64::from(logprob)).sum::<f64>();
        found.tokens += logprobs.len();
        progress(&found);
    }
    Ok(found)
}

/// The next windows, one at least.
fn next_batch<I>(windows: &mut Peekable<I>, batch_tokens: usize) -> Result<Vec<Window>, tokens::Error>
where
    I: Iterator<Item = Result<Window, tokens::Error>>,
{
    let (mut batch, mut tokens) = (Vec::new(), 0);
    while let Some(window) = windows.next_if(|next| {
        tokens += next.as_ref().map_or(0, |window| window.ids.len());
        batch.is_empty() || tokens <= batch_tokens
    }) {
        batch.push(window?);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::causal::score_ids;
    use super::*;
    use crate::data::tokens::{Shard, Strided};
    use crate::models::{Gpt2, Gpt2Config};

    fn model() -> Gpt2 {
        Gpt2::init(Gpt2Config::new(40, 2, 24, 3, 16), 5)
    }

    fn text(tokens: u32) -> Vec<u32> {
        (0..tokens).map(|i| (7 * i + i * i / 3) % 40).collect()
    }

    fn loss(ids: &[u32], block_size: usize, stride: usize, batch_tokens: usize) -> TextLoss {
        let shard = Arc::new(Shard::from_ids("memory", ids.to_vec()).unwrap());
        let windows = Strided::new(shard, 40, block_size, stride).unwrap();
        let (scored, mut told) = (windows.scored(), TextLoss::default());
        let found = text_loss(&model(), windows, batch_tokens, |so_far| told = *so_far).unwrap();
        assert_eq!((found, found.tokens), (told, scored));
        found
    }

    #[test]
    fn a_text_within_a_window_has_the_mean_of_its_scores() {
        for tokens in [2, 9, 16] {
            let ids = text(tokens);
            let score = &score_ids(&model(), std::slice::from_ref(&ids))[0];
            for stride in [1, 5, 16] {
                let found = loss(&ids, 16, stride, 4096);
                assert!((found.nll_sum + score.sum_logprob()).abs() < 1e-9);
                assert!((found.perplexity() / score.perplexity().unwrap() - 1.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn every_token_is_predicted_once_from_the_tokens_before_it_in_its_window() {
        let ids = text(61);
        for (block_size, stride) in [(16, 16), (16, 8), (16, 5), (16, 1), (7, 3), (2, 1), (2, 2)] {
            let found = loss(&ids, block_size, stride, 50);
            // Window by window, each alone. Without overlap a window predicts the token after it.
            let (pool, model, mut sum) = (Pool::new(), model(), 0.0);
            let (mut begin, mut next) = (0, 1);
            while next < ids.len() {
                let end = ids.len().min(begin + block_size + usize::from(stride == block_size));
                let (read, targets) = (&ids[begin..end - 1], &ids[begin + 1..end]);
                let targets: Vec<_> = targets.iter().copied().map(Some).collect();
                let alone = logprobs(&model, &pool, read, &[0, read.len() as u32], &targets);
                sum -= alone[next - begin - 1..].iter().map(|&logprob| f64::from(logprob)).sum::<f64>();
                (begin, next) = (begin + stride, end);
            }
            assert_eq!(found.tokens, 60);
            assert!((found.nll_sum - sum).abs() < 1e-4, "{block_size} {stride}: {} {sum}", found.nll_sum);
        }
    }

    #[test]
    fn neither_batches_nor_threads_change_the_result() {
        let ids = text(200);
        let whole = loss(&ids, 16, 6, 100_000);
        for batch_tokens in [0, 16, 100] {
            let found = loss(&ids, 16, 6, batch_tokens);
            assert!((found.nll_sum / whole.nll_sum - 1.0).abs() < 1e-6, "{batch_tokens}");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| loss(&ids, 16, 6, 100_000)), whole);
        }
    }

    #[test]
    fn bits_are_counted_for_each_byte() {
        let found = TextLoss { nll_sum: 6.0 * LN_2, tokens: 3 };
        assert!((found.bits_per_byte(12) - 0.5).abs() < 1e-12);
        assert!((found.perplexity() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_token_beyond_the_vocabulary_ends_it() {
        let shard = Arc::new(Shard::from_ids("memory", vec![1, 2, 3, 40]).unwrap());
        let windows = Strided::new(shard, 40, 2, 2).unwrap();
        let message = text_loss(&model(), windows, 2, |_| ()).unwrap_err().to_string();
        assert!(message.contains("token 3 has id 40"), "{message}");
    }
}
