//! What can go wrong with a training run.

use super::step::NonFiniteStep;
use super::{checkpoint, metrics, recipe, report, run_dir, tensorboard};
use crate::models::config::ConfigError;
use crate::{data, eval, hub, pretrained, text, translate};

/// A training run that cannot start or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    /// The model's sizes.
    #[error("model: {0}")]
    Model(#[from] ConfigError),
    /// The data.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// The text of a language model.
    #[error(transparent)]
    Tokens(#[from] data::tokens::Error),
    /// The tokenizer or its text.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A model directory.
    #[error(transparent)]
    Pretrained(#[from] pretrained::Error),
    /// A file of a model directory.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// The run directory.
    #[error(transparent)]
    RunDir(#[from] run_dir::Error),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The log of metrics.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    /// TensorBoard's event file.
    #[error(transparent)]
    TensorBoard(#[from] tensorboard::Error),
    /// The report page.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// Translating validation sentences.
    #[error(transparent)]
    Translate(#[from] translate::Error),
    /// Continuing validation text.
    #[error(transparent)]
    Continue(#[from] crate::continue_text::Error),
    /// Scoring them.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// The loss or a gradient is not finite.
    #[error(
        "step {step}: {} of {} is not finite; the batch holds examples {} of the data (lines of pairs, tokens of text). The weights are those of step {}: look at \
         these, resume with train.on_non_finite = \"skip\", or begin anew with a lower optimizer.lr",
        found.tensor, found.place(), found.lines(), step - 1
    )]
    NonFinite {
        /// The step that failed.
        step: u64,
        /// What was found where.
        found: NonFiniteStep,
    },
    /// A checkpoint belongs to another run.
    #[error(
        "`{key}` was {found} when {path} was saved and is {expected} now, which would make it another run: put it back, or \
         begin a new run with --out, from this one's model with --from"
    )]
    OtherRun {
        /// The checkpoint.
        path: String,
        /// The dotted key of what differs.
        key: String,
        /// Its value in the checkpoint.
        found: String,
        /// Its value in the recipe.
        expected: String,
    },
    /// The training or validation data is not what it was.
    #[error(
        "the training or validation data is not what it was when {path} was saved, which would make it another run: put it \
         back, or begin a new run with --out, from this one's model with --from"
    )]
    OtherData {
        /// The checkpoint.
        path: String,
    },
    /// The run would need more memory than there is.
    #[error(transparent)]
    Memory(#[from] crate::memory::TooLarge),
    /// A folder for what is only looked at could not be made.
    #[error("cannot make a temporary folder: {0}")]
    Scratch(std::io::Error),
    /// Someone asked the run to stop while it measured something.
    #[error("stopped")]
    Stopped,
    /// What went wrong after the first step.
    #[error(transparent)]
    Midway(Box<Error>),
    /// A setting that does not fit what was found.
    #[error("`{key}`: {problem}")]
    Setting {
        /// The dotted key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Error {
    /// Whether the command, the recipe or the data was wrong, rather than the run having failed midway.
    #[must_use]
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::Midway(_)
                | Self::NonFinite { .. }
                | Self::Checkpoint(checkpoint::Error::Write { .. })
                | Self::Metrics(metrics::Error::Io { .. })
                | Self::TensorBoard(_)
                | Self::Report(_)
                | Self::Scratch(_)
        )
    }
}
