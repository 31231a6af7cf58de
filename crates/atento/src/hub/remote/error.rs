//! What keeps a model from being fetched, with what to do.

use std::io;
use std::path::PathBuf;

use super::Name;

/// Why a model of the Hub is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No variable and no home directory says where the cache is.
    #[error("there is no home directory to keep models of the Hugging Face Hub in: set HF_HOME to a directory")]
    NoCache,
    /// The Hub knows no such model.
    #[error("{name}: {endpoint} has no such model or revision")]
    NoSuchModel {
        /// What was asked for.
        name: Box<Name>,
        /// Whom.
        endpoint: String,
    },
    /// The Hub does not give it to whoever asks.
    #[error("{name}: {endpoint} refuses it (status {status}): {}", advice(*had_token))]
    Refused {
        /// What was asked for.
        name: Box<Name>,
        /// Whom.
        endpoint: String,
        /// The answer's status.
        status: u16,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The Hub may not be asked, and the cache does not have it.
    #[error("{name}: HF_HUB_OFFLINE is set, and the cache {} does not have it: unset it, or fetch the model first", cache.display())]
    Offline {
        /// What was asked for.
        name: Box<Name>,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// The Hub gives no answer.
    #[error("{name}: cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// What was asked for.
        name: Box<Name>,
        /// Whom.
        endpoint: String,
        /// What the network says.
        reason: String,
    },
    /// The Hub answers with something else than it should.
    #[error("{name}: {endpoint} does not answer as the Hugging Face Hub does: {reason}")]
    Strange {
        /// What was asked for.
        name: Box<Name>,
        /// Whom.
        endpoint: String,
        /// What is strange.
        reason: String,
    },
    /// The repository holds no model, or none that is read here.
    #[error("{name}: the repository has no {missing} ({})", there(files))]
    NoModel {
        /// What was asked for.
        name: Box<Name>,
        /// What is not there.
        missing: &'static str,
        /// What is.
        files: Vec<String>,
    },
    /// A file ended before its end.
    #[error("{name}: {file} came cut short, {found} of {expected} bytes: ask again, and what is here is gone on from")]
    CutShort {
        /// What was asked for.
        name: Box<Name>,
        /// The file.
        file: String,
        /// Bytes that came.
        found: u64,
        /// Bytes that it has.
        expected: u64,
    },
    /// Another process fetches the same file.
    #[error("{name}: another process is fetching {file}: wait for it ({} is its lock)", lock.display())]
    Locked {
        /// What was asked for.
        name: Box<Name>,
        /// The file.
        file: String,
        /// What the other process holds.
        lock: PathBuf,
    },
    /// The cache cannot be written.
    #[error("{name}: cannot keep {file} in {}: {source}{}", cache.display(), full(source))]
    Cache {
        /// What was asked for.
        name: Box<Name>,
        /// The file.
        file: String,
        /// The folder of the cache.
        cache: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// Whether nobody has answered, so that what the cache has is as good as it gets.
    pub(super) fn is_no_answer(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether nothing was wrong with what was asked.
    #[must_use]
    pub fn is_of_machine(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::CutShort { .. } | Self::Locked { .. } | Self::Cache { .. })
    }
}

fn advice(had_token: bool) -> &'static str {
    match had_token {
        false => "there is no such model, or it is gated or private: set HF_TOKEN to a token that may read it",
        true => {
            "there is no such model, or the token (HF_TOKEN, or the one in HF_HOME) may not read it: accept the model's terms \
             on its page, or use another token"
        }
    }
}

fn there(files: &[String]) -> String {
    const SHOWN: usize = 8;
    if files.is_empty() {
        return "it is empty".into();
    }
    let more = if files.len() > SHOWN { ", …" } else { "" };
    let shown = files.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("it has {shown}{more}")
}

fn full(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": make room, or set HF_HOME to a directory on another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": set HF_HOME to a directory that can be written"
        }
        _ => "",
    }
}
