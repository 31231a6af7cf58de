//! `atento convert MODEL`: a model written anew, its weights in another type.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use atento::families::Head;
use atento::hub::ModelDir;
use atento::hub::safetensors::FloatType;
use atento::pipelines::LoadError;
use serde_json::json;

use super::model::{self, Model};
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{bytes, thousands};

/// Write a model anew, its weights in another type
///
/// The new directory has one model.safetensors and one tokenizer.json, whatever files the model had: pytorch_model.bin,
/// shards, or vocab.json and merges.txt. `transformers` loads f32, f16 and bf16 as well. int8 rounds the matrices of a
/// language model, with one scale for each output; only atento reads it, and it is for inference. A model in int8 can be
/// converted back with --weights f32 and trained further; the rounding stays. With --json prints {"path", "weights",
/// "parameters", "bytes"}.
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// A model directory or a run directory
    model: PathBuf,

    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The type of the weights: f32, f16, bf16, or int8 for a language model's matrices
    #[arg(long, value_name = "KIND", default_value = "f32", hide_possible_values = true, value_parser = ["f32", "f16", "bf16", "int8"])]
    weights: String,
}

/// Runs the verb.
///
/// # Errors
/// The model is wrong or has no such type; the directory is not empty or cannot be written.
pub fn run(args: &ConvertArgs, options: &Options) -> Result<(), Failure> {
    check_empty(&args.out)?;
    let parameters = match load(args, options)? {
        Model::Translator(pretrained) => {
            pretrained.save_as(&args.out, floats(&args.weights)).map_err(unwritten)?;
            pretrained.model.params().count()
        }
        Model::Language(language) => {
            language.save_as(&args.out, floats(&args.weights)).map_err(unwritten)?;
            language.model.params().count()
        }
    };
    let file = args.out.join("model.safetensors");
    let size = file.metadata().with_context(|| format!("cannot read {}", file.display())).map_err(Failure::Run)?.len();
    let mut out = Output::open();
    if options.json {
        let (path, weights) = (&args.out, &args.weights);
        out.json(&json!({ "path": path, "weights": weights, "parameters": parameters, "bytes": size }))?;
    } else {
        let (path, parameters) = (args.out.display(), thousands(parameters));
        out.line(format_args!("{path}: {parameters} parameters, {}, {}", args.weights, bytes(size)))?;
    }
    out.finish()
}

fn load(args: &ConvertArgs, options: &Options) -> Result<Model, Failure> {
    let is_translator = ModelDir::open(&args.model)?.head() == Head::Translation;
    match args.weights.as_str() {
        "int8" if is_translator => {
            Err(anyhow::anyhow!("{}: int8 is for language models, this model translates", args.model.display()).into())
        }
        _ if is_translator => model::load_any(&args.model, options),
        "int8" => Ok(Model::Language(Box::new(model::load_language(&args.model, Some("int8"), options)?))),
        _ => Ok(Model::Language(Box::new(model::load_language(&args.model, Some("f32"), options)?))),
    }
}

fn floats(weights: &str) -> FloatType {
    match weights {
        "f16" => FloatType::F16,
        "bf16" => FloatType::Bf16,
        _ => FloatType::F32,
    }
}

/// A model must not be written over another, nor over the one that is read.
fn check_empty(out: &Path) -> anyhow::Result<()> {
    let mut entries = match std::fs::read_dir(out) {
        Ok(entries) => entries,
        Err(_) if !out.exists() => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", out.display())),
    };
    if entries.next().is_some() {
        bail!("{} is not empty: name a new directory", out.display());
    }
    Ok(())
}

/// Whose fault it was: a weight that is too large is the model's.
fn unwritten(error: LoadError) -> Failure {
    match error {
        LoadError::Hub(atento::hub::Error::TooLarge { .. }) => error.into(),
        error => Failure::run(error),
    }
}
