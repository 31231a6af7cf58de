//! `atento init`: a first recipe for data that somebody has.

use std::path::{Path, PathBuf};

use atento::hub::atomic::atomic_write;
use atento::tasks::init::{Wishes, draft};
use atento::train::recipe::Recipe;
use serde_json::json;

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::stderr::tell;

/// Look at data and write a recipe that fits them
///
/// DATA is a file of pairs (TSV or JSON lines), two files of which each line translates that of the other, texts with labels (TSV,
/// CSV, JSON lines), prompts with completions, conversations, labelled words (.conll), questions (SQuAD's JSON), or a text or a
/// folder of texts. Files with "valid", "val" or "dev" in their names are watched in training, those with "test" are scored in the
/// end. The recipe goes to standard output, each of its settings with a reason; with --json as {"task", "recipe"}.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The data
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,

    /// The task, where the data do not decide: `atento recipe` lists them
    #[arg(long, value_name = "TASK")]
    task: Option<String>,

    /// The model to train further
    #[arg(long, value_name = "MODEL")]
    from: Option<PathBuf>,

    /// How long training may take
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,

    /// Write the recipe into this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl InitArgs {
    /// Finds the model that is trained further. The recipe names it as it was named.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.from.clone().map_or(Ok(()), |mut from| locator.model(&mut from))
    }
}

/// Runs the verb.
///
/// # Errors
/// A file cannot be read, or the data fit no task; there is no such task; the file is there already.
pub fn run(args: &InitArgs, options: &Options) -> Result<(), Failure> {
    let task = args.task.as_deref().map(Recipe::of_task).transpose()?.map(|recipe| recipe.task);
    // A recipe's paths are looked for beside it first.
    let is_elsewhere = args.out.as_deref().and_then(Path::parent).is_some_and(|folder| folder != Path::new(""));
    let data = match is_elsewhere {
        true => args.data.iter().map(std::path::absolute).collect::<std::io::Result<Vec<_>>>()?,
        false => args.data.clone(),
    };
    let text = draft(&data, &Wishes { task, from: args.from.clone(), minutes: args.minutes })?;
    let Some(path) = &args.out else {
        let mut out = Output::open();
        match options.json {
            true => {
                out.json(&json!({ "task": Recipe::read_text(&text, "the draft")?.recipe.task.word(), "recipe": text }))?
            }
            false => out.piece(&text)?,
        }
        return out.finish();
    };
    if path.exists() {
        return Err(anyhow::anyhow!("{} is there already: choose another file, or remove it", path.display()).into());
    }
    atomic_write(path, text.as_bytes())?;
    if !options.quiet {
        tell(format_args!("{}: check it with `atento train {} --dry-run`", path.display(), path.display()));
    }
    Ok(())
}
