//! Tokenizers of every kind of file against what transformers makes of the same texts
//! (`scripts/golden_tokenizers.py`).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;
use crate::text::{EncodedPair, Tokenizer, Truncation};

#[derive(Deserialize)]
struct Expected {
    texts: Vec<Text>,
    pairs: Vec<Pair>,
    windows: Vec<Windows>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    offsets: Vec<(usize, usize)>,
    decoded: String,
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    limit: Option<usize>,
    truncation: String,
    /// Absent where the reference refuses.
    #[serde(flatten)]
    encoding: Option<Recorded>,
}

#[derive(Deserialize)]
struct Windows {
    question: String,
    context: String,
    max_length: usize,
    stride: usize,
    encodings: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    word_ids: Vec<Option<u32>>,
    sequence_ids: Vec<Option<u8>>,
    offsets: Vec<(usize, usize)>,
    special: Vec<u8>,
}

impl Recorded {
    fn encoded(&self, dropped: usize) -> EncodedPair {
        EncodedPair {
            ids: self.ids.clone(),
            type_ids: self.type_ids.clone(),
            word_ids: self.word_ids.clone(),
            sequence_ids: self.sequence_ids.clone(),
            offsets: self.offsets.clone(),
            special: self.special.iter().map(|&mask| mask == 1).collect(),
            dropped,
        }
    }
}

/// `tests/fixtures/tokenizers`, or another set that the script made.
fn root() -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
    std::env::var_os("ATENTO_TOKENIZERS").map_or(PathBuf::from(fixtures), PathBuf::from)
}

fn directories() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn object(path: PathBuf) -> Map<String, Value> {
    std::fs::read(path).map_or_else(|_| Map::new(), |bytes| serde_json::from_slice(&bytes).unwrap())
}

fn found(root: &Path) -> Result<Option<PathBuf>, String> {
    find(root, &object(root.join("tokenizer_config.json")), &object(root.join("config.json")))
}

fn expected(directory: &Path) -> Expected {
    serde_json::from_slice(&std::fs::read(directory.join("expected.json")).unwrap()).unwrap()
}

/// Each tokenizer twice: read from its files, and written to a tokenizer.json and read again.
fn tokenizers(directory: &Path) -> [Tokenizer; 2] {
    let path = found(directory).unwrap().unwrap_or_else(|| panic!("{}: no vocabulary", directory.display()));
    let tokenizer = Tokenizer::load(path).unwrap();
    let again = Tokenizer::from_json_bytes(&tokenizer.to_json_bytes().unwrap()).unwrap();
    [tokenizer, again]
}

#[test]
fn every_kind_of_file_gives_the_ids_characters_and_texts_of_transformers() {
    for directory in directories() {
        for tokenizer in tokenizers(&directory) {
            for Text { text, ids, offsets, decoded } in expected(&directory).texts {
                let encoded = tokenizer.encode_pair(&text, None, None, Truncation::default()).unwrap();
                assert_eq!((&encoded.ids, &encoded.offsets), (&ids, &offsets), "{}: {text:?}", directory.display());
                assert_eq!(tokenizer.encode_ids(&text, true).unwrap(), ids);
                assert_eq!(tokenizer.decode(&ids, true).unwrap(), decoded, "{}: {text:?}", directory.display());
            }
        }
    }
}

#[test]
fn pairs_are_cut_and_described_as_in_transformers() {
    for directory in directories() {
        let [tokenizer, _] = tokenizers(&directory);
        for Pair { a, b, limit, truncation, encoding } in expected(&directory).pairs {
            let place = format!("{}: {a:?} {b:?} {limit:?} {truncation}", directory.display());
            let truncation = match truncation.as_str() {
                "longest_first" => Truncation::LongestFirst,
                "only_first" => Truncation::OnlyFirst,
                _ => Truncation::OnlySecond,
            };
            let found = tokenizer.encode_pair(&a, Some(&b), limit, truncation);
            let Some(encoding) = encoding else {
                assert!(matches!(found, Err(Error::Limit { .. })), "{place}: {found:?}");
                continue;
            };
            let whole = tokenizer.encode_pair(&a, Some(&b), None, truncation).unwrap();
            assert_eq!(found.unwrap(), encoding.encoded(whole.ids.len() - encoding.ids.len()), "{place}");
        }
    }
}

#[test]
fn windows_overlap_as_in_transformers() {
    for directory in directories() {
        let [tokenizer, _] = tokenizers(&directory);
        for Windows { question, context, max_length, stride, encodings } in expected(&directory).windows {
            let windows = tokenizer.encode_windows(&question, &context, max_length, stride).unwrap();
            let expected: Vec<_> = encodings.iter().map(|window| window.encoded(0)).collect();
            assert_eq!(windows, expected, "{}: {question:?} {context:?}", directory.display());
        }
    }
}

#[derive(Deserialize)]
struct Translated {
    text: String,
    source: Vec<u32>,
    target: Vec<u32>,
    decoded: String,
}

#[test]
fn marian_finds_the_pieces_of_sources_and_targets_by_models_of_their_own() {
    let directory = root().with_file_name("tokenizer_marian");
    let path = found(&directory).unwrap().unwrap();
    let tokenizer = Tokenizer::load(path).unwrap();
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path().join("tokenizer.json")).unwrap();
    let again = Tokenizer::load(saved.path().join("tokenizer.json")).unwrap();
    let mut expected = object(directory.join("expected.json"));
    let expected: Vec<Translated> = serde_json::from_value(expected.remove("texts").unwrap()).unwrap();
    for tokenizer in [tokenizer, again] {
        let vocab = object(directory.join("vocab.json"));
        assert_eq!(tokenizer.vocab_size(), vocab.len());
        for (piece, id) in &vocab {
            let id = id.as_u64().unwrap() as u32;
            assert_eq!((tokenizer.token_to_id(piece), tokenizer.id_to_token(id).as_ref()), (Some(id), Some(piece)));
        }
        for Translated { text, source, target, decoded } in &expected {
            assert_eq!(&tokenizer.encode_source(text).unwrap(), source, "source {text:?}");
            assert_eq!(&tokenizer.encode_target(text).unwrap(), target, "target {text:?}");
            let found = tokenizer.decode(target, true).unwrap();
            assert_eq!(found.trim(), decoded, "{text:?}");
        }
    }
}
