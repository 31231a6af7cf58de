//! Several runs of a recipe in one command: with several seeds, and with several values of a setting.
//!
//! Each run is a process of its own, so that its peak memory is its own, and has its directory below the one of all:
//! `OUT/seed-1`, or `OUT/train.top_layers=2/seed-1`. A run that is finished is not made again: the command that was
//! interrupted goes on where it was with `--resume`. `OUT/report.html` shows them side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};
use atento::eval::spread::Spread;
use atento::train::Recipe;
use atento::train::compare::weights_in;
use atento::train::report::{Compared, comparison};
use serde::Serialize;
use serde_json::Value;

use super::TrainArgs;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::stderr::tell;
use crate::ui::table::{self, Align, bytes, thousands};

/// What came of a run, which it leaves in its directory.
const SUMMARY: &str = "summary.json";

/// What a finished run was asked for, which this verb leaves beside that.
const ASKED: &str = "asked.txt";

/// The page of all runs.
const PAGE: &str = "report.html";

/// Settings that options of every run decide.
const OPTIONS: [(&str, &str); 3] = [
    ("seed", "--seeds N, which makes a run with each of N seeds"),
    ("out", "--out, below which each run has its directory"),
    ("from", "--from; make a command for each model"),
];

/// Values that a setting is to have in turn.
#[derive(Debug, Clone)]
pub struct Vary {
    key: String,
    values: Vec<String>,
}

impl std::str::FromStr for Vary {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((key, values)) = text.split_once('=') else {
            bail!("expected KEY=VALUE,VALUE…, such as train.top_layers=2,6");
        };
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            bail!("expected KEY=VALUE,VALUE…, such as train.top_layers=2,6; a value is empty");
        }
        if let Some((_, option)) = OPTIONS.iter().find(|(own, _)| *own == key.trim()) {
            bail!("`{}` is for {option}", key.trim());
        }
        match values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)) {
            Some((_, value)) => bail!("the value {value} is there twice"),
            None => Ok(Self { key: key.trim().to_owned(), values }),
        }
    }
}

/// One row of the table: the runs that differ in their seed alone.
#[derive(Serialize)]
struct Row {
    /// The setting that has a value of its own, if one varies.
    setting: Option<String>,
    seeds: Vec<u64>,
    /// Parameters that were trained.
    trainable: u64,
    /// The largest peak of the runs, in bytes.
    peak_memory: Option<u64>,
    /// The weights that a run leaves, in bytes.
    model_bytes: Option<u64>,
    seconds: Spread,
    tokens_per_second: Spread,
    metrics: BTreeMap<String, Spread>,
    runs: Vec<PathBuf>,
}

impl Row {
    /// What its runs have of their own.
    fn name(&self) -> String {
        self.setting.clone().unwrap_or_else(|| "all".to_owned())
    }
}

/// Makes the runs one after another, prints a table of them, and writes a page.
///
/// # Errors
/// A run cannot start or fails; standard output cannot be written.
pub fn run(args: &TrainArgs, out: &Path, recipe: &Recipe, options: &Options) -> Result<(), Failure> {
    let seeds: Vec<u64> = (0..args.seeds.unwrap_or(1)).map(|at| recipe.seed + at as u64).collect();
    let variants: Vec<Option<String>> = match &args.vary {
        None => vec![None],
        Some(vary) => vary.values.iter().map(|value| Some(format!("{}={value}", vary.key))).collect(),
    };
    if args.max_steps.is_some() && args.vary.as_ref().is_some_and(|vary| vary.key == "train.max_steps") {
        return Err(
            anyhow!("--max-steps and --vary train.max_steps both say how long the runs are: take one out").into()
        );
    }
    // A value that cannot be is told before the first run, not after hours of others.
    for variant in variants.iter().flatten() {
        super::load_recipe(args, Some(variant), options)?;
    }
    let mut rows = Vec::new();
    for variant in variants {
        let dir = variant.as_ref().map_or_else(|| out.to_path_buf(), |variant| out.join(variant));
        let is_solved = match &variant {
            Some(variant) if variant.starts_with("train.method=") => {
                *variant == "train.method=features" || recipe.train.solve_output
            }
            Some(variant) if variant.starts_with("train.solve_output=") => variant.ends_with("true"),
            _ => recipe.train.solves(),
        };
        let features =
            (is_solved && recipe.train.features_dir.is_none()).then(|| std::path::absolute(dir.join("features")));
        let features = features.transpose().context("no working directory").map_err(Failure::Run)?;
        let mut summaries = Vec::new();
        for seed in &seeds {
            let run = dir.join(format!("seed-{seed}"));
            let which = variant.as_ref().map_or_else(String::new, |variant| format!("{variant}, "));
            if !options.quiet {
                tell(format_args!("run {} of {}: {which}seed {seed}", summaries.len() + 1, seeds.len()));
            }
            let summary = one(args, variant.as_deref(), *seed, (&run, features.as_deref()), options)?;
            if summary["ending"] == "stopped" {
                tell(format_args!("to go on: the same command with --resume"));
                return Ok(());
            }
            summaries.push((run, summary));
        }
        rows.push(row(variant, &seeds, &summaries)?);
    }
    let page = write_page(out, &args.recipe, &rows)?;
    if !options.quiet {
        tell(format_args!("the runs side by side: {}", page.display()));
    }
    let mut output = Output::open();
    if options.json {
        rows.iter().try_for_each(|row| output.json(row))?;
    } else {
        lines(&rows).into_iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()
}

/// The summary of a run: of one that is finished, or made now.
fn one(
    args: &TrainArgs,
    variant: Option<&str>,
    seed: u64,
    (run, features): (&Path, Option<&Path>),
    options: &Options,
) -> Result<Value, Failure> {
    let (kept, done) = (run.join(SUMMARY), run.join(ASKED));
    let asked = asked(args, variant)?;
    if args.resume
        && let Ok(before) = fs::read_to_string(&done)
        && let Ok(text) = fs::read_to_string(&kept)
    {
        let summary: Value = serde_json::from_str(&text).with_context(|| format!("{}: no summary", kept.display()))?;
        if before != asked {
            let run = run.display();
            return Err(anyhow!(
                "{run}: the run is finished, but with another recipe or other settings; name another --out"
            )
            .into());
        }
        return Ok(summary);
    }
    let program = std::env::current_exe().context("cannot find this program").map_err(Failure::Run)?;
    let mut command = Command::new(program);
    command.arg("train").arg(&args.recipe).arg("--out").arg(run).args(["--seed", &seed.to_string(), "--json"]);
    // Runs on the features of a frozen model share them.
    let features = features.map(|dir| format!("train.features_dir={}", dir.display()));
    let sets = args.set.iter().map(String::as_str).chain(variant).chain(features.as_deref());
    sets.for_each(|set| {
        command.args(["--set", set]);
    });
    if let Some(steps) = args.max_steps {
        command.args(["--max-steps", &steps.to_string()]);
    }
    if let Some(threads) = options.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if options.quiet {
        command.arg("--quiet");
    }
    if args.resume && run.join("config.toml").exists() {
        command.arg("--resume");
    } else if let Some(from) = &args.from {
        command.arg("--from").arg(from);
    }
    let found =
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().and_then(|child| child.wait_with_output());
    let found = found.context("cannot start a run").map_err(Failure::Run)?;
    if !found.status.success() {
        let fault = anyhow!("{}: the run failed; its message is above", run.display());
        return Err(if found.status.code() == Some(2) { Failure::Input(fault) } else { Failure::Run(fault) });
    }
    let text = String::from_utf8_lossy(&found.stdout);
    let summary: Value = serde_json::from_str(text.trim()).context("a run without a summary").map_err(Failure::Run)?;
    if summary["ending"] != "stopped" {
        atento::hub::atomic::atomic_write(&done, asked.as_bytes()).map_err(Failure::run)?;
    }
    Ok(summary)
}

/// What a run is asked for, but for its seed and its directory: two that are asked for the same give the same.
fn asked(args: &TrainArgs, variant: Option<&str>) -> Result<String, Failure> {
    let recipe = fs::read_to_string(&args.recipe).with_context(|| format!("cannot read {}", args.recipe.display()))?;
    let sets: Vec<&str> = args.set.iter().map(String::as_str).chain(variant).collect();
    Ok(format!("{recipe}\n{sets:?} {:?} {:?}", args.max_steps, args.from))
}

fn row(setting: Option<String>, seeds: &[u64], summaries: &[(PathBuf, Value)]) -> Result<Row, Failure> {
    let number = |summary: &Value, key: &str| summary[key].as_f64();
    let spread = |values: Vec<f64>| Spread::of(&values).ok_or_else(|| anyhow!("a run has no such number"));
    let of_all = |key: &str| spread(summaries.iter().filter_map(|(_, summary)| number(summary, key)).collect());
    let (seconds, tokens_per_second) = (of_all("seconds")?, of_all("tokens_per_second")?);
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (_, summary) in summaries {
        for (name, value) in summary["metrics"].as_object().into_iter().flatten() {
            values.entry(name.clone()).or_default().extend(value.as_f64());
        }
    }
    let metrics = values.into_iter().filter_map(|(name, values)| Some((name, Spread::of(&values)?))).collect();
    Ok(Row {
        setting,
        seeds: seeds.to_vec(),
        trainable: summaries.first().and_then(|(_, summary)| summary["trainable"].as_u64()).unwrap_or(0),
        peak_memory: summaries.iter().filter_map(|(_, summary)| summary["peak_memory"].as_u64()).max(),
        model_bytes: summaries.first().and_then(|(run, _)| weights_in(&run.join("model"))),
        seconds,
        tokens_per_second,
        metrics,
        runs: summaries.iter().map(|(run, _)| run.clone()).collect(),
    })
}

/// Writes the page with the runs side by side.
fn write_page(out: &Path, recipe: &Path, rows: &[Row]) -> Result<PathBuf, Failure> {
    let compared = |row: &Row| Compared {
        setting: row.name(),
        metrics: row.metrics.clone(),
        cost: vec![
            row.seeds.len().to_string(),
            thousands(usize::try_from(row.trainable).unwrap_or(usize::MAX)),
            row.model_bytes.map_or_else(|| "?".to_owned(), bytes),
            row.peak_memory.map_or_else(|| "?".to_owned(), bytes),
            thousands(row.seconds.median.round() as usize),
            thousands(row.tokens_per_second.median.round() as usize),
        ],
    };
    let head = ["", "seeds", "trained", "weights", "peak memory", "seconds", "tokens a second"];
    let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
    let subtitle = "Runs of one recipe, which differ in a setting and in their seeds";
    let rows: Vec<Compared> = rows.iter().map(compared).collect();
    let page = comparison(&name, subtitle, &head, &rows).map_err(Failure::run)?;
    let path = out.join(PAGE);
    atento::hub::atomic::atomic_write(&path, page.as_bytes()).map_err(Failure::run)?;
    Ok(path)
}

/// The table: a line for each setting and measure.
fn lines(rows: &[Row]) -> Vec<String> {
    let mut cells: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let peak = row.peak_memory.map_or_else(|| "?".to_owned(), bytes);
        let setting = row.name();
        let seeds = row.seeds.len();
        cells.push(vec![
            setting,
            format!(
                "{} parameters trained, {seeds} seeds, {:.0} s each (median), {peak} at most, weights of {}",
                thousands(usize::try_from(row.trainable).unwrap_or(usize::MAX)),
                row.seconds.median,
                row.model_bytes.map_or_else(|| "?".to_owned(), bytes)
            ),
        ]);
    }
    let mut all = table::lines(&[Align::Left, Align::Left], &cells);
    let heading = ["", "measure", "median", "mean", "std", "min", "max"].map(str::to_owned).to_vec();
    let mut numbers = vec![heading];
    for row in rows {
        for (name, spread) in &row.metrics {
            let setting = row.name();
            let values = [spread.median, spread.mean, spread.std, spread.min, spread.max];
            let values = values.into_iter().map(|value| format!("{value:.4}"));
            numbers.push([setting, name.replace('_', " ")].into_iter().chain(values).collect());
        }
    }
    all.push(String::new());
    let right = [Align::Right; 5];
    all.extend(table::lines(&[&[Align::Left, Align::Left][..], &right[..]].concat(), &numbers));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_to_try_are_a_key_and_a_list() {
        let vary: Vary = "train.top_layers = 2, 6".parse().unwrap();
        assert_eq!((vary.key.as_str(), vary.values), ("train.top_layers", vec!["2".to_owned(), "6".into()]));
        for wrong in ["train.top_layers", "=2", "a=1,", "a=1,1"] {
            assert!(wrong.parse::<Vary>().is_err(), "{wrong}");
        }
    }
}
