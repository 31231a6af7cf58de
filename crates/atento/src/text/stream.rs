//! Ids in, text out, one id at a time: what a person watches while a model writes.
//!
//! Text is given out as soon as no later id can change it, never half a character, and all of it together is
//! [`Tokenizer::decode`] of all ids, to the byte. The work of an id does not grow with the ids before it.
//!
//! * Byte-level vocabularies (GPT-2): a token is a string of bytes, so bytes are gathered and whole characters given
//!   out. Bytes that are no UTF-8 become U+FFFD by the rule of [`String::from_utf8_lossy`], which does not depend on
//!   where the bytes are cut as long as no cut falls into a character.
//! * All others: the ids since the last text are decoded behind the ids of that text, which give them the neighbour
//!   they need (a space is only written between words). Byte tokens (`<0xE2>`) wait for the end of their run: a run
//!   that is no UTF-8 as a whole decodes to U+FFFD throughout.

use tokenizers::DecoderWrapper;

use super::{Error, Tokenizer};

/// Decodes a growing sequence of ids.
#[derive(Clone, Debug)]
pub struct TextStream<'t> {
    tokenizer: &'t Tokenizer,
    skip_special: bool,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The bytes of a character that is not whole yet.
    Bytes(Vec<u8>),
    /// `ids` without text of their own yet, behind the `n_context` ids that decode to `before`.
    Window { ids: Vec<u32>, n_context: usize, before: String },
}

impl<'t> TextStream<'t> {
    /// A stream at its beginning; `skip_special` leaves special tokens out, as in [`Tokenizer::decode`].
    #[must_use]
    pub fn new(tokenizer: &'t Tokenizer, skip_special: bool) -> Self {
        let state = match tokenizer.inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => State::Bytes(Vec::new()),
            _ => State::Window { ids: Vec::new(), n_context: 0, before: String::new() },
        };
        TextStream { tokenizer, skip_special, state }
    }

    /// Appends to `out` the text that `id` completes, often none. An id outside the vocabulary contributes nothing.
    ///
    /// # Errors
    /// [`Error::Engine`] from the tokenizer's decoder.
    pub fn push(&mut self, id: u32, out: &mut String) -> Result<(), Error> {
        let Some(token) = self.tokenizer.id_to_token(id) else {
            return Ok(());
        };
        if self.skip_special && self.tokenizer.inner.get_added_vocabulary().is_special_token(&token) {
            return Ok(());
        }
        match &mut self.state {
            State::Bytes(pending) => {
                append_bytes(&token, pending);
                let whole = pending.len() - unfinished(pending);
                out.push_str(&String::from_utf8_lossy(&pending[..whole]));
                pending.drain(..whole);
            }
            State::Window { ids, n_context, before } => {
                ids.push(id);
                if is_byte_token(&token) {
                    return Ok(());
                }
                let text = self.tokenizer.decode(ids, self.skip_special)?;
                if text.len() <= before.len() || text.ends_with(char::REPLACEMENT_CHARACTER) {
                    return Ok(());
                }
                out.push_str(after_common_prefix(before, &text));
                ids.drain(..*n_context);
                *n_context = ids.len();
                *before = self.tokenizer.decode(ids, self.skip_special)?;
            }
        }
        Ok(())
    }

    /// Appends to `out` what was held back, because no id follows; the stream is then at its beginning again.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self, out: &mut String) -> Result<(), Error> {
        match &mut self.state {
            State::Bytes(pending) => {
                out.push_str(&String::from_utf8_lossy(pending));
                pending.clear();
            }
            State::Window { ids, n_context, before } => {
                let text = self.tokenizer.decode(ids, self.skip_special)?;
                out.push_str(after_common_prefix(before, &text));
                (*ids, *n_context, *before) = (Vec::new(), 0, String::new());
            }
        }
        Ok(())
    }
}

/// How many bytes at the end begin a character without finishing it: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    let begins = |&n: &usize| {
        let tail = std::str::from_utf8(&bytes[bytes.len() - n..]);
        tail.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(begins).unwrap_or(0)
}

/// The bytes a token of a byte-level vocabulary stands for. GPT-2 spells a printable Latin-1 byte as its character
/// and the other 68, in ascending order, as the characters from U+0100. A token with any other character, such as an
/// added one, stands for its own UTF-8.
fn append_bytes(token: &str, out: &mut Vec<u8>) {
    let start = out.len();
    for character in token.chars() {
        let Some(byte) = byte_of(character) else {
            out.truncate(start);
            out.extend_from_slice(token.as_bytes());
            return;
        };
        out.push(byte);
    }
}

fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7F),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// Whether a token of a vocabulary with byte fallback stands for a single byte.
fn is_byte_token(token: &str) -> bool {
    let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    hex.is_some_and(|hex| hex.len() == 2 && u8::from_str_radix(hex, 16).is_ok())
}

/// `text` without the beginning it shares with `before`.
pub(super) fn after_common_prefix<'a>(before: &str, text: &'a str) -> &'a str {
    let same = before.chars().zip(text.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    &text[same..]
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::text::{Kind, TrainOptions};

    fn train(kind: Kind) -> Tokenizer {
        let lines = ["wie schön ist das Haus", "straße, über. the thing's end", "naïve 東京 déjà"];
        let options = TrainOptions { kind, vocab_size: 420, ..TrainOptions::default() };
        Tokenizer::train::<Error>(lines.iter().map(|line| Ok((*line).to_owned())), &options).unwrap()
    }

    static BYTE_LEVEL: LazyLock<Tokenizer> = LazyLock::new(|| train(Kind::ByteLevelBpe));
    static OTHERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        [Kind::Bpe, Kind::WordPiece, Kind::Unigram, Kind::Characters].into_iter().map(train).collect()
    });

    fn increments(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Vec<String> {
        let mut stream = TextStream::new(tokenizer, skip_special);
        let mut pieces: Vec<String> = Vec::new();
        for &id in ids {
            let mut piece = String::new();
            stream.push(id, &mut piece).unwrap();
            pieces.push(piece);
        }
        let mut rest = String::new();
        stream.finish(&mut rest).unwrap();
        pieces.push(rest);
        pieces
    }

    #[test]
    fn every_byte_has_the_character_that_the_tokenizers_crate_gives_it() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert_eq!(alphabet.len(), 256);
        let mut bytes: Vec<u8> = alphabet.into_iter().map(|character| byte_of(character).unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        for (character, byte) in [('Ġ', b' '), ('Ċ', b'\n'), ('a', b'a'), ('Ń', 0xAD), ('ł', 0xA0), ('ġ', 0x7F)] {
            assert_eq!(byte_of(character), Some(byte));
        }
        assert_eq!(byte_of('東'), None);
    }

    #[test]
    fn a_character_spread_over_tokens_comes_out_whole_with_its_last_token() {
        let tokenizer = &*BYTE_LEVEL;
        let ids = tokenizer.encode_ids("€", false).unwrap();
        assert_eq!(ids.len(), 3, "one token a byte");
        assert_eq!(increments(tokenizer, &ids, true), ["", "", "€", ""]);
        assert_eq!(increments(tokenizer, &ids[..2], true), ["", "", "\u{FFFD}"]);
    }

    #[test]
    fn text_is_not_held_back_longer_than_its_characters_need() {
        let tokenizer = &*BYTE_LEVEL;
        let ids = tokenizer.encode_ids("the thing's end", false).unwrap();
        let pieces = increments(tokenizer, &ids, true);
        assert!(pieces[..ids.len()].iter().all(|piece| !piece.is_empty()), "{pieces:?}");
    }

    proptest! {
        #[test]
        fn increments_concatenate_to_the_text_of_any_ids(
            ids in prop::collection::vec(0u32..440, 0..40),
            skip_special: bool,
        ) {
            for tokenizer in OTHERS.iter().chain([&*BYTE_LEVEL]) {
                let whole = tokenizer.decode(&ids, skip_special).unwrap();
                prop_assert_eq!(increments(tokenizer, &ids, skip_special).concat(), whole);
            }
        }

        #[test]
        fn increments_concatenate_to_any_text(text in any::<String>()) {
            let tokenizer = &*BYTE_LEVEL;
            let ids = tokenizer.encode_ids(&text, false).unwrap();
            prop_assert_eq!(increments(tokenizer, &ids, true).concat(), text);
        }
    }
}
