//! How well a language model predicts completions, given their prompts: the loss that `instruct` training watches.

use atento_tensor::{Graph, Pool};

use super::perplexity::TextLoss;
use crate::data::tokens::Error;
use crate::data::tokens::instruct::{InstructSet, PackOptions};
use crate::models::Gpt2;

/// The loss of the tokens of a set that are learned, its examples packed into batches of about `batch_tokens` tokens; only
/// speed and memory depend on that. `progress` is told, after each batch, what was found so far.
///
/// # Errors
/// Those of packing.
///
/// # Panics
/// If an example is longer than the model's positions or an id is not below its vocabulary.
pub fn completion_loss(
    model: &Gpt2,
    set: &InstructSet,
    batch_tokens: usize,
    mut progress: impl FnMut(&TextLoss),
) -> Result<TextLoss, Error> {
    let max_tokens = batch_tokens.max(set.report().longest as usize);
    let options = PackOptions { max_tokens, shuffle: false, epochs: Some(1), ..PackOptions::default() };
    let (pool, mut found) = (Pool::new(), TextLoss::default());
    for (batch, _) in set.batches(options)? {
        let mut g = Graph::infer(&model.params, &pool);
        let loss = model.loss(&mut g, &batch.ids, &batch.cu_seqlens, &batch.targets, 0.0, 1.0);
        found.nll_sum += loss.nll_sum;
        found.tokens += loss.n_targets;
        progress(&found);
    }
    Ok(found)
}
