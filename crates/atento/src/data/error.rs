//! What can be wrong with data.

use std::path::PathBuf;

use super::bad_lines;
use super::lines::LineError;
use super::stream::Cursor;
use crate::{messages, text};

/// What can be wrong with a data set or with the options it is read with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read as lines of text.
    #[error(transparent)]
    Lines(#[from] LineError),
    /// A record of training data is too long to be read.
    #[error("{0}; set data.on_truncate = \"drop\" to leave it out")]
    RecordTooLong(LineError),
    /// The tokenizer failed on a sentence.
    #[error(transparent)]
    Tokenizer(#[from] text::Error),
    /// Two parallel files do not have the same number of lines.
    #[error(
        "{source_path} has {source_lines} lines and {target_path} has {target_lines}: parallel files need one line for each line of the other"
    )]
    UnequalLineCounts {
        /// The file of source sentences.
        source_path: PathBuf,
        /// Its number of lines.
        source_lines: u64,
        /// The file of target sentences.
        target_path: PathBuf,
        /// Its number of lines.
        target_lines: u64,
    },
    /// A line of a TSV file does not have the columns.
    #[error("{path}, line {line}: {found} tab-separated columns, expected {expected}")]
    Columns {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// Number of columns of the line.
        found: usize,
        /// What was expected, in words.
        expected: String,
    },
    /// A TSV file has other columns than are wanted of it.
    #[error("{path}: {problem}")]
    NoColumns {
        /// The file.
        path: PathBuf,
        /// What it has, and how to choose of it.
        problem: String,
    },
    /// A CSV file, or a record of it.
    #[error(transparent)]
    Csv(Box<super::tokens::Error>),
    /// Lines hold no pair.
    #[error("{}", bad_lines::message(place, told, *count, *things))]
    BadLines {
        /// The data set.
        place: String,
        /// The faults of the first.
        told: Vec<String>,
        /// How many there are.
        count: u64,
        /// What one and several of them are called.
        things: [&'static str; 2],
    },
    /// A line of a JSONL file has no conversation.
    #[error("{path}, line {line}: {detail}")]
    Conversation {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with its messages.
        detail: String,
    },
    /// A line of a JSONL file is no JSON.
    #[error("{path}, line {line}: not a JSON object: {detail}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What the parser found.
        detail: String,
    },
    /// A JSONL object lacks a key, or holds no text there.
    #[error("{path}, line {line}: {problem} at key {}{hint}", messages::text(key))]
    Key {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The dotted key asked for.
        key: String,
        /// "no value", or the type found instead of a string.
        problem: String,
        /// The nearest key that exists.
        hint: String,
    },
    /// A sentence is longer than the model takes and `on_truncate` is "error".
    #[error(
        "{place}: the {side} sentence has {tokens} tokens with its end token, the limit is {max_length}; \
         raise data.max_length, or set data.on_truncate = \"warn\" (cut) or \"drop\" (leave out)"
    )]
    TooLong {
        /// File and line.
        place: String,
        /// "source" or "target".
        side: &'static str,
        /// Tokens of the sentence.
        tokens: usize,
        /// Tokens allowed.
        max_length: usize,
    },
    /// An option has a value that cannot work.
    #[error("{key} = {value}: {problem}")]
    Option {
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what would do.
        problem: String,
    },
    /// A tokenizer lacks a token that batches need.
    #[error("the {side} tokenizer has no end token: declare one as eos_token in the tokenizer_config.json beside it")]
    NoEndToken {
        /// "source" or "target".
        side: &'static str,
    },
    /// Every pair was left out.
    #[error("{place}: every pair was left out:\n{report}")]
    NothingLeft {
        /// The data set.
        place: String,
        /// What happened to the pairs.
        report: String,
    },
    /// More pairs than are loaded at once for an evaluation.
    #[error("{place}: more than {limit} pairs; an evaluation set is held in memory whole, so use a smaller one")]
    TooManyPairs {
        /// The data set.
        place: String,
        /// The limit.
        limit: usize,
    },
    /// A saved position does not exist in this data set.
    #[error(
        "the saved data position (epoch {}, window {}, batch {}) does not exist: {problem}; the data or the batch options changed since it was saved",
        cursor.epoch, cursor.window, cursor.batch
    )]
    Cursor {
        /// The position.
        cursor: Cursor,
        /// Why it does not exist.
        problem: String,
    },
    /// The file changed while it was used.
    #[error("{place}: {problem}; data files must not change during a run")]
    Changed {
        /// The data set.
        place: String,
        /// How it was noticed.
        problem: String,
    },
    /// The thread that prepares batches could not be started, or ended without a result.
    #[error("the thread that prepares batches {problem}")]
    Thread {
        /// What happened to it.
        problem: String,
    },
}

impl Error {
    /// Whether the fault is that of one line, after which other lines can be read.
    pub fn is_of_one_line(&self) -> bool {
        match self {
            Self::Lines(fault) | Self::RecordTooLong(fault) => fault.is_of_one_line(),
            Self::Columns { .. } | Self::Conversation { .. } | Self::Json { .. } | Self::Key { .. } => true,
            Self::Csv(fault) => fault.is_of_bad_line(),
            _ => false,
        }
    }
}
