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

/// A copy of a directory of fixtures that may be written to.
fn copied(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn refused(path: &Path) -> String {
    Tokenizer::load(path).unwrap_err().to_string()
}

#[test]
fn a_damaged_file_is_told_by_its_name_and_never_ends_the_program() {
    let marian = root().with_file_name("tokenizer_marian");
    for directory in directories().into_iter().chain([marian]) {
        let path = found(&directory).unwrap().unwrap();
        let copy = copied(&directory);
        let path = copy.path().join(path.file_name().unwrap());
        let sound = std::fs::read(&path).unwrap();
        for cut in [0, 1, sound.len() / 3, sound.len() - 1] {
            std::fs::write(&path, &sound[..cut]).unwrap();
            // What is left of a vocabulary of lines may be one.
            if let Err(error) = Tokenizer::load(&path) {
                assert!(error.to_string().contains(&copy.path().display().to_string()), "{error}");
            } else {
                assert!(path.ends_with("vocab.txt"), "{}: cut to {cut} bytes", path.display());
            }
        }
        for at in (0..sound.len()).step_by(1 + sound.len() / 40) {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x5a;
            std::fs::write(&path, &damaged).unwrap();
            match Tokenizer::load(&path) {
                Ok(tokenizer) => drop(tokenizer.encode_ids("the Ａ cat\u{301} <s>", true)),
                Err(error) => {
                    assert!(error.to_string().contains(&copy.path().display().to_string()), "{error}");
                }
            }
        }
    }
}

#[test]
fn files_that_do_not_go_together_are_told() {
    let write = |root: &Path, name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    let fixture = |name: &str| copied(&root().join(name));
    let deberta = fixture("deberta");
    write(deberta.path(), "config.json", r#"{"model_type": "roberta"}"#);
    let message = found(deberta.path()).unwrap_err();
    assert!(message.contains("there is spm.model, but RobertaTokenizer has its vocabulary in vocab.json"), "{message}");
    write(deberta.path(), "tokenizer_config.json", r#"{"tokenizer_class": "AlbertTokenizer"}"#);
    let message = found(deberta.path()).unwrap_err();
    assert!(message.contains("how a tokenizer_class \"AlbertTokenizer\" reads it is not known"), "{message}");

    let llama = fixture("llama");
    std::fs::rename(llama.path().join("tokenizer.model"), llama.path().join("spm.model")).unwrap();
    write(llama.path(), "tokenizer_config.json", r#"{"tokenizer_class": "DebertaV2Tokenizer"}"#);
    let message = refused(&llama.path().join("spm.model"));
    assert!(message.contains("it is a BPE model, and DebertaV2Tokenizer reads Unigram"), "{message}");

    let bert = fixture("bert");
    write(bert.path(), "tokenizer_config.json", r#"{"unk_token": "[OTHER]"}"#);
    assert!(refused(&bert.path().join("vocab.txt")).contains("it does not have the token \"[OTHER]\""));
    write(bert.path(), "tokenizer_config.json", r#"{"cls_token": null}"#);
    assert!(refused(&bert.path().join("vocab.txt")).contains("`cls_token` is null"));
    write(bert.path(), "tokenizer_config.json", r#"{"do_lower_case": "yes"}"#);
    assert!(refused(&bert.path().join("vocab.txt")).contains("key `do_lower_case`"));
    write(bert.path(), "tokenizer_config.json", "{}");
    write(bert.path(), "added_tokens.json", r#"{"[X]": 7000}"#);
    let message = refused(&bert.path().join("vocab.txt"));
    assert!(message.contains("\"[X]\" is to have id 7000, but it gets id"), "{message}");

    let marian = copied(&root().with_file_name("tokenizer_marian"));
    let source = marian.path().join("source.spm");
    write(marian.path(), "vocab.json", r#"{"</s>": 0, "a": 1, "<pad>": 2}"#);
    assert!(refused(&source).contains("vocab.json: it does not have the token \"<unk>\""));
    write(marian.path(), "vocab.json", r#"{"</s>": 4000000000}"#);
    assert!(refused(&source).contains("has the id 4000000000, expected an id below"));
    write(marian.path(), "tokenizer_config.json", r#"{"separate_vocabs": true}"#);
    assert!(refused(&source).contains("have vocabularies of their own"));
    std::fs::remove_file(marian.path().join("tokenizer_config.json")).unwrap();
    std::fs::remove_file(marian.path().join("target.spm")).unwrap();
    write(marian.path(), "vocab.json", r#"{"</s>": 0, "<unk>": 1, "<pad>": 2}"#);
    assert!(refused(&source).contains("target.spm"));
}

#[test]
fn the_roles_of_an_encoder_are_those_of_its_class_where_no_file_names_them() {
    let roles = |name: &str| {
        let path = found(&root().join(name)).unwrap().unwrap();
        let (tokenizer, notes) = crate::hub::special_tokens::load_tokenizer(&path).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let named = tokenizer.special().named().map(|(_, id)| id.and_then(|id| tokenizer.id_to_token(id)));
        named.map(Option::unwrap_or_default)
    };
    // pad, eos, unk, bos, cls, sep, mask.
    assert_eq!(roles("bert"), ["[PAD]", "", "[UNK]", "", "[CLS]", "[SEP]", "[MASK]"]);
    assert_eq!(roles("deberta"), ["[PAD]", "[SEP]", "[UNK]", "[CLS]", "[CLS]", "[SEP]", "[MASK]"]);
    for name in ["roberta", "xlm-roberta"] {
        assert_eq!(roles(name), ["<pad>", "</s>", "<unk>", "<s>", "<s>", "</s>", "<mask>"], "{name}");
    }
}

#[test]
fn the_conformance_models_read_texts_and_pairs_as_recorded() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let Ok(models) = std::fs::read_dir(shared) else { return };
    let mut read = 0;
    for model in models.map(|entry| entry.unwrap().path()).filter(|path| path.join("tokenizer.json").exists()) {
        let tokenizer = Tokenizer::load(model.join("tokenizer.json")).unwrap();
        for name in ["expected.json", "expected_pairs.json"] {
            // The pairs of this model were recorded with the tokenizer.json of `bert-qa`.
            if model.ends_with("bert-cls") && name == "expected_pairs.json" {
                continue;
            }
            let recorded = object(model.join(name));
            let cases = recorded.get("cases").and_then(Value::as_array).cloned().unwrap_or_default();
            for case in cases {
                let text = |key: &str| case.get(key).and_then(Value::as_str);
                let (Some(a), Some(ids)) = (text("text").or(text("a")), case.get("input_ids")) else { continue };
                let Ok(ids) = serde_json::from_value::<Vec<u32>>(ids.clone()) else { continue };
                let found = tokenizer.encode_pair(a, text("b"), None, Truncation::default()).unwrap();
                assert_eq!(found.ids, ids, "{}: {a:?}", model.display());
                read += 1;
            }
        }
    }
    assert!(read > 0, "no case was read");
}
