//! Validation: the loss of every target token under teacher forcing, and the BLEU of what the model translates.

use atento_tensor::{Graph, Pool};

use crate::data::batches::{PackedBatch, Pair};
use crate::eval::{Bleu, BleuScore};
use crate::models::Translator;
use crate::pipelines::translate::{TranslateOptions, translate_unless};
use crate::text::Tokenizer;
use crate::train::{Error, StopFlag};

/// Tokens of one validation batch; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;

/// The loss over a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Mean negative log-likelihood of a target token, in nats.
    pub nll: f64,
    /// Target tokens.
    pub tokens: usize,
}

impl Loss {
    /// `e^nll`.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.nll.exp()
    }
}

/// Measures the loss over all pairs.
///
/// # Errors
/// [`Error::Stopped`] where `stop` is raised before the end.
///
/// # Panics
/// If there are no pairs: data sets are never empty.
pub fn loss(
    model: &dyn Translator,
    pool: &Pool,
    pairs: &[Pair],
    start_id: u32,
    stop: &StopFlag,
) -> Result<Loss, Error> {
    assert!(!pairs.is_empty(), "evaluate::loss: no pairs");
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in in_batches(pairs) {
        if stop.is_stopped() {
            return Err(Error::Stopped);
        }
        let batch = PackedBatch::new(batch, start_id);
        let mut g = Graph::infer(model.params(), pool);
        let measured = model.loss(&mut g, &batch, 0.0, 1.0);
        sum += measured.nll_sum;
        tokens += measured.n_targets;
    }
    Ok(Loss { nll: sum / tokens as f64, tokens })
}

/// Runs of pairs of about [`BATCH_TOKENS`] tokens.
fn in_batches(pairs: &[Pair]) -> Vec<&[Pair]> {
    let (mut batches, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (i, pair) in pairs.iter().enumerate() {
        let length = pair.source.len().max(pair.target.len());
        if tokens + length > BATCH_TOKENS && i > start {
            batches.push(&pairs[start..i]);
            (start, tokens) = (i, 0);
        }
        tokens += length;
    }
    batches.push(&pairs[start..]);
    batches
}

/// Translates the sources and scores the best hypotheses against the targets; returns the score and the hypotheses.
///
/// # Errors
/// The translation's and the scorer's; [`Error::Stopped`] as above.
pub fn bleu(
    model: &dyn Translator,
    tokenizer: &Tokenizer,
    pairs: &[(String, String)],
    options: &TranslateOptions,
    stop: &StopFlag,
) -> Result<(BleuScore, Vec<String>), Error> {
    let sources: Vec<&str> = pairs.iter().map(|(source, _)| source.as_str()).collect();
    let references: Vec<&str> = pairs.iter().map(|(_, target)| target.as_str()).collect();
    let translated = translate_unless(model, tokenizer, &sources, options, &|| stop.is_stopped())?;
    let translated = translated.ok_or(Error::Stopped)?;
    let hypotheses: Vec<String> =
        translated.into_iter().map(|list| list.into_iter().next().map_or_else(String::new, |t| t.text)).collect();
    let score = Bleu::default().corpus(&hypotheses, &[references])?;
    Ok((score, hypotheses))
}
