//! Labels or values of whole texts.

use super::{Error, largest, sigmoid, softmax};
use crate::families::Head;
use crate::families::heads::Objective;
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// What a model says of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What the outputs are.
    pub logits: Vec<f32>,
    /// The probability of each label; values have none.
    pub probabilities: Option<Vec<f32>>,
    /// The numbers of the labels that it has: the likeliest, or of many labels those likelier than not.
    pub labels: Vec<usize>,
}

impl Judged {
    /// What the outputs of a text say.
    #[must_use]
    pub fn of(objective: Objective, logits: Vec<f32>) -> Self {
        let probabilities = match objective {
            Objective::Classification => Some(softmax(&logits)),
            Objective::MultiLabel => Some(logits.iter().copied().map(sigmoid).collect()),
            Objective::Regression => None,
        };
        let labels = match objective {
            Objective::Classification => vec![largest(&logits)],
            Objective::MultiLabel => (0..logits.len()).filter(|&label| logits[label] > 0.0).collect(),
            Objective::Regression => Vec::new(),
        };
        Self { logits, probabilities, labels }
    }
}

impl TextModel {
    /// What the model says of each text.
    ///
    /// # Errors
    /// It gives no labels to whole texts; logits that are not numbers.
    pub fn classify(&self, texts: &[&EncodedPair]) -> Result<Vec<Judged>, Error> {
        self.require("classify", &[Head::Labels])?;
        let rows = self.head_rows(texts, false)?;
        Ok(rows.into_iter().map(|logits| Judged::of(self.model.config.objective, logits)).collect())
    }
}
