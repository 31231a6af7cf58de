//! Counting n-grams exactly, without storing one.
//!
//! An n-gram is its (n−1)-gram prefix followed by one token, so giving every pair (id of the prefix, token) the next free
//! id names each distinct n-gram by one `u32`. The pairs are compared in full: no hash collision
//! can change a count. A table serves one segment (hypothesis and its references) and stays small.

use std::collections::HashMap;

/// The id of the empty n-gram, the prefix of every unigram.
const EMPTY: u32 = 0;

/// Names of n-grams and their orders.
pub(crate) struct NgramTable {
    ids: HashMap<(u32, u32), u32>,
    /// `orders[id]` is the length in tokens of n-gram `id`.
    orders: Vec<usize>,
}

/// How often each n-gram of a table occurs in one text, by id; ids past the end occur zero times.
pub(crate) type Counts = Vec<u32>;

impl NgramTable {
    pub(crate) fn new() -> Self {
        NgramTable { ids: HashMap::new(), orders: vec![0] }
    }

    /// Counts all n-grams of `tokens` with 1 ≤ n ≤ `max_order`.
    pub(crate) fn count(&mut self, tokens: &[u32], max_order: usize) -> Counts {
        let mut counts = vec![0; self.orders.len()];
        // prefixes[i] is the id of the (n−1)-gram that starts at token i.
        let mut prefixes = vec![EMPTY; tokens.len()];
        for order in 1..=max_order.min(tokens.len()) {
            for (prefix, &last) in prefixes.iter_mut().zip(&tokens[order - 1..]) {
                let orders = &mut self.orders;
                let id = *self.ids.entry((*prefix, last)).or_insert_with(|| {
                    orders.push(order);
                    orders.len() as u32 - 1
                });
                counts.resize(orders.len(), 0);
                counts[id as usize] += 1;
                *prefix = id;
            }
        }
        counts
    }

    /// For each order, how many n-gram occurrences the two texts share: Σ min(`left`, `right`).
    pub(crate) fn matches(&self, left: &Counts, right: &Counts, max_order: usize) -> Vec<u64> {
        let mut matches = vec![0; max_order];
        for (id, (&a, &b)) in left.iter().zip(right).enumerate().skip(1) {
            matches[self.orders[id] - 1] += u64::from(a.min(b));
        }
        matches
    }
}

/// Raises each count of `into` to that in `other`: the union of multisets, BLEU's clip over several references.
pub(crate) fn merge_maxima(into: &mut Counts, other: &Counts) {
    if into.len() < other.len() {
        into.resize(other.len(), 0);
    }
    for (a, &b) in into.iter_mut().zip(other) {
        *a = b.max(*a);
    }
}

/// The number of n-grams of order `order` in a text of `len` tokens.
pub(crate) fn ngrams_in(len: usize, order: usize) -> u64 {
    (len + 1).saturating_sub(order) as u64
}

/// Numbers for words, equal exactly when the words are.
#[derive(Default)]
pub(crate) struct WordTable<'a> {
    ids: HashMap<&'a str, u32>,
}

impl<'a> WordTable<'a> {
    /// The number of each word.
    pub(crate) fn number(&mut self, words: impl Iterator<Item = &'a str>) -> Vec<u32> {
        words
            .map(|word| {
                let next = self.ids.len() as u32;
                *self.ids.entry(word).or_insert(next)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ngrams_match_at_most_as_often_as_both_have_them() {
        let mut table = NgramTable::new();
        let hypothesis = table.count(&[7, 7, 7, 8], 3);
        let reference = table.count(&[7, 7, 8, 9, 9], 3);
        assert_eq!(table.matches(&hypothesis, &reference, 3), [3, 2, 1]);
        assert_eq!(table.matches(&reference, &hypothesis, 3), [3, 2, 1]);
    }

    #[test]
    fn the_union_of_references_keeps_the_larger_count() {
        let mut table = NgramTable::new();
        let hypothesis = table.count(&[1, 1, 2], 1);
        let mut union = table.count(&[1, 2], 1);
        let second = table.count(&[1, 1, 1, 3], 1);
        merge_maxima(&mut union, &second);
        assert_eq!(table.matches(&hypothesis, &union, 1), [3]);
    }

    #[test]
    fn a_text_shorter_than_the_order_has_no_ngrams_of_it() {
        assert_eq!([0, 1, 2].map(|len| ngrams_in(len, 2)), [0, 0, 1]);
        assert_eq!(NgramTable::new().count(&[], 4), [0]);
    }
}
