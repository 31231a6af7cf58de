//! The options that every verb has.

use anyhow::{Context, anyhow, bail};

use super::failure::Failure;
use super::stderr::tell;

/// More threads than this are a slip of the keyboard.
const MOST_THREADS: usize = 4096;
const THREADS_VARIABLE: &str = "RAYON_NUM_THREADS";

/// Options before or after the verb.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Options {
    /// Print JSON, one object for each input line
    #[arg(long, global = true)]
    pub json: bool,

    /// Threads to compute with [default: RAYON_NUM_THREADS, or all cores]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,

    /// The number that random choices follow from
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,

    /// No progress and no notes on standard error, errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Options {
    /// Starts the threads that all computing is done on: as many as `--threads` says, else a recipe, else the
    /// environment, else the machine's cores.
    ///
    /// # Errors
    /// A number of threads that cannot be.
    pub fn start_threads(&self, recipe: Option<usize>) -> Result<(), Failure> {
        let Some(threads) = self.wanted_threads(recipe)? else { return Ok(()) };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().with_context(|| format!("cannot start {threads} threads")).map_err(Failure::run)
    }

    fn wanted_threads(&self, recipe: Option<usize>) -> anyhow::Result<Option<usize>> {
        if let Some(threads) = self.threads {
            return check_threads(threads, "--threads").map(Some);
        }
        if recipe.is_some() {
            return Ok(recipe);
        }
        let text = match std::env::var(THREADS_VARIABLE) {
            Ok(text) if !text.trim().is_empty() => text,
            _ => return Ok(None),
        };
        let threads = text.trim().parse().map_err(|_| {
            anyhow!("{THREADS_VARIABLE} is {text:?}, expected a number of threads from 1 to {MOST_THREADS}")
        })?;
        check_threads(threads, THREADS_VARIABLE).map(Some)
    }

    /// Tells something on standard error that is no error.
    pub fn note(&self, message: impl std::fmt::Display) {
        if !self.quiet {
            tell(format_args!("note: {message}"));
        }
    }
}

fn check_threads(threads: usize, name: &str) -> anyhow::Result<usize> {
    if !(1..=MOST_THREADS).contains(&threads) {
        bail!("{name} is {threads}, expected a number from 1 to {MOST_THREADS}; leave it out to use all cores");
    }
    Ok(threads)
}
