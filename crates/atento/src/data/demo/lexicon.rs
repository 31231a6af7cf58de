//! The lexicon: English and German words side by side, with the principal parts that inflection
//! needs and the kinds that keep sentences sensible.
//!
//! Every English lemma has one German lemma per construction ("know" is "kennen" before a noun and
//! "wissen" before a clause), so that translation is a function of the English sentence.

mod adjectives;
mod adverbs;
mod nouns;
mod verbs;

pub(super) use adjectives::ADJECTIVES;
pub(super) use adverbs::*;
pub(super) use nouns::{LANGUAGES, NAMES, NOUNS, PLACES, TOWNS};
pub(super) use verbs::*;

use super::german::{Case, Forms, Gender};

/// A set of semantic kinds, one bit each.
pub(super) type Kinds = u64;

/// The bits of [`Kinds`].
pub(super) mod kind {
    use super::Kinds;
    pub const PERSON: Kinds = 1;
    pub const ANIMAL: Kinds = 1 << 1;
    pub const FOOD: Kinds = 1 << 2;
    pub const DRINK: Kinds = 1 << 3;
    pub const TEXT: Kinds = 1 << 4;
    pub const THING: Kinds = 1 << 5;
    pub const CLOTHES: Kinds = 1 << 6;
    pub const VEHICLE: Kinds = 1 << 7;
    pub const FURNITURE: Kinds = 1 << 8;
    pub const PLACE: Kinds = 1 << 9;
    /// Without a plural and without "a".
    pub const MASS: Kinds = 1 << 10;
    /// A person who can be somebody's.
    pub const KIN: Kinds = 1 << 11;
    pub const READ: Kinds = 1 << 12;
    pub const WRITE: Kinds = 1 << 13;
    pub const OPEN: Kinds = 1 << 14;
    pub const DEVICE: Kinds = 1 << 15;
    pub const COOK: Kinds = 1 << 16;
    pub const BAKE: Kinds = 1 << 17;
    pub const CUT: Kinds = 1 << 18;
    pub const PACK: Kinds = 1 << 19;
    pub const WASH: Kinds = 1 << 20;
    pub const PAINT: Kinds = 1 << 21;
    pub const BUILD: Kinds = 1 << 22;
    pub const ROOM: Kinds = 1 << 23;
    /// "is on the table" is "liegt", "put" is "legen".
    pub const LIES: Kinds = 1 << 24;
    /// "is on the table" is "steht", "put" is "stellen".
    pub const STANDS: Kinds = 1 << 25;
    pub const SURFACE: Kinds = 1 << 26;
    pub const TELL: Kinds = 1 << 27;
    pub const VISIT: Kinds = 1 << 28;
    pub const AWAITED: Kinds = 1 << 29;
    pub const TOY: Kinds = 1 << 30;
    pub const PROFESSION: Kinds = 1 << 31;
    pub const GREEN: Kinds = 1 << 32;
    pub const HOME: Kinds = 1 << 33;
    pub const PUBLIC: Kinds = 1 << 34;
    pub const SHOP: Kinds = 1 << 35;
    pub const WATER: Kinds = 1 << 36;
    pub const MEAL: Kinds = 1 << 37;
    pub const STUDY: Kinds = 1 << 38;
    /// Where one can live.
    pub const DWELLING: Kinds = 1 << 39;
    /// A vehicle that stands in front of houses.
    pub const PARKED: Kinds = 1 << 40;
    pub const CONTAINER: Kinds = 1 << 41;
    /// Written things that are sent.
    pub const MAIL: Kinds = 1 << 42;
    pub const ANIMATE: Kinds = PERSON | ANIMAL;
    /// Anything but a person that an adjective can be said of.
    pub const DESCRIBED: Kinds = ANIMAL | FOOD | DRINK | TEXT | THING | CLOTHES | VEHICLE | PLACE;
    /// Anything bought in a shop and carried home.
    pub const GOODS: Kinds = FOOD | DRINK | THING | CLOTHES | FURNITURE;
}

/// A common noun.
#[derive(Debug)]
pub(super) struct Noun {
    pub english: &'static str,
    pub english_plural: &'static str,
    pub german: &'static str,
    pub german_plural: &'static str,
    pub gender: Gender,
    /// n-declension: its oblique singular is its plural ("den Studenten").
    pub weak: bool,
    pub kinds: Kinds,
}

/// A proper name of a person or a town.
#[derive(Debug)]
pub(super) struct Name {
    pub english: &'static str,
    pub german: &'static str,
    pub gender: Gender,
}

/// A place noun with the prepositions it takes.
#[derive(Debug)]
pub(super) struct Place {
    pub noun: Noun,
    /// English preposition of rest; the goal is always "to".
    pub english_at: &'static str,
    /// German preposition of rest (dative).
    pub german_at: &'static str,
    /// German preposition of the goal: accusative, but "zu" takes the dative.
    pub german_to: &'static str,
}

/// An adjective with the kinds of nouns it describes.
#[derive(Debug)]
pub(super) struct Adjective {
    pub english: &'static str,
    pub german: &'static str,
    /// What endings attach to: "teur" of "teuer", "müd" of "müde".
    pub german_stem: &'static str,
    pub kinds: Kinds,
    /// "bigger"/"more modern" and its German, where the pair is used for comparisons.
    pub comparative: Option<(&'static str, &'static str)>,
}

/// What a verb needs besides its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Intransitive,
    Accusative(Kinds),
    Dative(Kinds),
    /// A person in the dative and something in the accusative: give.
    Gift(Kinds),
    /// An object behind a German preposition.
    Prepositional(&'static str, Case, Kinds),
    /// A goal: go to the park.
    Motion,
    /// A place: live in Berlin.
    Situated,
    /// An object and the goal it is moved to: put the book on the table.
    Placing(Kinds),
    /// A language, always without article: speak German.
    Language,
    /// Used by sentence patterns only: the copula, verbs of clauses and infinitives.
    Pattern,
}

/// A verb.
#[derive(Debug)]
pub(super) struct Verb {
    pub english: &'static str,
    pub english_past: Option<&'static str>,
    pub english_ing: Option<&'static str>,
    /// Adverb that a pronoun object precedes: turn it *on*.
    pub english_particle: &'static str,
    /// Preposition before the object: wait *for* it, explain it *to* someone.
    pub english_preposition: &'static str,
    /// Infinitive without its separable prefix.
    pub german: &'static str,
    pub german_prefix: &'static str,
    pub german_du_er: Option<(&'static str, &'static str)>,
    pub german_present: Option<Forms>,
    pub german_imperative: Option<&'static str>,
    pub participle: &'static str,
    /// The perfect is formed with "sein".
    pub perfect_with_sein: bool,
    pub reflexive: bool,
    /// No progressive, past, imperative.
    pub stative: bool,
    /// Happens to people: nobody likes, plans or is told to do it.
    pub accidental: bool,
    /// Can be done slowly, carefully, …
    pub manner: bool,
    pub subject: Kinds,
    pub frame: Frame,
    /// The kinds of places where it is done.
    pub places: Kinds,
}

impl Verb {
    /// The German preposition of its object and the case that goes with it.
    pub fn governs(&self) -> Option<(&'static str, Case)> {
        match self.frame {
            Frame::Prepositional(preposition, case, _) => Some((preposition, case)),
            _ => None,
        }
    }
}
