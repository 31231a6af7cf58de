//! The end of a run: choose the weights, score them, write `model/` and `report.html`.

use std::collections::BTreeMap;

use super::Error;
use super::data::HeldOut;
use super::evaluate;
use super::events::Ending;
use super::metrics;
use super::report::{Report, Sample, Table};
use super::trainer::{Session, Summary};

/// Translations shown in the report.
const SAMPLES: usize = 20;

/// Finishes a run; the session's model holds the exported weights afterwards.
pub(super) fn finish(session: &mut Session<'_>, ending: Ending) -> Result<Summary, Error> {
    let mut summary = Summary {
        run: session.run.path().to_path_buf(),
        steps: session.step,
        epochs: session.epochs(),
        seconds: session.seconds(),
        tokens_per_second: session.trained_tokens as f64 / session.trained_seconds.max(1e-9),
        trainable: session.pretrained.model.params().trainable_count(),
        ending: match ending {
            Ending::Limit => "limit",
            Ending::EarlyStopping => "early stopping",
            Ending::Stopped => "stopped",
        },
        metrics: BTreeMap::new(),
        signature: None,
    };
    choose_weights(session, ending)?;
    let model_dir = session.run.model();
    session.pretrained.save(&model_dir)?;
    let mut samples = Vec::new();
    if ending != Ending::Stopped {
        let held_out = [("valid", session.data.valid.take()), ("test", session.data.test.take())];
        for (name, held_out) in held_out {
            if let Some(held_out) = held_out {
                samples = score(session, name, &held_out, &mut summary)?;
            }
        }
    }
    summary.seconds = session.seconds();
    let report = report(session, &summary, samples)?;
    let html = report.to_html(&metrics::read(&session.run.metrics())?)?;
    session.run.write(&session.run.report(), &html)?;
    for (name, value) in &summary.metrics {
        session.run.append_log(&format!("{name} {value:.4}"))?;
    }
    Ok(summary)
}

/// The mean of the last checkpoints when the recipe asks for it, else the best evaluated, else the last weights.
fn choose_weights(session: &mut Session<'_>, ending: Ending) -> Result<(), Error> {
    let blob = if session.average.is_some() { "average" } else { "values" };
    let wanted = session.recipe.train.average_last;
    // What a run started from is no result of it.
    let steps: Vec<u64> = session.checkpoints.steps()?.into_iter().filter(|&step| step > 0).collect();
    let chosen: Vec<u64> = if wanted > 0 && ending != Ending::Stopped {
        steps[steps.len().saturating_sub(wanted)..].to_vec()
    } else {
        let best = session.early_stopping.best.map(|best| best.step);
        best.filter(|best| steps.contains(best)).into_iter().collect()
    };
    session.average = None;
    let count = session.pretrained.model.params().count();
    if chosen.is_empty() {
        return Ok(());
    }
    let mut sum = vec![0.0_f64; count];
    let mut values = vec![0.0_f32; count];
    for &step in &chosen {
        session.checkpoints.load(step)?.read_into(blob, &mut values)?;
        sum.iter_mut().zip(&values).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let weights = session.pretrained.model.params_mut().values_mut();
    weights.iter_mut().zip(&sum).for_each(|(weight, sum)| *weight = (sum / chosen.len() as f64) as f32);
    Ok(())
}

/// Loss and BLEU of the finished model with the recipe's search; returns samples.
fn score(session: &Session<'_>, name: &str, held_out: &HeldOut, summary: &mut Summary) -> Result<Vec<Sample>, Error> {
    let model = &session.pretrained.model;
    let loss = evaluate::loss(model, &session.pool, &held_out.pairs, model.start_id());
    let mut options = session.pretrained.translate_options();
    let ratio = session.recipe.search.max_length_ratio;
    options.max_length_ratio = (ratio > 0.0).then_some(ratio);
    let (bleu, hypotheses) = evaluate::bleu(model, &session.pretrained.tokenizer, &held_out.text, &options)?;
    summary.metrics.insert(format!("{name}_loss"), loss.nll);
    summary.metrics.insert(format!("{name}_perplexity"), loss.perplexity());
    summary.metrics.insert(format!("{name}_bleu"), bleu.score);
    summary.signature = Some(bleu.signature);
    let pairs = held_out.text.iter().zip(hypotheses).take(SAMPLES);
    Ok(pairs
        .map(|((source, reference), hypothesis)| Sample {
            source: source.clone(),
            reference: reference.clone(),
            hypothesis,
        })
        .collect())
}

fn report(session: &Session<'_>, summary: &Summary, samples: Vec<Sample>) -> Result<Report, Error> {
    let rows = |text: String| {
        let split = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.trim().to_owned(), value.trim().to_owned())
        };
        text.lines().filter(|line| !line.trim().is_empty()).map(split).collect::<Vec<_>>()
    };
    let run = session.run.path();
    let title = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy().into_owned();
    let highlights = summary.metrics.iter().map(|(name, value)| (name.clone(), format!("{value:.2}"))).collect();
    let timing = vec![
        ("Updates".into(), summary.steps.to_string()),
        ("Epochs".into(), format!("{:.1}", summary.epochs)),
        ("Time".into(), format!("{:.1} min", summary.seconds / 60.0)),
        ("Source and target tokens per second".into(), format!("{:.0}", summary.tokens_per_second)),
        ("Ended by".into(), summary.ending.into()),
        ("BLEU signature".into(), summary.signature.clone().unwrap_or_default()),
    ];
    let model = vec![
        ("Architecture".into(), session.recipe.model.arch.word().into()),
        ("Trainable parameters".into(), super::events::group_thousands(summary.trainable as u64)),
        ("Vocabulary".into(), session.pretrained.model.vocab_size().to_string()),
    ];
    Ok(Report {
        title,
        subtitle: format!("{} after {} updates", session.recipe.task.word(), summary.steps),
        highlights,
        tables: vec![
            Table { title: "Model".into(), rows: model },
            Table { title: "Training".into(), rows: timing },
            Table { title: "Data".into(), rows: rows(session.data.train.report().to_string()) },
        ],
        samples,
        recipe: session.recipe.to_toml()?,
    })
}
