//! Questions.

use super::super::clauses::{ALL_TIMES, FEW_TIMES, Plan};
use super::super::german::Number;
use super::super::lexicon::{Frame, Kinds, VERBS, Verb, kind};
use super::super::sampler::{Role, Sampler};
use super::super::tree::{Asked, Clause, Determiner, Front, Phrase, Pronoun, Sentence, Tense};
use super::any_verb;

/// Questions have no quantified subject and no negation.
const QUESTION: Plan<'static> = Plan { times: &ALL_TIMES, adverbials: 25, negation: 0 };
/// Questions for an object: "likes to" would need a plural to ask for.
const OBJECT_QUESTION: Plan<'static> = Plan { times: &FEW_TIMES, adverbials: 25, negation: 0 };

/// A subject for questions, often the person spoken to.
fn asked_subject(sampler: &mut Sampler, kinds: Kinds) -> Phrase {
    match sampler.chance(30) {
        true => Phrase::Pronoun(Pronoun::You),
        false => sampler.subject(kinds, Role::Definite),
    }
}

/// A clause to be asked. One asks about oneself only with a modal: "May I …?"
fn question(sampler: &mut Sampler, verb: &'static Verb, plan: Plan<'_>) -> Clause {
    loop {
        let subject = asked_subject(sampler, verb.subject);
        let is_i = matches!(subject, Phrase::Pronoun(Pronoun::I | Pronoun::We));
        let clause = sampler.clause(verb, Some(subject), plan);
        if !is_i || matches!(clause.tense, Tense::Modal(_)) {
            return clause;
        }
    }
}

pub(super) fn yes_or_no(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    if sampler.chance(15) {
        return Sentence::Whether(sampler.description(None, 0));
    }
    let verb = any_verb(sampler);
    Sentence::Whether(question(sampler, verb, QUESTION))
}

/// Past questions need no time: "did" shows it.
fn may_drop_time(sampler: &mut Sampler, clause: &mut Clause) {
    if matches!(clause.tense, Tense::Past) && sampler.chance(60) {
        clause.time = None;
    }
}

pub(super) fn asked(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let (asked, wanted): (Asked, fn(&Verb) -> bool) = match sampler.below(100) {
        0..18 => (Asked::What, takes_thing),
        18..32 => (Asked::Whom, takes_person),
        32..40 => (Asked::ToWhom, |verb| matches!(verb.frame, Frame::Dative(_))),
        40..54 => (Asked::Where, |verb| verb.places != 0),
        54..64 => (Asked::WhereTo, |verb| verb.frame == Frame::Motion),
        64..82 => (Asked::When, |verb| !verb.stative),
        _ => (Asked::Why, |_| true),
    };
    let verb = sampler.row_where(&VERBS, wanted);
    let mut clause = question(sampler, verb, OBJECT_QUESTION);
    may_drop_time(sampler, &mut clause);
    match asked {
        Asked::What | Asked::Whom => clause.accusative = None,
        Asked::ToWhom => clause.dative = None,
        Asked::Where => clause.place = None,
        Asked::WhereTo => clause.goal = None,
        Asked::When => {
            clause.time = None;
            clause.frequency = None;
        }
        Asked::Why | Asked::Object(_) => {}
    }
    Sentence::Ask(asked, clause)
}

pub(in super::super) fn takes_thing(verb: &Verb) -> bool {
    match verb.frame {
        Frame::Accusative(kinds) => kinds & kind::ANIMATE == 0,
        Frame::Gift(_) => true,
        _ => false,
    }
}

pub(in super::super) fn takes_person(verb: &Verb) -> bool {
    matches!(verb.frame, Frame::Accusative(kinds) if kinds & kind::PERSON != 0)
}

pub(super) fn asked_who(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let verb = any_verb(sampler);
    let clause = sampler.clause(verb, Some(Phrase::Who), QUESTION);
    Sentence::Statement(Front::Subject, clause)
}

/// "Which book …", "How many books …".
pub(super) fn asked_which(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let verb = sampler.row_where(&VERBS, |verb| matches!(verb.frame, Frame::Accusative(_)));
    let mut clause = question(sampler, verb, OBJECT_QUESTION);
    may_drop_time(sampler, &mut clause);
    clause.accusative = None;
    let Frame::Accusative(kinds) = verb.frame else { unreachable!("the verb was chosen by this frame") };
    let mut object = sampler.noun_phrase(kinds, Role::Definite);
    object.determiner = match object.number {
        Number::Plural if sampler.chance(60) => Determiner::HowMany,
        _ => Determiner::Which,
    };
    Sentence::Ask(Asked::Object(Phrase::Noun(object)), clause)
}
