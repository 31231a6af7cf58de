//! `atento adapter unmerge`: a model without the adapter that was merged into it.

use std::path::PathBuf;

use atento::families::Head;
use atento::hub::ModelDir;
use atento::models::Precision;
use atento::peft::Adapter;
use atento::pipelines::{LanguageModel, Loaded, Net, Pretrained, TextModel};
use serde_json::json;

use crate::cli::convert::{check_empty, unwritten};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;

/// Write the model that an adapter was merged into, from the merged one
///
/// What the adapter added is taken away again, and what it multiplied is divided, up to rounding. What was trained whole beside it, such as an output for labels,
/// stays as it is: the base's own is nowhere in the merged model. With --json prints {"path", "modules", "kept"}.
#[derive(Debug, clap::Args)]
pub struct UnmergeArgs {
    /// The merged model
    model: PathBuf,

    /// The adapter that was merged into it
    adapter: PathBuf,

    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl UnmergeArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        locator.adapter(&mut self.adapter)
    }
}

/// Runs the verb.
///
/// # Errors
/// The adapter was not merged into the model, or is of a kind that cannot be taken out; the directory is not empty or cannot be
/// written.
pub fn run(args: &UnmergeArgs, options: &Options) -> Result<(), Failure> {
    check_empty(&args.out)?;
    let dir = ModelDir::open(&args.model)?;
    dir.require_exact()?;
    match dir.head() {
        Head::Translation => without(args, Pretrained::from_dir(&dir, Precision::F32)?, options),
        Head::Language => without(args, LanguageModel::from_dir(&dir, Precision::F32)?, options),
        _ => without(args, TextModel::from_dir(&dir, Precision::F32)?, options),
    }
}

fn without<M: Net>(args: &UnmergeArgs, mut model: Loaded<M>, options: &Options) -> Result<(), Failure> {
    let dir = ModelDir::adapter_in(&args.adapter)?;
    let adapter = Adapter::open(&dir)?;
    adapter.unmark_merged(&args.model, &mut model.kept)?;
    let config = model.model.config();
    let modules = adapter.take_out(&*config, model.model.params_mut())?;
    let kept = adapter.names().1;
    model.save(&args.out).map_err(unwritten)?;
    let mut out = Output::open();
    if options.json {
        out.json(&json!({ "path": args.out, "modules": modules, "kept": kept }))?;
    } else {
        out.line(format_args!("{}: the adapter was taken out of {modules} modules", args.out.display()))?;
        if !kept.is_empty() {
            out.line(format_args!("what was trained whole stays as it was trained: {}", kept.join(", ")))?;
        }
    }
    out.finish()
}
