//! German inflection: determiners, adjective endings, nouns, pronouns, verbs.
//!
//! Everything is a table or a short rule over the lexicon's principal parts. Only the forms the
//! grammar uses exist: no genitive (but names, "Annas"), no "ihr"/"Sie" address.

use super::lexicon::{Adjective, Noun, Verb};

/// Grammatical gender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gender {
    Masculine,
    Feminine,
    Neuter,
}

/// Grammatical number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Singular,
    Plural,
}

/// The three cases the grammar uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Nominative,
    Accusative,
    Dative,
}

/// Person and number of a subject, as an index into a conjugation: ich, du, er/sie/es, wir, sie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    I,
    You,
    He,
    We,
    They,
}

/// What stands before an adjective decides which of its three declensions is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declension {
    /// After nothing, numerals, "viele" and genitives: the adjective itself shows the case.
    Strong,
    /// After der, dieser, jeder, welcher, alle.
    Weak,
    /// After ein, kein and the possessives.
    Mixed,
}

/// Present or past forms in the order of [`Agreement`].
pub(super) type Forms = [&'static str; 5];

pub(super) const SEIN: Forms = ["bin", "bist", "ist", "sind", "sind"];
pub(super) const WAR: Forms = ["war", "warst", "war", "waren", "waren"];
pub(super) const HABEN: Forms = ["habe", "hast", "hat", "haben", "haben"];

/// Rows: case; columns: masculine, feminine, neuter, plural.
type Paradigm = [[&'static str; 4]; 3];

const DER: Paradigm = [["der", "die", "das", "die"], ["den", "die", "das", "die"], ["dem", "der", "dem", "den"]];
const DIESER: Paradigm = [["er", "e", "es", "e"], ["en", "e", "es", "e"], ["em", "er", "em", "en"]];
const EIN: Paradigm = [["", "e", "", "e"], ["en", "e", "", "e"], ["em", "er", "em", "en"]];
const WEAK: Paradigm = [["e", "e", "e", "en"], ["en", "e", "e", "en"], ["en", "en", "en", "en"]];
const MIXED: Paradigm = [["er", "e", "es", "en"], ["en", "e", "es", "en"], ["en", "en", "en", "en"]];

fn cell(table: &Paradigm, gender: Gender, number: Number, case: Case) -> &'static str {
    let column = match number {
        Number::Singular => gender as usize,
        Number::Plural => 3,
    };
    table[case as usize][column]
}

/// der, die, das; in the nominative also the relative pronoun.
pub(super) fn definite_article(gender: Gender, number: Number, case: Case) -> &'static str {
    cell(&DER, gender, number, case)
}

/// `dies`, `jed`, `welch`, `all` with their ending.
pub(super) fn der_word(stem: &str, gender: Gender, number: Number, case: Case) -> String {
    format!("{stem}{}", cell(&DIESER, gender, number, case))
}

/// `ein`, `kein`, `mein`, `unser`, … with their ending.
pub(super) fn ein_word(stem: &str, gender: Gender, number: Number, case: Case) -> String {
    format!("{stem}{}", cell(&EIN, gender, number, case))
}

/// An attributive adjective. The strong endings are those of "dieser" (no genitive here).
pub(super) fn adjective(
    adjective: &Adjective,
    declension: Declension,
    gender: Gender,
    number: Number,
    case: Case,
) -> String {
    let table = match declension {
        Declension::Strong => &DIESER,
        Declension::Weak => &WEAK,
        Declension::Mixed => &MIXED,
    };
    format!("{}{}", adjective.german_stem, cell(table, gender, number, case))
}

/// A noun's form: weak nouns take -(e)n outside the nominative, every dative plural ends in -n
/// unless the plural ends in -n or -s already.
pub(super) fn noun(noun: &Noun, number: Number, case: Case) -> String {
    match (number, case) {
        (Number::Singular, Case::Nominative) => noun.german.to_owned(),
        (Number::Singular, _) if noun.weak => noun.german_plural.to_owned(),
        (Number::Singular, _) => noun.german.to_owned(),
        (Number::Plural, Case::Dative) if !noun.german_plural.ends_with(['n', 's']) => {
            format!("{}n", noun.german_plural)
        }
        (Number::Plural, _) => noun.german_plural.to_owned(),
    }
}

/// Preposition and definite article, contracted where German contracts them.
pub(super) fn contracted(preposition: &str, article: &str) -> Option<&'static str> {
    Some(match (preposition, article) {
        ("in", "dem") => "im",
        ("in", "das") => "ins",
        ("an", "dem") => "am",
        ("zu", "dem") => "zum",
        ("zu", "der") => "zur",
        ("von", "dem") => "vom",
        _ => return None,
    })
}

/// The accusative reflexive pronoun.
pub(super) fn reflexive(agreement: Agreement) -> &'static str {
    ["mich", "dich", "sich", "uns", "sich"][agreement as usize]
}

/// Stems ending like this need an -e- before -st and -t: wartest, findet, öffnet, regnet.
fn needs_linking_e(stem: &str) -> bool {
    stem.ends_with(['t', 'd']) || ["ffn", "gn"].iter().any(|end| stem.ends_with(end))
}

fn stem(verb: &Verb) -> &'static str {
    let infinitive = verb.german;
    infinitive.strip_suffix("en").or_else(|| infinitive.strip_suffix('n')).unwrap_or(infinitive)
}

/// The finite present, without a separable prefix.
pub(super) fn present(verb: &Verb, agreement: Agreement) -> String {
    if let Some(forms) = verb.german_present {
        return forms[agreement as usize].to_owned();
    }
    let stem = stem(verb);
    match (agreement, verb.german_du_er) {
        (Agreement::You, Some((du, _))) => du.to_owned(),
        (Agreement::He, Some((_, er))) => er.to_owned(),
        (Agreement::I, _) => format!("{stem}e"),
        (Agreement::You, None) if needs_linking_e(stem) => format!("{stem}est"),
        (Agreement::You, None) if stem.ends_with(['s', 'ß', 'z']) => format!("{stem}t"),
        (Agreement::You, None) => format!("{stem}st"),
        (Agreement::He, None) if needs_linking_e(stem) => format!("{stem}et"),
        (Agreement::He, None) => format!("{stem}t"),
        (Agreement::We | Agreement::They, _) => verb.german.to_owned(),
    }
}

/// The imperative said to one friend, without a separable prefix.
pub(super) fn imperative(verb: &Verb) -> String {
    let stem = stem(verb);
    match verb.german_imperative {
        Some(form) => form.to_owned(),
        None if needs_linking_e(stem) || stem.ends_with("er") => format!("{stem}e"),
        None => stem.to_owned(),
    }
}

/// The infinitive with its separable prefix: "anrufen".
pub(super) fn infinitive(verb: &Verb) -> String {
    format!("{}{}", verb.german_prefix, verb.german)
}

/// The infinitive with "zu", which goes inside separable verbs: "zu lesen", "anzurufen".
pub(super) fn zu_infinitive(verb: &Verb) -> String {
    match verb.german_prefix {
        "" => format!("zu {}", verb.german),
        adverb if adverb.ends_with(' ') => format!("{adverb}zu {}", verb.german),
        prefix => format!("{prefix}zu{}", verb.german),
    }
}
