//! What can be wrong with a recipe, said so that it can be put right.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::messages;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line(PathBuf, usize),
    /// A file that leaves the setting out.
    File(PathBuf),
    /// An override, as the command line has it.
    Override(String),
    /// Nowhere: a default, or a recipe built by a program.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Place::File(path) => path.display().fmt(f),
            Place::Override(text) => f.write_str(&messages::cut(text)),
            Place::Default => f.write_str("recipe"),
        }
    }
}

/// A recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Read {
        /// The recipe.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("{place}: the recipe is not UTF-8 text; is this the right file?")]
    NotText {
        /// The first line that is not text.
        place: Place,
    },
    /// The text is not TOML.
    #[error("{place}: not valid TOML: {}", messages::cut(message))]
    Syntax {
        /// Where it stops being TOML.
        place: Place,
        /// What the parser expected.
        message: String,
    },
    /// `--set` without a key or a value.
    #[error("--set {text}: expected key=value with a dotted key, for example --set model.dropout=0.3", text = messages::cut(text))]
    Override {
        /// The override, as given.
        text: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{}`{}; valid keys {}: {}", messages::cut(key), suggestion(nearest), table_of(key), valid.join(", "))]
    UnknownKey {
        /// Where the key stands.
        place: Place,
        /// The key with its table, dotted.
        key: String,
        /// The valid key most like it, dotted.
        nearest: Option<String>,
        /// All keys of the table.
        valid: Vec<&'static str>,
    },
    /// A value of the wrong type, not among the accepted words, or out of range.
    #[error("{place}: `{key}` is {found}, expected {expected}{}", suggestion(nearest))]
    Value {
        /// Where the value stands.
        place: Place,
        /// The key with its table, dotted.
        key: String,
        /// The value found and its type.
        found: Box<str>,
        /// The values accepted.
        expected: Box<str>,
        /// The accepted word most like it.
        nearest: Option<String>,
    },
    /// Settings that cannot go together.
    #[error("{place}: {message}")]
    Conflict {
        /// Where the first of them stands.
        place: Place,
        /// Which they are and what to do.
        message: String,
    },
    /// A path of the recipe is not that of a file.
    #[error(
        "{place}: `{key}` names {}, which is {what}, expected a file: a run reads its data more than once, and again when it is resumed",
        messages::cut(value)
    )]
    NotAFile {
        /// Where the path stands.
        place: Place,
        /// The key with its table, dotted.
        key: String,
        /// The path as written.
        value: String,
        /// What is there.
        what: &'static str,
    },
    /// A file of the recipe that is not there.
    #[error("{place}: `{key}` names {}, and there is no such file; looked for {}", messages::cut(value), tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and "))]
    MissingFile {
        /// Where the path stands.
        place: Place,
        /// The key with its table, dotted.
        key: String,
        /// The path as written.
        value: String,
        /// The paths that were looked for.
        tried: Vec<PathBuf>,
    },
}

impl Error {
    /// The error of a recipe that was read from a file.
    pub(super) fn in_file(self, path: &Path) -> Self {
        match self {
            Error::Conflict { place: Place::Default, message } => {
                Error::Conflict { place: Place::File(path.to_path_buf()), message }
            }
            error => error,
        }
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |key| format!("; did you mean `{key}`?"))
}

fn table_of(key: &str) -> String {
    match key.rsplit_once('.') {
        None => "at the top of the recipe".to_string(),
        Some((table, _)) => format!("in [{}]", messages::cut(table)),
    }
}
