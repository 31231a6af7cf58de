//! What a run takes of memory, by arithmetic on its recipe and the sizes of its model.

use atento_tensor::Params;

use super::Error;
use super::checkpoint::ModelConfig;
use super::freeze::Frozen;
use super::recipe::{OptimizerKind, Recipe, Sampling, Task};
use super::step::Trainable;
use super::workload::{Making, Workload};
use crate::memory;
use crate::models::{Gpt2Config, RecurrentConfig, TransformerConfig, TranslatorConfig};

/// Bytes of a token in a batch: its id, what follows it, and what is known of its sequence.
const BATCH_BYTES: u128 = 16;
/// Logits that are computed at once; the loss is found in chunks of as many.
const CHUNK_LOGITS: f64 = (4 << 20) as f64;

/// Bytes of weights and, of those that are trained, gradients, moments and, where it is kept, the moving average.
pub(super) fn state_bytes(recipe: &Recipe, parameters: usize, trainable: usize) -> u128 {
    let moments = if recipe.optimizer.kind == OptimizerKind::Sgd { 1 } else { 2 };
    let average = u128::from(recipe.train.ema > 0.0);
    (parameters as u128 + (1 + moments + average) * trainable as u128) * size_of::<f32>() as u128
}

/// About how many bytes the activations of a batch take, with `tokens` on each side.
pub(super) fn activation_bytes(recipe: &Recipe, config: &ModelConfig, tokens: f64) -> f64 {
    let checkpoint = recipe.train.checkpoint_activations;
    let numbers = match config {
        ModelConfig::LanguageModel(config) => of_gpt2(config, tokens, checkpoint),
        ModelConfig::Translator(TranslatorConfig::Transformer(config)) => of_transformer(config, tokens, checkpoint),
        ModelConfig::Translator(TranslatorConfig::Recurrent(config)) => of_recurrent(config, tokens),
    };
    numbers * size_of::<f32>() as f64
}

/// Refuses a run of a model, of which the outline is given, whose state does not fit into memory.
pub(super) fn check_room(recipe: &Recipe, config: &ModelConfig, params: &Params) -> Result<(), Error> {
    let mut trained = params.clone();
    Frozen::of(recipe, params)?.apply(&mut trained);
    let state = state_bytes(recipe, params.count(), trained.trainable_count()) + table_bytes(config);
    Ok(memory::require(state, "training this model (weights, gradients and moments)")?)
}

/// Refuses a run whose updates do not fit into memory beside its state. Activations are an estimate, so half of it must
/// fit.
pub(super) fn check_update<W: Workload>(recipe: &Recipe, work: &W, making: Making) -> Result<(), Error> {
    let (train, config, params) = (&recipe.train, work.config(), work.model().params());
    let state = state_bytes(recipe, params.count(), params.trainable_count()) + table_bytes(&config);
    // Weights that are there have their memory already.
    let held = if making == Making::Weights { size_of_val(params.values()) } else { 0 };
    let state = state.saturating_sub(held as u128);
    let per_epoch = work.batches_per_epoch(recipe)?.max(1);
    let is_random = recipe.task == Task::CausalLm && recipe.data.sampling == Sampling::Random;
    // Random windows fill a batch whatever the text; other batches are as large as the data makes them.
    let tokens = match is_random {
        true => train.batch_tokens as u64,
        false => work.tokens_per_epoch().div_ceil(per_epoch),
    };
    let epochs = train.max_epochs.map_or(u64::MAX, |epochs| epochs as u64);
    let batches = (train.accumulate as u64).min(per_epoch.saturating_mul(epochs));
    // The ids of an update wait for it together.
    let batches = BATCH_BYTES * u128::from(tokens) * u128::from(batches);
    let sides = if recipe.task == Task::Translation { 2.0 } else { 1.0 };
    let activations = activation_bytes(recipe, &config, tokens as f64 / sides) / 2.0;
    let what = format!(
        "an update of train.batch_tokens {} and train.accumulate {} with this model",
        train.batch_tokens, train.accumulate
    );
    Ok(memory::require(state + batches + activations as u128, &what)?)
}

/// Bytes of the table of positions, which is no parameter.
fn table_bytes(config: &ModelConfig) -> u128 {
    match config {
        ModelConfig::Translator(TranslatorConfig::Transformer(config)) => {
            4 * config.max_positions as u128 * config.d_model as u128
        }
        _ => 0,
    }
}

/// Logits of a chunk.
fn logits(vocab_size: usize, tokens: f64) -> f64 {
    CHUNK_LOGITS.max(32.0 * vocab_size as f64).min(tokens * vocab_size as f64)
}

fn of_gpt2(config: &Gpt2Config, tokens: f64, checkpoint: bool) -> f64 {
    let (d_model, d_ff, layers) = (config.d_model as f64, config.d_ff as f64, config.layers as f64);
    let block = 9.0 * d_model + 2.0 * d_ff;
    let kept = if checkpoint { layers * d_model + block } else { layers * block };
    tokens * (kept + 4.0 * d_model) + logits(config.vocab_size, tokens)
}

fn of_transformer(config: &TransformerConfig, tokens: f64, checkpoint: bool) -> f64 {
    let d_model = config.d_model as f64;
    let (encoder, decoder) = (config.encoder_layers as f64, config.decoder_layers as f64);
    // The decoder's reads the source too.
    let (in_encoder, in_decoder) =
        (9.0 * d_model + 2.0 * config.encoder_ffn as f64, 16.0 * d_model + 2.0 * config.decoder_ffn as f64);
    let kept = if checkpoint {
        (encoder + decoder) * d_model + in_encoder.max(in_decoder)
    } else {
        encoder * in_encoder + decoder * in_decoder
    };
    tokens * (kept + 6.0 * d_model) + logits(config.vocab_size, tokens)
}

fn of_recurrent(config: &RecurrentConfig, tokens: f64) -> f64 {
    let (hidden, embedding, layers) = (config.hidden as f64, config.embedding as f64, config.layers as f64);
    let kept = layers * (24.0 * hidden) + 8.0 * hidden + 6.0 * embedding;
    tokens * kept + logits(config.vocab_size, tokens)
}
