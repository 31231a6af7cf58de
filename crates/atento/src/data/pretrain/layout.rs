//! Which tokens make an example.
//!
//! One segment (RoBERTa's): sentences of a document while they fit; of a sentence that is too long for an example, what
//! fits, and the next example goes on there. No token is left out.
//!
//! Two segments, as the original makes them: sentences are gathered until they reach the length aimed at, and cut between
//! two of them at random. The second segment is what follows the first, or sentences of another document from a random
//! one on; those that were gathered for it are then put back. Of a pair that is too long, the longer side loses its first
//! or last token, at random, until it fits.
//!
//! What differs from the original, and why:
//! - The choice between a true and a drawn second segment comes first, and more sentences are gathered where the true one
//!   needs them; of the last sentence of a document the second half is the true one. The original gives every single
//!   sentence a drawn one, which makes far fewer than half of the pairs true in texts with long sentences.
//! - The length aimed at is drawn for each example, not for each document: one in ten examples is short, as the paper says.
//! - A sentence that is longer than an example counts as several of half its length, two of which make a pair, so that
//!   little of it is lost.
//! - The other document is drawn among all units of others, so that none is drawn that has to be refused.

use std::ops::Range;

use atento_kernels::philox::Rng;

use super::Error;
use super::corpus::{Corpus, Unit};
use super::settings::{ExampleOptions, Objective};

/// The outline of an example: which tokens, not yet which are masked. Places are among all tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) first: Range<u64>,
    /// Empty for one segment.
    pub(super) second: Range<u64>,
    /// For pairs, whether the second follows the first, or whether they are in order.
    pub(super) label: Option<bool>,
    /// Whether both are one sentence, cut here at a token: a place that may be moved to where a word begins.
    pub(super) halves: bool,
    /// Whether a length below that of the longest examples was aimed at.
    pub(super) short: bool,
    /// Tokens that the pair lost to fit.
    pub(super) truncated: u64,
}

impl Outline {
    /// Tokens of text.
    pub(super) fn tokens(&self) -> usize {
        (self.first.end - self.first.start + self.second.end - self.second.start) as usize
    }
}

/// What outlines are drawn with.
pub(super) struct Layout<'a> {
    pub(super) corpus: &'a Corpus,
    pub(super) options: &'a ExampleOptions,
    /// The most tokens of text.
    pub(super) room: usize,
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

impl Layout<'_> {
    /// The outlines of a unit's examples, in their order, and the tokens that none of them has.
    ///
    /// # Errors
    /// The corpus cannot be read.
    pub(super) fn of_unit(&self, number: u64, rng: &mut Rng) -> Result<(Vec<Outline>, u64), Error> {
        let unit = self.corpus.unit(number)?;
        match self.options.objective {
            Objective::Mlm => Ok((self.single(&unit, rng), 0)),
            _ => self.pairs(&unit, rng),
        }
    }

    /// The length an example aims at, and whether it is a short one.
    fn target(&self, rng: &mut Rng) -> (u64, bool) {
        match f64::from(rng.uniform()) < self.options.short_seq_prob {
            true => ((2 + rng.below(self.room - 1)) as u64, true),
            false => (self.room as u64, false),
        }
    }

    fn single(&self, unit: &Unit, rng: &mut Rng) -> Vec<Outline> {
        let (mut examples, mut next) = (Vec::new(), 1);
        let (mut at, end) = (unit.bounds[0], unit.bounds[unit.bounds.len() - 1]);
        while at < end {
            let (target, short) = self.target(rng);
            // The first sentence end that is too far.
            while next < unit.bounds.len() && unit.bounds[next] <= at + target {
                next += 1;
            }
            let stop = if unit.bounds[next - 1] > at { unit.bounds[next - 1] } else { at + target };
            let (first, second) = (at..stop, stop..stop);
            examples.push(Outline { first, second, label: None, halves: false, short, truncated: 0 });
            at = stop;
        }
        examples
    }

    /// Where a unit's sentences begin and the last ends; one too long for an example is cut into several.
    fn sentences(&self, unit: &Unit) -> Vec<u64> {
        let (room, half) = (self.room as u64, (self.room / 2) as u64);
        let mut bounds = Vec::with_capacity(unit.bounds.len());
        bounds.push(unit.bounds[0]);
        for pair in unit.bounds.windows(2) {
            if pair[1] - pair[0] > room {
                bounds.extend((1..).map(|part| pair[0] + part * half).take_while(|&at| at < pair[1]));
            }
            bounds.push(pair[1]);
        }
        bounds
    }

    fn pairs(&self, unit: &Unit, rng: &mut Rng) -> Result<(Vec<Outline>, u64), Error> {
        let bounds = self.sentences(unit);
        let (mut examples, mut at, mut left_out) = (Vec::new(), 0, 0);
        let is_order = self.options.objective == Objective::MlmSop;
        while at + 1 < bounds.len() {
            let (target, short) = self.target(rng);
            let coin = rng.below(2) == 0;
            let together = is_order || coin;
            let mut stop = at;
            while stop + 1 < bounds.len() && (bounds[stop] - bounds[at] < target || (together && stop < at + 2)) {
                stop += 1;
            }
            let gathered = bounds[at]..bounds[stop];
            let cut = if stop - at > 1 { Some(at + 1 + rng.below(stop - at - 1)) } else { None };
            let outline = |first, second, halves| {
                let label = Some(coin);
                Outline { first, second, label, halves, short, truncated: 0 }
            };
            let outline = match (together, cut) {
                (true, Some(cut)) => Some(outline(bounds[at]..bounds[cut], bounds[cut]..gathered.end, false)),
                // A single token has no halves.
                (true, None) if length(&gathered) < 2 => None,
                (true, None) => {
                    let middle = gathered.start + 1 + rng.below(length(&gathered) as usize - 1) as u64;
                    Some(outline(gathered.start..middle, middle..gathered.end, true))
                }
                (false, cut) => {
                    stop = cut.unwrap_or(stop);
                    let first = bounds[at]..bounds[stop];
                    let wanted = target.saturating_sub(length(&first));
                    let second = self.of_other_document(&unit.document, wanted, rng)?;
                    Some(outline(first, second, false))
                }
            };
            match outline {
                Some(outline) => examples.push(self.finish(outline, is_order && !coin, rng)),
                None => left_out += length(&gathered),
            }
            at = stop;
        }
        Ok((examples, left_out))
    }

    /// Cuts a pair to the room there is, and turns it round where that is asked for.
    fn finish(&self, mut outline: Outline, is_turned: bool, rng: &mut Rng) -> Outline {
        while outline.tokens() > self.room {
            let Outline { first, second, .. } = &mut outline;
            let longer = if length(first) > length(second) { first } else { second };
            match rng.below(2) {
                0 => longer.start += 1,
                _ => longer.end -= 1,
            }
            outline.truncated += 1;
        }
        if is_turned {
            std::mem::swap(&mut outline.first, &mut outline.second);
        }
        outline
    }

    /// Sentences of a document that is not this one, from a random one on, with `wanted` tokens if there are so many.
    fn of_other_document(&self, this: &Range<u64>, wanted: u64, rng: &mut Rng) -> Result<Range<u64>, Error> {
        let others = self.corpus.units() - length(this);
        let drawn = rng.below(others as usize) as u64;
        let number = if drawn < this.start { drawn } else { drawn + length(this) };
        let bounds = self.sentences(&self.corpus.unit(number)?);
        let from = rng.below(bounds.len() - 1);
        let enough = (from + 1..bounds.len()).find(|&at| bounds[at] - bounds[from] >= wanted);
        Ok(bounds[from]..bounds[enough.unwrap_or(bounds.len() - 1)])
    }
}
