//! Pairs checked by hand, one or more for each phenomenon.

use super::super::german::{Gender, Number};
use super::super::tree::{Asked, Clause, Front, Link, Phrase, Predicative, Sentence, Tense};
use super::super::{FAMOUS, render_english, render_german};
use super::build::{adjective, at, clause, is, phrase};

#[track_caller]
fn check(sentence: &Sentence, english: &str, german: &str) {
    assert_eq!(render_english::sentence(sentence), english);
    assert_eq!(render_german::sentence(sentence), german);
}

fn was(clause: Clause) -> Clause {
    Clause { tense: Tense::Past, ..clause }
}

#[track_caller]
fn says(clause: Clause, english: &str, german: &str) {
    check(&Sentence::Statement(Front::Subject, clause), english, german);
}

#[track_caller]
fn fronts(front: Front, clause: Clause, english: &str, german: &str) {
    check(&Sentence::Statement(front, clause), english, german);
}

#[track_caller]
fn asks(asked: Asked, clause: Clause, english: &str, german: &str) {
    check(&Sentence::Ask(asked, clause), english, german);
}

#[track_caller]
fn joins(first: Clause, link: Link, second: Clause, english: &str, german: &str) {
    check(&Sentence::Compound(first, link, second), english, german);
}

#[rustfmt::skip]
#[test]
fn objects_stand_in_their_case() {
    says(clause("the man", "lesen").what("a book").being(), "The man is reading a book.", "Der Mann liest ein Buch.");
    says(clause("the old woman", "sehen").what("the young student"), "The old woman sees the young student.", "Die alte Frau sieht den jungen Studenten.");
    says(clause("I", "kennen").what("your neighbor"), "I know your neighbor.", "Ich kenne deinen Nachbarn.");
    says(clause("the boy", "helfen").whom("his mother").being(), "The boy is helping his mother.", "Der Junge hilft seiner Mutter.");
    says(clause("we", "danken").whom("the friendly neighbors").being(), "We are thanking the friendly neighbors.", "Wir danken den freundlichen Nachbarn.");
    says(clause("Anna", "geben").whom("the child").what("a red apple").being(), "Anna is giving the child a red apple.", "Anna gibt dem Kind einen roten Apfel.");
    says(clause("he", "zeigen").whom("a queen").what("his car").often("always"), "He always shows a queen his car.", "Er zeigt immer einer Königin sein Auto.");
    says(clause("they", "erklären").whom("the girls").what("the word").being(), "They are explaining the word to the girls.", "Sie erklären den Mädchen das Wort.");
    says(clause("she", "trinken").what("cold water").being(), "She is drinking cold water.", "Sie trinkt kaltes Wasser.");
    says(clause("I", "antworten").whom("him").being(), "I am answering him.", "Ich antworte ihm.");
}

#[rustfmt::skip]
#[test]
fn determiners_and_adjectives_agree() {
    says(clause("every child", "lieben").what("this small dog"), "Every child loves this small dog.", "Jedes Kind liebt diesen kleinen Hund.");
    says(clause("all small children", "schlafen").being(), "All small children are sleeping.", "Alle kleinen Kinder schlafen.");
    says(clause("many small children", "schlafen").being(), "Many small children are sleeping.", "Viele kleine Kinder schlafen.");
    says(clause("he", "spielen").with("his sons"), "He plays with his sons.", "Er spielt mit seinen Söhnen.");
    says(clause("he", "spielen").with("many small dogs"), "He plays with many small dogs.", "Er spielt mit vielen kleinen Hunden.");
    says(clause("Tom", "haben").what("three expensive hats"), "Tom has three expensive hats.", "Tom hat drei teure Hüte.");
    says(clause("Anna's black cat", "schlafen").at("in the dark room").being(), "Anna's black cat is sleeping in the dark room.", "Annas schwarze Katze schläft im dunklen Zimmer.");
    says(clause("these bears", "sein").called(Predicative::Adjective(None, adjective("big"))), "These bears are big.", "Diese Bären sind groß.");
}

#[rustfmt::skip]
#[test]
fn prepositions_govern_and_contract() {
    says(clause("the farmer", "warten").of("the train").at("at the station").being(), "The farmer is waiting for the train at the station.", "Der Bauer wartet am Bahnhof auf den Zug.");
    says(clause("we", "träumen").of("the lake").often("often"), "We often dream of the lake.", "Wir träumen oft vom See.");
    says(clause("I", "gehen").to("to the market").with("my friend").being(), "I am going to the market with my friend.", "Ich gehe mit meinem Freund auf den Markt.");
    says(clause("you", "gehen").to("to the university").when("today").being(), "You are going to the university today.", "Du gehst heute zur Universität.");
    says(clause("she", "laufen").to("to the theater").being(), "She is running to the theater.", "Sie läuft ins Theater.");
    says(clause("the tourists", "reisen").to("to Berlin").by("by train").being(), "The tourists are traveling to Berlin by train.", "Die Touristen reisen mit dem Zug nach Berlin.");
    says(clause("Paul", "legen").what("the book").to("on the table").being(), "Paul is putting the book on the table.", "Paul legt das Buch auf den Tisch.");
    says(clause("Paul", "stellen").what("the cup").to("next to the lamp").being(), "Paul is putting the cup next to the lamp.", "Paul stellt die Tasse neben die Lampe.");
    says(clause("the book", "liegen").at("on the table"), "The book is on the table.", "Das Buch liegt auf dem Tisch.");
    says(clause("the cup", "stehen").at("in front of a box"), "The cup is in front of a box.", "Die Tasse steht vor einer Kiste.");
    says(clause("he", "gehen").to("home").being(), "He is going home.", "Er geht nach Hause.");
}

#[rustfmt::skip]
#[test]
fn the_finite_verb_is_second() {
    fronts(Front::Time, clause("the woman", "lesen").what("the newspaper").when("today").being(), "Today the woman is reading the newspaper.", "Heute liest die Frau die Zeitung.");
    fronts(Front::Place, clause("the children", "spielen").at("in the garden").being(), "In the garden the children are playing.", "Im Garten spielen die Kinder.");
    fronts(Front::Time, clause("I", "anrufen").what("you").when("tomorrow").will(), "Tomorrow I will call you.", "Morgen werde ich dich anrufen.");
    fronts(Front::Time, clause("the singers", "ausruhen").past("yesterday"), "Yesterday the singers rested.", "Gestern haben sich die Sänger ausgeruht.");
    fronts(Front::Time, clause("he", "ausruhen").past("yesterday"), "Yesterday he rested.", "Gestern hat er sich ausgeruht.");
}

#[rustfmt::skip]
#[test]
fn tenses_and_modals_bracket_the_clause() {
    says(clause("the man", "lesen").what("the book").past("yesterday"), "The man read the book yesterday.", "Der Mann hat gestern das Buch gelesen.");
    says(clause("I", "aufstehen").past("two days ago"), "I got up two days ago.", "Ich bin vor zwei Tagen aufgestanden.");
    says(clause("you", "fahren").to("to Munich").past("last week"), "You drove to Munich last week.", "Du bist letzte Woche nach München gefahren.");
    says(clause("she", "kaufen").what("the coat").modal("will"), "She wants to buy the coat.", "Sie will den Mantel kaufen.");
    says(clause("the boy", "aufräumen").what("his room").modal("musste"), "The boy had to tidy up his room.", "Der Junge musste sein Zimmer aufräumen.");
    says(clause("we", "besuchen").what("the castle").modal("möchte"), "We would like to visit the castle.", "Wir möchten das Schloss besuchen.");
    says(clause("Julia", "lesen").what("old books").likes(), "Julia likes to read old books.", "Julia liest gern alte Bücher.");
    says(was(is("the soup", "very hot")), "The soup was very hot.", "Die Suppe war sehr heiß.");
}

#[rustfmt::skip]
#[test]
fn separable_prefixes_separate() {
    says(clause("I", "anrufen").what("my father").being(), "I am calling my father.", "Ich rufe meinen Vater an.");
    says(clause("Maria", "einschalten").what("the lamp").often("usually"), "Maria usually turns on the lamp.", "Maria schaltet meistens die Lampe ein.");
    says(clause("Maria", "einschalten").object(Phrase::It(Gender::Feminine)).being(), "Maria is turning it on.", "Maria schaltet sie ein.");
    says(clause("he", "auswendig lernen").what("the poem").being(), "He is memorizing the poem.", "Er lernt das Gedicht auswendig.");
    joins(clause("I", "glauben"), Link::That, clause("he", "anrufen").what("us"), "I believe that he calls us.", "Ich glaube, dass er uns anruft.");
}

#[rustfmt::skip]
#[test]
fn nicht_and_kein_stand_in_their_places() {
    says(clause("the man", "lesen").what("a book").not(), "The man does not read a book.", "Der Mann liest kein Buch.");
    says(clause("the man", "lesen").what("the book").when("today").being().not(), "The man is not reading the book today.", "Der Mann liest das Buch heute nicht.");
    says(clause("I", "trinken").what("coffee").not(), "I do not drink coffee.", "Ich trinke keinen Kaffee.");
    says(clause("Anna", "sprechen").what("German").not(), "Anna does not speak German.", "Anna spricht kein Deutsch.");
    says(clause("we", "warten").of("the bus").being().not(), "We are not waiting for the bus.", "Wir warten nicht auf den Bus.");
    says(clause("he", "schlafen").at("in the garden").modal("kann").not(), "He cannot sleep in the garden.", "Er kann nicht im Garten schlafen.");
    says(clause("she", "helfen").whom("you").past("yesterday").not(), "She did not help you yesterday.", "Sie hat dir gestern nicht geholfen.");
    says(clause("they", "lesen").what("letters").likes().not(), "They do not like to read letters.", "Sie lesen nicht gern Briefe.");
    says(is("the house", "big").not(), "The house is not big.", "Das Haus ist nicht groß.");
    says(clause("he", "sein").called(Predicative::Noun(phrase("a good teacher"))).not(), "He is not a good teacher.", "Er ist kein guter Lehrer.");
}

#[rustfmt::skip]
#[test]
fn questions_invert() {
    check(&Sentence::Whether(clause("you", "lesen").what("the book").being()), "Are you reading the book?", "Liest du das Buch?");
    check(&Sentence::Whether(clause("the dog", "schlafen").often("often")), "Does the dog often sleep?", "Schläft der Hund oft?");
    check(&Sentence::Whether(clause("I", "öffnen").what("the window").modal("darf")), "May I open the window?", "Darf ich das Fenster öffnen?");
    asks(Asked::What, clause("the woman", "kaufen").being(), "What is the woman buying?", "Was kauft die Frau?");
    asks(Asked::Whom, clause("you", "suchen").being(), "Who are you looking for?", "Wen suchst du?");
    asks(Asked::ToWhom, clause("the girl", "helfen").being(), "Who is the girl helping?", "Wem hilft das Mädchen?");
    asks(Asked::Where, clause("the king", "wohnen"), "Where does the king live?", "Wo wohnt der König?");
    asks(Asked::WhereTo, clause("they", "gehen").being(), "Where are they going?", "Wohin gehen sie?");
    asks(Asked::When, clause("Peter", "aufstehen"), "When does Peter get up?", "Wann steht Peter auf?");
    asks(Asked::Why, clause("you", "weinen").being(), "Why are you crying?", "Warum weinst du?");
    asks(Asked::Object(phrase("which old car")), clause("he", "reparieren").being(), "Which old car is he repairing?", "Welches alte Auto repariert er?");
    asks(Asked::Object(phrase("how many small dogs")), clause("she", "haben"), "How many small dogs does she have?", "Wie viele kleine Hunde hat sie?");
    says(clause("who", "trinken").what("the tea").being(), "Who is drinking the tea?", "Wer trinkt den Tee?");
}

#[rustfmt::skip]
#[test]
fn commands_and_suggestions_have_their_forms() {
    let command = |please, clause| Sentence::Imperative { please, clause };
    let suggest = |full_stop, clause| Sentence::Suggestion { full_stop, clause };
    check(&command(false, clause("you", "öffnen").what("the door")), "Open the door!", "Öffne die Tür!");
    check(&command(true, clause("you", "lesen").what("this letter")), "Please read this letter.", "Bitte lies diesen Brief.");
    check(&command(false, clause("you", "einschalten").what("the radio").not()), "Do not turn on the radio!", "Schalte das Radio nicht ein!");
    check(&command(false, clause("you", "kaufen").what("bread").not()), "Do not buy bread!", "Kauf kein Brot!");
    check(&suggest(false, clause("we", "übersetzen").what("this sentence")), FAMOUS.0, FAMOUS.1);
    check(&suggest(true, clause("we", "anrufen").what("our aunt").when("today")), "Let's call our aunt today.", "Lass uns heute unsere Tante anrufen.");
}

#[rustfmt::skip]
#[test]
fn subordinate_clauses_end_in_the_verb() {
    joins(clause("the man", "schlafen").being(), Link::Because, is("he", "tired"), "The man is sleeping because he is tired.", "Der Mann schläft, weil er müde ist.");
    joins(clause("she", "sagen"), Link::That, clause("Tom", "lesen").what("the book").past("yesterday"), "She says that Tom read the book yesterday.", "Sie sagt, dass Tom gestern das Buch gelesen hat.");
    joins(clause("I", "wissen").not(), Link::Whether, clause("she", "schwimmen").modal("kann"), "I do not know whether she can swim.", "Ich weiß nicht, ob sie schwimmen kann.");
    joins(clause("we", "hoffen"), Link::That, clause("the doctor", "erinnern").of("us"), "We hope that the doctor remembers us.", "Wir hoffen, dass sich der Arzt an uns erinnert.");
    joins(clause("he", "arbeiten").being(), Link::But, clause("she", "singen").being(), "He is working, but she is singing.", "Er arbeitet, aber sie singt.");
    joins(clause("he", "arbeiten").being(), Link::And, clause("she", "singen").being(), "He is working and she is singing.", "Er arbeitet und sie singt.");
    joins(clause("she", "lachen").being(), Link::For, is("she", "happy"), "She is laughing, for she is happy.", "Sie lacht, denn sie ist glücklich.");
    joins(clause("I", "bleiben").at("at home").will(), Link::If, clause("it", "regnen").being(), "I will stay at home if it is raining.", "Ich werde zu Hause bleiben, wenn es regnet.");
    check(&Sentence::Condition(clause("it", "regnen"), clause("the children", "spielen").at("in the house")), "If it rains, the children play in the house.", "Wenn es regnet, spielen die Kinder im Haus.");
}

#[rustfmt::skip]
#[test]
fn longer_patterns_hold_together() {
    let infinitive = |matrix, purpose, clause| Sentence::Infinitive { front: Front::Subject, matrix, purpose, clause };
    check(&infinitive(clause("the man", "versuchen"), false, clause("he", "öffnen").what("the door")), "The man tries to open the door.", "Der Mann versucht, die Tür zu öffnen.");
    check(&infinitive(clause("she", "versprechen"), false, clause("she", "anrufen").what("me")), "She promises to call me.", "Sie verspricht, mich anzurufen.");
    check(&infinitive(clause("I", "gehen").to("to the market").being(), true, clause("I", "kaufen").what("fresh eggs")), "I am going to the market to buy fresh eggs.", "Ich gehe auf den Markt, um frische Eier zu kaufen.");
    check(&infinitive(clause("he", "planen"), false, clause("he", "auswendig lernen").what("the poem")), "He plans to memorize the poem.", "Er plant, das Gedicht auswendig zu lernen.");
    check(&Sentence::SharedSubject(clause("Peter", "kaufen").what("an apple"), clause("Peter", "essen").object(Phrase::It(Gender::Masculine))), "Peter buys an apple and eats it.", "Peter kauft einen Apfel und isst ihn.");
    let mut fresh = is("he", "fresh");
    fresh.subject = Phrase::It(Gender::Feminine);
    joins(clause("I", "kaufen").what("the pear").being(), Link::Because, fresh, "I am buying the pear because it is fresh.", "Ich kaufe die Birne, weil sie frisch ist.");
    let mut who = clause("he", "wohnen").at("in the castle");
    who.subject = Phrase::Relative(Gender::Feminine, Number::Singular);
    check(&Sentence::Relative(clause("I", "kennen").what("the woman"), who), "I know the woman who lives in the castle.", "Ich kenne die Frau, die im Schloss wohnt.");
    let this = clause("this", "sein").called(Predicative::Noun(phrase("the man")));
    let mut who = clause("he", "anrufen").what("us").past("yesterday");
    who.subject = Phrase::Relative(Gender::Masculine, Number::Singular);
    check(&Sentence::Relative(this, who), "This is the man who called us yesterday.", "Das ist der Mann, der uns gestern angerufen hat.");
    check(&Sentence::ThereIs(phrase("two cats"), at("under the table")), "There are two cats under the table.", "Unter dem Tisch sind zwei Katzen.");
}

#[rustfmt::skip]
#[test]
fn comparisons_have_their_forms() {
    let than = |adj, other| Predicative::Than(adjective(adj), phrase(other));
    says(clause("the dog", "sein").called(than("big", "the cat")), "The dog is bigger than the cat.", "Der Hund ist größer als die Katze.");
    says(clause("she", "sein").called(than("old", "me")), "She is older than me.", "Sie ist älter als ich.");
    says(clause("this book", "sein").called(than("interesting", "the newspaper")), "This book is more interesting than the newspaper.", "Dieses Buch ist interessanter als die Zeitung.");
    says(clause("Paul", "sein").called(Predicative::As(adjective("strong"), phrase("his brother"))), "Paul is as strong as his brother.", "Paul ist so stark wie sein Bruder.");
    says(clause("I", "sein").called(Predicative::Noun(phrase("an honest lawyer"))), "I am an honest lawyer.", "Ich bin ein ehrlicher Anwalt.");
}

#[rustfmt::skip]
#[test]
fn time_manner_and_place_come_in_this_order() {
    says(clause("the friends", "arbeiten").how("together").at("in the library").when("tomorrow").will(), "The friends will work together in the library tomorrow.", "Die Freunde werden morgen zusammen in der Bibliothek arbeiten.");
    says(clause("a waiter", "schneiden").what("the bread").how("slowly").being(), "A waiter is cutting the bread slowly.", "Ein Kellner schneidet das Brot langsam.");
}
