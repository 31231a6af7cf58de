//! Sampling of continuations, many prompts and many samples of each at once.
//!
//! One step:
//! 1. [`StepDecoder::step`] turns the last token of every live row into logits; the first step has a row for each
//!    prompt, later ones a row for each sample that goes on.
//! 2. Each row's logits are penalised, bent and cut as the options say, in Hugging Face's order (transformers 5.23):
//!    repetition, frequency and presence penalty, n-grams, bad words, minimum length, suppressed tokens; then
//!    temperature, top-k, top-p, min-p, typical-p. With temperature 0 the likeliest token is taken.
//! 3. The token is drawn with a random number that is a function of (seed, the prompt's sequence number, the sample's
//!    number, the position) and of nothing else, so a prompt's samples are the same alone, in any batch and on any
//!    number of threads.
//! 4. The [`Sink`] is told, row by row; rows that end leave the batch ([`StepDecoder::reorder`]).
//!
//! A row takes a few passes over its logits, no full sort and, after the first steps, no memory.

use rayon::prelude::*;

use super::draws::{Draws, Purpose};
use super::row::{Picker, Row, check_prompt};
use super::{Error, FinishReason, Sample, SampleOptions, Sink, StepDecoder};

/// A prompt to sample from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplePrompt {
    /// The prompt's tokens, never empty. The last one is fed first; earlier ones are in the decoder's cache already.
    pub prefix: Vec<u32>,
    /// Most tokens to generate, the end token included.
    pub max_new_tokens: usize,
    /// The prompt's number in the whole of the work, such as its line, whatever batch it is in. Prompts with different
    /// numbers get independent random numbers.
    pub sequence: u64,
}

/// A live sample with what it needs for a step.
struct Live {
    row: Row,
    draws: Draws,
    picker: Picker,
}

/// A token and its log-probability; no token where none is allowed.
type Choice = (Option<u32>, f32);

impl Live {
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    fn choose(&mut self, logits: &[f32], options: &SampleOptions) -> Result<Choice, Error> {
        let normalizer =
            self.picker.prepare(logits, &self.row.history, options).ok_or_else(|| self.row.not_finite())?;
        let token = self.picker.distribution.draw(self.draws.uniform(self.row.history.n_new(), Purpose::Token));
        Ok((token, token.map_or(0.0, |token| normalizer.logprob(logits[token as usize]))))
    }
}

/// Samples `options.n` continuations of every prompt. The decoder comes in with one row per prompt, in order, with all
/// tokens but the last in its cache.
///
/// Returns, per prompt, its samples in the order of their numbers. After [`Flow::Interrupt`](super::Flow::Interrupt)
/// they are what the sink was told of.
///
/// # Errors
/// An option or a prompt that makes no sense ([`Error`] says which), or logits that are NaN or +∞ or all −∞.
pub fn sample(
    decoder: &mut dyn StepDecoder,
    prompts: &[SamplePrompt],
    options: &SampleOptions,
    sink: &mut dyn Sink,
) -> Result<Vec<Vec<Sample>>, Error> {
    let vocab_size = decoder.vocab_size();
    options.check(vocab_size)?;
    let mut live = Vec::with_capacity(prompts.len() * options.n);
    for (i, prompt) in prompts.iter().enumerate() {
        check_prompt(i, prompt, vocab_size)?;
        live.extend((0..options.n).map(|sample| Live {
            row: Row::new(i, sample, &prompt.prefix, prompt.max_new_tokens),
            draws: Draws::new(options.seed, prompt.sequence, sample),
            picker: Picker::default(),
        }));
    }
    let mut samples: Vec<Vec<Option<Sample>>> = vec![vec![None; options.n]; prompts.len()];
    // The decoder's row of each live sample, and the token each of the decoder's rows is fed.
    let mut sources: Vec<usize> = live.iter().map(|live| live.row.prompt).collect();
    let mut tokens: Vec<u32> = prompts.iter().map(|prompt| prompt.prefix[prompt.prefix.len() - 1]).collect();
    let (mut logits, mut choices, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    while !live.is_empty() {
        logits.resize(tokens.len() * vocab_size, 0.0);
        decoder.step(&tokens, &mut logits);
        let logits_of = |source: usize| &logits[source * vocab_size..][..vocab_size];
        match live.as_mut_slice() {
            [one] => choices.push(one.choose(logits_of(sources[0]), options)),
            rows => (rows.par_iter_mut().zip(&sources))
                .map(|(row, &source)| row.choose(logits_of(source), options))
                .collect_into_vec(&mut choices),
        }

        let n_rows = tokens.len();
        let mut interrupted = false;
        ended.clear();
        ended.resize(live.len(), None);
        for (choice, (live, ended)) in choices.drain(..).zip(live.iter_mut().zip(&mut ended)) {
            let (token, logprob) = choice?;
            *ended = if interrupted {
                Some(FinishReason::Interrupted)
            } else if let Some(token) = token {
                let next = live.row.append(token, logprob, &live.picker.top, &options.processors.eos_ids, sink);
                interrupted = next.interrupted;
                next.ended
            } else {
                Some(FinishReason::Length)
            };
        }
        if interrupted {
            ended.iter_mut().for_each(|ended| *ended = ended.or(Some(FinishReason::Interrupted)));
        }
        retire(&mut live, &mut sources, &ended, &mut samples);
        let rows_stay = sources.len() == n_rows && sources.iter().enumerate().all(|(new, &old)| new == old);
        if !rows_stay && !sources.is_empty() {
            decoder.reorder(&sources);
        }
        sources.clear();
        sources.extend(0..live.len());
        tokens.clear();
        tokens.extend(live.iter().map(|live| live.row.history.last()));
    }
    Ok(samples.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
}

/// Moves the rows that ended to `samples`.
fn retire(
    live: &mut Vec<Live>,
    sources: &mut Vec<usize>,
    ended: &[Option<FinishReason>],
    samples: &mut [Vec<Option<Sample>>],
) {
    if ended.iter().all(Option::is_none) {
        return;
    }
    let rows = std::mem::take(live).into_iter().zip(std::mem::take(sources));
    for ((one, source), ended) in rows.zip(ended) {
        match ended {
            Some(reason) => {
                let (prompt, sample) = (one.row.prompt, one.row.sample);
                samples[prompt][sample] = Some(one.row.finish(*reason));
            }
            None => {
                live.push(one);
                sources.push(source);
            }
        }
    }
}
