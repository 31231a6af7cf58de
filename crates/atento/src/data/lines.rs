//! Lines of a text file, plain or gzip, one at a time.
//!
//! Gzip is recognised by its first two bytes, whatever the file is called, and may have several members. `-` is standard
//! input. Memory is one buffer and one line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::gzip::{self, Members};
use crate::{encoding, lfs};

/// The longest line taken, in bytes. A longer one is a file without line ends, not a sentence.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The longest record of training data taken, in bytes: no model has as many positions, and memory has an end. A longer
/// one counts as too long without being read.
pub const MAX_RECORD_BYTES: usize = 1 << 26;

const BUFFER_BYTES: usize = 1 << 16;
pub(super) const UTF8_MARK: &[u8] = "\u{feff}".as_bytes();

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
    #[error("{path}: reading failed after line {line}{}: {source}", of_gzip(*gzip, source))]
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
    /// The file is of another kind or encoding.
    #[error("{path}: this is {found}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, what was expected, and what to do.
        found: String,
    },
    /// Standard input is named twice.
    #[error("standard input can be read once, and is named twice: write it to a file first")]
    InputTwice,
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
    #[error("{path}, line {line}: longer than {limit} bytes, the most that is read as one")]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
}

impl LineError {
    /// Whether the fault is that of one line, after which other lines can be read.
    pub fn is_of_one_line(&self) -> bool {
        matches!(self, Self::InvalidUtf8 { .. } | Self::Binary { .. } | Self::LineTooLong { .. })
    }
}

/// An iterator over the lines of a file, without their ends (`\n` or `\r\n`). After an error it ends, unless it was
/// told to go [past faults](LineReader::past_faults).
pub struct LineReader {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    gzip: bool,
    limit: usize,
    line: u64,
    past_faults: bool,
    failed: bool,
    blank: u64,
}

/// The bytes of `input`, unpacked if they are gzip, and whether they are; `path` stands for it in messages.
pub(super) fn unpack(
    path: &Path,
    input: impl Read + Send + 'static,
) -> Result<(Box<dyn BufRead + Send>, bool), LineError> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, input);
    let fault = |gzip| move |source| LineError::Read { path: path.into(), line: 0, gzip, source };
    file.fill_buf().and_then(lfs::refuse_pointer).map_err(fault(false))?;
    refuse_foreign(path, file.fill_buf().map_err(fault(false))?)?;
    let waiting = file.buffer();
    let mut unpacked: Box<dyn BufRead + Send> = match waiting.len() {
        // A second byte is waited for only after gzip's first: whoever writes an empty line may wait for an answer.
        1 if waiting[0] == gzip::MAGIC[0] => {
            let mut start = Vec::new();
            file.by_ref().take(2).read_to_end(&mut start).map_err(fault(false))?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(file)))
        }
        _ => Box::new(file),
    };
    let gzip = unpacked.fill_buf().map_err(fault(false))?.starts_with(&gzip::MAGIC);
    if gzip {
        unpacked = Box::new(BufReader::with_capacity(BUFFER_BYTES, Members::new(unpacked)));
        refuse_foreign(path, unpacked.fill_buf().map_err(fault(true))?)?;
    }
    Ok((unpacked, gzip))
}

/// The first bytes of a file, plain or gzip, as text; what is no text is replaced.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn beginning(path: &Path, bytes: u64) -> Result<String, LineError> {
    let (name, file) = open(path)?;
    let (input, gzip) = unpack(&name, file)?;
    let mut text = Vec::new();
    let read = input.take(bytes).read_to_end(&mut text);
    read.map_err(|source| LineError::Read { path: name, line: 0, gzip, source })?;
    Ok(String::from_utf8_lossy(&text).trim_start_matches('\u{feff}').to_owned())
}

fn refuse_foreign(path: &Path, beginning: &[u8]) -> Result<(), LineError> {
    match encoding::foreign(beginning) {
        Some(found) => Err(LineError::Foreign { path: path.into(), found }),
        None => Ok(()),
    }
}

/// A file, or standard input for `-`, and the name that messages give it.
pub(super) fn open(path: &Path) -> Result<(PathBuf, Box<dyn Read + Send>), LineError> {
    static INPUT_IS_TAKEN: AtomicBool = AtomicBool::new(false);
    if path != Path::new("-") {
        let file = File::open(path).map_err(|source| LineError::Open { path: path.into(), source })?;
        return Ok((path.into(), Box::new(file)));
    }
    match INPUT_IS_TAKEN.swap(true, Ordering::Relaxed) {
        false => Ok(("standard input".into(), Box::new(io::stdin()))),
        true => Err(LineError::InputTwice),
    }
}

/// What an error says of a gzip file.
fn of_gzip(gzip: bool, error: &io::Error) -> &'static str {
    match (gzip, error.kind()) {
        (false, _) => "",
        (true, io::ErrorKind::UnexpectedEof) => " (the gzip file is cut short)",
        (true, _) => " (the gzip file is damaged)",
    }
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
    /// [`LineError::Open`], [`LineError::Empty`] (also a gzip of nothing, or a byte-order mark alone),
    /// [`LineError::Foreign`], [`LineError::Read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LineError> {
        let (name, file) = open(path.as_ref())?;
        Self::from_reader(name, file)
    }

    /// Reads lines from what is not a file by name, such as standard input; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`LineError::Empty`] (also a gzip of nothing), [`LineError::Read`].
    pub fn from_reader(name: impl Into<PathBuf>, input: impl Read + Send + 'static) -> Result<Self, LineError> {
        let path = name.into();
        let (mut input, gzip) = unpack(&path, input)?;
        let fault = |source| LineError::Read { path: path.clone(), line: 0, gzip, source };
        if input.fill_buf().map_err(fault)?.starts_with(UTF8_MARK) {
            input.consume(UTF8_MARK.len());
        }
        if input.fill_buf().map_err(fault)?.is_empty() {
            return Err(LineError::Empty { path });
        }
        Ok(LineReader {
            path,
            input,
            gzip,
            limit: MAX_LINE_BYTES,
            line: 0,
            past_faults: false,
            failed: false,
            blank: 0,
        })
    }

    /// The same with another longest line than [`MAX_LINE_BYTES`].
    #[must_use]
    pub(crate) fn with_limit(self, limit: usize) -> Self {
        LineReader { limit, ..self }
    }

    /// Goes on after a line that is no text: the fault costs that line alone.
    #[must_use]
    pub fn past_faults(self) -> Self {
        LineReader { past_faults: true, ..self }
    }

    /// The file it reads.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines read so far: the number, from 1, of the line returned last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Counts the line returned last as blank.
    pub(super) fn pass_blank(&mut self) {
        self.blank += 1;
    }

    /// The lines that were passed over as blank.
    pub(super) fn blank_lines(&self) -> u64 {
        self.blank
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
        self.line = line;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        // What is left of a line that is too long is no line of its own.
        let is_cut = bytes.len() as u64 == limit;
        if self.past_faults && is_cut {
            self.input.skip_until(b'\n').map_err(|source| LineError::Read { path: path(), line, gzip, source })?;
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
        self.failed = line.as_ref().is_err_and(|fault| !(self.past_faults && fault.is_of_one_line()));
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
        assert_eq!(lines(&[&both[..], &[0; 600]].concat()).unwrap(), ["one", "two", "über"]);
    }

    #[test]
    fn files_that_are_no_text_are_refused_with_file_and_line() {
        assert!(message(b"").ends_with("text: the file is empty"));
        assert!(message(&gzip(b"")).ends_with("the file is empty"));
        assert!(message(b"fine\nf\xfcr\n").contains("text, line 2: not valid UTF-8 at byte 1 of the line (0xfc)"));
        assert!(message(b"a\n\x7fELF\0\0").contains("line 2: contains a NUL byte"));
        assert!(message(b"\xff\xfea\0\n\0").ends_with(
            "text: this is UTF-16 text, expected UTF-8; convert it, for example with iconv -f UTF-16 -t UTF-8"
        ));
        assert!(message(&gzip(b"a\0\n\0b\0\n\0")).contains("this is UTF-16LE text"));
        assert!(message("\u{feff}".as_bytes()).ends_with("the file is empty"));
        let path = Path::new("no/such/file");
        assert!(LineReader::open(path).unwrap_err().to_string().starts_with("no/such/file: cannot open"));
        let dir = TempDir::new().unwrap();
        assert!(matches!(LineReader::open(dir.path()), Err(LineError::Open { .. } | LineError::Read { .. })));
    }

    #[test]
    fn a_gzip_file_cut_short_is_an_error_not_a_shorter_text() {
        let text: String = (0..20_000).map(|i| format!("line {}\n", i * 7919 % 10_007)).collect();
        let whole = gzip(text.as_bytes());
        assert!(message(&whole[..whole.len() - 9]).contains("(the gzip file is cut short)"));
        assert!(message(&[0x1f, 0x8b, 8, 1, 2]).contains("(the gzip file is cut short)"));
        let mut changed = whole;
        changed[500] ^= 1;
        assert!(message(&changed).contains("(the gzip file is damaged)"));
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

    #[test]
    fn past_faults_every_line_keeps_its_number() {
        let dir = TempDir::new().unwrap();
        let long = vec![b'x'; MAX_LINE_BYTES + 9];
        let text = [b"\xff\none\n", &long[..], b"\r\ntwo\na\0b\n", &long[..]].concat();
        let mut reader = LineReader::open(file(&dir, &text)).unwrap().past_faults();
        let mut found = Vec::new();
        while let Some(line) = reader.next() {
            found.push((reader.line(), line.ok()));
        }
        let text = |line: &str| Some(line.to_owned());
        assert_eq!(found, [(1, None), (2, text("one")), (3, None), (4, text("two")), (5, None), (6, None)]);
    }

    #[test]
    fn the_first_line_of_a_pipe_is_there_once_it_is_written() {
        let (input, mut output) = io::pipe().unwrap();
        output.write_all(b"\n").unwrap();
        let mut reader = LineReader::from_reader("pipe", input).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), "");
        output.write_all(b"x\n").unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), "x");
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
