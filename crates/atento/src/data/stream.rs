//! Deals out a data set, epoch by epoch, as packed batches from a position that can be saved.
//!
//! Which batch comes at a [`Cursor`] depends only on the data, the options and the cursor: not on
//! threads, nor on what was dealt out before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::Error;
use super::batches::{BatchOptions, PackedBatch, Pair};
use super::dataset::{Origin, Reading, Shared};
use super::encode::Taken;
use super::plan::Plan;

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
        self.thread.join().map_err(|_| Error::Thread { problem: "ended without a result".into() })
    }
}

impl Batches {
    /// The beginning of the first epoch.
    pub(super) fn new(shared: Arc<Shared>, options: BatchOptions) -> Self {
        Batches { shared, options, cursor: Cursor::default(), worker: None, ended: false }
    }

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
        let producer = Producer { shared: self.shared.clone(), options: self.options.clone(), sender };
        let cursor = self.cursor;
        let thread = std::thread::Builder::new().name("batches".into()).spawn(move || producer.run(cursor));
        let thread = thread.map_err(|e| Error::Thread { problem: format!("cannot be started: {e}") })?;
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
        while self.options.epochs.is_none_or(|epochs| cursor.epoch < epochs) {
            match self.epoch(cursor) {
                Ok(()) => cursor = Cursor { epoch: cursor.epoch + 1, ..Cursor::default() },
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
            Origin::Files { source, encoder, window_pairs } => (source, encoder, *window_pairs),
        };
        let changed = |at: usize, text: u64| match text == self.shared.windows[at].text {
            true => Ok(()),
            false => {
                let problem = format!("window {at} has other text than when the run began");
                Err(Error::Changed { place: source.to_string(), problem })
            }
        };
        let mut reading = Reading::start(source, encoder)?;
        for at in 0..start.window as usize {
            changed(at, reading.skip_window(encoder, window_pairs)?)?;
        }
        for at in start.window as usize..self.shared.windows.len() {
            let mut taken = Taken::default();
            let text = reading.window(source, encoder, window_pairs, &mut taken)?;
            changed(at, text.unwrap_or_default())?;
            let window = at as u64;
            let batch = if window == start.window { start.batch } else { 0 };
            self.window(&taken.kept, Cursor { window, batch, ..start })?;
        }
        Ok(())
    }

    /// Deals out the rest of a window.
    fn window(&self, pairs: &[Pair], start: Cursor) -> Result<(), Stop> {
        let plan = Plan::new(pairs, &self.options, start.epoch, start.window);
        let batches = plan.len() as u64;
        if start.batch > 0 && start.batch >= batches {
            let problem = format!("this window has {batches} batches");
            return Err(Error::Cursor { cursor: start, problem }.into());
        }
        for batch in start.batch..batches {
            let packed = plan.pack(batch as usize, pairs, self.options.start_id);
            let after = match batch + 1 < batches {
                true => Cursor { batch: batch + 1, ..start },
                false => self.after_window(start),
            };
            self.sender.send(Ok((packed, after))).map_err(|_| Stop::Hangup)?;
        }
        Ok(())
    }

    /// The beginning of the next window that has pairs: of this epoch, else of the next.
    fn after_window(&self, now: Cursor) -> Cursor {
        let mut rest = self.shared.windows.iter().enumerate().skip(now.window as usize + 1);
        match rest.find(|(_, window)| window.pairs > 0) {
            Some((window, _)) => Cursor { window: window as u64, batch: 0, ..now },
            None => Cursor { epoch: now.epoch + 1, ..Cursor::default() },
        }
    }
}
