//! A training loop of one's own, with what it keeps between its updates in one place.

use atento_tensor::{Grads, Params, Pool};

use super::Optimizer;
use super::recipe::OptimizerSettings;
use super::step::{StepError, StepOptions, StepStats, Trainable, train_step};

/// The optimizer, the gradients, the memory and the count of the steps of a training loop. The loop keeps the model, the
/// batches and the learning rate.
///
/// ```
/// use atento::{Learner, Pretrained};
///
/// let mut translator = Pretrained::load("tests/fixtures/conformance/marian-tiny")?;
/// let batches = [translator.batch(&[("a dog", "ein Hund"), ("a cat", "eine Katze")])?];
/// let mut learner = Learner::new(translator.model.params());
/// let before = learner.step(&mut translator.model, &batches, 1e-3)?.loss;
/// assert!(learner.step(&mut translator.model, &batches, 1e-3)?.loss < before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Learner {
    optimizer: Optimizer,
    grads: Grads,
    pool: Pool,
    options: StepOptions,
    steps: u64,
}

impl Learner {
    /// AdamW with the usual settings, for the parameters that train now: freeze the others before.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        Self::with(params, &OptimizerSettings::default(), StepOptions::default())
    }

    /// As [`Learner::new`], with settings of one's own. The learning rate of `optimizer` is not used.
    #[must_use]
    pub fn with(params: &Params, optimizer: &OptimizerSettings, options: StepOptions) -> Self {
        let (optimizer, grads) = (Optimizer::new(optimizer, params), Grads::zeros(params));
        Self { optimizer, grads, pool: Pool::new(), options, steps: 0 }
    }

    /// One update from all batches together, with learning rate `lr`.
    ///
    /// # Errors
    /// As [`train_step`]; the model and the count of steps are then what they were.
    pub fn step<M: Trainable + ?Sized>(
        &mut self,
        model: &mut M,
        batches: &[M::Batch],
        lr: f64,
    ) -> Result<StepStats, StepError> {
        let Self { optimizer, grads, pool, options, steps } = self;
        let stats = train_step(model, optimizer, grads, pool, batches, *steps + 1, lr, options)?;
        *steps += 1;
        Ok(stats)
    }

    /// Updates made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The gradients of the last step, before they were clipped.
    #[must_use]
    pub fn grads(&self) -> &Grads {
        &self.grads
    }
}
