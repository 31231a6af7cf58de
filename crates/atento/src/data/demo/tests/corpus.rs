//! The promises of the corpus.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::super::lexicon::{ADJECTIVES, NOUNS, PLACES, THAT, TRY, VERBS};
use super::super::sampler::Sampler;
use super::super::*;

static CORPUS: LazyLock<DemoCorpus> = LazyLock::new(|| DemoCorpus::generate(DemoOptions::default()));

fn parts(corpus: &DemoCorpus) -> impl Iterator<Item = &Pair> {
    let parts = [&corpus.train, &corpus.valid, &corpus.test];
    parts.into_iter().flatten()
}

#[test]
fn a_seed_gives_one_corpus_and_another_seed_another() {
    let options = DemoOptions { train: 3000, valid: 50, test: 50, seed: 7 };
    let corpus = DemoCorpus::generate(options);
    let elsewhere = std::thread::spawn(move || DemoCorpus::generate(options));
    assert_eq!(corpus, elsewhere.join().unwrap());
    assert_ne!(corpus, DemoCorpus::generate(DemoOptions { seed: 8, ..options }));
}

#[test]
fn parts_have_the_sizes_asked_for() {
    let corpus = &*CORPUS;
    let sizes = [corpus.train.len(), corpus.valid.len(), corpus.test.len()];
    assert_eq!(sizes, [40_000, 500, 1000]);
}

#[test]
fn a_training_part_too_small_to_hold_words_out_ends_with_fewer_pairs() {
    let corpus = DemoCorpus::generate(DemoOptions { seed: 1, train: 1, valid: 2, test: 2 });
    assert_eq!(corpus.train, [(FAMOUS.0.to_owned(), FAMOUS.1.to_owned())]);
    assert!(corpus.valid.is_empty() && corpus.test.is_empty());
}

#[test]
fn no_sentence_occurs_twice_in_either_language() {
    let corpus = &*CORPUS;
    let total = parts(corpus).count();
    let english: HashSet<String> = parts(corpus).map(|pair| key(&pair.0)).collect();
    let german: HashSet<String> = parts(corpus).map(|pair| key(&pair.1)).collect();
    assert_eq!((english.len(), german.len()), (total, total));
}

#[test]
fn the_famous_sentence_is_trained_on_and_never_held_out() {
    for seed in 0..5 {
        let corpus = DemoCorpus::generate(DemoOptions { seed, train: 5000, ..DemoOptions::default() });
        let is_famous = |pair: &&Pair| key(&pair.0) == key(FAMOUS.0);
        let found: Vec<&Pair> = parts(&corpus).filter(is_famous).collect();
        assert_eq!(found, [&(FAMOUS.0.to_owned(), FAMOUS.1.to_owned())]);
        assert!(corpus.train.contains(found[0]));
    }
}

#[test]
fn every_held_out_word_is_trained_on_three_times() {
    let corpus = &*CORPUS;
    let count = |side: fn(&Pair) -> &str| {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for word in corpus.train.iter().flat_map(|pair| words(side(pair))) {
            *counts.entry(word).or_default() += 1;
        }
        let held_out = corpus.valid.iter().chain(&corpus.test);
        held_out.flat_map(|pair| words(side(pair))).map(|word| counts.get(word).copied().unwrap_or(0)).min()
    };
    assert!(count(|pair| &pair.0) >= Some(3));
    assert!(count(|pair| &pair.1) >= Some(3));
}

#[test]
fn sentences_are_short_and_words_few_and_frequent() {
    let corpus = &*CORPUS;
    for side in [|pair: &Pair| pair.0.clone(), |pair: &Pair| pair.1.clone()] {
        let sentences: Vec<String> = corpus.train.iter().map(side).collect();
        let lengths: Vec<usize> = sentences.iter().map(|it| words(it).count()).collect();
        assert!(lengths.iter().all(|length| (3..=14).contains(length)));
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((6.5..9.0).contains(&mean), "{mean} words a sentence");
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in sentences.iter().flat_map(|it| words(it)) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        assert!(counts.len() <= 1500, "{} word forms", counts.len());
        let rare = counts.values().filter(|count| **count < 5).count();
        assert!(rare * 10 < counts.len(), "{rare} word forms are rare");
    }
}

#[test]
fn the_whole_lexicon_is_used() {
    let corpus = &*CORPUS;
    let english: HashSet<&str> = corpus.train.iter().flat_map(|it| words(&it.0)).collect();
    let german: HashSet<&str> = corpus.train.iter().flat_map(|it| words(&it.1)).collect();
    let places = PLACES.iter().map(|place| &place.noun);
    for noun in NOUNS.iter().chain(places) {
        assert!(english.contains(noun.english), "{}", noun.english);
        assert!(german.contains(noun.german), "{}", noun.german);
    }
    for adjective in &ADJECTIVES {
        assert!(english.contains(adjective.english), "{}", adjective.english);
        assert!(german.contains(adjective.german), "{}", adjective.german);
    }
    for verb in VERBS.iter().chain(&THAT).chain(&TRY) {
        assert!(english.contains(verb.english), "{}", verb.english);
    }
}

#[test]
fn the_lexicon_is_wide() {
    assert!(NOUNS.len() + PLACES.len() >= 120);
    assert!(VERBS.len() >= 70);
    assert!(ADJECTIVES.len() >= 50);
}

#[test]
fn translation_is_a_function_of_the_english_sentence() {
    let mut sampler = Sampler::new(42);
    let mut known: HashMap<String, String> = HashMap::new();
    for _ in 0..200_000 {
        let (english, german) = random_pair(&mut sampler);
        if let Some(other) = known.get(&english) {
            assert_eq!(other, &german, "{english}");
        } else {
            known.insert(english, german);
        }
    }
    assert!(known.len() > 150_000, "{} distinct sentences", known.len());
}

#[test]
fn sentences_are_well_spelled() {
    let corpus = &*CORPUS;
    for sentence in parts(corpus).flat_map(|(english, german)| [english, german]) {
        let first = sentence.chars().next().unwrap();
        assert!(first.is_uppercase(), "{sentence}");
        assert!(!sentence.contains("  "), "{sentence}");
        let marks = sentence.matches(['.', '?', '!']).count();
        let is_suggestion = ["Let's", "Lass uns"].iter().any(|start| sentence.starts_with(start));
        assert!(marks == 1 || (marks == 0 && is_suggestion), "{sentence}");
    }
}
