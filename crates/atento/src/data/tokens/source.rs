//! Files of text, and what a document is in them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::documents::Documents;

/// Longest piece of text handed to the training of a tokenizer, in bytes: it holds 16,384 of them at once.
const LESSON_BYTES: usize = 1 << 11;

/// What a document is in a file of plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// The whole file, byte for byte.
    #[default]
    File,
    /// Lines up to a blank one (empty or white space), joined by line ends.
    BlankLine,
    /// A line, without its end.
    Line,
}

/// Where text comes from: files and directories, plain or gzip.
///
/// `-` is standard input. A directory stands for all files in it and below, in the order of their paths; names that begin with a
/// dot are passed over and counted. A file named `.jsonl`, `.ndjson` or `.json` (a final `.gz` is looked
/// through) holds a JSON object with a document on each line; any other is plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSource {
    /// Files and directories, in order.
    pub paths: Vec<PathBuf>,
    /// What a document is in plain text.
    #[serde(default)]
    pub boundary: Boundary,
    /// The key of the document in a JSON object; a dot descends.
    #[serde(default = "default_text_key")]
    pub text_key: String,
}

fn default_text_key() -> String {
    "text".into()
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    pub(super) jsonl: bool,
}

impl TextSource {
    /// Paths with the usual settings: a document is a file, or the "text" of a JSON object.
    pub fn new<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        TextSource { paths, boundary: Boundary::File, text_key: default_text_key() }
    }

    /// The text, for training a tokenizer: pieces of up to two kibibytes that end at a line's end wherever
    /// there is one, with their line ends. What a tokenizer learns from them is what it learns from the whole,
    /// but for words that lie across the end of a piece.
    ///
    /// # Errors
    /// A path that cannot be read; the items, those of reading.
    pub fn lessons(&self) -> Result<impl Iterator<Item = Result<String, Error>> + use<>, Error> {
        let mut documents = Documents::open(self, LESSON_BYTES, true)?;
        let mut failed = false;
        Ok(std::iter::from_fn(move || {
            let piece = if failed { None } else { documents.next_piece().transpose() };
            failed = matches!(piece, Some(Err(_)));
            piece.map(|piece| piece.map(|piece| piece.text))
        }))
    }

    /// Checks that all files can be read more than once.
    ///
    /// # Errors
    /// [`Error::NotAFile`]; a path that cannot be read.
    pub(super) fn check_files(&self) -> Result<(), Error> {
        let (files, _) = self.files()?;
        match files.into_iter().find(|file| !file.path.is_file()) {
            Some(TextFile { path, .. }) => Err(Error::NotAFile { path }),
            None => Ok(()),
        }
    }

    /// All files, and how many hidden ones were passed over.
    pub(super) fn files(&self) -> Result<(Vec<TextFile>, u64), Error> {
        if self.paths.is_empty() {
            return Err(Error::option("paths", "[]", "name at least one file or directory of text"));
        }
        let (mut files, mut hidden) = (Vec::new(), 0);
        for path in &self.paths {
            let before = files.len();
            walk(path, &mut Vec::new(), &mut files, &mut hidden)?;
            if files.len() == before {
                return Err(Error::NoFiles { path: path.clone() });
            }
        }
        Ok((files, hidden))
    }
}

impl fmt::Display for TextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&paths.join(" + "))
    }
}

fn walk(path: &Path, above: &mut Vec<PathBuf>, files: &mut Vec<TextFile>, hidden: &mut u64) -> Result<(), Error> {
    // Standard input, where the path itself is named.
    let is_input = above.is_empty() && path == Path::new("-");
    let found = if is_input { None } else { Some(fs::metadata(path).map_err(Error::io(path, "open"))?) };
    if !above.is_empty() && found.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(Error::NotAFile { path: path.into() });
    }
    if !found.is_some_and(|found| found.is_dir()) {
        files.push(TextFile { path: path.into(), jsonl: is_jsonl(path) });
        return Ok(());
    }
    let real = path.canonicalize().map_err(Error::io(path, "open"))?;
    if above.contains(&real) {
        return Err(Error::Loop { path: path.into() });
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut names: Vec<_> = entries.map_err(Error::io(path, "list"))?.into_iter().map(|e| e.file_name()).collect();
    names.sort_unstable();
    above.push(real);
    for name in names {
        match name.as_encoded_bytes().starts_with(b".") {
            true => *hidden += 1,
            false => walk(&path.join(name), above, files, hidden)?,
        }
    }
    above.pop();
    Ok(())
}

fn is_jsonl(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".jsonl", ".ndjson", ".json"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_directory_is_all_its_files_in_the_order_of_their_paths() {
        let dir = TempDir::new().unwrap();
        for (name, text) in [("b.txt", "2"), ("a/z.JSONL.gz", ""), ("a/c.md", "1"), (".git/config", "x"), ("c", "3")] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (files, hidden) = TextSource::new([dir.path()]).files().unwrap();
        let names: Vec<_> = files.iter().map(|f| (f.path.strip_prefix(dir.path()).unwrap(), f.jsonl)).collect();
        let expected = [("a/c.md", false), ("a/z.JSONL.gz", true), ("b.txt", false), ("c", false)];
        assert_eq!(names, expected.map(|(name, jsonl)| (Path::new(name), jsonl)));
        assert_eq!(hidden, 1);
    }

    #[test]
    fn a_source_without_files_is_an_error() {
        let dir = TempDir::new().unwrap();
        let message = |source: TextSource| source.files().unwrap_err().to_string();
        assert!(message(TextSource::new([dir.path()])).contains("no files in this directory"));
        assert!(message(TextSource::new([dir.path().join("none")])).contains("none: cannot open"));
        assert!(message(TextSource::new(Vec::<PathBuf>::new())).starts_with("paths = []"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_in_a_directory_is_refused_and_not_waited_for() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("a.txt"), "a").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let message = TextSource::new([dir.path()]).files().unwrap_err().to_string();
        assert!(message.contains("socket: not a regular file"), "{message}");
        let message = TextSource::new([dir.path().join("socket")]).check_files().unwrap_err().to_string();
        assert!(message.contains("socket: not a regular file"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_back_to_a_directory_is_an_error_not_an_endless_walk() {
        let dir = TempDir::new().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("up")).unwrap();
        assert!(matches!(TextSource::new([dir.path()]).files(), Err(Error::Loop { .. })));
    }
}
