//! A text as one sequence of tokens, for its perplexity.
//!
//! Files and JSON objects are the documents; a file of plain text is one, byte for byte, whatever its lines. They follow
//! one another in their order, the end token between them where the tokenizer has one; else a line end follows each JSON
//! object and nothing a file. Text is held in memory as its tokens; token files are read as they lie.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::directory::SIDECAR_NAME;
use super::documents::{Documents, PIECE_BYTES, Piece};
use super::encode::Encoder;
use super::output::NAMES;
use super::{Dtype, Error, OnFault, Shard, TextSource, TokenDirectory};
use crate::text::{self, Tokenizer, Unknowns};

/// Pieces that are tokenised at once.
const BATCH_PIECES: usize = 64;

/// A text in tokens, and what is known of it.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The tokens.
    pub tokens: Arc<Shard>,
    /// Bytes of text, as UTF-8; `None` where only its tokens are known.
    pub bytes: Option<u64>,
    /// How many of the tokens are the unknown token: characters that the vocabulary lacks, or the text spells it out.
    pub unknown_tokens: u64,
    /// What of the text has no token, or the unknown one.
    pub unknown: Unknowns,
    /// Hidden files and directories that were passed over.
    pub hidden: u64,
}

impl Whole {
    /// Reads what a path holds: a token file, named `.bin`; a directory of token files, of which it takes `val.bin`; or
    /// else text, as [`TextSource`] has it.
    ///
    /// # Errors
    /// Files that cannot be read, hold nothing, or were made with another tokenizer; each message names the file. What is
    /// wrong with a single JSON object is told to `on_fault`.
    pub fn open(path: &Path, text_key: &str, tokenizer: &Tokenizer, on_fault: OnFault<'_>) -> Result<Self, Error> {
        if NAMES.iter().any(|name| path.join(name).is_file()) {
            return Self::of_token_file(&path.join(NAMES[1]), tokenizer);
        }
        if path.extension().is_some_and(|end| end == "bin") && !path.is_dir() {
            return Self::of_token_file(path, tokenizer);
        }
        Self::of_text(&TextSource { text_key: text_key.into(), ..TextSource::new([path]) }, tokenizer, on_fault)
    }

    /// The tokens of all documents of a source.
    ///
    /// # Errors
    /// Files that cannot be read as text; [`Error::Encode`]; [`Error::Empty`].
    pub fn of_text(source: &TextSource, tokenizer: &Tokenizer, on_fault: OnFault<'_>) -> Result<Self, Error> {
        let encoder = Encoder::new(tokenizer, true);
        let mut documents = Documents::open(source, PIECE_BYTES, encoder.end.is_none())?;
        let (mut ids, mut bytes, mut unknown_tokens, mut begins) = (Vec::new(), 0, 0, true);
        let mut unknown = Unknowns::default();
        loop {
            let pieces = next_pieces(&mut documents, on_fault)?;
            if pieces.is_empty() {
                break;
            }
            let encode = |piece: &Piece| {
                let encoded = encoder.encode(&piece.text)?;
                let parts = tokenizer.unknown_parts_among(&piece.text, &encoded.ids)?;
                Ok((encoded, parts.into_iter().map(str::to_owned).collect::<Vec<_>>()))
            };
            let encoded: Vec<Result<_, text::Error>> = pieces.par_iter().map(encode).collect();
            for (piece, encoded) in pieces.iter().zip(encoded) {
                let (encoded, parts) =
                    encoded.map_err(|source| Error::Encode { place: documents.place(piece), source })?;
                unknown.add(&parts, || documents.place(piece));
                if begins && !encoded.ids.is_empty() {
                    if !ids.is_empty() {
                        ids.extend(encoder.end);
                    }
                    ids.extend(encoder.start(&encoded.ids, ids.last().copied()));
                }
                begins = piece.last;
                bytes += encoded.counts.bytes;
                unknown_tokens += encoded.counts.unknown_tokens;
                ids.extend(encoded.ids);
            }
        }
        let tokens = Arc::new(Shard::from_ids(&source.to_string(), ids)?);
        Ok(Self { tokens, bytes: Some(bytes), unknown_tokens, unknown, hidden: documents.hidden() })
    }

    /// The tokens of one file, with what the `tokens.json` beside it says of them. Without one they are as wide as the
    /// tokenizer's ids need, or as [`Dtype::of_file`] finds them.
    fn of_token_file(path: &Path, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let of = |tokens, bytes| Self { tokens, bytes, unknown_tokens: 0, unknown: Unknowns::default(), hidden: 0 };
        let directory = path.parent().unwrap_or(Path::new(""));
        let split = NAMES.iter().position(|name| path.file_name().is_some_and(|found| found == *name));
        let Some(split) = split.filter(|_| directory.join(SIDECAR_NAME).exists()) else {
            let dtype = match Dtype::for_vocabulary(tokenizer.vocab_size()) {
                Dtype::Uint16 => Dtype::of_file(path)?,
                wide => wide,
            };
            return Ok(of(Arc::new(Shard::open(path, dtype)?), None));
        };
        let files = TokenDirectory::open(directory, None)?;
        files.check_tokenizer(tokenizer)?;
        let report = files.sidecar.as_ref().map(|sidecar| &sidecar.report);
        Ok(match (split, files.val) {
            (0, _) => of(files.train, report.map(|report| report.train.bytes)),
            (_, Some(val)) => of(val, report.map(|report| report.val.bytes)),
            (_, None) => {
                let source = std::io::ErrorKind::NotFound.into();
                return Err(Error::Io { path: path.into(), doing: "open", source });
            }
        })
    }

    /// The same with a token before the first, which is then predicted too.
    ///
    /// # Errors
    /// Those of [`Shard::read`].
    pub fn begun_by(self, token: u32) -> Result<Self, Error> {
        let ids = std::iter::once(token).chain(self.tokens.read(0..self.tokens.len())?).collect();
        let name = self.tokens.path().display().to_string();
        let tokens = Shard::from_ids(&name, ids).expect("there is one token at least");
        Ok(Self { tokens: Arc::new(tokens), ..self })
    }
}

fn next_pieces(documents: &mut Documents, on_fault: OnFault<'_>) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    while pieces.len() < BATCH_PIECES {
        match documents.next_piece() {
            Ok(Some(piece)) => pieces.push(piece),
            Ok(None) => break,
            Err(fault) if fault.is_of_one_line() && documents.is_by_lines() => on_fault(fault)?,
            Err(fault) => return Err(fault),
        }
    }
    Ok(pieces)
}
