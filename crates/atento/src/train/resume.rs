//! Going on with a run: which of its settings may have changed since.
//!
//! A resumed run is to compute what it would have computed without the pause, so only what decides neither the course
//! of the weights nor the meaning of its checkpoints may differ: how long it goes on, what is written when, how its
//! model searches.

use std::path::{Path, PathBuf};

use super::Error;
use super::checkpoint::{Checkpoint, Identity};
use super::recipe::{Recipe, ScheduleKind, Written};

/// Keys, and tables with all of their keys, that may differ.
const MAY_CHANGE: [&str; 18] = [
    "data.test",
    "from",
    "model.preset",
    "out",
    "search",
    "threads",
    "train.average_last",
    "train.checkpoint_activations",
    "train.early_stopping.patience",
    "train.eval_beam",
    "train.eval_every",
    "train.eval_max_sentences",
    "train.features_dir",
    "train.keep_last",
    "train.log_every",
    "train.max_skips",
    "train.on_non_finite",
    "train.save_every",
];
/// Files whose contents the checkpoint knows: they may lie elsewhere.
const FILES: [&str; 15] = [
    "data.tokens",
    "data.train.conll",
    "data.train.csv",
    "data.train.jsonl",
    "data.train.source",
    "data.train.squad",
    "data.train.target",
    "data.train.tsv",
    "data.valid.conll",
    "data.valid.csv",
    "data.valid.jsonl",
    "data.valid.source",
    "data.valid.squad",
    "data.valid.target",
    "data.valid.tsv",
];
/// They may differ too, and a learning rate may depend on them.
const LIMITS: [&str; 3] = ["train.max_epochs", "train.max_minutes", "train.max_steps"];

/// Settings that follow others, or were computed from the data, where a recipe does not state them.
const FOLLOWING: [&str; 26] = [
    "data.block_size",
    "data.max_length",
    "data.stride",
    "data.valid_fraction",
    "model.d_ff",
    "model.d_model",
    "model.decoder_layers",
    "model.dropout",
    "model.encoder_layers",
    "model.heads",
    "model.hidden",
    "model.layers",
    "model.max_positions",
    "model.norm",
    "model.preset",
    "model.vocab_size",
    "optimizer.lr",
    "schedule.kind",
    "schedule.min_lr",
    "schedule.warmup_steps",
    "search.max_length",
    "tokenizer.vocab_size",
    "train.batch_tokens",
    "train.early_stopping.metric",
    "train.eval_every",
    "train.keep_last",
];

/// The recipe with what it does not state as the run has it: another limit does not move what once followed the old one.
///
/// # Errors
/// The recipe that the checkpoint holds cannot be read.
pub fn as_before(recipe: &Recipe, written: &Written, checkpoint: &Checkpoint) -> Result<Recipe, Error> {
    as_saved(recipe, written, &checkpoint.state.identity.recipe)
}

/// [`as_before`] with the recipe that was saved, `text`.
///
/// # Errors
/// As there.
pub fn as_saved(recipe: &Recipe, written: &Written, text: &str) -> Result<Recipe, Error> {
    if written.is_empty() {
        return Ok(recipe.clone());
    }
    let before = Recipe::read_text(text, "config.toml")?.recipe;
    // Where there is no limit, it followed from the data.
    let is_limited = LIMITS.iter().any(|key| written.contains_key(*key));
    // So it did beside a limit in time, which is the same.
    let (time, before_time) = (recipe.train.max_minutes, before.train.max_minutes);
    let is_same_time = time.is_some() && time == before_time && !written.contains_key("train.max_epochs");
    let limits = LIMITS.into_iter().filter(|key| !is_limited || is_same_time && *key == "train.max_steps");
    let unstated = FOLLOWING.into_iter().chain(limits).filter(|key| !written.contains_key(*key));
    Ok(recipe.with_values_of(&before, unstated)?)
}

/// Checks a recipe against the one that the run was saved with; returns what the log should say.
///
/// # Errors
/// [`Error::OtherRun`] names the first setting that must not differ.
pub fn check(checkpoint: &Checkpoint, recipe: &Recipe) -> Result<Vec<String>, Error> {
    let Identity { recipe: text, from, .. } = &checkpoint.state.identity;
    let begun_from = from.as_ref();
    let is_another = |from: &&PathBuf| Some(*from) != begun_from && from.canonicalize().ok().as_ref() != begun_from;
    let unused = recipe.from.iter().filter(is_another);
    let unused = unused.map(|from| format!("{} is not used: the run goes on from its checkpoint", from.display()));
    let mut notes: Vec<String> = unused.collect();
    notes.extend(compare(text, recipe, &checkpoint.path, Data::Known)?);
    Ok(notes)
}

/// Whether what was saved tells the run's data from other data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It does: files may lie elsewhere.
    Known,
    /// It does not.
    Unknown,
}

/// Checks a recipe against the one, `text`, that was saved at `path`; returns what the log should say.
///
/// # Errors
/// As [`check`].
pub fn compare(text: &str, recipe: &Recipe, path: &Path, data: Data) -> Result<Vec<String>, Error> {
    let (before, now) = (Recipe::read_text(text, "config.toml")?.recipe.values()?, recipe.values()?);
    let mut notes = Vec::new();
    let added = now.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added).filter(|key| !is_same(before.get(*key), now.get(*key))) {
        let text = |value: Option<&toml::Value>| value.map_or("not set".to_string(), ToString::to_string);
        let (found, expected) = (text(before.get(key)), text(now.get(key)));
        let lies_elsewhere = data == Data::Known && FILES.contains(&key.as_str());
        if !lies_elsewhere && !may_change(key, recipe.schedule.kind) {
            let path = path.display().to_string();
            return Err(Error::OtherRun { path, key: key.clone(), found, expected });
        }
        if LIMITS.contains(&key.as_str()) && follows_the_limit(recipe) {
            let kind = recipe.schedule.kind;
            notes.push(format!(
                "`{key}` was {found} and is {expected}: the learning rate of the {kind} schedule follows the new end"
            ));
        }
    }
    Ok(notes)
}

/// Checks the hash of the training and validation data against that of the run.
///
/// # Errors
/// [`Error::OtherData`].
pub fn check_data(checkpoint: &Checkpoint, hash: &str) -> Result<(), Error> {
    match checkpoint.state.identity.data == hash {
        true => Ok(()),
        false => Err(Error::OtherData { path: checkpoint.path.display().to_string() }),
    }
}

/// Equal, or two paths of one file.
fn is_same(before: Option<&toml::Value>, now: Option<&toml::Value>) -> bool {
    let file = |value: Option<&toml::Value>| Path::new(value?.as_str()?).canonicalize().ok();
    before == now || file(before).is_some_and(|before| file(now) == Some(before))
}

fn may_change(key: &str, schedule: ScheduleKind) -> bool {
    // The plateau schedule counts evaluations.
    let decides = schedule == ScheduleKind::Plateau && key == "train.eval_every";
    let listed = |name: &&str| key.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    !decides && MAY_CHANGE.iter().chain(&LIMITS).any(listed)
}

/// Whether the learning rate depends on when the run is to end.
fn follows_the_limit(recipe: &Recipe) -> bool {
    match recipe.schedule.kind {
        ScheduleKind::Linear | ScheduleKind::Cosine => recipe.schedule.decay_steps == 0,
        ScheduleKind::Wsd => true,
        ScheduleKind::Noam | ScheduleKind::InverseSqrt | ScheduleKind::Constant | ScheduleKind::Plateau => false,
    }
}
