//! `atento adapter convert`: adapters from and to loralib, and to llama.cpp.

use std::path::PathBuf;

use anyhow::anyhow;
use atento::hub::ModelDir;
use atento::peft::{Adapter, Unsaid, from_loralib};
use atento::pipelines::outline;
use serde_json::json;

use crate::cli::convert::check_empty;
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;

/// Convert a state dict of loralib into an adapter, or an adapter into one or into a file of llama.cpp
///
/// INPUT is an adapter's directory, or a state dict (safetensors, or .bin as PyTorch saves it), which needs --base and --alpha. A
/// state dict that is written is a safetensors file; the answer says the factor, α over the rank, that loralib has to be told. An
/// output in a state dict that --base lacks (such as classifier or score) is part of the adapter, with labels LABEL_0, LABEL_1 …
/// Where --out ends in .gguf, what is written is llama.cpp's, for its --lora, of adapters of GPT-2 and the models shaped like
/// Llama. With --json prints {"path", "modules", "scale"}.
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// An adapter's directory, or a state dict
    input: PathBuf,

    /// The directory of the adapter, or the state dict or .gguf to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,

    /// State dicts and .gguf: the model that the adapter is for; a .gguf needs it where the adapter does not say it
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,

    /// State dicts: α, the lora_alpha of its layers
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,

    /// State dicts: which of q, k, v of fused matrices have a pair, as enable_lora said
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    enabled: Vec<String>,
}

impl ConvertArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.adapter(&mut self.input)?;
        self.base.iter_mut().try_for_each(|base| locator.model(base))
    }
}

/// Runs the verb.
///
/// # Errors
/// The adapter, the state dict or the model is wrong; what is to be written is there already.
pub fn run(args: &ConvertArgs, options: &Options) -> Result<(), Failure> {
    let is_gguf = args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let (modules, scale) = match (args.input.is_dir(), is_gguf) {
        (true, true) => (to_gguf(args)?, None),
        (true, false) => to_loralib(args)?,
        (false, _) => (to_peft(args)?, None),
    };
    let mut out = Output::open();
    if options.json {
        out.json(&json!({ "path": args.out, "modules": modules, "scale": scale }))?;
    } else {
        let told =
            scale.map_or(String::new(), |scale| format!("; tell loralib a lora_alpha of {scale} times the rank"));
        out.line(format_args!("{}: {modules} modules{told}", args.out.display()))?;
    }
    out.finish()
}

/// Refuses options of state dicts, and to write over a file.
fn check_new(args: &ConvertArgs, takes_base: bool) -> Result<(), Failure> {
    let given = [
        ("--base", args.base.is_some() && !takes_base),
        ("--alpha", args.alpha.is_some()),
        ("--enabled", !args.enabled.is_empty()),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        return Err(anyhow!("{option} is for a state dict, and {} is a directory", args.input.display()).into());
    }
    if args.out.exists() {
        return Err(anyhow!("{} is there already: name a new file", args.out.display()).into());
    }
    Ok(())
}

fn to_gguf(args: &ConvertArgs) -> Result<usize, Failure> {
    check_new(args, true)?;
    let dir = match &args.base {
        Some(base) => ModelDir::open_with(base, &args.input)?,
        None => ModelDir::open(&args.input)?,
    };
    let Some(adapter) = dir.adapter() else {
        return Err(anyhow!("{} holds no adapter", args.input.display()).into());
    };
    let adapter = Adapter::open(adapter)?;
    adapter.check_base(dir.path())?;
    if dir.family().gguf().is_none() {
        let (family, what) = (dir.family().name(), "models shaped like Llama and GPT-2 alone");
        let path = args.input.display();
        return Err(anyhow!("{path}: llama.cpp has files of adapters for {what}, and this is for a {family}").into());
    }
    let config = dir.without_adapter().checked()?.config;
    Ok(adapter.to_gguf(&*config, &outline(&config), &args.out)?)
}

fn to_loralib(args: &ConvertArgs) -> Result<(usize, Option<f64>), Failure> {
    check_new(args, false)?;
    let adapter = Adapter::open(&ModelDir::adapter_in(&args.input)?)?;
    let (modules, scale) = adapter.to_loralib(&args.out)?;
    Ok((modules, Some(scale)))
}

fn to_peft(args: &ConvertArgs) -> Result<usize, Failure> {
    check_empty(&args.out)?;
    let (Some(base), Some(alpha)) = (&args.base, args.alpha) else {
        let what = "says neither its model nor α: name them with --base and --alpha";
        return Err(anyhow!("{}: a state dict {what}", args.input.display()).into());
    };
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(anyhow!("--alpha {alpha}: expected a number above 0").into());
    }
    let unsaid = Unsaid { alpha, enabled: args.enabled.clone() };
    Ok(from_loralib(&args.input, &unsaid, &ModelDir::open(base)?, &args.out)?)
}
