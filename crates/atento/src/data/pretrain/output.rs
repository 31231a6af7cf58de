//! The files while they grow.
//!
//! ```text
//! tokens.bin      the ids, as language models' token files have them
//! words.bin       a bit for each token, 16 in a number, the lowest first: whether it begins a word
//! sentences.bin   the number of tokens of each sentence
//! units.bin       six numbers for each unit, and a last row that ends the last: see below
//! ```
//!
//! A unit is a stretch of sentences of one document, about [`UNIT_TOKENS`] long, a whole document in most texts. Examples
//! are drawn from a unit at a time, so that a document of any length takes bounded memory. Its row holds the first token,
//! the first sentence (each as a low and a high half), the first unit of its document, and the number of those.

use std::collections::HashSet;
use std::path::Path;

use super::words::Encoded;
use super::{CorpusReport, Error};
use crate::data::hash::combine;
use crate::data::tokens::Dtype;
use crate::data::tokens::output::TokenWriter;

/// Names of the files.
pub(super) const TOKENS: &str = "tokens.bin";
pub(super) const WORDS: &str = "words.bin";
pub(super) const SENTENCES: &str = "sentences.bin";
pub(super) const UNITS: &str = "units.bin";

/// A unit ends with the sentence that reaches so many tokens.
pub(super) const UNIT_TOKENS: u64 = 1 << 14;
/// Numbers of a unit's row.
pub(super) const ROW: usize = 6;
/// Bits in a number of [`WORDS`].
pub(super) const BITS: usize = 16;

/// All files and what is known of the documents in them.
pub(super) struct Sink {
    tokens: TokenWriter,
    words: TokenWriter,
    sentences: TokenWriter,
    units: TokenWriter,
    /// The number of [`WORDS`] that is not full, and its bits.
    bits: (u32, usize),
    /// Units of the documents that are written.
    written: u64,
    open: Option<Open>,
    /// Hashes of the documents.
    seen: HashSet<u64>,
    drop_duplicates: bool,
    pub(super) report: CorpusReport,
}

/// A document whose end has not come.
struct Open {
    hash: u64,
    /// What there was before it.
    before: (CorpusReport, (u32, usize)),
    /// First token and first sentence of each of its units.
    units: Vec<(u64, u64)>,
}

impl Sink {
    pub(super) fn new(directory: &Path, dtype: Dtype, drop_duplicates: bool) -> Result<Self, Error> {
        let create = |name, dtype| TokenWriter::create(directory.join(name), dtype);
        Ok(Sink {
            tokens: create(TOKENS, dtype)?,
            words: create(WORDS, Dtype::Uint16)?,
            sentences: create(SENTENCES, Dtype::Uint32)?,
            units: create(UNITS, Dtype::Uint32)?,
            bits: (0, 0),
            written: 0,
            open: None,
            seen: HashSet::new(),
            drop_duplicates,
            report: CorpusReport::default(),
        })
    }

    /// Takes the next piece; `last` ends its document, `one_line` is whether that has one line, and `by_ends`
    /// whether it was therefore cut into sentences.
    pub(super) fn add(
        &mut self,
        encoded: &Encoded,
        (bytes, hash): (u64, u64),
        (last, one_line, by_ends): (bool, bool, bool),
    ) -> Result<(), Error> {
        let before = (self.report, self.bits);
        let mut open = self.open.take().unwrap_or(Open { hash: 0, before, units: Vec::new() });
        open.hash = combine(open.hash, hash);
        self.write(encoded, &mut open)?;
        self.report.bytes += bytes;
        self.report.characters += encoded.characters;
        self.report.special_in_text += encoded.special;
        self.report.unknown_tokens += encoded.unknown;
        if !last {
            self.open = Some(open);
            return Ok(());
        }
        self.end(open, one_line, by_ends)
    }

    fn end(&mut self, open: Open, one_line: bool, by_ends: bool) -> Result<(), Error> {
        if open.units.is_empty() {
            self.report = CorpusReport { empty: self.report.empty + 1, ..open.before.0 };
            return Ok(());
        }
        let is_new = self.seen.insert(open.hash);
        self.report.duplicates += u64::from(!is_new);
        if !is_new && self.drop_duplicates {
            let (duplicates, duplicates_dropped) = (self.report.duplicates, self.report.duplicates_dropped + 1);
            self.report = CorpusReport { duplicates, duplicates_dropped, ..open.before.0 };
            self.bits = open.before.1;
            self.tokens.truncate(self.report.tokens)?;
            self.words.truncate(self.report.tokens / BITS as u64)?;
            self.sentences.truncate(self.report.sentences)?;
            return Ok(());
        }
        self.report.documents_kept += 1;
        self.report.one_line_documents += u64::from(one_line);
        self.report.cut_by_ends += u64::from(by_ends);
        let (first, count) = (self.written, open.units.len() as u64);
        self.written += count;
        for (token, sentence) in open.units {
            self.row(token, sentence, first, count)?;
        }
        Ok(())
    }

    fn row(&mut self, token: u64, sentence: u64, first: u64, count: u64) -> Result<(), Error> {
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let [a, b] = halves(token);
        let [c, d] = halves(sentence);
        let number = |number: u64| {
            u32::try_from(number)
                .map_err(|_| Error::option("paths", number, "the texts have more units than 4,294,967,295"))
        };
        Ok(self.units.append(&[a, b, c, d, number(first)?, number(count)?])?)
    }

    fn write(&mut self, encoded: &Encoded, open: &mut Open) -> Result<(), Error> {
        let mut at = self.report.tokens;
        for (sentence, &length) in (self.report.sentences..).zip(&encoded.lengths) {
            if open.units.last().is_none_or(|(first, _)| at - first >= UNIT_TOKENS) {
                open.units.push((at, sentence));
            }
            at += u64::from(length);
        }
        self.tokens.append(&encoded.tokens.ids)?;
        self.sentences.append(&encoded.lengths)?;
        let mut full = Vec::with_capacity(encoded.tokens.starts.len() / BITS + 1);
        for &starts in &encoded.tokens.starts {
            self.bits = (self.bits.0 | u32::from(starts) << self.bits.1, self.bits.1 + 1);
            if self.bits.1 == BITS {
                full.push(std::mem::take(&mut self.bits).0);
            }
        }
        self.words.append(&full)?;
        self.report.tokens += encoded.tokens.ids.len() as u64;
        self.report.sentences += encoded.lengths.len() as u64;
        Ok(())
    }

    /// Closes the files.
    pub(super) fn finish(mut self) -> Result<CorpusReport, Error> {
        let (tokens, sentences) = (self.report.tokens, self.report.sentences);
        self.row(tokens, sentences, self.written, 0)?;
        if self.bits.1 > 0 {
            self.words.append(&[self.bits.0])?;
        }
        for writer in [self.tokens, self.words, self.sentences, self.units] {
            writer.finish()?;
        }
        Ok(CorpusReport { units: self.written, distinct_documents: self.seen.len() as u64, ..self.report })
    }
}
