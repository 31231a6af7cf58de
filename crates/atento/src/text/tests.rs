//! Tests of training, encoding and decoding; the last ones use real text where it is present.

use std::path::{Path, PathBuf};

use atento_kernels::philox::Rng;
use proptest::prelude::*;
use tokenizers::normalizers::NFC;
use tokenizers::{NormalizedString, Normalizer};

use super::*;

const KINDS: [Kind; 5] = [Kind::Bpe, Kind::ByteLevelBpe, Kind::WordPiece, Kind::Unigram, Kind::Characters];

/// Lines of invented words, with many ties in their counts.
fn corpus(lines: usize) -> Vec<String> {
    const PARTS: [&str; 12] = ["ha", "us", "über", "straße", "en", "ing", "th", "e", "schön", "a", "Öl", "st"];
    let mut rng = Rng::new(11, 0);
    let mut line = |_| {
        let mut word = |_| -> String {
            let n = 1 + rng.below(3);
            (0..n).map(|_| PARTS[rng.below(PARTS.len())]).collect()
        };
        let words: Vec<String> = (0..8).map(&mut word).collect();
        format!("{}, {}.", words[..4].join(" "), words[4..].join(" "))
    };
    (0..lines).map(&mut line).collect()
}

fn options(kind: Kind, vocab_size: usize) -> TrainOptions {
    TrainOptions { kind, vocab_size, ..TrainOptions::default() }
}

fn train(lines: &[String], options: &TrainOptions) -> Result<Tokenizer, Error> {
    Tokenizer::train(lines.iter().cloned().map(Ok), options)
}

fn trained(kind: Kind, vocab_size: usize) -> Tokenizer {
    train(&corpus(300), &options(kind, vocab_size)).unwrap()
}

/// What [`Kind::Bpe`] and [`Kind::Unigram`] bring text to.
fn normal(text: &str) -> String {
    let mut form = NormalizedString::from(text);
    NFC.normalize(&mut form).unwrap();
    form.get().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn through(tokenizer: &Tokenizer, text: &str) -> String {
    let ids = tokenizer.encode_ids(text, true).unwrap();
    tokenizer.decode(&ids, true).unwrap()
}

#[test]
fn every_kind_trains_the_same_bytes_on_every_run_and_number_of_threads() {
    let lines = corpus(1500);
    for kind in KINDS {
        let options = TrainOptions { limit_alphabet: (kind != Kind::ByteLevelBpe).then_some(14), ..options(kind, 430) };
        let bytes = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tokenizer = pool.install(|| train(&lines, &options)).unwrap();
            tokenizer.to_json_bytes().unwrap()
        };
        let first = bytes(1);
        for threads in [1, 2, 3, 7, 2] {
            assert!(first == bytes(threads), "{kind:?} with {threads} threads");
        }
    }
}

#[test]
fn special_tokens_have_the_ids_of_their_purpose() {
    for kind in KINDS {
        let special = trained(kind, 500).special();
        // As M2M100's: tools that convert such models rely on it.
        let ids = [special.bos, special.pad, special.eos, special.unk];
        assert_eq!(ids, [0, 1, 2, 3].map(Some), "{kind:?}");
    }
    let encoder =
        TrainOptions { purpose: Purpose::Encoder, special_tokens: vec!["[X]".into()], ..options(Kind::WordPiece, 200) };
    let tokenizer = train(&corpus(300), &encoder).unwrap();
    let special = tokenizer.special();
    assert_eq!((special.pad, special.unk, special.cls), (Some(0), Some(1), Some(2)));
    assert_eq!((special.sep, special.mask), (Some(3), Some(4)));
    assert_eq!(tokenizer.token_to_id("[X]"), Some(5));
    let tokens = tokenizer.encode("haus [MASK]", true).unwrap().tokens;
    assert_eq!([&tokens[0], &tokens[tokens.len() - 1]], ["[CLS]", "[SEP]"], "{tokens:?}");
    assert!(tokens.contains(&"[MASK]".to_owned()));
}

#[test]
fn translation_text_ends_with_the_end_token_and_causal_text_does_not() {
    let translation = trained(Kind::Bpe, 500);
    assert_eq!(translation.encode_ids("haus", true).unwrap().last(), Some(&2));
    assert_ne!(translation.encode_ids("haus", false).unwrap().last(), Some(&2));
    let causal = TrainOptions { purpose: Purpose::Causal, ..options(Kind::ByteLevelBpe, 300) };
    let causal = train(&corpus(50), &causal).unwrap();
    assert_eq!(causal.encode_ids("haus", true).unwrap(), causal.encode_ids("haus", false).unwrap());
}

#[test]
fn the_vocabulary_has_the_size_asked_for() {
    for kind in [Kind::Bpe, Kind::ByteLevelBpe, Kind::WordPiece, Kind::Unigram] {
        let tokenizer = trained(kind, 310);
        assert_eq!(tokenizer.vocab_size(), 310, "{kind:?}");
        assert!(tokenizer.id_to_token(309).is_some() && tokenizer.id_to_token(310).is_none());
    }
}

#[test]
fn offsets_are_bytes_of_the_original_text() {
    let text = "  straße   u\u{308}berhaus";
    for kind in KINDS {
        let encoding = trained(kind, 420).encode(text, true).unwrap();
        assert_eq!(encoding.ids.len(), encoding.offsets.len());
        let mut end = 0;
        for (token, &(from, to)) in encoding.tokens.iter().zip(&encoding.offsets) {
            assert!(text.get(from..to).is_some(), "{kind:?}: {token} at {from}..{to}");
            assert!(from >= end || (from, to) == (0, 0) || to == end, "{kind:?}");
            end = end.max(to);
        }
        assert_eq!(end, text.len(), "{kind:?}");
    }
}

#[test]
fn a_saved_tokenizer_loads_as_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let (before, path) = (trained(kind, 450), dir.path().join("tokenizer.json"));
        before.save(&path).unwrap();
        let after = Tokenizer::load(&path).unwrap();
        assert_eq!(before.to_json_bytes().unwrap(), after.to_json_bytes().unwrap());
        let texts = corpus(20);
        assert_eq!(before.encode_batch(&texts, true).unwrap(), after.encode_batch(&texts, true).unwrap());
        let ids = after.encode_batch(&texts, true).unwrap().into_iter().map(|e| e.ids);
        for (ids, text) in ids.zip(&texts) {
            assert_eq!(ids, before.encode_ids(text, true).unwrap(), "{kind:?}");
        }
    }
}

#[test]
fn a_character_never_seen_comes_back_through_its_bytes_or_is_unknown() {
    for kind in [Kind::Bpe, Kind::Unigram, Kind::Characters] {
        let mut options = options(kind, 420);
        let with = train(&corpus(300), &options).unwrap();
        assert_eq!(through(&with, "haus 🙂漢 st"), "haus 🙂漢 st", "{kind:?}");
        assert_eq!(with.encode_ids("🙂", false).unwrap().last(), Some(&(4 + 0x82)));
        options.byte_fallback = Some(false);
        let without = train(&corpus(300), &options).unwrap();
        assert!(without.encode_ids("haus 🙂", false).unwrap().contains(&3), "{kind:?}");
        assert_eq!(without.token_to_id("<0x41>"), None);
    }
}

#[test]
fn lowercase_keeps_umlauts() {
    for kind in KINDS {
        let options = TrainOptions { lowercase: true, ..options(kind, 500) };
        let tokenizer = train(&corpus(300), &options).unwrap();
        assert_eq!(through(&tokenizer, "ÜBER Öl"), "über öl", "{kind:?}");
    }
}

#[test]
fn a_limited_alphabet_keeps_the_most_frequent_characters() {
    let lines = ["aaa bbb zq".to_owned(), "ab ab".to_owned()];
    let options = TrainOptions {
        limit_alphabet: Some(3),
        byte_fallback: Some(false),
        min_frequency: 1,
        ..options(Kind::Bpe, 50)
    };
    let tokenizer = train(&lines, &options).unwrap();
    assert!(tokenizer.token_to_id("b").is_some() && tokenizer.token_to_id("z").is_none());
    assert_eq!(tokenizer.encode("z", false).unwrap().tokens[1], "<unk>");
}

#[test]
fn a_vocabulary_too_small_is_refused_with_the_size_that_would_do() {
    for kind in KINDS {
        let needed = match train(&corpus(50), &options(kind, 10)) {
            Err(Error::VocabularyTooSmall { needed, .. }) => needed,
            other => panic!("{kind:?}: {other:?}"),
        };
        assert!(train(&corpus(50), &options(kind, needed)).is_ok(), "{kind:?}");
        let message = train(&corpus(50), &options(kind, needed - 1)).unwrap_err().to_string();
        let named = [format!("vocab_size = {}", needed - 1), format!("at least {needed}")];
        assert!(named.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    for kind in KINDS {
        for lines in [vec![], vec![String::new(), " \t ".into()]] {
            let result = train(&lines, &options(kind, 500));
            assert!(matches!(result, Err(Error::EmptyCorpus)), "{kind:?} {lines:?}");
        }
    }
    for bad in ["", "</s>"] {
        let options = TrainOptions { special_tokens: vec![bad.into()], ..TrainOptions::default() };
        let error = train(&corpus(5), &options).unwrap_err();
        assert!(matches!(error, Error::BadSpecialToken { .. }));
    }
    let message = "byte_level_bpe".parse::<Kind>().unwrap_err().to_string();
    assert!(message.contains("(did you mean \"byte-level-bpe\"?); one of: bpe"), "{message}");
    assert_eq!("wordpiece".parse::<Kind>().unwrap(), Kind::WordPiece);
}

#[test]
fn training_files_that_are_no_text_are_named_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    std::fs::write(&good, "ein Haus\n").unwrap();
    for (bytes, expected) in [(&b"fine\n\xff\n"[..], "bad, line 2: not valid UTF-8"), (b"", "bad: the file is empty")] {
        std::fs::write(&bad, bytes).unwrap();
        let error = Tokenizer::learn_from_files(&[&good, &bad], &TrainOptions::default());
        let message = error.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    let load = || Tokenizer::load(&path).unwrap_err().to_string();
    assert!(load().contains("tokenizer.json: cannot read the tokenizer"));
    let whole = trained(Kind::Bpe, 400).to_json_bytes().unwrap();
    let cases: [&[u8]; 5] = [b"", b"{}", b"[1, 2]", b"\xff\xfd\0", &whole[..whole.len() / 2]];
    for bytes in cases {
        std::fs::write(&path, bytes).unwrap();
        assert!(load().contains("tokenizer.json: not a tokenizer.json: "), "{}", load());
    }
}

#[test]
fn truncation_and_padding_of_a_file_are_ignored_and_kept() {
    let json = trained(Kind::Bpe, 400).to_json_bytes().unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    json["truncation"] = serde_json::json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
    });
    json["padding"] = serde_json::json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"
    });
    let tokenizer = Tokenizer::from_json_bytes(json.to_string().as_bytes()).unwrap();
    let ids = tokenizer.encode_ids("haus haus haus", true).unwrap();
    assert!(ids.len() > 3 && ids.len() < 64, "{ids:?}");
    let pair = tokenizer.encode_pair("haus haus", Some("haus"), None, Truncation::default()).unwrap();
    assert!(pair.ids.len() > 3 && pair.ids.len() < 64, "{pair:?}");
    let saved: serde_json::Value = serde_json::from_slice(&tokenizer.to_json_bytes().unwrap()).unwrap();
    assert_eq!((&saved["truncation"], &saved["padding"]), (&json["truncation"], &json["padding"]));
    // They do not make it another tokenizer.
    json["truncation"] = serde_json::Value::Null;
    let other = Tokenizer::from_json_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!(other.identity().unwrap(), tokenizer.identity().unwrap());
    assert_ne!(other.to_json_bytes().unwrap(), tokenizer.to_json_bytes().unwrap());
}

#[test]
fn pieces_show_whole_characters() {
    let tokenizer = trained(Kind::ByteLevelBpe, 280);
    let ids = tokenizer.encode_ids("漢ü a🙂", true).unwrap();
    let pieces = tokenizer.decode_pieces(&ids, true).unwrap();
    let shown: Vec<&str> = pieces.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
    assert_eq!(shown, ["漢", "ü", " ", "a", "🙂"]);
    let with_end = tokenizer.decode_pieces(&ids, false).unwrap();
    assert_eq!(with_end.last().unwrap(), "</s>");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_comes_back_up_to_its_white_space(text in "[^▁]{0,30}", german in "[a-zA-ZäöüÄÖÜß ,.!?«»„“–'-]{0,60}") {
        static TOKENIZERS: std::sync::LazyLock<[Tokenizer; 2]> =
            std::sync::LazyLock::new(|| [trained(Kind::Bpe, 450), trained(Kind::Unigram, 450)]);
        for tokenizer in TOKENIZERS.iter() {
            for text in [&text, &german] {
                prop_assert_eq!(through(tokenizer, text), normal(text));
            }
        }
    }

    #[test]
    fn byte_level_text_comes_back_exactly(text in any::<String>()) {
        static TOKENIZER: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(|| trained(Kind::ByteLevelBpe, 400));
        prop_assert_eq!(through(&TOKENIZER, &text), text);
    }

    #[test]
    fn pieces_concatenate_to_the_text(text in any::<String>(), skip: bool) {
        static TOKENIZERS: std::sync::LazyLock<Vec<Tokenizer>> = std::sync::LazyLock::new(|| {
            [Kind::Bpe, Kind::ByteLevelBpe, Kind::Unigram, Kind::Characters].map(|kind| trained(kind, 430)).into()
        });
        for tokenizer in TOKENIZERS.iter() {
            let ids = tokenizer.encode_ids(&text, true).unwrap();
            let pieces = tokenizer.decode_pieces(&ids, skip).unwrap();
            prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids, skip).unwrap());
        }
    }
}

/// A folder of real data beside the repository, where there is one.
fn shared(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    Some(root.join(folder)).filter(|path| path.exists())
}

#[test]
fn all_of_multi30k_comes_back_from_a_joint_bpe() {
    let Some(data) = shared("data/multi30k") else {
        return;
    };
    let files = ["train.en.gz", "train.de.gz"].map(|name| data.join(name));
    let tokenizer = Tokenizer::learn_from_files(&files, &TrainOptions::default()).unwrap().tokenizer;
    assert_eq!(tokenizer.vocab_size(), 8000);
    let others = ["val.en.gz", "val.de.gz"].map(|name| data.join(name));
    for path in files.iter().chain(&others) {
        for line in crate::data::LineReader::open(path).unwrap() {
            let line = line.unwrap();
            assert_eq!(through(&tokenizer, &line), normal(&line));
        }
    }
}

#[test]
fn a_marian_tokenizer_loads_and_its_ids_decode() {
    let Some(model) = shared("conformance/marian") else {
        return;
    };
    let tokenizer = Tokenizer::load(model.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.special().eos, Some(1));
    assert_eq!(through(&tokenizer, "a man in the street"), "a man in the street");
}
