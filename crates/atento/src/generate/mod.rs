//! Text generation over any left-to-right scorer with a cache.
//!
//! * [`search`]: greedy and beam search, below.
//! * [`sample()`]: sampling with penalties, temperature, top-k, top-p, min-p and typical-p.
//! * [`contrastive_search`]: likely tokens that do not resemble what was said.
//! * [`sample_speculative`]: sampling with a small model that drafts for a large one.
//!
//! The last three tell a [`Sink`] of every token; [`TextSink`] makes text of them and stops at stop strings.
//!
//! # Search
//!
//! The result is, token for token, that of Hugging Face `generate` (transformers 5.23) with `do_sample=False`: greedy
//! search where `beam` is 1, beam search otherwise. A sentence's result does not depend on the others of its batch;
//! a finished sentence leaves the batch at once, so no step is spent on it.
//!
//! One step of the search:
//! 1. [`StepDecoder::step`] turns the last token of every live row into logits.
//! 2. Each row's logits become log-probabilities over the *whole* vocabulary; bans apply after that normalisation, so
//!    a banned token's mass is not given to the others. A forced token costs nothing (log-probability 0).
//! 3. Each sentence ranks the continuations of its rows and keeps the best (`greedy.rs`, `beam.rs`).
//! 4. [`StepDecoder::reorder`] lets the cache follow.
//!
//! Numerics: log-probabilities and their running sums are f32, as in PyTorch, so that near-ties fall alike. Exact
//! ties go to the better-ranked row, then to the lower token id.

mod beam;
mod contrastive;
mod distribution;
mod draws;
mod error;
mod greedy;
mod history;
mod options;
mod outcome;
mod processors;
mod row;
mod sample;
mod sample_options;
mod select;
mod speculative;
mod stop_strings;
mod text_sink;
mod top_k;

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
#[cfg(test)]
mod warper_tests;

use rayon::prelude::*;

pub use contrastive::{ContrastiveOptions, HiddenDecoder, contrastive_search};
pub use error::Error;
pub use options::{EarlyStopping, LARGEST_BEAM, LengthPenalty, SearchOptions};
pub use outcome::{FinishReason, Flow, Sample, Sink, TokenEvent};
pub use sample::{SamplePrompt, sample};
pub use sample_options::{ProcessorOptions, SampleOptions, WarperOptions};
pub use speculative::{BlockDecoder, SpeculativeReport, sample_speculative};
pub use stop_strings::StopStrings;
pub use text_sink::{TextEvent, TextSink};
pub use top_k::{Candidate, top_k_log_softmax};

use processors::Restriction;

/// A left-to-right scorer with a cache. A row is one live hypothesis.
pub trait StepDecoder {
    /// Number of logits of a row.
    fn vocab_size(&self) -> usize;

    /// Feeds one token per live row, appends it to the row's cache and overwrites `logits` with the scores of the next.
    ///
    /// # Shapes
    /// - `tokens`: `[rows]`
    /// - `logits`: `[rows, vocab_size]`
    fn step(&mut self, tokens: &[u32], logits: &mut [f32]);

    /// Makes new row `i` continue the cache of old row `parents[i]`; there may be fewer or more rows than before.
    /// A parent that is not named is gone. Not called where the rows stay as they are.
    fn reorder(&mut self, parents: &[usize]);
}

/// Where the search of one sentence starts and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The tokens so far, never empty: the decoder's start token for translation, the prompt for a language model.
    /// The search feeds the last one first; earlier ones are in the decoder's cache already.
    pub prefix: Vec<u32>,
    /// Most tokens to generate, the end token included. Hugging Face's `max_length` is this plus the prefix.
    pub max_new_tokens: usize,
}

impl Prompt {
    /// A prompt of the single token `start_id`, as translation has it.
    pub fn start(start_id: u32, max_new_tokens: usize) -> Self {
        Prompt { prefix: vec![start_id], max_new_tokens }
    }
}

/// One result of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The generated tokens: without the prefix, with the end token where one was produced.
    pub ids: Vec<u32>,
    /// `sum_logprob` over the length penalty's divisor: Hugging Face's `sequences_scores`.
    pub score: f32,
    /// Natural log-probability of `ids`: the sum of `token_logprobs`.
    pub sum_logprob: f32,
    /// Natural log-probability of each token of `ids`; 0 for a forced token.
    pub token_logprobs: Vec<f32>,
    /// Whether an end token was produced; otherwise the hypothesis was cut off.
    pub finished: bool,
}

/// Searches the best continuations of every prompt. The decoder comes in with one row per prompt, in order.
///
/// Returns, per prompt, up to `n_best` hypotheses, best first: fewer only where bans leave fewer continuations.
///
/// # Errors
/// An option or a prompt that makes no sense ([`Error`] says which), or logits that are NaN or +∞ or all −∞.
pub fn search(
    decoder: &mut dyn StepDecoder,
    prompts: &[Prompt],
    options: &SearchOptions,
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    search_until(decoder, prompts, options, &mut || false)
}

/// As [`search`], asking after each step whether it is interrupted. If so, all live hypotheses are cut off where they
/// are, as if the length limit was there.
///
/// # Errors
/// As [`search`].
pub fn search_until(
    decoder: &mut dyn StepDecoder,
    prompts: &[Prompt],
    options: &SearchOptions,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    options.check(decoder.vocab_size())?;
    for (sentence, prompt) in prompts.iter().enumerate() {
        prompt.check(sentence)?;
    }
    if options.beam == 1 {
        let searches = prompts.iter().map(|prompt| greedy::Greedy::new(prompt, options)).collect();
        run(decoder, prompts, searches, options, interrupted)
    } else {
        let searches = prompts.iter().map(|prompt| beam::Beam::new(prompt, options)).collect();
        run(decoder, prompts, searches, options, interrupted)
    }
}

impl Prompt {
    fn check(&self, sentence: usize) -> Result<(), Error> {
        if self.prefix.is_empty() {
            return Err(Error::EmptyPrefix { sentence });
        }
        if self.max_new_tokens == 0 {
            return Err(Error::NothingToGenerate { sentence });
        }
        Ok(())
    }
}

/// What is being searched of one sentence.
trait SentenceSearch {
    /// The hypotheses that want their next token scored, best first; none once the sentence is done.
    fn live(&self) -> &[Partial];
    /// How many continuations of each live hypothesis to rank.
    fn n_candidates(&self) -> usize;
    /// Chooses among the continuations (one list per live hypothesis). Returns each new live hypothesis's parent.
    fn advance(&mut self, continuations: &[Vec<Candidate>]) -> Vec<usize>;
    /// Ends the search with what there is; every live hypothesis has a new token.
    fn cut_off(&mut self);
    /// The results, best first.
    fn into_hypotheses(self) -> Vec<Hypothesis>;
}

/// A hypothesis under construction.
#[derive(Clone)]
struct Partial {
    /// Prefix and generated tokens.
    ids: Vec<u32>,
    token_logprobs: Vec<f32>,
    sum_logprob: f32,
}

impl Partial {
    fn new(prompt: &Prompt) -> Self {
        Partial { ids: prompt.prefix.clone(), token_logprobs: Vec::new(), sum_logprob: 0.0 }
    }

    fn n_new(&self) -> usize {
        self.token_logprobs.len()
    }

    fn extended(&self, candidate: Candidate) -> Self {
        let mut longer = self.clone();
        longer.ids.push(candidate.token);
        longer.token_logprobs.push(candidate.logprob);
        longer.sum_logprob += candidate.logprob;
        longer
    }

    fn into_hypothesis(mut self, options: &SearchOptions) -> Hypothesis {
        let ids = self.ids.split_off(self.ids.len() - self.n_new());
        Hypothesis {
            score: self.sum_logprob / options.length_penalty.divisor(ids.len()),
            sum_logprob: self.sum_logprob,
            finished: ids.last().is_some_and(|last| options.eos_ids.contains(last)),
            token_logprobs: self.token_logprobs,
            ids,
        }
    }
}

fn run<S: SentenceSearch + Sync>(
    decoder: &mut dyn StepDecoder,
    prompts: &[Prompt],
    mut searches: Vec<S>,
    options: &SearchOptions,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Vec<Vec<Hypothesis>>, Error> {
    let mut logits = Vec::new();
    while searches.iter().any(|search| !search.live().is_empty()) {
        let continuations = score(decoder, prompts, &searches, options, &mut logits)?;
        let (mut row, mut parents) = (0, Vec::new());
        for search in &mut searches {
            let n_rows = search.live().len();
            let chosen = search.advance(&continuations[row..row + n_rows]);
            parents.extend(chosen.into_iter().map(|parent| row + parent));
            row += n_rows;
        }
        let rows_stay = parents.len() == row && parents.iter().enumerate().all(|(new, &old)| new == old);
        if !rows_stay && !parents.is_empty() {
            decoder.reorder(&parents);
        }
        if interrupted() {
            searches.iter_mut().for_each(SentenceSearch::cut_off);
        }
    }
    Ok(searches.into_iter().map(SentenceSearch::into_hypotheses).collect())
}

/// Steps the decoder and returns the best allowed continuations of every live row.
fn score<S: SentenceSearch + Sync>(
    decoder: &mut dyn StepDecoder,
    prompts: &[Prompt],
    searches: &[S],
    options: &SearchOptions,
    logits: &mut Vec<f32>,
) -> Result<Vec<Vec<Candidate>>, Error> {
    let rows: Vec<(usize, &Partial)> = (searches.iter().enumerate())
        .flat_map(|(sentence, search)| search.live().iter().map(move |partial| (sentence, partial)))
        .collect();
    let tokens: Vec<u32> = rows.iter().map(|(_, partial)| partial.ids[partial.ids.len() - 1]).collect();
    let vocab_size = decoder.vocab_size();
    logits.resize(rows.len() * vocab_size, 0.0);
    decoder.step(&tokens, logits);

    rows.par_iter()
        .zip(logits.par_chunks(vocab_size))
        .map(|(&(sentence, partial), row)| {
            let restriction = Restriction::of(partial, &prompts[sentence], options);
            let position = partial.n_new();
            restriction
                .best(row, searches[sentence].n_candidates())
                .ok_or(Error::NonFiniteLogits { sentence, position })
        })
        .collect()
}
