//! What a hypothesis or a sample may not, or must, continue with: the counterpart of Hugging Face's logits processors.
//!
//! Their order there is: repetition penalty, no-repeat n-grams, bad words, minimum length, forced first token, forced
//! last token, suppressed tokens. Bans only ever add up; a forced token overrides the bans before it but not the one
//! after it. Hugging Face penalises logits in greedy search and in sampling, log-probabilities in beam search.

use super::history::History;
use super::top_k::top_k_into;
use super::{Candidate, Partial, ProcessorOptions, Prompt, SearchOptions};

/// Applies `options` to the logits of a row.
///
/// # Shapes
/// - `scores`: `[vocab_size]`, finite or −∞ and so afterwards
pub(super) fn process(scores: &mut [f32], history: &History, options: &ProcessorOptions, banned: &mut Vec<u32>) {
    let repetition = options.repetition_penalty as f32;
    let (frequency, presence) = (options.frequency_penalty as f32, options.presence_penalty as f32);
    if repetition != 1.0 || frequency != 0.0 || presence != 0.0 {
        for seen in history.seen() {
            let score = &mut scores[seen.token as usize];
            *score = penalised(*score, repetition);
            if seen.generated > 0 {
                let penalty = seen.generated as f32 * frequency + presence;
                *score = (*score - penalty.clamp(f32::MIN, f32::MAX)).min(f32::MAX);
            }
        }
    }
    banned.clear();
    banned.extend(&options.suppress_tokens);
    ban_repeated_ngrams(history.ids(), options.no_repeat_ngram, banned);
    ban_bad_words(history.ids(), &options.bad_words, &options.eos_ids, banned);
    if history.n_new() < options.min_new_tokens || history.ids().len() < options.min_length {
        banned.extend(&options.eos_ids);
    }
    for &token in &*banned {
        scores[token as usize] = f32::NEG_INFINITY;
    }
}

/// A score after the repetition penalty; never +∞.
fn penalised(score: f32, penalty: f32) -> f32 {
    if score < 0.0 { score * penalty } else { (score / penalty).min(f32::MAX) }
}

/// What the next token of one hypothesis may be.
pub(super) struct Restriction {
    forced: Option<u32>,
    banned: Vec<u32>,
    /// The tokens that occurred, where a repetition penalty falls on them.
    repeated: Vec<u32>,
    penalty: f32,
    is_beam: bool,
}

impl Restriction {
    pub(super) fn of(partial: &Partial, prompt: &Prompt, options: &SearchOptions) -> Self {
        let forced = forced_token(partial, prompt, options);
        let mut banned = options.suppress_tokens.clone();
        let mut repeated = Vec::new();
        if forced.is_none() {
            ban_repeated_ngrams(&partial.ids, options.no_repeat_ngram, &mut banned);
            ban_bad_words(&partial.ids, &options.bad_words, &options.eos_ids, &mut banned);
            if partial.n_new() < options.min_new_tokens || partial.ids.len() < options.min_length {
                banned.extend(&options.eos_ids);
            }
            if options.repetition_penalty != 1.0 {
                repeated.clone_from(&partial.ids);
                repeated.sort_unstable();
                repeated.dedup();
                repeated.retain(|token| !banned.contains(token));
            }
        }
        Restriction { forced, banned, repeated, penalty: options.repetition_penalty as f32, is_beam: options.beam > 1 }
    }

    /// The best `k` allowed continuations, fewer where fewer are allowed; `None` where the logits are not numbers.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    pub(super) fn best(&self, logits: &[f32], k: usize) -> Option<Vec<Candidate>> {
        match self.forced {
            Some(token) if self.banned.contains(&token) => Some(Vec::new()),
            Some(token) => Some(vec![Candidate { logprob: 0.0, token }]),
            None => self.ranked(logits, k),
        }
    }

    fn ranked(&self, logits: &[f32], k: usize) -> Option<Vec<Candidate>> {
        let mut candidates = Vec::with_capacity(k + 1);
        if self.repeated.is_empty() {
            return top_k_into(logits, k, &self.banned, &mut candidates).map(|_| candidates);
        }
        // The best of the others beside all that are penalised.
        let passed_over = [self.banned.as_slice(), &self.repeated].concat();
        let normalizer = top_k_into(logits, k, &passed_over, &mut candidates)?;
        // (what ranks, the candidate): in greedy search the penalised logit ranks and the model's log-probability is
        // reported.
        let penalised = |&token: &u32| {
            let logit = logits[token as usize];
            let logprob = normalizer.logprob(logit);
            match self.is_beam {
                true => (penalised(logprob, self.penalty), penalised(logprob, self.penalty), token),
                false => (penalised(logit, self.penalty), logprob, token),
            }
        };
        let plain = |candidate: &Candidate| {
            let rank = if self.is_beam { candidate.logprob } else { logits[candidate.token as usize] };
            (rank, candidate.logprob, candidate.token)
        };
        let mut ranked: Vec<(f32, f32, u32)> = candidates.iter().map(plain).collect();
        ranked.extend(self.repeated.iter().map(penalised).filter(|&(rank, ..)| rank > f32::NEG_INFINITY));
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
        ranked.truncate(k);
        Some(ranked.into_iter().map(|(_, logprob, token)| Candidate { logprob, token }).collect())
    }
}

fn forced_token(partial: &Partial, prompt: &Prompt, options: &SearchOptions) -> Option<u32> {
    let is_last = partial.n_new() + 1 == prompt.max_new_tokens;
    let is_first = partial.ids.len() == 1;
    options.forced_eos.filter(|_| is_last).or(options.forced_bos.filter(|_| is_first))
}

/// Bans every token that followed an earlier occurrence of the last `n - 1` tokens.
fn ban_repeated_ngrams(ids: &[u32], n: usize, banned: &mut Vec<u32>) {
    if n == 0 || ids.len() < n {
        return;
    }
    let suffix = &ids[ids.len() + 1 - n..];
    banned.extend(ids.windows(n).filter(|ngram| ngram[..n - 1] == *suffix).map(|ngram| ngram[n - 1]));
}

fn ban_bad_words(ids: &[u32], bad_words: &[Vec<u32>], eos_ids: &[u32], banned: &mut Vec<u32>) {
    for word in bad_words {
        if let [start @ .., last] = word.as_slice() {
            let is_lone_eos = start.is_empty() && eos_ids.contains(last);
            if ids.ends_with(start) && !is_lone_eos {
                banned.push(*last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banned(ids: &[u32], options: &SearchOptions) -> Vec<u32> {
        let prompt = Prompt::start(ids[0], 10);
        let mut partial = Partial::new(&prompt);
        for &token in &ids[1..] {
            partial = partial.extended(Candidate { logprob: -1.0, token });
        }
        let mut banned = Restriction::of(&partial, &prompt, options).banned;
        banned.sort_unstable();
        banned.dedup();
        banned
    }

    #[test]
    fn an_ngram_is_not_completed_a_second_time_and_the_prefix_counts() {
        let options = |no_repeat_ngram| SearchOptions { no_repeat_ngram, ..Default::default() };
        assert_eq!(banned(&[0, 5, 6, 5], &options(2)), [6]);
        assert_eq!(banned(&[0, 5, 0], &options(2)), [5]);
        assert_eq!(banned(&[1, 2, 3, 1, 2], &options(3)), [3]);
        assert_eq!(banned(&[4, 4, 4], &options(2)), [4]);
        assert_eq!(banned(&[4, 2, 9], &options(1)), [2, 4, 9]);
        assert_eq!(banned(&[4], &options(2)), [0; 0]);
    }

    #[test]
    fn a_bad_word_is_stopped_at_its_last_token_and_a_lone_end_token_is_no_bad_word() {
        let options = SearchOptions {
            eos_ids: vec![1],
            bad_words: vec![vec![0], vec![1], vec![7, 9], vec![3, 4, 5]],
            ..Default::default()
        };
        assert_eq!(banned(&[2, 7], &options), [0, 9]);
        assert_eq!(banned(&[3, 4], &options), [0, 5]);
        assert_eq!(banned(&[4], &options), [0]);
    }

    #[test]
    fn an_end_token_is_banned_until_the_minimum_of_new_tokens() {
        let options = SearchOptions { eos_ids: vec![1], min_new_tokens: 2, ..Default::default() };
        assert_eq!(banned(&[0, 5], &options), [1]);
        assert_eq!(banned(&[0, 5, 5], &options), [0; 0]);
        // The prefix counts in the length of the whole.
        let options = SearchOptions { eos_ids: vec![1], min_length: 2, ..Default::default() };
        assert_eq!((banned(&[0], &options), banned(&[0, 5], &options)), (vec![1], vec![]));
        let options = ProcessorOptions { eos_ids: vec![1], min_length: 3, ..Default::default() };
        for (prompt, allowed) in [(&[0, 5][..], false), (&[0, 5, 5], true)] {
            let mut scores = [1.0; 6];
            process(&mut scores, &History::new(prompt, 9), &options, &mut Vec::new());
            assert_eq!(scores[1] == 1.0, allowed);
        }
    }

    #[test]
    fn a_forced_token_is_free_and_overrides_bans_but_not_suppression() {
        let prompt = Prompt::start(0, 1);
        let mut options = SearchOptions { forced_bos: Some(2), bad_words: vec![vec![2]], ..Default::default() };
        let best = |options: &SearchOptions| {
            Restriction::of(&Partial::new(&prompt), &prompt, options).best(&[0.0; 4], 3).unwrap()
        };
        assert_eq!(best(&options), [Candidate { logprob: 0.0, token: 2 }]);
        options.forced_eos = Some(1);
        assert_eq!(best(&options), [Candidate { logprob: 0.0, token: 1 }]);
        options.suppress_tokens = vec![1];
        assert_eq!(best(&options), []);
    }

    #[test]
    fn frequency_and_presence_count_generated_tokens_only() {
        let mut history = History::new(&[0, 1], 10);
        [1, 1, 2].into_iter().for_each(|token| history.push(token));
        let options = ProcessorOptions { frequency_penalty: 0.5, presence_penalty: 0.25, ..Default::default() };
        let mut scores = [3.0, 3.0, -3.0, 3.0];
        process(&mut scores, &history, &options, &mut Vec::new());
        assert_eq!(scores, [3.0, 3.0 - 1.25, -3.0 - 0.75, 3.0]);
    }

    #[test]
    fn no_penalty_makes_a_score_infinite_or_nan() {
        let mut history = History::new(&[0, 1], 10);
        (0..4).for_each(|token| history.push(token));
        for extreme in [1e-38, 1e38] {
            for sign in [1.0, -1.0] {
                let options = ProcessorOptions {
                    repetition_penalty: extreme,
                    frequency_penalty: sign * 3e38,
                    presence_penalty: sign * 3e38,
                    ..Default::default()
                };
                let mut scores = [1e4, -1e4, 0.0, f32::NEG_INFINITY];
                process(&mut scores, &history, &options, &mut Vec::new());
                assert!(scores.iter().all(|score| *score < f32::INFINITY), "{options:?}: {scores:?}");
            }
        }
    }
}
