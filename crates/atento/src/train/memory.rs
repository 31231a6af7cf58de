//! What a run takes of memory, by arithmetic on its recipe and the sizes of its model.

use std::path::Path;

use atento_tensor::{ParamEntry, Params};

use super::Error;
use super::adapt::{self, new_adapter};
use super::freeze::Frozen;
use super::recipe::{OptimizerKind, Recipe};
use super::step::Trainable;
use super::workload::{Making, Workload};
use crate::families::Config;
use crate::hub::ModelDir;
use crate::memory;
use crate::models::Precision;

/// Bytes of a token in a batch: its id, what follows it, and what is known of its sequence.
const BATCH_BYTES: u128 = 16;
/// Bits of a value that is neither rounded nor stored in fewer.
const F32_BITS: f64 = 32.0;
/// Logits that are computed at once; the loss is found in chunks of as many.
const CHUNK_LOGITS: f64 = (4 << 20) as f64;

/// Bytes of weights and, of those that are trained, gradients, moments and, where it is kept, the moving average. What is
/// frozen is held as `train.base_dtype` says, or as the model that the run starts from has it.
pub(crate) fn state_bytes(recipe: &Recipe, params: &Params, from: Option<&Path>) -> u128 {
    let frozen = params.entries().iter().filter(|entry| entry.is_frozen());
    let precision = Precision::from(recipe.train.base_dtype);
    let stored = from.and_then(|from| ModelDir::open(from).and_then(|dir| dir.without_adapter().weights()).ok());
    let as_stored = |entry: &ParamEntry| {
        let weights = stored.as_ref().filter(|weights| weights.are_held_as_stored(entry.layout))?;
        weights.bits().map(|bits| bits.min(F32_BITS))
    };
    let rounded = |entry: &ParamEntry| precision.bits().filter(|_| precision.rounds(entry)).unwrap_or(F32_BITS);
    let bits = |entry: &ParamEntry| rounded(entry).min(as_stored(entry).unwrap_or(F32_BITS));
    let frozen: f64 = frozen.map(|entry| entry.weight.len() as f64 * bits(entry) / 8.0).sum();
    frozen as u128 + trained_bytes(recipe, params)
}

/// Those of what is not frozen.
fn trained_bytes(recipe: &Recipe, params: &Params) -> u128 {
    let moments = if recipe.optimizer.kind == OptimizerKind::Sgd { 1 } else { 2 };
    let average = u128::from(recipe.train.ema > 0.0);
    let weights: usize = params.entries().iter().filter(|e| !e.is_frozen()).map(|entry| entry.weight.len()).sum();
    (weights as u128 + (1 + moments + average) * params.trainable_count() as u128) * size_of::<f32>() as u128
}

/// About how many bytes the activations of a batch take, with `tokens` on each side.
pub(crate) fn activation_bytes(recipe: &Recipe, config: &dyn Config, tokens: f64) -> f64 {
    let numbers = config.activations(tokens, recipe.train.checkpoint_activations);
    (numbers + logits(config.sizes().vocab_size, tokens)) * size_of::<f32>() as f64
}

/// Refuses a run of a model, of which the outline is given, whose state does not fit into memory.
pub(crate) fn check_room(recipe: &Recipe, config: &dyn Config, params: &Params) -> Result<(), Error> {
    let mut trained = params.clone();
    let adapter = new_adapter(recipe, config, params, None)?;
    Frozen::of(recipe, params, adapter.as_ref())?.apply(&mut trained);
    if let Some(adapter) = adapter {
        adapt::begin(&adapter, recipe, config, &mut trained, None)?;
    }
    let state = state_bytes(recipe, &trained, recipe.from.as_deref()) + table_bytes(config);
    Ok(memory::require(state, "training this model (weights, gradients and moments)")?)
}

/// Refuses a run whose updates do not fit into memory beside its state. Activations are an estimate, so half of it must
/// fit.
pub(crate) fn check_update<W: Workload>(
    recipe: &Recipe,
    work: &W,
    from: Option<&Path>,
    making: Making,
) -> Result<(), Error> {
    let (train, config, params) = (&recipe.train, work.config(), work.model().params());
    // Weights that are there have their memory already.
    let state = match making {
        Making::Weights => trained_bytes(recipe, params).saturating_sub(size_of_val(params.values()) as u128),
        Making::Outline => state_bytes(recipe, params, from),
    };
    let state = state + table_bytes(&*config);
    let per_epoch = work.batches_per_epoch(recipe)?.max(1);
    let is_full = recipe.task.fills_batches(&recipe.data);
    // Other batches are as large as the data makes them.
    let tokens = match is_full {
        true => train.batch_tokens as u64,
        false => work.tokens_per_epoch().div_ceil(per_epoch),
    };
    let epochs = train.max_epochs.map_or(u64::MAX, |epochs| epochs as u64);
    let batches = (train.accumulate as u64).min(per_epoch.saturating_mul(epochs));
    // The ids of an update wait for it together.
    let batches = BATCH_BYTES * u128::from(tokens) * u128::from(batches);
    let sides = recipe.task.sides() as f64;
    let activations = activation_bytes(recipe, &*config, tokens as f64 / sides) / 2.0;
    let what = format!(
        "an update of train.batch_tokens {} and train.accumulate {} with this model",
        train.batch_tokens, train.accumulate
    );
    Ok(memory::require(state + batches + activations as u128, &what)?)
}

/// Bytes of the table of positions, which is no parameter.
fn table_bytes(config: &dyn Config) -> u128 {
    size_of::<f32>() as u128 * config.table_len() as u128
}

/// Logits of a chunk.
fn logits(vocab_size: usize, tokens: f64) -> f64 {
    CHUNK_LOGITS.max(32.0 * vocab_size as f64).min(tokens * vocab_size as f64)
}
