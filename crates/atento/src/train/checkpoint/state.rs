//! What a run remembers besides its arrays.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::families::ModelConfig;
use crate::train::early_stopping::EarlyStopping;
use crate::train::exact;
use crate::train::schedule::PlateauState;

/// The progress of a run. Random numbers need no place here: they follow from the seed and the step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// The seed from which all random numbers follow.
    pub seed: u64,
    /// Updates made.
    pub step: u64,
    /// Whole passes over the training data.
    pub epoch: u64,
    /// Target tokens trained on.
    pub tokens: u64,
    /// Batches already summed into the gradient of the next update; the sum is one of the arrays.
    pub accumulated: u64,
    /// Updates left out because something was not finite.
    pub skipped: u64,
    /// Batches that had nothing to predict.
    pub without_targets: u64,
    /// How many of them came without an update in between, the last step's among them.
    pub skipped_in_a_row: u64,
    /// Seconds of training, pauses not counted.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// What the learning-rate schedule remembers.
    pub schedule: PlateauState,
    /// The best evaluation and how long ago it was.
    pub early_stopping: EarlyStopping,
    /// Where the data loader stands, in its own words.
    pub cursor: serde_json::Value,
    /// The step of the last evaluation.
    pub evaluated: Option<u64>,
    /// Whether the recipe asked for this checkpoint, rather than someone who stopped the run here.
    pub regular: bool,
    /// What happened since the last line of the log.
    pub window: LogWindow,
    /// What the run is.
    pub identity: Identity,
}

/// The steps that the next line of the log is about.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LogWindow {
    /// Updates.
    pub steps: u32,
    /// The sum of their losses: the plain cross-entropies, as validation has them.
    #[serde(with = "exact")]
    pub loss: f64,
    /// The sum of what was minimised: the same with label smoothing and the weights of labels.
    #[serde(with = "exact")]
    pub objective: f64,
    /// Their tokens.
    pub tokens: usize,
    /// The seconds they took.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// The norm of the last one's gradient.
    #[serde(with = "exact")]
    pub grad_norm: f64,
    /// The learning rate of the last one.
    #[serde(with = "exact")]
    pub lr: f64,
}

/// What a run is, whatever becomes of its recipe's file and of the model it started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Its recipe, resolved, as TOML.
    pub recipe: String,
    /// The model that is trained.
    pub model: ModelConfig,
    /// The model directory whose weights and tokenizer it started with.
    pub from: Option<PathBuf>,
    /// What tells the model directory's contents from others, where frozen weights are read from it.
    pub base: Option<String>,
    /// What tells the files in the run's `base/` from others, where it has that.
    pub kept: Option<String>,
    /// What tells its training and validation data from other data.
    pub data: String,
}
