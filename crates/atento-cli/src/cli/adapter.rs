//! `atento adapter`: what can be done with an adapter and the model that it is for.

mod combine;
mod convert;
mod diff;
mod inspect;
mod merge;
mod unmerge;

use std::path::PathBuf;

use atento::hub::ModelDir;

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Merge adapters into models and take them out again, show what they are and what they change, convert and combine them
#[derive(Debug, clap::Args)]
pub struct AdapterVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Merge(merge::MergeArgs),
    Unmerge(unmerge::UnmergeArgs),
    Inspect(inspect::InspectArgs),
    Diff(diff::DiffArgs),
    Convert(convert::ConvertArgs),
    Combine(combine::CombineArgs),
}

/// A model and an adapter for it.
#[derive(Debug, clap::Args)]
struct PairArgs {
    /// The model that the adapter is for
    model: PathBuf,

    /// The adapter's directory, or that of the run that trained it
    adapter: PathBuf,

    /// Take a model that is not the one it was made for
    #[arg(long)]
    any_base: bool,
}

impl PairArgs {
    fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        locator.adapter(&mut self.adapter)
    }

    /// Opens the model with the adapter on it.
    fn open(&self) -> Result<ModelDir, Failure> {
        let dir = ModelDir::open_with(&self.model, &self.adapter)?;
        Ok(if self.any_base { dir.of_any_base() } else { dir })
    }
}

impl AdapterVerb {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        match &mut self.verb {
            Verb::Merge(args) => args.pair.locate(locator),
            Verb::Unmerge(args) => args.locate(locator),
            Verb::Inspect(args) => locator.adapter(&mut args.adapter),
            Verb::Diff(args) => args.pair.locate(locator),
            Verb::Convert(args) => args.locate(locator),
            Verb::Combine(args) => args.adapters.iter_mut().try_for_each(|adapter| locator.adapter(adapter)),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or the adapter is wrong; the directory to write is not empty or cannot be written.
pub fn run(args: &AdapterVerb, options: &Options) -> Result<(), Failure> {
    match &args.verb {
        Verb::Merge(args) => merge::run(args, options),
        Verb::Unmerge(args) => unmerge::run(args, options),
        Verb::Inspect(args) => inspect::run(args, options),
        Verb::Diff(args) => diff::run(args, options),
        Verb::Convert(args) => convert::run(args, options),
        Verb::Combine(args) => combine::run(args, options),
    }
}
