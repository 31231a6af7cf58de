//! F1 of entities: an entity counts as found where its first word, its last word and its kind are right.
//!
//! Labels are joined to entities as `seqeval` does in its usual mode, after `conlleval` (Tjong Kim Sang & De Meulder 2003):
//! IOB1, IOB2, IOE and IOBES alike. A label without a prefix goes on with the same label before it.

use std::collections::BTreeSet;

/// Entities in the data, found, and both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EntityScore {
    gold: usize,
    found: usize,
    right: usize,
}

impl EntityScore {
    /// Adds a sentence: the labels of its words in the data and those that were found.
    pub fn add(&mut self, gold: &[&str], found: &[&str]) {
        let (gold, found) = (entities(gold), entities(found));
        self.gold += gold.len();
        self.found += found.len();
        self.right += gold.intersection(&found).count();
    }

    /// The harmonic mean of precision and recall over all entities; 0 where there is none.
    pub fn f1(&self) -> f64 {
        match self.gold + self.found {
            0 => 0.0,
            all => 2.0 * self.right as f64 / all as f64,
        }
    }
}

/// The kind, the first word and the last word of each entity.
fn entities<'l>(labels: &[&'l str]) -> BTreeSet<(&'l str, usize, usize)> {
    let (mut found, mut open, mut before) = (BTreeSet::new(), None, ('O', ""));
    for (at, label) in labels.iter().chain([&"O"]).enumerate() {
        let now = parts(label);
        if ends(before, now)
            && let Some((kind, first)) = open.take()
        {
            found.insert((kind, first, at - 1));
        }
        if begins(before, now) {
            open = Some((now.1, at));
        }
        before = now;
    }
    found
}

/// The prefix of a label, and the kind; a label without a prefix has I.
fn parts(label: &str) -> (char, &str) {
    match label.split_once('-') {
        _ if label == "O" => ('O', ""),
        Some((prefix @ ("B" | "I" | "E" | "S"), kind)) => (prefix.chars().next().unwrap_or('I'), kind),
        _ => ('I', label),
    }
}

/// Whether an entity that the word before is of ends there.
fn ends((before, kind): (char, &str), (now, of): (char, &str)) -> bool {
    matches!(before, 'E' | 'S') || (before != 'O' && (matches!(now, 'B' | 'S' | 'O') || kind != of))
}

/// Whether an entity begins at the word.
fn begins((before, kind): (char, &str), (now, of): (char, &str)) -> bool {
    matches!(now, 'B' | 'S') || (now != 'O' && (matches!(before, 'E' | 'S' | 'O') || kind != of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_joined_in_every_scheme() {
        let of = |labels: &str| {
            let labels: Vec<&str> = labels.split(' ').collect();
            entities(&labels).into_iter().map(|(kind, first, last)| format!("{kind}{first}{last}")).collect::<Vec<_>>()
        };
        assert_eq!(of("B-P I-P O B-P B-L"), ["L44", "P01", "P33"]);
        assert_eq!(of("I-P I-P I-L O I-P"), ["L22", "P01", "P44"]);
        assert_eq!(of("I-P B-P I-P"), ["P00", "P12"]);
        assert_eq!(of("I-P E-P I-P E-P"), ["P01", "P23"]);
        assert_eq!(of("S-P B-P I-P E-P S-L"), ["L44", "P00", "P13"]);
        assert_eq!(of("NOUN NOUN VERB O"), ["NOUN01", "VERB22"]);
        assert_eq!(of("O O"), Vec::<String>::new());
        assert_eq!(of("B-A-B I-A-B"), ["A-B01"]);
    }

    #[test]
    fn f1_counts_whole_entities() {
        let mut score = EntityScore::default();
        assert_eq!(score.f1(), 0.0);
        score.add(&["B-P", "I-P", "O", "B-L"], &["B-P", "O", "O", "B-L"]);
        assert_eq!(score.f1(), 0.5);
        score.add(&["O", "B-P"], &["O", "O"]);
        assert_eq!(score.f1(), 0.4);
    }
}
