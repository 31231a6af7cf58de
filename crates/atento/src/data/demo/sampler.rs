//! Random choices and random phrases: nouns with fitting determiners and adjectives, places, goals.

use super::german::{Agreement, Case, Gender, Number};
use super::lexicon::{
    ADJECTIVES, AT_HOME, Adjective, BESIDE, HOMEWARDS, IN, Kinds, NAMES, NOUNS, NUMERALS, Name, Noun, ON, PLACES,
    Phrasal, TOWNS, kind,
};
use super::tree::{Adverbial, Determiner, NounPhrase, Phrase, Pronoun};

const PRONOUNS: [Pronoun; 6] = [Pronoun::I, Pronoun::You, Pronoun::He, Pronoun::She, Pronoun::We, Pronoun::They];

/// What a phrase is for, which decides the determiners that sound right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subject,
    /// A subject that can be negated or asked about, or an object under negation: no quantifiers.
    Definite,
    Object,
    /// An object negated with "kein": definite, or with "a" or nothing.
    Kein,
}

/// A splitmix64 generator (Steele, Lea and Flood, 2014) and the choices made with it.
#[derive(Debug)]
pub(super) struct Sampler {
    state: u64,
    /// Percentage of noun phrases with an adjective.
    pub adjectives: u64,
}

impl Sampler {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, adjectives: 0 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, uniform up to a bias of n/2⁶⁴.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        (self.below(100) as u64) < percent
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// One of a table's rows.
    pub fn row<T>(&mut self, table: &'static [T]) -> &'static T {
        &table[self.below(table.len())]
    }

    /// One of the rows that satisfy `wanted`, all equally likely.
    ///
    /// # Panics
    /// If there is none: the lexicon lacks a word that the grammar asks for.
    pub fn row_where<T>(&mut self, table: &'static [T], wanted: impl Fn(&T) -> bool) -> &'static T {
        let matching: Vec<&T> = table.iter().filter(|row| wanted(row)).collect();
        matching[self.below(matching.len())]
    }

    /// A noun of one of the kinds.
    pub fn noun(&mut self, kinds: Kinds) -> &'static Noun {
        let places = PLACES.iter().map(|place| &place.noun);
        let matching: Vec<&Noun> = NOUNS.iter().chain(places).filter(|noun| noun.kinds & kinds != 0).collect();
        matching[self.below(matching.len())]
    }

    pub fn number(&mut self, noun: &Noun) -> Number {
        if noun.kinds & kind::MASS == 0 && self.chance(28) { Number::Plural } else { Number::Singular }
    }

    pub fn name(&mut self) -> &'static Name {
        self.row(&NAMES)
    }

    /// An adjective that suits the noun, if there is one and chance wants it.
    fn adjective(&mut self, noun: &Noun) -> Option<&'static Adjective> {
        let suits = |it: &Adjective| it.kinds & noun.kinds != 0;
        let wanted = self.chance(self.adjectives) && ADJECTIVES.iter().any(suits);
        wanted.then(|| self.row_where(&ADJECTIVES, suits))
    }

    fn determiner(&mut self, noun: &Noun, number: Number, role: Role) -> Determiner {
        let is_mass = noun.kinds & kind::MASS != 0;
        let is_plural = number == Number::Plural;
        loop {
            let (chosen, fits) = match self.below(100) {
                0..36 => (Determiner::Definite, true),
                36..56 => (
                    Determiner::Indefinite,
                    role != Role::Definite && !(role == Role::Subject && (is_plural || is_mass)),
                ),
                56..68 => (Determiner::This, true),
                68..82 => (Determiner::Possessive(self.pick(&PRONOUNS)), is_owned(noun)),
                82..86 => (Determiner::NameOf(self.name()), is_owned(noun)),
                _ if matches!(role, Role::Definite | Role::Kein) => continue,
                86..90 => (Determiner::Every, !is_plural && role == Role::Subject),
                90..94 => (Determiner::Numeral(self.row(&NUMERALS)), is_plural),
                94..97 => (Determiner::Many, is_plural),
                _ => (Determiner::All, is_plural),
            };
            if fits && !(is_mass && matches!(chosen, Determiner::Every)) {
                return chosen;
            }
        }
    }

    /// The noun with a determiner and perhaps an adjective.
    pub fn phrase_of(&mut self, noun: &'static Noun, number: Number, role: Role) -> NounPhrase {
        NounPhrase { determiner: self.determiner(noun, number, role), adjective: self.adjective(noun), noun, number }
    }

    /// A noun phrase of one of the kinds.
    pub fn noun_phrase(&mut self, kinds: Kinds, role: Role) -> NounPhrase {
        let noun = self.noun(kinds);
        let number = self.number(noun);
        self.phrase_of(noun, number, role)
    }

    /// A subject: persons are also pronouns, names and pairs.
    pub fn subject(&mut self, kinds: Kinds, role: Role) -> Phrase {
        if kinds & kind::PERSON == 0 {
            return Phrase::Noun(self.noun_phrase(kinds, role));
        }
        match self.below(100) {
            0..38 => Phrase::Pronoun(self.pick(&PRONOUNS)),
            38..50 => Phrase::Name(self.name()),
            50..54 => {
                let noun = self.noun(kind::PERSON);
                let other = self.phrase_of(noun, Number::Singular, Role::Definite);
                Phrase::Pair(Box::new([Phrase::Name(self.name()), Phrase::Noun(other)]))
            }
            _ => Phrase::Noun(self.noun_phrase(kinds, role)),
        }
    }

    /// An object of a clause with this subject, which it is never the same person as.
    pub fn object(&mut self, kinds: Kinds, role: Role, subject: &Phrase) -> Phrase {
        if kinds & kind::PERSON == 0 || self.chance(60) {
            return Phrase::Noun(self.noun_phrase(kinds, role));
        }
        if self.chance(30) {
            return loop {
                let name = self.name();
                if !subject.names(name) {
                    break Phrase::Name(name);
                }
            };
        }
        let speaks = matches!(subject.agreement(), Agreement::I | Agreement::We);
        let is_you = subject.agreement() == Agreement::You;
        loop {
            let pronoun = self.pick(&PRONOUNS);
            let repeats = match pronoun {
                Pronoun::I | Pronoun::We => speaks,
                Pronoun::You => is_you,
                _ => false,
            };
            if !repeats {
                return Phrase::Pronoun(pronoun);
            }
        }
    }

    /// The phrase of a place: mostly "the", now and then another determiner.
    fn place_phrase(&mut self, noun: &'static Noun) -> Phrase {
        let mut phrase = self.phrase_of(noun, Number::Singular, Role::Kein);
        if self.chance(65) {
            phrase.determiner = Determiner::Definite;
        }
        if self.chance(60) {
            phrase.adjective = None;
        }
        Phrase::Noun(phrase)
    }

    /// Where something goes on: a place of these kinds, at home or in a town.
    pub fn place(&mut self, kinds: Kinds) -> Adverbial {
        if kinds & kind::HOME != 0 && self.chance(10) {
            return Adverbial::Fixed(&AT_HOME);
        }
        if kinds & (kind::PUBLIC | kind::DWELLING) != 0 && self.chance(15) {
            return self.town();
        }
        let place = self.row_where(&PLACES, |place| place.noun.kinds & kinds != 0);
        Adverbial::Preposition {
            english: place.english_at,
            german: place.german_at,
            case: Case::Dative,
            phrase: self.place_phrase(&place.noun),
        }
    }

    /// In a town.
    pub fn town(&mut self) -> Adverbial {
        Adverbial::Preposition {
            english: "in",
            german: "in",
            case: Case::Dative,
            phrase: Phrase::Name(self.row(&TOWNS)),
        }
    }

    /// Where someone goes: a place of these kinds.
    pub fn goal(&mut self, kinds: Kinds) -> Adverbial {
        if self.chance(8) {
            return Adverbial::Fixed(&HOMEWARDS);
        }
        let place = self.row_where(&PLACES, |place| place.noun.kinds & kinds != 0);
        Adverbial::Preposition {
            english: "to",
            german: place.german_to,
            case: match place.german_to {
                "zu" => Case::Dative,
                _ => Case::Accusative,
            },
            phrase: self.place_phrase(&place.noun),
        }
    }

    /// To a town.
    pub fn town_goal(&mut self) -> Adverbial {
        Adverbial::Preposition {
            english: "to",
            german: "nach",
            case: Case::Dative,
            phrase: Phrase::Name(self.row(&TOWNS)),
        }
    }

    /// On the table, in the bag, behind the door: rest with the dative, movement with the accusative.
    pub fn beside(&mut self, case: Case, apart_from: Option<&Noun>) -> Adverbial {
        let (preposition, kinds): (&Phrasal, Kinds) = match self.below(10) {
            0..4 => (&ON, kind::SURFACE),
            4..7 => (&IN, kind::CONTAINER),
            _ => (self.row(&BESIDE), kind::FURNITURE | kind::CONTAINER),
        };
        let noun = loop {
            let noun = self.noun(kinds);
            if apart_from.is_none_or(|other| !std::ptr::eq(other, noun)) {
                break noun;
            }
        };
        Adverbial::Preposition {
            english: preposition.english,
            german: preposition.german,
            case,
            phrase: self.place_phrase(noun),
        }
    }

    /// In front of, behind or next to a building.
    pub fn before_building(&mut self) -> Adverbial {
        let preposition = self.row_where(&BESIDE, |it| it.english != "under");
        let building = self.row_where(&PLACES, |place| place.noun.kinds & kind::PUBLIC != 0);
        Adverbial::Preposition {
            english: preposition.english,
            german: preposition.german,
            case: Case::Dative,
            phrase: self.place_phrase(&building.noun),
        }
    }

    /// With someone, or with a toy.
    pub fn company(&mut self, kinds: Kinds, subject: &Phrase) -> Adverbial {
        Adverbial::Preposition {
            english: "with",
            german: "mit",
            case: Case::Dative,
            phrase: self.object(kinds, Role::Definite, subject),
        }
    }
}

/// Whether "my" and "Anna's" sound right: not everyone is somebody's man, or has a forest.
fn is_owned(noun: &Noun) -> bool {
    let needs_reason = kind::ANIMATE | kind::PLACE | kind::VEHICLE;
    noun.kinds & needs_reason == 0 || noun.kinds & (kind::KIN | kind::HOME | kind::ROOM) != 0
}

/// The pronoun that takes up a subject; none for neuter persons, where German wavers between the
/// noun's gender and the person's.
pub(super) fn pronoun_for(subject: &Phrase) -> Option<Pronoun> {
    let of = |gender| match gender {
        Gender::Masculine => Some(Pronoun::He),
        Gender::Feminine => Some(Pronoun::She),
        Gender::Neuter => None,
    };
    match subject {
        Phrase::Pronoun(pronoun) => Some(*pronoun),
        Phrase::Name(name) => of(name.gender),
        Phrase::Noun(phrase) if phrase.noun.kinds & kind::PERSON == 0 => None,
        Phrase::Noun(phrase) if matches!(phrase.determiner, Determiner::Every) => None,
        Phrase::Noun(phrase) if phrase.number == Number::Plural => Some(Pronoun::They),
        Phrase::Noun(phrase) => of(phrase.noun.gender),
        Phrase::Pair(_) => Some(Pronoun::They),
        _ => None,
    }
}

/// Whether a German masculine noun can be said of the subject without a feminine form.
pub(super) fn is_masculine(subject: &Phrase) -> bool {
    match subject {
        Phrase::Pronoun(pronoun) => *pronoun != Pronoun::She,
        Phrase::Name(name) => name.gender == Gender::Masculine,
        Phrase::Noun(phrase) => phrase.noun.gender == Gender::Masculine && phrase.noun.kinds & kind::PROFESSION == 0,
        _ => false,
    }
}
