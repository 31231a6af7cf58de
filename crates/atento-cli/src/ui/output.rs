//! Standard output, for data alone.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use super::failure::Failure;

/// Standard output, buffered. [`Output::finish`] or [`Output::flush`] must follow the last line.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Standard output, held by this one writer.
    pub fn open() -> Self {
        Output(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line of text.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(Failure::writing)
    }

    /// Writes a piece of a line and hands it on at once.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn piece(&mut self, text: &str) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        self.bytes(text.as_bytes())?;
        self.flush()
    }

    /// Writes lines that are ready.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn bytes(&mut self, lines: &[u8]) -> Result<(), Failure> {
        self.0.write_all(lines).map_err(Failure::writing)
    }

    /// Writes an object as JSON on one line.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn json(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, object).map_err(|error| Failure::writing(error.into()))?;
        self.line("")
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::writing)
    }

    /// Hands on what is buffered, at the end.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }
}
