//! Random clauses of being: descriptions, comparisons, professions, locations; and the weather.

use super::clauses::{Plan, is_animal};
use super::german::{Agreement, Case, Number};
use super::lexicon::{ADJECTIVES, BE, DEGREE, LIE, PAST, STAND, WEATHER, kind};
use super::sampler::{Role, Sampler, is_masculine};
use super::tree::{Adverbial, Clause, Determiner, Phrase, Predicative, Tense};

impl Sampler {
    /// "The soup is very hot": a subject and an adjective that suit each other.
    pub fn description(&mut self, subject: Option<Phrase>, negation: u64) -> Clause {
        let adjectives = std::mem::replace(&mut self.adjectives, 0);
        let subject = match subject {
            Some(subject) => subject,
            None if self.chance(45) => self.subject(kind::PERSON, Role::Definite),
            None => Phrase::Noun(self.noun_phrase(kind::DESCRIBED, Role::Definite)),
        };
        self.adjectives = adjectives;
        let kinds = match &subject {
            Phrase::Noun(phrase) => phrase.noun.kinds,
            _ => kind::PERSON,
        };
        let adjective = self.row_where(&ADJECTIVES, |it| it.kinds & kinds != 0);
        let passes = kinds & kind::PERSON != 0 && adjective.comparative.is_none();
        let is_graded = passes || adjective.comparative.is_some();
        let degree = (is_graded && self.chance(35)).then(|| self.row(&DEGREE));
        let mut clause = Clause::new(subject, &BE, Tense::Present);
        clause.predicative = Some(Predicative::Adjective(degree, adjective));
        clause.negated = self.chance(negation);
        if self.chance(18) {
            clause.tense = Tense::Past;
            // Moods pass: "hungry yesterday", but not "rich yesterday".
            clause.time = (passes && self.chance(50)).then(|| self.row(&PAST));
        }
        clause
    }

    /// "The dog is bigger than the cat", "… as big as …".
    pub fn comparison(&mut self) -> Clause {
        let adjective = self.row_where(&ADJECTIVES, |it| it.comparative.is_some());
        let first = self.noun(adjective.kinds);
        let second = self.noun(adjective.kinds & first.kinds);
        if std::ptr::eq(first, second) {
            return self.comparison();
        }
        let is_person = first.kinds & second.kinds & kind::PERSON != 0;
        self.adjectives = 0;
        let [first, second] = [first, second].map(|noun| {
            let number = self.number(noun);
            Phrase::Noun(self.phrase_of(noun, number, Role::Definite))
        });
        let subject = match is_person && self.chance(40) {
            true => self.subject(kind::PERSON, Role::Definite),
            false => first,
        };
        let other = match is_person && self.chance(40) {
            true => self.object(kind::PERSON, Role::Definite, &subject),
            false => second,
        };
        let mut clause = Clause::new(subject, &BE, Tense::Present);
        clause.predicative = Some(match self.chance(70) {
            true => Predicative::Than(adjective, other),
            false => Predicative::As(adjective, other),
        });
        clause.negated = self.chance(12);
        clause
    }

    /// "My father is a good doctor": the professions are masculine, so is their subject.
    pub fn profession(&mut self) -> Clause {
        let subject = loop {
            let subject = self.subject(kind::PERSON, Role::Definite);
            if is_masculine(&subject) {
                break subject;
            }
        };
        let noun = self.noun(kind::PROFESSION);
        let number = match subject.agreement() {
            Agreement::We | Agreement::They => Number::Plural,
            _ => Number::Singular,
        };
        self.adjectives = 100;
        let mut predicate = self.phrase_of(noun, number, Role::Object);
        predicate.determiner = Determiner::Indefinite;
        let mut clause = Clause::new(subject, &BE, Tense::Present);
        clause.negated = self.chance(20);
        clause.predicative = Some(Predicative::Noun(Phrase::Noun(predicate)));
        clause
    }

    /// "The key is on the table", "Anna is at home".
    pub fn location(&mut self) -> Clause {
        let (verb, subject, place) = match self.below(10) {
            0..3 => {
                let subject = self.subject(kind::ANIMATE, Role::Definite);
                let place = match is_animal(&subject) {
                    true => self.place(kind::GREEN),
                    false => self.place(kind::GREEN | kind::HOME | kind::PUBLIC),
                };
                (&BE, subject, place)
            }
            3 => {
                let subject = Phrase::Noun(self.noun_phrase(kind::PARKED, Role::Definite));
                (&STAND, subject, self.before_building())
            }
            choice => {
                let (verb, kinds) = match choice % 2 {
                    0 => (&LIE, kind::LIES),
                    _ => (&STAND, kind::STANDS),
                };
                let subject = self.noun_phrase(kinds, Role::Definite);
                let place = self.beside(Case::Dative, Some(subject.noun));
                (verb, Phrase::Noun(subject), place)
            }
        };
        let mut clause = Clause::new(subject, verb, Tense::Present);
        clause.place = Some(place);
        clause.negated = self.chance(15);
        if clause.negated {
            clause.place.iter_mut().for_each(Adverbial::make_definite);
        }
        clause
    }

    /// "It is raining in Berlin today." The plan's times must have no will.
    pub fn weather(&mut self, plan: Plan<'_>) -> Clause {
        let verb = self.row(&WEATHER);
        let mut clause = self.clause(verb, Some(Phrase::Expletive), plan);
        if self.chance(plan.adverbials) {
            clause.place = Some(match self.chance(50) {
                true => self.town(),
                false => self.place(kind::GREEN),
            });
        }
        clause
    }
}
