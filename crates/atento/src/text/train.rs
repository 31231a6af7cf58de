//! Training a tokenizer from raw lines.
//!
//! The models are learned by the trainers of the `tokenizers` crate: byte-pair encoding (Sennrich,
//! Haddow and Birch 2016), WordPiece (Schuster and Nakajima 2012), unigram language model (Kudo
//! 2018). Those trainers walk hash maps seeded anew in every process, so some of what they produce
//! differs from run to run. Here the same lines and options always give the same bytes, on any
//! number of threads: words are counted and sorted first, every id that is not a merge is assigned
//! before the trainer starts, and what is left to chance is put in order afterwards (`models`).

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizers::ModelWrapper;

use super::count::{self, Alphabet, Counted};
use super::{Error, Tokenizer, models, pipeline};
use crate::data::lines::{LineReader, MAX_RECORD_BYTES};
use crate::messages;

/// How text is cut into tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Byte-pair encoding of words that carry their leading space as `▁`; text is brought to Unicode
    /// form NFC and runs of white space become one space.
    #[default]
    Bpe,
    /// GPT-2's byte-pair encoding over bytes: every text, spaces included, comes back exactly.
    ByteLevelBpe,
    /// BERT's greedy longest match, continuations marked `##`. Spaces around punctuation are lost.
    #[serde(rename = "wordpiece")]
    WordPiece,
    /// Most probable segmentation under a unigram model; spaces as for [`Kind::Bpe`].
    Unigram,
    /// One token for each character, white space included.
    Characters,
}

impl Kind {
    const SPELLINGS: [(&'static str, Kind); 5] = [
        ("bpe", Kind::Bpe),
        ("byte-level-bpe", Kind::ByteLevelBpe),
        ("wordpiece", Kind::WordPiece),
        ("unigram", Kind::Unigram),
        ("characters", Kind::Characters),
    ];

    fn spelling(self) -> &'static str {
        Kind::SPELLINGS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether characters outside the alphabet can become bytes.
    #[must_use]
    pub fn can_fall_back(self) -> bool {
        matches!(self, Kind::Bpe | Kind::Unigram | Kind::Characters)
    }
}

impl std::str::FromStr for Kind {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        if let Some((_, kind)) = Kind::SPELLINGS.iter().find(|(name, _)| *name == given) {
            return Ok(*kind);
        }
        let names = Kind::SPELLINGS.map(|(name, _)| name);
        let hint = messages::did_you_mean(given, names);
        Err(Error::UnknownKind { given: given.into(), hint, valid: names.join(", ") })
    }
}

/// What the tokens are for: decides the special tokens and what surrounds an encoded text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, the ids that M2M100 has and tools that convert such models expect; a text
    /// ends with `</s>`.
    #[default]
    Translation,
    /// `<pad>` 0, `</s>` 1, `<unk>` 2; nothing is added to a text.
    Causal,
    /// `[PAD]` 0, `[UNK]` 1, `[CLS]` 2, `[SEP]` 3, `[MASK]` 4; `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.
    Encoder,
    /// The same, where both texts of a pair have type 0, for models that know no other (RoBERTa).
    UntypedEncoder,
}

impl Purpose {
    /// Its special tokens; the position is the id.
    pub fn special_tokens(self) -> &'static [&'static str] {
        match self {
            Purpose::Translation => &["<s>", "<pad>", "</s>", "<unk>"],
            Purpose::Causal => &["<pad>", "</s>", "<unk>"],
            Purpose::Encoder | Purpose::UntypedEncoder => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        }
    }

    pub(super) fn unk(self) -> &'static str {
        match self {
            Purpose::Translation | Purpose::Causal => "<unk>",
            Purpose::Encoder | Purpose::UntypedEncoder => "[UNK]",
        }
    }
}

/// How to train a tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// How text is cut.
    pub kind: Kind,
    /// What the tokens are for.
    pub purpose: Purpose,
    /// Number of tokens aimed at, special tokens and bytes included. A small text may give fewer.
    pub vocab_size: usize,
    /// A pair seen fewer times is not merged (BPE, WordPiece); a character seen fewer times is left
    /// out (characters). A unigram model does not use it.
    pub min_frequency: u64,
    /// Whether text is lowercased first. Then it does not come back as it was.
    pub lowercase: bool,
    /// Whether a character outside the alphabet becomes the tokens of its UTF-8 bytes (256 tokens of
    /// the vocabulary) instead of the unknown token, so that every text comes back. WordPiece and byte-level BPE have no
    /// such thing; the others have it if this is left out.
    pub byte_fallback: Option<bool>,
    /// Special tokens beyond those of the purpose, in order.
    pub special_tokens: Vec<String>,
    /// Keeps only this many characters, the most frequent ones. Not for byte-level BPE.
    pub limit_alphabet: Option<usize>,
    /// Keeps the most frequent characters that together make up this share of the text; 1 keeps all. Not for byte-level
    /// BPE.
    pub character_coverage: f64,
}

impl Default for TrainOptions {
    /// Byte pairs for translation: 8,000 entries, pieces that occur twice, every character of the text.
    fn default() -> Self {
        TrainOptions {
            kind: Kind::Bpe,
            purpose: Purpose::Translation,
            vocab_size: 8000,
            min_frequency: 2,
            lowercase: false,
            byte_fallback: None,
            special_tokens: Vec::new(),
            limit_alphabet: None,
            character_coverage: 1.0,
        }
    }
}

impl TrainOptions {
    /// For a language model over characters: the three special tokens of [`Purpose::Causal`] and a token for every
    /// character of the text, however rare, and for the line end; no bytes. Tiny Shakespeare, with its 65 characters,
    /// gets 68 tokens. A character that the text lacks becomes `<unk>` later.
    pub fn characters() -> Self {
        TrainOptions {
            kind: Kind::Characters,
            purpose: Purpose::Causal,
            vocab_size: 1 << 16,
            min_frequency: 1,
            byte_fallback: Some(false),
            ..TrainOptions::default()
        }
    }

    /// Whether characters outside the alphabet become bytes.
    pub(super) fn falls_back_to_bytes(&self) -> bool {
        self.kind.can_fall_back() && self.byte_fallback.unwrap_or(true)
    }

    /// Refuses numbers out of range, and settings that say nothing of the kind.
    fn check(&self) -> Result<(), Error> {
        let wrong = |key, found: String, expected: String| Err(Error::BadNumber { key, found, expected });
        if !(1..=LARGEST_VOCABULARY).contains(&self.vocab_size) {
            let expected = format!("a whole number from 1 to {LARGEST_VOCABULARY}");
            return wrong("vocab_size", self.vocab_size.to_string(), expected);
        }
        if !(self.character_coverage > 0.0 && self.character_coverage <= 1.0) {
            let found = self.character_coverage.to_string();
            return wrong("character_coverage", found, "a share above 0, at most 1".into());
        }
        if self.limit_alphabet == Some(0) {
            return wrong("limit_alphabet", "0".into(), "a whole number from 1 up".into());
        }
        let bytes = "its alphabet is the 256 bytes";
        let refused = match self.kind {
            Kind::ByteLevelBpe if self.limit_alphabet.is_some() => Some(("limit_alphabet", bytes)),
            Kind::ByteLevelBpe if self.character_coverage < 1.0 => Some(("character_coverage", bytes)),
            Kind::ByteLevelBpe if self.byte_fallback == Some(true) => Some(("byte_fallback", bytes)),
            Kind::WordPiece if self.byte_fallback == Some(true) => {
                Some(("byte_fallback", "a word with an unknown character becomes [UNK]"))
            }
            _ => None,
        };
        match refused {
            Some((key, reason)) => Err(Error::NotOfThisKind { key, kind: self.kind.spelling(), reason }),
            None => Ok(()),
        }
    }

    /// All special tokens, in the order of their ids.
    fn all_special_tokens(&self) -> Result<Vec<String>, Error> {
        let mut all: Vec<String> = self.purpose.special_tokens().iter().map(|t| (*t).to_owned()).collect();
        for token in &self.special_tokens {
            let problem = match token {
                token if token.is_empty() => "empty",
                token if all.contains(token) => "named twice",
                _ => {
                    all.push(token.clone());
                    continue;
                }
            };
            return Err(Error::BadSpecialToken { token: token.clone(), problem });
        }
        Ok(all)
    }
}

/// The largest vocabulary that is learned.
pub const LARGEST_VOCABULARY: usize = 4_000_000;

/// A tokenizer just learned.
#[derive(Debug)]
pub struct Learned {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// What of the text it was not learned from as it stands there, a sentence each.
    pub notes: Vec<String>,
}

impl From<Tokenizer> for Learned {
    fn from(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, notes: Vec::new() }
    }
}

impl Learned {
    fn notes(cut: u64, alphabet: &Alphabet, options: &TrainOptions) -> Vec<String> {
        let mut notes = Vec::new();
        if cut > 0 {
            let (longest, piece) = (count::LONGEST_WORD, count::PIECE);
            let words = if cut == 1 { "1 word".into() } else { format!("{cut} words") };
            notes.push(format!(
                "{words} of more than {longest} characters: the tokenizer was learned from pieces of {piece} characters"
            ));
        }
        let Alphabet { left_out, occurrences, total, .. } = *alphabet;
        if left_out > 0 {
            let become_ = if options.falls_back_to_bytes() { "bytes" } else { options.purpose.unk() };
            let share = 100.0 * occurrences as f64 / total.max(1) as f64;
            notes.push(format!(
                "{left_out} characters, {share:.3} % of the text, are outside the tokenizer's alphabet: they become {become_}"
            ));
        }
        notes
    }
}

impl Tokenizer {
    /// Trains a tokenizer on lines of text, whose errors (`E`) are passed on. Memory grows with the
    /// number of distinct words.
    ///
    /// # Errors
    /// The first error of `lines`; [`Error::EmptyCorpus`]; [`Error::VocabularyTooSmall`], with the
    /// settings that would help; [`Error::BadSpecialToken`]; [`Error::BadNumber`]; [`Error::NotOfThisKind`].
    pub fn learn<E: From<Error>>(
        lines: impl IntoIterator<Item = Result<String, E>>,
        options: &TrainOptions,
    ) -> Result<Learned, E> {
        options.check()?;
        let special = options.all_special_tokens()?;
        let Counted { words, cut } = count::words(lines, options)?;
        let (model, alphabet) = models::train(words, &special, options)?;
        let tokenizer = Self::finish(model, &special, options)?;
        Ok(Learned { tokenizer, notes: Learned::notes(cut, &alphabet, options) })
    }

    /// [`learn`](Self::learn) without its notes.
    ///
    /// # Errors
    /// As `learn`.
    pub fn train<E: From<Error>>(
        lines: impl IntoIterator<Item = Result<String, E>>,
        options: &TrainOptions,
    ) -> Result<Self, E> {
        Ok(Self::learn(lines, options)?.tokenizer)
    }

    /// Puts a trained model to use through its own file format, so that a tokenizer just trained and
    /// the same one loaded later cannot differ.
    fn finish(model: ModelWrapper, special: &[String], options: &TrainOptions) -> Result<Self, Error> {
        let assembled = pipeline::assemble(model, special, options)?;
        let json = assembled.to_string(false).map_err(Error::engine("serialise itself"))?;
        Self::from_json_bytes(json.as_bytes())
    }

    /// Learns one tokenizer from the lines of several files together, each plain or gzip. For pairs in
    /// one file, see [`ParallelSource::sentences`](crate::data::ParallelSource::sentences).
    ///
    /// # Errors
    /// As [`learn`](Self::learn); errors of reading name the file and the line.
    pub fn learn_from_files<P: AsRef<Path>>(paths: &[P], options: &TrainOptions) -> Result<Learned, Error> {
        let mut readers = Vec::new();
        for path in paths {
            readers.push(LineReader::open(path)?.with_limit(MAX_RECORD_BYTES));
        }
        Self::learn(readers.into_iter().flatten().map(|line| line.map_err(Error::from)), options)
    }
}
