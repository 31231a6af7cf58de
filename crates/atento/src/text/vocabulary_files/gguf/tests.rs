use std::path::Path;

use super::super::sentence_piece::{self, PieceKind};
use super::*;
use crate::text::Tokenizer as Loaded;

const TEXTS: [&str; 8] = [
    "Hello world.",
    "  two  spaces,   three and a tail   ",
    "\n\nlines\r\nand\ttabs \n",
    "the cats' dogs don't, I'll say we've",
    "1234567890 3.14159",
    "👩‍👩‍👧 naïve café ½",
    "日本語 العربية",
    "a\u{0}b\u{a0}d",
];

/// The pieces of a SentencePiece model as a converter writes them.
fn pieces(path: &Path, space_prefix: bool, check: impl FnOnce(&Loaded)) {
    let model = sentence_piece::read(path).unwrap();
    let number = |kind: PieceKind| match kind {
        PieceKind::Normal => 1,
        PieceKind::Control => 3,
        PieceKind::UserDefined => 4,
        PieceKind::Other => 6,
    };
    let vocabulary = Vocabulary {
        tokens: model.pieces.iter().map(|piece| piece.text.as_str()).collect(),
        types: model.pieces.iter().map(|piece| number(piece.kind)).collect(),
        model: Model::SentencePiece {
            scores: model.pieces.iter().map(|piece| piece.score).collect(),
            unk: model.unk.0 as u32,
            space_prefix,
        },
        special: vec![0, 1, 2],
        bos: Some("<s>"),
        eos: None,
    };
    check(&Loaded::from_json_bytes(&vocabulary.to_json_bytes().unwrap()).unwrap());
}

#[test]
fn pieces_with_scores_cut_text_as_sentence_piece_does() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    let path = fixtures.join("mistral/tokenizer.model");
    let expected = Loaded::load(&path).unwrap();
    pieces(&path, true, |found| {
        for text in TEXTS {
            let ids = expected.encode_ids(text, false).unwrap();
            assert_eq!(found.encode_ids(text, false).unwrap(), ids, "{text:?}");
            assert_eq!(found.decode(&ids, true).unwrap(), text);
            assert_eq!(found.encode_ids(text, true).unwrap()[1..], ids);
        }
        // A text after a special token begins with a space, as any text.
        let after = found.encode_ids("a</s>a", false).unwrap();
        let alone = found.encode_ids("a", false).unwrap();
        assert_eq!(after, [&alone[..], &[2], &alone[..]].concat());
    });
    pieces(&path, false, |found| {
        let ids = found.encode_ids("a", false).unwrap();
        assert_eq!(found.decode(&ids, true).unwrap(), "a");
        assert_eq!(found.id_to_token(ids[0]).unwrap(), "a");
    });
}

/// The words that a rule makes, where every byte is a token and so is every word of a list.
fn words(rule: &str, text: &str) -> Vec<String> {
    let letters = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut tokens: Vec<String> = letters.into_iter().map(String::from).collect();
    tokens.sort();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let vocabulary = Vocabulary {
        types: vec![1; tokens.len()],
        tokens,
        model: Model::BytePairs { merges: Vec::new(), words: rule },
        special: Vec::new(),
        bos: None,
        eos: None,
    };
    let tokenizer = tokenizers::Tokenizer::from_bytes(vocabulary.to_json_bytes().unwrap()).unwrap();
    let mut cut = tokenizers::PreTokenizedString::from(text);
    tokenizers::PreTokenizer::pre_tokenize(tokenizer.get_pre_tokenizer().unwrap(), &mut cut).unwrap();
    let splits = cut.get_splits(tokenizers::OffsetReferential::Original, tokenizers::OffsetType::Byte);
    splits.into_iter().map(|(_, (from, to), _)| text[from..to].to_owned()).collect()
}

#[test]
fn text_is_cut_into_words_by_the_rule_that_the_file_names() {
    let text = "Don't pay 12345 EUROsNow";
    assert_eq!(words("gpt-2", text), ["Don", "'t", " pay", " 12345", " EUROsNow"]);
    assert_eq!(words("default", text), words("gpt-2", text));
    assert_eq!(words("smollm", text), ["Don", "'t", " pay", " ", "1", "2", "3", "4", "5", " EUROsNow"]);
    assert_eq!(words("llama-bpe", "I'M 12345"), ["I", "'M", " ", "123", "45"]);
    assert_eq!(words("qwen2", "I'M 123"), ["I", "'M", " ", "1", "2", "3"]);
    assert_eq!(words("tekken", "EUROsNow"), ["EUROs", "Now"]);
    assert_eq!(words("qwen2", "a\n\nb"), ["a", "\n\n", "b"]);
}
