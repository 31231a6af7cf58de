//! Labels of tokens, and the entities that they make.
//!
//! A word has the label of its first token. Words are joined to an entity as their labels say: `B-X` begins one, `I-X` goes on
//! with one of the same kind (or begins it), labels without such a prefix go on with the same label, and `O` is no entity
//! (Tjong Kim Sang & De Meulder 2003).

use super::{Error, largest, softmax};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// What a model says of the tokens of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// What the outputs are for each token, those around the text included.
    pub logits: Vec<Vec<f32>>,
    /// What the labels make of the text.
    pub entities: Vec<Entity>,
}

/// A stretch of a text with one label.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The label, without `B-` and `I-`.
    pub label: String,
    /// The first of its characters.
    pub start: usize,
    /// The first character behind it.
    pub end: usize,
    /// The mean probability of the labels of its words.
    pub score: f32,
}

/// A label apart from its place in an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'l> {
    /// Outside of entities.
    Outside,
    /// The first word of an entity.
    Begin(&'l str),
    /// A word of an entity.
    Inside(&'l str),
}

/// What a label says of a word's place.
#[must_use]
pub fn place(label: &str) -> Place<'_> {
    match label.split_once('-') {
        _ if label == "O" => Place::Outside,
        Some(("B" | "S" | "U", kind)) => Place::Begin(kind),
        Some(("I" | "E" | "L" | "M", kind)) => Place::Inside(kind),
        _ => Place::Inside(label),
    }
}

/// A word of a text with its label.
struct TaggedWord {
    label: usize,
    probability: f32,
    start: usize,
    end: usize,
}

impl TextModel {
    /// What the model says of the tokens of each text.
    ///
    /// # Errors
    /// It gives no labels to tokens; logits that are not numbers.
    pub fn tag(&self, texts: &[&EncodedPair]) -> Result<Vec<Tagged>, Error> {
        self.require("tag", &[Head::Tags])?;
        let labels = &self.model.config.labels;
        let rows = self.head_rows(texts, true)?;
        let tagged = |(text, row): (&&EncodedPair, &Vec<f32>)| {
            let logits: Vec<Vec<f32>> = row.chunks(labels.len()).map(<[f32]>::to_vec).collect();
            let entities = entities(&words(text, &logits), labels);
            Tagged { logits, entities }
        };
        Ok(texts.iter().zip(&rows).map(tagged).collect())
    }
}

/// The words of a text, each with the label of its first token.
fn words(text: &EncodedPair, logits: &[Vec<f32>]) -> Vec<TaggedWord> {
    let mut words: Vec<TaggedWord> = Vec::new();
    let mut last = None;
    for (at, logits) in logits.iter().enumerate() {
        let Some(word) = text.word_ids[at] else { continue };
        let (start, end) = text.offsets[at];
        match words.last_mut() {
            Some(open) if last == Some(word) => open.end = open.end.max(end),
            _ => {
                let label = largest(logits);
                words.push(TaggedWord { label, probability: softmax(logits)[label], start, end });
            }
        }
        last = Some(word);
    }
    words
}

fn entities(words: &[TaggedWord], labels: &[String]) -> Vec<Entity> {
    let mut found: Vec<(Entity, f32)> = Vec::new();
    let mut is_open = false;
    for word in words {
        let (kind, begins) = match place(&labels[word.label]) {
            Place::Outside => {
                is_open = false;
                continue;
            }
            Place::Begin(kind) => (kind, true),
            Place::Inside(kind) => (kind, false),
        };
        match found.last_mut() {
            Some((entity, count)) if is_open && !begins && entity.label == kind => {
                entity.end = word.end;
                entity.score += word.probability;
                *count += 1.0;
            }
            _ => {
                let (label, start, end, score) = (kind.to_owned(), word.start, word.end, word.probability);
                found.push((Entity { label, start, end, score }, 1.0));
            }
        }
        is_open = true;
    }
    found.into_iter().map(|(entity, count)| Entity { score: entity.score / count, ..entity }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_begin_and_go_on_as_their_labels_say() {
        let labels = ["O", "B-PER", "I-PER", "I-LOC"].map(str::to_owned);
        let of = |sequence: &[usize]| {
            let word = |(at, &label): (usize, &usize)| {
                let start = 4 * at;
                TaggedWord { label, probability: 0.5 + 0.25 * (at % 2) as f32, start, end: start + 3 }
            };
            let words: Vec<TaggedWord> = sequence.iter().enumerate().map(word).collect();
            entities(&words, &labels).into_iter().map(|e| (e.label, e.start, e.end, e.score)).collect::<Vec<_>>()
        };
        let (per, loc) = (|| "PER".to_owned(), || "LOC".to_owned());
        assert_eq!(of(&[0, 1, 2, 0, 3]), [(per(), 4, 11, 0.625), (loc(), 16, 19, 0.5)]);
        assert_eq!(of(&[1, 1]), [(per(), 0, 3, 0.5), (per(), 4, 7, 0.75)]);
        assert_eq!(of(&[2, 3]), [(per(), 0, 3, 0.5), (loc(), 4, 7, 0.75)]);
        assert_eq!(of(&[1, 0, 2]), [(per(), 0, 3, 0.5), (per(), 8, 11, 0.5)]);
        assert_eq!(of(&[0]), []);
    }
}
