//! Text to token files.
//!
//! Pieces of documents are read, tokenised on all cores and written in their order, so the files do not
//! depend on the number of threads; while some are tokenised, the next are read. Memory holds two
//! batches of pieces (and a few numbers for each document), whatever the size of the files. Which text is for validation
//! is decided before, in a first reading that tokenises nothing.
//!
//! The ids of a document are what the tokenizer puts before a text, those that its pieces have, each tokenised by
//! itself, and the end token. Documents of up to 256 KiB are one piece; `documents` says
//! where longer ones are cut. Without an end token, the line end or blank line that ended a document stays.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::directory::Sidecar;
use super::documents::{Documents, PIECE_BYTES, Piece};
use super::encode::{Encoded, Encoder};
use super::output::{Part, Sink, Staging};
use super::report::SplitUsed;
use super::split::{Choice, Document, Fate, cut_near};
use super::{Error, PrepareReport, TextSource};
use crate::data::hash::{combine, hash as hash_of};
use crate::text::{self, Tokenizer};

/// Text that is tokenised at once, in bytes, and the most pieces of it.
const BATCH_BYTES: usize = 1 << 23;
const BATCH_PIECES: usize = 1 << 15;

/// How validation text is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// By document, as `split` says, the last part of a long one where whole documents cannot give the share; the tail of
    /// the text if there is just one document.
    #[default]
    Auto,
    /// Whole documents, each by its hash and the seed: equal documents are never on both sides, and validation may get
    /// less than its share, or nothing.
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
    /// The share of the text that is for validation, in bytes or, for the tail, in characters; 0 is none.
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
    /// A tenth of the text for validation, an end token behind each document, duplicates kept.
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
    job.train.check_files()?;
    job.valid.as_ref().map_or(Ok(()), TextSource::check_files)?;
    let options = &job.options;
    let mut encoder = Encoder::new(tokenizer, options.end_token);
    let separators = encoder.end.is_none();
    let staging = Staging::new(out)?;
    let plan = Plan::new(job, separators)?;
    if let SplitUsed::Tail { only_document: true, .. } = plan.split {
        encoder.end = None;
    }
    let mut sink = Sink::new(&staging.path, &encoder, options.drop_duplicates)?;
    if let Some(valid) = &job.valid {
        run(Reader::new(valid, separators, Dividing::Whole(Part::Val))?, &encoder, &mut sink, progress)?;
    }
    let read = run(Reader::new(&job.train, separators, plan.dividing)?, &encoder, &mut sink, progress)?;
    plan.survey.as_ref().map_or(Ok(()), |survey| survey.check(&read, job))?;
    let split = match read.cut {
        Some((_, document, bytes)) => SplitUsed::Cut { document, bytes },
        None => plan.split,
    };
    let report = PrepareReport { split, ..sink.finish()? };
    if report.train.tokens == 0 {
        return Err(Error::NothingLeft { place: job.name(), report: report.to_string() });
    }
    Sidecar::new(job, tokenizer, &encoder, report.clone())?.write(&staging.path)?;
    staging.publish()?;
    Ok(report)
}

/// Where text goes.
enum Dividing {
    /// All of it to one side.
    Whole(Part),
    /// Each document where it was chosen to go.
    Chosen(Choice),
    /// What comes before this character for training, the rest for validation.
    At(u64),
}

/// What is decided before the text is tokenised.
struct Plan {
    split: SplitUsed,
    dividing: Dividing,
    /// What it was decided by.
    survey: Option<Survey>,
}

impl Plan {
    fn new(job: &Preparation, separators: bool) -> Result<Self, Error> {
        let PrepareOptions { split, valid_fraction, seed, drop_duplicates, .. } = job.options;
        let whole = |split| Ok(Plan { split, dividing: Dividing::Whole(Part::Train), survey: None });
        if job.valid.is_some() {
            return whole(SplitUsed::Files);
        }
        if valid_fraction == 0.0 {
            return whole(SplitUsed::None);
        }
        let (survey, documents) = Survey::new(&job.train, separators, drop_duplicates)?;
        let only_document = survey.documents == 1;
        if split == Split::Tail || (split == Split::Auto && only_document) {
            let first_character = (survey.characters as f64 * (1.0 - valid_fraction)) as u64;
            let (split, dividing) = (SplitUsed::Tail { first_character, only_document }, Dividing::At(first_character));
            return Ok(Plan { split, dividing, survey: Some(survey) });
        }
        let choice = Choice::new(&documents, valid_fraction, seed, split == Split::Auto);
        Ok(Plan { split: SplitUsed::Documents, dividing: Dividing::Chosen(choice), survey: Some(survey) })
    }
}

/// What a first reading finds in the documents that are not blank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Survey {
    documents: u64,
    bytes: u64,
    characters: u64,
}

impl Survey {
    fn new(source: &TextSource, separators: bool, drop_duplicates: bool) -> Result<(Self, Vec<Document>), Error> {
        let mut reader = Documents::open(source, PIECE_BYTES, separators)?;
        let (mut found, mut all, mut seen) = (Self::default(), Vec::new(), HashSet::new());
        let mut open: Option<Document> = None;
        while let Some(piece) = reader.next_piece()? {
            if open.is_none() && piece.last && piece.text.trim().is_empty() {
                continue;
            }
            found.add(&piece);
            let Document { hash, bytes } = open.take().unwrap_or(Document { hash: 0, bytes: 0 });
            let (hash, bytes) = (combine(hash, hash_of(piece.text.as_bytes())), bytes + piece.text.len() as u64);
            match piece.last {
                false => open = Some(Document { hash, bytes }),
                true if drop_duplicates && !seen.insert(hash) => all.push(Document { hash, bytes: 0 }),
                true => all.push(Document { hash, bytes }),
            }
        }
        Ok((found, all))
    }

    fn add(&mut self, piece: &Piece) {
        self.documents += u64::from(piece.last);
        self.bytes += piece.text.len() as u64;
        self.characters += piece.text.chars().count() as u64;
    }

    /// Checks that the text is what it was.
    fn check(&self, read: &Read, job: &Preparation) -> Result<(), Error> {
        if *self == read.survey {
            return Ok(());
        }
        let Survey { documents, bytes, characters } = self;
        let problem = format!(
            "{} documents of {} bytes and {} characters; there were {documents} of {bytes} and {characters}",
            read.survey.documents, read.survey.bytes, read.survey.characters
        );
        Err(Error::Changed { place: job.name(), problem })
    }
}

/// A piece and where it goes.
struct Placed {
    piece: Piece,
    part: Part,
    /// Whether the document goes on on the other side.
    cut: bool,
}

impl Placed {
    fn new(piece: Piece, part: Part) -> Self {
        Placed { piece, part, cut: false }
    }
}

/// What was read, and where a document was cut.
#[derive(Default)]
struct Read {
    survey: Survey,
    /// The document, the first one if there are equal ones: its number, its place, and its bytes for validation.
    cut: Option<(usize, String, u64)>,
}

/// Reads pieces in batches.
struct Reader {
    documents: Documents,
    dividing: Dividing,
    /// The second half of a piece that was divided.
    rest: Option<Placed>,
    /// Whether the next piece continues a document.
    begun: bool,
    /// Bytes of the present document that were passed.
    passed: u64,
    read: Read,
}

impl Reader {
    fn new(source: &TextSource, separators: bool, dividing: Dividing) -> Result<Self, Error> {
        let documents = Documents::open(source, PIECE_BYTES, separators)?;
        Ok(Reader { documents, dividing, rest: None, begun: false, passed: 0, read: Read::default() })
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
        if empty {
            return Ok(Some(Placed::new(piece, Part::Train)));
        }
        let (number, passed) = (self.read.survey.documents as usize, self.passed);
        self.passed = if piece.last { 0 } else { passed + piece.text.len() as u64 };
        self.read.survey.add(&piece);
        let fate = match &self.dividing {
            Dividing::At(left) => {
                let left = *left;
                return Ok(Some(self.divide(piece, left)));
            }
            Dividing::Whole(Part::Train) => Fate::Train,
            Dividing::Whole(Part::Val) => Fate::Val,
            Dividing::Chosen(choice) => choice.fate(number),
        };
        Ok(Some(match fate {
            Fate::Train => Placed::new(piece, Part::Train),
            Fate::Val => Placed::new(piece, Part::Val),
            Fate::Cut { at, bytes } => self.cut(number, piece, at.saturating_sub(passed), (bytes - at) / 4),
        }))
    }

    /// Cuts a piece of document `number` near byte `left`, by at most `slack` elsewhere.
    fn cut(&mut self, number: usize, mut piece: Piece, left: u64, slack: u64) -> Placed {
        let length = piece.text.len() as u64;
        if left >= length {
            return Placed::new(piece, Part::Train);
        }
        let slack = usize::try_from(slack).unwrap_or(usize::MAX);
        let Some(at) = cut_near(&piece.text, left as usize, slack).filter(|_| left > 0) else {
            self.note_cut(number, &piece);
            return Placed::new(piece, Part::Val);
        };
        let second = Piece { text: piece.text.split_off(at), ..piece };
        self.note_cut(number, &second);
        self.rest = Some(Placed::new(second, Part::Val));
        piece.last = false;
        Placed { piece, part: Part::Train, cut: true }
    }

    /// Counts what validation gets of the first document that is cut.
    fn note_cut(&mut self, number: usize, piece: &Piece) {
        let place = || (number, self.documents.place(piece), 0);
        let (first, _, bytes) = self.read.cut.get_or_insert_with(place);
        if *first == number {
            *bytes += piece.text.len() as u64;
        }
    }

    /// Divides a piece at character `left`, which is lowered to what the next piece has of it.
    fn divide(&mut self, mut piece: Piece, left: u64) -> Placed {
        let characters = piece.text.chars().count() as u64;
        self.dividing = Dividing::At(left.saturating_sub(characters));
        if left == 0 || left >= characters {
            let part = if left == 0 { Part::Val } else { Part::Train };
            return Placed::new(piece, part);
        }
        let at = piece.text.char_indices().nth(left as usize).map_or(piece.text.len(), |(at, _)| at);
        let text = piece.text.split_off(at);
        let second = Piece { text, ..piece };
        self.rest = Some(Placed::new(second, Part::Val));
        piece.last = false;
        Placed::new(piece, Part::Train)
    }
}

/// Takes a whole source to the sink.
fn run(
    mut reader: Reader,
    encoder: &Encoder<'_>,
    sink: &mut Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<Read, Error> {
    sink.report.files += reader.documents.files() as u64;
    sink.report.hidden += reader.documents.hidden();
    let mut batch = reader.batch()?;
    while !batch.is_empty() {
        let (encoded, next) = rayon::join(|| encode(encoder, &batch), || reader.batch());
        for (placed, encoded) in batch.iter().zip(encoded) {
            let place = || reader.documents.place(&placed.piece);
            let encoded = encoded.map_err(|source| Error::Encode { place: place(), source })?;
            sink.add(encoder, (placed.piece.last, placed.part, placed.cut), &encoded)?;
        }
        progress(sink.report.train.bytes + sink.report.val.bytes);
        batch = next?;
    }
    Ok(reader.read)
}

fn encode(encoder: &Encoder<'_>, batch: &[Placed]) -> Vec<Result<Encoded, text::Error>> {
    batch.par_iter().map(|placed| encoder.encode(&placed.piece.text)).collect()
}
