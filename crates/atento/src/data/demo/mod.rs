//! The built-in English–German corpus behind `atento demo`.
//!
//! A grammar draws syntax trees at random and renders each twice, so that every German sentence is
//! right by construction: gender, case, number, adjective endings, the verb second, first or last,
//! separable prefixes, the perfect with "haben" or "sein", "nicht" and "kein". Translation is a
//! function: an English sentence of this language has exactly one German one ("you" is always "du",
//! a past without "did" always has a time such as "yesterday").
//!
//! ```text
//! lexicon/       nouns, verbs, adjectives, adverbs, each with its forms and its kinds
//! english, german   inflection
//! tree           syntax trees
//! sampler, clauses, states, grammar   random phrases, clauses, sentences that make sense
//! render_english, render_german, phrases_german   word order and agreement
//! ```
//!
//! [`FAMOUS`], "Let's translate this sentence", is always among the *training* pairs and never held
//! out. Held-out sentences are unseen combinations of words that the training pairs contain.

mod clauses;
mod english;
mod german;
mod grammar;
mod lexicon;
mod line;
mod phrases_german;
mod render_english;
mod render_german;
mod sampler;
mod states;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{HashMap, HashSet};

use sampler::Sampler;

/// The pair that every corpus contains in its training part.
pub const FAMOUS: (&str, &str) = ("Let's translate this sentence", "Lass uns diesen Satz übersetzen");

/// Fewest and most words of a sentence, in either language.
const WORDS: std::ops::RangeInclusive<usize> = 3..=14;
/// How often each word of a held-out sentence occurs in the training pairs, at least.
const SEEN: usize = 3;
/// Held-out candidates tried for each one wanted, before a corpus with too small a training part is
/// left with fewer held-out pairs.
const TRIES: usize = 200;

/// An English sentence and its German translation.
pub type Pair = (String, String);

/// How large a corpus to generate, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// The same seed and sizes give the same corpus, on every machine and any number of threads.
    pub seed: u64,
    /// Training pairs, at least one.
    pub train: usize,
    /// Validation pairs.
    pub valid: usize,
    /// Test pairs.
    pub test: usize,
}

impl Default for DemoOptions {
    /// The corpus of `atento demo`: 40,000 training pairs, 500 for validation, 1,000 for the test.
    fn default() -> Self {
        Self { seed: 1, train: 40_000, valid: 500, test: 1000 }
    }
}

/// Sentence pairs in three parts. No sentence of either language occurs twice, in one part or in
/// two, even if only final punctuation or capitals tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoCorpus {
    /// Pairs to train on, [`FAMOUS`] among them.
    pub train: Vec<Pair>,
    /// Held-out pairs to choose by.
    pub valid: Vec<Pair>,
    /// Held-out pairs to report on. Every word of them, on both sides and as it is spelled, occurs
    /// at least three times in `train`; so it is with `valid`.
    pub test: Vec<Pair>,
}

impl DemoCorpus {
    /// Generates a corpus, within a second for the default sizes.
    ///
    /// With a training part of fewer than a few thousand pairs, too few sentences may consist of
    /// words seen three times; `valid` and `test` are then shorter than asked.
    #[must_use]
    pub fn generate(options: DemoOptions) -> Self {
        let mut source = Source::new(options.seed);
        let famous = (FAMOUS.0.to_owned(), FAMOUS.1.to_owned());
        source.admit(&famous);
        let mut train = vec![famous];
        while train.len() < options.train {
            train.push(source.next_pair());
        }
        // The famous pair takes a random place.
        let place = source.sampler.below(train.len());
        train.swap(0, place);
        let known = Vocabulary::of(&train);
        let valid = source.held_out(options.valid, &known);
        let test = source.held_out(options.test, &known);
        Self { train, valid, test }
    }
}

/// The words of a sentence without punctuation.
fn words(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split(' ').map(|word| word.trim_end_matches(['.', ',', '?', '!']))
}

/// A sentence without capitals and final punctuation, by which duplicates are found.
fn key(sentence: &str) -> String {
    sentence.trim_end_matches(['.', '?', '!']).to_lowercase()
}

/// An endless supply of new pairs.
struct Source {
    sampler: Sampler,
    seen_english: HashSet<String>,
    seen_german: HashSet<String>,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self { sampler: Sampler::new(seed), seen_english: HashSet::new(), seen_german: HashSet::new() }
    }

    /// Notes the pair and says whether both its sentences are new.
    fn admit(&mut self, (english, german): &Pair) -> bool {
        let (english, german) = (key(english), key(german));
        if self.seen_english.contains(&english) || self.seen_german.contains(&german) {
            return false;
        }
        self.seen_english.insert(english);
        self.seen_german.insert(german);
        true
    }

    fn next_pair(&mut self) -> Pair {
        loop {
            let pair = random_pair(&mut self.sampler);
            let fits = |sentence: &str| WORDS.contains(&words(sentence).count());
            if fits(&pair.0) && fits(&pair.1) && self.admit(&pair) {
                return pair;
            }
        }
    }

    fn held_out(&mut self, count: usize, known: &Vocabulary<'_>) -> Vec<Pair> {
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count.saturating_mul(TRIES) {
            if pairs.len() == count {
                break;
            }
            let pair = self.next_pair();
            if known.covers(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }
}

fn random_pair(sampler: &mut Sampler) -> Pair {
    let tree = grammar::sentence(sampler);
    (render_english::sentence(&tree), render_german::sentence(&tree))
}

/// How often each word occurs on either side.
struct Vocabulary<'a> {
    english: HashMap<&'a str, usize>,
    german: HashMap<&'a str, usize>,
}

impl<'a> Vocabulary<'a> {
    fn of(pairs: &'a [Pair]) -> Self {
        let mut counts = Self { english: HashMap::new(), german: HashMap::new() };
        for (english, german) in pairs {
            for word in words(english) {
                *counts.english.entry(word).or_default() += 1;
            }
            for word in words(german) {
                *counts.german.entry(word).or_default() += 1;
            }
        }
        counts
    }

    fn covers(&self, (english, german): &Pair) -> bool {
        let is_seen = |counts: &HashMap<&str, usize>, word: &str| counts.get(word).is_some_and(|count| *count >= SEEN);
        words(english).all(|word| is_seen(&self.english, word)) && words(german).all(|word| is_seen(&self.german, word))
    }
}
