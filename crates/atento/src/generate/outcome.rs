//! What generation reports, token by token and in the end.

use super::Candidate;

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token was produced, or the [`Sink`] ended the row: a stop string.
    Stop,
    /// There are `max_new_tokens`, or the options left no token that may follow.
    Length,
    /// The [`Sink`] interrupted everything.
    Interrupted,
}

impl FinishReason {
    /// `"stop"`, `"length"` or `"interrupted"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::Interrupted => "interrupted",
        }
    }
}

/// One continuation of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The generated tokens: without the prompt, with the end token where one was produced.
    pub ids: Vec<u32>,
    /// Natural log-probability of each token of `ids` in the model's own distribution: before penalties, bans,
    /// temperature and cuts.
    pub token_logprobs: Vec<f32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

impl Sample {
    /// Natural log-probability of the whole: the sum of `token_logprobs`.
    #[must_use]
    pub fn sum_logprob(&self) -> f32 {
        self.token_logprobs.iter().sum()
    }
}

/// A token that has just been generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEvent<'a> {
    /// Index of the prompt.
    pub prompt: usize,
    /// Which of the prompt's samples, from 0.
    pub sample: usize,
    /// The token.
    pub token: u32,
    /// Its natural log-probability, as in [`Sample::token_logprobs`].
    pub logprob: f32,
    /// The `top_logprobs` likeliest tokens of the same distribution, best first.
    pub top: &'a [Candidate],
    /// Why the sample ends with this token, if it does.
    pub finish: Option<FinishReason>,
}

/// What is to happen after a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This sample ends here, with [`FinishReason::Stop`]; the others go on.
    EndRow,
    /// All samples end here. What no event has told of does not belong to them.
    Interrupt,
}

/// Who is told of every token, in the order of prompts and samples within a step. Closures are.
pub trait Sink {
    /// Takes a token and says how to go on.
    fn token(&mut self, event: &TokenEvent<'_>) -> Flow;
}

impl<F: FnMut(&TokenEvent<'_>) -> Flow> Sink for F {
    fn token(&mut self, event: &TokenEvent<'_>) -> Flow {
        self(event)
    }
}
