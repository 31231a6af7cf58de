//! Sentences of two clauses.

use super::super::clauses::{BARE, LEAN, Plan, Time};
use super::super::german::Number;
use super::super::lexicon::{BE, Frame, HABITUAL, ModalKind, PAST, THAT, TRY, VERBS, Verb, kind};
use super::super::sampler::{Role, Sampler, pronoun_for};
use super::super::tree::{Clause, Determiner, Front, Link, NounPhrase, Phrase, Predicative, Pronoun, Sentence, Tense};
use super::questions::{takes_person, takes_thing};
use super::{any_verb, doable, doing, lean};

/// What people go somewhere for.
const PURPOSES: [&str; 20] = [
    "buy",
    "sell",
    "meet",
    "visit",
    "help",
    "photograph",
    "watch",
    "look",
    "pick",
    "read",
    "drink",
    "eat",
    "work",
    "play",
    "dance",
    "sing",
    "thank",
    "ask",
    "invite",
    "learn",
];

/// The subject of a second clause: mostly the first one's, as a pronoun.
fn same_or_other(sampler: &mut Sampler, first: &Clause) -> Option<Phrase> {
    pronoun_for(&first.subject).filter(|_| sampler.chance(60)).map(Phrase::Pronoun)
}

pub(super) fn because(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 15;
    let verb = any_verb(sampler);
    let first = sampler.clause(verb, None, LEAN);
    let subject = same_or_other(sampler, &first);
    let second = reason(sampler, subject, is_past(&first));
    let link = match sampler.chance(18) {
        true => Link::For,
        false => Link::Because,
    };
    Sentence::Compound(first, link, second)
}

fn is_past(clause: &Clause) -> bool {
    match clause.tense {
        Tense::Past => true,
        Tense::Modal(modal) => modal.kind == ModalKind::LexicalPast,
        _ => false,
    }
}

/// A reason for something past or present: a state, a wish, a duty, a plan.
fn reason(sampler: &mut Sampler, subject: Option<Phrase>, past: bool) -> Clause {
    if sampler.chance(45) {
        sampler.adjectives = 0;
        let subject = match subject {
            Some(subject) => subject,
            None => sampler.subject(kind::PERSON, Role::Definite),
        };
        let mut state = loop {
            let state = sampler.description(Some(subject.clone()), 15);
            // A mood is a better reason than a quality.
            let graded = matches!(&state.predicative, Some(Predicative::Adjective(_, it)) if it.comparative.is_some());
            if !graded || sampler.chance(15) {
                break state;
            }
        };
        state.tense = if past { Tense::Past } else { Tense::Present };
        state.time = None;
        return state;
    }
    let verb = sampler.row_where(&VERBS, |verb| !verb.accidental && (!past || !verb.stative));
    let times: &[Time] = match past {
        true => &[Time::PastModal],
        false => &[Time::Modal, Time::Plan, Time::Habit, Time::Likes],
    };
    sampler.clause(verb, subject, Plan { times, ..LEAN })
}

/// What takes up an object: it or they.
fn taken_up(phrase: &NounPhrase) -> Phrase {
    match phrase.number {
        Number::Singular => Phrase::It(phrase.noun.gender),
        Number::Plural => Phrase::Pronoun(Pronoun::They),
    }
}

/// "… buys the apple because it is fresh".
pub(super) fn because_it(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 10;
    let verb = sampler.row_where(&VERBS, |verb| takes_thing(verb) && !verb.accidental);
    let plan = Plan { adverbials: 0, negation: 0, ..LEAN };
    let mut first = sampler.clause(verb, None, plan);
    first.dative = None;
    let Some(Phrase::Noun(object)) = &first.accusative else {
        return because_it(sampler);
    };
    if object.adjective.is_some() || matches!(verb.frame, Frame::Gift(_)) {
        return because_it(sampler);
    }
    let subject = Phrase::Noun(NounPhrase { determiner: Determiner::Definite, ..object.clone() });
    let it = taken_up(object);
    let mut second = sampler.description(Some(subject), 0);
    second.tense = Tense::Present;
    second.time = None;
    second.subject = it;
    Sentence::Compound(first, Link::Because, second)
}

pub(super) fn that(sampler: &mut Sampler) -> Sentence {
    let subject = sampler.subject(kind::PERSON, Role::Definite);
    let mut matrix = Clause::new(subject, sampler.row(&THAT), Tense::Present);
    matrix.negated = matrix.verb.english != "hope" && sampler.chance(20);
    let second = lean(sampler, None);
    Sentence::Compound(matrix, Link::That, second)
}

pub(super) fn whether(sampler: &mut Sampler) -> Sentence {
    let subject = sampler.subject(kind::PERSON, Role::Definite);
    let mut matrix = Clause::new(subject, &THAT[0], Tense::Present);
    matrix.negated = true;
    let mut second = lean(sampler, None);
    second.negated = false;
    Sentence::Compound(matrix, Link::Whether, second)
}

pub(super) fn condition(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 15;
    let present = Plan { times: &[Time::Habit, Time::Now], adverbials: 0, negation: 10 };
    let mut first = match sampler.below(10) {
        0..2 => sampler.weather(present),
        2..5 => {
            sampler.adjectives = 0;
            let subject = sampler.subject(kind::PERSON, Role::Definite);
            sampler.description(Some(subject), 12)
        }
        _ => {
            let verb = any_verb(sampler);
            sampler.clause(verb, None, present)
        }
    };
    if matches!(first.tense, Tense::Past) {
        first.tense = Tense::Present;
        first.time = None;
    }
    let subject = same_or_other(sampler, &first);
    let verb = doable(sampler);
    let result = Plan { times: &[Time::Plan, Time::Plan, Time::Modal, Time::Habit], ..LEAN };
    let second = sampler.clause(verb, subject, result);
    match sampler.chance(60) {
        true => Sentence::Condition(first, second),
        false => Sentence::Compound(second, Link::If, first),
    }
}

pub(super) fn two_clauses(sampler: &mut Sampler) -> Sentence {
    let first = lean(sampler, None);
    let subject = same_or_other(sampler, &first);
    let link = match sampler.chance(50) {
        true => Link::And,
        false => Link::But,
    };
    let verb = any_verb(sampler);
    let second = match link {
        Link::But => lean(sampler, subject),
        _ => sampler.clause(verb, subject, LEAN),
    };
    Sentence::Compound(first, link, second)
}

/// "… buys an apple and eats it".
pub(super) fn shared_subject(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 22;
    let handles = |verb: &Verb| takes_thing(verb) && !verb.stative && !verb.accidental;
    // One takes a thing before one uses it, and parts with it last.
    let gets = |verb: &Verb| ["buy", "order", "build", "take", "write"].contains(&verb.english);
    let parts = |verb: &Verb| ["sell", "eat", "drink"].contains(&verb.english);
    let mut first = loop {
        let verb = sampler.row_where(&VERBS, |verb| handles(verb) && !parts(verb));
        let first = sampler.clause(verb, None, BARE);
        if matches!(first.verb.frame, Frame::Accusative(_)) {
            break first;
        }
    };
    let Some(Phrase::Noun(object)) = &first.accusative else {
        return shared_subject(sampler);
    };
    let fits = |verb: &Verb| {
        handles(verb)
            && !gets(verb)
            && !std::ptr::eq(verb, first.verb)
            && matches!(verb.frame, Frame::Accusative(kinds) if kinds & object.noun.kinds != 0)
    };
    if !VERBS.iter().any(fits) {
        return shared_subject(sampler);
    }
    let verb = sampler.row_where(&VERBS, fits);
    let mut second = Clause::new(first.subject.clone(), verb, Tense::Present);
    second.accusative = Some(taken_up(object));
    if sampler.chance(20) {
        first.time = Some(sampler.row(&HABITUAL));
    }
    Sentence::SharedSubject(first, second)
}

/// "tries to …", and "goes … to …".
pub(super) fn infinitive(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 15;
    let purpose = sampler.chance(45);
    let mut matrix = match purpose {
        true => {
            let verb =
                sampler.row_where(&VERBS, |verb| verb.frame == Frame::Motion && !matches!(verb.english, "run" | "fly"));
            sampler.clause(verb, None, LEAN)
        }
        false => {
            let subject = sampler.subject(kind::PERSON, Role::Subject);
            Clause::new(subject, sampler.row(&TRY), Tense::Present)
        }
    };
    matrix.frequency = None;
    matrix.time = None;
    let mut front = Front::Subject;
    if matches!(matrix.tense, Tense::Past) || sampler.chance(25) {
        matrix.tense = Tense::Past;
        matrix.time = Some(sampler.row(&PAST));
        front = Front::Time;
    }
    let plan = Plan { adverbials: if purpose { 0 } else { 12 }, ..BARE };
    let clause = loop {
        let clause = doing(sampler, matrix.subject.clone(), 0, plan);
        if !purpose || PURPOSES.contains(&clause.verb.english) {
            break clause;
        }
    };
    Sentence::Infinitive { front, matrix, purpose, clause }
}

/// "I know the woman who …", "This is the man who …".
pub(super) fn relative(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 20;
    let mut person = sampler.noun_phrase(kind::PERSON, Role::Definite);
    if matches!(person.determiner, Determiner::Possessive(_) | Determiner::NameOf(_)) {
        person.determiner = Determiner::Definite;
    }
    let (gender, number) = (person.noun.gender, person.number);
    let matrix = if number == Number::Singular && sampler.chance(40) {
        let mut matrix = Clause::new(Phrase::This, &BE, Tense::Present);
        person.determiner = Determiner::Definite;
        matrix.predicative = Some(Predicative::Noun(Phrase::Noun(person)));
        matrix
    } else {
        let verb = sampler.row_where(&VERBS, |verb| {
            takes_person(verb) && verb.english_particle.is_empty() && verb.german_prefix.is_empty()
        });
        let mut matrix = sampler.clause(verb, None, BARE);
        matrix.accusative = Some(Phrase::Noun(person));
        matrix
    };
    let subject = Phrase::Relative(gender, number);
    let second = lean(sampler, Some(subject));
    Sentence::Relative(matrix, second)
}
