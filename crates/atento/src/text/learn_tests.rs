//! Learning from text that is unlike sentences, and reading tokenizers that are damaged.

use super::*;

const KINDS: [Kind; 5] = [Kind::Bpe, Kind::ByteLevelBpe, Kind::WordPiece, Kind::Unigram, Kind::Characters];

fn learn(lines: &[String], options: &TrainOptions) -> Result<Learned, Error> {
    Tokenizer::learn(lines.iter().cloned().map(Ok), options)
}

fn options(kind: Kind, vocab_size: usize) -> TrainOptions {
    TrainOptions { kind, vocab_size, ..TrainOptions::default() }
}

/// Sentences, and letters in no order without a space between them.
fn with_endless_words(words: usize, length: usize) -> Vec<String> {
    let mut rng = atento_kernels::philox::Rng::new(3, 0);
    let mut word = |_| (0..length).map(|_| char::from(b'a' + rng.below(26) as u8)).collect::<String>();
    let mut lines: Vec<String> = (0..words).map(&mut word).collect();
    lines.extend(["the dog sat on the mat", "a dog and a mat"].repeat(20).into_iter().map(str::to_owned));
    lines
}

/// Lines in which character `i` of 400 occurs about `400 / i` times.
fn many_characters() -> Vec<String> {
    let character = |i: u32| char::from_u32(0x4E00 + i).unwrap();
    (1..=400).map(|i| (1..=i).map(|k| character(i / k)).collect()).collect()
}

#[test]
fn words_without_an_end_are_cut_and_counted() {
    for kind in KINDS {
        let learned = learn(&with_endless_words(3, 20_000), &options(kind, 700)).unwrap();
        let expected = "3 words of more than 1000 characters: the tokenizer was learned from pieces of 100 characters";
        let told = learned.notes.iter().any(|note| note == expected);
        assert_eq!(told, kind != Kind::Characters, "{kind:?}: {:?}", learned.notes);
        let ids = learned.tokenizer.encode_ids("the dog", false).unwrap();
        assert_eq!(learned.tokenizer.decode(&ids, true).unwrap(), "the dog", "{kind:?}");
    }
    let learned = learn(&with_endless_words(3, 999), &options(Kind::Bpe, 700)).unwrap();
    assert!(learned.notes.is_empty(), "a word of 999 characters and the space before it is whole: {:?}", learned.notes);
}

#[test]
fn the_advice_for_too_large_an_alphabet_helps() {
    for kind in [Kind::Bpe, Kind::WordPiece, Kind::Unigram, Kind::Characters] {
        let small = TrainOptions { byte_fallback: Some(false), ..options(kind, 300) };
        let small = if kind == Kind::Characters { TrainOptions { min_frequency: 1, ..small } } else { small };
        let message = learn(&many_characters(), &small).unwrap_err().to_string();
        assert_eq!(message.contains("min_frequency"), kind == Kind::Characters, "{message}");
        let limit = message.split("limit_alphabet (at most ").nth(1).unwrap().split(')').next().unwrap();
        let limited = TrainOptions { limit_alphabet: Some(limit.parse().unwrap()), ..small.clone() };
        let learned = learn(&many_characters(), &limited).unwrap();
        assert!(learned.tokenizer.vocab_size() <= 300, "{kind:?}");
        assert!(
            learned.notes[0].contains("characters, ")
                && learned.notes[0].contains("UNK]") | learned.notes[0].contains("<unk>")
        );
        let covered = TrainOptions { character_coverage: 0.8, ..small };
        assert!(learn(&many_characters(), &covered).is_ok(), "{kind:?}");
    }
}

#[test]
fn rare_characters_come_back_as_bytes_and_without_those_as_unknown() {
    for kind in [Kind::Bpe, Kind::Unigram, Kind::Characters] {
        let limited = TrainOptions { limit_alphabet: Some(100), min_frequency: 1, ..options(kind, 600) };
        let rare = char::from_u32(0x4E00 + 399).unwrap().to_string();
        let with_bytes = learn(&many_characters(), &limited).unwrap();
        let ids = with_bytes.tokenizer.encode_ids(&rare, false).unwrap();
        assert_eq!(with_bytes.tokenizer.decode(&ids, true).unwrap(), rare, "{kind:?}");
        assert!(with_bytes.notes[0].ends_with("they become bytes"), "{:?}", with_bytes.notes);
        let without = TrainOptions { byte_fallback: Some(false), ..limited };
        let learned = learn(&many_characters(), &without).unwrap();
        let unknown = learned.tokenizer.token_to_id("<unk>").unwrap();
        assert!(learned.tokenizer.encode_ids(&rare, false).unwrap().contains(&unknown), "{kind:?}");
    }
}

#[test]
fn settings_that_say_nothing_of_a_kind_and_impossible_numbers_are_refused() {
    let lines = with_endless_words(0, 0);
    for (refused, named) in [
        (TrainOptions { limit_alphabet: Some(9), ..options(Kind::ByteLevelBpe, 300) }, "limit_alphabet"),
        (TrainOptions { character_coverage: 0.9, ..options(Kind::ByteLevelBpe, 300) }, "character_coverage"),
        (TrainOptions { byte_fallback: Some(true), ..options(Kind::ByteLevelBpe, 300) }, "byte_fallback"),
        (TrainOptions { byte_fallback: Some(true), ..options(Kind::WordPiece, 300) }, "byte_fallback"),
        (TrainOptions { character_coverage: f64::NAN, ..options(Kind::Bpe, 300) }, "character_coverage = NaN"),
        (TrainOptions { character_coverage: 1.5, ..options(Kind::Bpe, 300) }, "character_coverage = 1.5"),
        (TrainOptions { limit_alphabet: Some(0), ..options(Kind::Bpe, 300) }, "limit_alphabet = 0"),
        (options(Kind::Bpe, 0), "vocab_size = 0"),
        (options(Kind::Unigram, usize::MAX), "vocab_size = 18446744073709551615"),
    ] {
        let message = learn(&lines, &refused).unwrap_err().to_string();
        assert!(message.starts_with(named), "{message}");
    }
    for kind in KINDS {
        let most = options(kind, train::LARGEST_VOCABULARY);
        assert!(learn(&lines, &most).unwrap().tokenizer.vocab_size() < 1000, "{kind:?}: what the text gives");
    }
}

#[test]
fn a_tokenizer_cut_or_changed_anywhere_is_an_error_or_a_tokenizer() {
    for kind in KINDS {
        let bytes = learn(&many_characters()[..40], &options(kind, 600)).unwrap().tokenizer.to_json_bytes().unwrap();
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 31) {
            let message = Tokenizer::from_json_bytes(&bytes[..end]).unwrap_err().to_string();
            assert!(message.contains("not a tokenizer.json"), "{message}");
        }
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 61) {
            let mut changed = bytes.clone();
            changed[at] = b'7';
            if let Ok(tokenizer) = Tokenizer::from_json_bytes(&changed) {
                // Either is fine, but for a panic.
                let _ = tokenizer.encode("一丁 a", true);
            }
        }
    }
}

#[test]
fn an_id_beyond_any_table_is_refused_with_its_token() {
    let json = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":2147483647},"merges":[]}}"#;
    let message = Tokenizer::from_json_bytes(json.as_bytes()).unwrap_err().to_string();
    assert!(message.contains(r#"the token "b" has the id 2147483647, expected an id below 16777216"#), "{message}");
}

#[test]
fn parts_that_contradict_each_other_are_refused_with_the_file_named() {
    // A prefix that the merged token is too short for: a slice out of bounds in the crate.
    let json = r#"{"version":"1.0","model":{"type":"BPE","continuing_subword_prefix":"@@@@@@","vocab":{"a":0,"b":1,"ab":2},
        "merges":["a b"]}}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, json).unwrap();
    let message = Tokenizer::load(&path).unwrap_err().to_string();
    assert!(message.starts_with(&path.display().to_string()), "{message}");
    assert!(message.contains("not a tokenizer.json: its parts contradict each other"), "{message}");
}
