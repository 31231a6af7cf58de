//! Random clauses: a verb, a subject and objects that suit it, tense, negation and adverbials.

use super::german::{Agreement, Case, Number};
use super::lexicon::{
    BY, FREQUENCY, FUTURE, Frame, HABITUAL, Kinds, LANGUAGES, MANNER, MODALS, NOW, PAST, PAST_MODALS, Verb, WILL, kind,
};
use super::sampler::{Role, Sampler};
use super::tree::{Adverbial, Clause, Determiner, NounPhrase, Phrase, Tense};

/// A family of tense and fitting time expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Habit,
    Now,
    Past,
    Plan,
    Modal,
    PastModal,
    Likes,
}

/// What a main clause may be.
pub(super) const ALL_TIMES: [Time; 11] = [
    Time::Habit,
    Time::Habit,
    Time::Habit,
    Time::Now,
    Time::Now,
    Time::Past,
    Time::Past,
    Time::Plan,
    Time::Modal,
    Time::PastModal,
    Time::Likes,
];
/// What a clause in a longer sentence may be.
pub(super) const FEW_TIMES: [Time; 5] = [Time::Habit, Time::Now, Time::Past, Time::Plan, Time::Modal];

/// How much a clause may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    pub times: &'a [Time],
    /// Percentage of clauses with a time, and with a place, where one is possible.
    pub adverbials: u64,
    /// Percentage of clauses with "not".
    pub negation: u64,
}

/// A main clause on its own.
pub(super) const RICH: Plan<'static> = Plan { times: &ALL_TIMES, adverbials: 40, negation: 18 };
/// A clause among others.
pub(super) const LEAN: Plan<'static> = Plan { times: &FEW_TIMES, adverbials: 15, negation: 12 };
/// A clause that is only a verb and its objects.
pub(super) const BARE: Plan<'static> = Plan { times: &[Time::Habit], adverbials: 0, negation: 0 };

/// Whether a subject can be negated: "not every dog" has no place in this grammar.
fn is_negatable(subject: &Phrase) -> bool {
    match subject {
        Phrase::Noun(phrase) => matches!(
            phrase.determiner,
            Determiner::Definite | Determiner::This | Determiner::Possessive(_) | Determiner::NameOf(_)
        ),
        Phrase::Who => false,
        _ => true,
    }
}

pub(super) fn is_animal(subject: &Phrase) -> bool {
    matches!(subject, Phrase::Noun(phrase) if phrase.noun.kinds & kind::ANIMAL != 0)
}

impl Sampler {
    /// A clause of the verb.
    pub fn clause(&mut self, verb: &'static Verb, subject: Option<Phrase>, plan: Plan<'_>) -> Clause {
        let subject = subject.unwrap_or_else(|| self.subject(verb.subject, Role::Subject));
        let mut clause = Clause::new(subject, verb, Tense::Present);
        self.tense(&mut clause, plan);
        clause.negated = clause.frequency.is_none() && is_negatable(&clause.subject) && self.chance(plan.negation);
        self.complete(&mut clause, plan);
        clause
    }

    /// Objects and adverbials for a clause whose subject, tense and polarity are set.
    pub fn complete(&mut self, clause: &mut Clause, plan: Plan<'_>) {
        self.objects(clause);
        self.manner(clause, plan);
        self.company_of(clause, plan);
        let verb = clause.verb;
        let places = match is_animal(&clause.subject) {
            true => verb.places & (kind::GREEN | kind::WATER),
            false => verb.places,
        };
        if places != 0 && clause.place.is_none() && self.chance(plan.adverbials) {
            clause.place = Some(self.place(places));
        }
        if clause.negated {
            // What does not happen does not happen at habitual times.
            clause.time = clause.time.filter(|time| !HABITUAL.contains(time));
            let adverbials = clause.place.iter_mut().chain(&mut clause.goal);
            adverbials.for_each(Adverbial::make_definite);
        }
    }

    fn tense(&mut self, clause: &mut Clause, plan: Plan<'_>) {
        if clause.verb.stative {
            return;
        }
        let timed = plan.adverbials > 0 && self.chance(plan.adverbials + 15);
        let willed = [Time::Now, Time::Plan, Time::Modal, Time::PastModal, Time::Likes];
        let chosen = loop {
            let chosen = self.pick(plan.times);
            if !(clause.verb.accidental && willed.contains(&chosen)) {
                break chosen;
            }
        };
        match chosen {
            Time::Habit => {
                if plan.adverbials > 0 && self.chance(45) {
                    clause.frequency = Some(self.row(&FREQUENCY));
                } else if timed {
                    clause.time = Some(self.row(&HABITUAL));
                }
            }
            Time::Now => {
                clause.tense = Tense::Progressive;
                clause.time = timed.then(|| self.row(&NOW));
            }
            Time::Past => {
                clause.tense = Tense::Past;
                clause.time = Some(self.row(&PAST));
            }
            Time::Plan => {
                clause.tense = Tense::Modal(&WILL);
                clause.time = timed.then(|| self.row(&FUTURE));
            }
            Time::Modal => {
                clause.tense = Tense::Modal(self.row(&MODALS));
                clause.time = self.chance(plan.adverbials / 2).then(|| self.row(&FUTURE));
            }
            Time::PastModal => {
                clause.tense = Tense::Modal(self.row(&PAST_MODALS));
                clause.time = timed.then(|| self.row(&PAST));
            }
            Time::Likes => clause.tense = Tense::Likes,
        }
    }

    fn objects(&mut self, clause: &mut Clause) {
        let subject = clause.subject.clone();
        let (role, kein) = match clause.negated {
            true => (Role::Definite, Role::Kein),
            false => (Role::Object, Role::Object),
        };
        match clause.verb.frame {
            Frame::Intransitive | Frame::Pattern => {}
            Frame::Accusative(kinds) => clause.accusative = Some(self.object(kinds, kein, &subject)),
            Frame::Dative(kinds) => clause.dative = Some(self.receiver(kinds, role, &subject)),
            Frame::Gift(kinds) => {
                clause.dative = Some(self.receiver(kind::PERSON, role, &subject));
                clause.accusative = Some(Phrase::Noun(self.noun_phrase(kinds, kein)));
            }
            Frame::Prepositional(_, _, kinds) => {
                clause.prepositional = Some(self.object(kinds, role, &subject));
            }
            Frame::Language => {
                clause.accusative = Some(Phrase::Noun(NounPhrase {
                    determiner: Determiner::Indefinite,
                    adjective: None,
                    noun: self.row(&LANGUAGES),
                    number: Number::Singular,
                }));
            }
            Frame::Situated => clause.place = Some(self.place(clause.verb.places)),
            Frame::Motion => clause.goal = Some(self.goal_of(clause)),
            Frame::Placing(kinds) => {
                let object = self.noun_phrase(kinds, role);
                clause.goal = Some(self.beside(Case::Accusative, Some(object.noun)));
                clause.accusative = Some(Phrase::Noun(object));
            }
        }
        if matches!(clause.tense, Tense::Likes) {
            self.generalise(clause);
        }
    }

    /// A dative object: never a bare plural, and what one likes to do one does to someone known.
    fn receiver(&mut self, kinds: Kinds, role: Role, subject: &Phrase) -> Phrase {
        let mut receiver = self.object(kinds, role, subject);
        if let Phrase::Noun(phrase) = &mut receiver
            && phrase.number == Number::Plural
            && matches!(phrase.determiner, Determiner::Indefinite)
        {
            phrase.determiner = Determiner::Definite;
        }
        receiver
    }

    fn goal_of(&mut self, clause: &Clause) -> Adverbial {
        match clause.verb.english {
            _ if is_animal(&clause.subject) => self.goal(kind::GREEN),
            "go" | "run" => self.goal(kind::PLACE),
            _ if self.chance(60) => self.town_goal(),
            "drive" => self.goal(kind::PLACE),
            _ => self.goal(kind::DWELLING),
        }
    }

    /// What one likes to do, one does to things in general: to read books, to drink tea.
    fn generalise(&mut self, clause: &mut Clause) {
        if let Some(Phrase::Noun(receiver)) = &mut clause.dative {
            receiver.determiner = Determiner::Definite;
        }
        if let Some(Phrase::Noun(object)) = &mut clause.accusative {
            object.determiner = Determiner::Indefinite;
            if object.noun.kinds & kind::MASS == 0 {
                object.number = Number::Plural;
            }
        }
    }

    fn manner(&mut self, clause: &mut Clause, plan: Plan<'_>) {
        let verb = clause.verb;
        let calm = clause.negated || matches!(clause.tense, Tense::Likes);
        if !verb.manner || calm || !self.chance(plan.adverbials / 2) {
            return;
        }
        let is_many = matches!(clause.subject.agreement(), Agreement::We | Agreement::They);
        let fitting: &[&str] = match verb.frame {
            Frame::Intransitive if verb.perfect_with_sein => &["slowly", "quickly", "together"],
            Frame::Intransitive => &["quietly", "together"],
            Frame::Motion => &["slowly", "quickly", "quietly", "together"],
            _ => &["slowly", "quickly", "carefully", "together"],
        };
        clause.manner = Some(self.row_where(&MANNER, |manner| {
            fitting.contains(&manner.english) && (is_many || manner.english != "together")
        }));
    }

    fn company_of(&mut self, clause: &mut Clause, plan: Plan<'_>) {
        let verb = clause.verb;
        let by_person = clause.subject.is_pronoun() || verb.subject == kind::PERSON;
        if clause.manner.is_some() || !by_person || !self.chance(plan.adverbials / 2) {
            return;
        }
        clause.company = match (verb.frame, verb.english) {
            (Frame::Motion, "travel") if self.chance(60) => Some(Adverbial::Fixed(self.row(&BY))),
            (Frame::Intransitive, "play") if self.chance(50) => {
                Some(self.company(kind::TOY | kind::KIN, &clause.subject))
            }
            (Frame::Intransitive, "play" | "work" | "sing" | "dance" | "laugh")
            | (Frame::Motion, _)
            | (Frame::Language, "speak") => Some(self.company(kind::PERSON, &clause.subject)),
            _ => None,
        };
    }
}
