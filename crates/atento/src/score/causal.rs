//! How probable a language model finds given texts, token by token.
//!
//! Token t is predicted from the tokens before it, so the first has no probability. Numerics as in [`super`].

use atento_kernels::threads::within;
use atento_tensor::{Graph, Pool};
use rayon::prelude::*;

use super::{BATCH_LOGITS, BATCH_TOKENS, Fault, target_logprobs};
use crate::models::CausalLm;
use crate::text::Tokenizer;

/// The log-probabilities of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextScore {
    /// The text's tokens.
    pub ids: Vec<u32>,
    /// Natural log-probability of each token of `ids` but the first.
    pub logprobs: Vec<f32>,
}

impl TextScore {
    /// Natural log-probability of the text, given its first token.
    #[must_use]
    pub fn sum_logprob(&self) -> f64 {
        // A sum of nothing is −0.
        self.logprobs.iter().map(|&logprob| f64::from(logprob)).sum::<f64>() + 0.0
    }

    /// `exp(−mean log-probability of a token)`; `None` where a single token leaves nothing to predict.
    #[must_use]
    pub fn perplexity(&self) -> Option<f64> {
        (!self.logprobs.is_empty()).then(|| (-self.sum_logprob() / self.logprobs.len() as f64).exp())
    }
}

/// The first text that the model cannot represent.
#[derive(Debug, thiserror::Error)]
#[error("text {number} {fault}")]
pub struct Error {
    /// Which text, counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The tokens of a text, checked against the model.
///
/// # Errors
/// A text that is empty, too long, or tokenised for another model.
pub fn encode_text(model: &dyn CausalLm, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Fault> {
    let ids = tokenizer.encode_text(text)?;
    Fault::check(&ids, model.vocab_size(), Some(model.max_positions()))?;
    Ok(ids)
}

/// Scores texts, in their order.
///
/// # Errors
/// A text that is empty, too long, or tokenised for another model; nothing is scored then.
pub fn score_texts<S: AsRef<str> + Sync>(
    model: &dyn CausalLm,
    tokenizer: &Tokenizer,
    texts: &[S],
) -> Result<Vec<TextScore>, Error> {
    let ids: Vec<_> = texts.par_iter().map(|text| encode_text(model, tokenizer, text.as_ref())).collect();
    // In order, so that the first that is wrong is named.
    let ids: Vec<Vec<u32>> =
        (1..).zip(ids).map(|(number, ids)| ids.map_err(|fault| Error { number, fault })).collect::<Result<_, _>>()?;
    Ok(score_ids(model, &ids))
}

/// Scores tokenised texts, in their order.
///
/// # Panics
/// If a text is empty or longer than the model's positions, or an id is not below its vocabulary; [`encode_text`] refuses
/// such.
#[must_use]
pub fn score_ids(model: &dyn CausalLm, texts: &[Vec<u32>]) -> Vec<TextScore> {
    let empty = texts.iter().position(Vec::is_empty);
    assert!(empty.is_none(), "score_ids: text {} (from 0) has no tokens", empty.unwrap_or(0));
    let pool = Pool::new();
    let (mut scores, mut rest) = (Vec::with_capacity(texts.len()), texts);
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = |ids: &&Vec<u32>| {
            tokens += ids.len();
            tokens <= BATCH_TOKENS
        };
        let (batch, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        scores.extend(score_batch(model, &pool, batch));
        rest = later;
    }
    scores
}

fn score_batch(model: &dyn CausalLm, pool: &Pool, batch: &[Vec<u32>]) -> Vec<TextScore> {
    let mut cu_seqlens = vec![0];
    batch.iter().for_each(|ids| cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + ids.len() as u32));
    // The last token of a text predicts nothing.
    let targets: Vec<Option<u32>> =
        batch.iter().flat_map(|ids| ids[1..].iter().copied().map(Some).chain([None])).collect();
    let mut logprobs = logprobs(model, pool, &batch.concat(), &cu_seqlens, &targets).into_iter();
    let score =
        |ids: &Vec<u32>| TextScore { ids: ids.clone(), logprobs: logprobs.by_ref().take(ids.len() - 1).collect() };
    batch.iter().map(score).collect()
}

/// The log-probability of every target there is, in order, with few logits in memory at a time.
///
/// # Shapes
/// `ids`, `targets`: `[tokens]`; `cu_seqlens`: [sequences + 1]; result: one for each target that is not `None`.
///
/// # Panics
/// As [`CausalLm::hidden`].
#[must_use]
pub fn logprobs(
    model: &dyn CausalLm,
    pool: &Pool,
    ids: &[u32],
    cu_seqlens: &[u32],
    targets: &[Option<u32>],
) -> Vec<f32> {
    let (vocab_size, d_model) = (model.vocab_size(), model.d_model());
    within(|| {
        let mut g = Graph::infer(model.params(), pool);
        let hidden = model.hidden(&mut g, ids, cu_seqlens);
        let (asked, targets): (Vec<usize>, Vec<u32>) =
            targets.iter().enumerate().filter_map(|(at, target)| Some((at, (*target)?))).unzip();
        let rows = (BATCH_LOGITS / vocab_size).max(1);
        let project = |(asked, targets): (&[usize], &[u32])| {
            let states: Vec<f32> =
                asked.iter().flat_map(|at| &hidden.values()[at * d_model..][..d_model]).copied().collect();
            let states = g.constant(&states, &[asked.len(), d_model]);
            let logits = model.project(&mut g, &states);
            target_logprobs(logits.values(), targets, vocab_size)
        };
        asked.chunks(rows).zip(targets.chunks(rows)).flat_map(project).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Gpt2, Gpt2Config};

    fn model() -> Gpt2 {
        Gpt2::init(Gpt2Config::new(40, 2, 24, 3, 32), 5)
    }

    #[test]
    fn a_text_scores_the_same_alone_and_among_others_and_as_the_loss_says() {
        let model = model();
        let texts: Vec<Vec<u32>> = [1, 9, 32, 2].iter().map(|&n| (0..n).map(|i| (11 * i + n) % 40).collect()).collect();
        let together = score_ids(&model, &texts);
        for (ids, score) in texts.iter().zip(&together) {
            let alone = &score_ids(&model, std::slice::from_ref(ids))[0];
            assert_eq!((&score.ids, score.logprobs.len()), (ids, ids.len() - 1));
            for (alone, among) in alone.logprobs.iter().zip(&score.logprobs) {
                assert!((alone - among).abs() < 1e-5, "{alone} {among}");
            }
            let targets: Vec<Option<u32>> = (0..ids.len()).map(|i| ids.get(i + 1).copied()).collect();
            let pool = Pool::new();
            let mut g = Graph::infer(&model.params, &pool);
            let nll = model.loss(&mut g, ids, &[0, ids.len() as u32], &targets, 0.0, 1.0).nll_sum;
            assert!((score.sum_logprob() + nll).abs() < 1e-4, "{} {nll}", score.sum_logprob());
        }
        assert_eq!(together[0].perplexity(), None);
    }
}
