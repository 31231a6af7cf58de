//! Standard output, for data alone.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use super::failure::Failure;

/// Standard output, buffered. [`Output::finish`] or [`Output::flush`] must follow the last line.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    adapter: Option<String>,
}

/// An object and the adapter that it is from.
#[derive(Serialize)]
struct OfAdapter<'a, T> {
    adapter: &'a str,
    #[serde(flatten)]
    object: &'a T,
}

impl Output {
    /// Standard output, held by this one writer.
    pub fn open() -> Self {
        Output { out: BufWriter::new(io::stdout().lock()), adapter: None }
    }

    /// From here on objects begin with "adapter", the name by which their lines asked for one.
    pub fn of_adapter(&mut self, name: Option<&str>) {
        self.adapter = name.map(str::to_owned);
    }

    /// Writes a line of text.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::writing)
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
        self.out.write_all(lines).map_err(Failure::writing)
    }

    /// Writes an object as JSON on one line.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn json(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        match &self.adapter {
            Some(adapter) => serde_json::to_writer(&mut self.out, &OfAdapter { adapter, object }),
            None => serde_json::to_writer(&mut self.out, object),
        }
        .map_err(|error| Failure::writing(error.into()))?;
        self.line("")
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::writing)
    }

    /// Hands on what is buffered, at the end.
    ///
    /// # Errors
    /// Standard output is full or closed.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }
}
