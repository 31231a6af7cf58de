//! What can be wrong with pre-training data.

use std::path::{Path, PathBuf};

use super::{Cursor, Role};
use crate::data::tokens;

/// What can be wrong with the texts, the files made of them, or the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text, a token file or a setting is wrong.
    #[error(transparent)]
    Tokens(#[from] tokens::Error),
    /// The tokenizer lacks a token that every example needs.
    #[error(
        "the tokenizer has no {role} token ({purpose}): name one as {role}_token in the tokenizer_config.json beside it, or \
         learn a tokenizer with --purpose encoder",
        purpose = role.purpose()
    )]
    Marker {
        /// The token that is missing.
        role: Role,
    },
    /// The tokenizer has no token that could stand in for a word.
    #[error(
        "the tokenizer has {words} tokens that are words and not special, expected at least 2: masked words need others"
    )]
    NoWords {
        /// How many there are.
        words: usize,
    },
    /// There is no other document to take a second segment from.
    #[error(
        "{place}: there is one document, so no segment of another document can be drawn: separate documents by blank lines, \
         or learn masked words alone, or with the order of two segments, which need no other document"
    )]
    OneDocument {
        /// The texts, or the directory.
        place: String,
    },
    /// A file made earlier holds what cannot be.
    #[error("{path}: {problem}; the file is damaged or not of this directory: prepare the data again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A saved position does not exist in this data.
    #[error(
        "the saved data position (epoch {}, window {}, index {}) does not exist: {problem}; the data or its settings changed \
         since it was saved",
        cursor.epoch, cursor.window, cursor.index
    )]
    Cursor {
        /// The position.
        cursor: Cursor,
        /// What there is instead.
        problem: String,
    },
}

impl Error {
    pub(super) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Error::Damaged { path: path.into(), problem: problem.into() }
    }

    pub(super) fn option(key: &'static str, value: impl ToString, problem: impl Into<String>) -> Self {
        Error::Tokens(tokens::Error::option(key, value, problem))
    }
}
