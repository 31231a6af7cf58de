//! Adverbs, time expressions, prepositions and modal verbs.

use super::super::german::Forms;

/// An expression that is the same wherever it stands.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Phrasal {
    pub english: &'static str,
    pub german: &'static str,
}

const fn p(english: &'static str, german: &'static str) -> Phrasal {
    Phrasal { english, german }
}

/// Times of things going on.
pub(in super::super) static NOW: [Phrasal; 4] =
    [p("now", "jetzt"), p("today", "heute"), p("this evening", "heute Abend"), p("at the moment", "im Moment")];
/// Times of habits.
pub(in super::super) static HABITUAL: [Phrasal; 6] = [
    p("every day", "jeden Tag"),
    p("every morning", "jeden Morgen"),
    p("every week", "jede Woche"),
    p("in the evening", "am Abend"),
    p("in summer", "im Sommer"),
    p("in winter", "im Winter"),
];
/// Times of the past; a past clause always has one, which tells "I read" from "I read yesterday".
pub(in super::super) static PAST: [Phrasal; 6] = [
    p("yesterday", "gestern"),
    p("yesterday evening", "gestern Abend"),
    p("last week", "letzte Woche"),
    p("last year", "letztes Jahr"),
    p("two days ago", "vor zwei Tagen"),
    p("last Sunday", "letzten Sonntag"),
];
/// Times of plans, the near ones first.
pub(in super::super) static FUTURE: [Phrasal; 8] = [
    p("today", "heute"),
    p("tomorrow", "morgen"),
    p("on Monday", "am Montag"),
    p("on Friday", "am Freitag"),
    p("on Saturday", "am Samstag"),
    p("soon", "bald"),
    p("next week", "nächste Woche"),
    p("next year", "nächstes Jahr"),
];
/// Adverbs of frequency, before the English main verb.
pub(in super::super) static FREQUENCY: [Phrasal; 6] = [
    p("often", "oft"),
    p("always", "immer"),
    p("sometimes", "manchmal"),
    p("never", "nie"),
    p("rarely", "selten"),
    p("usually", "meistens"),
];
/// Adverbs of manner.
pub(in super::super) static MANNER: [Phrasal; 5] = [
    p("slowly", "langsam"),
    p("quickly", "schnell"),
    p("carefully", "vorsichtig"),
    p("quietly", "leise"),
    p("together", "zusammen"),
];
/// Degree adverbs before adjectives.
pub(in super::super) static DEGREE: [Phrasal; 3] = [p("very", "sehr"), p("too", "zu"), p("really", "wirklich")];
/// "at home" and its goal.
pub(in super::super) static AT_HOME: Phrasal = p("at home", "zu Hause");
pub(in super::super) static HOMEWARDS: Phrasal = p("home", "nach Hause");

/// Two-way prepositions between things: dative for rest, accusative for movement.
pub(in super::super) static BESIDE: [Phrasal; 4] =
    [p("under", "unter"), p("behind", "hinter"), p("next to", "neben"), p("in front of", "vor")];
/// The two-way prepositions of surfaces and of containers.
pub(in super::super) static ON: Phrasal = p("on", "auf");
pub(in super::super) static IN: Phrasal = p("in", "in");

/// Means of transport.
pub(in super::super) static BY: [Phrasal; 4] = [
    p("by train", "mit dem Zug"),
    p("by bus", "mit dem Bus"),
    p("by car", "mit dem Auto"),
    p("by bike", "mit dem Fahrrad"),
];

/// How English builds a modal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ModalKind {
    /// can, will, should: an auxiliary.
    Auxiliary,
    /// wants to, has to: a verb with do-support.
    Lexical,
    /// wanted to, had to: a verb with did-support.
    LexicalPast,
}

/// A modal verb (or "werden" for the future).
#[derive(Debug)]
pub(in super::super) struct Modal {
    /// The auxiliary, or the base form of the verb.
    pub english: &'static str,
    /// Third person ("wants") or past ("wanted") of a lexical one.
    pub english_finite: &'static str,
    /// What follows: "to", "like to" or nothing.
    pub english_tail: &'static str,
    pub kind: ModalKind,
    pub german: Forms,
}

const fn modal(
    kind: ModalKind,
    english: &'static str,
    english_finite: &'static str,
    english_tail: &'static str,
    german: Forms,
) -> Modal {
    Modal { english, english_finite, english_tail, kind, german }
}

use ModalKind::{Auxiliary, Lexical, LexicalPast};

pub(in super::super) static WILL: Modal =
    modal(Auxiliary, "will", "", "", ["werde", "wirst", "wird", "werden", "werden"]);
/// Modals of the present.
pub(in super::super) static MODALS: [Modal; 6] = [
    modal(Auxiliary, "can", "", "", ["kann", "kannst", "kann", "können", "können"]),
    modal(Auxiliary, "should", "", "", ["sollte", "solltest", "sollte", "sollten", "sollten"]),
    modal(Auxiliary, "may", "", "", ["darf", "darfst", "darf", "dürfen", "dürfen"]),
    modal(Auxiliary, "would", "", "like to", ["möchte", "möchtest", "möchte", "möchten", "möchten"]),
    modal(Lexical, "want", "wants", "to", ["will", "willst", "will", "wollen", "wollen"]),
    modal(Lexical, "have", "has", "to", ["muss", "musst", "muss", "müssen", "müssen"]),
];
/// Modals of the past.
pub(in super::super) static PAST_MODALS: [Modal; 2] = [
    modal(LexicalPast, "want", "wanted", "to", ["wollte", "wolltest", "wollte", "wollten", "wollten"]),
    modal(LexicalPast, "have", "had", "to", ["musste", "musstest", "musste", "mussten", "mussten"]),
];

/// Numerals that agree with nothing.
pub(in super::super) static NUMERALS: [Phrasal; 5] =
    [p("two", "zwei"), p("three", "drei"), p("four", "vier"), p("five", "fünf"), p("ten", "zehn")];
