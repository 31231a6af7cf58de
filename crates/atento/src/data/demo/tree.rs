//! Syntax trees. One tree is rendered twice, into English and into German, so a pair is right by
//! construction: what differs between the languages is all in the two renderers.

use super::german::{Agreement, Case, Gender, Number};
use super::lexicon::{Adjective, Modal, Name, Noun, Phrasal, Verb};

/// A personal pronoun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pronoun {
    I,
    You,
    He,
    She,
    We,
    They,
}

/// What opens a noun phrase.
#[derive(Clone, Copy, Debug)]
pub(super) enum Determiner {
    Definite,
    /// "a"; in the plural and before mass nouns nothing. Negated it is "kein" in German.
    Indefinite,
    This,
    Every,
    Which,
    All,
    Many,
    HowMany,
    /// English and German numeral, 2 and up.
    Numeral(&'static Phrasal),
    Possessive(Pronoun),
    NameOf(&'static Name),
}

/// Determiner, adjective, noun.
#[derive(Clone, Debug)]
pub(super) struct NounPhrase {
    pub determiner: Determiner,
    pub adjective: Option<&'static Adjective>,
    pub noun: &'static Noun,
    pub number: Number,
}

/// Anything that can be a subject or an object.
#[derive(Clone, Debug)]
pub(super) enum Phrase {
    Pronoun(Pronoun),
    /// "it" for a thing named before: er, sie or es by the gender of its German noun.
    It(Gender),
    /// The "it" of the weather.
    Expletive,
    /// "This is the man": das, whatever the noun's gender.
    This,
    /// The question word as the subject.
    Who,
    /// The relative pronoun as the subject.
    Relative(Gender, Number),
    Name(&'static Name),
    Noun(NounPhrase),
    Pair(Box<[Phrase; 2]>),
}

/// A prepositional phrase, or an expression without inflection.
#[derive(Clone, Debug)]
pub(super) enum Adverbial {
    Fixed(&'static Phrasal),
    Preposition { english: &'static str, german: &'static str, case: Case, phrase: Phrase },
}

/// What the copula says of its subject.
#[derive(Clone, Debug)]
pub(super) enum Predicative {
    Adjective(Option<&'static Phrasal>, &'static Adjective),
    Noun(Phrase),
    /// bigger than …
    Than(&'static Adjective, Phrase),
    /// as big as …
    As(&'static Adjective, Phrase),
}

/// Tense and mood of a clause.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tense {
    Present,
    /// English only; German has its present.
    Progressive,
    /// English simple past, German perfect ("sein" has its preterite).
    Past,
    Modal(&'static Modal),
    /// "likes to read" is "liest gern".
    Likes,
}

/// A clause without its word order.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub subject: Phrase,
    pub verb: &'static Verb,
    pub tense: Tense,
    pub negated: bool,
    pub frequency: Option<&'static Phrasal>,
    pub time: Option<&'static Phrasal>,
    pub manner: Option<&'static Phrasal>,
    pub dative: Option<Phrase>,
    pub accusative: Option<Phrase>,
    /// The object behind the verb's preposition.
    pub prepositional: Option<Phrase>,
    pub predicative: Option<Predicative>,
    /// With whom, by what means.
    pub company: Option<Adverbial>,
    pub place: Option<Adverbial>,
    pub goal: Option<Adverbial>,
}

/// What stands before the finite verb instead of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Subject,
    Time,
    Place,
}

/// A question word or phrase that is not the subject.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    What,
    Whom,
    ToWhom,
    Where,
    WhereTo,
    When,
    Why,
    /// "which book", "how many books": an accusative object.
    Object(Phrase),
}

/// How a second clause follows a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    And,
    But,
    For,
    Because,
    If,
    That,
    Whether,
}

/// A whole sentence.
#[derive(Clone, Debug)]
pub(super) enum Sentence {
    Statement(Front, Clause),
    /// A yes/no question.
    Whether(Clause),
    Ask(Asked, Clause),
    /// The subject is "you" and is not said.
    Imperative {
        please: bool,
        clause: Clause,
    },
    /// "Let's …", with a full stop or without.
    Suggestion {
        full_stop: bool,
        clause: Clause,
    },
    ThereIs(Phrase, Adverbial),
    Compound(Clause, Link, Clause),
    /// If …, ….
    Condition(Clause, Clause),
    /// Two predicates of one subject, the second with the first one's subject left out.
    SharedSubject(Clause, Clause),
    /// tries to …; with `purpose`, "um … zu".
    Infinitive {
        front: Front,
        matrix: Clause,
        purpose: bool,
        clause: Clause,
    },
    /// This is the man who …; or any clause that ends with the noun the relative clause is about.
    Relative(Clause, Clause),
}

impl Phrase {
    /// The conjugation the phrase asks for as a subject.
    pub fn agreement(&self) -> Agreement {
        match self {
            Self::Pronoun(Pronoun::I) => Agreement::I,
            Self::Pronoun(Pronoun::You) => Agreement::You,
            Self::Pronoun(Pronoun::We) => Agreement::We,
            Self::Pronoun(Pronoun::They) | Self::Pair(_) => Agreement::They,
            Self::Relative(_, Number::Plural) => Agreement::They,
            Self::Noun(phrase) if phrase.number == Number::Plural => Agreement::They,
            _ => Agreement::He,
        }
    }

    /// Whether the person is mentioned by name.
    pub fn names(&self, person: &Name) -> bool {
        match self {
            Self::Name(name) => std::ptr::eq(*name, person),
            Self::Pair(pair) => pair.iter().any(|it| it.names(person)),
            _ => false,
        }
    }

    /// Whether it goes with the pronouns at the front of the German middle field.
    pub fn is_pronoun(&self) -> bool {
        matches!(self, Self::Pronoun(_) | Self::It(_) | Self::Expletive | Self::This | Self::Who | Self::Relative(..))
    }

    /// Definite phrases precede German time adverbs and "nicht", the others follow.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Noun(phrase) => !matches!(
                phrase.determiner,
                Determiner::Indefinite | Determiner::Many | Determiner::HowMany | Determiner::Numeral(_)
            ),
            _ => true,
        }
    }

    /// Whether German negates it with "kein".
    pub fn takes_kein(&self) -> bool {
        matches!(self, Self::Noun(phrase) if matches!(phrase.determiner, Determiner::Indefinite))
    }
}

impl Adverbial {
    /// Turns "in a park" into "in the park": German would negate the former with "kein".
    pub fn make_definite(&mut self) {
        if let Self::Preposition { phrase: Phrase::Noun(phrase), .. } = self
            && matches!(phrase.determiner, Determiner::Indefinite)
        {
            phrase.determiner = Determiner::Definite;
        }
    }
}

impl Clause {
    /// A clause of subject and verb alone.
    pub fn new(subject: Phrase, verb: &'static Verb, tense: Tense) -> Self {
        Self {
            subject,
            verb,
            tense,
            negated: false,
            frequency: None,
            time: None,
            manner: None,
            dative: None,
            accusative: None,
            prepositional: None,
            predicative: None,
            company: None,
            place: None,
            goal: None,
        }
    }

    /// Whether one of the objects is "you".
    pub fn mentions_you(&self) -> bool {
        let is_you = |it: &Phrase| matches!(it, Phrase::Pronoun(Pronoun::You));
        let company = match &self.company {
            Some(Adverbial::Preposition { phrase, .. }) => Some(phrase),
            _ => None,
        };
        let objects = [&self.dative, &self.accusative, &self.prepositional];
        objects.into_iter().filter_map(Option::as_ref).chain(company).any(is_you)
    }

    /// The final mark of a statement; with "who" as its subject it is a question.
    pub fn mark(&self) -> &'static str {
        match self.subject {
            Phrase::Who => "?",
            _ => ".",
        }
    }

    /// Whether German says "kein" instead of "nicht".
    pub fn negates_with_kein(&self) -> bool {
        let object = match &self.predicative {
            Some(Predicative::Noun(phrase)) => Some(phrase),
            _ => self.accusative.as_ref(),
        };
        self.negated && !matches!(self.tense, Tense::Likes) && object.is_some_and(Phrase::takes_kein)
    }
}
