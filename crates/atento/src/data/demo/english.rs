//! English inflection: regular spelling rules over the lexicon's irregular forms.

use super::german::Agreement;
use super::lexicon::Verb;

fn is_vowel(letter: Option<char>) -> bool {
    letter.is_some_and(|letter| "aeiou".contains(letter))
}

/// Whether a final -y turns into -ie- ("carry" does, "buy" does not).
fn y_changes(word: &str) -> bool {
    word.ends_with('y') && !is_vowel(word.chars().rev().nth(1))
}

/// "a" or "an", by the sound `next` begins with.
pub(super) fn indefinite_article(next: &str) -> &'static str {
    let silent_h = next.starts_with("honest");
    let spoken_you = next.starts_with("uni");
    if silent_h || (is_vowel(next.chars().next()) && !spoken_you) { "an" } else { "a" }
}

/// Third person singular present: reads, watches, carries, has.
pub(super) fn third_person(verb: &Verb) -> String {
    let base = verb.english;
    if base == "have" {
        "has".to_owned()
    } else if y_changes(base) {
        format!("{}ies", &base[..base.len() - 1])
    } else if ["s", "x", "z", "ch", "sh", "o"].iter().any(|end| base.ends_with(end)) {
        format!("{base}es")
    } else {
        format!("{base}s")
    }
}

/// The simple present that agrees with the subject.
pub(super) fn present(verb: &Verb, agreement: Agreement) -> String {
    match agreement {
        Agreement::He => third_person(verb),
        _ => verb.english.to_owned(),
    }
}

/// The -ing form; doubled consonants are in the lexicon.
pub(super) fn progressive(verb: &Verb) -> String {
    let base = verb.english;
    match verb.english_ing {
        Some(form) => form.to_owned(),
        None if base.ends_with('e') && !base.ends_with("ee") => {
            format!("{}ing", &base[..base.len() - 1])
        }
        None => format!("{base}ing"),
    }
}

/// The simple past.
pub(super) fn past(verb: &Verb) -> String {
    let base = verb.english;
    match verb.english_past {
        Some(form) => form.to_owned(),
        None if y_changes(base) => format!("{}ied", &base[..base.len() - 1]),
        None if base.ends_with('e') => format!("{base}d"),
        None => format!("{base}ed"),
    }
}

/// Forms of "be" in the present.
pub(super) const BE: [&str; 5] = ["am", "are", "is", "are", "are"];
/// Forms of "be" in the past.
pub(super) const WAS: [&str; 5] = ["was", "were", "was", "were", "were"];
