//! The end of a run: choose the weights, score them, write `model/` and `report.html`.

use std::time::Duration;

use super::events::{Ending, Event, format_duration, group_thousands};
use super::metrics;
use super::report::{Report, Sample, Table, group, rows};
use super::step::Trainable;
use super::trainer::{Session, Summary};
use super::workload::{Judgement, Workload};
use super::{Error, StopFlag};
use crate::memory::peak;

/// Finishes a run; the session's model holds the exported weights afterwards.
pub(super) fn finish<W: Workload>(
    session: &mut Session<'_, W>,
    mut ending: Ending,
    stop: &StopFlag,
) -> Result<(Summary, Ending), Error> {
    let chosen = choose_weights(session, ending)?;
    session.export()?;
    let mut judgement = Judgement::default();
    if ending != Ending::Stopped {
        match session.work.judge(&session.recipe, &session.pool, stop) {
            // The run is saved whole: resumed, it only judges its model.
            Err(Error::Stopped) => ending = Ending::Stopped,
            judged => judgement = judged?,
        }
    }
    let summary = Summary {
        run: session.run.path().to_path_buf(),
        steps: session.step,
        skipped: session.skipped,
        epochs: session.epochs(),
        seconds: session.seconds(),
        tokens_per_second: session.trained_tokens as f64 / session.trained_seconds.max(1e-9),
        trainable: session.work.model().params().trainable_count(),
        peak_memory: peak(),
        batches_without_targets: session.without_targets,
        ending: match ending {
            Ending::Limit => "limit",
            Ending::EarlyStopping => "early stopping",
            Ending::Stopped => "stopped",
        },
        model_step: chosen.step,
        model_choice: chosen.why,
        metrics: judgement.metrics,
        signature: judgement.signature,
        data: session.work.data_json(),
    };
    if let skipped @ 1.. = session.without_targets {
        let batches = if skipped == 1 { "1 batch".into() } else { format!("{skipped} batches") };
        let message = format!("{batches} had no token to predict and taught nothing");
        session.run.append_log(&message)?;
        session.reporter.event(&Event::Warning(message));
    }
    let report = report(session, &summary, judgement.samples, judgement.matrix)?;
    let html = report.to_html(&metrics::read(&session.run.metrics())?)?;
    session.run.write(&session.run.report(), &html)?;
    let json = serde_json::to_string_pretty(&summary).expect("a summary is texts and numbers");
    session.run.write(&session.run.summary(), &(json + "\n"))?;
    for (name, value) in &summary.metrics {
        session.run.append_log(&format!("{name} {value:.4}"))?;
    }
    Ok((summary, ending))
}

/// Which weights were chosen.
struct Chosen {
    /// Their step, of several the last.
    step: u64,
    why: String,
}

/// The mean of the last checkpoints when the recipe asks for it, else the best evaluated, else the last weights; of the
/// moving average where there is one.
fn choose_weights<W: Workload>(session: &mut Session<'_, W>, ending: Ending) -> Result<Chosen, Error> {
    let blob = if session.average.is_some() { "average" } else { "values" };
    let wanted = session.recipe.train.average_last;
    // What a run started from is no result of it.
    let steps: Vec<u64> = session.checkpoints.steps()?.into_iter().filter(|&step| step > 0).collect();
    let takes_mean = wanted > 0 && ending != Ending::Stopped;
    let chosen: Vec<u64> = if takes_mean {
        steps[steps.len().saturating_sub(wanted)..].to_vec()
    } else {
        let best = session.early_stopping.best.map(|best| best.step);
        best.filter(|best| steps.contains(best)).into_iter().collect()
    };
    let average = session.average.take();
    let count = session.work.model().params().trainable_count();
    if chosen.is_empty() {
        if let Some(average) = average {
            session.work.model_mut().params_mut().values_mut().copy_from_slice(&average);
        }
        return Ok(Chosen { step: session.step, why: "the last step".to_owned() });
    }
    let weights = session.work.model_mut().params_mut().values_mut();
    if let [step] = chosen[..] {
        session.checkpoints.load(step)?.read_into(blob, weights)?;
    } else {
        let mut sum = vec![0.0_f64; count];
        for &step in &chosen {
            session.checkpoints.load(step)?.read_into(blob, weights)?;
            sum.iter_mut().zip(&*weights).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        weights.iter_mut().zip(&sum).for_each(|(weight, sum)| *weight = (sum / chosen.len() as f64) as f32);
    }
    let why = match (chosen.len(), session.early_stopping.metric) {
        (1, _) if takes_mean => "the last checkpoint".to_owned(),
        (count, _) if takes_mean => format!("the mean of the last {count} checkpoints"),
        (_, metric) => format!("the best validation {}", metric.title()),
    };
    Ok(Chosen { step: chosen[chosen.len() - 1], why })
}

fn report<W: Workload>(
    session: &Session<'_, W>,
    summary: &Summary,
    samples: Vec<Sample>,
    matrix: Option<(Vec<String>, Vec<Vec<u64>>)>,
) -> Result<Report, Error> {
    let run = session.run.path();
    let title = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy().into_owned();
    let mut timing = vec![
        ("Updates".into(), group_thousands(summary.steps)),
        ("Of them skipped".into(), group_thousands(summary.skipped)),
        ("Epochs".into(), format!("{:.1}", summary.epochs)),
        ("Time".into(), format_duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default())),
        (format!("{} per second", W::TOKENS), group_thousands(summary.tokens_per_second.round() as u64)),
        ("Ended by".into(), summary.ending.into()),
        ("Exported".into(), format!("step {}, {}", group_thousands(summary.model_step), summary.model_choice)),
    ];
    timing.extend(summary.signature.iter().map(|signature| ("BLEU signature".into(), signature.clone())));
    if summary.batches_without_targets > 0 {
        timing.push(("Batches with nothing to predict".into(), group_thousands(summary.batches_without_targets)));
    }
    let mut model = vec![
        ("Architecture".into(), session.recipe.model.arch.word().into()),
        ("Trainable parameters".into(), group_thousands(summary.trainable as u64)),
    ];
    model.extend(session.work.describe().into_iter().map(|(name, value)| (name, group(&value))));
    Ok(Report {
        title,
        subtitle: format!("{} after {} updates", session.recipe.task.word(), group_thousands(summary.steps)),
        measures: summary.metrics.clone(),
        loss_unit: session.work.loss_unit().to_owned(),
        tokens: W::TOKENS.to_owned(),
        exported: Some(summary.model_step),
        tables: vec![
            Table { title: "Model".into(), rows: model },
            Table { title: "Training".into(), rows: timing },
            Table { title: "Data".into(), rows: rows(&session.work.data_report()) },
        ],
        sample_headings: W::SAMPLE.map(str::to_owned),
        samples,
        matrix,
        recipe: session.recipe.to_toml()?,
    })
}
