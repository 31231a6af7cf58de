//! What a run would take, found out from its recipe and its data: nothing is trained, and nothing is written.

use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use atento_kernels::matmul::packed::usable_unit;
use atento_kernels::matmul::{Mat, MatMut, gemm_in};
use serde::Serialize;

use super::TrainOptions;
use super::adapt::{self, new_adapter};
use super::checkpoint::{Checkpoint, Checkpoints, Found};
use super::events::{format_duration, group_thousands};
use super::fit::{Computed, Facts, fit, still_rises};
use super::freeze::Frozen;
use super::recipe::{Precision, Recipe, Written};
use super::report::grouped;
use super::request::Request;
use super::run_dir::{CHECKPOINTS, Mode, RunDir};
use super::step::Trainable;
use super::workload::{Begun, Making, Workload};
use super::{Error, checkpoint, memory, precision, resume};
use crate::memory::{free, in_words};

/// How long the speed of a matrix product is measured.
const MEASURED: Duration = Duration::from_millis(60);
/// The share of that speed which a training step reaches: not all of it is products.
const SHARE: f64 = 0.6;

/// The outlook of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// All parameters.
    pub parameters: usize,
    /// Parameters that training changes.
    pub trainable: usize,
    /// Bytes of weights, gradients, moments and, where kept, the moving average.
    pub state_bytes: u64,
    /// Estimated bytes of the activations of a batch.
    pub activation_bytes: u64,
    /// Bytes of memory that are free here, where the system says.
    pub free_bytes: Option<u64>,
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
    /// Updates that are done already, where the run is to go on.
    pub done: u64,
    /// Estimated seconds of one update, from the speed of a matrix product here.
    pub seconds_per_step: f64,
    /// How products are computed.
    pub precision: Precision,
    /// By what factor products in bf16 are faster here, measured where the run has them in f32 and the processor has a unit for them.
    pub bf16_gain: Option<f64>,
    /// Estimated seconds of all updates to come, evaluations not counted.
    pub seconds: Option<f64>,
    /// Settings that nobody stated and that follow from the data and the limits, with their reasons.
    pub computed: Vec<Computed>,
    /// What the data holds and what is left out.
    pub data: serde_json::Value,
    /// The same in words.
    #[serde(skip)]
    pub report: String,
    /// What the user should know.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Checks a recipe as [`train`](super::train()) would, whatever the size of its model, and estimates what the run takes:
/// by arithmetic, without the model, its gradients or a batch.
///
/// # Errors
/// Whatever would keep the run from starting, but that it needs more memory than there is.
pub fn plan(recipe: &Recipe, options: &TrainOptions) -> Result<Plan, Error> {
    plan_in(recipe, options, |_| ())
}

/// [`plan`] for a program that may be stopped: `begun` is told the folder of what is made of the data. It is removed in
/// the end, and whoever ends the program before should remove it.
///
/// # Errors
/// As [`plan`].
pub fn plan_in(recipe: &Recipe, options: &TrainOptions, begun: impl FnOnce(&Path)) -> Result<Plan, Error> {
    let scratch = tempfile::tempdir().map_err(Error::Scratch)?;
    begun(scratch.path());
    precision::check(recipe.train.precision)?;
    recipe.task.plan(recipe, &options.of(recipe)?, scratch.path())
}

/// The outlook of a run; `scratch` is where it leaves what a run would make of its data.
pub(crate) fn outlook<W: Workload>(recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
    let (Found { checkpoint, warnings }, recipe) = match options.resume {
        true => resumed(recipe, &options.written)?,
        false => (Found { checkpoint: None, warnings: Vec::new() }, recipe.clone()),
    };
    let saved = checkpoint.as_ref().map(|checkpoint| &checkpoint.state.identity);
    let from = saved.map_or(recipe.from.as_deref(), |saved| saved.from.as_deref());
    let (recipe, in_vain) = adapt::further::adopted(&recipe, &options.written, from)?;
    let run = recipe.out.as_deref().filter(|_| checkpoint.is_some()).unwrap_or(scratch);
    let Begun { mut recipe, mut work, mut notes, from, mut computed } =
        W::begin(&recipe, options, checkpoint.as_ref(), run, Making::Outline)?;
    notes.extend(warnings.into_iter().chain(in_vain));
    adapt::check_base(&recipe, from.as_deref())?;
    let adapter = new_adapter(&recipe, &*work.config(), work.model().params(), from.as_deref())?;
    let frozen = Frozen::of(&recipe, work.model().params(), adapter.as_ref())?;
    frozen.apply(work.model_mut().params_mut());
    notes.extend(frozen.notes);
    if let Some(adapter) = adapter {
        adapt::begin(&adapter, &recipe, &*work.config(), work.model_mut().params_mut(), from.as_deref())?;
        notes.extend(adapter.notes);
    }
    let params = work.model().params();
    let (parameters, trainable) = (params.count(), params.trainable_count());
    if let Err(refusal) = memory::check_update(&recipe, &work, from.as_deref(), Making::Outline) {
        notes.push(format!("as it is, this would not start here: {refusal}"));
    }
    if let Some(checkpoint) = &checkpoint {
        check_checkpoint(checkpoint, &work, trainable)?;
    }
    let (facts, flops_per_step) = facts(&recipe, &work)?;
    let Facts { steps_per_epoch, seconds_per_step, .. } = facts;
    if checkpoint.is_none() {
        computed.extend(fit(&mut recipe, &|key| options.is_stated(key), &facts));
    }
    notes.extend(still_rises(&recipe, &facts));
    let train = &recipe.train;
    let by_epochs = train.max_epochs.map(|epochs| steps_per_epoch.saturating_mul(epochs as u64));
    let steps = [train.max_steps.map(|n| n as u64), by_epochs].into_iter().flatten().min();
    let tokens_per_epoch = work.tokens_per_epoch();
    let done = checkpoint.map_or(0, |checkpoint| checkpoint.state.step);
    let config = work.config();
    let batch_tokens = (train.batch_tokens as f64).min(tokens_per_epoch as f64);
    Ok(Plan {
        parameters,
        trainable,
        state_bytes: u64::try_from(memory::state_bytes(&recipe, params, from.as_deref())).unwrap_or(u64::MAX),
        activation_bytes: memory::activation_bytes(&recipe, &*config, batch_tokens) as u64,
        free_bytes: free(),
        flops_per_step,
        examples: work.examples() as u64,
        what: W::EXAMPLES,
        tokens_per_epoch,
        steps_per_epoch,
        steps,
        done,
        precision: train.precision,
        bf16_gain: bf16_gain(&recipe, config.sizes().d_model),
        seconds_per_step,
        seconds: steps.map(|steps| steps.saturating_sub(done) as f64 * seconds_per_step),
        computed,
        data: work.data_json(),
        report: work.data_report(),
        notes: notes.into_iter().chain(work.losses()).collect(),
    })
}

/// What is known of the data and of the machine, with the operations of an update.
pub(crate) fn facts<W: Workload>(recipe: &Recipe, work: &W) -> Result<(Facts, f64), Error> {
    let steps_per_epoch = work.batches_per_epoch(recipe)?.div_ceil(recipe.train.accumulate as u64);
    let parameters = work.model().params().count() as f64;
    let flops_per_step = 6.0 * parameters * work.weighed_tokens() as f64 / steps_per_epoch.max(1) as f64;
    let (width, batch_tokens) = (work.config().sizes().d_model, recipe.train.batch_tokens);
    let seconds_per_step =
        flops_per_step / (SHARE * operations_per_second(recipe.train.precision, width, batch_tokens));
    let facts = Facts { steps_per_epoch, examples: work.examples() as u64, what: W::EXAMPLES, seconds_per_step };
    Ok((facts, flops_per_step))
}

/// The checkpoint that the run would go on from, if it has one, and the recipe, with the model that was asked for before
/// there was a checkpoint.
fn resumed(recipe: &Recipe, written: &Written) -> Result<(Found, Recipe), Error> {
    let out = recipe.out.as_deref().unwrap_or(Path::new(""));
    RunDir::check(out, Mode::Resume)?;
    let found = Checkpoints::new(out.join(CHECKPOINTS)).latest()?;
    let recipe = match found.checkpoint {
        Some(_) => recipe.clone(),
        None => Request::again(recipe, written, out)?,
    };
    Ok((found, recipe))
}

/// The checkpoint is of this data and of a model of this size.
fn check_checkpoint<W: Workload>(checkpoint: &Checkpoint, work: &W, parameters: usize) -> Result<(), Error> {
    resume::check_data(checkpoint, &format!("{:016x}", work.data_hash()?))?;
    match checkpoint.len_of("values") {
        Some(found) if found != parameters => {
            let (path, name) = (checkpoint.path.clone(), "values".to_owned());
            Err(checkpoint::Error::Mismatch { path, name, found, expected: parameters }.into())
        }
        _ => Ok(()),
    }
}

/// The speed of a product of matrices about as wide as the model's, as far as that can be measured at once.
fn operations_per_second(precision: Precision, width: usize, batch_tokens: usize) -> f64 {
    let (rows, width) = (batch_tokens.clamp(1, 512), width.clamp(1, 768));
    let (x, weight) = (vec![0.5_f32; rows * width], vec![0.25_f32; width * width]);
    let mut out = vec![0.0; rows * width];
    let mut product = || {
        let out = MatMut::row_major(black_box(&mut out), rows, width);
        let (x, weight) = (Mat::row_major(&x, rows, width), Mat::row_major(&weight, width, width));
        gemm_in(precision.of_products(), x, weight, false, out);
    };
    // The first one wakes the threads.
    product();
    let (begin, mut products) = (Instant::now(), 0.0);
    while products < 1.0 || begin.elapsed() < MEASURED {
        product();
        products += 1.0;
    }
    products * 2.0 * (rows * width * width) as f64 / begin.elapsed().as_secs_f64().max(1e-9)
}

/// By what factor a product in bf16 is faster than in f32, if the run has f32 and the processor a unit for it.
pub(crate) fn bf16_gain(recipe: &Recipe, width: usize) -> Option<f64> {
    let is_open = recipe.train.precision == Precision::F32 && usable_unit().is_some();
    let speed = |precision| operations_per_second(precision, width, recipe.train.batch_tokens);
    is_open.then(|| speed(Precision::Bf16) / speed(Precision::F32))
}

/// A time in words, however long.
fn in_time(seconds: f64) -> String {
    const YEAR: f64 = 365.25 * 86400.0;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds < YEAR => format_duration(duration),
        _ => format!("{:.0} years", seconds / YEAR),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize| group_thousands(n as u64);
        let updates = |n: u64| format!("{} update{}", group_thousands(n), if n == 1 { "" } else { "s" });
        let bytes = |bytes: u64| in_words(u128::from(bytes));
        let frozen = if self.trainable < self.parameters { " (the rest is frozen)" } else { "" };
        writeln!(f, "trainable params: {} of {}{frozen}", count(self.trainable), count(self.parameters))?;
        let (state, activations) = (bytes(self.state_bytes), bytes(self.activation_bytes));
        write!(f, "memory: {state} for weights, gradients and moments, about {activations} for activations")?;
        match self.free_bytes {
            Some(free) if self.state_bytes.saturating_add(self.activation_bytes) > free => {
                writeln!(f, "; only {} are free here", bytes(free))?;
            }
            _ => writeln!(f)?,
        }
        writeln!(f, "work: {:.1} GFLOP an update, about {:.2} s", self.flops_per_step / 1e9, self.seconds_per_step)?;
        if let Some(told) = precision::told(self.precision, self.bf16_gain) {
            writeln!(f, "{told}")?;
        }
        writeln!(
            f,
            "an epoch: {} {}, {} tokens, {}",
            group_thousands(self.examples),
            self.what,
            group_thousands(self.tokens_per_epoch),
            updates(self.steps_per_epoch)
        )?;
        match (self.steps, self.seconds) {
            (Some(steps), Some(seconds)) => {
                let done = if self.done > 0 {
                    format!(", {} of them done", group_thousands(self.done))
                } else {
                    String::new()
                };
                writeln!(f, "the run: {}{done}, about {}", updates(steps), in_time(seconds))?;
            }
            _ => writeln!(f, "the run: as many updates as fit into the time limit")?,
        }
        for Computed { key, value, why } in &self.computed {
            writeln!(f, "{key} = {value}: {why}")?;
        }
        write!(f, "{}", grouped(&self.report))
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Override;
    use super::*;

    #[test]
    fn the_plan_of_a_small_demo_counts_parameters_and_steps() {
        let overrides = ["model.d_model=16", "model.d_ff=32", "train.max_epochs=2", "tokenizer.vocab_size=400"];
        let overrides: Vec<Override> = overrides.iter().map(|text| Override::set(*text)).collect();
        let recipe = crate::demo::recipe(Path::new("unused"), &overrides).unwrap();
        let plan = plan(&recipe, &TrainOptions::default()).unwrap();
        let tokenizer = crate::tasks::translation::data::RunData::load(&recipe, None).unwrap().tokenizer;
        let config = super::super::build::model_config(&recipe, &tokenizer).unwrap();
        assert_eq!(plan.parameters, crate::families::parameter_count(&*config));
        assert_eq!(plan.steps, Some(2 * plan.steps_per_epoch));
        // The output's bias is part of the model and not trained.
        assert!(plan.trainable < plan.parameters);
        assert_eq!(plan.state_bytes, 4 * (plan.parameters + 3 * plan.trainable) as u64);
        assert!(plan.seconds_per_step > 0.0 && plan.to_string().contains("the run: "));
    }

    /// What a step takes of the pool, and what is said of it beforehand.
    fn measured_and_estimated<W: Workload>(recipe: &Recipe) -> (f64, f64) {
        let scratch = tempfile::tempdir().unwrap();
        let Begun { recipe, work, .. } =
            W::begin(recipe, &TrainOptions::default(), None, scratch.path(), Making::Weights).unwrap();
        let (batch, _) = work.batches(&recipe, W::Cursor::default()).unwrap().next().unwrap().unwrap();
        let (pool, model) = (atento_tensor::Pool::new(), work.model());
        let mut grads = atento_tensor::Grads::zeros(model.params());
        let options = super::super::step::StepOptions { smoothing: 0.1, clip_norm: 0.0, ..Default::default() };
        super::super::step::gradients(model, &mut grads, &pool, std::slice::from_ref(&batch), 1, &options);
        let estimate = memory::activation_bytes(&recipe, &*work.config(), recipe.train.batch_tokens as f64);
        (pool.stats().peak_bytes as f64, estimate)
    }

    #[test]
    fn the_memory_of_activations_is_known_beforehand_within_a_factor_of_two() {
        for settings in [
            &[
                "model.d_model=64",
                "model.d_ff=128",
                "model.heads=2",
                "model.encoder_layers=4",
                "model.decoder_layers=4",
            ][..],
            &["model.d_model=64", "model.d_ff=128", "model.heads=2", "train.checkpoint_activations=true"],
            &["model.arch=rnn", "model.hidden=64", "model.embedding=32", "model.layers=1"],
        ] {
            let common = ["tokenizer.vocab_size=400", "train.batch_tokens=1024", "train.max_epochs=1"];
            let overrides: Vec<Override> = settings.iter().chain(&common).map(|text| Override::set(*text)).collect();
            let recipe = crate::demo::recipe(Path::new("unused"), &overrides).unwrap();
            let (measured, estimate) = measured_and_estimated::<crate::tasks::translation::Translation>(&recipe);
            assert!((0.5..2.0).contains(&(estimate / measured)), "{settings:?}: {estimate} for {measured}");
        }
    }

    #[test]
    fn times_beyond_counting_are_told_in_years() {
        assert_eq!(in_time(90.0), "1m30s");
        assert_eq!(in_time(1e12), "31688 years");
        assert!(in_time(f64::MAX).ends_with(" years"));
    }
}
