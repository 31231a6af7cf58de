//! The end of a run: choose the weights, score them, write `model/` and `report.html`.

use std::time::Duration;

use super::choose::choose_weights;
use super::events::{Ending, Event, format_duration, group_thousands};
use super::exported::Exported;
use super::metrics;
use super::report::{Report, Sample, Table, group, rows};
use super::speed::Speed;
use super::step::Trainable;
use super::trainer::{Session, Summary};
use super::workload::{Judgement, Workload};
use super::{Error, StopFlag};
use crate::memory::peak;

/// Characters of a line of the data that is shown in a command.
const LONGEST_EXAMPLE: usize = 100;

/// Finishes a run; the session's model holds the exported weights afterwards.
pub(super) fn finish<W: Workload>(
    session: &mut Session<'_, W>,
    mut ending: Ending,
    stop: &StopFlag,
) -> Result<(Summary, Ending), Error> {
    let chosen = match choose_weights(session, ending, stop) {
        Err(Error::Stopped) => {
            ending = Ending::Stopped;
            choose_weights(session, ending, stop)?
        }
        chosen => chosen?,
    };
    if !chosen.is_exported {
        Exported::forget(session.run.path())?;
        session.export()?;
        if let Some(value) = chosen.value {
            let (steps, metric) = (chosen.steps.clone(), session.early_stopping.metric);
            Exported { steps, metric, value }.write(session.run.path())?;
        }
    }
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
        tokens_per_second: session.spent.tokens_per_second(),
        speed: Speed::measure(&session.spent, session.work.config().sizes().d_model),
        trainable: session.work.model().params().trainable_count(),
        peak_memory: peak(),
        batches_without_targets: session.without_targets,
        ending: match ending {
            Ending::Limit => "limit",
            Ending::EarlyStopping => "early stopping",
            Ending::Stopped => "stopped",
        },
        model_step: chosen.steps.last().copied().unwrap_or(session.step),
        model_steps: chosen.steps,
        model_choice: chosen.why,
        metrics: judgement.metrics,
        signature: judgement.signature,
        report: session.run.report(),
        example: judgement.example.filter(|line| is_shown(line)),
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
    if let Some(speed) = &summary.speed {
        session.run.append_log(&format!("speed: {}", speed.in_words()))?;
    }
    for (name, value) in &summary.metrics {
        session.run.append_log(&format!("{name} {value:.4}"))?;
    }
    Ok((summary, ending))
}

/// Whether a line of the data is short enough to be shown in a command.
fn is_shown(line: &str) -> bool {
    let is_text = |c: char| c == '\t' || !c.is_control();
    !line.trim().is_empty() && line.chars().count() <= LONGEST_EXAMPLE && line.chars().all(is_text)
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
        ("Exported".into(), summary.exported()),
    ];
    timing.extend(summary.speed.iter().map(|speed| ("Speed".into(), speed.in_words())));
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
