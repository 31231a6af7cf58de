//! What a model of the Hub is called.

use std::fmt;
use std::path::Path;

/// The branch that is meant where no revision is named.
const MAIN: &str = "main";
/// What may stand before a name, to say that it is one.
const SCHEME: &str = "hf://";
/// Characters of a part of a name, as the Hub has it.
const LONGEST: usize = 96;

/// A repository of the Hub and one of its revisions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    org: String,
    model: String,
    revision: String,
}

impl Name {
    /// Reads `org/name` or `org/name@revision`, perhaps behind `hf://`; `None` where a text has another form. A revision is a
    /// branch, a tag or a commit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(SCHEME).unwrap_or(text);
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (org, model) = id.split_once('/')?;
        let is_revision = !revision.is_empty() && revision.split('/').all(is_part);
        (is_part(org) && is_part(model) && is_revision).then(|| Self {
            org: org.to_owned(),
            model: model.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// Whether a text says that it is such a name and no path.
    #[must_use]
    pub fn is_explicit(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The name of which a directory of a cache is a snapshot, `…/models--ORG--NAME/snapshots/COMMIT`; `None` of any other
    /// path. It is told by its form: the directory need not exist.
    #[must_use]
    pub fn of_snapshot(path: &Path) -> Option<Self> {
        let part = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
        let (commit, snapshots) = (part(path)?, path.parent()?);
        let folder = part(snapshots.parent()?)?;
        let (org, model) = folder.strip_prefix("models--")?.split_once("--")?;
        let name = Self { org: org.to_owned(), model: model.to_owned(), revision: commit };
        (part(snapshots)? == "snapshots" && name.is_commit() && is_part(org) && is_part(model)).then_some(name)
    }

    /// `org/name`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.org, self.model)
    }

    /// The branch, tag or commit.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The folder of the cache.
    pub(super) fn folder(&self) -> String {
        format!("models--{}--{}", self.org, self.model)
    }

    /// Whether the revision is a commit, which never changes.
    pub(super) fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }

    /// The same model at a commit.
    pub(super) fn at(&self, commit: &str) -> Self {
        Self { revision: commit.to_owned(), ..self.clone() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.model)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Whether a text is the whole number of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a text can be a part of a name: no path leads anywhere else with it.
fn is_part(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(is_plain)
        && !text.starts_with(['.', '-'])
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_parts_and_perhaps_a_revision() {
        let id = |text| Name::parse(text).map(|name| (name.id(), name.revision().to_owned()));
        let found = |id: &str, revision: &str| Some((id.to_owned(), revision.to_owned()));
        assert_eq!(id("org/some.Model_1-b"), found("org/some.Model_1-b", "main"));
        assert_eq!(id("hf://org/m@v1.0"), found("org/m", "v1.0"));
        assert_eq!(id("org/m@refs/pr/3"), found("org/m", "refs/pr/3"));
        for text in
            ["gpt2", "a/b/c", "/a/b", "./a/b", "../b", "a/..", "a/b@", "a/b@../c", "a b/c", "", "a/", "/b", "~/b"]
        {
            assert_eq!(id(text), None, "{text}");
        }
    }

    #[test]
    fn a_snapshot_says_whose_it_is() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let path = format!("/cache/hub/models--org--some--model/snapshots/{commit}");
        let name = Name::of_snapshot(Path::new(&path)).unwrap();
        assert_eq!(name.to_string(), format!("org/some--model@{commit}"));
        for other in ["/cache/hub/models--org--m/snapshots/main", "/models--m/snapshots", "runs/a", "/"] {
            assert_eq!(Name::of_snapshot(Path::new(other)), None, "{other}");
        }
    }
}
