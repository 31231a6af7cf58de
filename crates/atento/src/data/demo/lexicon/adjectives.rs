//! Adjectives.

use super::kind::*;
use super::{Adjective, Kinds};

const fn a(english: &'static str, german: &'static str, kinds: Kinds) -> Adjective {
    Adjective { english, german, german_stem: german, kinds, comparative: None }
}

impl Adjective {
    const fn stem(mut self, stem: &'static str) -> Self {
        self.german_stem = stem;
        self
    }

    const fn than(mut self, english: &'static str, german: &'static str) -> Self {
        self.comparative = Some((english, german));
        self
    }
}

const COLOURED: Kinds = THING | CLOTHES | VEHICLE | FURNITURE;
const SIZED: Kinds = ANIMAL | THING | VEHICLE | FURNITURE | PLACE;
const MADE: Kinds = THING | CLOTHES | VEHICLE | FURNITURE;

/// All adjectives.
pub(in super::super) static ADJECTIVES: [Adjective; 60] = [
    a("good", "gut", FOOD | DRINK | TEXT | PROFESSION).than("better", "besser"),
    a("bad", "schlecht", TEXT | PROFESSION),
    a("new", "neu", MADE | READ | PLACE),
    a("old", "alt", PERSON | ANIMAL | MADE | PLACE | READ).than("older", "älter"),
    a("big", "groß", SIZED).than("bigger", "größer"),
    a("small", "klein", SIZED | CLOTHES).than("smaller", "kleiner"),
    a("beautiful", "schön", COLOURED | PLACE | TELL).than("more beautiful", "schöner"),
    a("long", "lang", TEXT | CLOTHES).than("longer", "länger"),
    a("short", "kurz", TEXT | CLOTHES).than("shorter", "kürzer"),
    a("young", "jung", PERSON | ANIMAL).than("younger", "jünger"),
    a("friendly", "freundlich", PERSON).than("friendlier", "freundlicher"),
    a("happy", "glücklich", PERSON),
    a("tired", "müde", ANIMATE).stem("müd"),
    a("sad", "traurig", PERSON),
    a("famous", "berühmt", PROFESSION | VISIT).than("more famous", "berühmter"),
    a("rich", "reich", PERSON).than("richer", "reicher"),
    a("poor", "arm", PERSON).than("poorer", "ärmer"),
    a("smart", "klug", ANIMATE).than("smarter", "klüger"),
    a("strong", "stark", PERSON).than("stronger", "stärker"),
    a("hungry", "hungrig", ANIMATE),
    a("sick", "krank", ANIMATE),
    a("polite", "höflich", PERSON).than("more polite", "höflicher"),
    a("brave", "mutig", PERSON).than("braver", "mutiger"),
    a("lazy", "faul", PERSON),
    a("honest", "ehrlich", PERSON),
    a("proud", "stolz", PERSON),
    a("nervous", "nervös", PERSON),
    a("fresh", "frisch", FOOD),
    a("sweet", "süß", BAKE),
    a("hot", "heiß", DRINK | MEAL),
    a("cold", "kalt", DRINK | MEAL),
    a("delicious", "lecker", FOOD),
    a("warm", "warm", DRINK | CLOTHES).than("warmer", "wärmer"),
    a("red", "rot", COLOURED),
    a("blue", "blau", COLOURED),
    a("green", "grün", COLOURED),
    a("yellow", "gelb", COLOURED),
    a("white", "weiß", COLOURED | ANIMAL),
    a("black", "schwarz", COLOURED | ANIMAL),
    a("brown", "braun", COLOURED | ANIMAL),
    a("expensive", "teuer", FOOD | MADE).stem("teur").than("more expensive", "teurer"),
    a("cheap", "billig", FOOD | MADE).than("cheaper", "billiger"),
    a("heavy", "schwer", FURNITURE | PACK).than("heavier", "schwerer"),
    a("clean", "sauber", CLOTHES | WASH | ROOM),
    a("dirty", "schmutzig", CLOTHES | WASH | ROOM),
    a("empty", "leer", PACK | ROOM),
    a("broken", "kaputt", DEVICE | VEHICLE | FURNITURE),
    a("modern", "modern", DEVICE | VEHICLE | FURNITURE | PUBLIC | HOME).than("more modern", "moderner"),
    a("wet", "nass", CLOTHES | ANIMAL),
    a("interesting", "interessant", TEXT | VISIT).than("more interesting", "interessanter"),
    a("boring", "langweilig", TEXT).than("more boring", "langweiliger"),
    a("difficult", "schwierig", TEXT).than("more difficult", "schwieriger"),
    a("easy", "einfach", TEXT).than("easier", "einfacher"),
    a("funny", "lustig", TELL | PERSON).than("funnier", "lustiger"),
    a("important", "wichtig", TEXT).than("more important", "wichtiger"),
    a("quiet", "ruhig", PLACE | PERSON).than("quieter", "ruhiger"),
    a("loud", "laut", PUBLIC | DEVICE).than("louder", "lauter"),
    a("dark", "dunkel", ROOM).stem("dunkl").than("darker", "dunkler"),
    a("dangerous", "gefährlich", ANIMAL).than("more dangerous", "gefährlicher"),
    a("fast", "schnell", VEHICLE | ANIMAL).than("faster", "schneller"),
];
