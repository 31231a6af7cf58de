//! The text of a file as it is, line ends included, in blocks.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::lines::{self, LineError, UTF8_MARK, unpack};

/// Bytes of a block.
const BLOCK_BYTES: usize = 1 << 16;

/// The whole text of a file, plain or gzip, line ends included; of standard input for `-`. A byte-order mark at its
/// beginning is left out.
///
/// # Errors
/// A file that cannot be read or is no UTF-8 text.
pub fn read_text(path: &Path) -> Result<String, LineError> {
    let (mut raw, mut text) = (RawText::open(path)?, String::new());
    while let Some(block) = raw.next_block()? {
        text.push_str(&block);
    }
    Ok(text)
}

/// Reads a file, plain or gzip, as blocks of UTF-8 text. A byte order mark at its beginning is left out.
pub(super) struct RawText {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    gzip: bool,
    /// The beginning of a character whose rest is in the next block.
    unfinished: Vec<u8>,
    /// Line ends passed.
    lines: u64,
    /// Bytes since the last of them.
    column: usize,
    started: bool,
}

impl RawText {
    /// Opens a file; it may be empty.
    pub(super) fn open(path: &Path) -> Result<Self, LineError> {
        let (path, file) = lines::open(path)?;
        let (input, gzip) = unpack(&path, file)?;
        Ok(RawText { path, input, gzip, unfinished: Vec::new(), lines: 0, column: 0, started: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next block, not empty; `None` at the end of the file.
    pub(super) fn next_block(&mut self) -> Result<Option<String>, LineError> {
        let mut bytes = std::mem::take(&mut self.unfinished);
        let read = self.input.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut bytes);
        let (path, gzip) = (|| self.path.clone(), self.gzip);
        let read = read.map_err(|source| LineError::Read { path: path(), line: self.lines, gzip, source })?;
        if !std::mem::replace(&mut self.started, true) && bytes.starts_with(UTF8_MARK) {
            bytes.drain(..UTF8_MARK.len());
        }
        if let Err(error) = std::str::from_utf8(&bytes) {
            let valid = error.valid_up_to();
            if error.error_len().is_some() || read < BLOCK_BYTES {
                self.pass(&bytes[..valid]);
                let (line, byte, value) = (self.lines + 1, self.column, bytes[valid]);
                return Err(LineError::InvalidUtf8 { path: self.path.clone(), line, byte, value });
            }
            self.unfinished = bytes.split_off(valid);
        }
        if let Some(nul) = bytes.iter().position(|&byte| byte == 0) {
            self.pass(&bytes[..nul]);
            return Err(LineError::Binary { path: self.path.clone(), line: self.lines + 1 });
        }
        self.pass(&bytes);
        let text = String::from_utf8(bytes).expect("the bytes up to an unfinished character were found valid");
        Ok((!text.is_empty()).then_some(text))
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.column = match bytes.iter().rposition(|&byte| byte == b'\n') {
            Some(at) => bytes.len() - at - 1,
            None => self.column + bytes.len(),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use tempfile::TempDir;

    use super::*;

    fn text(bytes: &[u8]) -> Result<String, LineError> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, bytes).unwrap();
        let mut raw = RawText::open(&path)?;
        let mut all = String::new();
        while let Some(block) = raw.next_block()? {
            all += &block;
        }
        Ok(all)
    }

    #[test]
    fn text_comes_back_whatever_lies_across_two_blocks() {
        for shift in 0..4 {
            let whole = format!("{}{}\r\n\nend", "x".repeat(shift), "ü🦀\n".repeat(BLOCK_BYTES / 3));
            assert_eq!(text(whole.as_bytes()).unwrap(), whole);
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(whole.as_bytes()).unwrap();
            assert_eq!(text(&gzip.finish().unwrap()).unwrap(), whole);
        }
        assert_eq!(text(b"").unwrap(), "");
        assert_eq!(text("\u{feff}a".as_bytes()).unwrap(), "a");
        assert_eq!(text("\u{feff}".as_bytes()).unwrap(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_line_and_byte() {
        let long = "a\n".repeat(BLOCK_BYTES);
        let message = text(&[long.as_bytes(), b"f\xfcr\n"].concat()).unwrap_err().to_string();
        assert!(message.contains("line 65537: not valid UTF-8 at byte 1 of the line (0xfc)"), "{message}");
        let one_line = "a".repeat(BLOCK_BYTES + 5);
        let message = text(&[one_line.as_bytes(), b"\xff"].concat()).unwrap_err().to_string();
        assert!(message.contains("line 1: not valid UTF-8 at byte 65541"), "{message}");
        assert!(text(b"a\n\xc3").unwrap_err().to_string().contains("line 2: not valid UTF-8 at byte 0"));
        assert!(text(b"a\nb\0").unwrap_err().to_string().contains("line 2: contains a NUL byte"));
    }
}
