//! Pairs to measure a translator on, read past bad ones.

use atento::data::parallel::{MAX_LOADED_PAIRS, ParallelReader};
use atento::data::{Error, ParallelSource, RawPair};
use atento::pipelines::Pretrained;
use atento::score::{Fault, Side, encode_side};
use rayon::prelude::*;

use crate::cli::score::scored::Scored;
use crate::cli::translate::sentences::Sentence;
use crate::ui::failure::Failure;
use crate::ui::lines::{OnErrorArgs, OnTooLong, Tally, with_option};
use crate::ui::options::Options;

/// A pair that can be measured.
pub struct Measurable {
    /// Its line, counted from 1.
    pub line: u64,
    pub source: Sentence,
    pub source_text: String,
    pub target: String,
    /// The pair as its loss is computed; `None` where a side is too long and was not to be cut.
    pub scored: Option<atento::data::Pair>,
    notes: Vec<String>,
}

impl Measurable {
    fn prepare(pretrained: &Pretrained, pair: RawPair, on_too_long: OnTooLong) -> anyhow::Result<Self> {
        let RawPair { source, target, line, .. } = pair;
        let line = line + 1;
        let sentence = Sentence::prepare(pretrained, &source, on_too_long)?;
        let is_long = |side: Side, text: &str| {
            let ids = encode_side(&*pretrained.model, &pretrained.tokenizer, side, text);
            matches!(ids, Err(Fault::TooLong { .. }))
        };
        if on_too_long == OnTooLong::Split && (is_long(Side::Source, &source) || is_long(Side::Target, &target)) {
            let left_out = "a side is too long: the pair is left out of the loss".to_owned();
            let notes = sentence.note.iter().cloned().chain([left_out]).collect();
            return Ok(Measurable { line, source: sentence, source_text: source, target, scored: None, notes });
        }
        let Scored { tokens, notes } = Scored::pair(pretrained, (&source, &target), on_too_long)?;
        Ok(Measurable { line, source: sentence, source_text: source, target, scored: Some(tokens), notes })
    }
}

/// All pairs of a source in order, `None` for a bad one, which is told; and how many are bad.
///
/// # Errors
/// Files that cannot be read; a bad pair where the options say stop.
pub fn load(
    source: &ParallelSource,
    reader: ParallelReader,
    pretrained: &Pretrained,
    on_too_long: OnTooLong,
    on_error: OnErrorArgs,
    options: &Options,
) -> Result<(Vec<Option<Measurable>>, Tally), Failure> {
    let prepared: Vec<Result<Measurable, String>> =
        read(source, reader)?.into_par_iter().map(|pair| prepare(source, pretrained, pair, on_too_long)).collect();
    let mut tally = Tally { bad: 0, all: prepared.len() };
    let mut pairs = Vec::with_capacity(prepared.len());
    for pair in prepared {
        match pair {
            Ok(pair) => {
                pair.notes.iter().for_each(|note| options.note(format_args!("{source}, line {}: {note}", pair.line)));
                pairs.push(Some(pair));
            }
            Err(fault) if on_error.stops(false) => return Err(anyhow::anyhow!(fault).into()),
            Err(fault) => {
                tally.fault(&fault);
                pairs.push(None);
            }
        }
    }
    Ok((pairs, tally))
}

fn prepare(
    source: &ParallelSource,
    pretrained: &Pretrained,
    pair: Result<RawPair, Error>,
    on_too_long: OnTooLong,
) -> Result<Measurable, String> {
    // The reader's message names the place.
    let option = |key: &str| match source {
        ParallelSource::Jsonl { source_key, .. } if key == source_key => Some("--source-key"),
        ParallelSource::Jsonl { target_key, .. } if key == target_key => Some("--target-key"),
        _ => None,
    };
    let pair = pair.map_err(|fault| with_option(&fault.into(), option))?;
    let line = pair.line + 1;
    Measurable::prepare(pretrained, pair, on_too_long).map_err(|fault| format!("{source}, line {line}: {fault}"))
}

fn read(source: &ParallelSource, reader: ParallelReader) -> Result<Vec<Result<RawPair, Error>>, Error> {
    let mut pairs = Vec::new();
    for pair in reader.past_faults() {
        if pairs.len() == MAX_LOADED_PAIRS {
            return Err(Error::TooManyPairs { place: source.to_string(), limit: MAX_LOADED_PAIRS });
        }
        match pair {
            Err(fault) if !fault.is_of_one_line() => return Err(fault),
            pair => pairs.push(pair),
        }
    }
    Ok(pairs)
}
