//! The files of `output`, read by places.

use std::ops::Range;
use std::path::Path;

use super::Error;
use super::output::{BITS, ROW, SENTENCES, TOKENS, UNITS, WORDS};
use crate::data::hash::combine;
use crate::data::tokens::{Dtype, Shard};

/// The files, open.
#[derive(Debug)]
pub(super) struct Corpus {
    tokens: Shard,
    words: Shard,
    sentences: Shard,
    units: Shard,
    vocab_size: usize,
}

/// A stretch of sentences of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Where its sentences begin, among all tokens, and where the last ends: one more than there are sentences.
    pub(super) bounds: Vec<u64>,
    /// All units of its document.
    pub(super) document: Range<u64>,
}

/// Tokens and whether each begins a word.
pub(super) struct Stretch {
    pub(super) ids: Vec<u32>,
    pub(super) starts: Vec<bool>,
}

impl Corpus {
    /// # Errors
    /// A file that is not there, is cut short, or does not go with the others.
    pub(super) fn open(directory: &Path, dtype: Dtype, vocab_size: usize) -> Result<Self, Error> {
        let open = |name, dtype| Shard::open(directory.join(name), dtype);
        let corpus = Corpus {
            tokens: open(TOKENS, dtype)?,
            words: open(WORDS, Dtype::Uint16)?,
            sentences: open(SENTENCES, Dtype::Uint32)?,
            units: open(UNITS, Dtype::Uint32)?,
            vocab_size,
        };
        let words = corpus.tokens.len().div_ceil(BITS);
        if corpus.words.len() != words {
            let found = corpus.words.len();
            let problem = format!("{found} numbers, expected {words} for {} tokens", corpus.tokens.len());
            return Err(Error::damaged(corpus.words.path(), problem));
        }
        let rows = corpus.units.len();
        if !rows.is_multiple_of(ROW) || rows < 2 * ROW {
            let problem = format!("{rows} numbers, expected {ROW} for each unit, and {ROW} more");
            return Err(Error::damaged(corpus.units.path(), problem));
        }
        Ok(corpus)
    }

    /// Number of units.
    pub(super) fn units(&self) -> u64 {
        (self.units.len() / ROW - 1) as u64
    }

    /// Number of tokens.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens.len() as u64
    }

    /// A unit, with its sentences.
    ///
    /// # Errors
    /// The files contradict each other, or cannot be read.
    pub(super) fn unit(&self, number: u64) -> Result<Unit, Error> {
        let damaged = |shard: &Shard, problem: &str| Error::damaged(shard.path(), format!("unit {number} {problem}"));
        let row = number as usize * ROW;
        let rows = self.units.read(row..row + 2 * ROW)?;
        let whole = |at: usize| u64::from(rows[at]) | u64::from(rows[at + 1]) << 32;
        let (tokens, sentences) = (whole(0)..whole(ROW), whole(2)..whole(ROW + 2));
        let document = u64::from(rows[4])..u64::from(rows[4]) + u64::from(rows[5]);
        if !document.contains(&number) || document.end > self.units() {
            return Err(damaged(&self.units, "is in no document"));
        }
        if sentences.start >= sentences.end || sentences.end > self.sentences.len() as u64 {
            return Err(damaged(&self.units, "has sentences that do not exist"));
        }
        if tokens.end > self.tokens() {
            return Err(damaged(&self.units, "has tokens that do not exist"));
        }
        let lengths = self.sentences.read(sentences.start as usize..sentences.end as usize)?;
        let mut bounds = Vec::with_capacity(lengths.len() + 1);
        bounds.push(tokens.start);
        let mut at = tokens.start;
        for length in lengths {
            at += u64::from(length);
            bounds.push(at);
        }
        if at != tokens.end || bounds.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(damaged(&self.sentences, "has sentences that are not as long as it is"));
        }
        Ok(Unit { bounds, document })
    }

    /// Some tokens.
    ///
    /// # Errors
    /// An id beyond the vocabulary; the files cannot be read.
    pub(super) fn stretch(&self, range: Range<u64>) -> Result<Stretch, Error> {
        let (start, end) = (range.start as usize, range.end as usize);
        let ids = self.tokens.read_checked(start..end, self.vocab_size)?;
        let first = start / BITS;
        let bits = self.words.read(first..end.div_ceil(BITS))?;
        let starts = (start..end).map(|at| bits[at / BITS - first] >> (at % BITS) & 1 == 1).collect();
        Ok(Stretch { ids, starts })
    }

    /// Whether there are units of two documents.
    ///
    /// # Errors
    /// Those of [`unit`](Self::unit).
    pub(super) fn has_other_documents(&self) -> Result<bool, Error> {
        Ok(self.unit(0)?.document.end < self.units())
    }

    /// A hash of all files; on all cores.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn hash(&self) -> Result<u64, Error> {
        let shards = [&self.tokens, &self.words, &self.sentences, &self.units];
        shards.into_iter().try_fold(0, |hash, shard| Ok(combine(hash, shard.hash()?)))
    }
}
