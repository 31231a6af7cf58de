//! A directory of pre-training data.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::corpus::Corpus;
use super::epoch::Examples;
use super::markers::Vocabulary;
use super::prepare::write_files;
use super::words::Encoder;
use super::{
    BatchSize, Batches, CorpusReport, Cursor, Draw, Drawn, Error, ExampleOptions, Markers, Objective, PretrainConfig,
};
use crate::data::tokens::output::Staging;
use crate::data::tokens::{self, Dtype, OnFault, tokenizer_hash};
use crate::encoding;
use crate::hub::atomic;
use crate::text::Tokenizer;

/// The file that describes the others.
const SIDECAR: &str = "pretrain.json";
/// What an evaluation draws with, whatever the seed of a run: its numbers can be compared between runs.
const EVALUATION_SEED: u64 = 0x4556_414C;

/// What `pretrain.json` says of the files beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    dtype: Dtype,
    vocab_size: usize,
    tokenizer_hash: String,
    settings: PretrainConfig,
    report: CorpusReport,
}

/// Texts that were tokenised into files, from which the examples of every epoch are drawn.
#[derive(Clone, Debug)]
pub struct PretrainData {
    examples: Examples,
    report: CorpusReport,
}

impl PretrainData {
    /// Makes the files in the directory `out`, which must not exist or be empty and appears only when it is complete, and
    /// opens them. `on_fault` is told the faults of single lines of JSONL. `progress` is told, now and then, the bytes of text
    /// read so far.
    ///
    /// # Errors
    /// A setting that cannot work; files that cannot be read or are no UTF-8, with file and line; [`Error::NoWords`];
    /// [`Error::OneDocument`] if next sentences are asked for and there is no other document;
    /// [`tokens::Error::NothingLeft`] if there is no text.
    pub fn prepare(
        config: &PretrainConfig,
        tokenizer: &Tokenizer,
        markers: Markers,
        out: impl AsRef<Path>,
        on_fault: OnFault<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, Error> {
        config.check(&markers)?;
        let (vocabulary, out) = (Vocabulary::new(tokenizer, &markers)?, out.as_ref());
        let encoder = Encoder::new(tokenizer, &vocabulary)?;
        let dtype = Dtype::for_vocabulary(vocabulary.size());
        let staging = Staging::new(out)?;
        let report = write_files(config, &encoder, (&staging.path, dtype), on_fault, progress)?;
        if report.tokens == 0 {
            let place = config.source.to_string();
            return Err(tokens::Error::NothingLeft { place, report: report.to_string() }.into());
        }
        check_documents(config.examples.objective, &report, &config.source.to_string())?;
        let sidecar = Sidecar {
            dtype,
            vocab_size: vocabulary.size(),
            tokenizer_hash: tokenizer_hash(tokenizer)?,
            settings: config.clone(),
            report,
        };
        sidecar.write(&staging.path)?;
        staging.publish()?;
        Self::of(out, sidecar, vocabulary, markers, config.examples)
    }

    /// Opens the files of a directory. The settings of examples may be others than those at [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// The directory holds no such files, or damaged ones; they were made with another tokenizer; a setting that cannot work;
    /// pairs are asked for, and documents of one line were not cut into sentences.
    pub fn open(
        directory: impl AsRef<Path>,
        tokenizer: &Tokenizer,
        markers: Markers,
        options: ExampleOptions,
    ) -> Result<Self, Error> {
        let directory = directory.as_ref();
        options.check(&markers)?;
        let sidecar = Sidecar::read(directory)?;
        let contradiction = |what: &str, recorded: &dyn ToString, found: String| tokens::Error::Contradiction {
            path: directory.join(SIDECAR),
            what: what.into(),
            recorded: recorded.to_string(),
            found,
        };
        let found = tokenizer_hash(tokenizer)?;
        if found != sidecar.tokenizer_hash {
            let found = format!("this tokenizer's is {found}: the tokens were made with another one");
            return Err(contradiction("tokenizer_hash", &sidecar.tokenizer_hash, found).into());
        }
        let was_for_pairs = sidecar.settings.examples.objective.is_of_pairs();
        if options.objective.is_of_pairs() && !was_for_pairs && sidecar.report.one_line_documents > 0 {
            let count = sidecar.report.one_line_documents;
            let found = format!(
                "two segments are asked for, and {count} documents of one line were not cut into sentences: prepare the \
                 data again for this objective"
            );
            return Err(contradiction("settings.examples.objective", &"mlm", found).into());
        }
        check_documents(options.objective, &sidecar.report, &directory.display().to_string())?;
        let vocabulary = Vocabulary::new(tokenizer, &markers)?;
        Self::of(directory, sidecar, vocabulary, markers, options)
    }

    fn of(
        directory: &Path,
        sidecar: Sidecar,
        vocabulary: Vocabulary,
        markers: Markers,
        options: ExampleOptions,
    ) -> Result<Self, Error> {
        let Sidecar { dtype, vocab_size, report, .. } = sidecar;
        let corpus = Corpus::open(directory, dtype, vocab_size)?;
        let recorded = (report.tokens, report.units);
        if recorded != (corpus.tokens(), corpus.units()) {
            let (tokens, units) = (corpus.tokens(), corpus.units());
            let problem =
                format!("it says {} tokens in {} units, there are {tokens} in {units}", recorded.0, recorded.1);
            return Err(Error::damaged(&directory.join(SIDECAR), problem));
        }
        if options.objective == Objective::MlmNsp && !corpus.has_other_documents()? {
            return Err(Error::OneDocument { place: directory.display().to_string() });
        }
        let (corpus, vocabulary) = (Arc::new(corpus), Arc::new(vocabulary));
        Ok(PretrainData {
            examples: Examples { corpus, vocabulary, markers, options, seed: 0, in_order: false },
            report,
        })
    }

    /// Batches for training, without end, from a cursor on: in a random order that follows from the seed.
    ///
    /// # Errors
    /// A size that cannot work; [`Error::Cursor`]; the items, files that cannot be read or are damaged.
    pub fn batches(&self, seed: u64, from: Cursor, size: BatchSize) -> Result<Batches, Error> {
        Batches::new(Examples { seed, ..self.examples.clone() }, size, from, None)
    }

    /// Batches of all texts once, in their order, with the same examples and masks each time.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn evaluation_batches(&self, size: BatchSize) -> Result<Batches, Error> {
        self.evaluation_batches_of(0, size)
    }

    /// [`evaluation_batches`](Self::evaluation_batches) with other examples and masks for each `seed`.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn evaluation_batches_of(&self, seed: u64, size: BatchSize) -> Result<Batches, Error> {
        let mut examples = self.examples.clone();
        (examples.seed, examples.in_order, examples.options.draw) =
            (EVALUATION_SEED.wrapping_add(seed), true, Draw::Once);
        Batches::new(examples, size, Cursor::default(), Some(1))
    }

    /// Batches of the first epoch, counted without reading their tokens. Later epochs differ by a few where examples are
    /// drawn anew.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn batches_per_epoch(&self, seed: u64, size: BatchSize) -> Result<u64, Error> {
        let mut batches = self.batches(seed, Cursor::default(), size)?;
        let mut count = 0;
        while batches.cursor().epoch == 0 {
            count += u64::from(batches.pass()?);
        }
        Ok(count)
    }

    /// What became of the texts.
    pub fn report(&self) -> &CorpusReport {
        &self.report
    }

    /// Makes all examples of an epoch, keeps none, and counts what was drawn.
    ///
    /// # Errors
    /// Files that cannot be read or are damaged.
    pub fn drawn(&self, seed: u64, epoch: u64) -> Result<Drawn, Error> {
        Examples { seed, ..self.examples.clone() }.count(epoch)
    }

    /// The settings of the examples.
    pub fn options(&self) -> &ExampleOptions {
        &self.examples.options
    }

    /// A hash of all tokens and boundaries; equal texts, options of texts and tokenizers give equal ones.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn hash(&self) -> Result<u64, Error> {
        self.examples.corpus.hash()
    }
}

/// Next sentences need another document, whose text is another.
fn check_documents(objective: Objective, report: &CorpusReport, place: &str) -> Result<(), Error> {
    match objective == Objective::MlmNsp && report.distinct_documents < 2 {
        true => Err(Error::OneDocument { place: place.into() }),
        false => Ok(()),
    }
}

impl Sidecar {
    fn write(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(SIDECAR);
        let io = tokens::Error::io(&path, "write");
        let json = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        Ok(atomic::replace(&path, |file| file.write_all((json + "\n").as_bytes())).map_err(io)?)
    }

    fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(SIDECAR);
        let bytes = encoding::read_text(&path).map_err(tokens::Error::io(&path, "open"))?;
        let read = serde_json::from_slice(&bytes);
        Ok(read.map_err(|error| tokens::Error::NotASidecar { path, detail: error.to_string() })?)
    }
}
