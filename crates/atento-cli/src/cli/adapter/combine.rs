//! `atento adapter combine`: several adapters as one.

use std::path::PathBuf;

use anyhow::anyhow;
use atento::hub::ModelDir;
use atento::peft::{Adapter, Combination, CombinationRecipe, combine};
use clap::ValueEnum;
use serde_json::json;

use crate::cli::convert::check_empty;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::thousands;

/// Write one adapter that does what several do
///
/// All are adapters of low-rank pairs for the same model. At most one of them holds an output or another module whole; the new
/// one has it. With --json prints {"path", "modules", "parameters"}.
#[derive(Debug, clap::Args)]
pub struct CombineArgs {
    /// The adapters' directories, or those of the runs that trained them
    #[arg(required = true, num_args = 2.., value_name = "ADAPTER")]
    pub adapters: Vec<PathBuf>,

    /// A factor for each adapter [default: equal shares of 1]
    #[arg(long, value_name = "W,W…", value_delimiter = ',', allow_negative_numbers = true)]
    weights: Vec<f64>,

    /// How: cat (the weighted sum, ranks add up), svd (the nearest to it of one rank), linear (halves of pairs summed), magnitude (of the largest values), ties (signs that most have), dare-linear, dare-ties (of values kept at random)
    #[arg(long, value_name = "METHOD", default_value = "cat", hide_possible_values = true)]
    method: Method,

    /// With svd: the rank [default: the adapters' largest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rank: Option<u32>,

    /// With magnitude, ties and dare: the share of values that are kept
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    density: f64,

    /// With dare: the number from which it follows which are kept
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    Cat,
    Svd,
    Linear,
    Magnitude,
    Ties,
    DareLinear,
    DareTies,
}

/// Runs the verb.
///
/// # Errors
/// An adapter is wrong, or they do not go together; the directory is not empty or cannot be written.
pub fn run(args: &CombineArgs, options: &Options) -> Result<(), Failure> {
    check_empty(&args.out)?;
    let count = args.adapters.len();
    let weights = match &args.weights[..] {
        [] => vec![1.0 / count as f64; count],
        given if given.len() == count => given.to_vec(),
        given => return Err(anyhow!("--weights has {} numbers, and there are {count} adapters", given.len()).into()),
    };
    if weights.iter().any(|weight| !weight.is_finite()) {
        return Err(anyhow!("--weights: a number is not finite").into());
    }
    if !(args.density > 0.0 && args.density <= 1.0) {
        return Err(anyhow!("--density is {}, expected a share above 0 and at most 1", args.density).into());
    }
    if args.rank.is_some() && args.method != Method::Svd {
        return Err(anyhow!("--rank goes with --method svd").into());
    }
    let open = |path: &PathBuf| Ok::<_, Failure>(Adapter::open(&ModelDir::adapter_in(path)?)?);
    let adapters = args.adapters.iter().map(open).collect::<Result<Vec<Adapter>, Failure>>()?;
    let recipe = CombinationRecipe {
        combination: match args.method {
            Method::Cat => Combination::Cat,
            Method::Svd => Combination::Svd,
            Method::Linear => Combination::Linear,
            Method::Magnitude => Combination::Magnitude,
            Method::Ties => Combination::Ties,
            Method::DareLinear => Combination::DareLinear,
            Method::DareTies => Combination::DareTies,
        },
        weights,
        rank: args.rank.map(|rank| rank as usize),
        density: args.density,
        seed: args.seed,
    };
    let modules = combine(&adapters, &recipe, &args.out)?;
    let (parameters, _) = Adapter::open(&args.out)?.sizes()?;
    let mut out = Output::open();
    if options.json {
        out.json(&json!({ "path": args.out, "modules": modules, "parameters": parameters }))?;
    } else {
        let (path, parameters) = (args.out.display(), thousands(parameters));
        out.line(format_args!("{path}: {count} adapters combined, {modules} modules, {parameters} parameters"))?;
    }
    out.finish()
}
