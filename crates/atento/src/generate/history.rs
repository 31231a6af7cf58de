//! The tokens of one row, prompt and generated, with how often each occurred.

/// A token that occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) token: u32,
    in_prompt: bool,
    /// Times it was generated.
    pub(super) generated: u32,
}

/// Prompt and generated tokens.
#[derive(Clone, Debug)]
pub(super) struct History {
    ids: Vec<u32>,
    n_prompt: usize,
    /// One entry for each distinct token, in no particular order.
    seen: Vec<Seen>,
}

impl History {
    /// A prompt, with room for `max_new_tokens` more.
    pub(super) fn new(prompt: &[u32], max_new_tokens: usize) -> Self {
        let room = prompt.len() + max_new_tokens.min(4096);
        let mut distinct = prompt.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut seen = Vec::with_capacity(room);
        seen.extend(distinct.into_iter().map(|token| Seen { token, in_prompt: true, generated: 0 }));
        let mut ids = Vec::with_capacity(room);
        ids.extend_from_slice(prompt);
        History { ids, n_prompt: prompt.len(), seen }
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) fn last(&self) -> u32 {
        self.ids[self.ids.len() - 1]
    }

    pub(super) fn generated(&self) -> &[u32] {
        &self.ids[self.n_prompt..]
    }

    pub(super) fn n_new(&self) -> usize {
        self.ids.len() - self.n_prompt
    }

    pub(super) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Appends a generated token.
    pub(super) fn push(&mut self, token: u32) {
        self.ids.push(token);
        match self.seen.iter_mut().find(|seen| seen.token == token) {
            Some(seen) => seen.generated += 1,
            None => self.seen.push(Seen { token, in_prompt: false, generated: 1 }),
        }
    }

    /// Takes generated tokens back until there are `n_new`.
    pub(super) fn shorten(&mut self, n_new: usize) {
        for token in self.ids.drain(self.n_prompt + n_new..) {
            if let Some(at) = self.seen.iter().position(|seen| seen.token == token) {
                self.seen[at].generated -= 1;
                if self.seen[at].generated == 0 && !self.seen[at].in_prompt {
                    self.seen.swap_remove(at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_once_each_and_uncounted_when_taken_back() {
        let sorted = |history: &History| {
            let mut seen: Vec<_> = history.seen().iter().map(|seen| (seen.token, seen.generated)).collect();
            seen.sort_unstable();
            seen
        };
        let mut history = History::new(&[5, 3, 5], 10);
        assert_eq!(sorted(&history), [(3, 0), (5, 0)]);
        [5, 8, 8].into_iter().for_each(|token| history.push(token));
        assert_eq!(sorted(&history), [(3, 0), (5, 1), (8, 2)]);
        assert_eq!((history.generated(), history.last()), ([5, 8, 8].as_slice(), 8));
        history.shorten(1);
        assert_eq!((sorted(&history), history.ids()), (vec![(3, 0), (5, 1)], [5, 3, 5, 5].as_slice()));
    }
}
