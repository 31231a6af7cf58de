//! One sample under construction, and how its next token is chosen: what all ways of sampling share.

use super::distribution::Distribution;
use super::history::History;
use super::processors::process;
use super::top_k::{Normalizer, top_k_into};
use super::{
    Candidate, Error, FinishReason, Flow, ProcessorOptions, Sample, SampleOptions, SamplePrompt, Sink, TokenEvent,
};

/// The tokens of a sample so far.
pub(super) struct Row {
    pub(super) prompt: usize,
    pub(super) sample: usize,
    pub(super) history: History,
    token_logprobs: Vec<f32>,
    max_new_tokens: usize,
}

/// What follows from a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Why its sample ended, if it did.
    pub(super) ended: Option<FinishReason>,
    /// Whether all others end too.
    pub(super) interrupted: bool,
}

impl Row {
    pub(super) fn new(prompt: usize, sample: usize, prefix: &[u32], max_new_tokens: usize) -> Self {
        let history = History::new(prefix, max_new_tokens);
        Row { prompt, sample, history, token_logprobs: Vec::new(), max_new_tokens }
    }

    /// Tokens that may still be generated.
    pub(super) fn remaining(&self) -> usize {
        self.max_new_tokens - self.history.n_new()
    }

    /// Appends a token and tells the sink.
    pub(super) fn append(
        &mut self,
        token: u32,
        logprob: f32,
        top: &[Candidate],
        eos_ids: &[u32],
        sink: &mut dyn Sink,
    ) -> Next {
        self.history.push(token);
        self.token_logprobs.push(logprob);
        let at_limit = (self.remaining() == 0).then_some(FinishReason::Length);
        let finish = if eos_ids.contains(&token) { Some(FinishReason::Stop) } else { at_limit };
        let (prompt, sample) = (self.prompt, self.sample);
        match sink.token(&TokenEvent { prompt, sample, token, logprob, top, finish }) {
            Flow::Continue => Next { ended: finish, interrupted: false },
            Flow::EndRow => Next { ended: Some(FinishReason::Stop), interrupted: false },
            Flow::Interrupt => Next { ended: finish.or(Some(FinishReason::Interrupted)), interrupted: true },
        }
    }

    pub(super) fn finish(self, finish_reason: FinishReason) -> Sample {
        Sample { ids: self.history.generated().to_vec(), token_logprobs: self.token_logprobs, finish_reason }
    }

    /// Puts the result in its prompt's place.
    pub(super) fn finish_into(self, samples: &mut [Option<Sample>], finish_reason: FinishReason) {
        let prompt = self.prompt;
        samples[prompt] = Some(self.finish(finish_reason));
    }

    pub(super) fn not_finite(&self) -> Error {
        Error::NonFiniteLogits { sentence: self.prompt, position: self.history.n_new() }
    }
}

/// Working memory for the next token of one row, kept from step to step.
#[derive(Default)]
pub(super) struct Picker {
    /// Processed logits: `[vocab_size]`
    pub(super) scores: Vec<f32>,
    /// The likeliest tokens of the model's own distribution.
    pub(super) top: Vec<Candidate>,
    banned: Vec<u32>,
    /// What the next token is drawn from.
    pub(super) distribution: Distribution,
}

impl Picker {
    /// Applies penalties and bans to a row of logits; `None` where they are not numbers.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    pub(super) fn process(
        &mut self,
        logits: &[f32],
        history: &History,
        top_logprobs: usize,
        options: &ProcessorOptions,
    ) -> Option<Normalizer> {
        let normalizer = top_k_into(logits, top_logprobs, &[], &mut self.top)?;
        self.scores.clear();
        self.scores.extend_from_slice(logits);
        process(&mut self.scores, history, options, &mut self.banned);
        Some(normalizer)
    }

    /// [`process`](Self::process), and makes `distribution` of the result.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    pub(super) fn prepare(&mut self, logits: &[f32], history: &History, options: &SampleOptions) -> Option<Normalizer> {
        let normalizer = self.process(logits, history, options.top_logprobs, &options.processors)?;
        self.distribution.set(&mut self.scores, &options.warpers);
        Some(normalizer)
    }
}

pub(super) fn check_prompt(sentence: usize, prompt: &SamplePrompt, vocab_size: usize) -> Result<(), Error> {
    if prompt.prefix.is_empty() {
        return Err(Error::EmptyPrefix { sentence });
    }
    if prompt.max_new_tokens == 0 {
        return Err(Error::NothingToGenerate { sentence });
    }
    match prompt.prefix.iter().find(|&&token| token as usize >= vocab_size) {
        Some(&token) => Err(Error::UnknownPromptToken { sentence, token, vocab_size }),
        None => Ok(()),
    }
}
