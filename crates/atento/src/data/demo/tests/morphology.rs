//! Whole paradigms, written out.

use super::super::english;
use super::super::german::{
    Agreement, Case, Declension, Gender, Number, adjective, contracted, definite_article, der_word, ein_word,
    imperative, noun, present, reflexive, zu_infinitive,
};
use super::super::lexicon::Verb;
use super::build;

const COLUMNS: [(Gender, Number); 4] = [
    (Gender::Masculine, Number::Singular),
    (Gender::Feminine, Number::Singular),
    (Gender::Neuter, Number::Singular),
    (Gender::Neuter, Number::Plural),
];
const CASES: [Case; 3] = [Case::Nominative, Case::Accusative, Case::Dative];
const PERSONS: [Agreement; 5] = [Agreement::I, Agreement::You, Agreement::He, Agreement::We, Agreement::They];

/// Nominative, accusative, dative; in each masculine, feminine, neuter, plural.
fn paradigm(form: impl Fn(Gender, Number, Case) -> String) -> [String; 3] {
    CASES.map(|case| COLUMNS.map(|(gender, number)| form(gender, number, case)).join(" "))
}

fn conjugation(verb: &Verb) -> String {
    PERSONS.map(|person| present(verb, person)).join(" ")
}

#[test]
fn the_definite_article_has_its_forms() {
    let forms = paradigm(|gender, number, case| definite_article(gender, number, case).into());
    assert_eq!(forms, ["der die das die", "den die das die", "dem der dem den"]);
}

#[test]
fn der_words_have_their_forms() {
    let forms = paradigm(|gender, number, case| der_word("dies", gender, number, case));
    assert_eq!(forms, ["dieser diese dieses diese", "diesen diese dieses diese", "diesem dieser diesem diesen"]);
}

#[test]
fn ein_words_have_their_forms() {
    let forms = paradigm(|gender, number, case| ein_word("kein", gender, number, case));
    assert_eq!(forms, ["kein keine kein keine", "keinen keine kein keine", "keinem keiner keinem keinen"]);
}

#[test]
fn adjectives_have_their_endings() {
    let teuer = build::adjective("expensive");
    let forms = |declension| paradigm(|gender, number, case| adjective(teuer, declension, gender, number, case));
    assert_eq!(
        forms(Declension::Strong),
        ["teurer teure teures teure", "teuren teure teures teure", "teurem teurer teurem teuren"]
    );
    assert_eq!(
        forms(Declension::Weak),
        ["teure teure teure teuren", "teuren teure teure teuren", "teuren teuren teuren teuren"]
    );
    assert_eq!(
        forms(Declension::Mixed),
        ["teurer teure teures teuren", "teuren teure teures teuren", "teuren teuren teuren teuren"]
    );
}

#[test]
fn nouns_decline() {
    let declined = |english: &str| {
        let (it, _) = build::noun(english);
        [Number::Singular, Number::Plural].map(|number| CASES.map(|case| noun(it, number, case)).join(" "))
    };
    assert_eq!(declined("student"), ["Student Studenten Studenten", "Studenten Studenten Studenten"]);
    assert_eq!(declined("child"), ["Kind Kind Kind", "Kinder Kinder Kindern"]);
    assert_eq!(declined("car"), ["Auto Auto Auto", "Autos Autos Autos"]);
    assert_eq!(declined("woman"), ["Frau Frau Frau", "Frauen Frauen Frauen"]);
    assert_eq!(declined("boy"), ["Junge Jungen Jungen", "Jungen Jungen Jungen"]);
}

#[test]
fn verbs_conjugate() {
    for (infinitive, forms) in [
        ("sein", "bin bist ist sind sind"),
        ("haben", "habe hast hat haben haben"),
        ("wissen", "weiß weißt weiß wissen wissen"),
        ("lesen", "lese liest liest lesen lesen"),
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten arbeiten"),
        ("öffnen", "öffne öffnest öffnet öffnen öffnen"),
        ("tanzen", "tanze tanzt tanzt tanzen tanzen"),
        ("grüßen", "grüße grüßt grüßt grüßen grüßen"),
        ("füttern", "füttere fütterst füttert füttern füttern"),
        ("fahren", "fahre fährst fährt fahren fahren"),
        ("nehmen", "nehme nimmst nimmt nehmen nehmen"),
        ("finden", "finde findest findet finden finden"),
        ("einladen", "lade lädst lädt laden laden"),
        ("regnen", "regne regnest regnet regnen regnen"),
        ("malen", "male malst malt malen malen"),
    ] {
        assert_eq!(conjugation(build::verb(infinitive)), forms, "{infinitive}");
    }
}

#[test]
fn imperatives_and_infinitives_with_zu_are_formed() {
    for (infinitive, command, with_zu) in [
        ("lesen", "lies", "zu lesen"),
        ("kaufen", "kauf", "zu kaufen"),
        ("warten", "warte", "zu warten"),
        ("öffnen", "öffne", "zu öffnen"),
        ("füttern", "füttere", "zu füttern"),
        ("fahren", "fahr", "zu fahren"),
        ("anrufen", "ruf", "anzurufen"),
        ("einladen", "lade", "einzuladen"),
        ("auswendig lernen", "lern", "auswendig zu lernen"),
    ] {
        let verb = build::verb(infinitive);
        assert_eq!(imperative(verb), command);
        assert_eq!(zu_infinitive(verb), with_zu);
    }
}

#[test]
fn small_words_have_their_forms() {
    assert_eq!(PERSONS.map(reflexive), ["mich", "dich", "sich", "uns", "sich"]);
    assert_eq!(contracted("zu", "der"), Some("zur"));
    assert_eq!(contracted("in", "das"), Some("ins"));
    assert_eq!(contracted("in", "der"), None);
    assert_eq!(contracted("an", "das"), None);
    assert_eq!(contracted("auf", "das"), None);
}

#[test]
fn english_is_inflected() {
    let forms = |infinitive: &str| {
        let verb = build::verb(infinitive);
        [english::third_person(verb), english::progressive(verb), english::past(verb)].join(" ")
    };
    assert_eq!(forms("tragen"), "wears wearing wore");
    assert_eq!(forms("gehen"), "goes going went");
    assert_eq!(forms("waschen"), "washes washing washed");
    assert_eq!(forms("weinen"), "cries crying cried");
    assert_eq!(forms("schwimmen"), "swims swimming swam");
    assert_eq!(forms("planen"), "plans planning planned");
    assert_eq!(forms("schreiben"), "writes writing wrote");
    assert_eq!(forms("spielen"), "plays playing played");
    assert_eq!(forms("haben").split(' ').next(), Some("has"));
    assert_eq!(english::indefinite_article("apple"), "an");
    assert_eq!(english::indefinite_article("honest man"), "an");
    assert_eq!(english::indefinite_article("university"), "a");
    assert_eq!(english::indefinite_article("umbrella"), "an");
}
