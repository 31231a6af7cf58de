//! Texts to files, in one pass.
//!
//! Pieces of documents are read, tokenised on all cores and written in their order, so the files do not depend on the
//! number of threads; while some are tokenised, the next are read.

use std::path::Path;

use rayon::prelude::*;

use super::output::Sink;
use super::sentences::is_one_line;
use super::words::{Encoded, Encoder};
use super::{CorpusReport, Error, Fold, PretrainConfig};
use crate::data::hash::{combine, hash};
use crate::data::tokens::documents::{Documents, PIECE_BYTES, Piece};
use crate::data::tokens::{self, Dtype, OnFault};
use crate::text;

/// Text that is tokenised at once, in bytes, and the most pieces of it.
const BATCH_BYTES: usize = 1 << 22;
const BATCH_PIECES: usize = 1 << 15;

/// Writes the files into a directory.
pub(super) fn write_files(
    config: &PretrainConfig,
    encoder: &Encoder<'_>,
    (directory, dtype): (&Path, Dtype),
    on_fault: OnFault<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<CorpusReport, Error> {
    let mut sink = Sink::new(directory, dtype, config.texts.drop_duplicates)?;
    let mut reader = Reader::new(config)?;
    let mut read = 0;
    let mut batch = reader.batch(on_fault)?;
    while !batch.is_empty() {
        // The reader may tell a fault, which only this thread can: it reads here while the others tokenise.
        let (mut encoded, mut next) = (Vec::new(), Ok(Vec::new()));
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| encoded = batch.par_iter().map(|taken| taken.encode(encoder)).collect());
            next = reader.batch(on_fault);
        });
        for (taken, encoded) in batch.iter().zip(encoded) {
            let place = || reader.documents.place(&taken.piece);
            let encoded = encoded.map_err(|source| tokens::Error::Encode { place: place(), source })?;
            let bytes = taken.piece.text.len() as u64;
            read += bytes;
            sink.add(
                &encoded,
                (bytes, Encoder::hash(&taken.piece.text)),
                (taken.piece.last, taken.one_line, taken.by_ends),
            )?;
        }
        progress(read);
        batch = next?;
    }
    let (files, hidden) = (reader.documents.files() as u64, reader.documents.hidden());
    let Reader { documents, bad_lines, other_fold, .. } = reader;
    drop(documents);
    let found = sink.finish()?;
    let documents = found.documents_kept + found.empty + found.duplicates_dropped + other_fold;
    Ok(CorpusReport { files, hidden, documents, bad_lines, other_fold, ..found })
}

/// A piece that is taken.
struct Taken {
    piece: Piece,
    /// Whether its document has one line, as far as its first piece tells.
    one_line: bool,
    /// Whether its lines are cut into sentences.
    by_ends: bool,
}

impl Taken {
    fn encode(&self, encoder: &Encoder<'_>) -> Result<Encoded, text::Error> {
        encoder.encode(&self.piece.text, self.by_ends)
    }
}

/// Reads pieces in batches.
struct Reader {
    documents: Documents,
    fold: Fold,
    seed: u64,
    may_cut: bool,
    /// Of a document that has begun: whether it is taken, and whether it has one line.
    begun: Option<(bool, bool)>,
    bad_lines: u64,
    other_fold: u64,
}

impl Reader {
    fn new(config: &PretrainConfig) -> Result<Self, Error> {
        let documents = Documents::open(&config.source, PIECE_BYTES, false)?;
        Ok(Reader {
            documents,
            fold: config.texts.fold,
            seed: hash(&config.texts.seed.to_le_bytes()),
            may_cut: config.examples.objective.is_of_pairs(),
            begun: None,
            bad_lines: 0,
            other_fold: 0,
        })
    }

    /// The next pieces; none at the end of the source.
    fn batch(&mut self, on_fault: OnFault<'_>) -> Result<Vec<Taken>, Error> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && batch.len() < BATCH_PIECES {
            let piece = match self.documents.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(fault) if fault.is_of_one_line() && self.documents.is_by_lines() => {
                    on_fault(fault)?;
                    self.bad_lines += 1;
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            let (is_taken, one_line) = *self.begun.get_or_insert_with(|| {
                let is_taken = is_in_fold(self.fold, self.seed, &piece.text);
                (is_taken, is_one_line(&piece.text))
            });
            if piece.last {
                self.begun = None;
            }
            if !is_taken {
                self.other_fold += u64::from(piece.last);
                continue;
            }
            bytes += piece.text.len();
            batch.push(Taken { piece, one_line, by_ends: one_line && self.may_cut });
        }
        Ok(batch)
    }
}

/// Whether a document that begins with this text is taken.
fn is_in_fold(fold: Fold, seed: u64, text: &str) -> bool {
    let is_below = |share: f64| (combine(seed, Encoder::hash(text)) as f64) < share * 2f64.powi(64);
    match fold {
        Fold::All => true,
        Fold::Training(share) => !is_below(share),
        Fold::Validation(share) => is_below(share),
    }
}
