//! Which weights a finished run exports: those of the best evaluation, the mean of the last checkpoints, or the last ones.
//!
//! A mean of checkpoints is often a better translator than any of them (Vaswani et al. 2017, §6.1, take the last five), and
//! sometimes a worse one: that of a run that was still learning. So where the recipe leaves it open, the means are measured
//! on the validation data as evaluations measure.

use super::checkpoint::Checkpoint;
use super::events::Ending;
use super::exported::{Exported, digits, in_digits, named};
use super::step::Trainable;
use super::trainer::Session;
use super::workload::{Measured, Workload};
use super::{Error, StopFlag};
use crate::train::recipe::Metric;

/// The means that are measured, by the number of checkpoints.
const MEANS: [usize; 2] = [3, 5];

/// The weights that a run exports.
pub(super) struct Chosen {
    /// The updates after which their checkpoints were made.
    pub steps: Vec<u64>,
    /// Why they are exported, in words.
    pub why: String,
    /// What the validation data say of them, where they were measured.
    pub value: Option<f64>,
    /// Whether they lie in `model/` already, and the session's model has others.
    pub is_exported: bool,
}

/// Gives the session's model the weights that are exported. Those of a run that was stopped are the best so far.
///
/// # Errors
/// A checkpoint cannot be read; [`Error::Stopped`] where `stop` was raised while means were measured.
pub(super) fn choose_weights<W: Workload>(
    session: &mut Session<'_, W>,
    ending: Ending,
    stop: &StopFlag,
) -> Result<Chosen, Error> {
    // What a run started from is no result of it.
    let steps: Vec<u64> = session.checkpoints.steps()?.into_iter().filter(|&step| step > 0).collect();
    let metric = session.early_stopping.metric;
    let best = session.early_stopping.best.filter(|best| steps.contains(&best.step));
    let is_stopped = ending == Ending::Stopped;
    let mean = Exported::read(session.run.path());
    if let Some(mean) =
        mean.filter(|mean| is_stopped && best.is_none_or(|best| mean.is_better_mean(metric, best.value)))
    {
        let Exported { steps, value, .. } = mean;
        return Ok(Chosen { why: why_mean(&steps, metric, value), steps, value: Some(value), is_exported: true });
    }
    let wanted = session.recipe.train.average_last;
    if let Some(count @ 1..) = wanted.filter(|_| !is_stopped && !steps.is_empty()) {
        let last = steps[steps.len().saturating_sub(count)..].to_vec();
        let why = match last.len() {
            1 => "the last checkpoint".to_owned(),
            count => format!("the mean of the last {count} checkpoints"),
        };
        load_mean(session, &last)?;
        // Without this the first evaluation of a run that goes on would put its weights in the place of the mean.
        let value = if best.is_some() && last.len() > 1 { measured(session, stop)? } else { None };
        return Ok(Chosen { steps: last, why, value, is_exported: false });
    }
    let Some(best) = best else {
        if let Some(average) = session.average.take() {
            session.work.model_mut().params_mut().values_mut().copy_from_slice(&average);
        }
        let steps = vec![session.step];
        return Ok(Chosen { steps, why: "the last step".to_owned(), value: None, is_exported: false });
    };
    let of_best = format!("the best validation {}", metric.title());
    let measures_means = !is_stopped && wanted.is_none() && session.average.is_none() && session.recipe.task.averages();
    let mean = if measures_means { best_mean(session, &steps, stop)? } else { None };
    match mean.filter(|(_, value)| metric.is_better(*value, best.value)) {
        Some((steps, value)) => {
            load_mean(session, &steps)?;
            let of_best = format!("best single {}, {}", named(&[best.step]), in_digits(metric, best.value));
            let why = format!("{}; {of_best}", why_mean(&steps, metric, value));
            Ok(Chosen { steps, why, value: Some(value), is_exported: false })
        }
        None => {
            load_mean(session, &[best.step])?;
            session.average = None;
            let why = format!("{of_best}, {}", digits(metric, best.value));
            Ok(Chosen { steps: vec![best.step], why, value: Some(best.value), is_exported: false })
        }
    }
}

fn why_mean(steps: &[u64], metric: Metric, value: f64) -> String {
    format!("{}, validation {}", named(steps), in_digits(metric, value))
}

/// The best of the means with its measure: of the last checkpoints, and the one that was exported before.
fn best_mean<W: Workload>(
    session: &mut Session<'_, W>,
    steps: &[u64],
    stop: &StopFlag,
) -> Result<Option<(Vec<u64>, f64)>, Error> {
    let metric = session.early_stopping.metric;
    let last = MEANS.into_iter().filter(|&count| count <= steps.len());
    let mut means: Vec<Vec<u64>> = last.map(|count| steps[steps.len() - count..].to_vec()).collect();
    let before = Exported::read(session.run.path()).map(|exported| exported.steps);
    let before = before.filter(|before| before.len() > 1 && before.iter().all(|step| steps.contains(step)));
    means.extend(before.filter(|before| !means.contains(before)));
    let mut best: Option<(Vec<u64>, f64)> = None;
    for mean in means {
        load_mean(session, &mean)?;
        let Some(value) = measured(session, stop)?.filter(|value| !value.is_nan()) else { continue };
        if best.as_ref().is_none_or(|(_, best)| metric.is_better(value, *best)) {
            best = Some((mean, value));
        }
    }
    Ok(best)
}

/// What is watched, of the weights as they are.
fn measured<W: Workload>(session: &Session<'_, W>, stop: &StopFlag) -> Result<Option<f64>, Error> {
    let metric = session.early_stopping.metric;
    let measured = session.work.measure(&session.recipe, &session.pool, stop)?;
    Ok(measured.and_then(|Measured { loss, scores }| match metric {
        Metric::Loss => Some(loss),
        _ => scores.into_iter().find(|(score, _)| *score == metric).map(|(_, value)| value),
    }))
}

/// Gives the model the mean of the weights after `steps`; of the moving averages where there are such.
fn load_mean<W: Workload>(session: &mut Session<'_, W>, steps: &[u64]) -> Result<(), Error> {
    let blob = if session.average.is_some() { "average" } else { "values" };
    let checkpoints = steps.iter().map(|&step| session.checkpoints.load(step)).collect::<Result<Vec<_>, _>>()?;
    read_mean(&checkpoints, blob, session.work.model_mut().params_mut().values_mut())
}

/// The mean of an array of checkpoints, summed in f64.
pub(super) fn read_mean(checkpoints: &[Checkpoint], blob: &str, weights: &mut [f32]) -> Result<(), Error> {
    if let [checkpoint] = checkpoints {
        return Ok(checkpoint.read_into(blob, weights)?);
    }
    let mut sum = vec![0.0_f64; weights.len()];
    for checkpoint in checkpoints {
        checkpoint.read_into(blob, weights)?;
        sum.iter_mut().zip(&*weights).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = checkpoints.len() as f64;
    weights.iter_mut().zip(&sum).for_each(|(weight, sum)| *weight = (sum / count) as f32);
    Ok(())
}
