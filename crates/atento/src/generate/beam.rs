//! Beam search of one sentence, with the bookkeeping of Hugging Face's `_beam_search`.
//!
//! With B = `beam` and E = the number of end tokens, a step
//! 1. ranks the continuations of all live hypotheses by their summed log-probability and keeps the best
//!    K = max(2, 1 + E)·B of them: enough for B that go on, even if every end token of every row is among them;
//! 2. moves those that end (by an end token, or all of them at the length limit) to the finished ones, but only from
//!    the first B ranks: a continuation that ends further down would not have survived anyway;
//! 3. keeps the B best finished by `score` = sum / divisor(length), earlier ones first where equal;
//! 4. keeps the B best that go on;
//! 5. asks whether a live hypothesis can still matter (`is_done`).
//!
//! Hugging Face fills its fixed-size tensors with hypotheses of score −10⁹ where there are none; here they simply do
//! not exist, so the first step has one row per sentence and a search without a way on returns what it has.

use super::{Candidate, EarlyStopping, Hypothesis, Partial, Prompt, SearchOptions, SentenceSearch};

/// The beam search of one sentence.
pub(super) struct Beam<'a> {
    options: &'a SearchOptions,
    max_new_tokens: usize,
    /// Best first, by summed log-probability.
    live: Vec<Partial>,
    /// Best first, by score; at most `beam`.
    finished: Vec<Hypothesis>,
}

/// A continuation of live hypothesis `parent` with the sum it leads to.
struct Ranked {
    sum_logprob: f32,
    parent: usize,
    candidate: Candidate,
}

impl<'a> Beam<'a> {
    pub(super) fn new(prompt: &Prompt, options: &'a SearchOptions) -> Self {
        let live = vec![Partial::new(prompt)];
        Beam { options, max_new_tokens: prompt.max_new_tokens, live, finished: Vec::new() }
    }

    fn rank(&self, continuations: &[Vec<Candidate>]) -> Vec<Ranked> {
        let mut ranked = Vec::new();
        for (parent, (partial, candidates)) in self.live.iter().zip(continuations).enumerate() {
            ranked.extend(candidates.iter().map(|&candidate| {
                let sum_logprob = partial.sum_logprob + candidate.logprob;
                Ranked { sum_logprob, parent, candidate }
            }));
        }
        ranked.sort_by(|a, b| {
            let by_position = (a.parent, a.candidate.token).cmp(&(b.parent, b.candidate.token));
            b.sum_logprob.total_cmp(&a.sum_logprob).then(by_position)
        });
        ranked.truncate(self.n_candidates());
        ranked
    }

    fn finish(&mut self, partial: Partial) {
        let hypothesis = partial.into_hypothesis(self.options);
        let place = self.finished.partition_point(|other| other.score >= hypothesis.score);
        self.finished.insert(place, hypothesis);
        self.finished.truncate(self.options.beam);
    }

    /// Whether no live hypothesis can enter the finished ones any more, as far as `early_stopping` asks.
    fn is_done(&self) -> bool {
        let Some(best) = self.live.first() else {
            return true;
        };
        if self.finished.len() < self.options.beam {
            return false;
        }
        let penalty = self.options.length_penalty;
        let length = match self.options.early_stopping {
            EarlyStopping::True => return true,
            EarlyStopping::Never if penalty.alpha() > 0.0 => self.max_new_tokens,
            EarlyStopping::Never | EarlyStopping::False => best.n_new(),
        };
        best.sum_logprob / penalty.divisor(length) <= self.finished[self.finished.len() - 1].score
    }
}

impl SentenceSearch for Beam<'_> {
    fn live(&self) -> &[Partial] {
        &self.live
    }

    fn n_candidates(&self) -> usize {
        self.options.n_candidates()
    }

    fn advance(&mut self, continuations: &[Vec<Candidate>]) -> Vec<usize> {
        let ranked = self.rank(continuations);
        let live = std::mem::take(&mut self.live);
        if ranked.is_empty() {
            // Every continuation of every hypothesis is banned: they are cut off here.
            live.into_iter().for_each(|partial| self.finish(partial));
            return Vec::new();
        }
        let mut parents = Vec::with_capacity(self.options.beam);
        for (rank, Ranked { parent, candidate, .. }) in ranked.into_iter().enumerate() {
            let at_limit = live[parent].n_new() + 1 == self.max_new_tokens;
            if at_limit || self.options.eos_ids.contains(&candidate.token) {
                if rank < self.options.beam {
                    self.finish(live[parent].extended(candidate));
                }
            } else if parents.len() < self.options.beam {
                self.live.push(live[parent].extended(candidate));
                parents.push(parent);
            }
        }
        if self.is_done() {
            self.live.clear();
            parents.clear();
        }
        parents
    }

    fn cut_off(&mut self) {
        std::mem::take(&mut self.live).into_iter().for_each(|partial| self.finish(partial));
    }

    fn into_hypotheses(mut self) -> Vec<Hypothesis> {
        self.finished.truncate(self.options.n_best);
        self.finished
    }
}
