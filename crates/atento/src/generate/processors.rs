//! What a hypothesis may not, or must, continue with: the counterpart of Hugging Face's logits processors.
//!
//! Their order there is: no-repeat n-grams, bad words, minimum length, forced first token, forced last token,
//! suppressed tokens. Bans only ever add up; a forced token overrides the bans before it but not the one after it.

use super::{Candidate, Partial, Prompt, SearchOptions, top_k_log_softmax};

/// What the next token of one hypothesis may be.
pub(super) struct Restriction {
    forced: Option<u32>,
    banned: Vec<u32>,
}

impl Restriction {
    pub(super) fn of(partial: &Partial, prompt: &Prompt, options: &SearchOptions) -> Self {
        let forced = forced_token(partial, prompt, options);
        let mut banned = options.suppress_tokens.clone();
        if forced.is_none() {
            ban_repeated_ngrams(&partial.ids, options.no_repeat_ngram, &mut banned);
            ban_bad_words(&partial.ids, options, &mut banned);
            if partial.n_new() < options.min_new_tokens {
                banned.extend(&options.eos_ids);
            }
        }
        Restriction { forced, banned }
    }

    /// The best `k` allowed continuations, fewer where fewer are allowed; `None` where the logits are not numbers.
    ///
    /// # Shapes
    /// - `logits`: `[vocab_size]`
    pub(super) fn best(&self, logits: &[f32], k: usize) -> Option<Vec<Candidate>> {
        match self.forced {
            Some(token) if self.banned.contains(&token) => Some(Vec::new()),
            Some(token) => Some(vec![Candidate { logprob: 0.0, token }]),
            None => top_k_log_softmax(logits, k, &self.banned),
        }
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

fn ban_bad_words(ids: &[u32], options: &SearchOptions, banned: &mut Vec<u32>) {
    for word in &options.bad_words {
        if let [start @ .., last] = word.as_slice() {
            let is_lone_eos = start.is_empty() && options.eos_ids.contains(last);
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
}
