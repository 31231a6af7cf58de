//! `atento adapter merge`: an adapter as part of its model's weights.

use std::path::PathBuf;

use anyhow::anyhow;
use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::peft::{Adapter, Probed};
use atento::pipelines::{LanguageModel, Loaded, Net, Pretrained, TextModel};
use serde_json::json;

use super::PairArgs;
use crate::cli::convert::{check_empty, unwritten};
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;

/// The largest difference between logits of a model with an adapter and of the merged one, relative to the largest of them.
const TOLERANCE: f32 = 1e-5;

/// Write a model that computes what another computes with an adapter
///
/// What the adapter adds becomes part of the weights: the new model is as large and as fast as its base. Both are asked the
/// same before it is written, and nothing is if they answer differently. With --json prints {"path", "modules", "whole",
/// "largest_difference", "largest_logit"}; "whole" are the tensors that took the place of the model's own.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    #[command(flatten)]
    pub pair: PairArgs,

    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// The model or the adapter is wrong; the merged model computes something else; the directory is not empty or cannot be
/// written.
pub fn run(args: &MergeArgs, options: &Options) -> Result<(), Failure> {
    check_empty(&args.out)?;
    let dir = args.pair.open()?;
    dir.require_exact()?;
    match dir.head() {
        Head::Translation => merged(args, &dir, Pretrained::from_dir(&dir, Precision::F32)?, options),
        Head::Language => merged(args, &dir, LanguageModel::from_dir(&dir, Precision::F32)?, options),
        _ => merged(args, &dir, TextModel::from_dir(&dir, Precision::F32)?, options),
    }
}

fn merged<M: Net>(args: &MergeArgs, dir: &ModelDir, mut model: Loaded<M>, options: &Options) -> Result<(), Failure>
where
    Loaded<M>: Probed,
{
    model.notes.iter().for_each(|note| options.note(note));
    let adapter = Adapter::open(dir.adapter().expect("a model that was opened with one"))?;
    adapter.mark_merged(&mut model.kept)?;
    let whole = adapter.names().1;
    let before = model.outputs();
    let modules = model.merge()?;
    let after = model.outputs();
    let largest = before.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let difference = before.iter().zip(&after).fold(0f32, |most, (x, y)| most.max((x - y).abs()));
    // A difference that is no number is none either.
    let is_the_same = difference <= TOLERANCE * largest.max(1.0);
    if !is_the_same {
        let found = format!("their logits differ by up to {difference:e}, the largest logit is {largest}");
        return Err(Failure::run(anyhow!("the merged model computes something else: {found}; nothing was written")));
    }
    model.save(&args.out).map_err(unwritten)?;
    let mut out = Output::open();
    if options.json {
        let (path, difference) = (&args.out, difference);
        out.json(&json!({
            "path": path, "modules": modules, "whole": whole, "largest_difference": difference, "largest_logit": largest
        }))?;
    } else {
        // Biases and what was trained whole take the place of the model's own.
        let merged = match (modules, whole.len()) {
            (0, whole) => format!("{whole} trained tensors in place of the model's own"),
            (_, 0) => format!("{modules} modules merged"),
            (_, whole) => format!("{modules} modules merged, and {whole} trained tensors in place of the model's own"),
        };
        let path = args.out.display();
        out.line(format_args!(
            "{path}: {merged}; logits differ by at most {difference:.1e}, the largest is {largest:.2}"
        ))?;
    }
    out.finish()
}
