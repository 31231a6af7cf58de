//! Where a verb's texts come from: its arguments, a file, or standard input.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use atento::data::{LineError, LineReader};

use super::failure::Failure;
use super::options::Options;

/// Lines taken together from a file or a pipe: many enough that batches are full, few enough to hold.
const CHUNK_LINES: usize = 2000;

/// The texts a verb works on.
#[derive(Debug, clap::Args)]
pub struct TextArgs {
    /// The texts, each an argument; without any, lines of standard input
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Read the texts from this file, one a line (`-`: standard input; gzip is read as it is)
    #[arg(long, short, value_name = "FILE", conflicts_with = "texts")]
    input: Option<PathBuf>,
}

impl TextArgs {
    /// The texts, read as they are asked for.
    ///
    /// # Errors
    /// A file that cannot be opened or is empty.
    pub fn open(&self, options: &Options) -> Result<Texts, Failure> {
        let from_file = |lines| Texts { source: Source::Lines(lines), chunk: CHUNK_LINES, taken: 0, fault: None };
        match &self.input {
            _ if !self.texts.is_empty() => {
                let source = Source::Arguments(self.texts.clone().into_iter());
                Ok(Texts { source, chunk: CHUNK_LINES, taken: 0, fault: None })
            }
            Some(path) if path != Path::new("-") => Ok(from_file(LineReader::open(path)?)),
            _ => {
                let terminal = io::stdin().is_terminal();
                if terminal {
                    options.note("reading lines from the terminal; Ctrl-D ends them");
                }
                let lines = LineReader::from_reader("standard input", io::stdin())?;
                // Whoever types wants an answer to each line.
                Ok(Texts { chunk: if terminal { 1 } else { CHUNK_LINES }, ..from_file(lines) })
            }
        }
    }
}

/// Texts in order, a chunk at a time.
pub struct Texts {
    source: Source,
    chunk: usize,
    /// Texts handed out before the present chunk.
    taken: usize,
    /// What is wrong with the line after the present chunk.
    fault: Option<LineError>,
}

enum Source {
    Arguments(std::vec::IntoIter<String>),
    Lines(LineReader),
}

/// Some texts, one after the other.
pub struct Chunk {
    /// The texts.
    pub texts: Vec<String>,
    /// Where they come from, as a message names it.
    origin: Option<PathBuf>,
    /// Texts before these.
    before: usize,
}

impl Chunk {
    /// Whether these are all texts there are, known from the beginning: arguments.
    pub fn is_everything(&self) -> bool {
        self.origin.is_none()
    }

    /// The place of the text at `index` of this chunk: file and line, or the argument's number.
    pub fn place(&self, index: usize) -> String {
        let number = self.before + index + 1;
        match &self.origin {
            Some(path) => format!("{}, line {number}", path.display()),
            None => format!("text {number}"),
        }
    }
}

impl Texts {
    /// The next texts; none at the end.
    ///
    /// # Errors
    /// A line that is no text, after the lines before it were returned.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, LineError> {
        let (texts, origin): (Vec<String>, _) = match &mut self.source {
            Source::Arguments(texts) => (texts.collect(), None),
            Source::Lines(lines) => {
                let good =
                    lines.by_ref().take(self.chunk).map_while(|line| line.map_err(|e| self.fault = Some(e)).ok());
                (good.collect(), Some(lines.path().to_path_buf()))
            }
        };
        let chunk = Chunk { before: self.taken, origin, texts };
        self.taken += chunk.texts.len();
        match self.fault.take() {
            Some(fault) if chunk.texts.is_empty() => Err(fault),
            fault => {
                self.fault = fault;
                Ok((!chunk.texts.is_empty()).then_some(chunk))
            }
        }
    }
}
