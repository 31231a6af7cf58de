//! `atento recipe`: what a recipe may say.

use atento::tasks;
use atento::train::recipe::Recipe;
use serde_json::json;

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align};

/// Print a commented recipe with every key of a task
///
/// Every key that means something for the task stands there with its meaning, what it accepts and what it is when it is left out.
/// Write it into a file, change it, and train it with `atento train`. Without TASK the tasks are listed, with --json as
/// {"task", "about"}; with TASK --json prints {"task", "recipe"}.
#[derive(Debug, clap::Args)]
pub struct RecipeArgs {
    /// The task, as `task` in recipes
    task: Option<String>,

    /// The family of the model, as `model.arch`
    #[arg(long, value_name = "FAMILY", requires = "task")]
    arch: Option<String>,

    /// What is trained of a model that exists, as `train.method`: partial, features, lora, …
    #[arg(long, value_name = "METHOD", requires = "task")]
    method: Option<String>,

    /// Print a JSON schema of recipes, for editors that complete and check TOML
    #[arg(long, conflicts_with_all = ["task", "reference"])]
    schema: bool,

    /// Print every key of every task as a page in Markdown
    #[arg(long, conflicts_with = "task")]
    reference: bool,
}

/// Runs the verb.
///
/// # Errors
/// There is no such task, family or method, or they do not go together.
pub fn run(args: &RecipeArgs, options: &Options) -> Result<(), Failure> {
    let mut out = Output::open();
    if args.schema {
        out.line(format_args!("{:#}", Recipe::json_schema()?))?;
    } else if args.reference {
        out.piece(&Recipe::reference()?)?;
    } else if let Some(task) = &args.task {
        let text = Recipe::documented(task, args.arch.as_deref(), args.method.as_deref())?;
        match options.json {
            true => out.json(&json!({ "task": task, "recipe": text }))?,
            false => out.piece(&text)?,
        }
    } else if options.json {
        tasks::ALL.into_iter().try_for_each(|task| out.json(&json!({ "task": task.name(), "about": task.about() })))?;
    } else {
        let rows: Vec<Vec<String>> =
            tasks::ALL.into_iter().map(|task| vec![task.name().to_owned(), task.about().to_owned()]).collect();
        table::lines(&[Align::Left, Align::Left], &rows).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}
