//! The examples of an epoch, in their order.
//!
//! The units of an epoch come in a random order that takes no memory (`tokens::permutation`). A window is a stretch of that
//! order with about two million tokens, whose examples are shuffled as one. What is drawn for a unit follows from the
//! seed, the epoch and the unit's number alone, so any window can be made by itself, on any number of threads.

use std::ops::Range;
use std::sync::Arc;

use atento_kernels::philox::Rng;
use rayon::prelude::*;

use super::corpus::{Corpus, Stretch};
use super::layout::{Layout, Outline};
use super::markers::Vocabulary;
use super::mask::{Fates, Masker, Word};
use super::{Draw, Drawn, Error, ExampleOptions, Markers};
use crate::data::hash::combine;
use crate::data::tokens::permutation::Permutation;

/// Tokens of a window, about.
const WINDOW_TOKENS: u64 = 1 << 21;

/// What random numbers are used for.
#[derive(Clone, Copy)]
enum Use {
    Order,
    Shuffle,
    Outline,
    Mask,
}

/// A seed for one use in one epoch.
fn seed_of(seed: u64, purpose: Use, epoch: u64) -> u64 {
    combine(combine(seed, purpose as u64), epoch)
}

/// An outline and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    unit: u64,
    /// Its number among the examples of the unit.
    number: u64,
    pub(super) outline: Outline,
}

/// An example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) ids: Vec<u32>,
    /// Where the second segment begins; the end where there is none.
    pub(super) second_at: usize,
    /// Positions to be predicted, each with its token.
    pub(super) masked: Vec<(u32, u32)>,
    pub(super) label: Option<bool>,
    fates: Fates,
    /// Tokens that could have been chosen.
    maskable: u64,
}

/// What examples are made of.
#[derive(Clone, Debug)]
pub(super) struct Examples {
    pub(super) corpus: Arc<Corpus>,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) markers: Markers,
    pub(super) options: ExampleOptions,
    pub(super) seed: u64,
    /// Whether examples come in the order of the text.
    pub(super) in_order: bool,
}

impl Examples {
    /// Tokens around the text of an example.
    pub(super) fn around(&self) -> usize {
        self.markers.around(self.options.objective.is_of_pairs())
    }

    /// Units of a window.
    fn window_units(&self) -> u64 {
        let share = u128::from(self.corpus.units()) * u128::from(WINDOW_TOKENS) / u128::from(self.corpus.tokens());
        (share as u64).max(1)
    }

    /// Windows of an epoch.
    pub(super) fn windows(&self) -> u64 {
        self.corpus.units().div_ceil(self.window_units())
    }

    /// The epoch whose draws an epoch has.
    fn drawn_in(&self, epoch: u64) -> u64 {
        match self.options.draw {
            Draw::EachEpoch => epoch,
            Draw::Once => 0,
        }
    }

    fn outlines(&self, epoch: u64, unit: u64) -> Result<(Vec<Planned>, u64), Error> {
        let (corpus, options) = (&*self.corpus, &self.options);
        let layout = Layout { corpus, options, room: options.room(&self.markers) };
        let mut rng = Rng::new(seed_of(self.seed, Use::Outline, self.drawn_in(epoch)), unit);
        let (outlines, left_out) = layout.of_unit(unit, &mut rng)?;
        let planned = (0..).zip(outlines).map(|(number, outline)| Planned { unit, number, outline });
        Ok((planned.collect(), left_out))
    }

    /// The outlines of a window's examples, in the order in which they are dealt out.
    ///
    /// # Errors
    /// The corpus cannot be read.
    pub(super) fn window(&self, epoch: u64, window: u64) -> Result<Vec<Planned>, Error> {
        let (units, size) = (self.corpus.units(), self.window_units());
        let order = Permutation::new(seed_of(self.seed, Use::Order, 0), epoch, units);
        let places: Range<u64> = window * size..units.min((window + 1) * size);
        let of_place = |place| {
            let unit = if self.in_order { place } else { order.at(place) };
            self.outlines(epoch, unit).map(|(planned, _)| planned)
        };
        let planned = places.into_par_iter().map(of_place).collect::<Result<Vec<_>, Error>>()?;
        let mut planned: Vec<Planned> = planned.into_iter().flatten().collect();
        if !self.in_order {
            Rng::new(seed_of(self.seed, Use::Shuffle, epoch), window).shuffle(&mut planned);
        }
        Ok(planned)
    }

    /// Reads and masks an example.
    ///
    /// # Errors
    /// The corpus cannot be read, or has an id beyond the vocabulary.
    pub(super) fn make(&self, epoch: u64, planned: &Planned) -> Result<Example, Error> {
        let Planned { unit, number, outline } = planned;
        let (first, second) = self.segments(outline)?;
        let Markers { cls, sep, mask, pair_separator, .. } = &self.markers;
        let masker = Masker { options: &self.options, vocabulary: &self.vocabulary, mask: *mask };
        let (mut ids, mut words) = (Vec::with_capacity(outline.tokens() + self.around()), Vec::<Word>::new());
        let mut add = |ids: &mut Vec<u32>, segment: &Stretch| {
            masker.add_words(&segment.ids, &segment.starts, ids.len(), &mut words);
            ids.extend_from_slice(&segment.ids);
        };
        ids.push(*cls);
        add(&mut ids, &first);
        let mut second_at = ids.len() + 1;
        if let Some(second) = second {
            ids.extend_from_slice(pair_separator);
            second_at = ids.len();
            add(&mut ids, &second);
        }
        ids.push(*sep);
        let maskable = words.iter().map(|word| word.place.len() as u64).sum();
        let mut rng = Rng::new(seed_of(self.seed, Use::Mask, self.drawn_in(epoch)), unit << 32 | number);
        let (masked, fates) = masker.apply(&mut ids, &words, &mut rng);
        Ok(Example { ids, second_at, masked, label: outline.label, fates, maskable })
    }

    /// The tokens of both segments.
    fn segments(&self, outline: &Outline) -> Result<(Stretch, Option<Stretch>), Error> {
        let Outline { first, second, label, halves, .. } = outline;
        if label.is_none() {
            return Ok((self.corpus.stretch(first.clone())?, None));
        }
        if !halves {
            return Ok((self.corpus.stretch(first.clone())?, Some(self.corpus.stretch(second.clone())?)));
        }
        let is_turned = second.start < first.start;
        let (start, middle, end) = match is_turned {
            true => (second.start, first.start, first.end),
            false => (first.start, second.start, second.end),
        };
        let mut left = self.corpus.stretch(start..end)?;
        let middle = (middle - start) as usize;
        let beginnings = (1..left.ids.len()).filter(|&at| left.starts[at]);
        let middle = beginnings.min_by_key(|at| at.abs_diff(middle)).unwrap_or(middle);
        let right = Stretch { ids: left.ids.split_off(middle), starts: left.starts.split_off(middle) };
        Ok(if is_turned { (right, Some(left)) } else { (left, Some(right)) })
    }

    /// Makes all examples of an epoch and counts what was drawn; on all cores.
    ///
    /// # Errors
    /// The corpus cannot be read.
    pub(super) fn count(&self, epoch: u64) -> Result<Drawn, Error> {
        let of_unit = |unit| {
            let (planned, left_out) = self.outlines(epoch, unit)?;
            let start = Drawn { left_out_tokens: left_out, ..Drawn::default() };
            planned.iter().try_fold(start, |drawn, planned| {
                let example = self.make(epoch, planned)?;
                Ok(drawn + self.of_one(&planned.outline, &example))
            })
        };
        (0..self.corpus.units()).into_par_iter().map(of_unit).try_reduce(Drawn::default, |a, b| Ok(a + b))
    }

    fn of_one(&self, outline: &Outline, example: &Example) -> Drawn {
        let Example { ids, masked, label, fates, maskable, .. } = example;
        Drawn {
            examples: 1,
            short: outline.short.into(),
            pairs: label.is_some().into(),
            positive: (*label == Some(true)).into(),
            tokens: ids.len() as u64,
            maskable: *maskable,
            chosen: masked.len() as u64,
            hidden: fates.hidden,
            random: fates.random,
            kept: fates.kept,
            truncated_tokens: outline.truncated,
            left_out_tokens: 0,
        }
    }
}
