//! `atento train RECIPE.toml`: a training run, from text to a model that translates, goes on with text or answers.

mod next;
pub mod several;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use atento::data::tokens::instruct::MaskedPiece;
use atento::train::events::{format_duration, group_thousands};
use atento::train::recipe::{Loaded, Override};
use atento::train::run_dir::{Mode, RunDir};
use atento::train::{self, Recipe, StopFlag, Summary, TrainOptions};

use self::next::quoted;
use self::several::Vary;
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::number::positive;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::progress::Progress;
use crate::ui::signals::{SAVING, StoppedBy, remove_on_interrupt, stop_on_interrupt};
use crate::ui::stderr::tell;
use crate::ui::table::{self, Align, thousands};

/// Examples that `--show-masks` prints.
const SHOWN: usize = 5;

/// Train a model as a recipe says
///
/// A run that starts from a model (--from, or `from` in the recipe) states that model in its config.toml.
///
/// Ctrl-C finishes the step, saves a checkpoint and prints the command that goes on from it; exit code 0. With --json
/// a summary object is printed at the end.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// The recipe, a TOML file; a run's config.toml is one
    recipe: PathBuf,

    /// Replace a setting of the recipe, such as model.dropout=0.3; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// Start from the weights and the tokenizer of this model, a directory or org/name on the Hugging Face Hub [default: the recipe's `from`, or a new model]
    #[arg(long, value_name = "MODEL")]
    from: Option<PathBuf>,

    /// The run directory [default: the recipe's, or runs/ and the recipe's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the run in the run directory
    #[arg(long)]
    resume: bool,

    /// The limit in updates, in place of the recipe's
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,

    /// Check everything, print what the run would take, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Make this many runs, with seeds from the recipe's on, and print how their results are spread
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["dry_run", "show_masks"])]
    seeds: Option<usize>,

    /// Make a run with each of these values of a setting, such as train.top_layers=2,6, and print a table of them
    #[arg(long, value_name = "KEY=V,V…", conflicts_with_all = ["dry_run", "show_masks"])]
    vary: Option<Vary>,

    /// Print a few prompts with their completions, what is learned between ⟦ and ⟧, and write nothing
    #[arg(long, conflicts_with = "resume")]
    show_masks: bool,
}

impl TrainArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.from.iter_mut().try_for_each(|from| locator.model(from))
    }
}

/// Runs the verb.
///
/// # Errors
/// The recipe, its data or the run directory is wrong; training fails; standard output cannot be written.
pub fn run(args: &TrainArgs, options: &Options) -> Result<(), Failure> {
    let Loaded { recipe, written, notes } = load_recipe(args, None, options)?;
    notes.iter().for_each(|note| options.note(note));
    let is_one = args.seeds.is_none() && args.vary.is_none();
    if is_one && args.resume && args.from.is_some() {
        return Err(anyhow!("--from cannot be used with --resume: the run knows the model that it started from").into());
    }
    if !is_one {
        let out = recipe.out.clone().ok_or_else(|| anyhow!("several runs need a directory: give --out"))?;
        return several::run(args, &out, &recipe, options);
    }
    options.start_threads(recipe.threads)?;
    let how = TrainOptions { resume: args.resume, written };
    if args.show_masks {
        return show_masks(&recipe, &how, options);
    }
    if args.dry_run {
        return show_plan(&recipe, &how, options);
    }
    let stop = StopFlag::new();
    stop_on_interrupt(&stop, SAVING).context("cannot listen for Ctrl-C").map_err(Failure::Run)?;
    let summary = train::train(&recipe, &how, &stop, &mut Progress::new(options)).map_err(failure)?;
    let is_stopped = summary.ending == "stopped";
    let mut out = Output::open();
    if options.json {
        out.json(&summary)?;
    } else {
        let mut rows = rows(&summary);
        if !is_stopped {
            let command = next::command(&*recipe.task, &summary.run, summary.example.as_deref());
            rows.push(vec!["next".to_owned(), command]);
        }
        table::lines(&[Align::Left, Align::Left], &rows).into_iter().try_for_each(|line| out.line(line))?;
    }
    out.finish()?;
    if is_stopped {
        tell(format_args!("to go on: {}", resume_command(&summary.run)));
    }
    Ok(())
}

fn show_plan(recipe: &Recipe, how: &TrainOptions, options: &Options) -> Result<(), Failure> {
    let mut stopped = Ok(StoppedBy::default());
    let plan = train::plan_in(recipe, how, |folder| stopped = remove_on_interrupt(folder));
    let stopped = stopped.context("cannot listen for Ctrl-C").map_err(Failure::Run)?;
    while stopped.exit_code().is_some() {
        // The program is being ended, whatever became of the plan without its folder.
        std::thread::park();
    }
    let plan = plan.map_err(failure)?;
    plan.notes.iter().for_each(|note| options.note(note));
    let mode = if how.resume { Mode::Resume } else { Mode::New };
    if let Some(Err(refusal)) = recipe.out.as_deref().map(|out| RunDir::check(out, mode)) {
        options.note(format_args!("as it is, this would not start: {refusal}"));
    }
    let mut out = Output::open();
    if options.json {
        out.json(&plan)?;
    } else {
        plan.to_string().lines().try_for_each(|line| out.line(line))?;
    }
    out.finish()
}

fn show_masks(recipe: &Recipe, how: &TrainOptions, options: &Options) -> Result<(), Failure> {
    let examples = train::show_masks(recipe, how, SHOWN).map_err(failure)?;
    let mut out = Output::open();
    for shown in &examples {
        if options.json {
            out.json(shown)?;
        } else {
            let (example, tokens) = (group_thousands(shown.example), thousands(shown.tokens));
            out.line(format_args!("example {example}, {tokens} tokens"))?;
            out.line(format_args!("{}\n", marked(&shown.pieces)))?;
        }
    }
    out.finish()
}

/// The text of an example with marks around what is learned.
fn marked(pieces: &[MaskedPiece]) -> String {
    pieces.iter().map(|piece| if piece.learned { format!("⟦{}⟧", piece.text) } else { piece.text.clone() }).collect()
}

/// Whose fault it was, for the exit code.
pub fn failure(error: train::Error) -> Failure {
    if error.is_input() { Failure::Input(error.into()) } else { Failure::run(error) }
}

/// The recipe with what the command line says in place of what it says, and with one more setting.
fn load_recipe(args: &TrainArgs, variant: Option<&str>, options: &Options) -> Result<Loaded, Failure> {
    let paths = [("the recipe", Some(&args.recipe)), ("--out", args.out.as_ref()), ("--from", args.from.as_ref())];
    for (name, path) in paths.into_iter().filter_map(|(name, path)| Some((name, path?))) {
        require_utf8(name, path)?;
    }
    let mut overrides: Vec<Override> = args.set.iter().map(String::as_str).chain(variant).map(Override::set).collect();
    overrides.extend(args.max_steps.map(|steps| Override::option("--max-steps", "train.max_steps", steps)));
    overrides.extend(options.seed.map(|seed| Override::option("--seed", "seed", seed)));
    // A model that exists decides over what the recipe leaves out; where the recipe names it, `load` knows.
    let has_model = args.from.is_some() || args.resume;
    let load = if has_model { Recipe::load_unsettled } else { Recipe::load };
    let mut loaded = load(&args.recipe, &overrides)?;
    if let Some(out) = &args.out {
        loaded.recipe.out = Some(out.clone());
    }
    if let Some(from) = &args.from {
        loaded.recipe.from = Some(from.clone());
    }
    let locator = Locator::new(options);
    match &mut loaded.recipe.from {
        // A run that goes on knows where its model lies.
        Some(from) if args.resume => locator.cached(from),
        Some(from) => locator.model(from)?,
        None => {}
    }
    Ok(loaded)
}

/// A path that the run's config.toml can hold, wherever it lies.
///
/// # Errors
/// It is not UTF-8.
pub fn require_utf8(name: &str, path: &Path) -> Result<(), Failure> {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
    let whole = whole.unwrap_or_else(|_| path.to_path_buf());
    match whole.to_str() {
        Some(_) => Ok(()),
        None => Err(anyhow!(
            "{name}: the path {} is not UTF-8, and config.toml, which repeats it, must be: rename it",
            whole.display()
        )
        .into()),
    }
}

fn resume_command(run: &Path) -> String {
    let [config, run] = [&run.join("config.toml"), run].map(|path| quoted(&path.display().to_string()));
    format!("atento train {config} --out {run} --resume")
}

fn in_time(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds >= 60.0 => format_duration(duration),
        _ => format!("{seconds:.1} s"),
    }
}

fn rows(summary: &Summary) -> Vec<Vec<String>> {
    let mut rows = vec![
        vec!["run".to_owned(), summary.run.display().to_string()],
        vec!["parameters".to_owned(), format!("{} trained", thousands(summary.trainable))],
        vec!["steps".to_owned(), format!("{} ({:.2} epochs)", group_thousands(summary.steps), summary.epochs)],
        vec!["time".to_owned(), in_time(summary.seconds)],
    ];
    rows.extend(summary.speed.iter().map(|speed| vec!["speed".to_owned(), speed.in_words()]));
    rows.push(vec!["exported".to_owned(), summary.exported()]);
    rows.extend(summary.metrics.iter().map(|(name, value)| vec![name.replace('_', " "), format!("{value:.4}")]));
    rows.extend(summary.signature.iter().map(|signature| vec!["BLEU".to_owned(), signature.clone()]));
    rows.push(vec!["report".to_owned(), summary.report.display().to_string()]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_cut_it() {
        let command = resume_command(Path::new("it's mine"));
        assert_eq!(command, r"atento train 'it'\''s mine/config.toml' --out 'it'\''s mine' --resume");
    }
}
