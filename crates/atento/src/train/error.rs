//! What can go wrong with a training run.

use std::path::PathBuf;

use super::step::{NonFiniteStep, StepError};
use super::{checkpoint, metrics, recipe, report, run_dir, tensorboard};
use crate::models::config::ConfigError;
use crate::pipelines::{self, translate};
use crate::{data, eval, hub, text};

/// A training run that cannot start or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text and its masked words.
    #[error(transparent)]
    Pretrain(#[from] crate::data::pretrain::Error),
    /// Texts and their labels.
    #[error(transparent)]
    Labelled(#[from] crate::data::labelled::Error),
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] recipe::Error),
    /// The model's sizes.
    #[error("model: {0}")]
    Model(#[from] ConfigError),
    /// The data.
    #[error(transparent)]
    Data(#[from] data::Error),
    /// An output that is solved on features.
    #[error(transparent)]
    Probe(#[from] super::probe::Error),
    /// What a model makes of texts.
    #[error(transparent)]
    Texts(#[from] crate::pipelines::texts::Error),
    /// The text of a language model.
    #[error(transparent)]
    Tokens(#[from] data::tokens::Error),
    /// The tokenizer or its text.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A model directory.
    #[error(transparent)]
    Pretrained(#[from] pipelines::LoadError),
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
    Continue(#[from] crate::pipelines::continue_text::Error),
    /// Scoring them.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// A step that cannot be made.
    #[error(transparent)]
    Step(#[from] StepError),
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
    /// A whole pass over the data has given the model nothing to learn.
    #[error(
        "no batch of a whole pass over the training data had a token to predict: look at the data, and at \
         data.document_attention, which predicts nothing after an end token"
    )]
    NoTargets,
    /// Nothing but skipped updates.
    #[error(
        "step {step}: {} of {} is not finite, and the {skips} updates before were skipped for the like, as many in a row as \
         train.max_skips allows. The weights are those before them: look at the data, resume with a higher \
         train.max_skips, or begin anew with a lower optimizer.lr",
        found.tensor, found.place()
    )]
    OnlySkips {
        /// The last step that was skipped.
        step: u64,
        /// How many there were.
        skips: u64,
        /// What was found where.
        found: NonFiniteStep,
    },
    /// The weights themselves are not finite: they are neither saved nor exported.
    #[error(
        "step {step}: {what} is not finite, so the model is neither saved nor exported; earlier checkpoints are untouched: \
         begin anew with a lower optimizer.lr"
    )]
    NonFiniteWeights {
        /// The step behind which they were looked at.
        step: u64,
        /// The first of them.
        what: String,
    },
    /// A run that had checkpoints has none.
    #[error(
        "{} holds a run that came to step {step} and no checkpoint to resume from: put its directory checkpoints back (is a \
         disk not mounted?), or begin a new run with --out", run.display()
    )]
    NoCheckpoint {
        /// The run directory.
        run: PathBuf,
        /// The last step of its metrics.
        step: u64,
    },
    /// What was asked of a run that has no checkpoint cannot be read.
    #[error("{}: it says what was asked of the run, which has no checkpoint yet, and cannot be read: {problem}; begin a new run with --out", path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Where the data loader stood cannot be read.
    #[error("checkpoint {}: its place in the data, {found}, cannot be read: {problem}", path.display())]
    Cursor {
        /// The checkpoint.
        path: PathBuf,
        /// The place as it stands there.
        found: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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
                | Self::OnlySkips { .. }
                | Self::NonFiniteWeights { .. }
                | Self::Checkpoint(checkpoint::Error::Write { .. })
                | Self::RunDir(run_dir::Error::Gone { .. })
                | Self::Metrics(metrics::Error::Io { .. } | metrics::Error::Gone { .. })
                | Self::TensorBoard(_)
                | Self::Report(_)
                | Self::Scratch(_)
        )
    }
}
