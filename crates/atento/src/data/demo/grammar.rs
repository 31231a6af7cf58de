//! The sentence patterns and how often each is used.

use super::clauses::{ALL_TIMES, BARE, FEW_TIMES, LEAN, Plan, RICH, Time};
use super::german::Number;
use super::lexicon::{
    BE, FUTURE, Frame, Kinds, ModalKind, NOW, NUMERALS, PAST, THAT, TRY, VERBS, Verb, kind,
};
use super::sampler::{Role, Sampler, pronoun_for};
use super::tree::{
    Asked, Clause, Determiner, Front, Link, NounPhrase, Phrase, Predicative, Pronoun, Sentence,
    Tense,
};

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

/// Questions have no quantified subject and no negation.
const QUESTION: Plan<'static> = Plan {
    times: &ALL_TIMES,
    adverbials: 25,
    negation: 0,
};
/// Questions for an object: "likes to" would need a plural to ask for.
const OBJECT_QUESTION: Plan<'static> = Plan {
    times: &FEW_TIMES,
    adverbials: 25,
    negation: 0,
};

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
    sampler.row_where(&VERBS, |verb| {
        !verb.stative && !verb.reflexive && !verb.accidental
    })
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

fn yes_or_no(sampler: &mut Sampler) -> Sentence {
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

fn asked(sampler: &mut Sampler) -> Sentence {
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

fn takes_thing(verb: &Verb) -> bool {
    match verb.frame {
        Frame::Accusative(kinds) => kinds & kind::ANIMATE == 0,
        Frame::Gift(_) => true,
        _ => false,
    }
}

fn takes_person(verb: &Verb) -> bool {
    matches!(verb.frame, Frame::Accusative(kinds) if kinds & kind::PERSON != 0)
}

fn asked_who(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let verb = any_verb(sampler);
    let clause = sampler.clause(verb, Some(Phrase::Who), QUESTION);
    Sentence::Statement(Front::Subject, clause)
}

/// "Which book …", "How many books …".
fn asked_which(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let verb = sampler.row_where(&VERBS, |verb| matches!(verb.frame, Frame::Accusative(_)));
    let mut clause = question(sampler, verb, OBJECT_QUESTION);
    may_drop_time(sampler, &mut clause);
    clause.accusative = None;
    let Frame::Accusative(kinds) = verb.frame else {
        unreachable!("the verb was chosen by this frame")
    };
    let mut object = sampler.noun_phrase(kinds, Role::Definite);
    object.determiner = match object.number {
        Number::Plural if sampler.chance(60) => Determiner::HowMany,
        _ => Determiner::Which,
    };
    Sentence::Ask(Asked::Object(Phrase::Noun(object)), clause)
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
    Sentence::Imperative {
        please: sampler.chance(45),
        clause,
    }
}

fn suggestion(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 28;
    let plan = Plan {
        adverbials: 25,
        ..LEAN
    };
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
    Sentence::Suggestion {
        full_stop: sampler.chance(50),
        clause,
    }
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
            true => (
                kind::PERSON,
                sampler.place(kind::GREEN | kind::PUBLIC | kind::ROOM),
            ),
            false => (kind::ANIMAL, sampler.place(kind::GREEN)),
        },
        false => {
            let place = sampler.beside(super::german::Case::Dative, None);
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
    let plan = Plan {
        times: &[Time::Habit, Time::Now, Time::Past, Time::Plan],
        ..RICH
    };
    let clause = sampler.weather(plan);
    let front = match clause.time {
        Some(_) if sampler.chance(50) => Front::Time,
        _ => Front::Subject,
    };
    Sentence::Statement(front, clause)
}

/// The subject of a second clause: mostly the first one's, as a pronoun.
fn same_or_other(sampler: &mut Sampler, first: &Clause) -> Option<Phrase> {
    pronoun_for(&first.subject)
        .filter(|_| sampler.chance(60))
        .map(Phrase::Pronoun)
}

fn because(sampler: &mut Sampler) -> Sentence {
    let first = lean(sampler, None);
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
    let verb = sampler.row_where(&VERBS, |verb| !verb.accidental && !(past && verb.stative));
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
fn because_it(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 10;
    let verb = sampler.row_where(&VERBS, takes_thing);
    let plan = Plan {
        adverbials: 0,
        ..LEAN
    };
    let mut first = sampler.clause(verb, None, plan);
    first.dative = None;
    let Some(Phrase::Noun(object)) = &first.accusative else {
        return because_it(sampler);
    };
    if object.adjective.is_some() || matches!(verb.frame, Frame::Gift(_)) {
        return because_it(sampler);
    }
    let subject = Phrase::Noun(NounPhrase {
        determiner: Determiner::Definite,
        ..object.clone()
    });
    let it = taken_up(object);
    let mut second = sampler.description(Some(subject), 0);
    second.tense = Tense::Present;
    second.time = None;
    second.subject = it;
    Sentence::Compound(first, Link::Because, second)
}

fn that(sampler: &mut Sampler) -> Sentence {
    let subject = sampler.subject(kind::PERSON, Role::Definite);
    let mut matrix = Clause::new(subject, sampler.row(&THAT), Tense::Present);
    matrix.negated = matrix.verb.english != "hope" && sampler.chance(20);
    let second = lean(sampler, None);
    Sentence::Compound(matrix, Link::That, second)
}

fn whether(sampler: &mut Sampler) -> Sentence {
    let subject = sampler.subject(kind::PERSON, Role::Definite);
    let mut matrix = Clause::new(subject, &THAT[0], Tense::Present);
    matrix.negated = true;
    let mut second = lean(sampler, None);
    second.negated = false;
    Sentence::Compound(matrix, Link::Whether, second)
}

fn condition(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 15;
    let present = Plan {
        times: &[Time::Habit, Time::Now],
        adverbials: 0,
        negation: 10,
    };
    let mut first = match sampler.below(10) {
        0..2 => sampler.weather(present),
        2..5 => {
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
    let result = Plan {
        times: &[Time::Plan, Time::Plan, Time::Modal, Time::Habit],
        ..LEAN
    };
    let second = sampler.clause(verb, subject, result);
    match sampler.chance(60) {
        true => Sentence::Condition(first, second),
        false => Sentence::Compound(second, Link::If, first),
    }
}

fn two_clauses(sampler: &mut Sampler) -> Sentence {
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
fn shared_subject(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 22;
    let handles = |verb: &Verb| takes_thing(verb) && !verb.stative && !verb.accidental;
    // One takes a thing before one uses it, and parts with it last.
    let gets = |verb: &Verb| ["buy", "order", "build", "take", "write"].contains(&verb.english);
    let mut first = loop {
        let verb = sampler.row_where(&VERBS, |verb| handles(verb) && verb.english != "sell");
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
        first.time = Some(sampler.row(&super::lexicon::HABITUAL));
    }
    Sentence::SharedSubject(first, second)
}

/// "tries to …", and "goes … to …".
fn infinitive(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 15;
    let purpose = sampler.chance(45);
    let mut matrix = match purpose {
        true => {
            let verb = sampler.row_where(&VERBS, |verb| {
                verb.frame == Frame::Motion && !matches!(verb.english, "run" | "fly")
            });
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
    let plan = Plan {
        adverbials: if purpose { 0 } else { 12 },
        ..BARE
    };
    let clause = loop {
        let clause = doing(sampler, matrix.subject.clone(), 0, plan);
        if !purpose || PURPOSES.contains(&clause.verb.english) {
            break clause;
        }
    };
    Sentence::Infinitive {
        front,
        matrix,
        purpose,
        clause,
    }
}

/// "I know the woman who …", "This is the man who …".
fn relative(sampler: &mut Sampler) -> Sentence {
    sampler.adjectives = 20;
    let mut person = sampler.noun_phrase(kind::PERSON, Role::Definite);
    if matches!(
        person.determiner,
        Determiner::Possessive(_) | Determiner::NameOf(_)
    ) {
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
