//! The pairs that make the pieces of a BPE model, which its file does not hold, and patterns of pieces.

use std::collections::HashMap;

use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

use super::proto::{Model, PieceKind};

/// A model of the pieces, their places being their ids.
pub(in super::super) fn bpe(model: &Model, merges: Merges) -> BpeBuilder {
    let vocab: Vocab = model.pieces.iter().zip(0..).map(|(piece, id)| (piece.text.clone(), id)).collect();
    BPE::builder().vocab_and_merges(vocab, merges)
}

/// Every cut of a piece in two.
fn cuts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.char_indices().skip(1).map(|(at, _)| text.split_at(at))
}

/// The pairs of all pieces, by the ids of what they make: as the classes that read a vocabulary have them.
pub(super) fn merges_by_id(model: &Model) -> Merges {
    let ids: HashMap<&str, usize> = model.pieces.iter().map(|piece| piece.text.as_str()).zip(0..).collect();
    let is_there = |(left, right): &(&str, &str)| ids.contains_key(left) && ids.contains_key(right);
    let pairs = model.pieces.iter().flat_map(|piece| cuts(&piece.text).filter(is_there));
    pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// The pairs of normal pieces, by the scores of what they make: as SentencePiece merges them.
pub(in super::super) fn merges_by_score(model: &Model) -> Merges {
    let normal = || model.pieces.iter().enumerate().filter(|(_, piece)| piece.kind == PieceKind::Normal);
    let texts: HashMap<&str, usize> = normal().map(|(id, piece)| (piece.text.as_str(), id)).collect();
    let is_there = |(left, right): &(&str, &str)| texts.contains_key(left) && texts.contains_key(right);
    let mut ordered: Vec<_> = normal().collect();
    // The best first; of equals, the first. Scores are finite.
    ordered.sort_by(|(_, a), (_, b)| b.score.partial_cmp(&a.score).unwrap_or(std::cmp::Ordering::Equal));
    // Pairs of one piece are in the order of their left parts, and a part comes before those that begin with it.
    let pairs = ordered.into_iter().flat_map(|(_, piece)| cuts(&piece.text).filter(is_there));
    pairs.map(|(left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// A pattern that matches the text itself.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
