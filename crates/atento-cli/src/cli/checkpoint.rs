//! `atento checkpoint`: what a run kept, and models made of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use atento::train::checkpoint::Checkpoints;
use atento::train::{export_checkpoints, exported_steps, metrics};
use indicatif::HumanBytes;
use serde_json::{Map, json};

use super::train;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::thousands;
use crate::ui::table::{self, Align};

/// List the checkpoints of a run, and make models of them
#[derive(Debug, clap::Args)]
pub struct CheckpointVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(ListArgs),
    Export(ExportArgs),
    Average(AverageArgs),
}

/// List a run's checkpoints with what was measured after them
///
/// A star marks those that the run's model is made of. With --json one object for each: {"step", "bytes", "exported"} and its
/// measures, such as "eval_loss".
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The run directory
    run: PathBuf,
}

/// Write the model of one checkpoint
#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// The run directory
    run: PathBuf,

    /// The update after which it was made
    #[arg(long, value_name = "N")]
    step: u64,

    /// The model directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Write the model whose weights are the mean of several checkpoints
#[derive(Debug, clap::Args)]
struct AverageArgs {
    /// The run directory
    run: PathBuf,

    /// The updates after which they were made
    #[arg(long, value_name = "N,N…", value_delimiter = ',', required_unless_present = "last", conflicts_with = "last")]
    steps: Vec<u64>,

    /// The last this many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    last: Option<u16>,

    /// The model directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// There is no such run or checkpoint; a checkpoint is damaged; the model cannot be written.
pub fn run(args: &CheckpointVerb, options: &Options) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(args) => list(&args.run, options),
        Verb::Export(args) => export(&args.run, &[args.step], &args.out, options),
        Verb::Average(args) => {
            let steps = match args.last {
                Some(count) => {
                    let steps = steps(&args.run)?;
                    let steps: Vec<u64> = steps.into_iter().filter(|&step| step > 0).collect();
                    steps[steps.len().saturating_sub(count.into())..].to_vec()
                }
                None => args.steps.clone(),
            };
            export(&args.run, &steps, &args.out, options)
        }
    }
}

/// The checkpoints of a run.
fn checkpoints(run: &Path) -> Checkpoints {
    Checkpoints::new(run.join("checkpoints"))
}

/// The steps of its checkpoints, of which there is one at least.
fn steps(run: &Path) -> Result<Vec<u64>, Failure> {
    let steps = checkpoints(run).steps()?;
    match steps.is_empty() {
        true => Err(anyhow!("{} has no checkpoints: name the directory of a run", run.display()).into()),
        false => Ok(steps),
    }
}

fn list(run: &Path, options: &Options) -> Result<(), Failure> {
    let steps = steps(run)?;
    let exported = exported_steps(run);
    let mut measures: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
    for record in metrics::read(&run.join("metrics.jsonl"))? {
        measures.entry(record.step).or_default().extend(record.eval);
    }
    let names: Vec<&String> = measures.values().flat_map(BTreeMap::keys).collect();
    let mut columns: Vec<&String> = Vec::new();
    names.into_iter().for_each(|name| {
        if !columns.contains(&name) {
            columns.push(name);
        }
    });
    let mut out = Output::open();
    let mut rows = vec![["step", "", "size"].iter().map(|&head| head.to_owned()).collect::<Vec<_>>()];
    rows[0].extend(columns.iter().map(|name| name.trim_start_matches("eval_").replace('_', " ")));
    for step in steps {
        let bytes = bytes_in(&checkpoints(run).path(step));
        let found = measures.get(&step);
        let is_exported = exported.contains(&step);
        if options.json {
            let mut object = Map::from_iter([
                ("step".to_owned(), json!(step)),
                ("bytes".to_owned(), json!(bytes)),
                ("exported".to_owned(), json!(is_exported)),
            ]);
            object.extend(found.into_iter().flatten().map(|(name, value)| (name.clone(), json!(value))));
            out.json(&object)?;
            continue;
        }
        let star = if is_exported { "*" } else { "" };
        let mut row = vec![thousands(step as usize), star.to_owned(), HumanBytes(bytes).to_string()];
        let value = |name: &&String| found.and_then(|found| found.get(*name));
        row.extend(columns.iter().map(|name| value(name).map_or("–".to_owned(), |value| format!("{value:.4}"))));
        rows.push(row);
    }
    if !options.json {
        let align: Vec<Align> = (0..rows[0].len()).map(|at| if at == 1 { Align::Left } else { Align::Right }).collect();
        table::lines(&align, &rows).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

/// Bytes of the files in a directory; a model that was made of a checkpoint is not counted.
fn bytes_in(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn export(run: &Path, steps: &[u64], out: &Path, options: &Options) -> Result<(), Failure> {
    if steps.is_empty() {
        return Err(anyhow!("{} has no checkpoints of updates: name the directory of a run", run.display()).into());
    }
    export_checkpoints(run, steps, out).map_err(train::failure)?;
    let names: Vec<String> = steps.iter().map(u64::to_string).collect();
    let what = if steps.len() > 1 { "the mean of steps" } else { "step" };
    if options.json {
        let mut output = Output::open();
        output.json(&json!({ "model": out, "steps": steps }))?;
        return output.finish();
    }
    options.note(format_args!("{}: {what} {}", out.display(), names.join(", ")));
    Ok(())
}
