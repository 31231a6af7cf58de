//! `atento demo`: the whole thing in a few minutes, without data or network.

use std::path::PathBuf;

use anyhow::Context;
use atento::demo::{self, Demo};
use atento::train::StopFlag;
use atento::train::recipe::Override;

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::progress::Progress;
use crate::ui::signals::{SAVING, stop_on_interrupt};
use crate::ui::table::thousands;

/// Train the original Transformer on the built-in English–German corpus, score it and translate
///
/// Takes a few minutes on two cores. The run directory then holds the model, the curves and the recipe.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// The run directory [default: the first free one of runs/demo, runs/demo-2, …]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Replace a setting of the demo's recipe, such as train.max_epochs=2; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// A setting or the run directory is wrong; training fails; standard output cannot be written.
pub fn run(args: &DemoArgs, options: &Options) -> Result<(), Failure> {
    args.out.as_deref().map_or(Ok(()), |out| super::train::require_utf8("--out", out))?;
    let mut overrides: Vec<Override> = args.set.iter().map(Override::set).collect();
    overrides.extend(options.seed.map(|seed| Override::option("--seed", "seed", seed)));
    let out_dir = args.out.clone().unwrap_or_else(demo::free_run_directory);
    let recipe = demo::recipe(&out_dir, &overrides).map_err(super::train::failure)?;
    options.start_threads(recipe.threads)?;
    let stop = StopFlag::new();
    stop_on_interrupt(&stop, SAVING).context("cannot listen for Ctrl-C").map_err(Failure::Run)?;
    let result = demo::run(&recipe, &stop, &mut Progress::new(options)).map_err(super::train::failure)?;
    let mut out = Output::open();
    if options.json {
        out.json(&result)?;
    } else {
        lines(&result).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

fn lines(demo: &Demo) -> Vec<String> {
    let mut lines = Vec::new();
    let width = demo.translations.iter().map(|t| t.source.chars().count()).max().unwrap_or(0);
    for translated in &demo.translations {
        lines.push(format!("{:width$}  →  {}", translated.source, translated.translation));
    }
    lines.push(String::new());
    if let Some(bleu) = demo.bleu {
        let signature = demo.run.signature.as_deref().unwrap_or_default();
        lines.push(format!("held-out BLEU {bleu:.2}   ({signature})"));
    }
    let speed = thousands(demo.tokens_per_second.round() as usize);
    lines.push(format!("trained in {:.0} s at {speed} tokens/s", demo.seconds));
    let run = demo.run.run.display();
    lines.push(format!("model: {run}/model   curves and samples: {run}/report.html"));
    lines.push(format!("next: atento translate {run}/model \"The dog sleeps.\""));
    lines
}
