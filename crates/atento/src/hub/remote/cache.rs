//! The cache of Hugging Face's libraries, as it lies on the disk.
//!
//! ```text
//! models--ORG--NAME/blobs/ETAG               the bytes
//! models--ORG--NAME/snapshots/COMMIT/FILE    a link to them
//! models--ORG--NAME/refs/BRANCH              the commit that a branch was at
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::name::is_commit;
use super::{Hub, Name};

impl Hub {
    /// The directory that the cache has of a name, be it behind the Hub's or not whole.
    #[must_use]
    pub fn cached(&self, name: &Name) -> Option<PathBuf> {
        let at = |commit: &str| Some(self.snapshot(&name.at(commit))).filter(|dir| dir.is_dir());
        if name.is_commit() {
            return at(name.revision());
        }
        let commit = fs::read_to_string(self.repository(name).join("refs").join(name.revision())).ok()?;
        at(commit.trim()).filter(|_| is_commit(commit.trim()))
    }

    /// The folder of a repository.
    pub(super) fn repository(&self, name: &Name) -> PathBuf {
        self.cache.join(name.folder())
    }

    /// Where the files of a commit are, or will be.
    pub(super) fn snapshot(&self, name: &Name) -> PathBuf {
        self.repository(name).join("snapshots").join(name.revision())
    }
}

/// Where a model lies that a run started from: at its path or, if that is in a cache which has moved, in the cache of today.
#[must_use]
pub fn found_again(path: &Path) -> PathBuf {
    let moved = || Hub::from_env().ok()?.cached(&Name::of_snapshot(path)?);
    if path.exists() { path.to_path_buf() } else { moved().unwrap_or_else(|| path.to_path_buf()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_leads_to_the_commit_it_was_at() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub { endpoint: String::new(), cache: folder.path().into(), token: None, is_offline: true };
        let (commit, name) = ("0123456789abcdef0123456789abcdef01234567", Name::parse("org/m").unwrap());
        let repository = folder.path().join("models--org--m");
        let snapshot = repository.join("snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(hub.cached(&name), None);
        assert_eq!(hub.cached(&name.at(commit)), Some(snapshot.clone()));
        fs::create_dir_all(repository.join("refs/refs/pr")).unwrap();
        fs::write(repository.join("refs/main"), commit).unwrap();
        fs::write(repository.join("refs/refs/pr/1"), "../../..").unwrap();
        assert_eq!(hub.cached(&name), Some(snapshot));
        assert_eq!(hub.cached(&Name::parse("org/m@refs/pr/1").unwrap()), None);
    }
}
