//! Verbs.

use super::super::german::{Case, Forms, HABEN, SEIN};
use super::kind::*;
use super::{Frame, Kinds, Verb};
use Case::{Accusative, Dative};

/// A regular verb of a person's doing, anywhere.
const fn v(english: &'static str, german: &'static str, participle: &'static str) -> Verb {
    Verb {
        english,
        english_past: None,
        english_ing: None,
        english_particle: "",
        english_preposition: "",
        german,
        german_prefix: "",
        german_du_er: None,
        german_present: None,
        german_imperative: None,
        participle,
        perfect_with_sein: false,
        reflexive: false,
        stative: false,
        accidental: false,
        manner: false,
        subject: PERSON,
        frame: Frame::Intransitive,
        places: 0,
    }
}

impl Verb {
    const fn past(mut self, form: &'static str) -> Self {
        self.english_past = Some(form);
        self
    }
    const fn ing(mut self, form: &'static str) -> Self {
        self.english_ing = Some(form);
        self
    }
    const fn particle(mut self, word: &'static str) -> Self {
        self.english_particle = word;
        self
    }
    const fn preposition(mut self, word: &'static str) -> Self {
        self.english_preposition = word;
        self
    }
    const fn prefix(mut self, prefix: &'static str) -> Self {
        self.german_prefix = prefix;
        self
    }
    const fn du_er(mut self, du: &'static str, er: &'static str) -> Self {
        self.german_du_er = Some((du, er));
        self
    }
    const fn present(mut self, forms: Forms) -> Self {
        self.german_present = Some(forms);
        self
    }
    const fn imperative(mut self, form: &'static str) -> Self {
        self.german_imperative = Some(form);
        self
    }
    const fn sein(mut self) -> Self {
        self.perfect_with_sein = true;
        self
    }
    const fn reflexive(mut self) -> Self {
        self.reflexive = true;
        self
    }
    const fn stative(mut self) -> Self {
        self.stative = true;
        self
    }
    const fn accidental(mut self) -> Self {
        self.accidental = true;
        self
    }
    const fn manner(mut self) -> Self {
        self.manner = true;
        self
    }
    const fn by(mut self, kinds: Kinds) -> Self {
        self.subject = kinds;
        self
    }
    const fn at(mut self, kinds: Kinds) -> Self {
        self.places = kinds;
        self
    }
    const fn takes(mut self, kinds: Kinds) -> Self {
        self.frame = Frame::Accusative(kinds);
        self
    }
    const fn dative(mut self, kinds: Kinds) -> Self {
        self.frame = Frame::Dative(kinds);
        self
    }
    const fn gives(mut self, kinds: Kinds) -> Self {
        self.frame = Frame::Gift(kinds);
        self
    }
    const fn upon(mut self, preposition: &'static str, case: Case, kinds: Kinds) -> Self {
        self.frame = Frame::Prepositional(preposition, case, kinds);
        self
    }
    const fn frame(mut self, frame: Frame) -> Self {
        self.frame = frame;
        self
    }
}

const ANYWHERE: Kinds = GREEN | HOME | PUBLIC;

/// The verbs whose frames say how to use them.
#[rustfmt::skip]
pub(in super::super) static VERBS: [Verb; 93] = [
    // Texts and languages.
    v("read", "lesen", "gelesen").past("read").du_er("liest", "liest").imperative("lies").takes(READ).at(ANYWHERE).manner(),
    v("write", "schreiben", "geschrieben").past("wrote").takes(WRITE).at(ANYWHERE).manner(),
    v("translate", "übersetzen", "übersetzt").takes(TEXT).at(PUBLIC).manner(),
    v("understand", "verstehen", "verstanden").past("understood").takes(TEXT | PERSON).stative(),
    v("copy", "schreiben", "abgeschrieben").prefix("ab").takes(STUDY).at(PUBLIC),
    v("explain", "erklären", "erklärt").preposition("to").gives(TEXT).at(PUBLIC),
    v("memorize", "lernen", "gelernt").prefix("auswendig ").takes(STUDY),
    v("repeat", "wiederholen", "wiederholt").takes(STUDY).manner(),
    v("speak", "sprechen", "gesprochen").past("spoke").du_er("sprichst", "spricht").imperative("sprich").frame(Frame::Language).at(HOME | PUBLIC),
    v("learn", "lernen", "gelernt").frame(Frame::Language).at(HOME | PUBLIC),
    // Food and drink.
    v("eat", "essen", "gegessen").past("ate").du_er("isst", "isst").imperative("iss").takes(FOOD).at(ANYWHERE).manner(),
    v("drink", "trinken", "getrunken").past("drank").takes(DRINK).at(ANYWHERE).manner(),
    v("cook", "kochen", "gekocht").takes(COOK).at(HOME),
    v("bake", "backen", "gebacken").takes(BAKE).at(HOME),
    v("cut", "schneiden", "geschnitten").past("cut").ing("cutting").takes(CUT).at(HOME).manner(),
    v("order", "bestellen", "bestellt").takes(FOOD | DRINK),
    v("taste", "probieren", "probiert").takes(FOOD | DRINK),
    // Possession.
    v("buy", "kaufen", "gekauft").past("bought").takes(GOODS | VEHICLE).at(SHOP),
    v("sell", "verkaufen", "verkauft").past("sold").takes(GOODS | VEHICLE).at(SHOP),
    v("have", "haben", "gehabt").present(HABEN).takes(THING | CLOTHES | PARKED | FURNITURE | KIN).stative(),
    v("need", "brauchen", "gebraucht").takes(THING | CLOTHES | PARKED | FURNITURE | FOOD).stative(),
    v("look", "suchen", "gesucht").preposition("for").takes(THING | CLOTHES | ANIMATE).at(ANYWHERE),
    v("find", "finden", "gefunden").past("found").takes(THING | CLOTHES).at(ANYWHERE).accidental(),
    v("lose", "verlieren", "verloren").past("lost").takes(THING | CLOTHES).at(ANYWHERE).accidental(),
    v("forget", "vergessen", "vergessen").past("forgot").ing("forgetting").du_er("vergisst", "vergisst").imperative("vergiss").takes(THING | CLOTHES | TEXT).accidental(),
    v("take", "nehmen", "genommen").past("took").du_er("nimmst", "nimmt").imperative("nimm").takes(THING | FOOD),
    v("give", "geben", "gegeben").past("gave").du_er("gibst", "gibt").imperative("gib").gives(GOODS),
    v("bring", "bringen", "gebracht").past("brought").gives(GOODS),
    v("send", "schicken", "geschickt").past("sent").gives(MAIL | THING),
    v("show", "zeigen", "gezeigt").gives(GOODS | VEHICLE | READ | ANIMAL | VISIT),
    v("lend", "leihen", "geliehen").past("lent").gives(THING | CLOTHES | PARKED),
    v("tell", "erzählen", "erzählt").past("told").gives(TELL),
    // Handling things.
    v("open", "öffnen", "geöffnet").takes(OPEN).manner(),
    v("close", "schließen", "geschlossen").takes(OPEN).manner(),
    v("turn", "schalten", "eingeschaltet").particle("on").prefix("ein").takes(DEVICE),
    v("turn", "schalten", "ausgeschaltet").particle("off").prefix("aus").takes(DEVICE),
    v("wear", "tragen", "getragen").past("wore").du_er("trägst", "trägt").takes(CLOTHES),
    v("carry", "tragen", "getragen").du_er("trägst", "trägt").takes(PACK | FURNITURE).manner(),
    v("put", "ziehen", "angezogen").past("put").ing("putting").particle("on").prefix("an").takes(CLOTHES),
    v("take", "ziehen", "ausgezogen").past("took").particle("off").prefix("aus").takes(CLOTHES),
    v("unpack", "packen", "ausgepackt").prefix("aus").takes(PACK),
    v("tidy", "räumen", "aufgeräumt").particle("up").prefix("auf").takes(ROOM),
    v("clean", "putzen", "geputzt").takes(ROOM),
    v("wash", "waschen", "gewaschen").du_er("wäschst", "wäscht").takes(WASH).manner(),
    v("repair", "reparieren", "repariert").takes(DEVICE | VEHICLE | FURNITURE),
    v("build", "bauen", "gebaut").past("built").takes(BUILD),
    v("paint", "malen", "gemalt").takes(PAINT).at(ANYWHERE),
    v("photograph", "fotografieren", "fotografiert").takes(PERSON | ANIMAL | VEHICLE | PAINT).at(GREEN),
    v("put", "legen", "gelegt").past("put").ing("putting").frame(Frame::Placing(LIES)),
    v("put", "stellen", "gestellt").past("put").ing("putting").frame(Frame::Placing(STANDS)),
    v("throw", "werfen", "geworfen").past("threw").du_er("wirfst", "wirft").imperative("wirf").takes(TOY),
    // People and animals.
    v("see", "sehen", "gesehen").past("saw").du_er("siehst", "sieht").takes(ANIMATE | VEHICLE | PAINT).by(ANIMATE).stative().at(GREEN | PUBLIC),
    v("hear", "hören", "gehört").past("heard").takes(ANIMATE | VEHICLE).by(ANIMATE).stative(),
    v("know", "kennen", "gekannt").takes(PERSON | VISIT | TELL).stative(),
    v("love", "lieben", "geliebt").takes(KIN | VISIT).stative(),
    v("like", "mögen", "gemocht").present(["mag", "magst", "mag", "mögen", "mögen"]).takes(ANIMATE | FOOD | DRINK | READ | CLOTHES | VISIT).stative(),
    v("meet", "treffen", "getroffen").past("met").du_er("triffst", "trifft").imperative("triff").takes(PERSON).at(ANYWHERE | SHOP),
    v("visit", "besuchen", "besucht").takes(PERSON | VISIT),
    v("ask", "fragen", "gefragt").takes(PERSON),
    v("greet", "grüßen", "gegrüßt").takes(PERSON).at(ANYWHERE | SHOP),
    v("call", "rufen", "angerufen").prefix("an").takes(PERSON),
    v("invite", "laden", "eingeladen").prefix("ein").du_er("lädst", "lädt").takes(PERSON),
    v("pick", "holen", "abgeholt").particle("up").prefix("ab").takes(PERSON).at(PUBLIC),
    v("watch", "beobachten", "beobachtet").takes(ANIMATE).by(ANIMATE).at(GREEN | PUBLIC),
    v("feed", "füttern", "gefüttert").past("fed").takes(ANIMAL).at(GREEN),
    v("help", "helfen", "geholfen").du_er("hilfst", "hilft").imperative("hilf").dative(PERSON).at(HOME | PUBLIC),
    v("thank", "danken", "gedankt").dative(PERSON),
    v("answer", "antworten", "geantwortet").dative(PERSON),
    v("trust", "vertrauen", "vertraut").dative(PERSON).stative(),
    v("follow", "folgen", "gefolgt").sein().dative(ANIMATE).by(ANIMATE).manner(),
    v("listen", "hören", "zugehört").preposition("to").prefix("zu").dative(PERSON),
    v("wait", "warten", "gewartet").preposition("for").upon("auf", Accusative, PERSON | AWAITED).at(PUBLIC),
    v("think", "denken", "gedacht").past("thought").preposition("of").upon("an", Accusative, PERSON | VISIT),
    v("talk", "reden", "geredet").preposition("about").upon("über", Accusative, ANIMATE | TEXT | VISIT).at(HOME | PUBLIC),
    v("dream", "träumen", "geträumt").preposition("of").upon("von", Dative, ANIMATE | VISIT | VEHICLE),
    v("remember", "erinnern", "erinnert").reflexive().upon("an", Accusative, PERSON | TEXT | VISIT).stative(),
    // Being and moving.
    v("sleep", "schlafen", "geschlafen").past("slept").du_er("schläfst", "schläft").by(ANIMATE).at(ANYWHERE),
    v("work", "arbeiten", "gearbeitet").at(ANYWHERE | SHOP).manner(),
    v("play", "spielen", "gespielt").by(ANIMATE).at(ANYWHERE),
    v("sing", "singen", "gesungen").past("sang").at(ANYWHERE).manner(),
    v("dance", "tanzen", "getanzt").at(ANYWHERE).manner(),
    v("laugh", "lachen", "gelacht").at(ANYWHERE).manner(),
    v("cry", "weinen", "geweint").at(ANYWHERE).manner(),
    v("rest", "ruhen", "ausgeruht").prefix("aus").reflexive().at(ANYWHERE),
    v("get", "stehen", "aufgestanden").past("got").ing("getting").particle("up").prefix("auf").sein().manner(),
    v("swim", "schwimmen", "geschwommen").past("swam").ing("swimming").sein().by(ANIMATE).at(WATER).manner(),
    v("go", "gehen", "gegangen").past("went").sein().frame(Frame::Motion),
    v("run", "laufen", "gelaufen").past("ran").ing("running").du_er("läufst", "läuft").sein().by(ANIMATE).frame(Frame::Motion).manner(),
    v("drive", "fahren", "gefahren").past("drove").du_er("fährst", "fährt").sein().frame(Frame::Motion),
    v("fly", "fliegen", "geflogen").past("flew").sein().frame(Frame::Motion),
    v("travel", "reisen", "gereist").sein().frame(Frame::Motion),
    v("live", "wohnen", "gewohnt").stative().frame(Frame::Situated).at(DWELLING),
    v("stay", "bleiben", "geblieben").sein().frame(Frame::Situated).at(ANYWHERE),
];

/// The copula.
pub(in super::super) static BE: Verb =
    v("be", "sein", "gewesen").past("was").present(SEIN).sein().stative().frame(Frame::Pattern);
/// "is" of lying things.
pub(in super::super) static LIE: Verb = v("be", "liegen", "gelegen").frame(Frame::Pattern).stative();
/// "is" of standing things.
pub(in super::super) static STAND: Verb = v("be", "stehen", "gestanden").frame(Frame::Pattern).stative();

/// Weather verbs, with "it".
pub(in super::super) static WEATHER: [Verb; 2] =
    [v("rain", "regnen", "geregnet").frame(Frame::Pattern), v("snow", "schneien", "geschneit").frame(Frame::Pattern)];

/// Verbs of a that-clause.
pub(in super::super) static THAT: [Verb; 5] = [
    v("know", "wissen", "gewusst").present(["weiß", "weißt", "weiß", "wissen", "wissen"]),
    v("think", "denken", "gedacht"),
    v("believe", "glauben", "geglaubt"),
    v("say", "sagen", "gesagt"),
    v("hope", "hoffen", "gehofft"),
];

/// Verbs of an infinitive clause.
pub(in super::super) static TRY: [Verb; 4] = [
    v("try", "versuchen", "versucht"),
    v("plan", "planen", "geplant").past("planned").ing("planning"),
    v("promise", "versprechen", "versprochen").du_er("versprichst", "verspricht"),
    v("decide", "beschließen", "beschlossen"),
];
