//! How right a model with a head is.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use atento::eval::Counts;
use atento::hub::ModelDir;
use atento::pipelines::TextModel;
use atento::tasks::{Data, Evaluated, Evaluation, evaluate};
use atento::train::StopFlag;
use atento::train::events::group_thousands;
use atento::train::recipe::{Metric, OnTruncate, Recipe};
use atento::train::report::Sample;
use serde_json::{Map, Value, json};

use super::EvalArgs;
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

    /// Show so many of what the model is most wrong about, the worst first; 20 at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=20))]
    mistakes: Option<u64>,
}

impl HeadArgs {
    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { pair_key, label_key, null_threshold, mistakes } = self;
        let options = [
            ("--pair-key", pair_key.is_some()),
            ("--label-key", label_key.is_some()),
            ("--null-threshold", null_threshold.is_some()),
            ("--mistakes", mistakes.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// The data that the run of a model was tested on, or else validated on; the file, for messages.
fn of_run(model: &Path) -> Result<(Data, PathBuf), Failure> {
    let config = model.join("config.toml");
    if !config.exists() {
        return Err(anyhow!("name the data with --data: {} is no run that knows them", model.display()).into());
    }
    // Files that are not measured on may be gone.
    let text = std::fs::read_to_string(&config).with_context(|| format!("{}: cannot read it", config.display()))?;
    let data = Recipe::read_text(&text, &config.display().to_string())?.recipe.data;
    let found = [data.test, data.valid].into_iter().flatten().find_map(|files| {
        let forms = [&files.tsv, &files.csv, &files.jsonl, &files.conll, &files.squad];
        let path = forms.into_iter().find_map(Clone::clone)?;
        Some((Data::Files(Box::new(files)), path))
    });
    let text =
        data.valid_text.map(|path| (Data::Path { path: path.clone(), keys: [Some(data.text_key), None, None] }, path));
    let found = found.or(text);
    found.ok_or_else(|| {
        anyhow!("name the data with --data: {} has no file of test or validation data", config.display()).into()
    })
}

/// Measures the model of a directory.
///
/// # Errors
/// The model or the data are wrong; the output cannot be written.
pub fn run(
    dir: &ModelDir,
    data: Option<&Path>,
    args: &EvalArgs,
    on_too_long: OnTooLong,
    options: &Options,
) -> Result<(), Failure> {
    let text_key = args.language.text_key().map(str::to_owned);
    let (args, run, weights) = (&args.heads, &args.model, &args.weights);
    let keys = [text_key, args.pair_key.clone(), args.label_key.clone()];
    let (from, data) = match data {
        Some(path) => (Data::Path { path: path.into(), keys }, path.to_path_buf()),
        None if keys.iter().any(Option::is_some) => {
            return Err(anyhow!("the keys of data are named, and no data: name them with --data").into());
        }
        None => {
            let (data, path) = of_run(run)?;
            options.note(format_args!("measured on {}, as the run has it", path.display()));
            (data, path)
        }
    };
    let model = TextModel::from_dir(dir, weights.precision(dir)?)?;
    model.notes.iter().for_each(|note| options.note(note));
    let how = Evaluation {
        data: from,
        on_truncate: match on_too_long {
            OnTooLong::Skip => OnTruncate::Drop,
            OnTooLong::Cut => OnTruncate::Warn,
            OnTooLong::Split => OnTruncate::Split,
        },
        null_threshold: args.null_threshold.unwrap_or(0.0),
        seed: options.seed.unwrap_or(1),
    };
    let found = evaluate(model, &how, &StopFlag::new()).map_err(failure)?;
    print(&found, args.mistakes.unwrap_or(0) as usize, options)?;
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

fn print(found: &Evaluated, mistakes: usize, options: &Options) -> Result<(), Failure> {
    let mut out = Output::open();
    let (count, what) = found.examples;
    if options.json {
        let mut object = Map::new();
        object.insert("loss".into(), json!(found.loss));
        object.extend(found.scores.iter().map(|(metric, value)| (key(*metric), json!(value))));
        object.insert(what.replace(' ', "_"), json!(count));
        if !found.labels.is_empty() {
            let of = |counts: &Counts| {
                let (precision, recall, f1) = (counts.precision(), counts.recall(), counts.f1());
                json!({ "precision": precision, "recall": recall, "f1": f1, "in_data": counts.gold, "found": counts.found })
            };
            let labels: Map<String, Value> =
                found.labels.iter().map(|(label, counts)| (label.clone(), of(counts))).collect();
            object.insert("labels".into(), Value::Object(labels));
        }
        if mistakes > 0 {
            let one = |sample: &Sample| json!({ "text": sample.source, "expected": sample.reference, "found": sample.hypothesis });
            let all: Vec<Value> = found.mistakes.iter().take(mistakes).map(one).collect();
            object.insert("mistakes".into(), json!(all));
        }
        if let Some((labels, rows)) = &found.matrix {
            object.insert("confusion".into(), json!({ "labels": labels, "counts": rows }));
        }
        out.json(&Value::Object(object))?;
        return out.finish();
    }
    let mut rows = vec![["loss".to_owned(), format!("{:.4}", found.loss)].to_vec()];
    let undefined = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "- (not defined here)".into() };
    rows.extend(found.scores.iter().map(|(metric, value)| vec![metric.title().to_owned(), undefined(*value)]));
    rows.push(vec![what.to_owned(), group_thousands(count)]);
    table::lines(&[Align::Left, Align::Left], &rows).into_iter().try_for_each(|line| out.line(line))?;
    if !found.labels.is_empty() {
        out.line("")?;
        let mut rows = vec![["", "precision", "recall", "F1", "in the data", "found"].map(str::to_owned).to_vec()];
        rows.extend(found.labels.iter().take(SHOWN).map(|(label, counts)| {
            let shares = [counts.precision(), counts.recall(), counts.f1()].map(|share| format!("{share:.4}"));
            let numbers = [counts.gold, counts.found].map(group_thousands);
            [label.clone()].into_iter().chain(shares).chain(numbers).collect()
        }));
        let align = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Right, Align::Right];
        table::lines(&align, &rows).into_iter().try_for_each(|line| out.line(line))?;
        if found.labels.len() > SHOWN {
            out.line(format!("… and {} more: --json has all", found.labels.len() - SHOWN))?;
        }
    }
    if let Some((labels, counts)) = found.matrix.as_ref().filter(|(labels, _)| labels.len() <= SHOWN) {
        out.line("")?;
        let mut rows =
            vec![["in the data ↓, found →".to_owned()].into_iter().chain(labels.clone()).collect::<Vec<_>>()];
        let row = |(label, counts): (&String, &Vec<u64>)| {
            [label.clone()].into_iter().chain(counts.iter().copied().map(group_thousands)).collect()
        };
        rows.extend(labels.iter().zip(counts).map(row));
        let align: Vec<Align> = [Align::Left].into_iter().chain(labels.iter().map(|_| Align::Right)).collect();
        table::lines(&align, &rows).into_iter().try_for_each(|line| out.line(line))?;
    }
    for sample in found.mistakes.iter().take(mistakes) {
        out.line("")?;
        out.line(&sample.source)?;
        out.line(format!("  in the data: {}", sample.reference))?;
        out.line(format!("  found:       {}", sample.hypothesis))?;
    }
    out.finish()
}

/// Labels that a terminal shows, and those of a confusion matrix that a terminal shows.
const SHOWN: usize = 12;
