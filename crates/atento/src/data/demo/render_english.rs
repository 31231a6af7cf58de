//! The English side of a tree.

use super::english::{BE, WAS, indefinite_article, past, present, progressive};
use super::german::{Agreement, Case, Number};
use super::lexicon::{Frame, ModalKind};
use super::line::Line;
use super::tree::{
    Adverbial, Asked, Clause, Determiner, Front, Link, NounPhrase, Phrase, Predicative, Pronoun, Sentence, Tense,
};

/// The English sentence.
pub(super) fn sentence(sentence: &Sentence) -> String {
    let mut line = Line::default();
    let mut mark = ".";
    match sentence {
        Sentence::Statement(front, clause) => {
            statement(&mut line, *front, clause);
            mark = clause.mark();
        }
        Sentence::Whether(clause) => {
            inverted(&mut line, clause);
            mark = "?";
        }
        Sentence::Ask(asked, clause) => {
            line.push(&question_word(asked));
            inverted(&mut line, clause);
            mark = "?";
        }
        Sentence::Imperative { please, clause } => {
            line.push(if *please { "please" } else { "" });
            line.push(if clause.negated { "do not" } else { "" });
            base(&mut line, clause);
            mark = if *please { "." } else { "!" };
        }
        Sentence::Suggestion { full_stop, clause } => {
            line.push("let's");
            base(&mut line, clause);
            mark = if *full_stop { "." } else { "" };
        }
        Sentence::ThereIs(phrase_, place) => {
            line.push("there");
            line.push(BE[phrase_.agreement() as usize]);
            line.push(&phrase(phrase_, Case::Nominative));
            line.push(&adverbial(place));
        }
        Sentence::Compound(first, link, second) => compound(&mut line, first, *link, second),
        Sentence::Condition(condition, result) => {
            line.push("if");
            statement(&mut line, Front::Subject, condition);
            line.comma();
            statement(&mut line, Front::Subject, result);
        }
        Sentence::SharedSubject(first, second) => {
            statement(&mut line, Front::Subject, first);
            line.push("and");
            predicate(&mut line, second);
        }
        Sentence::Infinitive { front, matrix, clause, .. } => {
            statement(&mut line, *front, matrix);
            line.push("to");
            base(&mut line, clause);
        }
        Sentence::Relative(matrix, relative) => {
            statement(&mut line, Front::Subject, matrix);
            statement(&mut line, Front::Subject, relative);
        }
    }
    line.finish(mark)
}

fn compound(line: &mut Line, first: &Clause, link: Link, second: &Clause) {
    statement(line, Front::Subject, first);
    if matches!(link, Link::But | Link::For) {
        line.comma();
    }
    line.push(match link {
        Link::And => "and",
        Link::But => "but",
        Link::For => "for",
        Link::Because => "because",
        Link::If => "if",
        Link::That => "that",
        Link::Whether => "whether",
    });
    statement(line, Front::Subject, second);
}

/// Subject, verb, the rest; with a time or place in front.
fn statement(line: &mut Line, front: Front, clause: &Clause) {
    if front == Front::Time {
        line.push(clause.time.map_or("", |time| time.english));
    }
    if front == Front::Place {
        line.push(&clause.place.as_ref().map(adverbial).unwrap_or_default());
    }
    line.push(&phrase(&clause.subject, Case::Nominative));
    verb_group(line, clause);
    rest(line, front, clause);
}

/// A statement without its subject.
fn predicate(line: &mut Line, clause: &Clause) {
    verb_group(line, clause);
    rest(line, Front::Subject, clause);
}

fn verb_group(line: &mut Line, clause: &Clause) {
    let (auxiliary, main) = split_verb(clause, clause.negated);
    if clause.negated && auxiliary == "can" {
        line.push("cannot");
    } else {
        line.push(&auxiliary);
        line.push(if clause.negated { "not" } else { "" });
    }
    line.push(clause.frequency.map_or("", |adverb| adverb.english));
    line.push(&main);
}

/// Auxiliary, subject, verb, the rest.
fn inverted(line: &mut Line, clause: &Clause) {
    let (auxiliary, main) = split_verb(clause, true);
    line.push(&auxiliary);
    line.push(&phrase(&clause.subject, Case::Nominative));
    line.push(clause.frequency.map_or("", |adverb| adverb.english));
    line.push(&main);
    rest(line, Front::Subject, clause);
}

/// The base form and the rest.
fn base(line: &mut Line, clause: &Clause) {
    line.push(clause.verb.english);
    rest(line, Front::Subject, clause);
}

/// The auxiliary (with do-support where `needed`) and what follows the subject in a question.
fn split_verb(clause: &Clause, needed: bool) -> (String, String) {
    let verb = clause.verb;
    let agreement = clause.subject.agreement();
    let is_he = agreement == Agreement::He;
    let does = if is_he { "does" } else { "do" };
    let lexical = |helper: &str, finite: &str, base: &str, tail: &str| {
        if needed {
            let main = format!("{base} {tail} {}", verb.english);
            (helper.to_owned(), main)
        } else {
            (String::new(), format!("{finite} {tail} {}", verb.english))
        }
    };
    match clause.tense {
        Tense::Modal(modal) => match modal.kind {
            ModalKind::Auxiliary => {
                let mut main = Line::default();
                main.push(modal.english_tail);
                main.push(verb.english);
                (modal.english.to_owned(), main.into_string())
            }
            ModalKind::Lexical => {
                let finite = if is_he { modal.english_finite } else { modal.english };
                lexical(does, finite, modal.english, modal.english_tail)
            }
            ModalKind::LexicalPast => lexical("did", modal.english_finite, modal.english, modal.english_tail),
        },
        Tense::Likes => lexical(does, if is_he { "likes" } else { "like" }, "like", "to"),
        Tense::Past if verb.english == "be" => (WAS[agreement as usize].to_owned(), String::new()),
        _ if verb.english == "be" => (BE[agreement as usize].to_owned(), String::new()),
        Tense::Progressive => (BE[agreement as usize].to_owned(), progressive(verb)),
        Tense::Past if needed => ("did".to_owned(), verb.english.to_owned()),
        Tense::Past => (String::new(), past(verb)),
        Tense::Present if needed => (does.to_owned(), verb.english.to_owned()),
        Tense::Present => (String::new(), present(verb, agreement)),
    }
}

/// Objects and adverbials after the verb, in English order: manner, place, time.
fn rest(line: &mut Line, front: Front, clause: &Clause) {
    let object = |phrase_: &Option<Phrase>| phrase_.as_ref().map(|it| phrase(it, Case::Accusative)).unwrap_or_default();
    let adverb = |it: &Option<Adverbial>| it.as_ref().map(adverbial).unwrap_or_default();
    let particle = clause.verb.english_particle;
    let particle_last = clause.accusative.as_ref().is_some_and(Phrase::is_pronoun);
    let preposition = clause.verb.english_preposition;
    line.push(if particle_last { "" } else { particle });
    if matches!(clause.verb.frame, Frame::Gift(_)) && !preposition.is_empty() {
        // "explain the word to the child", but "show the child the word".
        line.push(&object(&clause.accusative));
        if clause.dative.is_some() {
            line.push(preposition);
            line.push(&object(&clause.dative));
        }
    } else {
        line.push(preposition);
        line.push(&object(&clause.dative));
        line.push(&object(&clause.accusative));
    }
    line.push(if particle_last { particle } else { "" });
    line.push(&object(&clause.prepositional));
    if let Some(it) = &clause.predicative {
        line.push(&predicative(it));
    }
    line.push(&adverb(&clause.goal));
    line.push(&adverb(&clause.company));
    line.push(clause.manner.map_or("", |manner| manner.english));
    if front != Front::Place {
        line.push(&adverb(&clause.place));
    }
    if front != Front::Time {
        line.push(clause.time.map_or("", |time| time.english));
    }
}

fn predicative(it: &Predicative) -> String {
    let mut line = Line::default();
    match it {
        Predicative::Adjective(degree, adjective) => {
            line.push(degree.map_or("", |degree| degree.english));
            line.push(adjective.english);
        }
        Predicative::Noun(it) => line.push(&phrase(it, Case::Nominative)),
        Predicative::Than(adjective, it) => {
            line.push(adjective.comparative.map_or("", |(english, _)| english));
            line.push("than");
            line.push(&phrase(it, Case::Accusative));
        }
        Predicative::As(adjective, it) => {
            line.push("as");
            line.push(adjective.english);
            line.push("as");
            line.push(&phrase(it, Case::Accusative));
        }
    }
    line.into_string()
}

fn question_word(asked: &Asked) -> String {
    match asked {
        Asked::What => "what".to_owned(),
        Asked::Whom | Asked::ToWhom => "who".to_owned(),
        Asked::Where | Asked::WhereTo => "where".to_owned(),
        Asked::When => "when".to_owned(),
        Asked::Why => "why".to_owned(),
        Asked::Object(it) => phrase(it, Case::Accusative),
    }
}

fn adverbial(it: &Adverbial) -> String {
    match it {
        Adverbial::Fixed(phrasal) => phrasal.english.to_owned(),
        Adverbial::Preposition { english, phrase: it, .. } => {
            format!("{english} {}", phrase(it, Case::Accusative))
        }
    }
}

/// A phrase as a subject (nominative) or anything else.
fn phrase(it: &Phrase, case: Case) -> String {
    match it {
        Phrase::Pronoun(it) => pronoun(*it, case).to_owned(),
        Phrase::It(_) | Phrase::Expletive => "it".to_owned(),
        Phrase::This => "this".to_owned(),
        Phrase::Who | Phrase::Relative(..) => "who".to_owned(),
        Phrase::Name(name) => name.english.to_owned(),
        Phrase::Noun(it) => noun_phrase(it),
        Phrase::Pair(pair) => format!("{} and {}", phrase(&pair[0], case), phrase(&pair[1], case)),
    }
}

fn pronoun(it: Pronoun, case: Case) -> &'static str {
    let forms = match it {
        Pronoun::I => ["I", "me"],
        Pronoun::You => ["you", "you"],
        Pronoun::He => ["he", "him"],
        Pronoun::She => ["she", "her"],
        Pronoun::We => ["we", "us"],
        Pronoun::They => ["they", "them"],
    };
    forms[usize::from(case != Case::Nominative)]
}

fn noun_phrase(it: &NounPhrase) -> String {
    let plural = it.number == Number::Plural;
    let is_mass = it.noun.english_plural.is_empty();
    let noun = if plural { it.noun.english_plural } else { it.noun.english };
    let mut described = Line::default();
    described.push(it.adjective.map_or("", |adjective| adjective.english));
    described.push(noun);
    let described = described.into_string();
    let mut line = Line::default();
    match it.determiner {
        Determiner::Definite => line.push("the"),
        Determiner::Indefinite if plural || is_mass => {}
        Determiner::Indefinite => line.push(indefinite_article(&described)),
        Determiner::This if plural => line.push("these"),
        Determiner::This => line.push("this"),
        Determiner::Every => line.push("every"),
        Determiner::Which => line.push("which"),
        Determiner::All => line.push("all"),
        Determiner::Many => line.push("many"),
        Determiner::HowMany => line.push("how many"),
        Determiner::Numeral(number) => line.push(number.english),
        Determiner::Possessive(owner) => line.push(possessive(owner)),
        Determiner::NameOf(name) => line.push(&format!("{}'s", name.english)),
    }
    line.push(&described);
    line.into_string()
}

fn possessive(owner: Pronoun) -> &'static str {
    match owner {
        Pronoun::I => "my",
        Pronoun::You => "your",
        Pronoun::He => "his",
        Pronoun::She => "her",
        Pronoun::We => "our",
        Pronoun::They => "their",
    }
}
