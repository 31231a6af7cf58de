//! Pairs of sentences to pairs of ids, with what is left out or cut decided here and counted.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bad_lines::{GoodPairs, OnBadLine};
use super::batches::Pair;
use super::parallel::{ParallelSource, RawPair};
use super::{DataReport, Error, share};
use crate::text::{self, Tokenizer};

/// What to do with a sentence of more tokens than `max_length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTruncate {
    /// Stop and name the sentence.
    #[default]
    Error,
    /// Cut it (its end token stays) and count it.
    Warn,
    /// Leave the pair out and count it.
    Drop,
    /// Use it in several pieces. Refused for parallel text, where the cuts of the two sides would not
    /// translate each other.
    Split,
}

/// Which pairs are used, and how long they may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairOptions {
    /// The most tokens of a side, its end token included: the model's number of positions.
    pub max_length: usize,
    /// What to do with a longer one.
    pub on_truncate: OnTruncate,
    /// Leaves out pairs whose sides differ in tokens by more than this factor.
    pub max_ratio: Option<f64>,
    /// Leaves out every pair equal to an earlier one.
    pub drop_duplicates: bool,
    /// Leaves out pairs whose sides are the same text.
    pub drop_identical: bool,
    /// The share of the pairs that is held out for validation; see [`share`].
    pub valid_fraction: f64,
    /// What happens to lines that hold no pair.
    pub on_bad_line: OnBadLine,
}

impl Default for PairOptions {
    /// All pairs; one of more than 512 tokens on a side is an error.
    fn default() -> Self {
        PairOptions {
            max_length: 512,
            on_truncate: OnTruncate::Error,
            max_ratio: None,
            drop_duplicates: false,
            drop_identical: false,
            valid_fraction: 0.0,
            on_bad_line: OnBadLine::Error,
        }
    }
}

impl PairOptions {
    /// Whether pairs with this source sentence are held out for validation.
    pub(super) fn holds_out(&self, source: &str) -> bool {
        share::takes(self.valid_fraction, source)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |key, value: String, problem: &str| Err(Error::Option { key, value, problem: problem.into() });
        if self.max_length < 2 {
            return refuse("max_length", self.max_length.to_string(), "must be at least 2, a token and the end token");
        }
        if self.on_truncate == OnTruncate::Split {
            let problem = "parallel text cannot be split, since the pieces of the two sides would not translate \
                each other; use \"error\", \"warn\" (cut) or \"drop\"";
            return refuse("on_truncate", "\"split\"".into(), problem);
        }
        if !(0.0..1.0).contains(&self.valid_fraction) {
            return refuse("valid_fraction", self.valid_fraction.to_string(), "must be at least 0 and less than 1");
        }
        match self.max_ratio {
            Some(ratio) if !(ratio >= 1.0 && ratio.is_finite()) => {
                refuse("max_ratio", ratio.to_string(), "must be a number of at least 1")
            }
            _ => Ok(()),
        }
    }
}

/// The pairs seen so far, as 64-bit hashes: 8 bytes a pair, up to about 20 with the table's own room.
/// Among ten million pairs, the chance that any two different ones share a hash is 3 in a million.
pub(super) type Seen = HashSet<u64>;

/// What tells a pair from others: the hash of its sides without the white space around them.
pub(super) fn pair_hash(source: &str, target: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (source.trim(), target.trim()).hash(&mut hasher);
    hasher.finish()
}

/// What comes of the pairs of a data set.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The pairs that are used.
    pub(super) kept: Vec<Pair>,
    /// The text of those that are held out for validation.
    pub(super) held_out: Vec<(String, String)>,
    /// What happened to all of them.
    pub(super) report: DataReport,
}

/// Tokenises pairs and decides which are used.
#[derive(Debug)]
pub(super) struct PairEncoder {
    source: Side,
    target: Side,
    options: PairOptions,
}

#[derive(Debug)]
struct Side {
    name: &'static str,
    tokenizer: Arc<Tokenizer>,
    eos: u32,
    unk: Option<u32>,
}

impl Side {
    fn new(name: &'static str, tokenizer: Arc<Tokenizer>) -> Result<Self, Error> {
        let eos = tokenizer.special().eos.ok_or(Error::NoEndToken { side: name })?;
        let unk = tokenizer.unknown_id();
        Ok(Side { name, tokenizer, eos, unk })
    }

    fn unknown(&self, ids: &[u32]) -> u64 {
        ids.iter().filter(|&&id| Some(id) == self.unk).count() as u64
    }

    /// Cuts to `max_length` tokens, the last being the end token; returns how many were lost.
    fn cut(&self, ids: &mut Vec<u32>, max_length: usize) -> u64 {
        let lost = ids.len().saturating_sub(max_length);
        if lost > 0 {
            ids.truncate(max_length - 1);
            ids.push(self.eos);
        }
        lost as u64
    }
}

impl PairEncoder {
    pub(super) fn new(source: Arc<Tokenizer>, target: Arc<Tokenizer>, options: PairOptions) -> Result<Self, Error> {
        options.check()?;
        Ok(PairEncoder { source: Side::new("source", source)?, target: Side::new("target", target)?, options })
    }

    /// The pairs of a source as the options have them read. One that is too long to be read is left out with others that
    /// are too long.
    pub(super) fn read(&self, source: &ParallelSource) -> Result<GoodPairs, Error> {
        GoodPairs::open(source, self.options.on_bad_line, self.options.on_truncate != OnTruncate::Error)
    }

    /// Whether pairs with this source sentence are held out for validation.
    pub(super) fn holds_out(&self, source: &str) -> bool {
        self.options.holds_out(source)
    }

    /// Adds pairs to `taken`. Tokenising is parallel; deciding is in order, so counts, duplicates and the first error do
    /// not depend on the number of threads. `place` names a line (from 0) of the source or, if true, the target side.
    pub(super) fn encode(
        &self,
        raw: &[RawPair],
        seen: &mut Seen,
        place: &dyn Fn(u64, bool) -> String,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let Taken { kept, held_out, report } = taken;
        let used: Vec<&RawPair> = raw.iter().filter(|pair| self.wanted(pair, seen, report)).collect();
        let encoded: Vec<(Vec<u32>, Vec<u32>)> = used
            .par_iter()
            .map(|pair| {
                Ok((
                    self.source.tokenizer.encode_source(&pair.source)?,
                    self.target.tokenizer.encode_target(&pair.target)?,
                ))
            })
            .collect::<Result<_, text::Error>>()?;
        for (raw, (source, target)) in used.into_iter().zip(encoded) {
            let longest = source.len().max(target.len());
            let pair = Pair { id: raw.line, source, target };
            // Held-out pairs are measured whole: one that is too long stays what it is in training.
            let is_held_out = longest <= self.options.max_length && self.holds_out(&raw.source);
            if self.is_lopsided(&pair) {
                report.ratio_dropped += 1;
            } else if is_held_out {
                report.held_out += 1;
                held_out.push((raw.source.clone(), raw.target.clone()));
            } else {
                kept.extend(self.fit(pair, report, place)?);
            }
        }
        Ok(())
    }

    /// Notes pairs as seen, for the duplicates among those that follow.
    pub(super) fn pass_over(&self, raw: &[RawPair], seen: &mut Seen) {
        for pair in raw {
            self.wanted(pair, seen, &mut DataReport::default());
        }
    }

    /// What the text alone decides.
    fn wanted(&self, pair: &RawPair, seen: &mut Seen, report: &mut DataReport) -> bool {
        report.pairs_read += 1;
        if pair.too_long {
            report.too_long_dropped += 1;
            return false;
        }
        let (source, target) = (pair.source.trim(), pair.target.trim());
        if source.is_empty() || target.is_empty() {
            report.empty_source += u64::from(source.is_empty());
            report.empty_target += u64::from(!source.is_empty());
            return false;
        }
        if !seen.insert(pair_hash(source, target)) {
            report.duplicates += 1;
            report.duplicates_dropped += u64::from(self.options.drop_duplicates);
            if self.options.drop_duplicates {
                return false;
            }
        }
        if source == target {
            report.identical_both_sides += 1;
            report.identical_dropped += u64::from(self.options.drop_identical);
            return !self.options.drop_identical;
        }
        true
    }

    /// Whether the lengths of the sides are too different.
    fn is_lopsided(&self, pair: &Pair) -> bool {
        let (a, b) = (pair.source.len(), pair.target.len());
        self.options.max_ratio.is_some_and(|ratio| a.max(b) as f64 > ratio * a.min(b) as f64)
    }

    /// What the longest length decides.
    fn fit(
        &self,
        mut pair: Pair,
        report: &mut DataReport,
        place: &dyn Fn(u64, bool) -> String,
    ) -> Result<Option<Pair>, Error> {
        let max_length = self.options.max_length;
        let (a, b) = (pair.source.len(), pair.target.len());
        if a.max(b) > max_length {
            match self.options.on_truncate {
                OnTruncate::Warn => {
                    report.truncated += 1;
                    report.truncated_tokens += self.source.cut(&mut pair.source, max_length);
                    report.truncated_tokens += self.target.cut(&mut pair.target, max_length);
                }
                OnTruncate::Drop => {
                    report.too_long_dropped += 1;
                    return Ok(None);
                }
                OnTruncate::Error | OnTruncate::Split => {
                    let in_target = a <= max_length;
                    let (side, tokens) = if in_target { (&self.target, b) } else { (&self.source, a) };
                    let place = place(pair.id, in_target);
                    return Err(Error::TooLong { place, side: side.name, tokens, max_length });
                }
            }
        }
        let (a, b) = (pair.source.len() as u64, pair.target.len() as u64);
        report.kept += 1;
        report.source_tokens += a;
        report.target_tokens += b;
        report.longest_source = report.longest_source.max(a);
        report.longest_target = report.longest_target.max(b);
        report.unknown_tokens += self.source.unknown(&pair.source) + self.target.unknown(&pair.target);
        Ok(Some(pair))
    }
}
