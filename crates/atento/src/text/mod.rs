//! Text to token ids and back: [`Tokenizer`] wraps the `tokenizers` crate, [`TrainOptions`] makes a
//! new one from raw lines. Files are Hugging Face's `tokenizer.json`, in and out, and, in, those of tokenizers that have none:
//! [`vocabulary_files`] lists them.

mod affixes;
mod count;
pub mod fit;
mod guard;
#[cfg(test)]
mod learn_tests;
mod models;
pub mod pair;
mod pipeline;
pub mod roles;
pub mod saved;
mod sentence;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tokenizer;
pub mod train;
pub mod unknown;
mod vocabulary;
pub mod vocabulary_files;
pub mod words;

use std::path::PathBuf;

use crate::data::lines::LineError;
use crate::messages;

pub use pair::{EncodedPair, Truncation};
pub use roles::{Roles, SpecialIds, TargetStart};
pub use stream::TextStream;
pub use tokenizer::{Encoding, Tokenizer};
pub use train::{Kind, Learned, Purpose, TrainOptions};
pub use unknown::Unknowns;
pub use words::EncodedWords;

/// What can go wrong between text and token ids.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of text could not be read.
    #[error(transparent)]
    Lines(#[from] LineError),
    /// The tokenizer's file could not be opened or read.
    #[error("{path}: cannot read the tokenizer: {source}")]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The tokenizer's file could not be written.
    #[error("cannot write the tokenizer: {source}")]
    Write {
        /// Which file, and the system's reason.
        source: Box<crate::hub::Error>,
    },
    /// The bytes are no `tokenizer.json`.
    #[error("{origin}: not a tokenizer.json: {detail}")]
    NotATokenizer {
        /// The file, or "memory".
        origin: String,
        /// What the parser found.
        detail: String,
    },
    /// A file of a tokenizer that has no `tokenizer.json` is not what it should be.
    #[error("{path}: {fault}")]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The vocabulary cannot hold what every text of this kind needs.
    #[error(
        "vocab_size = {vocab_size} is too small: {special} special tokens, {bytes} bytes and an alphabet of {alphabet} \
         characters need at least {needed}; {advice}"
    )]
    VocabularyTooSmall {
        /// The size asked for.
        vocab_size: usize,
        /// The smallest size that would do.
        needed: usize,
        /// Special tokens of the purpose and the options.
        special: usize,
        /// Byte tokens of the byte fallback.
        bytes: usize,
        /// Distinct characters of the text that are kept.
        alphabet: usize,
        /// The settings that would help.
        advice: String,
    },
    /// A number that no tokenizer can have.
    #[error("{key} = {found}, expected {expected}")]
    BadNumber {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// The values accepted.
        expected: String,
    },
    /// A setting that says nothing of this kind of tokenizer.
    #[error("{key} has no meaning for a tokenizer of the kind {kind:?}: {reason}")]
    NotOfThisKind {
        /// The setting.
        key: &'static str,
        /// The kind.
        kind: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// There was not one word to learn from.
    #[error("no text to train a tokenizer on: every line is empty or white space")]
    EmptyCorpus,
    /// A special token is empty or given twice.
    #[error(
        "special_tokens: {} is {problem}; each special token must be non-empty and named once",
        messages::text(token)
    )]
    BadSpecialToken {
        /// The token as given.
        token: String,
        /// "empty" or "named twice".
        problem: &'static str,
    },
    /// A tokenizer kind that does not exist.
    #[error("unknown tokenizer kind {}{hint}; one of: {valid}", messages::text(given))]
    UnknownKind {
        /// The spelling found.
        given: String,
        /// The nearest valid spelling, if one is near.
        hint: String,
        /// All valid spellings.
        valid: String,
    },
    /// A token has no row in the table of the model that is to read it.
    #[error(
        "the text has the token `{token}` (id {id}), but the model's table has {rows} rows and none for it: take the token \
         out of the text, or use the tokenizer that the model was trained with"
    )]
    NoRow {
        /// The vocabulary's spelling of the token.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// A target would be marked as a text of the source's language.
    #[error(
        "the target's language is not declared: the tokenizer would mark the target with {token}, the token of the \
         source's language; set forced_bos_token_id in generation_config.json, or tgt_lang in tokenizer_config.json"
    )]
    TargetLanguage {
        /// The token of the source's language.
        token: String,
    },
    /// Texts that cannot be cut to the length that is asked for.
    #[error("at most {limit} tokens: {reason}")]
    Limit {
        /// The largest number of tokens.
        limit: usize,
        /// Why it cannot be kept.
        reason: String,
    },
    /// The `tokenizers` crate refused.
    #[error("the tokenizer failed to {action}: {detail}")]
    Engine {
        /// What was being done.
        action: &'static str,
        /// The crate's own message.
        detail: String,
    },
}

impl Error {
    /// Names the action in which the `tokenizers` crate reported an error.
    pub(crate) fn engine(action: &'static str) -> impl Fn(tokenizers::Error) -> Error {
        move |detail| Error::Engine { action, detail: detail.to_string() }
    }
}
