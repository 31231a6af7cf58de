//! Nouns, places and names.

use super::super::german::Gender::{self, Feminine, Masculine, Neuter};
use super::kind::*;
use super::{Kinds, Name, Noun, Place};

const fn noun(
    gender: Gender,
    english: &'static str,
    english_plural: &'static str,
    german: &'static str,
    german_plural: &'static str,
    kinds: Kinds,
) -> Noun {
    Noun { english, english_plural, german, german_plural, gender, weak: false, kinds }
}

/// Masculine.
const fn m(en: &'static str, ens: &'static str, de: &'static str, des: &'static str, k: Kinds) -> Noun {
    noun(Masculine, en, ens, de, des, k)
}

/// Feminine.
const fn f(en: &'static str, ens: &'static str, de: &'static str, des: &'static str, k: Kinds) -> Noun {
    noun(Feminine, en, ens, de, des, k)
}

/// Neuter.
const fn n(en: &'static str, ens: &'static str, de: &'static str, des: &'static str, k: Kinds) -> Noun {
    noun(Neuter, en, ens, de, des, k)
}

/// A weak masculine noun: its plural serves as its oblique singular.
const fn w(en: &'static str, ens: &'static str, de: &'static str, des: &'static str, k: Kinds) -> Noun {
    let mut noun = noun(Masculine, en, ens, de, des, k);
    noun.weak = true;
    noun
}

/// A mass noun: no plural.
const fn mass(gender: Gender, en: &'static str, de: &'static str, k: Kinds) -> Noun {
    noun(gender, en, "", de, "", k | MASS)
}

const P: Kinds = PERSON;
const JOB: Kinds = PERSON | PROFESSION;
const PUTTABLE: Kinds = THING | LIES;
const UPRIGHT: Kinds = THING | STANDS;
/// What is written, read and translated.
const WRITTEN: Kinds = TEXT | READ | WRITE;

/// Common nouns apart from places.
#[rustfmt::skip]
pub(in super::super) static NOUNS: [Noun; 119] = [
    m("man", "men", "Mann", "Männer", P),
    f("woman", "women", "Frau", "Frauen", P),
    n("child", "children", "Kind", "Kinder", P),
    w("boy", "boys", "Junge", "Jungen", P),
    n("girl", "girls", "Mädchen", "Mädchen", P),
    m("teacher", "teachers", "Lehrer", "Lehrer", JOB | KIN),
    w("student", "students", "Student", "Studenten", JOB),
    m("doctor", "doctors", "Arzt", "Ärzte", JOB | KIN),
    f("mother", "mothers", "Mutter", "Mütter", P | KIN),
    m("father", "fathers", "Vater", "Väter", P | KIN),
    m("brother", "brothers", "Bruder", "Brüder", P | KIN),
    f("sister", "sisters", "Schwester", "Schwestern", P | KIN),
    m("friend", "friends", "Freund", "Freunde", P | KIN),
    w("neighbor", "neighbors", "Nachbar", "Nachbarn", P | KIN),
    m("baker", "bakers", "Bäcker", "Bäcker", JOB),
    m("artist", "artists", "Künstler", "Künstler", JOB),
    m("singer", "singers", "Sänger", "Sänger", JOB),
    w("policeman", "policemen", "Polizist", "Polizisten", JOB),
    w("farmer", "farmers", "Bauer", "Bauern", JOB),
    m("king", "kings", "König", "Könige", P),
    f("queen", "queens", "Königin", "Königinnen", P),
    m("uncle", "uncles", "Onkel", "Onkel", P | KIN),
    f("aunt", "aunts", "Tante", "Tanten", P | KIN),
    f("grandmother", "grandmothers", "Großmutter", "Großmütter", P | KIN),
    m("son", "sons", "Sohn", "Söhne", P | KIN),
    f("daughter", "daughters", "Tochter", "Töchter", P | KIN),
    m("guest", "guests", "Gast", "Gäste", P | KIN),
    w("tourist", "tourists", "Tourist", "Touristen", P),
    m("lawyer", "lawyers", "Anwalt", "Anwälte", JOB | KIN),
    w("colleague", "colleagues", "Kollege", "Kollegen", P | KIN),
    w("pilot", "pilots", "Pilot", "Piloten", JOB),
    m("writer", "writers", "Schriftsteller", "Schriftsteller", JOB),
    w("customer", "customers", "Kunde", "Kunden", P | KIN),
    m("waiter", "waiters", "Kellner", "Kellner", JOB),

    m("dog", "dogs", "Hund", "Hunde", ANIMAL | KIN | PAINT),
    f("cat", "cats", "Katze", "Katzen", ANIMAL | KIN | PAINT),
    n("horse", "horses", "Pferd", "Pferde", ANIMAL | KIN | PAINT),
    m("bird", "birds", "Vogel", "Vögel", ANIMAL | KIN | PAINT),
    f("cow", "cows", "Kuh", "Kühe", ANIMAL | KIN | PAINT),
    f("mouse", "mice", "Maus", "Mäuse", ANIMAL | PAINT),
    f("duck", "ducks", "Ente", "Enten", ANIMAL | PAINT),
    n("pig", "pigs", "Schwein", "Schweine", ANIMAL | KIN),
    w("bear", "bears", "Bär", "Bären", ANIMAL | PAINT),
    w("elephant", "elephants", "Elefant", "Elefanten", ANIMAL | PAINT),
    w("lion", "lions", "Löwe", "Löwen", ANIMAL | PAINT),

    m("apple", "apples", "Apfel", "Äpfel", FOOD | CUT | LIES),
    f("pear", "pears", "Birne", "Birnen", FOOD | CUT | LIES),
    n("egg", "eggs", "Ei", "Eier", FOOD | COOK),
    m("cake", "cakes", "Kuchen", "Kuchen", FOOD | BAKE | CUT),
    f("tomato", "tomatoes", "Tomate", "Tomaten", FOOD | CUT | LIES),
    f("potato", "potatoes", "Kartoffel", "Kartoffeln", FOOD | COOK | CUT),
    f("banana", "bananas", "Banane", "Bananen", FOOD | CUT | LIES),
    m("cookie", "cookies", "Keks", "Kekse", FOOD | BAKE),
    f("pizza", "pizzas", "Pizza", "Pizzas", FOOD | MEAL),
    f("soup", "soups", "Suppe", "Suppen", FOOD | MEAL | COOK),
    mass(Neuter, "bread", "Brot", FOOD | BAKE | CUT),
    mass(Masculine, "cheese", "Käse", FOOD | CUT),
    mass(Masculine, "rice", "Reis", FOOD | COOK | MEAL),
    mass(Neuter, "meat", "Fleisch", FOOD | COOK | CUT),
    mass(Feminine, "chocolate", "Schokolade", FOOD),
    mass(Neuter, "water", "Wasser", DRINK),
    mass(Feminine, "milk", "Milch", DRINK),
    mass(Masculine, "coffee", "Kaffee", DRINK),
    mass(Masculine, "tea", "Tee", DRINK),
    mass(Masculine, "juice", "Saft", DRINK),
    mass(Masculine, "wine", "Wein", DRINK),
    mass(Neuter, "beer", "Bier", DRINK),

    n("book", "books", "Buch", "Bücher", WRITTEN | THING | LIES | STUDY),
    m("letter", "letters", "Brief", "Briefe", WRITTEN | PUTTABLE | OPEN | AWAITED),
    f("newspaper", "newspapers", "Zeitung", "Zeitungen", READ | PUTTABLE),
    m("text", "texts", "Text", "Texte", WRITTEN),
    f("story", "stories", "Geschichte", "Geschichten", WRITTEN | TELL),
    n("poem", "poems", "Gedicht", "Gedichte", WRITTEN | MAIL | STUDY),
    n("word", "words", "Wort", "Wörter", TEXT | STUDY),
    m("sentence", "sentences", "Satz", "Sätze", WRITTEN | STUDY),
    f("email", "emails", "E-Mail", "E-Mails", WRITTEN | MAIL | AWAITED),
    m("article", "articles", "Artikel", "Artikel", WRITTEN | MAIL),
    n("recipe", "recipes", "Rezept", "Rezepte", WRITTEN | MAIL),
    f("message", "messages", "Nachricht", "Nachrichten", WRITTEN | MAIL | AWAITED),
    f("question", "questions", "Frage", "Fragen", TEXT),

    m("ball", "balls", "Ball", "Bälle", PUTTABLE | TOY),
    f("doll", "dolls", "Puppe", "Puppen", PUTTABLE | TOY),
    m("key", "keys", "Schlüssel", "Schlüssel", PUTTABLE),
    f("cup", "cups", "Tasse", "Tassen", UPRIGHT),
    n("glass", "glasses", "Glas", "Gläser", UPRIGHT),
    f("bottle", "bottles", "Flasche", "Flaschen", UPRIGHT | OPEN | PACK),
    n("knife", "knives", "Messer", "Messer", PUTTABLE),
    m("spoon", "spoons", "Löffel", "Löffel", PUTTABLE),
    f("bag", "bags", "Tasche", "Taschen", UPRIGHT | CONTAINER | OPEN | PACK),
    f("box", "boxes", "Kiste", "Kisten", UPRIGHT | CONTAINER | OPEN | PACK),
    m("suitcase", "suitcases", "Koffer", "Koffer", UPRIGHT | CONTAINER | OPEN | PACK),
    f("lamp", "lamps", "Lampe", "Lampen", UPRIGHT | DEVICE),
    n("picture", "pictures", "Bild", "Bilder", THING | PAINT | LIES),
    m("computer", "computers", "Computer", "Computer", UPRIGHT | DEVICE),
    n("radio", "radios", "Radio", "Radios", UPRIGHT | DEVICE),
    f("camera", "cameras", "Kamera", "Kameras", PUTTABLE | DEVICE),
    f("clock", "clocks", "Uhr", "Uhren", UPRIGHT),
    m("pen", "pens", "Stift", "Stifte", PUTTABLE),
    f("flower", "flowers", "Blume", "Blumen", THING | PAINT),
    n("gift", "gifts", "Geschenk", "Geschenke", PUTTABLE | OPEN),

    m("coat", "coats", "Mantel", "Mäntel", CLOTHES | LIES),
    n("dress", "dresses", "Kleid", "Kleider", CLOTHES | WASH | LIES),
    n("shirt", "shirts", "Hemd", "Hemden", CLOTHES | WASH | LIES),
    m("hat", "hats", "Hut", "Hüte", CLOTHES | LIES),
    m("shoe", "shoes", "Schuh", "Schuhe", CLOTHES),
    f("jacket", "jackets", "Jacke", "Jacken", CLOTHES | WASH | LIES),

    m("table", "tables", "Tisch", "Tische", FURNITURE | SURFACE),
    m("chair", "chairs", "Stuhl", "Stühle", FURNITURE | SURFACE),
    n("bed", "beds", "Bett", "Betten", FURNITURE | SURFACE),
    n("sofa", "sofas", "Sofa", "Sofas", FURNITURE | SURFACE),
    f("door", "doors", "Tür", "Türen", OPEN | WASH),
    n("window", "windows", "Fenster", "Fenster", OPEN | WASH),

    n("car", "cars", "Auto", "Autos", VEHICLE | WASH | PARKED | KIN),
    n("bike", "bikes", "Fahrrad", "Fahrräder", VEHICLE | WASH | PARKED | KIN),
    m("bus", "buses", "Bus", "Busse", VEHICLE | WASH | PARKED | AWAITED),
    m("train", "trains", "Zug", "Züge", VEHICLE | AWAITED),
    n("ship", "ships", "Schiff", "Schiffe", VEHICLE | BUILD | PAINT | AWAITED),
    n("boat", "boats", "Boot", "Boote", VEHICLE | BUILD | PAINT),
    n("airplane", "airplanes", "Flugzeug", "Flugzeuge", VEHICLE | BUILD | AWAITED),
];

const fn at(noun: Noun, english_at: &'static str, german_at: &'static str, german_to: &'static str) -> Place {
    let mut noun = noun;
    noun.kinds |= PLACE;
    Place { noun, english_at, german_at, german_to }
}

/// Places and buildings.
#[rustfmt::skip]
pub(in super::super) static PLACES: [Place; 29] = [
    at(m("garden", "gardens", "Garten", "Gärten", GREEN | HOME), "in", "in", "in"),
    at(m("park", "parks", "Park", "Parks", GREEN), "in", "in", "in"),
    at(m("forest", "forests", "Wald", "Wälder", GREEN | PAINT), "in", "in", "in"),
    at(m("beach", "beaches", "Strand", "Strände", GREEN), "on", "an", "an"),
    at(f("street", "streets", "Straße", "Straßen", GREEN), "on", "auf", "auf"),
    at(f("island", "islands", "Insel", "Inseln", GREEN | VISIT | DWELLING), "on", "auf", "auf"),
    at(m("lake", "lakes", "See", "Seen", WATER | PAINT), "in", "in", "an"),
    at(m("river", "rivers", "Fluss", "Flüsse", WATER | PAINT), "in", "in", "an"),
    at(f("kitchen", "kitchens", "Küche", "Küchen", HOME | ROOM), "in", "in", "in"),
    at(n("room", "rooms", "Zimmer", "Zimmer", HOME | ROOM), "in", "in", "in"),
    at(n("house", "houses", "Haus", "Häuser", HOME | BUILD | PAINT | DWELLING), "in", "in", "in"),
    at(n("office", "offices", "Büro", "Büros", PUBLIC | ROOM), "in", "in", "in"),
    at(n("hotel", "hotels", "Hotel", "Hotels", PUBLIC | BUILD | DWELLING), "in", "in", "in"),
    at(n("restaurant", "restaurants", "Restaurant", "Restaurants", PUBLIC), "in", "in", "in"),
    at(n("museum", "museums", "Museum", "Museen", PUBLIC | VISIT | BUILD), "in", "in", "in"),
    at(f("school", "schools", "Schule", "Schulen", PUBLIC | VISIT | BUILD), "at", "in", "in"),
    at(f("library", "libraries", "Bibliothek", "Bibliotheken", PUBLIC | VISIT), "in", "in", "in"),
    at(f("church", "churches", "Kirche", "Kirchen", PUBLIC | VISIT | BUILD | PAINT), "in", "in", "in"),
    at(n("hospital", "hospitals", "Krankenhaus", "Krankenhäuser", PUBLIC | BUILD), "in", "in", "in"),
    at(n("theater", "theaters", "Theater", "Theater", PUBLIC | VISIT), "in", "in", "in"),
    at(n("cinema", "cinemas", "Kino", "Kinos", PUBLIC), "at", "in", "in"),
    at(n("castle", "castles", "Schloss", "Schlösser", PUBLIC | VISIT | PAINT | DWELLING), "in", "in", "zu"),
    at(m("station", "stations", "Bahnhof", "Bahnhöfe", PUBLIC), "at", "an", "zu"),
    at(m("airport", "airports", "Flughafen", "Flughäfen", PUBLIC), "at", "an", "zu"),
    at(f("university", "universities", "Universität", "Universitäten", PUBLIC | VISIT), "at", "an", "zu"),
    at(m("market", "markets", "Markt", "Märkte", SHOP), "at", "auf", "auf"),
    at(m("supermarket", "supermarkets", "Supermarkt", "Supermärkte", SHOP), "in", "in", "in"),
    at(f("city", "cities", "Stadt", "Städte", SHOP | VISIT | DWELLING), "in", "in", "in"),
    at(n("village", "villages", "Dorf", "Dörfer", SHOP | VISIT | PAINT | DWELLING), "in", "in", "in"),
];

const fn name(english: &'static str, german: &'static str, gender: Gender) -> Name {
    Name { english, german, gender }
}

/// First names; none ends in a sibilant, so every genitive is -s.
pub(in super::super) static NAMES: [Name; 8] = [
    name("Anna", "Anna", Feminine),
    name("Maria", "Maria", Feminine),
    name("Emma", "Emma", Feminine),
    name("Julia", "Julia", Feminine),
    name("Peter", "Peter", Masculine),
    name("Paul", "Paul", Masculine),
    name("Tom", "Tom", Masculine),
    name("Martin", "Martin", Masculine),
];

/// Towns and countries without article: in Berlin, nach Berlin, aus Berlin.
pub(in super::super) static TOWNS: [Name; 10] = [
    name("Berlin", "Berlin", Neuter),
    name("Hamburg", "Hamburg", Neuter),
    name("Munich", "München", Neuter),
    name("Cologne", "Köln", Neuter),
    name("Vienna", "Wien", Neuter),
    name("Rome", "Rom", Neuter),
    name("Paris", "Paris", Neuter),
    name("Germany", "Deutschland", Neuter),
    name("France", "Frankreich", Neuter),
    name("Italy", "Italien", Neuter),
];

/// Languages as objects of "speak" and "learn".
pub(in super::super) static LANGUAGES: [Noun; 5] = [
    mass(Neuter, "German", "Deutsch", 0),
    mass(Neuter, "English", "Englisch", 0),
    mass(Neuter, "French", "Französisch", 0),
    mass(Neuter, "Spanish", "Spanisch", 0),
    mass(Neuter, "Italian", "Italienisch", 0),
];
