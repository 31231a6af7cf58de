//! How right a model with a head is.

use std::path::Path;

use anyhow::anyhow;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::pipelines::TextModel;
use atento::tasks::{Evaluated, Evaluation, evaluate};
use atento::train::StopFlag;
use atento::train::recipe::{Metric, OnTruncate};
use serde_json::{Map, Value, json};

use crate::cli::train::failure;
use crate::ui::failure::Failure;
use crate::ui::lines::OnTooLong;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align};

/// How labelled data are read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for labels, tags, answers and masked words")]
pub struct HeadArgs {
    /// The column or key of second texts
    #[arg(long, value_name = "KEY")]
    pair_key: Option<String>,

    /// The column or key of labels
    #[arg(long, value_name = "KEY")]
    label_key: Option<String>,

    /// How much better an answer must be than none to be given, where questions may have none [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    null_threshold: Option<f64>,
}

impl HeadArgs {
    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { pair_key, label_key, null_threshold } = self;
        let options = [
            ("--pair-key", pair_key.is_some()),
            ("--label-key", label_key.is_some()),
            ("--null-threshold", null_threshold.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// Measures the model of a directory.
///
/// # Errors
/// The model or the data are wrong; the output cannot be written.
pub fn run(
    dir: &ModelDir,
    data: &Path,
    args: &HeadArgs,
    (text_key, on_too_long): (Option<&str>, OnTooLong),
    options: &Options,
) -> Result<(), Failure> {
    let precision = if dir.is_int8()? { Precision::Int8 } else { Precision::F32 };
    let model = TextModel::from_dir(dir, precision)?;
    model.notes.iter().for_each(|note| options.note(note));
    let how = Evaluation {
        data: data.into(),
        keys: [text_key.map(str::to_owned), args.pair_key.clone(), args.label_key.clone()],
        on_truncate: match on_too_long {
            OnTooLong::Skip => OnTruncate::Drop,
            OnTooLong::Cut => OnTruncate::Warn,
            OnTooLong::Split => OnTruncate::Split,
        },
        null_threshold: args.null_threshold.unwrap_or(0.0),
        seed: options.seed.unwrap_or(1),
    };
    let found = evaluate(model, &how, &StopFlag::new()).map_err(failure)?;
    print(&found, options)?;
    match found.losses {
        Some(losses) if found.left_out > 0 => Err(Failure::Run(anyhow!("{}: {losses}", data.display()))),
        Some(losses) => {
            options.note(format_args!("{}: {losses}", data.display()));
            Ok(())
        }
        None => Ok(()),
    }
}

/// What a measure is called in JSON.
fn key(metric: Metric) -> String {
    metric.to_string()
}

fn print(found: &Evaluated, options: &Options) -> Result<(), Failure> {
    let mut out = Output::open();
    let (count, what) = found.examples;
    if options.json {
        let mut object = Map::new();
        object.insert("loss".into(), json!(found.loss));
        object.extend(found.scores.iter().map(|(metric, value)| (key(*metric), json!(value))));
        object.insert(what.replace(' ', "_"), json!(count));
        if let Some((labels, rows)) = &found.matrix {
            object.insert("confusion".into(), json!({ "labels": labels, "counts": rows }));
        }
        out.json(&Value::Object(object))?;
        return out.finish();
    }
    let mut rows = vec![["loss".to_owned(), format!("{:.4}", found.loss)].to_vec()];
    let undefined = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "- (not defined here)".into() };
    rows.extend(found.scores.iter().map(|(metric, value)| vec![metric.title().to_owned(), undefined(*value)]));
    rows.push(vec![what.to_owned(), count.to_string()]);
    table::lines(&[Align::Left, Align::Left], &rows).into_iter().try_for_each(|line| out.line(line))?;
    if let Some((labels, counts)) = found.matrix.as_ref().filter(|(labels, _)| labels.len() <= SHOWN) {
        out.line("")?;
        let mut rows =
            vec![["in the data ↓, found →".to_owned()].into_iter().chain(labels.clone()).collect::<Vec<_>>()];
        let row = |(label, counts): (&String, &Vec<u64>)| {
            [label.clone()].into_iter().chain(counts.iter().map(u64::to_string)).collect()
        };
        rows.extend(labels.iter().zip(counts).map(row));
        let align: Vec<Align> = [Align::Left].into_iter().chain(labels.iter().map(|_| Align::Right)).collect();
        table::lines(&align, &rows).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

/// Labels of a confusion matrix that a terminal shows.
const SHOWN: usize = 12;
