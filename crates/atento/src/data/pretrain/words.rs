//! Sentences to tokens, and which tokens begin words.
//!
//! A token begins a word where the tokenizer's word ids change (its pre-tokenizer cuts there), or where it begins with
//! white space or follows some that no token has. The second rule finds the words of tokenizers that have no pre-tokenizer, or one that cuts
//! nothing, as some of SentencePiece's; with WordPiece and byte-level pairs it agrees with the first.
//!
//! WordPiece tokenizers that are shaped as BERT's cut at every space and look at each word by itself. Their words are
//! therefore tokenised once and remembered; a text is looked up word by word. A tokenizer with any part that could look
//! beyond a space is given whole sentences.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::Error;
use super::markers::{self, Vocabulary};
use super::sentences::sentences;
use crate::data::hash::hash;
use crate::data::tokens;
use crate::text::{self, Tokenizer};

/// Words that all threads together remember, at about 60 bytes each, and the longest of them in bytes.
const MOST_WORDS: usize = 1 << 19;
const LONGEST_WORD: usize = 23;
/// Marks a remembered token that begins a word; ids are below.
const START: u32 = 1 << 31;
/// Marks that are looked up apart from the word that they follow.
const MARKS: [char; 6] = ['.', ',', ';', ':', '!', '?'];

/// Tokens with the beginnings of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// Whether each begins a word.
    pub(super) starts: Vec<bool>,
}

/// A tokenised piece of a document.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) tokens: Tokens,
    /// Tokens of each sentence that has any.
    pub(super) lengths: Vec<u32>,
    /// Tokens that are special because the text spells them out, or has what the vocabulary lacks.
    pub(super) special: u64,
    pub(super) unknown: u64,
    pub(super) characters: u64,
}

/// Tokenises pieces; shared by all cores.
pub(super) struct Encoder<'a> {
    engine: tokenizers::Tokenizer,
    vocabulary: &'a Vocabulary,
    unknown: Option<u32>,
    /// The words of each thread, where words can be tokenised one by one.
    words: Vec<Mutex<Words>>,
    /// Whether each of [`MARKS`] is a word by itself.
    marks_are_apart: bool,
}

/// Words that were tokenised before.
#[derive(Default)]
struct Words {
    /// Where the tokens of each lie, and how many there are.
    places: HashMap<Key, (u32, u32)>,
    /// Ids, with [`START`] where a word begins.
    tokens: Vec<u32>,
}

/// A word and its length: where the table has it, it is compared in place.
type Key = [u8; LONGEST_WORD + 1];

fn key_of(word: &str) -> Option<Key> {
    let mut key = [0; LONGEST_WORD + 1];
    key[..LONGEST_WORD].get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    key[LONGEST_WORD] = word.len() as u8;
    Some(key)
}

impl<'a> Encoder<'a> {
    pub(super) fn new(tokenizer: &Tokenizer, vocabulary: &'a Vocabulary) -> Result<Self, Error> {
        let json = tokenizer.to_json_bytes().map_err(tokens::Error::from)?;
        let parts: Value = serde_json::from_slice(&json).unwrap_or_default();
        let threads = if words_are_apart(&parts) { rayon::current_num_threads() } else { 0 };
        let words = (0..threads).map(|_| Mutex::default()).collect();
        let (engine, unknown) = (markers::engine(tokenizer)?, tokenizer.unknown_id());
        Ok(Encoder { engine, vocabulary, unknown, words, marks_are_apart: marks_are_apart(&parts) })
    }

    /// The tokens of all sentences of a piece.
    pub(super) fn encode(&self, text: &str, by_ends: bool) -> Result<Encoded, text::Error> {
        let mut encoded = Encoded { characters: text.chars().count() as u64, ..Encoded::default() };
        for sentence in sentences(text, by_ends) {
            let before = encoded.tokens.ids.len();
            self.sentence(sentence, &mut encoded.tokens)?;
            let length = encoded.tokens.ids.len() - before;
            // A sentence of characters that the tokenizer leaves out has no tokens.
            if length > 0 {
                encoded.lengths.push(length as u32);
                encoded.tokens.starts[before] = true;
            }
        }
        let count = |is: &dyn Fn(u32) -> bool| encoded.tokens.ids.iter().filter(|&&id| is(id)).count() as u64;
        encoded.special = count(&|id| self.vocabulary.is_special(id));
        encoded.unknown = count(&|id| Some(id) == self.unknown);
        Ok(encoded)
    }

    /// Adds the tokens of a sentence.
    fn sentence(&self, text: &str, out: &mut Tokens) -> Result<(), text::Error> {
        if self.words.is_empty() {
            return self.tokenise(text, out);
        }
        let thread = rayon::current_thread_index().unwrap_or(0) % self.words.len();
        let mut known = self.words[thread].lock().unwrap_or_else(PoisonError::into_inner);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (word, mark) = if self.marks_are_apart { without_mark(word) } else { (word, "") };
            self.word(word, &mut known, out)?;
            if !mark.is_empty() {
                self.word(mark, &mut known, out)?;
            }
        }
        Ok(())
    }

    /// Adds the tokens of a word.
    fn word(&self, word: &str, known: &mut Words, out: &mut Tokens) -> Result<(), text::Error> {
        let key = key_of(word);
        if let Some(&(start, count)) = key.and_then(|key| known.places.get(&key)) {
            let tokens = &known.tokens[start as usize..][..count as usize];
            out.ids.extend(tokens.iter().map(|token| token & !START));
            out.starts.extend(tokens.iter().map(|token| token & START != 0));
            return Ok(());
        }
        let before = out.ids.len();
        self.tokenise(word, out)?;
        if let Some(key) = key.filter(|_| known.places.len() < MOST_WORDS / self.words.len()) {
            let place = (known.tokens.len() as u32, (out.ids.len() - before) as u32);
            let found = out.ids[before..].iter().zip(&out.starts[before..]);
            known.tokens.extend(found.map(|(&id, &starts)| if starts { id | START } else { id }));
            known.places.insert(key, place);
        }
        Ok(())
    }

    /// Adds the tokens of a text as the library finds them.
    fn tokenise(&self, text: &str, out: &mut Tokens) -> Result<(), text::Error> {
        let fault = |detail| text::Error::Engine { action: "encode a text", detail };
        // The library panics where the parts of a file do not go together.
        let found = panic::catch_unwind(AssertUnwindSafe(|| self.engine.encode(text, false)));
        let found = found.map_err(|_| fault("the file does not go with this text".to_owned()))?;
        let found = found.map_err(|error| fault(error.to_string()))?;
        let (words, offsets) = (found.get_word_ids(), found.get_offsets());
        // Byte-level tokens may begin inside a character, where no text can be cut.
        let begins_with_space =
            |at: usize| text.get(offsets[at].0..).is_some_and(|rest| rest.starts_with(char::is_whitespace));
        let is_after_space = |at: usize| {
            let between = text.get(offsets[at - 1].1..offsets[at].0).unwrap_or_default();
            between.contains(char::is_whitespace)
        };
        out.ids.extend_from_slice(found.get_ids());
        out.starts.extend((0..found.len()).map(|at| {
            let same_word = at > 0 && words[at].is_some() && words[at] == words[at - 1];
            // Bytes of one character have the same place.
            let same_place = at > 0 && offsets[at] == offsets[at - 1];
            !same_word || (!same_place && (begins_with_space(at) || is_after_space(at)))
        }));
        Ok(())
    }

    /// What tells a piece from others.
    pub(super) fn hash(text: &str) -> u64 {
        hash(text.as_bytes())
    }
}

/// Whether no part of a tokenizer looks beyond a space: the tokens of a text are those of its words, one after the other.
fn words_are_apart(parts: &Value) -> bool {
    const NORMALIZERS: [&str; 7] = ["BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"];
    const PRE_TOKENIZERS: [&str; 3] = ["BertPreTokenizer", "Whitespace", "WhitespaceSplit"];
    let is_one_of = |part: &Value, names: &[&str]| part["type"].as_str().is_some_and(|name| names.contains(&name));
    let normalizer = &parts["normalizer"];
    let looks_at_characters = match normalizer["normalizers"].as_array() {
        Some(steps) => steps.iter().all(|step| is_one_of(step, &NORMALIZERS)),
        None => normalizer.is_null() || is_one_of(normalizer, &NORMALIZERS),
    };
    let stays_in_word = |token: &Value| {
        let reaches_out = token["lstrip"] == true || token["rstrip"] == true;
        !reaches_out && token["content"].as_str().is_some_and(|text| !text.contains(char::is_whitespace))
    };
    let added = parts["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    is_one_of(&parts["model"], &["WordPiece"])
        && is_one_of(&parts["pre_tokenizer"], &PRE_TOKENIZERS)
        && looks_at_characters
        && added.iter().all(stays_in_word)
}

/// Whether a tokenizer whose words are apart makes each of [`MARKS`] a word by itself.
fn marks_are_apart(parts: &Value) -> bool {
    let added = parts["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_mark = |token: &Value| token["content"].as_str().is_none_or(|text| text.contains(MARKS));
    parts["pre_tokenizer"]["type"] == "BertPreTokenizer" && !added.iter().any(has_mark)
}

/// A word of letters and digits and the mark behind it, if it is such a word.
fn without_mark(word: &str) -> (&str, &str) {
    match word.strip_suffix(MARKS) {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            word.split_at(rest.len())
        }
        _ => (word, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::pretrain::Markers;
    use crate::text::{Kind, Purpose, TrainOptions};

    const TEXT: &str = "The curious kitten deftly climbed the bookshelf. It wasn't afraid, was it? Grüße 1234.";

    fn tokenizer(kind: Kind) -> Tokenizer {
        let lines = std::iter::repeat_n(TEXT, 3).map(|line| Ok(line.to_owned()));
        let options = TrainOptions {
            kind,
            purpose: Purpose::Encoder,
            vocab_size: 330,
            min_frequency: 1,
            ..TrainOptions::default()
        };
        Tokenizer::train::<text::Error>(lines, &options).unwrap()
    }

    /// The words of a text: the bytes of its tokens from one beginning to the next.
    fn words(kind: Kind, text: &str) -> Vec<String> {
        let tokenizer = tokenizer(kind);
        let vocabulary = Vocabulary::new(&tokenizer, &Markers::of(&tokenizer).unwrap()).unwrap();
        let encoder = Encoder::new(&tokenizer, &vocabulary).unwrap();
        let Tokens { ids, starts } = encoder.encode(text, false).unwrap().tokens;
        let mut words: Vec<Vec<u32>> = Vec::new();
        for (id, starts) in ids.into_iter().zip(starts) {
            if starts {
                words.push(Vec::new());
            }
            words.last_mut().unwrap().push(id);
        }
        words.iter().map(|word| tokenizer.decode(word, false).unwrap().trim().to_owned()).collect()
    }

    #[test]
    fn words_are_whole_with_every_kind_of_tokenizer() {
        let text = "The kitten climbed the bookshelf";
        let plain: Vec<&str> = text.split(' ').collect();
        for kind in [Kind::WordPiece, Kind::ByteLevelBpe, Kind::Bpe, Kind::Unigram] {
            assert_eq!(words(kind, text), plain, "{kind:?}");
        }
        assert_eq!(words(Kind::WordPiece, "deftly, was it"), ["deftly", ",", "was", "it"]);
        assert_eq!(words(Kind::ByteLevelBpe, "deftly, was it"), ["deftly", ",", "was", "it"]);
        assert_eq!(words(Kind::Bpe, "deftly, was it"), ["deftly,", "was", "it"]);
        assert_eq!(words(Kind::Characters, "was it"), ["was", "it"]);
    }

    #[test]
    fn only_a_tokenizer_whose_words_are_apart_is_read_word_by_word() {
        let parts = |kind| serde_json::from_slice(&tokenizer(kind).to_json_bytes().unwrap()).unwrap();
        assert!(words_are_apart(&parts(Kind::WordPiece)));
        assert!(!words_are_apart(&parts(Kind::Bpe)) && !words_are_apart(&parts(Kind::ByteLevelBpe)));
        let with = |change: &dyn Fn(&mut Value)| {
            let mut parts = parts(Kind::WordPiece);
            change(&mut parts);
            words_are_apart(&parts)
        };
        assert!(!with(&|parts| parts["added_tokens"][4]["lstrip"] = true.into()));
        assert!(!with(&|parts| parts["added_tokens"][4]["content"] = "two words".into()));
        assert!(!with(&|parts| parts["normalizer"] = serde_json::json!({"type": "Replace"})));
        assert!(!with(&|parts| parts["pre_tokenizer"] = Value::Null));
        let mut parts: Value = parts(Kind::WordPiece);
        assert!(marks_are_apart(&parts));
        parts["added_tokens"][4]["content"] = "etc.".into();
        assert!(words_are_apart(&parts) && !marks_are_apart(&parts));
        assert_eq!(
            ["etc.", "3.5", "ü.", ".", "a?!"].map(|word| without_mark(word).0),
            ["etc", "3.5", "ü.", ".", "a?!"]
        );
    }

    proptest! {
        #[test]
        fn word_by_word_gives_the_tokens_of_the_whole(text in "[a-zA-Z ,.'ü\u{301}\u{85}\u{a0}猫\\[\\]1-3]{0,60}( \\[MASK\\])?") {
            let tokenizer = tokenizer(Kind::WordPiece);
            let vocabulary = Vocabulary::new(&tokenizer, &Markers::of(&tokenizer).unwrap()).unwrap();
            let mut encoder = Encoder::new(&tokenizer, &vocabulary).unwrap();
            prop_assert!(!encoder.words.is_empty());
            let first = encoder.encode(&text, false).unwrap().tokens;
            let again = encoder.encode(&text, false).unwrap().tokens;
            encoder.words.clear();
            let whole = encoder.encode(&text, false).unwrap().tokens;
            prop_assert_eq!(&first, &whole);
            prop_assert_eq!(&again, &whole);
            prop_assert_eq!(whole.ids, tokenizer.encode_ids(text.trim(), false).unwrap());
        }
    }
}
