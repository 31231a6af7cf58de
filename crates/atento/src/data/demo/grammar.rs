//! The sentence patterns and how often each is used.

mod joined;
mod questions;

use super::clauses::{LEAN, Plan, RICH, Time};
use super::german::{Case, Number};
use super::lexicon::{FUTURE, NOW, NUMERALS, VERBS, Verb, kind};
use super::sampler::{Role, Sampler};
use super::tree::{Clause, Determiner, Front, Phrase, Pronoun, Sentence, Tense};
use joined::{because, because_it, condition, infinitive, relative, shared_subject, that, two_clauses, whether};
use questions::{asked, asked_which, asked_who, yes_or_no};

/// A sentence pattern.
type Pattern = fn(&mut Sampler) -> Sentence;

/// The patterns with their weights.
pub(super) const PATTERNS: [(usize, Pattern); 23] = [
    (24, plain),
    (14, fronted),
    (8, yes_or_no),
    (9, asked),
    (2, asked_who),
    (2, asked_which),
    (6, imperative),
    (6, suggestion),
    (6, described),
    (4, compared),
    (2, introduced),
    (4, located),
    (3, there_is),
    (1, weather),
    (6, because),
    (3, because_it),
    (4, that),
    (2, whether),
    (4, condition),
    (4, two_clauses),
    (4, shared_subject),
    (5, infinitive),
    (3, relative),
];

/// A random sentence.
pub(super) fn sentence(sampler: &mut Sampler) -> Sentence {
    let total = PATTERNS.iter().map(|(weight, _)| weight).sum();
    let mut ticket = sampler.below(total);
    for (weight, pattern) in PATTERNS {
        if ticket < weight {
            return pattern(sampler);
        }
        ticket -= weight;
    }
    unreachable!("a ticket below the sum of the weights belongs to a pattern")
}

fn any_verb(sampler: &mut Sampler) -> &'static Verb {
    sampler.row(&VERBS)
}

/// A verb that can be told or tried to be done, without a reflexive pronoun to agree.
fn doable(sampler: &mut Sampler) -> &'static Verb {
    sampler.row_where(&VERBS, |verb| !verb.stative && !verb.reflexive && !verb.accidental)
}

fn rich(sampler: &mut Sampler) -> Clause {
    sampler.adjectives = 32;
    let verb = any_verb(sampler);
    sampler.clause(verb, None, RICH)
}

fn lean(sampler: &mut Sampler, subject: Option<Phrase>) -> Clause {
    sampler.adjectives = 15;
    if sampler.chance(25) {
        return sampler.description(subject, 12);
    }
    let verb = any_verb(sampler);
    sampler.clause(verb, subject, LEAN)
}

fn plain(sampler: &mut Sampler) -> Sentence {
    Sentence::Statement(Front::Subject, rich(sampler))
}

fn fronted(sampler: &mut Sampler) -> Sentence {
    let clause = rich(sampler);
    let front = match (&clause.time, &clause.place) {
        (Some(_), _) => Front::Time,
        (None, Some(_)) if !clause.negated && clause.frequency.is_none() => Front::Place,
        _ => return fronted(sampler),
    };
    Sentence::Statement(front, clause)
}

/// A subjectless clause of someone's doing.
fn doing(sampler: &mut Sampler, who: Phrase, negation: u64, plan: Plan<'_>) -> Clause {
    let verb = doable(sampler);
    let mut clause = Clause::new(who, verb, Tense::Present);
    clause.negated = sampler.chance(negation);
    sampler.complete(&mut clause, plan);
    clause
}

fn imperative(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let mut clause = doing(sampler, Phrase::Pronoun(Pronoun::You), 25, LEAN);
    if !clause.negated && sampler.chance(20) {
        clause.time = Some(sampler.row(&NOW[..2]));
    }
    Sentence::Imperative { please: sampler.chance(45), clause }
}

fn suggestion(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let plan = Plan { adverbials: 25, ..LEAN };
    let mut clause = loop {
        let clause = doing(sampler, Phrase::Pronoun(Pronoun::We), 0, plan);
        if !clause.mentions_you() {
            break clause;
        }
    };
    if sampler.chance(25) {
        clause.time = Some(match sampler.chance(50) {
            true => sampler.row(&NOW[..3]),
            false => sampler.row(&FUTURE[1..6]),
        });
    }
    Sentence::Suggestion { full_stop: sampler.chance(50), clause }
}

fn described(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 20;
    Sentence::Statement(Front::Subject, sampler.description(None, 18))
}

fn compared(sampler: &mut Sampler) -> Sentence {
    Sentence::Statement(Front::Subject, sampler.comparison())
}

fn introduced(sampler: &mut Sampler) -> Sentence {
    Sentence::Statement(Front::Subject, sampler.profession())
}

fn located(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 25;
    let clause = sampler.location();
    match sampler.chance(20) {
        true if !clause.negated => Sentence::Whether(clause),
        _ => Sentence::Statement(Front::Subject, clause),
    }
}

fn there_is(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let (kinds, place) = match sampler.chance(60) {
        true => match sampler.chance(75) {
            true => (kind::PERSON, sampler.place(kind::GREEN | kind::PUBLIC | kind::ROOM)),
            false => (kind::ANIMAL, sampler.place(kind::GREEN)),
        },
        false => {
            let place = sampler.beside(Case::Dative, None);
            (kind::LIES | kind::STANDS, place)
        }
    };
    let noun = sampler.noun(kinds);
    let (number, determiner) = match sampler.below(10) {
        0..5 => (Number::Singular, Determiner::Indefinite),
        5..8 => (Number::Plural, Determiner::Numeral(sampler.row(&NUMERALS))),
        _ => (Number::Plural, Determiner::Many),
    };
    let mut phrase = sampler.phrase_of(noun, number, Role::Object);
    phrase.determiner = determiner;
    Sentence::ThereIs(Phrase::Noun(phrase), place)
}

fn weather(sampler: &mut Sampler) -> Sentence {
    let plan = Plan { times: &[Time::Habit, Time::Now, Time::Past, Time::Plan], ..RICH };
    let clause = sampler.weather(plan);
    let front = match clause.time {
        Some(_) if sampler.chance(50) => Front::Time,
        _ => Front::Subject,
    };
    Sentence::Statement(front, clause)
}
