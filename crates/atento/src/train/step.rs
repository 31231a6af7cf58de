//! One update: forward and backward over the micro-batches, clipping, and the optimiser.
//!
//! A model may have several losses. Each is the mean over *all* its targets in the step, which are counted before anything is
//! computed, times its weight; the loss of the step is their sum. A dropout mask is a function of the seed, the step
//! and a row's place among all rows of the step. So cutting a step into more micro-batches changes memory and speed,
//! never the update (beyond the rounding of sums). A micro-batch without a target takes its place and is not computed.

mod check;
mod headed;
pub(crate) use headed::loss_of;

use std::path::Path;

use atento_kernels::philox;
use atento_kernels::threads::within;
use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Grads, Graph, Params, Pool};

use super::Optimizer;
use super::recipe::Precision;
use crate::data::batches::PackedBatch;
use crate::data::tokens::CausalBatch;
use crate::models::virtual_tokens::prompt_rows;
use crate::models::{CausalLm, Translator};
use crate::pipelines::{self, load_frozen};

pub use check::{BatchFault, StepError};

/// A model that learns from batches of its kind.
pub trait Trainable: Send + Sync {
    /// What it learns from at once.
    type Batch: TrainBatch + Send + Sync + 'static;

    /// All parameters.
    fn params(&self) -> &Params;

    /// All parameters, to be changed.
    fn params_mut(&mut self) -> &mut Params;

    /// Gives the frozen parameters the values that they have in a model's directory, mapped where that can be.
    ///
    /// # Errors
    /// The directory cannot be read, or holds another model.
    fn load_frozen(&mut self, base: &Path) -> Result<(), pipelines::LoadError>;

    /// Whether the model can read a batch.
    ///
    /// # Errors
    /// What keeps it from that.
    fn check(&self, _batch: &Self::Batch) -> Result<(), BatchFault> {
        Ok(())
    }

    /// Rows of each side that are processed, as [`Graph::set_rows_before`] counts them: tokens, and the prompts before them.
    fn rows(&self, batch: &Self::Batch) -> [usize; 2] {
        batch.rows()
    }

    /// The losses of a batch, in the order of [`TrainBatch::losses`], each scaled by its own of `scales`; see
    /// [`Graph::cross_entropy`] for `smoothing` and scale.
    fn losses(&self, g: &mut Graph<'_>, batch: &Self::Batch, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy>;
}

/// A loss of a batch, as far as it is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossInfo {
    /// What it is called, such as `next token`.
    pub name: &'static str,
    /// How many targets the batch has for it.
    pub targets: usize,
    /// Its share of the loss of a step.
    pub weight: f32,
}

/// What the loop has to know of a batch.
pub trait TrainBatch {
    /// Its losses, the same of every batch and in the same order; a loss without a target in the batch is there too.
    fn losses(&self) -> Vec<LossInfo>;

    /// Targets of all losses.
    fn targets(&self) -> usize {
        self.losses().iter().map(|loss| loss.targets).sum()
    }

    /// Tokens of each side that are processed.
    fn rows(&self) -> [usize; 2];

    /// Tokens that are processed.
    fn tokens(&self) -> usize {
        self.rows().into_iter().sum()
    }

    /// Where its examples are found in the training data, counted from 1.
    fn samples(&self) -> Vec<u64>;
}

impl<M: Trainable + ?Sized> Trainable for Box<M> {
    type Batch = M::Batch;

    fn params(&self) -> &Params {
        (**self).params()
    }

    fn params_mut(&mut self) -> &mut Params {
        (**self).params_mut()
    }

    fn load_frozen(&mut self, base: &Path) -> Result<(), pipelines::LoadError> {
        (**self).load_frozen(base)
    }

    fn check(&self, batch: &M::Batch) -> Result<(), BatchFault> {
        (**self).check(batch)
    }

    fn rows(&self, batch: &M::Batch) -> [usize; 2] {
        (**self).rows(batch)
    }

    fn losses(&self, g: &mut Graph<'_>, batch: &M::Batch, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy> {
        (**self).losses(g, batch, smoothing, scales)
    }
}

impl Trainable for dyn Translator + '_ {
    type Batch = PackedBatch;

    fn params(&self) -> &Params {
        self.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.params_mut()
    }

    fn load_frozen(&mut self, base: &Path) -> Result<(), pipelines::LoadError> {
        load_frozen(&*self.config(), self.params_mut(), base)
    }

    fn check(&self, batch: &PackedBatch) -> Result<(), BatchFault> {
        let (vocab_size, positions) = (self.vocab_size(), self.max_positions());
        check::sequences("source", &batch.source, &batch.cu_source, vocab_size, positions)?;
        check::sequences("target", &batch.target_input, &batch.cu_target, vocab_size, positions)?;
        let targets: Vec<Option<u32>> = batch.target_output.iter().copied().map(Some).collect();
        check::targets("target", &targets, &batch.cu_target, vocab_size)?;
        match batch.cu_source.len() == batch.cu_target.len() {
            true => Ok(()),
            false => Err(BatchFault::Bounds { part: "target", tokens: batch.target_input.len() }),
        }
    }

    fn losses(&self, g: &mut Graph<'_>, batch: &PackedBatch, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy> {
        vec![self.loss(g, batch, smoothing, scales[0])]
    }
}

impl TrainBatch for PackedBatch {
    fn losses(&self) -> Vec<LossInfo> {
        vec![LossInfo { name: "next token", targets: self.target_tokens(), weight: 1.0 }]
    }

    fn rows(&self) -> [usize; 2] {
        [self.source_tokens(), self.target_tokens()]
    }

    fn samples(&self) -> Vec<u64> {
        self.ids.iter().map(|id| id + 1).collect()
    }
}

impl Trainable for dyn CausalLm + '_ {
    type Batch = CausalBatch;

    fn params(&self) -> &Params {
        self.params()
    }

    fn params_mut(&mut self) -> &mut Params {
        self.params_mut()
    }

    fn load_frozen(&mut self, base: &Path) -> Result<(), pipelines::LoadError> {
        load_frozen(&*self.config(), self.params_mut(), base)
    }

    fn check(&self, batch: &CausalBatch) -> Result<(), BatchFault> {
        let (vocab_size, positions) = (self.vocab_size(), self.max_positions());
        check::sequences("sequence", &batch.ids, &batch.cu_seqlens, vocab_size, Some(positions))?;
        check::targets("sequence", &batch.targets, &batch.cu_seqlens, vocab_size)
    }

    fn rows(&self, batch: &CausalBatch) -> [usize; 2] {
        [batch.ids.len() + prompt_rows(self.params(), &batch.cu_seqlens), 0]
    }

    fn losses(&self, g: &mut Graph<'_>, batch: &CausalBatch, smoothing: f32, scales: &[f32]) -> Vec<CrossEntropy> {
        vec![self.loss(g, &batch.ids, &batch.cu_seqlens, &batch.targets, smoothing, scales[0])]
    }
}

impl TrainBatch for CausalBatch {
    fn losses(&self) -> Vec<LossInfo> {
        vec![LossInfo { name: "next token", targets: self.predictions(), weight: 1.0 }]
    }

    fn rows(&self) -> [usize; 2] {
        [self.ids.len(), 0]
    }

    fn samples(&self) -> Vec<u64> {
        self.samples.iter().map(|sample| sample + 1).collect()
    }
}

/// What one step measured.
#[derive(Clone, Copy, Debug)]
pub struct StepStats {
    /// The sum of the mean smoothed losses of a target, each times its weight, in nats.
    pub loss: f64,
    /// The same of the negative log-likelihoods.
    pub nll: f64,
    /// Norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Tokens processed: of a translation, those of both sides.
    pub tokens: usize,
}

/// The numbers that decide a step besides its data.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions {
    /// Label smoothing ε.
    pub smoothing: f32,
    /// Largest gradient norm; 0 does not clip.
    pub clip_norm: f64,
    /// The run's seed; with `step` it decides every dropout mask.
    pub seed: u64,
    /// How products with weights are computed, forward and backward. Everything else is f32.
    pub precision: Precision,
}

impl Default for StepOptions {
    /// No smoothing; the gradient's norm is clipped to 1; all in f32.
    fn default() -> Self {
        Self { smoothing: 0.0, clip_norm: 1.0, seed: 0, precision: Precision::F32 }
    }
}

/// Where a step went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tensor} of {} is not finite", self.place())]
pub struct NonFiniteStep {
    /// What is not finite: an op's output, or a parameter's gradient.
    pub tensor: String,
    /// The module it belongs to.
    pub layer: String,
    /// The examples of the micro-batch, by their place in the training data from 1: lines of pairs, tokens of windows.
    pub samples: Vec<u64>,
}

impl NonFiniteStep {
    /// The layer, or the whole model where no layer is to blame.
    #[must_use]
    pub fn place(&self) -> &str {
        if self.layer.is_empty() { "the model" } else { &self.layer }
    }

    /// The places of the batch's examples, the first twenty of them.
    #[must_use]
    pub fn lines(&self) -> String {
        let shown: Vec<String> = self.samples.iter().take(20).map(u64::to_string).collect();
        let more = self.samples.len().saturating_sub(20);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{rest}", shown.join(", "))
    }
}

/// Computes the gradient of one step into `grads` (cleared first); returns its loss and negative log-likelihood.
///
/// # Panics
/// If no batch has a target: the mean over none is no number; if the model cannot read a batch ([`Trainable::check`]) or the
/// gradients are those of other parameters. [`train_step`] refuses all of these.
pub fn gradients<M: Trainable + ?Sized>(
    model: &M,
    grads: &mut Grads,
    pool: &Pool,
    batches: &[M::Batch],
    step: u64,
    options: &StepOptions,
) -> (f64, f64) {
    let pool = &pool.in_precision(options.precision.of_products());
    grads.values.fill(0.0);
    let totals = totals(batches);
    let scales: Vec<f32> = totals.iter().map(scale).collect();
    assert!(totals.iter().any(|total| total.targets > 0), "gradients: no target in {} batches", batches.len());
    let mut sums = vec![(0.0, 0.0); totals.len()];
    for (batch, before) in with_rows_before(model, batches).filter(|(batch, _)| batch.targets() > 0) {
        let mut g = Graph::train(model.params(), grads, pool, dropout_seed(options.seed, step));
        g.set_rows_before(before);
        let measured = model.losses(&mut g, batch, options.smoothing, &scales);
        g.backward_all(measured.iter().map(|one| &one.loss));
        for (sum, one) in sums.iter_mut().zip(&measured) {
            *sum = (sum.0 + one.loss_sum, sum.1 + one.nll_sum);
        }
    }
    let mean = |of: fn(&(f64, f64)) -> f64| {
        let losses = totals.iter().zip(&sums).filter(|(total, _)| total.targets > 0);
        losses.map(|(total, sum)| f64::from(total.weight) * of(sum) / total.targets as f64).sum()
    };
    (mean(|sum| sum.0), mean(|sum| sum.1))
}

/// The losses of all batches together.
fn totals<B: TrainBatch>(batches: &[B]) -> Vec<LossInfo> {
    let mut totals: Vec<LossInfo> = Vec::new();
    for losses in batches.iter().map(TrainBatch::losses) {
        match totals.is_empty() {
            true => totals = losses,
            false => totals.iter_mut().zip(losses).for_each(|(total, loss)| total.targets += loss.targets),
        }
    }
    totals
}

/// What the sum of a loss is multiplied by.
fn scale(total: &LossInfo) -> f32 {
    if total.targets == 0 { 0.0 } else { total.weight / total.targets as f32 }
}

/// Computes gradients and updates the model, unless something is not finite: then nothing has changed but `grads`. `step`
/// counts from 1. [`Learner`](super::Learner) keeps what is the same in every step.
///
/// # Errors
/// Names the first value that is not finite; batches, gradients, an optimizer or numbers that do not fit the model.
pub fn train_step<M: Trainable + ?Sized>(
    model: &mut M,
    optimizer: &mut Optimizer,
    grads: &mut Grads,
    pool: &Pool,
    batches: &[M::Batch],
    step: u64,
    lr: f64,
    options: &StepOptions,
) -> Result<StepStats, StepError> {
    check::check(model, optimizer, grads, batches, step, lr, options)?;
    within(|| {
        let (loss, nll) = gradients(model, grads, pool, batches, step, options);
        let grad_norm = optimizer.gradient_norm(grads, step);
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(locate(model, grads, pool, batches, step, options).into());
        }
        let clip = options.clip_norm > 0.0 && grad_norm > options.clip_norm;
        let scale = if clip { (options.clip_norm / grad_norm) as f32 } else { 1.0 };
        optimizer.step(model.params_mut(), grads, lr, step, scale);
        let tokens = batches.iter().map(TrainBatch::tokens).sum();
        Ok(StepStats { loss, nll, grad_norm, tokens })
    })
}

/// Runs the step again, micro-batch by micro-batch, watching every op.
fn locate<M: Trainable + ?Sized>(
    model: &M,
    grads: &mut Grads,
    pool: &Pool,
    batches: &[M::Batch],
    step: u64,
    options: &StepOptions,
) -> NonFiniteStep {
    let pool = &pool.in_precision(options.precision.of_products());
    for (batch, before) in with_rows_before(model, batches).filter(|(batch, _)| batch.targets() > 0) {
        let samples = batch.samples();
        grads.values.fill(0.0);
        let mut g = Graph::train(model.params(), grads, pool, dropout_seed(options.seed, step));
        g.set_rows_before(before);
        g.check_finite();
        let scales: Vec<f32> = batch.losses().iter().map(scale).collect();
        let measured = model.losses(&mut g, batch, options.smoothing, &scales);
        if let Some(found) = g.non_finite() {
            return NonFiniteStep { tensor: format!("output of {}", found.op), layer: found.module.clone(), samples };
        }
        g.backward_all(measured.iter().map(|one| &one.loss));
        drop(g);
        if let Some(entry) =
            grads.values.iter().position(|v| !v.is_finite()).and_then(|position| model.params().entry_at(position))
        {
            let layer = entry.name.rsplit_once('.').map_or("", |(module, _)| module).to_owned();
            return NonFiniteStep { tensor: format!("gradient of {}", entry.name), layer, samples };
        }
    }
    let samples = batches.iter().flat_map(TrainBatch::samples).collect();
    NonFiniteStep {
        tensor: "gradient norm (every gradient is finite, their squares overflow)".into(),
        layer: String::new(),
        samples,
    }
}

/// Each batch with the rows that lie before its own in the step.
fn with_rows_before<'b, M: Trainable + ?Sized>(
    model: &'b M,
    batches: &'b [M::Batch],
) -> impl Iterator<Item = (&'b M::Batch, [u64; 2])> {
    batches.iter().scan([0; 2], |before, batch| {
        let [first, second] = *before;
        let [rows, other_rows] = model.rows(batch).map(|rows| rows as u64);
        *before = [first + rows, second + other_rows];
        Some((batch, [first, second]))
    })
}

/// A seed for each (run, step).
fn dropout_seed(seed: u64, step: u64) -> u64 {
    let [a, b, _, _] = philox::block(philox::key(seed), philox::counter(step, 0));
    u64::from(a) << 32 | u64::from(b)
}

#[cfg(test)]
mod tests;
