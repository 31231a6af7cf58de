//! Where a verb's texts come from: its arguments, a file, or standard input.
//!
//! A file is read in blocks of [`BLOCK_LINES`]. From a pipe or a terminal a block is what has arrived, so that a program
//! that writes a line and waits gets its answer; a thread reads ahead meanwhile. How lines arrive changes no text, no line number and no draw; it may
//! change a log-probability in its last bits, since lines of a block are computed together.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use atento::data::{LineError, LineReader};

use super::failure::Failure;
use super::options::Options;

/// The most lines of a block: many enough that batches are full, few enough to hold.
const BLOCK_LINES: usize = 2000;

/// How long a block waits for more lines after its first: too short to be noticed, long enough that what is written
/// together is taken together.
const GATHER: Duration = Duration::from_millis(10);

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
    /// Whether the texts are arguments, which nothing has to wait for.
    pub fn are_arguments(&self) -> bool {
        !self.texts.is_empty()
    }

    /// Whether there is one text alone, known from the beginning.
    pub fn is_one_argument(&self) -> bool {
        self.texts.len() == 1
    }

    /// The texts, read as they are asked for.
    ///
    /// # Errors
    /// A file that cannot be opened or is empty.
    pub fn open(&self, options: &Options) -> Result<Texts, Failure> {
        match &self.input {
            _ if !self.texts.is_empty() => Ok(Texts::of_arguments("text", &self.texts)),
            Some(path) if path != Path::new("-") => {
                let is_regular = path.metadata().is_ok_and(|file| file.is_file());
                Texts::of_lines(LineReader::open(path)?, is_regular)
            }
            _ => {
                if io::stdin().is_terminal() {
                    options.note("reading lines from the terminal; Ctrl-D ends them");
                }
                let lines = LineReader::from_reader("standard input", io::stdin())?;
                Texts::of_lines(lines, stdin_is_regular())
            }
        }
    }
}

#[cfg(unix)]
fn stdin_is_regular() -> bool {
    use std::os::fd::AsFd;
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    stdin.and_then(|file| file.metadata()).is_ok_and(|file| file.is_file())
}

#[cfg(not(unix))]
fn stdin_is_regular() -> bool {
    false
}

/// Texts in order, a block at a time.
pub struct Texts {
    source: Source,
    /// Texts handed out before the present block.
    taken: usize,
    /// What ended the reading, once the lines before it were handed out.
    fault: Option<LineError>,
}

enum Source {
    /// All arguments, until they are handed out, and what one is called.
    Arguments(&'static str, Vec<String>),
    /// A file, whose lines are all there.
    File(LineReader),
    /// Lines that a thread reads, with the name of where they come from.
    Arriving(PathBuf, Receiver<Result<String, LineError>>),
}

/// Some texts, one after the other.
pub struct Block {
    /// The texts, or why a line is none.
    pub texts: Vec<Result<String, LineError>>,
    /// Where they come from, as a message names it: a file, or what an argument is called.
    origin: Result<PathBuf, &'static str>,
    /// Texts before these.
    before: usize,
}

impl Block {
    /// Whether these are all texts there are, known from the beginning: arguments.
    pub fn is_everything(&self) -> bool {
        self.origin.is_err()
    }

    /// The number of the text at `index` of this block, from 0, over all blocks.
    pub fn number(&self, index: usize) -> usize {
        self.before + index
    }

    /// The place of the text at `index` of this block: file and line, or the argument's number.
    pub fn place(&self, index: usize) -> String {
        let number = self.number(index) + 1;
        match &self.origin {
            Ok(path) => format!("{}, line {number}", path.display()),
            Err(name) => format!("{name} {number}"),
        }
    }
}

impl Texts {
    /// Arguments, each of which a message calls by `name` and its number.
    pub fn of_arguments(name: &'static str, texts: &[String]) -> Self {
        Texts { source: Source::Arguments(name, texts.to_vec()), taken: 0, fault: None }
    }

    fn of_lines(lines: LineReader, is_regular: bool) -> Result<Self, Failure> {
        let lines = lines.past_faults();
        let source = match is_regular {
            true => Source::File(lines),
            false => {
                let name = lines.path().to_path_buf();
                let (sender, receiver) = sync_channel(BLOCK_LINES);
                // It ends with its lines, or once nobody receives them.
                let read_ahead = move || lines.into_iter().try_for_each(|line| sender.send(line)).is_ok();
                let thread = thread::Builder::new().name("input".into()).spawn(read_ahead);
                thread.context("cannot start a thread that reads").map_err(Failure::Run)?;
                Source::Arriving(name, receiver)
            }
        };
        Ok(Texts { source, taken: 0, fault: None })
    }

    /// The next texts; none at the end. From a pipe it waits for the first line and takes what arrives with it.
    ///
    /// # Errors
    /// What ends the reading, after the lines before it were returned.
    pub fn next_block(&mut self) -> Result<Option<Block>, LineError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let (found, origin) = match &mut self.source {
            Source::Arguments(name, texts) => (std::mem::take(texts).into_iter().map(Ok).collect(), Err(*name)),
            Source::File(lines) => (lines.by_ref().take(BLOCK_LINES).collect(), Ok(lines.path().to_path_buf())),
            Source::Arriving(name, lines) => (arrived(lines), Ok(name.clone())),
        };
        let texts = self.until_the_end(found)?;
        let block = Block { before: self.taken, origin, texts };
        self.taken += block.texts.len();
        Ok((!block.texts.is_empty()).then_some(block))
    }

    /// Keeps back the fault after which nothing can be read.
    fn until_the_end(
        &mut self,
        mut found: Vec<Result<String, LineError>>,
    ) -> Result<Vec<Result<String, LineError>>, LineError> {
        let is_end = |line: &Result<String, LineError>| line.as_ref().is_err_and(|fault| !fault.is_of_one_line());
        if !found.last().is_some_and(is_end) {
            return Ok(found);
        }
        match found.pop() {
            Some(Err(fault)) if found.is_empty() => Err(fault),
            last => {
                self.fault = last.and_then(Result::err);
                Ok(found)
            }
        }
    }
}

/// Waits for a line and takes those that follow it at once.
fn arrived(lines: &Receiver<Result<String, LineError>>) -> Vec<Result<String, LineError>> {
    let Ok(first) = lines.recv() else { return Vec::new() };
    let (mut found, until) = (vec![first], Instant::now() + GATHER);
    while found.len() < BLOCK_LINES
        && let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        found.push(line);
    }
    found
}
