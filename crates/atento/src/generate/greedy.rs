//! Greedy search: the best next token, until an end token or the length limit.

use super::{Candidate, Hypothesis, Partial, Prompt, SearchOptions, SentenceSearch};

/// The greedy search of one sentence.
pub(super) struct Greedy<'a> {
    options: &'a SearchOptions,
    max_new_tokens: usize,
    live: Vec<Partial>,
    done: Option<Partial>,
}

impl<'a> Greedy<'a> {
    pub(super) fn new(prompt: &Prompt, options: &'a SearchOptions) -> Self {
        Greedy { options, max_new_tokens: prompt.max_new_tokens, live: vec![Partial::new(prompt)], done: None }
    }
}

impl SentenceSearch for Greedy<'_> {
    fn live(&self) -> &[Partial] {
        &self.live
    }

    fn n_candidates(&self) -> usize {
        1
    }

    fn advance(&mut self, continuations: &[Vec<Candidate>]) -> Vec<usize> {
        let (Some(partial), Some(continuations)) = (self.live.pop(), continuations.first()) else {
            return Vec::new();
        };
        let Some(&best) = continuations.first() else {
            // Every token is banned: the hypothesis is cut off here.
            self.done = Some(partial);
            return Vec::new();
        };
        let longer = partial.extended(best);
        if self.options.eos_ids.contains(&best.token) || longer.n_new() == self.max_new_tokens {
            self.done = Some(longer);
            return Vec::new();
        }
        self.live.push(longer);
        vec![0]
    }

    fn cut_off(&mut self) {
        self.done = self.live.pop().or(self.done.take());
    }

    fn into_hypotheses(self) -> Vec<Hypothesis> {
        self.done.into_iter().map(|partial| partial.into_hypothesis(self.options)).collect()
    }
}
