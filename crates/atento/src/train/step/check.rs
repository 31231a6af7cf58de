//! Whether a step can be made: what a user hands in is looked at before anything is computed.

use atento_tensor::{Grads, Params};

use super::{LossInfo, NonFiniteStep, StepOptions, TrainBatch, Trainable};
use crate::score::Fault;
use crate::train::Optimizer;

/// Why a step was not made. The weights are what they were.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The loss or a gradient is not finite.
    #[error(transparent)]
    NonFinite(#[from] NonFiniteStep),
    /// A batch that the model cannot read.
    #[error("batch {batch} (from 0): {fault}")]
    Batch {
        /// Which of the step's batches.
        batch: usize,
        /// What is wrong with it.
        fault: BatchFault,
    },
    /// The mean over no target is no number.
    #[error("none of {batches} batches has a target: there is nothing to learn from")]
    NoTargets {
        /// Batches of the step.
        batches: usize,
    },
    /// Every parameter is frozen.
    #[error("every parameter of the model is frozen: there is nothing to train")]
    NothingTrains,
    /// The optimizer or the gradients were made when other parameters trained.
    #[error(
        "the {what} are for {found} values, and the model trains {expected}: make them anew after parameters are frozen"
    )]
    OtherParameters {
        /// What does not fit.
        what: &'static str,
        /// Values that it is for.
        found: usize,
        /// Values that train.
        expected: usize,
    },
    /// A number out of range.
    #[error("{option} is {value:?}: expected {expected}")]
    OutOfRange {
        /// The option's name.
        option: &'static str,
        /// The value given.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
}

/// Why a model cannot read a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchFault {
    /// A sequence that is too long, or has a token that the model does not know.
    #[error("{part} {sequence} (from 0) {fault}")]
    Sequence {
        /// What it is, such as `source`.
        part: &'static str,
        /// Which sequence of the batch.
        sequence: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Not a target for each token.
    #[error("it has {tokens} tokens to predict from and {targets} targets, expected as many")]
    Targets {
        /// Tokens that are read.
        tokens: usize,
        /// Targets.
        targets: usize,
    },
    /// The table of cumulative lengths is not one.
    #[error("the cumulative lengths of its {part}s do not rise from 0 to its {tokens} tokens")]
    Bounds {
        /// What the sequences are, such as `source`.
        part: &'static str,
        /// Tokens of all sequences.
        tokens: usize,
    },
}

/// Packed sequences that are read by a model of this vocabulary and these positions.
///
/// # Shapes
/// `ids`: `[tokens]`; `cu_seqlens`: [sequences + 1].
///
/// # Errors
/// A sequence that is empty, too long or not of this vocabulary; cumulative lengths that are none.
pub(super) fn sequences(
    part: &'static str,
    ids: &[u32],
    cu_seqlens: &[u32],
    vocab_size: usize,
    positions: Option<usize>,
) -> Result<(), BatchFault> {
    let rise = cu_seqlens.windows(2).all(|pair| pair[0] < pair[1]);
    let ends = [cu_seqlens.first().copied(), cu_seqlens.last().copied()];
    if !rise || ends != [Some(0), Some(ids.len() as u32)] {
        return Err(BatchFault::Bounds { part, tokens: ids.len() });
    }
    for (sequence, pair) in cu_seqlens.windows(2).enumerate() {
        let fits = Fault::check_fit(&ids[pair[0] as usize..pair[1] as usize], vocab_size, positions);
        fits.map_err(|fault| BatchFault::Sequence { part, sequence, fault })?;
    }
    Ok(())
}

/// A target for each token, of this vocabulary; `cu_seqlens` is a table that [`sequences`] has found right.
///
/// # Errors
/// More or fewer; a target that is no token.
pub(super) fn targets(
    part: &'static str,
    targets: &[Option<u32>],
    cu_seqlens: &[u32],
    vocab_size: usize,
) -> Result<(), BatchFault> {
    let tokens = cu_seqlens.last().map_or(0, |&tokens| tokens as usize);
    if targets.len() != tokens {
        return Err(BatchFault::Targets { tokens, targets: targets.len() });
    }
    let Some(at) = targets.iter().position(|target| target.is_some_and(|id| id as usize >= vocab_size)) else {
        return Ok(());
    };
    let sequence = cu_seqlens.partition_point(|&bound| bound as usize <= at) - 1;
    let fault = Fault::UnknownId { id: targets[at].unwrap_or(0), vocab_size };
    Err(BatchFault::Sequence { part, sequence, fault })
}

/// Whether all that a step is made of fits together.
///
/// # Errors
/// What does not.
pub(super) fn check<M: Trainable + ?Sized>(
    model: &M,
    optimizer: &Optimizer,
    grads: &Grads,
    batches: &[M::Batch],
    step: u64,
    lr: f64,
    options: &StepOptions,
) -> Result<(), StepError> {
    numbers(step, lr, options)?;
    parameters(model.params(), optimizer, grads)?;
    for (batch, found) in batches.iter().enumerate() {
        model.check(found).map_err(|fault| StepError::Batch { batch, fault })?;
    }
    let has_target = |loss: LossInfo| loss.targets > 0;
    match batches.iter().flat_map(TrainBatch::losses).any(has_target) {
        true => Ok(()),
        false => Err(StepError::NoTargets { batches: batches.len() }),
    }
}

fn numbers(step: u64, lr: f64, options: &StepOptions) -> Result<(), StepError> {
    let StepOptions { smoothing, clip_norm, .. } = *options;
    let refuse = |option, value, expected| Err(StepError::OutOfRange { option, value, expected });
    if step == 0 {
        return refuse("step", 0.0, "1 for the first step, then 2 and so on");
    }
    if !(lr >= 0.0 && lr.is_finite()) {
        return refuse("lr", lr, "a finite number, 0 or more");
    }
    if !(0.0..=1.0).contains(&smoothing) {
        return refuse("smoothing", f64::from(smoothing), "0 (none) to 1");
    }
    if !(clip_norm >= 0.0 && clip_norm.is_finite()) {
        return refuse("clip_norm", clip_norm, "a finite number above 0, or 0 to clip nothing");
    }
    Ok(())
}

fn parameters(params: &Params, optimizer: &Optimizer, grads: &Grads) -> Result<(), StepError> {
    let expected = params.trainable_count();
    if expected == 0 {
        return Err(StepError::NothingTrains);
    }
    for (what, found) in [("optimizer's moments", optimizer.first.len()), ("gradients", grads.values.len())] {
        if found != expected {
            return Err(StepError::OtherParameters { what, found, expected });
        }
    }
    Ok(())
}
