//! What a run is asked besides its recipe.

use super::Error;
use super::recipe::{Recipe, Written};

/// What a run is asked besides its recipe. By default it is a new run of a recipe that was built in code.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Continue the run in the run directory.
    pub resume: bool,
    /// What the recipe states, as [`Loaded`](super::recipe::Loaded) has it: of a model that exists it must be true, and
    /// what is not stated is the model's or follows what is. Without it, every setting is as it is meant; where there is a
    /// model to start from, those that differ from their defaults are stated.
    pub written: Written,
}

impl TrainOptions {
    /// Whether the recipe states a dotted key; of a recipe that was built in code every setting is as it is meant.
    pub(crate) fn is_stated(&self, key: &str) -> bool {
        self.written.is_empty() || self.written.contains_key(key)
    }

    /// The same, with what a recipe states.
    pub(super) fn of(&self, recipe: &Recipe) -> Result<Self, Error> {
        let is_built_in_code = self.written.is_empty() && recipe.from.is_some();
        let written = if is_built_in_code { recipe.stated()? } else { self.written.clone() };
        Ok(Self { resume: self.resume, written })
    }
}
