//! Settings that nobody stated follow those that somebody did, so that a default contradicts nothing.
//!
//! A setting moves only as far as it must, and only if it was not stated. Settings that were stated and contradict each
//! other are left to [`conflicts`](super::check::conflicts).

use super::choices::*;
use super::settings::*;
use crate::tasks::Stated;
use crate::train::schedule::usual_warmup;

/// Moves the settings that are not stated.
pub fn follow(recipe: &mut Recipe, is_stated: Stated<'_>) {
    follow_width(&mut recipe.model, is_stated);
    follow_method(&mut recipe.train, is_stated);
    let task = recipe.task;
    task.follow(recipe, is_stated);
    follow_limit(recipe, is_stated);
}

/// The blocks that are trained where nothing but "partial" is said.
const TOP_LAYERS: usize = 2;

/// What is trained is a part of the model where a setting names one.
fn follow_method(train: &mut TrainSettings, is_stated: Stated<'_>) {
    if !is_stated("train.method") && train.part_named().is_some() {
        train.method = Method::Partial;
    }
    if train.method == Method::Partial && train.part_named().is_none() {
        train.top_layers = Some(TOP_LAYERS);
    }
}

/// Heads divide the width, and those of keys and values the others.
fn follow_width(model: &mut ModelSettings, is_stated: Stated<'_>) {
    let family = model.arch.family();
    if family.has_heads() && model.head_dim.is_none() && !model.d_model.is_multiple_of(model.heads) {
        make_divide(model, is_stated);
    }
    let Some(kv_heads) = model.kv_heads.filter(|kv_heads| !model.heads.is_multiple_of(*kv_heads)) else { return };
    if !is_stated("model.kv_heads") {
        model.kv_heads = (1..=kv_heads).rev().find(|kv_heads| model.heads.is_multiple_of(*kv_heads));
    }
}

fn make_divide(model: &mut ModelSettings, is_stated: Stated<'_>) {
    let family = model.arch.family();
    if !is_stated("model.heads") {
        let divisors = (1..=model.heads).rev().filter(|&heads| model.d_model.is_multiple_of(heads));
        model.heads = divisors.max().unwrap_or(1);
    } else if !is_stated("model.d_model") && !is_stated("model.preset") {
        // Sinusoidal positions come in pairs.
        let unit = if model.heads.is_multiple_of(2) { model.heads } else { 2 * model.heads };
        model.d_model = model.d_model.next_multiple_of(unit);
        if let (Some(d_ff), false) = (family.d_ff(model.d_model), is_stated("model.d_ff")) {
            model.d_ff = d_ff;
        }
    }
}

/// What happens in the course of a run happens before its end.
fn follow_limit(recipe: &mut Recipe, is_stated: Stated<'_>) {
    let Recipe { train, schedule, .. } = recipe;
    if !is_stated("train.keep_last") {
        train.keep_last = train.keep_last.max(train.average_last.unwrap_or(0));
    }
    let falls = matches!(schedule.kind, ScheduleKind::Linear | ScheduleKind::Cosine) && schedule.decay_steps > 0;
    let lowest = if falls { schedule.decay_steps } else { usize::MAX };
    if !is_stated("schedule.warmup_steps") && schedule.warmup_steps.is_none() {
        // Without a limit in updates, they follow from the data or from the time that is used.
        let end = train.max_steps.map_or(lowest, |limit| limit.min(lowest));
        let is_known = falls || train.max_minutes.is_none() && train.max_epochs.is_none();
        schedule.warmup_steps = is_known.then(|| usual_warmup(end as f64, schedule.kind));
    }
    let waits = train.early_stopping.patience > 0 || schedule.kind == ScheduleKind::Plateau;
    if let Some(limit) = train.max_steps
        && waits
        && !is_stated("train.eval_every")
        && train.eval_every > limit
    {
        train.eval_every = (limit / 10).max(1);
    }
}
