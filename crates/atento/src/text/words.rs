//! Sentences that are split into words already, as a model of labels of tokens reads them.
//!
//! Each word is tokenised by itself, as the fast tokenizers of Hugging Face's `transformers` do with
//! `is_split_into_words=True`. A byte-level tokenizer writes the space before a word into its first token; the words get
//! that space whatever `add_prefix_space` of the tokenizer says, as `transformers` demands of such a tokenizer.

use std::ops::Range;

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Encoding, Model, OffsetType, PreTokenizer};

use super::guard::guarded;
use super::{EncodedPair, Error, Tokenizer};

/// The words of a sentence, tokenised one by one.
#[derive(Clone, Debug)]
pub struct EncodedWords {
    words: Vec<Encoding>,
}

impl EncodedWords {
    /// How many tokens each word has; none for a word of characters that the tokenizer leaves out.
    #[must_use]
    pub fn lengths(&self) -> Vec<usize> {
        self.words.iter().map(Encoding::len).collect()
    }
}

impl Tokenizer {
    /// The tokens of words, without any around them.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_words<S: AsRef<str>>(&self, words: &[S]) -> Result<EncodedWords, Error> {
        let with_space = match self.inner.get_pre_tokenizer() {
            Some(PreTokenizerWrapper::ByteLevel(level)) => {
                let level: ByteLevel = *level;
                Some(level.add_prefix_space(true).into())
            }
            _ => None,
        };
        let pre_tokenizer: Option<&PreTokenizerWrapper> = with_space.as_ref().or(self.inner.get_pre_tokenizer());
        let encode = |(number, word): (usize, &S)| {
            let (added, normalizer) = (self.inner.get_added_vocabulary(), self.inner.get_normalizer());
            let mut text = added.extract_and_normalize(normalizer, word.as_ref());
            if let Some(pre_tokenizer) = pre_tokenizer {
                pre_tokenizer.pre_tokenize(&mut text)?;
            }
            text.tokenize(|part| self.inner.get_model().tokenize(part.get()))?;
            text.into_encoding(Some(number as u32), 0, OffsetType::Char)
        };
        let words = guarded("encode words", || words.iter().enumerate().map(encode).collect::<Result<_, _>>())?;
        Ok(EncodedWords { words })
    }

    /// Some of the words as one text with the tokens that the post-processor adds around it, `limit` tokens in all at most:
    /// what is beyond is cut off. Word ids are those of the sentence; offsets are within a word, before which there may be a
    /// space.
    ///
    /// # Errors
    /// The tokenizer alone adds more tokens than the limit; a token beyond the model's table.
    pub fn surround_words(
        &self,
        words: &EncodedWords,
        range: Range<usize>,
        limit: usize,
    ) -> Result<EncodedPair, Error> {
        let room = self.room(limit, false)?;
        let mut text = Encoding::merge(words.words[range].iter().cloned(), false);
        let dropped = text.len().saturating_sub(room);
        super::pair::cut(&mut text, room);
        self.around(text, None, dropped)
    }

    /// The tokens that fit beside those that the post-processor adds around a text of at most `limit` tokens.
    ///
    /// # Errors
    /// There is no room.
    pub fn room_for_words(&self, limit: usize) -> Result<usize, Error> {
        match self.room(limit, false)? {
            0 => Err(Error::Limit { limit, reason: "there is no room for a word".into() }),
            room => Ok(room),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn ids_and_words_are_those_of_the_reference() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let expected = std::fs::read(fixtures.join("tokenizer_words/expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        let kinds = expected.as_object().unwrap();
        assert_eq!(kinds.len(), 5);
        for (kind, cases) in kinds {
            let dir = fixtures.join("tokenizers").join(kind);
            let file = ["vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model"].map(|name| dir.join(name));
            let tokenizer = Tokenizer::load(file.iter().find(|path| path.exists()).unwrap()).unwrap();
            for case in cases.as_array().unwrap() {
                let words: Vec<String> = serde_json::from_value(case["words"].clone()).unwrap();
                let limit = case["limit"].as_u64().unwrap() as usize;
                let encoded = tokenizer.encode_words(&words).unwrap();
                let found = tokenizer.surround_words(&encoded, 0..words.len(), limit).unwrap();
                let found = serde_json::json!({
                    "ids": found.ids, "word_ids": found.word_ids, "special": found.special,
                });
                for (key, found) in found.as_object().unwrap() {
                    assert_eq!(found, &case[key], "{kind}: {key} of {words:?}");
                }
            }
        }
    }

    #[test]
    fn some_of_the_words_keep_their_numbers_and_what_is_beyond_the_limit_is_cut_off() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers/bert");
        let tokenizer = Tokenizer::load(dir.join("vocab.txt")).unwrap();
        let words = tokenizer.encode_words(&["the", "dog", "the", "cat"]).unwrap();
        assert_eq!(words.lengths(), [1, 3, 1, 2]);
        let part = tokenizer.surround_words(&words, 1..4, 6).unwrap();
        let expected = vec![None, Some(1), Some(1), Some(1), Some(2), None];
        assert_eq!((part.word_ids, part.dropped), (expected, 2));
        assert_eq!(tokenizer.room_for_words(3).unwrap(), 1);
        assert!(tokenizer.room_for_words(2).is_err());
    }
}
