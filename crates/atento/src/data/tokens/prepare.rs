//! Text to token files, in one pass over the files.
//!
//! Pieces of documents are read, tokenised on all cores and written in their order, so the files do not
//! depend on the number of threads; while some are tokenised, the next are read. Memory holds two
//! batches of pieces (and a 64-bit hash of each document), whatever the size of the files. Only a
//! tail split has to count the characters first, which is a second reading of the text.
//!
//! The ids of a document are what the tokenizer puts before a text, those that its pieces have, each tokenised by
//! itself, and the end token. Documents of up to 256 KiB are one piece; `documents` says
//! where longer ones are cut. Without an end token, the line end or blank line that ended a document stays.

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::directory::Sidecar;
use super::documents::{Documents, PIECE_BYTES, Piece};
use super::encode::{Encoded, Encoder};
use super::output::{Part, Sink, Staging};
use super::report::SplitUsed;
use super::{Error, PrepareReport, TextSource};
use crate::text::{self, Tokenizer};

/// Text that is tokenised at once, in bytes, and the most pieces of it.
const BATCH_BYTES: usize = 1 << 23;
const BATCH_PIECES: usize = 1 << 15;

/// How validation text is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// By document; the tail of the text if there is just one document.
    #[default]
    Auto,
    /// Each document by its hash and the seed: the same document is always on the same side, and equal
    /// documents are never on both.
    Documents,
    /// The last part of the text, cut between two characters.
    Tail,
}

/// How text becomes token files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrepareOptions {
    /// How validation text is chosen where it has no files of its own.
    pub split: Split,
    /// The share of documents or, for the tail, of characters that is for validation; 0 is none.
    pub valid_fraction: f64,
    /// What the choice of documents depends on besides their text.
    pub seed: u64,
    /// Ends every document with the end token, if the tokenizer has one. The tail split of a single
    /// document has none: there is nothing to separate.
    pub end_token: bool,
    /// Leaves out every document equal to an earlier one. Validation files count as earlier.
    pub drop_duplicates: bool,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        let split = Split::Auto;
        PrepareOptions { split, valid_fraction: 0.1, seed: 0, end_token: true, drop_duplicates: false }
    }
}

/// Which text becomes token files, and how: all settings but the tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Text for training and, without `valid`, for validation.
    pub train: TextSource,
    /// Text for validation.
    #[serde(default)]
    pub valid: Option<TextSource>,
    /// How.
    #[serde(default)]
    pub options: PrepareOptions,
}

impl Preparation {
    fn check(&self) -> Result<(), Error> {
        let PrepareOptions { split, valid_fraction, drop_duplicates, .. } = self.options;
        if !(0.0..1.0).contains(&valid_fraction) {
            return Err(Error::option("valid_fraction", valid_fraction, "must be at least 0 and less than 1"));
        }
        if self.valid.is_some() && split != Split::Auto {
            let problem = "validation text has files of its own; leave out the one or the other";
            return Err(Error::option("split", format!("{split:?}").to_lowercase(), problem));
        }
        if split == Split::Tail && drop_duplicates {
            let problem = "a tail split is placed before documents are compared; use split = \"documents\"";
            return Err(Error::option("drop_duplicates", drop_duplicates, problem));
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.valid.iter().fold(self.train.to_string(), |name, valid| format!("{name}, {valid}"))
    }
}

/// Makes `train.bin`, `val.bin` (if there is validation text) and `tokens.json` in the directory `out`, which
/// must not exist or be empty and appears only when it is complete. (A process that is killed leaves a
/// directory beside it whose name ends in `.atento-tmp`.) `progress` is told, now and then, the bytes of text
/// done so far.
///
/// # Errors
/// [`Error::Option`]; [`Error::Exists`]; files that cannot be read or are no UTF-8, with file and line;
/// [`Error::Encode`]; [`Error::NothingLeft`] if no text is left for training.
pub fn prepare(
    job: &Preparation,
    tokenizer: &Tokenizer,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<PrepareReport, Error> {
    job.check()?;
    let options = &job.options;
    let mut encoder = Encoder::new(tokenizer, options.end_token);
    let separators = encoder.end.is_none();
    let staging = Staging::new(out)?;
    let plan = Plan::new(job, separators)?;
    if let SplitUsed::Tail { only_document: true, .. } = plan.split {
        encoder.end = None;
    }
    let (fraction, seed) = (options.valid_fraction, options.seed);
    let mut sink = Sink::new(&staging.path, &encoder, fraction, seed, options.drop_duplicates)?;
    if let Some(valid) = &job.valid {
        run(Reader::new(valid, separators, Dividing::Whole(Part::Val))?, &encoder, &mut sink, progress)?;
    }
    run(Reader::new(&job.train, separators, plan.dividing)?, &encoder, &mut sink, progress)?;
    let report = PrepareReport { split: plan.split, ..sink.finish()? };
    if let Some(expected) = plan.characters {
        let found = report.train.characters + report.val.characters;
        if found != expected {
            let problem = format!("{found} characters, {expected} when they were counted");
            return Err(Error::Changed { place: job.name(), problem });
        }
    }
    if report.train.tokens == 0 {
        return Err(Error::NothingLeft { place: job.name(), report: report.to_string() });
    }
    Sidecar::new(job, tokenizer, &encoder, report)?.write(&staging.path)?;
    staging.publish()?;
    Ok(report)
}

/// Where text goes.
#[derive(Clone, Copy)]
enum Dividing {
    /// All of it to one side.
    Whole(Part),
    /// Each document where its hash says.
    ByHash,
    /// What comes before this character for training, the rest for validation.
    At(u64),
}

/// What is decided before the text is tokenised.
struct Plan {
    split: SplitUsed,
    dividing: Dividing,
    /// Where they were counted.
    characters: Option<u64>,
}

impl Plan {
    fn new(job: &Preparation, separators: bool) -> Result<Self, Error> {
        let whole = |split| Plan { split, dividing: Dividing::Whole(Part::Train), characters: None };
        let by_hash = Plan { split: SplitUsed::Documents, dividing: Dividing::ByHash, characters: None };
        let fraction = job.options.valid_fraction;
        if job.valid.is_some() {
            return Ok(whole(SplitUsed::Files));
        }
        if fraction == 0.0 {
            return Ok(whole(SplitUsed::None));
        }
        let most_documents = match job.options.split {
            Split::Documents => return Ok(by_hash),
            Split::Auto => 1,
            Split::Tail => u64::MAX,
        };
        let Some((documents, characters)) = survey(&job.train, separators, most_documents)? else {
            return Ok(by_hash);
        };
        let first_character = (characters as f64 * (1.0 - fraction)) as u64;
        let split = SplitUsed::Tail { first_character, only_document: documents == 1 };
        Ok(Plan { split, dividing: Dividing::At(first_character), characters: Some(characters) })
    }
}

/// Counts documents that are not empty, and their characters; `None` as soon as there are more than `most`.
fn survey(source: &TextSource, separators: bool, most: u64) -> Result<Option<(u64, u64)>, Error> {
    let mut documents = Documents::open(source, PIECE_BYTES, separators)?;
    let (mut begun, mut count, mut characters) = (false, 0, 0);
    while let Some(piece) = documents.next_piece()? {
        if !begun && piece.last && piece.text.trim().is_empty() {
            continue;
        }
        count += u64::from(!begun);
        if count > most {
            return Ok(None);
        }
        begun = !piece.last;
        characters += piece.text.chars().count() as u64;
    }
    Ok(Some((count, characters)))
}

/// A piece and where it goes, if that is known.
struct Placed {
    piece: Piece,
    part: Option<Part>,
}

/// Reads pieces in batches.
struct Reader {
    documents: Documents,
    dividing: Dividing,
    /// The second half of a piece that was divided.
    rest: Option<Placed>,
    /// Whether the next piece continues a document.
    begun: bool,
}

impl Reader {
    fn new(source: &TextSource, separators: bool, dividing: Dividing) -> Result<Self, Error> {
        Ok(Reader { documents: Documents::open(source, PIECE_BYTES, separators)?, dividing, rest: None, begun: false })
    }

    /// The next pieces; none at the end of the source.
    fn batch(&mut self) -> Result<Vec<Placed>, Error> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && batch.len() < BATCH_PIECES {
            let Some(placed) = self.next()? else { break };
            bytes += placed.piece.text.len();
            batch.push(placed);
        }
        Ok(batch)
    }

    fn next(&mut self) -> Result<Option<Placed>, Error> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let Some(piece) = self.documents.next_piece()? else { return Ok(None) };
        let empty = !self.begun && piece.last && piece.text.trim().is_empty();
        self.begun = !piece.last;
        Ok(Some(match self.dividing {
            Dividing::Whole(part) => Placed { piece, part: Some(part) },
            Dividing::ByHash => Placed { piece, part: None },
            Dividing::At(_) if empty => Placed { piece, part: Some(Part::Train) },
            Dividing::At(left) => self.divide(piece, left),
        }))
    }

    /// Divides a piece at character `left`, which is lowered to what the next piece has of it.
    fn divide(&mut self, mut piece: Piece, left: u64) -> Placed {
        let characters = piece.text.chars().count() as u64;
        self.dividing = Dividing::At(left.saturating_sub(characters));
        if left == 0 || left >= characters {
            let part = if left == 0 { Part::Val } else { Part::Train };
            return Placed { piece, part: Some(part) };
        }
        let at = piece.text.char_indices().nth(left as usize).map_or(piece.text.len(), |(at, _)| at);
        let text = piece.text.split_off(at);
        let second = Piece { text, ..piece };
        self.rest = Some(Placed { piece: second, part: Some(Part::Val) });
        piece.last = false;
        Placed { piece, part: Some(Part::Train) }
    }
}

/// Takes a whole source to the sink.
fn run(mut reader: Reader, encoder: &Encoder<'_>, sink: &mut Sink, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
    sink.report.files += reader.documents.files() as u64;
    sink.report.hidden += reader.documents.hidden();
    let mut batch = reader.batch()?;
    while !batch.is_empty() {
        let (encoded, next) = rayon::join(|| encode(encoder, &batch), || reader.batch());
        for (placed, encoded) in batch.iter().zip(encoded) {
            let place = || reader.documents.place(&placed.piece);
            let encoded = encoded.map_err(|source| Error::Encode { place: place(), source })?;
            sink.add(encoder, placed.piece.last, placed.part, &encoded)?;
        }
        progress(sink.report.train.bytes + sink.report.val.bytes);
        batch = next?;
    }
    Ok(())
}

fn encode(encoder: &Encoder<'_>, batch: &[Placed]) -> Vec<Result<Encoded, text::Error>> {
    batch.par_iter().map(|placed| encoder.encode(&placed.piece.text)).collect()
}
