//! Packed texts with what a head should make of them.

use crate::models::Texts;

/// A batch of texts without padding, for a model with a head.
///
/// # Shapes
/// - `ids`, `type_ids`: `[tokens]`
/// - `cu_seqlens`: `[texts + 1]`
/// - `samples`: one for each example, of which several texts may be one
#[derive(Clone, Debug, PartialEq)]
pub struct TextBatch {
    /// All tokens.
    pub ids: Vec<u32>,
    /// Which of two texts each token is of.
    pub type_ids: Vec<u32>,
    /// Where each text begins, and the total.
    pub cu_seqlens: Vec<u32>,
    /// What the head should make of them.
    pub goal: Goal,
    /// Where each example stands in its file, counted from 0.
    pub samples: Vec<u64>,
}

/// What a head should make of the texts of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// A label of each text, and the factor on its loss.
    Labels {
        /// `[texts]`
        labels: Vec<u32>,
        /// `[texts]`
        weights: Vec<f32>,
    },
    /// For each text and label whether it has that label, 0 or 1: [texts, labels].
    ManyLabels(Vec<f32>),
    /// The values of each text: [texts, outputs].
    Values(Vec<f32>),
    /// Labels of tokens: the rows that count, and their labels.
    Tags {
        /// Rows of the batch.
        rows: Vec<u32>,
        /// `[rows]`
        labels: Vec<u32>,
    },
    /// The first and the last token of each text's answer, counted within the text.
    Spans(Vec<[u32; 2]>),
    /// Which of several texts, which lie behind one another, is to be chosen.
    Choices {
        /// How many texts each choice is among.
        counts: Vec<u32>,
        /// Which one it is, from 0.
        chosen: Vec<u32>,
    },
    /// Words of masked tokens, and perhaps whether the second half of each text follows the first.
    Words {
        /// Rows of the batch.
        rows: Vec<u32>,
        /// `[rows]`, the word that stood there.
        words: Vec<u32>,
        /// `[texts]`, 0 where it follows and 1 where it does not, as BERT numbers them.
        next: Option<Vec<u32>>,
    },
}

/// A text as a model reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Which of two texts each is of.
    pub type_ids: Vec<u32>,
}

impl TextBatch {
    /// The texts, as a Transformer reads them.
    #[must_use]
    pub fn as_texts(&self) -> Texts<'_> {
        Texts { ids: &self.ids, type_ids: Some(&self.type_ids), cu_seqlens: &self.cu_seqlens }
    }

    /// Texts behind one another.
    #[must_use]
    pub fn pack<'t>(texts: impl IntoIterator<Item = &'t Text>, goal: Goal, samples: Vec<u64>) -> Self {
        let mut batch = Self { ids: Vec::new(), type_ids: Vec::new(), cu_seqlens: vec![0], goal, samples };
        for text in texts {
            batch.ids.extend(&text.ids);
            batch.type_ids.extend(&text.type_ids);
            batch.cu_seqlens.push(batch.ids.len() as u32);
        }
        batch
    }

    /// How many texts there are.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.cu_seqlens.len() - 1
    }
}
