//! Deals out a data set, epoch by epoch, as packed batches from a position that can be saved.
//!
//! The pairs of the files are taken in windows (200,000 by default): a window is shuffled and cut into
//! batches as a whole, so memory is bounded by it. Data that fits into one window is tokenised once and
//! kept; larger data is read again in every epoch. Which batch comes at a [`Cursor`] depends only on
//! the data, the options and the cursor: not on threads, nor on what was dealt out before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::batches::{BatchOptions, PackedBatch, Pair, Plan};
use super::encode::{PairEncoder, PairOptions, Seen};
use super::parallel::{ParallelReader, ParallelSource, RawPair};
use super::{DataReport, Error};
use crate::text::Tokenizer;

/// Pairs of the files in a window, unless asked otherwise.
pub const WINDOW_PAIRS: usize = 200_000;

/// Pairs that are tokenised at once.
const CHUNK_PAIRS: usize = 8192;

/// Batches prepared ahead: these in the queue, and one that waits to enter it.
const QUEUED_BATCHES: usize = 3;

/// A position between two batches. Ordered by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs dealt out completely.
    pub epoch: u64,
    /// The window, from 0.
    pub window: u64,
    /// The next batch of that window, from 0.
    pub batch: u64,
}

/// A tokenised set of pairs; clones share it.
#[derive(Clone, Debug)]
pub struct Dataset {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Origin,
    /// Pairs used in each window.
    windows: Vec<usize>,
    report: DataReport,
}

#[derive(Debug)]
enum Origin {
    /// Everything, in one window.
    Memory(Vec<Pair>),
    /// Read window by window.
    Files {
        source: ParallelSource,
        encoder: PairEncoder,
        window_pairs: usize,
    },
}

impl Dataset {
    /// Reads the whole data set once, so that every fault in it shows before training starts and the
    /// [`report`](Self::report) is complete. Pairs are kept if they fit into one window of
    /// `window_pairs` (see [`WINDOW_PAIRS`]).
    ///
    /// # Errors
    /// Options that cannot work; files that cannot be read or do not pair; with
    /// [`OnTruncate::Error`](super::OnTruncate::Error) a sentence that is too long;
    /// [`Error::NothingLeft`].
    pub fn open(
        source: ParallelSource,
        source_tokenizer: Arc<Tokenizer>,
        target_tokenizer: Arc<Tokenizer>,
        options: PairOptions,
        window_pairs: usize,
    ) -> Result<Self, Error> {
        if window_pairs == 0 {
            let problem = "a window needs at least one pair".into();
            return Err(Error::Option {
                key: "window_pairs",
                value: "0".into(),
                problem,
            });
        }
        let encoder = PairEncoder::new(source_tokenizer, target_tokenizer, options)?;
        let (mut windows, mut report, mut kept) = (Vec::new(), DataReport::default(), Vec::new());
        let mut reading = Reading::start(&source)?;
        while let Some(pairs) = reading.window(&source, &encoder, window_pairs, &mut report)? {
            windows.push(pairs.len());
            kept = pairs;
        }
        refuse_nothing(&source.to_string(), &report)?;
        let origin = match windows.len() {
            1 => Origin::Memory(kept),
            _ => Origin::Files {
                source,
                encoder,
                window_pairs,
            },
        };
        Ok(Dataset {
            shared: Arc::new(Shared {
                origin,
                windows,
                report,
            }),
        })
    }

    /// A data set of pairs that are already in memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for reading.
    pub fn from_text(
        name: &str,
        pairs: &[(String, String)],
        source_tokenizer: Arc<Tokenizer>,
        target_tokenizer: Arc<Tokenizer>,
        options: PairOptions,
    ) -> Result<Self, Error> {
        let encoder = PairEncoder::new(source_tokenizer, target_tokenizer, options)?;
        let (mut seen, mut report, mut kept) = (Seen::new(), DataReport::default(), Vec::new());
        let place = |line: u64, _target: bool| format!("{name}, pair {}", line + 1);
        let raw = |(line, (source, target)): (usize, &(String, String))| RawPair {
            line: line as u64,
            source: source.clone(),
            target: target.clone(),
        };
        let raw: Vec<RawPair> = pairs.iter().enumerate().map(raw).collect();
        encoder.encode(&raw, &mut seen, &mut report, &place, &mut kept)?;
        refuse_nothing(name, &report)?;
        let windows = vec![kept.len()];
        Ok(Dataset {
            shared: Arc::new(Shared {
                origin: Origin::Memory(kept),
                windows,
                report,
            }),
        })
    }

    /// What was read, used and left out.
    pub fn report(&self) -> &DataReport {
        &self.shared.report
    }

    /// The pairs, where they are all in memory.
    pub fn pairs(&self) -> Option<&[Pair]> {
        match &self.shared.origin {
            Origin::Memory(pairs) => Some(pairs),
            Origin::Files { .. } => None,
        }
    }

    /// Batches from the beginning; [`Batches::seek`] goes elsewhere.
    ///
    /// # Errors
    /// [`Error::Option`] if the budget cannot hold the longest sentence.
    pub fn batches(&self, options: BatchOptions) -> Result<Batches, Error> {
        let longest = self
            .report()
            .longest_source
            .max(self.report().longest_target);
        options.check(longest as usize)?;
        Ok(Batches {
            shared: self.shared.clone(),
            options,
            cursor: Cursor::default(),
            worker: None,
            ended: false,
        })
    }
}

fn refuse_nothing(place: &str, report: &DataReport) -> Result<(), Error> {
    match report.kept {
        0 => Err(Error::NothingLeft {
            place: place.into(),
            report: report.to_string(),
        }),
        _ => Ok(()),
    }
}

/// One pass over the files.
struct Reading {
    pairs: ParallelReader,
    seen: Seen,
}

impl Reading {
    fn start(source: &ParallelSource) -> Result<Self, Error> {
        Ok(Reading {
            pairs: source.open()?,
            seen: Seen::new(),
        })
    }

    /// The used pairs of the next `window_pairs` pairs of the files; `None` at their end.
    fn window(
        &mut self,
        source: &ParallelSource,
        encoder: &PairEncoder,
        window_pairs: usize,
        report: &mut DataReport,
    ) -> Result<Option<Vec<Pair>>, Error> {
        let (mut left, mut kept) = (window_pairs, Vec::new());
        let place = |line, target| source.place(line, target);
        while let Some(chunk) = self.chunk(&mut left)? {
            encoder.encode(&chunk, &mut self.seen, report, &place, &mut kept)?;
        }
        Ok((left < window_pairs).then_some(kept))
    }

    /// Passes over a window without tokenising it; only what later windows depend on is noted.
    fn skip_window(&mut self, encoder: &PairEncoder, window_pairs: usize) -> Result<(), Error> {
        let mut left = window_pairs;
        while let Some(chunk) = self.chunk(&mut left)? {
            encoder.pass_over(&chunk, &mut self.seen);
        }
        Ok(())
    }

    /// Some of the next pairs, at most `left`, which is lowered; `None` when none are left.
    fn chunk(&mut self, left: &mut usize) -> Result<Option<Vec<RawPair>>, Error> {
        let chunk: Vec<RawPair> = self
            .pairs
            .by_ref()
            .take(CHUNK_PAIRS.min(*left))
            .collect::<Result<_, _>>()?;
        *left -= chunk.len();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// An endless (or, with [`BatchOptions::epochs`], ending) sequence of batches, each with the cursor
/// that continues after it. A thread prepares up to four batches ahead. After an error it ends.
#[derive(Debug)]
pub struct Batches {
    shared: Arc<Shared>,
    options: BatchOptions,
    cursor: Cursor,
    worker: Option<Worker>,
    ended: bool,
}

type Item = Result<(PackedBatch, Cursor), Error>;

#[derive(Debug)]
struct Worker {
    batches: Receiver<Item>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Ends the thread and waits for it; an error if it panicked.
    fn stop(self) -> Result<(), Error> {
        // Without its receiver, the thread's next send fails and it returns.
        drop(self.batches);
        self.thread.join().map_err(|_| Error::Thread {
            problem: "ended without a result".into(),
        })
    }
}

impl Batches {
    /// The position before the next batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues from a cursor, exactly as an uninterrupted sequence would. For data larger than a
    /// window, the windows before it are read again first.
    ///
    /// # Errors
    /// [`Error::Cursor`] if there is no such window. (A batch that does not exist shows at `next`.)
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        let windows = self.shared.windows.len() as u64;
        if cursor.window >= windows {
            let problem = format!("the data has {windows} windows");
            return Err(Error::Cursor { cursor, problem });
        }
        if let Some(worker) = self.worker.take() {
            worker.stop()?;
        }
        self.cursor = cursor;
        self.ended = false;
        Ok(())
    }

    fn start(&self) -> Result<Worker, Error> {
        let (sender, batches) = sync_channel(QUEUED_BATCHES);
        let producer = Producer {
            shared: self.shared.clone(),
            options: self.options.clone(),
            sender,
        };
        let cursor = self.cursor;
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || producer.run(cursor));
        let thread = thread.map_err(|e| Error::Thread {
            problem: format!("cannot be started: {e}"),
        })?;
        Ok(Worker { batches, thread })
    }

    fn receive(&mut self) -> Option<Item> {
        let worker = match self.worker.take().map_or_else(|| self.start(), Ok) {
            Ok(worker) => worker,
            Err(error) => return Some(Err(error)),
        };
        match worker.batches.recv() {
            Ok(item) => {
                self.worker = Some(worker);
                Some(item)
            }
            Err(_) => worker.stop().err().map(Err),
        }
    }
}

impl Iterator for Batches {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.ended {
            return None;
        }
        let item = self.receive();
        match &item {
            Some(Ok((_, cursor))) => self.cursor = *cursor,
            _ => self.ended = true,
        }
        item
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            // A panic of the thread has nobody left to be reported to.
            let _ = worker.stop();
        }
    }
}

/// Why the thread stops early.
enum Stop {
    /// Nobody receives batches any more.
    Hangup,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

struct Producer {
    shared: Arc<Shared>,
    options: BatchOptions,
    sender: SyncSender<Item>,
}

impl Producer {
    fn run(self, mut cursor: Cursor) {
        while self
            .options
            .epochs
            .is_none_or(|epochs| cursor.epoch < epochs)
        {
            match self.epoch(cursor) {
                Ok(()) => {
                    cursor = Cursor {
                        epoch: cursor.epoch + 1,
                        ..Cursor::default()
                    }
                }
                Err(Stop::Hangup) => return,
                Err(Stop::Failed(error)) => {
                    // If nobody receives the error, nobody waits for the batch it prevented.
                    let _ = self.sender.send(Err(error));
                    return;
                }
            }
        }
    }

    /// Deals out the rest of an epoch.
    fn epoch(&self, start: Cursor) -> Result<(), Stop> {
        let (source, encoder, window_pairs) = match &self.shared.origin {
            Origin::Memory(pairs) => return self.window(pairs, start),
            Origin::Files {
                source,
                encoder,
                window_pairs,
            } => (source, encoder, *window_pairs),
        };
        let changed = |problem| Error::Changed {
            place: source.to_string(),
            problem,
        };
        let mut reading = Reading::start(source)?;
        for _ in 0..start.window {
            reading.skip_window(encoder, window_pairs)?;
        }
        for (at, &expected) in self
            .shared
            .windows
            .iter()
            .enumerate()
            .skip(start.window as usize)
        {
            let pairs = reading
                .window(source, encoder, window_pairs, &mut DataReport::default())?
                .unwrap_or_default();
            if pairs.len() != expected {
                let found = pairs.len();
                return Err(changed(format!(
                    "window {at} has {found} usable pairs, at first it had {expected}"
                ))
                .into());
            }
            let window = at as u64;
            let batch = if window == start.window {
                start.batch
            } else {
                0
            };
            self.window(
                &pairs,
                Cursor {
                    window,
                    batch,
                    ..start
                },
            )?;
        }
        Ok(())
    }

    /// Deals out the rest of a window.
    fn window(&self, pairs: &[Pair], start: Cursor) -> Result<(), Stop> {
        let plan = Plan::new(pairs, &self.options, start.epoch, start.window);
        let batches = plan.len() as u64;
        if start.batch > 0 && start.batch >= batches {
            let problem = format!("this window has {batches} batches");
            return Err(Error::Cursor {
                cursor: start,
                problem,
            }
            .into());
        }
        for batch in start.batch..batches {
            let packed = plan.pack(batch as usize, pairs, self.options.start_id);
            let after = match batch + 1 < batches {
                true => Cursor {
                    batch: batch + 1,
                    ..start
                },
                false => self.after_window(start),
            };
            self.sender
                .send(Ok((packed, after)))
                .map_err(|_| Stop::Hangup)?;
        }
        Ok(())
    }

    /// The beginning of the next window that has pairs: of this epoch, else of the next.
    fn after_window(&self, now: Cursor) -> Cursor {
        let mut rest = self
            .shared
            .windows
            .iter()
            .enumerate()
            .skip(now.window as usize + 1);
        match rest.find(|(_, pairs)| **pairs > 0) {
            Some((window, _)) => Cursor {
                window: window as u64,
                batch: 0,
                ..now
            },
            None => Cursor {
                epoch: now.epoch + 1,
                ..Cursor::default()
            },
        }
    }
}
