//! `atento compare RUN RUN…`: runs beside each other, on the terminal and on one page.

use std::path::{Path, PathBuf};

use atento::train::Comparison;
use atento::train::compare::Run;
use atento::train::report::overlay;
use serde_json::{Value, json};

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::out_file::OutFile;
use crate::ui::output::Output;
use crate::ui::stderr::tell;
use crate::ui::table::{self, Align};

/// Compare runs: the settings in which they differ, their results, and their curves on one page
///
/// The runs are of one task. Of a run that has not ended the table has the measures of its last evaluation. With --json one
/// object is printed: {"runs": [{"run", "name", "steps", "model_bytes", "evaluation", "summary"}], "settings": {KEY: [VALUE…]},
/// "page"}; "summary" has the numbers of the run's summary.json, and is null of a run that has not ended.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Directories of runs
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,

    /// The page, in place of one that is there
    #[arg(long, value_name = "FILE", default_value = "compare.html")]
    out: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// A directory holds no run; the runs are of several tasks; the page or standard output cannot be written.
pub fn run(args: &CompareArgs, options: &Options) -> Result<(), Failure> {
    let comparison = Comparison::read(&args.runs)?;
    let inputs: Vec<PathBuf> = comparison.runs().iter().flat_map(Run::files).collect();
    let page = OutFile::check("--out", &args.out, inputs.iter().map(PathBuf::as_path))?;
    let html = overlay(&comparison).map_err(Failure::run)?;
    page.write(|file| file.write_all(html.as_bytes()))?;
    comparison.notes().iter().for_each(|note| options.note(note));
    let mut out = Output::open();
    if options.json {
        out.json(&object(&comparison, &args.out)?)?;
    } else {
        lines(&comparison).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()?;
    if !options.quiet {
        tell(format_args!("curves: {}", args.out.display()));
    }
    Ok(())
}

fn object(comparison: &Comparison, page: &Path) -> Result<Value, Failure> {
    let run = |run: &Run| {
        json!({
            "run": run.path, "name": run.name, "steps": run.steps(), "model_bytes": run.model_bytes,
            "evaluation": run.evaluation(), "summary": run.results,
        })
    };
    let runs: Vec<Value> = comparison.runs().iter().map(run).collect();
    Ok(json!({ "runs": runs, "settings": comparison.settings(), "page": page }))
}

/// The two tables, a column for each run.
fn lines(comparison: &Comparison) -> Vec<String> {
    let runs = comparison.runs();
    let settings = comparison.settings().into_iter().map(|(key, values)| {
        std::iter::once(key.to_owned()).chain(values.into_iter().map(|value| value.unwrap_or("–").to_owned())).collect()
    });
    let results = comparison.results().into_iter().map(|row| {
        std::iter::once(row.name).chain(row.values.into_iter().map(|value| value.unwrap_or("–".into()))).collect()
    });
    let names = || runs.iter().map(|run| run.name.clone());
    let table = |title: &str, rows: Vec<Vec<String>>| {
        let head = std::iter::once(title.to_owned()).chain(names()).collect();
        let columns = [vec![Align::Left], vec![Align::Right; runs.len()]].concat();
        table::lines(&columns, &[vec![head], rows].concat())
    };
    let settings: Vec<Vec<String>> = settings.collect();
    let mut lines = match settings.is_empty() {
        true => vec!["the runs have the same settings".to_owned()],
        false => table("settings", settings),
    };
    lines.push(String::new());
    lines.extend(table("results", results.collect()));
    lines
}
