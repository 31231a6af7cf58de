//! Trees written down briefly: phrases are parsed from their English.

use super::super::german::{Case, Number};
use super::super::lexicon::{
    ADJECTIVES, AT_HOME, Adjective, BE, BESIDE, BY, DEGREE, FREQUENCY, FUTURE, HABITUAL, HOMEWARDS, IN, LANGUAGES, LIE,
    MANNER, MODALS, Modal, NAMES, NOUNS, NOW, NUMERALS, Noun, ON, PAST, PAST_MODALS, PLACES, Phrasal, STAND, THAT,
    TOWNS, TRY, VERBS, Verb, WEATHER, WILL,
};
use super::super::tree::{Adverbial, Clause, Determiner, NounPhrase, Phrase, Predicative, Pronoun, Tense};

pub(super) fn noun(english: &str) -> (&'static Noun, Number) {
    NOUNS
        .iter()
        .chain(&LANGUAGES)
        .chain(PLACES.iter().map(|place| &place.noun))
        .find_map(|it| {
            let is_plural = it.english_plural == english;
            let number = if is_plural { Number::Plural } else { Number::Singular };
            (is_plural || it.english == english).then_some((it, number))
        })
        .unwrap_or_else(|| panic!("no noun {english}"))
}

pub(super) fn adjective(english: &str) -> &'static Adjective {
    ADJECTIVES.iter().find(|it| it.english == english).unwrap_or_else(|| panic!("no adjective {english}"))
}

/// The verb with this German infinitive, prefix included.
pub(super) fn verb(infinitive: &str) -> &'static Verb {
    VERBS
        .iter()
        .chain(&WEATHER)
        .chain(&THAT)
        .chain(&TRY)
        .chain([&BE, &LIE, &STAND])
        .find(|it| format!("{}{}", it.german_prefix, it.german) == infinitive)
        .unwrap_or_else(|| panic!("no verb {infinitive}"))
}

fn phrasal(english: &str) -> &'static Phrasal {
    let tables: [&'static [Phrasal]; 9] =
        [&NOW, &HABITUAL, &PAST, &FUTURE, &FREQUENCY, &MANNER, &DEGREE, &BY, &NUMERALS];
    tables.into_iter().flatten().find(|it| it.english == english).unwrap_or_else(|| panic!("no expression {english}"))
}

fn pronoun(word: &str) -> Option<Pronoun> {
    Some(match word {
        "I" | "my" | "me" => Pronoun::I,
        "you" | "your" => Pronoun::You,
        "he" | "his" | "him" => Pronoun::He,
        "she" | "her" => Pronoun::She,
        "we" | "our" | "us" => Pronoun::We,
        "they" | "their" | "them" => Pronoun::They,
        _ => return None,
    })
}

/// "the old dog", "two men", "cold water", "my mother", "Anna's dog", "Anna", "him", "who".
pub(super) fn phrase(english: &str) -> Phrase {
    if let Some(name) = NAMES.iter().chain(&TOWNS).find(|it| it.english == english) {
        return Phrase::Name(name);
    }
    if let Some((first, second)) = english.split_once(" and ") {
        return Phrase::Pair(Box::new([phrase(first), phrase(second)]));
    }
    let words: Vec<&str> = english.split(' ').collect();
    match words[..] {
        ["who"] => return Phrase::Who,
        ["this"] => return Phrase::This,
        ["it"] => return Phrase::Expletive,
        [word] if pronoun(word).is_some() => return Phrase::Pronoun(pronoun(word).unwrap()),
        _ => {}
    }
    let (determiner, rest) = determiner(&words);
    let (noun, number) = noun(rest[rest.len() - 1]);
    let described = (rest.len() > 1).then(|| adjective(rest[0]));
    Phrase::Noun(NounPhrase { determiner, adjective: described, noun, number })
}

fn determiner<'a>(words: &'a [&'a str]) -> (Determiner, &'a [&'a str]) {
    let determiner = match words[0] {
        "the" => Determiner::Definite,
        "a" | "an" => Determiner::Indefinite,
        "this" | "these" => Determiner::This,
        "every" => Determiner::Every,
        "which" => Determiner::Which,
        "all" => Determiner::All,
        "many" => Determiner::Many,
        "how" => return (Determiner::HowMany, &words[2..]),
        word if word.ends_with("'s") => {
            let name = NAMES.iter().find(|it| word.starts_with(it.english));
            Determiner::NameOf(name.unwrap())
        }
        word => match pronoun(word) {
            Some(owner) => Determiner::Possessive(owner),
            None if NUMERALS.iter().any(|it| it.english == word) => Determiner::Numeral(phrasal(word)),
            None => return (Determiner::Indefinite, words),
        },
    };
    (determiner, &words[1..])
}

fn preposition(english: &'static str, german: &'static str, case: Case, it: &str) -> Adverbial {
    Adverbial::Preposition { english, german, case, phrase: phrase(it) }
}

/// "in the garden", "at home", "in Berlin", "on the table": rest.
pub(super) fn at(english: &str) -> Adverbial {
    two_way(english, Case::Dative)
}

/// "to the park", "home", "to Berlin", "into the bag" (written "in the bag"): movement.
pub(super) fn to(english: &str) -> Adverbial {
    if english == "home" {
        return Adverbial::Fixed(&HOMEWARDS);
    }
    let Some(goal) = english.strip_prefix("to ") else {
        return two_way(english, Case::Accusative);
    };
    match PLACES.iter().find(|it| goal.ends_with(it.noun.english)) {
        Some(it) if it.german_to == "zu" => preposition("to", "zu", Case::Dative, goal),
        Some(it) => preposition("to", it.german_to, Case::Accusative, goal),
        None => preposition("to", "nach", Case::Dative, goal),
    }
}

fn two_way(english: &str, case: Case) -> Adverbial {
    if english == "at home" {
        return Adverbial::Fixed(&AT_HOME);
    }
    let place = PLACES.iter().find(|it| {
        let is_start = english.starts_with(it.english_at);
        is_start && english.ends_with(it.noun.english)
    });
    if let Some(place) = place {
        let rest = &english[place.english_at.len() + 1..];
        return preposition(place.english_at, place.german_at, case, rest);
    }
    let between = BESIDE
        .iter()
        .chain([&ON, &IN])
        .find(|it| english.starts_with(it.english))
        .unwrap_or_else(|| panic!("no preposition in {english}"));
    let rest = &english[between.english.len() + 1..];
    preposition(between.english, between.german, case, rest)
}

/// A clause in the simple present, by its German infinitive.
pub(super) fn clause(subject: &str, infinitive: &str) -> Clause {
    Clause::new(phrase(subject), verb(infinitive), Tense::Present)
}

/// The copula with a degree and an adjective: "very old".
pub(super) fn is(subject: &str, predicate: &str) -> Clause {
    let mut clause = clause(subject, "sein");
    let (degree, word) = match predicate.split_once(' ') {
        Some((degree, word)) => (Some(phrasal(degree)), word),
        None => (None, predicate),
    };
    clause.predicative = Some(Predicative::Adjective(degree, adjective(word)));
    clause
}

impl Clause {
    pub(super) fn being(self) -> Self {
        Self { tense: Tense::Progressive, ..self }
    }
    pub(super) fn past(self, time: &str) -> Self {
        Self { tense: Tense::Past, ..self }.when(time)
    }
    pub(super) fn likes(self) -> Self {
        Self { tense: Tense::Likes, ..self }
    }
    pub(super) fn will(self) -> Self {
        Self { tense: Tense::Modal(&WILL), ..self }
    }
    /// By a German form: "kann", "musste".
    pub(super) fn modal(self, german: &str) -> Self {
        let is_it = |it: &&Modal| it.german[2] == german;
        let modal = MODALS.iter().chain(&PAST_MODALS).find(is_it).unwrap();
        Self { tense: Tense::Modal(modal), ..self }
    }
    pub(super) fn not(self) -> Self {
        Self { negated: true, ..self }
    }
    pub(super) fn when(self, time: &str) -> Self {
        Self { time: Some(phrasal(time)), ..self }
    }
    pub(super) fn often(self, adverb: &str) -> Self {
        Self { frequency: Some(phrasal(adverb)), ..self }
    }
    pub(super) fn how(self, manner: &str) -> Self {
        Self { manner: Some(phrasal(manner)), ..self }
    }
    pub(super) fn what(self, object: &str) -> Self {
        self.object(phrase(object))
    }
    pub(super) fn object(self, object: Phrase) -> Self {
        Self { accusative: Some(object), ..self }
    }
    pub(super) fn whom(self, object: &str) -> Self {
        Self { dative: Some(phrase(object)), ..self }
    }
    pub(super) fn of(self, object: &str) -> Self {
        Self { prepositional: Some(phrase(object)), ..self }
    }
    pub(super) fn with(self, company: &str) -> Self {
        Self { company: Some(preposition("with", "mit", Case::Dative, company)), ..self }
    }
    pub(super) fn by(self, means: &str) -> Self {
        Self { company: Some(Adverbial::Fixed(phrasal(means))), ..self }
    }
    pub(super) fn at(self, place: &str) -> Self {
        Self { place: Some(at(place)), ..self }
    }
    pub(super) fn to(self, goal: &str) -> Self {
        Self { goal: Some(to(goal)), ..self }
    }
    pub(super) fn called(self, predicate: Predicative) -> Self {
        Self { predicative: Some(predicate), ..self }
    }
}
