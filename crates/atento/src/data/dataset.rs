//! A tokenised data set, in memory or read window by window.
//!
//! The pairs of the files are taken in windows (200,000 by default): a window is shuffled and cut into
//! batches as a whole, so memory is bounded by it. Data that fits into one window is tokenised once and
//! kept; larger data is read again in every epoch.

use std::sync::Arc;

use super::bad_lines::GoodPairs;
use super::batches::{BatchOptions, Pair};
use super::encode::{PairEncoder, PairOptions, Seen, Taken, pair_hash};
use super::hash::{add_ids, combine, hash};
use super::parallel::{MAX_LOADED_PAIRS, ParallelSource, RawPair};
use super::plan::Plan;
use super::{Batches, DataReport, Error};
use crate::text::Tokenizer;

/// Pairs of the files in a window, unless asked otherwise.
pub const WINDOW_PAIRS: usize = 200_000;

/// Pairs that are tokenised at once, and about how many bytes of text.
const CHUNK_PAIRS: usize = 8192;
const CHUNK_BYTES: usize = 1 << 26;

/// A tokenised set of pairs; clones share it.
#[derive(Clone, Debug)]
pub struct Dataset {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) windows: Vec<Window>,
    report: DataReport,
    hash: u64,
    /// Those of the held-out pairs named to [`Dataset::open_beside`] that are in the data, by their hashes.
    in_both: Seen,
    /// The text of the pairs that are held out by [`PairOptions::valid_fraction`].
    held_out: Vec<(String, String)>,
}

/// What is known of a window after the first reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Pairs that are used.
    pub(super) pairs: usize,
    /// A hash of its text, used or not.
    pub(super) text: u64,
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
        Self::open_beside(&[], source, source_tokenizer, target_tokenizer, options, window_pairs)
    }

    /// The same, with an eye on pairs that are held out: [`holds`](Self::holds) says which of them are in the data too.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_beside(
        held_out: &[(String, String)],
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
        let (mut windows, mut taken, mut kept, mut hash) = (Vec::new(), Taken::default(), Vec::new(), 0);
        let mut reading = Reading::start(&source, &encoder)?;
        while let Some(text) = reading.window(&source, &encoder, window_pairs, &mut taken)? {
            kept = std::mem::take(&mut taken.kept);
            windows.push(Window { pairs: kept.len(), text });
            hash = add_pairs(hash, &kept);
            if taken.held_out.len() > MAX_LOADED_PAIRS {
                let place = format!("the pairs that are held out of {source}");
                return Err(Error::TooManyPairs { place, limit: MAX_LOADED_PAIRS });
            }
        }
        let Taken { held_out: own, report, .. } = taken;
        let report = DataReport { lines: reading.pairs.report(), ..report };
        refuse_nothing(&source.to_string(), &report)?;
        // A pair that is held out for validation is not trained on.
        let held_out = held_out.iter().filter(|(source, _)| !encoder.holds_out(source));
        let held_out = held_out.map(|(source, target)| pair_hash(source, target));
        let in_both = held_out.filter(|pair| reading.seen.contains(pair)).collect();
        let origin = match windows.len() {
            1 => Origin::Memory(kept),
            _ => Origin::Files { source, encoder, window_pairs },
        };
        Ok(Dataset { shared: Arc::new(Shared { origin, windows, report, hash, in_both, held_out: own }) })
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
        let (mut seen, mut taken) = (Seen::new(), Taken::default());
        let place = |line: u64, _target: bool| format!("{name}, pair {}", line + 1);
        let raw = |(line, (source, target)): (usize, &(String, String))| RawPair {
            line: line as u64,
            source: source.clone(),
            target: target.clone(),
            too_long: false,
        };
        let raw: Vec<RawPair> = pairs.iter().enumerate().map(raw).collect();
        encoder.encode(&raw, &mut seen, &place, &mut taken)?;
        let Taken { kept, held_out, report } = taken;
        refuse_nothing(name, &report)?;
        let (windows, hash) = (vec![Window { pairs: kept.len(), text: 0 }], add_pairs(0, &kept));
        let in_both = Seen::new();
        let origin = Origin::Memory(kept);
        Ok(Dataset { shared: Arc::new(Shared { origin, windows, report, hash, in_both, held_out }) })
    }

    /// The text of the pairs that are held out for validation, in their order.
    pub fn held_out(&self) -> &[(String, String)] {
        &self.shared.held_out
    }

    /// Whether a held-out pair, one of those named to [`open_beside`](Self::open_beside), is in the data too.
    pub fn holds(&self, source: &str, target: &str) -> bool {
        self.shared.in_both.contains(&pair_hash(source, target))
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

impl Dataset {
    /// Batches of the first epoch, without building them: counted where all pairs are in memory, else from the tokens.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn batches_per_epoch(&self, options: &BatchOptions) -> Result<u64, Error> {
        let report = self.report();
        options.check(report.longest_source.max(report.longest_target) as usize)?;
        if let Some(pairs) = self.pairs() {
            return Ok(Plan::new(pairs, options, 0, 0).len() as u64);
        }
        let by_tokens = report.source_tokens.max(report.target_tokens).div_ceil(options.max_tokens as u64);
        let by_sentences = options.max_sentences.map_or(0, |most| report.kept.div_ceil(most as u64));
        Ok(by_tokens.max(by_sentences).max(self.shared.windows.len() as u64))
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
    pairs: GoodPairs,
    seen: Seen,
}

impl Reading {
    pub(super) fn start(source: &ParallelSource, encoder: &PairEncoder) -> Result<Self, Error> {
        Ok(Reading { pairs: encoder.read(source)?, seen: Seen::new() })
    }

    /// Takes the next `window_pairs` pairs of the files and returns the hash of their text; `None` at the end.
    pub(super) fn window(
        &mut self,
        source: &ParallelSource,
        encoder: &PairEncoder,
        window_pairs: usize,
        taken: &mut Taken,
    ) -> Result<Option<u64>, Error> {
        let (mut left, mut text) = (window_pairs, 0);
        let place = |line, target| source.place(line, target);
        while let Some(chunk) = self.chunk(&mut left)? {
            encoder.encode(&chunk, &mut self.seen, &place, taken)?;
            text = add_text(text, &chunk);
        }
        Ok((left < window_pairs).then_some(text))
    }

    /// Passes over a window without tokenising it; only what later windows depend on is noted. Returns the hash of its
    /// text.
    pub(super) fn skip_window(&mut self, encoder: &PairEncoder, window_pairs: usize) -> Result<u64, Error> {
        let (mut left, mut text) = (window_pairs, 0);
        while let Some(chunk) = self.chunk(&mut left)? {
            encoder.pass_over(&chunk, &mut self.seen);
            text = add_text(text, &chunk);
        }
        Ok(text)
    }

    /// Some of the next pairs, at most `left`, which is lowered; `None` when none are left.
    fn chunk(&mut self, left: &mut usize) -> Result<Option<Vec<RawPair>>, Error> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < CHUNK_PAIRS.min(*left) && bytes < CHUNK_BYTES {
            let Some(pair) = self.pairs.next().transpose()? else { break };
            bytes += pair.source.len() + pair.target.len();
            chunk.push(pair);
        }
        *left -= chunk.len();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

fn add_text(text: u64, pairs: &[RawPair]) -> u64 {
    pairs.iter().fold(text, |text, pair| {
        [&pair.source, &pair.target].into_iter().fold(text, |text, side| combine(text, hash(side.as_bytes())))
    })
}
