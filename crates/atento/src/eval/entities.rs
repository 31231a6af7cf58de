//! Precision, recall and F1 of entities, equal to those of seqeval 1.2.2.
//!
//! An entity is a run of words of one kind. Labels such as `B-PER` say where it begins and ends: `B` begins an entity, `I`
//! goes on with it, `E` (or `L`) ends it, `S` (or `U`) is one of one word, `O` is none. An entity that was found is right if
//! its kind, its first word and its last are those of one in the data (E. F. Tjong Kim Sang and F. De Meulder, "Introduction
//! to the CoNLL-2003 Shared Task", 2003, section 2.4).
//!
//! Labels that models give need not follow each other as the scheme says. [`Mode`] says what is read from such a sequence.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::counts::Counts;

/// What is read from labels that do not follow each other as their scheme says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// seqeval's default, the rules of CoNLL's `conlleval`: every run of words of one kind is an entity, whatever letter it
    /// begins with, and ends where its kind changes or a letter says so. It takes labels of every scheme, also those that
    /// have only `I`. `L` and `U` mean `E` and `S` here; seqeval's own default does not know them.
    #[default]
    Lenient,
    /// seqeval's `mode="strict"`: what does not begin and end as the scheme says is no entity.
    Strict(Scheme),
}

/// Which letters stand before a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `B`, `I`, `O`: every entity begins with `B`.
    Iob2,
    /// `B`, `I`, `O`, `E`, `S`: an entity of several words ends with `E`, one of one word is `S`.
    Iobes,
    /// The same with `L` for `E` and `U` for `S`.
    Bilou,
}

impl Mode {
    /// The letters that labels may begin with.
    fn letters(self) -> &'static str {
        match self {
            Mode::Lenient => "BIOESLU",
            Mode::Strict(Scheme::Iob2) => "BIO",
            Mode::Strict(Scheme::Iobes) => "BIOES",
            Mode::Strict(Scheme::Bilou) => "BIOLU",
        }
    }
}

/// A run of words of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entity<'a> {
    /// What it is, such as `PER`; `_` where the label does not say.
    pub kind: &'a str,
    /// Its first word.
    pub start: usize,
    /// The word behind its last.
    pub end: usize,
}

/// The entities that the labels of one text mean, in their order.
///
/// # Errors
/// A label that is neither `O`, nor a letter of the mode alone, nor such a letter, a hyphen and a kind.
pub fn entities<'a>(labels: &'a [impl AsRef<str>], mode: Mode) -> Result<Vec<Entity<'a>>, Error> {
    let tags = labels.iter().map(|label| Tag::read(label.as_ref(), mode)).collect::<Result<Vec<_>, _>>()?;
    Ok(match mode {
        Mode::Lenient => lenient(&tags),
        Mode::Strict(_) => strict(&tags, mode != Mode::Strict(Scheme::Iob2)),
    })
}

/// A label, taken apart: one of the letters `B`, `I`, `O`, `E`, `S`, and the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    letter: char,
    kind: &'a str,
}

impl<'a> Tag<'a> {
    const OUTSIDE: Self = Self { letter: 'O', kind: "_" };

    fn read(label: &'a str, mode: Mode) -> Result<Self, Error> {
        let mut chars = label.chars();
        let letter = chars.next().filter(|letter| mode.letters().contains(*letter));
        let (letter, kind) = match (letter, chars.as_str().strip_prefix('-')) {
            (Some('O'), _) if label.len() > 1 => return Err(unknown(label, mode)),
            (Some(letter), None) if label.len() == 1 => (letter, "_"),
            (Some(letter), Some("")) => (letter, "_"),
            // seqeval's strict mode takes hyphens off both ends of a kind, its default takes the first one.
            (Some(letter), Some(kind)) if mode == Mode::Lenient => (letter, kind),
            (Some(letter), Some(kind)) => match kind.trim_matches('-') {
                "" => (letter, "_"),
                kind => (letter, kind),
            },
            _ => return Err(unknown(label, mode)),
        };
        let letter = match letter {
            'L' => 'E',
            'U' => 'S',
            letter => letter,
        };
        Ok(Self { letter, kind })
    }
}

fn unknown(label: &str, mode: Mode) -> Error {
    Error::EntityLabel { found: label.to_owned(), letters: mode.letters() }
}

/// An entity ends between two words if the first is its last by `E` or `S`, if the second begins one by `B` or `S` or is
/// outside, or if the kinds differ. A word that is not outside begins one if it says so, follows an end or has another kind.
fn lenient<'a>(tags: &[Tag<'a>]) -> Vec<Entity<'a>> {
    let mut found = Vec::new();
    let (mut start, mut last) = (0, Tag::OUTSIDE);
    for (at, &tag) in tags.iter().chain([&Tag::OUTSIDE]).enumerate() {
        let closed = match last.letter {
            'O' => false,
            'E' | 'S' => true,
            _ => matches!(tag.letter, 'B' | 'S' | 'O') || tag.kind != last.kind,
        };
        if closed {
            found.push(Entity { kind: last.kind, start, end: at });
        }
        if closed || last.letter == 'O' {
            start = at;
        }
        last = tag;
    }
    found
}

/// An entity begins with `B` and goes on with `I` of the same kind; if `closed`, it has to end with `E`, or is `S` alone.
fn strict<'a>(tags: &[Tag<'a>], closed: bool) -> Vec<Entity<'a>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < tags.len() {
        let mut last = tags[start];
        let mut end = start + 1;
        if matches!(last.letter, 'B' | 'S') {
            let goes_on = |last: Tag<'_>, next: &Tag<'_>| {
                matches!((last.letter, next.letter), ('B' | 'I', 'I' | 'E')) && next.kind == last.kind
            };
            while let Some(next) = tags.get(end).filter(|next| goes_on(last, next)) {
                (last, end) = (*next, end + 1);
            }
            if !closed || matches!(last.letter, 'E' | 'S') {
                found.push(Entity { kind: last.kind, start, end });
            }
        }
        start = end;
    }
    found
}

/// How many entities are in the data, were found, and are right; of all kinds and of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityScores {
    mode: Mode,
    kinds: BTreeMap<String, Counts>,
}

impl EntityScores {
    /// No texts yet.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode, kinds: BTreeMap::new() }
    }

    /// Counts one text: the labels of its words in the data, and those found.
    ///
    /// # Errors
    /// As [`entities`]; and where there are more of one than of the other. Nothing of the text is counted then.
    pub fn add(&mut self, gold: &[impl AsRef<str>], found: &[impl AsRef<str>]) -> Result<(), Error> {
        if gold.len() != found.len() {
            return Err(Error::EntityWords { gold: gold.len(), found: found.len() });
        }
        let gold: BTreeSet<Entity<'_>> = entities(gold, self.mode)?.into_iter().collect();
        let found: BTreeSet<Entity<'_>> = entities(found, self.mode)?.into_iter().collect();
        for entity in gold.union(&found) {
            let (gold, found) = (gold.contains(entity), found.contains(entity));
            let counts = Counts { right: (gold && found).into(), found: found.into(), gold: gold.into() };
            *self.kinds.entry(entity.kind.to_owned()).or_default() += counts;
        }
        Ok(())
    }

    /// The counts of all kinds together: precision, recall and F1 are seqeval's micro average, its default.
    #[must_use]
    pub fn overall(&self) -> Counts {
        self.kinds.values().copied().sum()
    }

    /// The counts of each kind that is in the data or was found, by name.
    #[must_use]
    pub fn kinds(&self) -> &BTreeMap<String, Counts> {
        &self.kinds
    }
}
