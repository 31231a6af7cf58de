//! `atento convert MODEL`: a model written anew, its weights in another type.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use atento::Params;
use atento::families::Head;
use atento::hub::safetensors::FloatType;
use atento::hub::{Error, ModelDir, gguf};
use atento::models::Precision;
use atento::pipelines::{LoadError, Loaded, Net, TextModel};
use serde_json::json;

use super::model::{self, AdapterArgs, WeightsArgs};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{bytes, thousands};

/// Write a model anew, its weights in another type
///
/// The new directory has one model.safetensors and one tokenizer.json, whatever files the model had: pytorch_model.bin,
/// shards, vocab.json and merges.txt, or a GGUF file of llama.cpp (llama, qwen2, qwen3, gpt2), whose numbers become plain
/// ones, or with --weights gguf stay in its blocks, in the file and in memory. `transformers` loads f32, f16 and bf16 as well. int8 rounds the matrices,
/// with one scale for each output; only atento reads it, and it is for inference. A model in int8 can be
/// converted back with --weights f32 and trained further; the rounding stays. With --json prints {"path", "weights",
/// "parameters", "bytes"}.
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// A model directory, a run directory or a checkpoint in one, org/name on the Hugging Face Hub, or a GGUF file
    model: PathBuf,

    /// The directory to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The type of the weights: f32, f16, bf16, int8 for the matrices, or gguf, which keeps a GGUF file as it is
    #[arg(long, value_name = "KIND", default_value = "f32", hide_possible_values = true, value_parser = ["f32", "f16", "bf16", "int8", "gguf"])]
    weights: String,
}

impl ConvertArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model is wrong or has no such type; the directory is not empty or cannot be written.
pub fn run(args: &ConvertArgs, options: &Options) -> Result<(), Failure> {
    check_empty(&args.out)?;
    let floats = floats(&args.weights);
    if gguf::is_gguf(&args.model) {
        let parameters = from_gguf(args, floats, options)?;
        return told(args, parameters, options);
    }
    if args.weights == "gguf" {
        let path = args.model.display();
        return Err(anyhow!("{path}: --weights gguf keeps a GGUF file as it is, and this is none").into());
    }
    let dir = ModelDir::open(&args.model)?;
    let precision = if args.weights == "int8" { Precision::Int8 } else { Precision::F32 };
    // An adapter is added to exact numbers, and the sum is rounded once.
    let (read, weights) = match dir.adapter() {
        Some(_) => (Precision::F32, WeightsArgs::of("f32")),
        None => (precision, WeightsArgs::of(&args.weights)),
    };
    let parameters = match dir.head() {
        Head::Translation => {
            let mut pretrained = model::load(&args.model, &AdapterArgs::default(), &weights, options)?;
            merge(&mut pretrained, &dir, precision, options)?;
            pretrained.save_as(&args.out, floats).map_err(unwritten)?;
            count(pretrained.model.params())
        }
        Head::Language => {
            let mut language = model::load_language(&args.model, &AdapterArgs::default(), &weights, false, options)?;
            merge(&mut language, &dir, precision, options)?;
            language.save_as(&args.out, floats).map_err(unwritten)?;
            count(language.model.params())
        }
        _ => {
            let mut texts = TextModel::from_dir(&dir, read)?;
            merge(&mut texts, &dir, precision, options)?;
            texts.notes.iter().for_each(|note| options.note(note));
            texts.save_as(&args.out, floats).map_err(unwritten)?;
            count(texts.model.params())
        }
    };
    told(args, parameters, options)
}

/// Makes a directory of a GGUF file. The number of its parameters.
fn from_gguf(args: &ConvertArgs, floats: FloatType, options: &Options) -> Result<usize, Failure> {
    if args.weights == "int8" {
        let path = args.model.display();
        return Err(anyhow!(
            "{path}: a GGUF file becomes f32, f16 or bf16, or stays as it is (gguf); the directory can then be converted to int8"
        )
        .into());
    }
    let source = gguf::Source::open(&args.model)?;
    source.notes().iter().for_each(|note| options.note(note));
    let written =
        if args.weights == "gguf" { source.write_with_file(&args.out) } else { source.write(&args.out, floats) };
    written.map_err(|error| match error {
        Error::TooLarge { .. } | Error::NotFinite { .. } => error.into(),
        error => Failure::run(error),
    })?;
    Ok(source.parameters())
}

/// Tells what was written.
fn told(args: &ConvertArgs, parameters: usize, options: &Options) -> Result<(), Failure> {
    let file = args.out.join(if args.weights == "gguf" { "model.gguf" } else { "model.safetensors" });
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

/// The parameters that are written: those of the model, not those of an adapter that was merged into it.
fn count(params: &Params) -> usize {
    params.entries().iter().filter(|entry| !entry.is_added).map(|entry| entry.weight.len()).sum()
}

/// Makes the adapter that a model has part of its weights, which are then rounded.
fn merge<M: Net>(
    model: &mut Loaded<M>,
    dir: &ModelDir,
    precision: Precision,
    options: &Options,
) -> Result<(), Failure> {
    if let Some(adapter) = dir.adapter() {
        let modules = model.merge()?;
        if precision != Precision::F32 {
            precision.hold_all(model.model.params_mut()).map_err(|error| anyhow!("{}: {error}", adapter.display()))?;
        }
        options.note(format_args!("{}: merged into {modules} modules of {}", adapter.display(), dir.path().display()));
    }
    Ok(())
}

fn floats(weights: &str) -> FloatType {
    match weights {
        "f16" => FloatType::F16,
        "bf16" => FloatType::Bf16,
        _ => FloatType::F32,
    }
}

/// A model must not be written over another, nor over the one that is read.
///
/// # Errors
/// There is something in the directory.
pub fn check_empty(out: &Path) -> anyhow::Result<()> {
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
pub fn unwritten(error: LoadError) -> Failure {
    match error {
        LoadError::Hub(atento::hub::Error::TooLarge { .. }) => error.into(),
        error => Failure::run(error),
    }
}
