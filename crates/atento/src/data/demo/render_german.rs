//! The German side of a tree: the finite verb second, first or last, the bracket it forms with the
//! rest of the verb, and between them the middle field in the order
//!
//! > pronouns · definite dative · time · definite accusative · *nicht* · manner · indefinite objects ·
//! > company · place · prepositional object · goal · predicative
//!
//! Before *nicht* a definite accusative also precedes the time.

use super::german::{Agreement, Case, HABEN, SEIN, WAR, imperative, infinitive, present, reflexive, zu_infinitive};
use super::lexicon::Verb;
use super::line::Line;
use super::phrases_german::{phrase, prepositional};
use super::tree::{Adverbial, Asked, Clause, Front, Link, Phrase, Predicative, Sentence, Tense};

/// The German sentence.
pub(super) fn sentence(sentence: &Sentence) -> String {
    let mut line = Line::default();
    let mut mark = ".";
    match sentence {
        Sentence::Statement(front, clause) => {
            verb_second(&mut line, *front, clause);
            mark = clause.mark();
        }
        Sentence::Whether(clause) => {
            verb_first(&mut line, clause);
            mark = "?";
        }
        Sentence::Ask(asked, clause) => {
            line.push(&question_word(asked));
            verb_first(&mut line, clause);
            mark = "?";
        }
        Sentence::Imperative { please, clause } => {
            line.push(if *please { "bitte" } else { "" });
            command(&mut line, clause);
            mark = if *please { "." } else { "!" };
        }
        Sentence::Suggestion { full_stop, clause } => {
            line.push("lass uns");
            middle(&mut line, Front::Subject, clause);
            line.push(&infinitive(clause.verb));
            mark = if *full_stop { "." } else { "" };
        }
        Sentence::ThereIs(it, place) => {
            line.push(&adverbial(place));
            line.push(SEIN[it.agreement() as usize]);
            line.push(&phrase(it, Case::Nominative, false));
        }
        Sentence::Compound(first, link, second) => compound(&mut line, first, *link, second),
        Sentence::Condition(condition, result) => {
            line.push("wenn");
            verb_last(&mut line, condition);
            line.comma();
            verb_first(&mut line, result);
        }
        Sentence::SharedSubject(first, second) => {
            verb_second(&mut line, Front::Subject, first);
            line.push("und");
            predicate(&mut line, second);
        }
        Sentence::Infinitive { front, matrix, purpose, clause } => {
            verb_second(&mut line, *front, matrix);
            line.comma();
            line.push(if *purpose { "um" } else { "" });
            middle(&mut line, Front::Subject, clause);
            line.push(&zu_infinitive(clause.verb));
        }
        Sentence::Relative(matrix, relative) => {
            verb_second(&mut line, Front::Subject, matrix);
            line.comma();
            verb_last(&mut line, relative);
        }
    }
    line.finish(mark)
}

fn compound(line: &mut Line, first: &Clause, link: Link, second: &Clause) {
    verb_second(line, Front::Subject, first);
    if link != Link::And {
        line.comma();
    }
    line.push(match link {
        Link::And => "und",
        Link::But => "aber",
        Link::For => "denn",
        Link::Because => "weil",
        Link::If => "wenn",
        Link::That => "dass",
        Link::Whether => "ob",
    });
    if matches!(link, Link::And | Link::But | Link::For) {
        verb_second(line, Front::Subject, second);
    } else {
        verb_last(line, second);
    }
}

/// The finite verb and the part of the bracket that closes the clause. A separable prefix is
/// counted to the closing part; [`verb_last`] joins the two again.
fn bracket(clause: &Clause) -> (String, String) {
    let verb = clause.verb;
    let agreement = clause.subject.agreement();
    match clause.tense {
        Tense::Modal(modal) => (modal.german[agreement as usize].to_owned(), infinitive(verb)),
        Tense::Past if verb.german == "sein" => (WAR[agreement as usize].to_owned(), String::new()),
        Tense::Past => (auxiliary(verb, agreement).to_owned(), verb.participle.to_owned()),
        Tense::Present | Tense::Progressive | Tense::Likes => {
            (present(verb, agreement), verb.german_prefix.trim_end().to_owned())
        }
    }
}

fn auxiliary(verb: &Verb, agreement: Agreement) -> &'static str {
    let forms = if verb.perfect_with_sein { SEIN } else { HABEN };
    forms[agreement as usize]
}

fn verb_second(line: &mut Line, front: Front, clause: &Clause) {
    match front {
        Front::Subject => line.push(&phrase(&clause.subject, Case::Nominative, false)),
        Front::Time => line.push(clause.time.map_or("", |time| time.german)),
        Front::Place => line.push(&clause.place.as_ref().map(adverbial).unwrap_or_default()),
    }
    let (finite, end) = bracket(clause);
    line.push(&finite);
    if front == Front::Subject {
        if clause.verb.reflexive {
            line.push(reflexive(clause.subject.agreement()));
        }
    } else {
        inner_subject(line, clause);
    }
    middle(line, front, clause);
    line.push(&end);
}

/// A second predicate of a subject said before.
fn predicate(line: &mut Line, clause: &Clause) {
    let (finite, end) = bracket(clause);
    line.push(&finite);
    if clause.verb.reflexive {
        line.push(reflexive(clause.subject.agreement()));
    }
    middle(line, Front::Subject, clause);
    line.push(&end);
}

fn verb_first(line: &mut Line, clause: &Clause) {
    let (finite, end) = bracket(clause);
    line.push(&finite);
    inner_subject(line, clause);
    middle(line, Front::Subject, clause);
    line.push(&end);
}

fn verb_last(line: &mut Line, clause: &Clause) {
    let (finite, end) = bracket(clause);
    inner_subject(line, clause);
    middle(line, Front::Subject, clause);
    let is_simple = matches!(clause.tense, Tense::Present | Tense::Progressive | Tense::Likes);
    if is_simple {
        line.push(&format!("{}{finite}", clause.verb.german_prefix));
    } else {
        line.push(&end);
        line.push(&finite);
    }
}

fn command(line: &mut Line, clause: &Clause) {
    line.push(&imperative(clause.verb));
    middle(line, Front::Subject, clause);
    line.push(clause.verb.german_prefix.trim_end());
}

/// A subject after the finite verb or conjunction; a reflexive precedes it unless it is a pronoun.
fn inner_subject(line: &mut Line, clause: &Clause) {
    let subject = phrase(&clause.subject, Case::Nominative, false);
    let own = if clause.verb.reflexive { reflexive(clause.subject.agreement()) } else { "" };
    if clause.subject.is_pronoun() {
        line.push(&subject);
        line.push(own);
    } else {
        line.push(own);
        line.push(&subject);
    }
}

/// Everything between the two parts of the bracket but the subject.
fn middle(line: &mut Line, front: Front, clause: &Clause) {
    let kein = clause.negates_with_kein();
    let nicht = clause.negated && !kein;
    let accusative = |it: &Phrase| phrase(it, Case::Accusative, kein);
    let dative = |it: &Phrase| phrase(it, Case::Dative, false);
    let is_name_like = |it: &Phrase| !it.is_pronoun() && it.is_definite();
    push_if(line, &clause.accusative, Phrase::is_pronoun, accusative);
    push_if(line, &clause.dative, Phrase::is_definite, dative);
    // "nicht" follows a definite object and its time: "liest das Buch heute nicht".
    push_if(line, &clause.accusative, |it| nicht && is_name_like(it), accusative);
    if front != Front::Time {
        line.push(clause.time.map_or("", |time| time.german));
    }
    line.push(clause.frequency.map_or("", |adverb| adverb.german));
    let is_receiver = clause.accusative.is_some();
    push_if(line, &clause.dative, |it| is_receiver && !it.is_definite(), dative);
    push_if(line, &clause.accusative, |it| !nicht && is_name_like(it), accusative);
    line.push(if nicht { "nicht" } else { "" });
    if matches!(clause.tense, Tense::Likes) {
        line.push("gern");
    }
    line.push(clause.manner.map_or("", |manner| manner.german));
    push_if(line, &clause.dative, |it| !is_receiver && !it.is_definite(), dative);
    push_if(line, &clause.accusative, |it| !it.is_definite(), accusative);
    adverbials(line, front, clause);
    if let Some(it) = &clause.predicative {
        line.push(&predicative(it, kein));
    }
}

fn push_if(
    line: &mut Line,
    object: &Option<Phrase>,
    belongs: impl Fn(&Phrase) -> bool,
    render: impl Fn(&Phrase) -> String,
) {
    if let Some(it) = object.as_ref().filter(|it| belongs(it)) {
        line.push(&render(it));
    }
}

fn adverbials(line: &mut Line, front: Front, clause: &Clause) {
    let adverb = |it: &Option<Adverbial>| it.as_ref().map(adverbial).unwrap_or_default();
    line.push(&adverb(&clause.company));
    if front != Front::Place {
        line.push(&adverb(&clause.place));
    }
    if let (Some(it), Some((preposition, case))) = (&clause.prepositional, clause.verb.governs()) {
        line.push(&prepositional(preposition, case, it));
    }
    line.push(&adverb(&clause.goal));
}

fn predicative(it: &Predicative, kein: bool) -> String {
    let mut line = Line::default();
    match it {
        Predicative::Adjective(degree, adjective) => {
            line.push(degree.map_or("", |degree| degree.german));
            line.push(adjective.german);
        }
        Predicative::Noun(it) => line.push(&phrase(it, Case::Nominative, kein)),
        Predicative::Than(adjective, it) => {
            line.push(adjective.comparative.map_or("", |(_, german)| german));
            line.push("als");
            line.push(&phrase(it, Case::Nominative, false));
        }
        Predicative::As(adjective, it) => {
            line.push("so");
            line.push(adjective.german);
            line.push("wie");
            line.push(&phrase(it, Case::Nominative, false));
        }
    }
    line.into_string()
}

fn question_word(asked: &Asked) -> String {
    match asked {
        Asked::What => "was".to_owned(),
        Asked::Whom => "wen".to_owned(),
        Asked::ToWhom => "wem".to_owned(),
        Asked::Where => "wo".to_owned(),
        Asked::WhereTo => "wohin".to_owned(),
        Asked::When => "wann".to_owned(),
        Asked::Why => "warum".to_owned(),
        Asked::Object(it) => phrase(it, Case::Accusative, false),
    }
}

fn adverbial(it: &Adverbial) -> String {
    match it {
        Adverbial::Fixed(phrasal) => phrasal.german.to_owned(),
        Adverbial::Preposition { german, case, phrase, .. } => prepositional(german, *case, phrase),
    }
}
