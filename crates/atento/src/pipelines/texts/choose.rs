//! One of several texts that may follow a first one.

use super::{Error, largest, softmax};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// What a model says of several choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The likeliest one.
    pub choice: usize,
    /// The probability of each.
    pub probabilities: Vec<f32>,
    /// What the output is for each.
    pub logits: Vec<f32>,
}

impl Choice {
    /// What the outputs of several choices say.
    #[must_use]
    pub fn of(logits: Vec<f32>) -> Self {
        Self { choice: largest(&logits), probabilities: softmax(&logits), logits }
    }
}

impl TextModel {
    /// What the model says of each list of choices, each choice a pair of the prompt and itself.
    ///
    /// # Errors
    /// It does not choose; a list without a choice; logits that are not numbers.
    pub fn choose(&self, lists: &[&[EncodedPair]]) -> Result<Vec<Choice>, Error> {
        self.require("choose", &[Head::Choice])?;
        if lists.iter().any(|list| list.is_empty()) {
            return Err(Error::Empty);
        }
        let all: Vec<&EncodedPair> = lists.iter().flat_map(|list| list.iter()).collect();
        let mut logits = self.head_rows(&all, false)?.into_iter().map(|row| row[0]);
        Ok(lists.iter().map(|list| Choice::of(logits.by_ref().take(list.len()).collect())).collect())
    }
}
