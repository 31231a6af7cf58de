//! From a recipe's `[model]` to a model with random weights.

use std::sync::Arc;

use super::Error;
use super::memory;
use super::recipe::Recipe;
use super::workload::Making;
use crate::families::{Config, Start};
use crate::models::Translator;
use crate::pipelines::Net;
pub use crate::tasks::translation::generation_config;
use crate::text::Tokenizer;

/// The model that a recipe describes, for a tokenizer.
///
/// # Errors
/// Sizes that no model can have; a token that the model needs and the tokenizer lacks.
pub fn model_config(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Arc<dyn Config>, Error> {
    let rows = recipe.model.vocab_size.unwrap_or_else(|| tokenizer.vocab_size());
    recipe.model.arch.family().of_recipe(&recipe.model, rows, tokenizer.special())
}

/// A model with random weights decided by the recipe's seed, which have to fit into memory, or its outline.
///
/// # Errors
/// The model does something else than the task needs, or does not fit.
pub(crate) fn new_model<M: Net>(config: &Arc<dyn Config>, recipe: &Recipe, making: Making) -> Result<M, Error> {
    let build = |start| {
        M::build(config, start).ok_or_else(|| {
            let problem =
                format!("a model of this family does not what the task needs: one that {}", M::HEADS[0].does());
            Error::Setting { key: "model.arch", problem }
        })
    };
    let outline: M = build(Start::Outline)?;
    if making == Making::Outline {
        return Ok(outline);
    }
    memory::check_room(recipe, &**config, outline.params())?;
    build(Start::Random(recipe.seed))
}

/// A translator with random weights decided by the recipe's seed.
///
/// # Errors
/// As [`model_config`]; the recipe's model does not translate.
pub fn build_model(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Box<dyn Translator>, Error> {
    new_model(&model_config(recipe, tokenizer)?, recipe, Making::Weights)
}
