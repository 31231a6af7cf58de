//! German noun phrases: determiner, adjective and noun in gender, case and number.

use super::german::{
    Case, Declension, Gender, Number, adjective, contracted, definite_article, der_word, ein_word, noun,
};
use super::line::Line;
use super::tree::{Determiner, NounPhrase, Phrase, Pronoun};

/// Preposition and phrase, with the definite article contracted where there is one: "im Garten".
pub(super) fn prepositional(preposition: &str, case: Case, it: &Phrase) -> String {
    let words = phrase(it, case, false);
    if let Phrase::Noun(it) = it
        && matches!(it.determiner, Determiner::Definite)
    {
        let article = definite_article(it.noun.gender, it.number, case);
        let short = contracted(preposition, article);
        if let (Some(short), Some(bare)) = (short, words.strip_prefix(article)) {
            return format!("{short}{bare}");
        }
    }
    format!("{preposition} {words}")
}

/// The phrase in the case; an indefinite one with "kein" if so.
pub(super) fn phrase(it: &Phrase, case: Case, kein: bool) -> String {
    match it {
        Phrase::Pronoun(it) => pronoun(*it, case).to_owned(),
        Phrase::It(gender) => third_person(*gender, case).to_owned(),
        Phrase::Expletive => "es".to_owned(),
        Phrase::This => "das".to_owned(),
        Phrase::Who => "wer".to_owned(),
        Phrase::Relative(gender, number) => definite_article(*gender, *number, case).to_owned(),
        Phrase::Name(name) => name.german.to_owned(),
        Phrase::Noun(it) => noun_phrase(it, case, kein),
        Phrase::Pair(pair) => {
            let [first, second] = &**pair;
            format!("{} und {}", phrase(first, case, false), phrase(second, case, false))
        }
    }
}

fn pronoun(it: Pronoun, case: Case) -> &'static str {
    let forms = match it {
        Pronoun::I => ["ich", "mich", "mir"],
        Pronoun::You => ["du", "dich", "dir"],
        Pronoun::He => return third_person(Gender::Masculine, case),
        Pronoun::She => return third_person(Gender::Feminine, case),
        Pronoun::We => ["wir", "uns", "uns"],
        Pronoun::They => ["sie", "sie", "ihnen"],
    };
    forms[case as usize]
}

fn third_person(gender: Gender, case: Case) -> &'static str {
    let forms = match gender {
        Gender::Masculine => ["er", "ihn", "ihm"],
        Gender::Feminine => ["sie", "sie", "ihr"],
        Gender::Neuter => ["es", "es", "ihm"],
    };
    forms[case as usize]
}

fn noun_phrase(it: &NounPhrase, case: Case, kein: bool) -> String {
    let (gender, number) = (it.noun.gender, it.number);
    let (determiner, declension) = determiner(it, case, kein);
    let mut line = Line::default();
    line.push(&determiner);
    if let Some(described) = it.adjective {
        line.push(&adjective(described, declension, gender, number, case));
    }
    line.push(&noun(it.noun, number, case));
    line.into_string()
}

/// The determiner and the declension of an adjective after it.
fn determiner(it: &NounPhrase, case: Case, kein: bool) -> (String, Declension) {
    let (gender, number) = (it.noun.gender, it.number);
    let der = |stem: &str| (der_word(stem, gender, number, case), Declension::Weak);
    let ein = |stem: &str| (ein_word(stem, gender, number, case), Declension::Mixed);
    let fixed = |word: &str| (word.to_owned(), Declension::Strong);
    let is_bare = number == Number::Plural || it.noun.english_plural.is_empty();
    match it.determiner {
        Determiner::Definite => (definite_article(gender, number, case).to_owned(), Declension::Weak),
        Determiner::Indefinite if kein => ein("kein"),
        Determiner::Indefinite if is_bare => fixed(""),
        Determiner::Indefinite => ein("ein"),
        Determiner::This => der("dies"),
        Determiner::Every => der("jed"),
        Determiner::Which => der("welch"),
        Determiner::All => der("all"),
        Determiner::Many if case == Case::Dative => fixed("vielen"),
        Determiner::Many => fixed("viele"),
        Determiner::HowMany => fixed("wie viele"),
        Determiner::Numeral(number) => fixed(number.german),
        Determiner::Possessive(owner) => ein(possessive(owner)),
        Determiner::NameOf(name) => (format!("{}s", name.german), Declension::Strong),
    }
}

fn possessive(owner: Pronoun) -> &'static str {
    match owner {
        Pronoun::I => "mein",
        Pronoun::You => "dein",
        Pronoun::He => "sein",
        Pronoun::She | Pronoun::They => "ihr",
        Pronoun::We => "unser",
    }
}
