//! What of each example is learned, to look at before training.

use std::path::Path;

use serde::Serialize;

use super::run::Instruct;
use crate::data::tokens::instruct::MaskedPiece;
use crate::train::Error;
use crate::train::TrainOptions;
use crate::train::recipe::Recipe;
use crate::train::workload::{Begun, Making, Workload};

/// An example as the model gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownExample {
    /// Its number in the training data, from 1.
    pub example: u64,
    /// Its tokens, the end token counted.
    pub tokens: usize,
    /// Its text, cut where learning begins or ends.
    pub pieces: Vec<MaskedPiece>,
}

/// Examples from all over the training data, as a run would learn from them; at most `count`.
///
/// # Errors
/// Whatever would keep the run from starting.
pub(super) fn show(recipe: &Recipe, options: &TrainOptions, count: usize) -> Result<Vec<ShownExample>, Error> {
    let Begun { work, .. } = Instruct::begin(recipe, options, None, Path::new(""), Making::Outline)?;
    let show = |at: usize| {
        let example = &work.train.examples()[at];
        let pieces = work.train.show_masks(at)?;
        Ok(ShownExample { example: example.id + 1, tokens: example.ids.len(), pieces })
    };
    work.train.spread(count).map(show).collect()
}
