//! Getting from the Hub what the cache lacks.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use super::name::is_commit;
use super::{Error, Fetched, Hub, Name, Part, Progress, choice};
use crate::hub::shard_index::ShardIndex;

/// What is asked for first.
const LIST: &str = "the list of files";
/// How often a file is gone on with whose connection breaks.
const RETRIES: usize = 2;
/// The answer to whoever asks for what is behind a file's end.
const NO_SUCH_RANGE: u16 = 416;

/// What the Hub says of a revision.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// One model that is being fetched.
struct Download<'h> {
    hub: &'h Hub,
    /// As it was asked for.
    name: &'h Name,
    /// The model at its commit.
    repo: ApiRepo,
    snapshot: PathBuf,
    /// Files that were fetched, and their bytes.
    fetched: (usize, u64),
}

impl Hub {
    /// Fetches what is not in the cache.
    pub(super) fn download(
        &self,
        name: &Name,
        part: Part,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Fetched, Error> {
        let api = self.api().map_err(|error| self.fault(name, LIST, error))?;
        let (commit, files) = self.ask(&api, name)?;
        let pinned = name.at(&commit);
        let missing = |missing| Error::NoModel { name: Box::new(name.clone()), missing, files: files.clone() };
        let description = choice::description(&files);
        let is_model = |name: &&&str| **name == "config.json" || **name == "adapter_config.json";
        if !description.iter().any(|name| is_model(&name)) {
            return Err(missing("config.json"));
        }
        let repo = api.repo(repository(&pinned));
        let mut download = Download { hub: self, name, repo, snapshot: self.snapshot(&pinned), fetched: (0, 0) };
        description.iter().try_for_each(|file| download.get(file, progress))?;
        if part == Part::Model {
            let weights = choice::weights(&files)
                .ok_or_else(|| missing("weights that are read here (model.safetensors, pytorch_model.bin)"))?;
            for file in choice::step_weights(&files).into_iter().chain([weights]) {
                download.get(file, progress)?;
            }
            for shard in download.shards(weights)? {
                download.get(&shard, progress)?;
            }
        }
        // Last, so that a branch leads to a snapshot with all that was asked for.
        let of_branch = Cache::new(self.cache.clone()).repo(repository(name));
        if !name.is_commit() {
            of_branch.create_ref(&commit).map_err(|error| self.cannot_keep(name, "the branch", error))?;
        }
        let (files, bytes) = download.fetched;
        Ok(Fetched { dir: download.snapshot, files, bytes, note: None })
    }

    fn api(&self) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .with_progress(false)
            .with_user_agent("atento", env!("CARGO_PKG_VERSION"))
            .build()
    }

    /// The commit of a revision, and its files.
    fn ask(&self, api: &Api, name: &Name) -> Result<(String, Vec<String>), Error> {
        let failed = |error: ureq::Error| self.fault(name, LIST, ApiError::from(Box::new(error)));
        let mut answer = api.repo(repository(name)).info_request().call().map_err(failed)?;
        let Answer { sha, siblings } =
            answer.body_mut().read_json().map_err(|error| self.strange(name, format!("{LIST}: {error}")))?;
        if !is_commit(&sha) {
            return Err(self.strange(name, format!("{sha:?} is no commit")));
        }
        let mut files: Vec<String> = siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        files.sort_unstable();
        Ok((sha, files))
    }

    fn strange(&self, name: &Name, reason: String) -> Error {
        Error::Strange { name: Box::new(name.clone()), endpoint: self.endpoint.clone(), reason }
    }

    fn cannot_keep(&self, name: &Name, file: &str, source: io::Error) -> Error {
        Error::Cache { name: Box::new(name.clone()), file: file.to_owned(), cache: self.cache.clone(), source }
    }

    /// What went wrong with a file, by what the client says of it.
    fn fault(&self, name: &Name, file: &str, error: ApiError) -> Error {
        let endpoint = || self.endpoint.clone();
        let unreachable =
            |reason: String| Error::Unreachable { name: Box::new(name.clone()), endpoint: endpoint(), reason };
        match error {
            ApiError::TooManyRetries(error) => self.fault(name, file, *error),
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status @ (401 | 403)) => {
                    let had_token = self.token.is_some();
                    Error::Refused { name: Box::new(name.clone()), endpoint: endpoint(), status, had_token }
                }
                ureq::Error::StatusCode(404) if file == LIST => {
                    Error::NoSuchModel { name: Box::new(name.clone()), endpoint: endpoint() }
                }
                ureq::Error::StatusCode(status @ (429 | 500..)) => {
                    unreachable(format!("it answers with status {status}"))
                }
                ureq::Error::StatusCode(status) => self.strange(name, format!("{file}: status {status}")),
                other => unreachable(other.to_string()),
            },
            // What comes from the network has no number of the system's, or one of a connection.
            ApiError::IoError(error) if is_of_network(&error) => unreachable(format!("{file}: {error}")),
            ApiError::IoError(error) => self.cannot_keep(name, file, error),
            ApiError::LockAcquisition(lock) => {
                Error::Locked { name: Box::new(name.clone()), file: file.to_owned(), lock }
            }
            other => self.strange(name, format!("{file}: {other}")),
        }
    }
}

impl Download<'_> {
    /// Fetches a file that is not there.
    fn get(&mut self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Error> {
        let path = self.snapshot.join(file);
        if path.exists() {
            return Ok(());
        }
        if path.is_symlink() {
            // The bytes that it led to were removed.
            self.forget(&path);
        }
        let number = self.fetched.0 + 1;
        let (done, total) = (Cell::new(0), Cell::new(0));
        let mut try_once = || {
            let watch = Watch { file, number, done: &done, total: &total, tell: &mut *progress };
            self.repo.download_with_progress(file, watch)
        };
        let mut came = try_once();
        if came.as_ref().is_err_and(is_beyond_end) && self.forget_parts() {
            came = try_once();
        }
        let fault = |error| match is_cut(&error) && done.get() < total.get() {
            true => self.cut_short(file, done.get(), total.get()),
            false => self.hub.fault(self.name, file, error),
        };
        came.map_err(fault)?;
        let found = fs::metadata(&path).map_err(|error| self.hub.cannot_keep(self.name, file, error))?.len();
        if found != total.get() {
            self.forget(&path);
            return Err(self.cut_short(file, found, total.get()));
        }
        self.fetched = (number, self.fetched.1 + found);
        Ok(())
    }

    fn cut_short(&self, file: &str, found: u64, expected: u64) -> Error {
        Error::CutShort { name: Box::new(self.name.clone()), file: file.to_owned(), found, expected }
    }

    /// Removes a file and the bytes that it is a link to.
    fn forget(&self, path: &Path) {
        if let Ok(bytes) = path.canonicalize() {
            let _ = fs::remove_file(bytes);
        }
        let _ = fs::remove_file(path);
    }

    /// Removes the beginnings of files that are as long as the files: a process ended before it gave them their names. Says
    /// whether there were any.
    fn forget_parts(&self) -> bool {
        let blobs = self.hub.repository(self.name).join("blobs");
        let entries = fs::read_dir(blobs).into_iter().flatten().flatten().map(|entry| entry.path());
        let parts = entries.filter(|path| path.extension().is_some_and(|ending| ending == "part"));
        parts.filter(|path| fs::remove_file(path).is_ok()).count() > 0
    }

    /// The other files of weights of which `file` is an index.
    fn shards(&self, file: &str) -> Result<Vec<String>, Error> {
        let path = self.snapshot.join(file);
        if !ShardIndex::is_index(&path) {
            return Ok(Vec::new());
        }
        let index = ShardIndex::read(&path).map_err(|error| self.hub.strange(self.name, error.to_string()))?;
        Ok(index.shards().into_iter().map(|(shard, _)| shard.to_owned()).collect())
    }
}

fn repository(name: &Name) -> Repo {
    Repo::with_revision(name.id(), RepoType::Model, name.revision().to_owned())
}

/// Whether a beginning that is here is no beginning of the file.
fn is_beyond_end(error: &ApiError) -> bool {
    match error {
        ApiError::InvalidResume => true,
        ApiError::TooManyRetries(error) => is_beyond_end(error),
        ApiError::RequestError(error) => matches!(**error, ureq::Error::StatusCode(NO_SUCH_RANGE)),
        _ => false,
    }
}

/// Whether a connection ended in the middle of a file.
fn is_cut(error: &ApiError) -> bool {
    match error {
        ApiError::TooManyRetries(error) => is_cut(error),
        ApiError::IoError(error) => is_of_network(error),
        _ => false,
    }
}

fn is_of_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, TimedOut, UnexpectedEof,
    };
    let kinds = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        NetworkDown,
        NetworkUnreachable,
        TimedOut,
        UnexpectedEof,
    ];
    kinds.contains(&error.kind()) || error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>())
}

/// Counts the bytes of a file for whoever watches.
struct Watch<'w> {
    file: &'w str,
    number: usize,
    done: &'w Cell<u64>,
    total: &'w Cell<u64>,
    tell: &'w mut dyn FnMut(Progress<'_>),
}

impl Watch<'_> {
    fn tell(&mut self) {
        let (done, total) = (self.done.get(), self.total.get());
        (self.tell)(Progress { file: self.file, number: self.number, done, total });
    }
}

impl hf_hub::api::Progress for Watch<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total.set(size as u64);
        self.done.set(0);
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.done.set(self.done.get() + size as u64);
        self.tell();
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_by_who_is_to_mend_it() {
        let hub = Hub { endpoint: "http://hub".into(), cache: "/cache".into(), token: None, is_offline: false };
        let name = Name::parse("org/m").unwrap();
        let io = |kind: io::ErrorKind| ApiError::IoError(kind.into());
        let status = |status| ApiError::from(Box::new(ureq::Error::StatusCode(status)));
        for (error, expected, is_of_machine) in [
            (io(io::ErrorKind::StorageFull), "make room, or set HF_HOME to a directory on another disk", true),
            (io(io::ErrorKind::PermissionDenied), "set HF_HOME to a directory that can be written", true),
            (io(io::ErrorKind::ConnectionReset), "org/m: cannot reach http://hub: f: ", true),
            (ApiError::TooManyRetries(Box::new(status(503))), "it answers with status 503", true),
            (status(404), "does not answer as the Hugging Face Hub does: f: status 404", false),
            (status(403), "(status 403): there is no such model, or it is gated or private: set HF_TOKEN", false),
            (ApiError::MissingHeader("etag"), "does not answer as the Hugging Face Hub does: f: Header etag", false),
        ] {
            let error = hub.fault(&name, "f", error);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.is_of_machine(), is_of_machine, "{error}");
        }
        let error = hub.fault(&name, LIST, status(404));
        assert_eq!(error.to_string(), "org/m: http://hub has no such model or revision");
    }
}
