//! How well a language model predicts completions, given their prompts: the loss that `instruct` training watches.

use atento_tensor::{Graph, Pool};

use super::causal::logprobs;
use super::perplexity::TextLoss;
use super::{Fault, NonFinite};
use crate::data::tokens::instruct::{InstructSet, PackOptions};
use crate::data::tokens::{self, CausalBatch};
use crate::models::CausalLm;

/// Why completions cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They cannot be packed.
    #[error(transparent)]
    Data(#[from] tokens::Error),
    /// An example that the model cannot read.
    #[error("example {number} {fault}")]
    Example {
        /// Which example of the source, counted from 1.
        number: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The model's answer to one of them is no number.
    #[error("example {number}: {fault}")]
    NonFinite {
        /// Which example of the source, counted from 1.
        number: u64,
        /// What is wrong.
        fault: NonFinite,
    },
}

/// The loss of the tokens of a set that are learned, its examples packed into batches of about `batch_tokens` tokens; only
/// speed and memory depend on that. `progress` is told, after each batch, what was found so far.
///
/// # Errors
/// Those of packing; an example that is longer than the model's positions or tokenised for another model; the first example
/// of which the loss is no number.
pub fn completion_loss(
    model: &dyn CausalLm,
    set: &InstructSet,
    batch_tokens: usize,
    mut progress: impl FnMut(&TextLoss),
) -> Result<TextLoss, Error> {
    let max_tokens = batch_tokens.max(set.report().longest as usize);
    let options = PackOptions { max_tokens, shuffle: false, epochs: Some(1), ..PackOptions::default() };
    let (pool, mut found) = (Pool::new(), TextLoss::default());
    for (batch, _) in set.batches(options)? {
        for (bounds, sample) in batch.cu_seqlens.windows(2).zip(&batch.samples) {
            let ids = &batch.ids[bounds[0] as usize..bounds[1] as usize];
            let fits = Fault::check(ids, model.vocab_size(), Some(model.max_positions()));
            fits.map_err(|fault| Error::Example { number: sample + 1, fault })?;
        }
        let mut g = Graph::infer(model.params(), &pool);
        let loss = model.loss(&mut g, &batch.ids, &batch.cu_seqlens, &batch.targets, 0.0, 1.0);
        if !loss.nll_sum.is_finite() {
            let number = first_non_finite(model, &pool, &batch) + 1;
            return Err(Error::NonFinite { number, fault: NonFinite });
        }
        found.nll_sum += loss.nll_sum;
        found.tokens += loss.n_targets;
        progress(&found);
    }
    Ok(found)
}

/// The example of a batch, by its number from 0, of which the loss is no number.
fn first_non_finite(model: &dyn CausalLm, pool: &Pool, batch: &CausalBatch) -> u64 {
    let mut logprobs = logprobs(model, pool, &batch.ids, &batch.cu_seqlens, &batch.targets).into_iter();
    let mut is_bad = |bounds: &[u32]| {
        let targets = batch.targets[bounds[0] as usize..bounds[1] as usize].iter().flatten().count();
        logprobs.by_ref().take(targets).fold(false, |bad, logprob| bad | !logprob.is_finite())
    };
    let at = batch.cu_seqlens.windows(2).position(&mut is_bad);
    batch.samples[at.unwrap_or(0)]
}
