//! Pieces of text to ids.

use super::Dtype;
use super::report::SplitCounts;
use crate::data::hash::hash;
use crate::text::{self, Tokenizer};

/// Tokenises pieces; shared by all cores.
pub(super) struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    pub(super) vocab_size: usize,
    pub(super) dtype: Dtype,
    /// What follows each document.
    pub(super) end: Option<u32>,
}

impl Encoder<'_> {
    /// What comes before the ids of a document, of which these are the first; `before` is the token before it. An end
    /// token that is also what begins a text stands between documents once.
    pub(super) fn start(&self, ids: &[u32], before: Option<u32>) -> &[u32] {
        let prefix = self.tokenizer.prefix_of(ids);
        match prefix {
            [start] if before == Some(*start) => &[],
            prefix => prefix,
        }
    }
}

/// A tokenised piece.
pub(super) struct Encoded {
    pub(super) ids: Vec<u32>,
    /// Of this piece; it is no document.
    pub(super) counts: SplitCounts,
    pub(super) hash: u64,
    /// Whether there is nothing but white space.
    pub(super) blank: bool,
}

impl<'a> Encoder<'a> {
    /// With `end_token`, documents end with the tokenizer's end token, if it has one.
    pub(super) fn new(tokenizer: &'a Tokenizer, end_token: bool) -> Self {
        let vocab_size = tokenizer.vocab_size();
        let end = tokenizer.special().eos.filter(|_| end_token);
        Encoder { tokenizer, vocab_size, dtype: Dtype::for_vocabulary(vocab_size), end }
    }

    /// A piece, tokenised by itself.
    pub(super) fn encode(&self, text: &str) -> Result<Encoded, text::Error> {
        let ids = self.tokenizer.encode_ids(text, false)?;
        let special = self.tokenizer.special();
        let count = |token: Option<u32>| ids.iter().filter(|&&id| Some(id) == token).count() as u64;
        let counts = SplitCounts {
            documents: 0,
            bytes: text.len() as u64,
            characters: text.chars().count() as u64,
            tokens: ids.len() as u64,
            unknown_tokens: count(self.tokenizer.unknown_id()),
            end_tokens_in_text: count(special.eos),
        };
        Ok(Encoded { counts, hash: hash(text.as_bytes()), blank: text.trim().is_empty(), ids })
    }
}
