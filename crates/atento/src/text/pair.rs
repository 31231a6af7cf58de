//! One text or two as an encoder reads them: the tokens with the types, words and characters that they stand for, cut to a
//! length, or in windows.
//!
//! ```text
//! encode_pair      [CLS] A [SEP]      [CLS] A [SEP] B [SEP]      whatever the post-processor of tokenizer.json says
//! encode_windows   [CLS] question [SEP] a window of the context [SEP], the next window overlapping it by `stride` tokens
//! ```
//!
//! Lengths and windows are those of the fast tokenizers of Hugging Face's `transformers`, token for token: of two texts the
//! longer is cut first, and two texts that are both too long share the room, the longer one getting the odd token.
//! Truncation that is stored in tokenizer.json does not act here: the caller says what is cut.

use tokenizers::utils::truncation::TruncationDirection::Right;
use tokenizers::{Encoding, Model, OffsetType, PostProcessor, PreTokenizer};

use super::guard::guarded;
use super::{Error, Tokenizer};

/// Which text of a pair is cut where a limit demands it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// The longer one, until both are of one length; then both.
    #[default]
    LongestFirst,
    /// The first one.
    OnlyFirst,
    /// The second one.
    OnlySecond,
}

/// One text or a pair, tokenised. The lists have one entry a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedPair {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segments of the texts (`token_type_ids`), as the post-processor numbers them.
    pub type_ids: Vec<u32>,
    /// The word of its own text that a token is of; `None` for a token that was added around the texts.
    pub word_ids: Vec<Option<u32>>,
    /// The text that a token is of, 0 or 1; `None` for a token that was added around the texts.
    pub sequence_ids: Vec<Option<u8>>,
    /// The characters (not bytes) of its own text that a token stands for, `start..end`; `(0, 0)` for a token that was
    /// added around the texts.
    pub offsets: Vec<(usize, usize)>,
    /// Whether a token was added around the texts.
    pub special: Vec<bool>,
    /// Tokens of the texts that were cut off. Windows have none: together they hold the whole context.
    pub dropped: usize,
}

impl EncodedPair {
    fn of(encoding: &Encoding, ids: Vec<u32>, dropped: usize) -> Self {
        Self {
            ids,
            type_ids: encoding.get_type_ids().to_vec(),
            word_ids: encoding.get_word_ids().to_vec(),
            sequence_ids: encoding.get_sequence_ids().iter().map(|text| text.map(|text| text as u8)).collect(),
            offsets: encoding.get_offsets().to_vec(),
            special: encoding.get_special_tokens_mask().iter().map(|&mask| mask == 1).collect(),
            dropped,
        }
    }
}

impl Tokenizer {
    /// A text, or two, with the tokens that the post-processor adds around them; at most `limit` tokens in all.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; [`Error::Limit`] if nothing that may be cut is long enough.
    pub fn encode_pair(
        &self,
        a: &str,
        b: Option<&str>,
        limit: Option<usize>,
        truncation: Truncation,
    ) -> Result<EncodedPair, Error> {
        let mut first = self.encode_alone(a, 0)?;
        let mut second = b.map(|b| self.encode_alone(b, 1)).transpose()?;
        let count =
            |first: &Encoding, second: &Option<Encoding>| first.len() + second.as_ref().map_or(0, Encoding::len);
        let before = count(&first, &second);
        if let Some(limit) = limit {
            let room = self.room(limit, second.is_some())?;
            let lengths = shares(first.len(), second.as_ref().map(Encoding::len), room, truncation);
            let (a, b) = lengths.map_err(|reason| Error::Limit { limit, reason })?;
            cut(&mut first, a);
            second.iter_mut().for_each(|second| cut(second, b));
        }
        let dropped = before - count(&first, &second);
        self.around(first, second, dropped)
    }

    /// A question with each window of a context: the whole is at most `max_length` tokens, and a window begins with the
    /// last `stride` tokens of the one before.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; [`Error::Limit`] if the question leaves no room for more than `stride` tokens of context.
    pub fn encode_windows(
        &self,
        question: &str,
        context: &str,
        max_length: usize,
        stride: usize,
    ) -> Result<Vec<EncodedPair>, Error> {
        let (question, mut context) = (self.encode_alone(question, 0)?, self.encode_alone(context, 1)?);
        let room = self.room(max_length, true)?;
        let refuse = |reason: String| Error::Limit { limit: max_length, reason };
        let lengths = shares(question.len(), Some(context.len()), room, Truncation::OnlySecond);
        let (_, window) = lengths.map_err(refuse)?;
        if window < context.len() && stride >= window {
            let lower = if window > 0 { format!(", or a stride below {window}") } else { String::new() };
            return Err(refuse(format!(
                "beside a question of {} tokens a window has room for {window} of the context, and the next one is to \
                 repeat {stride} of them: it takes longer windows{lower}",
                question.len()
            )));
        }
        context.truncate(window, stride, Right);
        let more = context.take_overflowing();
        let windows = std::iter::once(context).chain(more);
        windows.map(|window| self.around(question.clone(), Some(window), 0)).collect()
    }

    /// The tokens of a text without any around it. Offsets are in characters and not yet as the post-processor has them.
    fn encode_alone(&self, text: &str, type_id: u32) -> Result<Encoding, Error> {
        guarded("encode a text", || {
            let mut text = self.inner.get_added_vocabulary().extract_and_normalize(self.inner.get_normalizer(), text);
            if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut text)?;
            }
            text.tokenize(|part| self.inner.get_model().tokenize(part.get()))?;
            text.into_encoding(None, type_id, OffsetType::Char)
        })
    }

    /// The tokens of the texts that fit beside those that are added around them.
    pub(super) fn room(&self, limit: usize, is_pair: bool) -> Result<usize, Error> {
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(is_pair));
        limit.checked_sub(added).ok_or_else(|| {
            let texts = if is_pair { "two texts" } else { "a text" };
            Error::Limit { limit, reason: format!("the tokenizer alone adds {added} tokens around {texts}") }
        })
    }

    /// With the tokens that the post-processor adds.
    pub(super) fn around(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        dropped: usize,
    ) -> Result<EncodedPair, Error> {
        let whole = guarded("add its special tokens", || self.inner.post_process(first, second, true))?;
        let ids = self.ids_of(&whole);
        self.check_rows(&ids)?;
        Ok(EncodedPair::of(&whole, ids, dropped))
    }
}

/// Keeps the first tokens.
pub(super) fn cut(encoding: &mut Encoding, length: usize) {
    encoding.truncate(length, 0, Right);
    encoding.take_overflowing();
}

/// The lengths to which a text of `first` tokens and one of `second` are cut, so that `room` tokens hold both.
fn shares(first: usize, second: Option<usize>, room: usize, truncation: Truncation) -> Result<(usize, usize), String> {
    let other = second.unwrap_or(0);
    let excess = (first + other).saturating_sub(room);
    if excess == 0 || room == 0 {
        return Ok((first.min(room), other.min(room)));
    }
    let rest = |length: usize, which: &str| match length.checked_sub(excess).filter(|rest| *rest > 0) {
        Some(rest) => Ok(rest),
        None => Err(format!(
            "{excess} tokens of the {which} text would have to be cut, and it has {length}; raise the limit, or cut the \
             other text too"
        )),
    };
    match (truncation, second) {
        (Truncation::LongestFirst, None) => Ok((room, 0)),
        (Truncation::LongestFirst, Some(_)) => {
            let shorter = first.min(other);
            let (shorter, longer) =
                if 2 * shorter > room { (room / 2, room - room / 2) } else { (shorter, room - shorter) };
            Ok(if first <= other { (shorter, longer) } else { (longer, shorter) })
        }
        (Truncation::OnlyFirst, _) => Ok((rest(first, "first")?, other)),
        (Truncation::OnlySecond, Some(_)) => Ok((first, rest(other, "second")?)),
        (Truncation::OnlySecond, None) => Err("only the second text may be cut, and there is none".into()),
    }
}
