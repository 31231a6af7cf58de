//! Which documents are for validation.
//!
//! Each document has a number that follows from its text and the seed; those with the lowest are for validation. So equal
//! documents are on the same side, and a document keeps its side when others are added. Validation gets about its share
//! of the text, not of the documents:
//!
//! 1. all documents with a number below the share, if their text is about the share;
//! 2. else documents in the order of their numbers, without those that are too long, until their text is;
//! 3. else, where whole documents cannot give it, the last part of a long one is cut off for validation.

use std::collections::HashSet;

use crate::data::hash::{combine, hash};

/// By how much validation may be larger or smaller than its share, as a part of the smaller side.
const TOLERANCE: f64 = 0.25;

/// A document that is not blank, as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) hash: u64,
    /// Bytes of text that are used: none where the document will be left out.
    pub(super) bytes: u64,
}

/// Where a document goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Train,
    Val,
    /// Its text up to about byte `at` is for training, the rest for validation.
    Cut {
        at: u64,
        /// All bytes of it.
        bytes: u64,
    },
}

/// Where the documents of a text go, by their position in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    validation: HashSet<usize>,
    cut: HashSet<usize>,
    /// Where those are cut, and their bytes.
    at: (u64, u64),
}

impl Choice {
    /// Chooses about `fraction` of the text. Documents stay whole unless `may_cut`.
    pub(super) fn new(documents: &[Document], fraction: f64, seed: u64, may_cut: bool) -> Self {
        let all = documents.iter().map(|document| document.bytes).sum::<u64>() as f64;
        let wanted = all * fraction;
        let slack = TOLERANCE * wanted.min(all - wanted);
        if wanted < 1.0 {
            return Choice::default();
        }
        let groups = Groups::new(documents, hash(&seed.to_le_bytes()));
        let about = |(_, bytes): &(_, u64)| (*bytes as f64 - wanted).abs() <= slack;
        let below = groups.below((fraction * 2f64.powi(64)) as u64);
        let whole = Some(below).filter(about).unwrap_or_else(|| groups.first(wanted, slack));
        let (validation, cut, at) = match may_cut && !about(&whole) {
            true => groups.cut(wanted),
            false => (whole.0, HashSet::new(), (0, 0)),
        };
        Choice { validation, cut, at }
    }

    /// Where document `number` goes.
    pub(super) fn fate(&self, number: usize) -> Fate {
        match (self.validation.contains(&number), self.cut.contains(&number)) {
            (true, _) => Fate::Val,
            (_, true) => Fate::Cut { at: self.at.0, bytes: self.at.1 },
            _ => Fate::Train,
        }
    }
}

/// Equal documents, in the order of their numbers.
struct Groups<'a> {
    documents: &'a [Document],
    seed: u64,
    /// Positions of all documents: equal ones together, by their numbers.
    order: Vec<usize>,
}

impl<'a> Groups<'a> {
    fn new(documents: &'a [Document], seed: u64) -> Self {
        let mut order: Vec<usize> = (0..documents.len()).collect();
        order.sort_unstable_by_key(|&at| (combine(seed, documents[at].hash), at));
        Groups { documents, seed, order }
    }

    fn each(&self) -> impl Iterator<Item = &[usize]> {
        self.order.chunk_by(|&a, &b| self.documents[a].hash == self.documents[b].hash)
    }

    fn bytes(&self, group: &[usize]) -> u64 {
        group.iter().map(|&at| self.documents[at].bytes).sum()
    }

    /// The documents with numbers below `threshold`, and their bytes.
    fn below(&self, threshold: u64) -> (HashSet<usize>, u64) {
        let number = |group: &[usize]| combine(self.seed, self.documents[group[0]].hash);
        let taken: Vec<&[usize]> = self.each().take_while(|group| number(group) < threshold).collect();
        (taken.concat().into_iter().collect(), taken.iter().map(|group| self.bytes(group)).sum())
    }

    /// Documents in their order that together have `wanted` bytes or, by `slack`, a little more or less; fewer where all others
    /// are too long.
    fn first(&self, wanted: f64, slack: f64) -> (HashSet<usize>, u64) {
        let (mut taken, mut sum) = (HashSet::new(), 0);
        for group in self.each() {
            let bytes = self.bytes(group);
            if (sum + bytes) as f64 <= wanted + slack {
                taken.extend(group);
                sum += bytes;
            }
            if sum as f64 >= wanted - slack {
                break;
            }
        }
        (taken, sum)
    }

    /// `wanted` bytes with the last part of one document among them: all of one that is long enough, else whole
    /// documents first. Returns the whole ones, that which is cut with its copies, and where it is cut of
    /// how many bytes.
    fn cut(&self, wanted: f64) -> (HashSet<usize>, HashSet<usize>, (u64, u64)) {
        let longest = self.each().map(|group| self.bytes(group)).max().unwrap_or(0);
        let (whole, sum) = match longest as f64 >= 2.0 * wanted {
            true => (HashSet::new(), 0),
            false => self.first(wanted, 0.0),
        };
        let left = self.each().filter(|group| !whole.contains(&group[0]));
        let Some(group) = left.max_by_key(|group| self.bytes(group)) else { return (whole, HashSet::new(), (0, 0)) };
        let copies = group.iter().filter(|&&at| self.documents[at].bytes > 0).count().max(1) as u64;
        let each = group.iter().map(|&at| self.documents[at].bytes).max().unwrap_or(0);
        let part = (wanted as u64).saturating_sub(sum) / copies;
        match (1..each).contains(&part) {
            true => (whole, group.iter().copied().collect(), (each - part, each)),
            false => (whole, HashSet::new(), (0, 0)),
        }
    }
}

/// Where a text is cut, near byte `at` and by at most `slack` bytes elsewhere: after a line, else after white space, else
/// between two characters. Both parts have text; `None` where there is no such place.
pub(super) fn cut_near(text: &str, at: usize, slack: usize) -> Option<usize> {
    // Text begins and ends on both sides of what lies between these.
    let first = text.find(|c: char| !c.is_whitespace()).map(|start| start + 1)?;
    let last = text.rfind(|c: char| !c.is_whitespace())?;
    let (first, last) = (text.ceil_char_boundary(first), last);
    if first > last {
        return None;
    }
    let at = at.clamp(first, last);
    let (from, to) = (at.saturating_sub(slack).max(first), at.saturating_add(slack).min(last));
    let (from, to) = (text.ceil_char_boundary(from), text.floor_char_boundary(to));
    let nearest = |is_end: fn(char) -> bool| {
        // A place after a character is the end of it; the first place is that after the character before.
        let begin = text.floor_char_boundary(from.saturating_sub(1));
        let places = text[begin..to].char_indices().filter(|(_, c)| is_end(*c)).map(|(i, c)| begin + i + c.len_utf8());
        places.filter(|place| (from..=to).contains(place)).min_by_key(|place| place.abs_diff(at))
    };
    let between = || Some(text.floor_char_boundary(at)).filter(|place| (first..=last).contains(place));
    nearest(|c| c == '\n').or_else(|| nearest(char::is_whitespace)).or_else(between).or(Some(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn documents(bytes: &[u64]) -> Vec<Document> {
        bytes.iter().enumerate().map(|(at, &bytes)| Document { hash: hash(&at.to_le_bytes()), bytes }).collect()
    }

    /// Bytes of text for validation.
    fn validation(documents: &[Document], choice: &Choice) -> u64 {
        let of = |(at, document): (usize, &Document)| match choice.fate(at) {
            Fate::Train => 0,
            Fate::Val => document.bytes,
            Fate::Cut { at, .. } => document.bytes - at,
        };
        documents.iter().enumerate().map(of).sum()
    }

    #[test]
    fn one_document_that_is_nearly_everything_is_cut_and_the_others_are_trained_on() {
        let documents = documents(&[100, 100_000, 80, 120]);
        for seed in 0..20 {
            let choice = Choice::new(&documents, 0.1, seed, true);
            let fates: Vec<Fate> = (0..4).map(|at| choice.fate(at)).collect();
            assert_eq!(fates, [Fate::Train, Fate::Cut { at: 89_970, bytes: 100_000 }, Fate::Train, Fate::Train]);
        }
        let whole = Choice::new(&documents, 0.1, 1, false);
        assert!(validation(&documents, &whole) < 301 && whole.cut.is_empty());
    }

    #[test]
    fn documents_that_are_equal_are_cut_alike() {
        let mut documents = documents(&[1000, 1000]);
        documents[1].hash = documents[0].hash;
        let choice = Choice::new(&documents, 0.1, 3, true);
        assert_eq!([choice.fate(0), choice.fate(1)], [Fate::Cut { at: 900, bytes: 1000 }; 2]);
        documents[1].bytes = 0;
        let choice = Choice::new(&documents, 0.1, 3, true);
        assert_eq!([choice.fate(0), choice.fate(1)], [Fate::Cut { at: 900, bytes: 1000 }; 2]);
    }

    #[test]
    fn most_documents_keep_their_side_when_others_are_added() {
        let many = documents(&[100; 4000]);
        let (before, after) = (Choice::new(&many[..2000], 0.1, 7, true), Choice::new(&many, 0.1, 7, true));
        assert_eq!((0..2000).find(|&at| before.fate(at) != after.fate(at)), None);
        assert!((0..2000).any(|at| before.fate(at) != Choice::new(&many, 0.1, 8, true).fate(at)));
    }

    #[test]
    fn a_text_is_cut_at_a_line_then_at_a_space_then_anywhere() {
        assert_eq!(cut_near("ab\ncd\nef\ngh", 7, 3), Some(6));
        assert_eq!(cut_near("ab\ncd\nef\ngh", 8, 3), Some(9));
        assert_eq!(cut_near("ab cd ef gh\n", 8, 3), Some(9));
        assert_eq!(cut_near("abcdefghij\n", 8, 3), Some(8));
        assert_eq!(cut_near("üüüüü", 5, 0), Some(4));
        assert_eq!(cut_near("a\n\n\nb\n\n", 7, 9), Some(4));
        assert_eq!(cut_near("a\n\n", 1, 9), None);
        assert_eq!(cut_near(" \n", 1, 9), None);
    }

    proptest! {
        #[test]
        fn validation_gets_about_its_share_of_the_text_and_never_nothing(
            bytes in proptest::collection::vec(prop_oneof![20u64..200, 5_000u64..90_000], 1..60),
            fraction in 0.02f64..0.95, seed: u64,
        ) {
            let documents = documents(&bytes);
            let all: u64 = bytes.iter().sum();
            prop_assume!(all as f64 * fraction >= 8.0);
            let choice = Choice::new(&documents, fraction, seed, true);
            let (share, found) = (all as f64 * fraction, validation(&documents, &choice) as f64);
            let slack = TOLERANCE * share.min(all as f64 - share);
            prop_assert!((found - share).abs() <= slack + 1.0, "{found} of {all}, share {share}");
            prop_assert_eq!(&choice, &Choice::new(&documents, fraction, seed, true));
        }

        #[test]
        fn both_parts_of_a_cut_have_text(text in "[a-zü \n]{0,30}", at in 0usize..40, slack in 0usize..20) {
            match cut_near(&text, at, slack) {
                Some(at) => prop_assert!(!text[..at].trim().is_empty() && !text[at..].trim().is_empty()),
                None => prop_assert!(text.trim().chars().count() < 2),
            }
        }
    }
}
