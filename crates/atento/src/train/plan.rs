//! What a run would do, found out without starting it: everything is checked, nothing is written.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use atento_tensor::{Grads, Pool};
use serde::Serialize;

use super::events::{format_duration, group_thousands};
use super::instruct::Instruct;
use super::language::LanguageModelling;
use super::recipe::{OptimizerKind, Recipe, Task};
use super::step::{StepOptions, Trainable, gradients};
use super::trainer::TrainOptions;
use super::translation::Translation;
use super::workload::{Begun, Workload};
use super::{Error, Optimizer};

/// Batches that are timed for the estimate, after one that is not.
const TIMED_BATCHES: usize = 2;

/// The outlook of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// All parameters.
    pub parameters: usize,
    /// Parameters that training changes.
    pub trainable: usize,
    /// Bytes of weights, gradients, moments and, where kept, the moving average.
    pub state_bytes: usize,
    /// Bytes of activations in the measured batches.
    pub activation_bytes: usize,
    /// Floating-point operations of an update, estimated as 6 per weight and token.
    pub flops_per_step: f64,
    /// Examples of the training data.
    pub examples: u64,
    /// What they are.
    pub what: &'static str,
    /// Tokens of one pass over it, of pairs those of both sides.
    pub tokens_per_epoch: u64,
    /// Updates of one pass.
    pub steps_per_epoch: u64,
    /// Updates of the whole run, unless only time limits it.
    pub steps: Option<u64>,
    /// Measured seconds of one update.
    pub seconds_per_step: f64,
    /// Estimated seconds of all updates, evaluations not counted.
    pub seconds: Option<f64>,
    /// What the data holds and what is left out.
    pub data: serde_json::Value,
    /// The same in words.
    #[serde(skip)]
    pub report: String,
}

/// Checks a recipe as [`train`](super::train()) would, measures a few gradients and estimates the rest.
///
/// # Errors
/// Whatever would keep the run from starting.
pub fn plan(recipe: &Recipe, options: &TrainOptions) -> Result<Plan, Error> {
    // Where a run would leave what it makes of its data.
    let scratch = std::env::temp_dir().join(format!("atento-plan-{}", std::process::id()));
    let plan = match recipe.task {
        Task::Translation => outlook::<Translation>(recipe, options, &scratch),
        Task::CausalLm => outlook::<LanguageModelling>(recipe, options, &scratch),
        Task::Instruct => outlook::<Instruct>(recipe, options, &scratch),
    };
    if scratch.exists() {
        // What was found out is worth more than an error about tidying up.
        let _ = std::fs::remove_dir_all(&scratch);
    }
    plan
}

fn outlook<W: Workload>(recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
    let Begun { mut recipe, work, .. } = W::begin(recipe, options, None, scratch)?;
    let model = work.model();
    let limit = recipe.train.max_epochs.replace(1);
    let (mut n_batches, mut sample) = (0_u64, Vec::new());
    for item in work.batches(&recipe, W::Cursor::default())? {
        let (batch, _) = item?;
        n_batches += 1;
        if sample.len() <= TIMED_BATCHES {
            sample.push(batch);
        }
    }
    recipe.train.max_epochs = limit;
    let train = &recipe.train;
    let pool = Pool::new();
    let mut grads = Grads::zeros(model.params());
    let step_options = StepOptions { smoothing: train.label_smoothing as f32, clip_norm: 0.0, seed: recipe.seed };
    let mut begin = Instant::now();
    for (i, batch) in sample.iter().enumerate() {
        if i == 1 {
            begin = Instant::now();
        }
        gradients(model, &mut grads, &pool, std::slice::from_ref(batch), i as u64 + 1, &step_options);
    }
    let timed = sample.len().saturating_sub(1).max(1);
    let accumulate = train.accumulate as u64;
    let seconds_per_step = begin.elapsed().as_secs_f64() / timed as f64 * accumulate as f64;
    let steps_per_epoch = n_batches.div_ceil(accumulate);
    let by_epochs = train.max_epochs.map(|epochs| epochs as u64 * steps_per_epoch);
    let steps = [train.max_steps.map(|n| n as u64), by_epochs].into_iter().flatten().min();
    let tokens_per_epoch = work.tokens_per_epoch();
    let parameters = model.params().count();
    Ok(Plan {
        parameters,
        trainable: model.params().trainable_count(),
        state_bytes: state_bytes(&recipe, &Optimizer::new(&recipe.optimizer, model.params()), parameters),
        activation_bytes: pool.stats().peak_bytes,
        flops_per_step: 6.0 * parameters as f64 * work.weighed_tokens() as f64 / steps_per_epoch.max(1) as f64,
        examples: work.examples() as u64,
        what: W::EXAMPLES,
        tokens_per_epoch,
        steps_per_epoch,
        steps,
        seconds_per_step,
        seconds: steps.map(|steps| steps as f64 * seconds_per_step),
        data: work.data_json(),
        report: work.data_report(),
    })
}

fn state_bytes(recipe: &Recipe, optimizer: &Optimizer, parameters: usize) -> usize {
    let moments = match recipe.optimizer.kind {
        OptimizerKind::Sgd => optimizer.first.len(),
        OptimizerKind::Adam | OptimizerKind::AdamW => optimizer.first.len() + optimizer.second.len(),
    };
    let average = if recipe.train.ema > 0.0 { parameters } else { 0 };
    (2 * parameters + moments + average) * size_of::<f32>()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize| group_thousands(n as u64);
        let mebibytes = |bytes: usize| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        writeln!(f, "trainable params: {} of {}", count(self.trainable), count(self.parameters))?;
        writeln!(
            f,
            "memory: {} for weights, gradients and moments, about {} for activations",
            mebibytes(self.state_bytes),
            mebibytes(self.activation_bytes)
        )?;
        writeln!(f, "work: {:.1} GFLOP an update, about {:.2} s", self.flops_per_step / 1e9, self.seconds_per_step)?;
        writeln!(
            f,
            "an epoch: {} {}, {} tokens, {} updates",
            group_thousands(self.examples),
            self.what,
            group_thousands(self.tokens_per_epoch),
            group_thousands(self.steps_per_epoch)
        )?;
        match (self.steps, self.seconds) {
            (Some(steps), Some(seconds)) => {
                let time = format_duration(std::time::Duration::from_secs_f64(seconds));
                writeln!(f, "the run: {} updates, about {time}", group_thousands(steps))?;
            }
            _ => writeln!(f, "the run: as many updates as fit into the time limit")?,
        }
        write!(f, "{}", self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_a_small_demo_counts_parameters_and_steps() {
        let overrides = ["model.d_model=16", "model.d_ff=32", "train.max_epochs=2", "tokenizer.vocab_size=400"];
        let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
        let recipe = crate::demo::recipe(std::path::Path::new("unused"), &overrides).unwrap();
        let plan = plan(&recipe, &TrainOptions::default()).unwrap();
        let tokenizer = crate::train::data::RunData::load(&recipe, None).unwrap().tokenizer;
        let config = super::super::build::transformer_config(&recipe, &tokenizer);
        assert_eq!(plan.parameters, config.unwrap().parameter_count());
        assert_eq!(plan.steps, Some(2 * plan.steps_per_epoch));
        assert_eq!(plan.state_bytes, 4 * 4 * plan.parameters);
        assert!(plan.seconds_per_step > 0.0 && plan.to_string().contains("the run: "));
    }
}
