//! Lines of a text file, plain or gzip, one at a time.
//!
//! Gzip is recognised by its first two bytes, whatever the file is called, and may have several
//! members (as made by `cat a.gz b.gz` or `pigz`). Memory is one buffer and one line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// The longest line taken, in bytes. A longer one is a file without line ends, not a sentence.
pub const MAX_LINE_BYTES: usize = 1 << 20;

const BUFFER_BYTES: usize = 1 << 16;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why a file cannot be read as lines of text. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The file cannot be opened.
    #[error("{path}: cannot open: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading failed; for gzip, the file may be cut short or damaged.
    #[error("{path}: reading failed after line {line}{gzip}: {source}", gzip = if *.gzip { " (the gzip file may be cut short or damaged)" } else { "" })]
    Read {
        /// The file.
        path: PathBuf,
        /// Lines read before.
        line: u64,
        /// Whether it is a gzip file.
        gzip: bool,
        /// The system's reason.
        source: io::Error,
    },
    /// There is nothing in the file.
    #[error("{path}: the file is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line holds bytes that are not UTF-8.
    #[error(
        "{path}, line {line}: not valid UTF-8 at byte {byte} of the line (0x{value:02x}); convert the file, for example with iconv -f latin1 -t utf8"
    )]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// Position of the first bad byte in its line, from 0.
        byte: usize,
        /// The bad byte.
        value: u8,
    },
    /// A line holds a NUL byte.
    #[error("{path}, line {line}: contains a NUL byte: this is a binary file or UTF-16, expected UTF-8 text")]
    Binary {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
    },
    /// A line is too long to be one.
    #[error("{path}, line {line}: longer than {limit} bytes; expected one sentence or paragraph a line")]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
}

/// An iterator over the lines of a file, without their ends (`\n` or `\r\n`). After an error it ends.
pub struct LineReader {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    gzip: bool,
    limit: usize,
    line: u64,
    failed: bool,
}

/// The bytes of `input`, unpacked if they are gzip, and whether they are; `path` stands for it in messages.
pub(super) fn unpack(
    path: &Path,
    input: impl Read + Send + 'static,
) -> Result<(Box<dyn BufRead + Send>, bool), LineError> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, input);
    let mut start = Vec::new();
    let read = file.by_ref().take(2).read_to_end(&mut start);
    read.map_err(|source| LineError::Read { path: path.into(), line: 0, gzip: false, source })?;
    let gzip = start == GZIP_MAGIC;
    let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(file));
    let unpacked: Box<dyn BufRead + Send> = match gzip {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole))),
        false => Box::new(whole),
    };
    Ok((unpacked, gzip))
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

impl LineReader {
    /// Opens a file and looks at its first bytes.
    ///
    /// # Errors
    /// [`LineError::Open`], [`LineError::Empty`] (also a gzip of nothing), [`LineError::Read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LineError> {
        let path = path.as_ref().to_path_buf();
        match File::open(&path) {
            Ok(file) => Self::from_reader(path, file),
            Err(source) => Err(LineError::Open { path, source }),
        }
    }

    /// Reads lines from what is not a file by name, such as standard input; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`LineError::Empty`] (also a gzip of nothing), [`LineError::Read`].
    pub fn from_reader(name: impl Into<PathBuf>, input: impl Read + Send + 'static) -> Result<Self, LineError> {
        let path = name.into();
        let (mut input, gzip) = unpack(&path, input)?;
        let start = input.fill_buf().map_err(|source| LineError::Read { path: path.clone(), line: 0, gzip, source })?;
        if start.is_empty() {
            return Err(LineError::Empty { path });
        }
        Ok(LineReader { path, input, gzip, limit: MAX_LINE_BYTES, line: 0, failed: false })
    }

    /// The same with another longest line than [`MAX_LINE_BYTES`].
    pub(super) fn with_limit(self, limit: usize) -> Self {
        LineReader { limit, ..self }
    }

    /// The file it reads.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines read so far: the number, from 1, of the line returned last.
    pub fn line(&self) -> u64 {
        self.line
    }

    fn read_line(&mut self) -> Result<Option<String>, LineError> {
        let mut bytes = Vec::new();
        // Two bytes more than a line may have, for its end.
        let limit = self.limit as u64 + 2;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut bytes);
        let (path, line, gzip) = (|| self.path.clone(), self.line + 1, self.gzip);
        read.map_err(|source| LineError::Read { path: path(), line: self.line, gzip, source })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.contains(&0) {
            return Err(LineError::Binary { path: path(), line });
        }
        if bytes.len() > self.limit {
            return Err(LineError::LineTooLong { path: path(), line, limit: self.limit });
        }
        if line == 1 && bytes.starts_with(UTF8_MARK) {
            bytes.drain(..UTF8_MARK.len());
        }
        self.line = line;
        String::from_utf8(bytes).map(Some).map_err(|e| {
            let byte = e.utf8_error().valid_up_to();
            LineError::InvalidUtf8 { path: path(), line, byte, value: e.as_bytes()[byte] }
        })
    }
}

impl Iterator for LineReader {
    type Item = Result<String, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read_line();
        self.failed = line.is_err();
        line.transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join("text");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(bytes: &[u8]) -> Result<Vec<String>, LineError> {
        let dir = TempDir::new().unwrap();
        LineReader::open(file(&dir, bytes))?.collect()
    }

    fn message(bytes: &[u8]) -> String {
        lines(bytes).unwrap_err().to_string()
    }

    #[test]
    fn line_ends_of_both_kinds_are_taken_off_and_empty_lines_stay() {
        assert_eq!(lines(b"a\r\n\nb c\n").unwrap(), ["a", "", "b c"]);
        assert_eq!(lines(b"a\nlast without end").unwrap(), ["a", "last without end"]);
        assert_eq!(lines("\u{feff}Grüße\n".as_bytes()).unwrap(), ["Grüße"]);
        assert_eq!(lines(b"x").unwrap(), ["x"]);
    }

    #[test]
    fn gzip_is_known_by_its_content_and_may_have_several_members() {
        let both = [gzip(b"one\ntw"), gzip("o\nüber\n".as_bytes())].concat();
        assert_eq!(lines(&both).unwrap(), ["one", "two", "über"]);
    }

    #[test]
    fn files_that_are_no_text_are_refused_with_file_and_line() {
        assert!(message(b"").ends_with("text: the file is empty"));
        assert!(message(&gzip(b"")).ends_with("the file is empty"));
        assert!(message(b"fine\nf\xfcr\n").contains("text, line 2: not valid UTF-8 at byte 1 of the line (0xfc)"));
        assert!(message(b"a\n\x7fELF\0\0").contains("line 2: contains a NUL byte"));
        assert!(message(b"\xff\xfea\0\n\0").contains("UTF-16"));
        let path = Path::new("no/such/file");
        assert!(LineReader::open(path).unwrap_err().to_string().starts_with("no/such/file: cannot open"));
        let dir = TempDir::new().unwrap();
        assert!(matches!(LineReader::open(dir.path()), Err(LineError::Open { .. } | LineError::Read { .. })));
    }

    #[test]
    fn a_gzip_file_cut_short_is_an_error_not_a_shorter_text() {
        let text: String = (0..20_000).map(|i| format!("line {}\n", i * 7919 % 10_007)).collect();
        let whole = gzip(text.as_bytes());
        assert!(message(&whole[..whole.len() - 9]).contains("cut short or damaged"));
        assert!(message(&[0x1f, 0x8b, 8, 1, 2]).contains("damaged"));
    }

    #[test]
    fn a_line_may_have_a_mebibyte_and_no_more() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        for end in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(lines(&[&longest, end].concat()).unwrap()[0].len(), MAX_LINE_BYTES);
        }
        let error = message(&[b"short\nx", &longest[..], b"\n"].concat());
        assert!(error.contains("line 2: longer than 1048576 bytes"), "{error}");
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let dir = TempDir::new().unwrap();
        let mut reader = LineReader::open(file(&dir, b"\xff\nfine\n")).unwrap();
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }

    proptest! {
        #[test]
        fn any_lines_come_back(texts in proptest::collection::vec("[^\\r\\n\\x00\u{feff}]{0,40}", 1..20), zipped: bool) {
            let plain = texts.join("\n") + "\n";
            let bytes = if zipped { gzip(plain.as_bytes()) } else { plain.into_bytes() };
            prop_assert_eq!(lines(&bytes).unwrap(), texts);
        }
    }
}
