//! What can be wrong with token files and with what they are made from.

use std::path::PathBuf;

use super::{Cursor, Dtype};
use crate::data;
use crate::data::lines::LineError;
use crate::hub::chat::ChatError;
use crate::{messages, text};

/// What is told the fault of one line, record or document: it returns the fault to end the reading, as `&mut Err` always
/// does, and `Ok` to go on without the line.
pub type OnFault<'a> = &'a mut dyn FnMut(Error) -> Result<(), Error>;

/// What can be wrong with the data of a language model or with the options it is read with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read as text.
    #[error(transparent)]
    Lines(#[from] LineError),
    /// Pairs, or the lines of a JSONL file, could not be read.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// The tokenizer failed, or could not be learned.
    #[error(transparent)]
    Tokenizer(#[from] text::Error),
    /// The tokenizer failed on a text.
    #[error("{place}: {source}")]
    Encode {
        /// The document or example.
        place: String,
        /// The tokenizer's reason.
        source: text::Error,
    },
    /// The operating system refused.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A directory holds nothing to read.
    #[error("{path}: no files in this directory (hidden ones, whose names begin with a dot, are not read)")]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// Something is no regular file.
    #[error(
        "{path}: not a regular file (a pipe, a socket or a device), which can be read once at best; write it to a file first"
    )]
    NotAFile {
        /// What it is.
        path: PathBuf,
    },
    /// A directory contains itself through a link.
    #[error("{path}: a link that leads back to a directory it lies in")]
    Loop {
        /// The link.
        path: PathBuf,
    },
    /// The place for new token files is taken.
    #[error("{path}: exists already and is not an empty directory; remove it or name another")]
    Exists {
        /// The output asked for.
        path: PathBuf,
    },
    /// A token file, or a text in memory, has no tokens.
    #[error("{path}: there are no tokens in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A text that is to be scored is one token.
    #[error("{path}: a single token leaves nothing to predict; a text needs two at least")]
    SingleToken {
        /// The file.
        path: PathBuf,
    },
    /// The size of a token file is no multiple of a token's.
    #[error(
        "{path}: {bytes} bytes are no whole number of {dtype} tokens of {} bytes each: the file is cut short, or of another dtype",
        dtype.bytes()
    )]
    OddLength {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// What it was read as.
        dtype: Dtype,
    },
    /// A token file holds less than one window.
    #[error("{path}: {tokens} tokens, a window of {block_size} needs {needed}; lower block_size or add text", needed = block_size + 1)]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its number of tokens.
        tokens: usize,
        /// Tokens of a window.
        block_size: usize,
    },
    /// An id is beyond the vocabulary.
    #[error(
        "{path}: token {position} has id {id}, the vocabulary has ids below {vocab_size}: the file was made with another tokenizer, or is of another dtype"
    )]
    IdOutOfRange {
        /// The file.
        path: PathBuf,
        /// The token's position, from 0.
        position: usize,
        /// The id found.
        id: u32,
        /// The number of ids allowed.
        vocab_size: usize,
    },
    /// The description of token files cannot be read.
    #[error("{path}: not a description of token files: {detail}")]
    NotASidecar {
        /// The `tokens.json`.
        path: PathBuf,
        /// What the parser found.
        detail: String,
    },
    /// A description says something else than is found.
    #[error("{path}: {what} is {recorded}, but {found}")]
    Contradiction {
        /// The `tokens.json`.
        path: PathBuf,
        /// The entry.
        what: String,
        /// What it says.
        recorded: String,
        /// What is there, as a clause.
        found: String,
    },
    /// A file changed between two looks at it.
    #[error("{place}: {problem}; files must not change while they are read")]
    Changed {
        /// The file or files.
        place: String,
        /// How it was noticed.
        problem: String,
    },
    /// Nothing is left to train on.
    #[error("{place}: nothing is left to train on:\n{report}")]
    NothingLeft {
        /// The sources.
        place: String,
        /// What happened to them.
        report: String,
    },
    /// A record of a CSV file is malformed.
    #[error("{path}, line {line}: {problem}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A record of a CSV file has another number of fields than the header.
    #[error("{path}, line {line}: {found} fields, the header has {expected}")]
    Fields {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// Its number of fields.
        found: usize,
        /// That of the header.
        expected: usize,
    },
    /// A CSV file holds bytes that are no text; where the record around them ends is not known.
    #[error(transparent)]
    EndsCsv(LineError),
    /// A CSV file lacks a column.
    #[error("{path}, line 1: no column {} in the header{hint}; its columns are {found}", messages::text(column))]
    Column {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The column most like it, if any is.
        hint: String,
        /// The header.
        found: String,
    },
    /// An example is longer than the model takes and `on_truncate` is "error".
    #[error(
        "{place}: the example has {tokens} tokens, a sequence has at most {limit} (block_size and its last target); \
         raise block_size, or set on_truncate = \"warn\" (cut) or \"drop\" (leave out)"
    )]
    TooLong {
        /// File and line.
        place: String,
        /// Tokens of prompt, completion and end token.
        tokens: usize,
        /// Tokens allowed.
        limit: usize,
    },
    /// A template asks for an end token that the tokenizer does not have.
    #[error(
        "{key} asks for the end token (<end>), but the tokenizer has none: declare one as eos_token in the tokenizer_config.json beside it; \
         take <end> out of the template or use another tokenizer"
    )]
    NoEndToken {
        /// The option.
        key: &'static str,
    },
    /// A conversation that the chat template refuses.
    #[error("{place}: {source}")]
    Chat {
        /// File and line.
        place: String,
        /// Why.
        source: ChatError,
    },
    /// Conversations, and nothing that says how they are written.
    #[error(
        "{place} has conversations, and the model has no chat template (chat_template.jinja, or chat_template in \
         tokenizer_config.json): name the file of one with data.chat_template"
    )]
    NoChatTemplate {
        /// The file.
        place: String,
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
    /// A saved position does not exist in this data.
    #[error(
        "the saved data position (epoch {}, index {}) does not exist: an epoch has {length}; the data or its options changed since it was saved",
        cursor.epoch, cursor.index
    )]
    Cursor {
        /// The position.
        cursor: Cursor,
        /// Windows or examples of an epoch.
        length: u64,
    },
}

impl Error {
    /// Whether the fault is that of one line, record or document, after which others can be read.
    pub fn is_of_one_line(&self) -> bool {
        match self {
            Self::Lines(fault) => fault.is_of_one_line(),
            Self::Data(fault) => fault.is_of_one_line(),
            Self::Fields { .. } | Self::Encode { .. } | Self::Chat { .. } | Self::TooLong { .. } => true,
            _ => false,
        }
    }

    /// Whether the fault is that of a line or record that holds no example.
    pub(crate) fn is_of_bad_line(&self) -> bool {
        matches!(self, Self::Lines(_) | Self::Data(_) | Self::Fields { .. }) && self.is_of_one_line()
    }

    /// Counts the fault of a line or record.
    pub(in crate::data) fn count_in(&self, lines: &mut data::LineReport) {
        match self {
            Self::Lines(fault) => lines.add_line(fault),
            Self::Data(fault) => lines.add(fault),
            _ => lines.other_columns += 1,
        }
    }

    /// The key that a JSON object lacks, where that is the fault.
    pub fn missing_key(&self) -> Option<&str> {
        match self {
            Self::Data(data::Error::Key { key, .. }) => Some(key),
            _ => None,
        }
    }

    /// Names the file and the action in which the operating system reported an error.
    pub(in crate::data) fn io(path: &std::path::Path, doing: &'static str) -> impl Fn(std::io::Error) -> Error {
        move |source| Error::Io { path: path.into(), doing, source }
    }

    /// An option that cannot work.
    pub(crate) fn option(key: &'static str, value: impl ToString, problem: impl Into<String>) -> Error {
        Error::Option { key, value: messages::cut(&value.to_string()).into_owned(), problem: problem.into() }
    }
}
