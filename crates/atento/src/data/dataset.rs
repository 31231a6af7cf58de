//! A tokenised data set, in memory or read window by window.
//!
//! The pairs of the files are taken in windows (200,000 by default): a window is shuffled and cut into
//! batches as a whole, so memory is bounded by it. Data that fits into one window is tokenised once and
//! kept; larger data is read again in every epoch.

use std::sync::Arc;

use super::batches::{BatchOptions, Pair};
use super::encode::{PairEncoder, PairOptions, Seen};
use super::hash::add_ids;
use super::parallel::{ParallelReader, ParallelSource, RawPair};
use super::{Batches, DataReport, Error};
use crate::text::Tokenizer;

/// Pairs of the files in a window, unless asked otherwise.
pub const WINDOW_PAIRS: usize = 200_000;

/// Pairs that are tokenised at once.
const CHUNK_PAIRS: usize = 8192;

/// A tokenised set of pairs; clones share it.
#[derive(Clone, Debug)]
pub struct Dataset {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) origin: Origin,
    /// Pairs used in each window.
    pub(super) windows: Vec<usize>,
    report: DataReport,
    hash: u64,
}

#[derive(Debug)]
pub(super) enum Origin {
    /// Everything, in one window.
    Memory(Vec<Pair>),
    /// Read window by window.
    Files { source: ParallelSource, encoder: PairEncoder, window_pairs: usize },
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
            return Err(Error::Option { key: "window_pairs", value: "0".into(), problem });
        }
        let encoder = PairEncoder::new(source_tokenizer, target_tokenizer, options)?;
        let (mut windows, mut report, mut kept, mut hash) = (Vec::new(), DataReport::default(), Vec::new(), 0);
        let mut reading = Reading::start(&source)?;
        while let Some(pairs) = reading.window(&source, &encoder, window_pairs, &mut report)? {
            windows.push(pairs.len());
            hash = add_pairs(hash, &pairs);
            kept = pairs;
        }
        refuse_nothing(&source.to_string(), &report)?;
        let origin = match windows.len() {
            1 => Origin::Memory(kept),
            _ => Origin::Files { source, encoder, window_pairs },
        };
        Ok(Dataset { shared: Arc::new(Shared { origin, windows, report, hash }) })
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
        let (windows, hash) = (vec![kept.len()], add_pairs(0, &kept));
        Ok(Dataset { shared: Arc::new(Shared { origin: Origin::Memory(kept), windows, report, hash }) })
    }

    /// What was read, used and left out.
    pub fn report(&self) -> &DataReport {
        &self.shared.report
    }

    /// A hash of all pairs that are used, in their order.
    pub fn hash(&self) -> u64 {
        self.shared.hash
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
        let longest = self.report().longest_source.max(self.report().longest_target);
        options.check(longest as usize)?;
        Ok(Batches::new(self.shared.clone(), options))
    }
}

fn add_pairs(hash: u64, pairs: &[Pair]) -> u64 {
    pairs.iter().fold(hash, |hash, pair| add_ids(add_ids(hash, &pair.source), &pair.target))
}

fn refuse_nothing(place: &str, report: &DataReport) -> Result<(), Error> {
    match report.kept {
        0 => Err(Error::NothingLeft { place: place.into(), report: report.to_string() }),
        _ => Ok(()),
    }
}

/// One pass over the files.
pub(super) struct Reading {
    pairs: ParallelReader,
    seen: Seen,
}

impl Reading {
    pub(super) fn start(source: &ParallelSource) -> Result<Self, Error> {
        Ok(Reading { pairs: source.open()?, seen: Seen::new() })
    }

    /// The used pairs of the next `window_pairs` pairs of the files; `None` at their end.
    pub(super) fn window(
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
    pub(super) fn skip_window(&mut self, encoder: &PairEncoder, window_pairs: usize) -> Result<(), Error> {
        let mut left = window_pairs;
        while let Some(chunk) = self.chunk(&mut left)? {
            encoder.pass_over(&chunk, &mut self.seen);
        }
        Ok(())
    }

    /// Some of the next pairs, at most `left`, which is lowered; `None` when none are left.
    fn chunk(&mut self, left: &mut usize) -> Result<Option<Vec<RawPair>>, Error> {
        let chunk: Vec<RawPair> = self.pairs.by_ref().take(CHUNK_PAIRS.min(*left)).collect::<Result<_, _>>()?;
        *left -= chunk.len();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
