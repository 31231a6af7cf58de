//! Which tokens of an example are to be predicted, and what the model sees in their place.
//!
//! A share of the tokens that are not special is chosen (Devlin et al. 2019, §3.1): of ten, eight are hidden by the mask
//! token, one is replaced by a random word, one stays. The number chosen of `n` tokens is `n · mask_prob`, rounded up or
//! down at random so that the share is met on average; the original's rounding to the nearest is off by up to half a token
//! in each example. At least one is chosen.
//!
//! With whole words and spans, what becomes of them is decided once for all their tokens, and one that has more tokens than
//! may still be chosen is passed over. A random word is never the word it replaces, so that an example shows what
//! became of each.

use std::ops::Range;

use atento_kernels::philox::Rng;

use super::markers::Vocabulary;
use super::settings::{ExampleOptions, Units};

/// SpanBERT §3.1: the chance that a span ends after each of its words, and the most words of one.
const SPAN_END: f32 = 0.2;
const LONGEST_SPAN: usize = 10;
/// Spans that are drawn in vain before the rest is chosen word by word.
const MOST_MISSES: usize = 50;

/// How many of the chosen tokens became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) hidden: u64,
    pub(super) random: u64,
    pub(super) kept: u64,
}

/// What is masked as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Positions in the example.
    pub(super) place: Range<usize>,
    /// Whether the word before it ends where it begins.
    pub(super) follows: bool,
}

/// What masks are drawn with.
pub(super) struct Masker<'a> {
    pub(super) options: &'a ExampleOptions,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) mask: u32,
}

impl Masker<'_> {
    /// The words of the tokens at `from..`, whose beginnings are `starts`, added to those before. Special tokens are none.
    pub(super) fn add_words(&self, ids: &[u32], starts: &[bool], from: usize, words: &mut Vec<Word>) {
        let mut goes_on = false;
        for (at, (&id, &starts)) in (from..).zip(ids.iter().zip(starts)) {
            if self.vocabulary.is_special(id) {
                goes_on = false;
                continue;
            }
            match words.last_mut() {
                Some(word) if goes_on && !starts && self.options.units != Units::Tokens => word.place.end = at + 1,
                _ => words.push(Word { place: at..at + 1, follows: goes_on }),
            }
            goes_on = true;
        }
    }

    /// Masks the ids of an example. Returns the positions to be predicted, in order, each with its token.
    pub(super) fn apply(&self, ids: &mut [u32], words: &[Word], rng: &mut Rng) -> (Vec<(u32, u32)>, Fates) {
        let tokens: usize = words.iter().map(|word| word.place.len()).sum();
        if tokens == 0 {
            return (Vec::new(), Fates::default());
        }
        let share = tokens as f64 * self.options.mask_prob;
        let budget = (share as usize + usize::from(f64::from(rng.uniform()) < share.fract())).clamp(1, tokens);
        let mut chosen = vec![false; words.len()];
        let mut groups = Vec::new();
        let mut left = budget;
        if self.options.units == Units::Spans {
            left = spans(words, left, &mut chosen, &mut groups, rng);
        }
        single_words(words, left, &mut chosen, &mut groups, rng);
        if groups.is_empty() {
            // All words are longer than the budget.
            let only = rng.below(words.len());
            groups.push(only..only + 1);
        }
        let mut masked = Vec::with_capacity(budget);
        let mut fates = Fates::default();
        for group in groups {
            self.replace(
                ids,
                words[group.start].place.start..words[group.end - 1].place.end,
                &mut masked,
                &mut fates,
                rng,
            );
        }
        masked.sort_unstable();
        (masked, fates)
    }

    fn replace(
        &self,
        ids: &mut [u32],
        place: Range<usize>,
        masked: &mut Vec<(u32, u32)>,
        fates: &mut Fates,
        rng: &mut Rng,
    ) {
        let drawn = f64::from(rng.uniform());
        let count = place.len() as u64;
        masked.extend(place.clone().map(|at| (at as u32, ids[at])));
        if drawn < self.options.mask_share {
            fates.hidden += count;
            ids[place].fill(self.mask);
        } else if drawn < self.options.mask_share + self.options.random_share {
            fates.random += count;
            ids[place].iter_mut().for_each(|id| *id = self.other_word(*id, rng));
        } else {
            fates.kept += count;
        }
    }

    fn other_word(&self, word: u32, rng: &mut Rng) -> u32 {
        let words = &self.vocabulary.words;
        match words.binary_search(&word) {
            Ok(own) => {
                let drawn = rng.below(words.len() - 1);
                words[if drawn < own { drawn } else { drawn + 1 }]
            }
            // A token that was added to the vocabulary.
            Err(_) => words[rng.below(words.len())],
        }
    }
}

/// Chooses words in random order while they have `left` tokens.
fn single_words(words: &[Word], mut left: usize, chosen: &mut [bool], groups: &mut Vec<Range<usize>>, rng: &mut Rng) {
    let mut order: Vec<usize> = (0..words.len()).filter(|&at| !chosen[at]).collect();
    for next in 0..order.len() {
        if left == 0 {
            return;
        }
        let drawn = next + rng.below(order.len() - next);
        order.swap(next, drawn);
        let word = order[next];
        let tokens = words[word].place.len();
        if tokens <= left {
            left -= tokens;
            chosen[word] = true;
            groups.push(word..word + 1);
        }
    }
}

/// Chooses spans of words while they have `left` tokens; returns how many of those are left.
fn spans(words: &[Word], mut left: usize, chosen: &mut [bool], groups: &mut Vec<Range<usize>>, rng: &mut Rng) -> usize {
    let mut misses = 0;
    while left > 0 && misses < MOST_MISSES {
        let wanted = span_length(rng);
        let first = rng.below(words.len());
        let (mut end, mut tokens) = (first, 0);
        while end < words.len()
            && end - first < wanted
            && !chosen[end]
            && (end == first || words[end].follows)
            && tokens + words[end].place.len() <= left
        {
            tokens += words[end].place.len();
            end += 1;
        }
        if end == first {
            misses += 1;
            continue;
        }
        left -= tokens;
        chosen[first..end].fill(true);
        groups.push(first..end);
    }
    left
}

/// Words of a span: geometric up to [`LONGEST_SPAN`], drawn again above it.
fn span_length(rng: &mut Rng) -> usize {
    loop {
        let mut words = 1;
        while words <= LONGEST_SPAN && rng.uniform() >= SPAN_END {
            words += 1;
        }
        if words <= LONGEST_SPAN {
            return words;
        }
    }
}
