//! `atento inspect MODEL`: the parameters of a model, module by module, without loading them.

mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use atento::ParamEntry;
use atento::families::{self, Config};
use atento::hub::{Checked, ModelDir, Weights};
use atento::lfs;
use atento::models::parameters::NamedShape;
use atento::pipelines::outline;
use serde_json::{Map, Value, json};

use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{self, Align, bytes, thousands};

/// Show the parameters of a model by module: shapes, element types, tying, sizes
///
/// `inspect plan CONFIG` does so for a bare config.json, without weights, or for a published shape by its name, such as
/// gpt2-medium or gpt3-175b.
#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true, subcommand_precedence_over_arg = true)]
pub struct InspectArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    #[arg(required = true)]
    model: Option<PathBuf>,

    #[command(subcommand)]
    plan: Option<InspectVerb>,
}

#[derive(Debug, clap::Subcommand)]
enum InspectVerb {
    /// Show the parameters that a config.json describes, and what training takes of memory and work
    Plan(plan::PlanArgs),
}

/// One parameter.
struct Parameter {
    name: String,
    shape: Vec<usize>,
    /// The type of its elements in the file; none where it is not in a file.
    dtype: Option<String>,
    trainable: bool,
    /// The places that share it.
    tied_to: &'static [&'static str],
}

impl Parameter {
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// A layer of a stack, or else the part that the parameter belongs to.
    fn module(&self) -> &str {
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut ends = self.name.match_indices('.').map(|(at, _)| at);
        let layer = ends.find(|&end| self.name[..end].rsplit('.').next().is_some_and(is_number));
        match layer {
            Some(end) => &self.name[..end],
            None => self.name.rsplit_once('.').map_or(self.name.as_str(), |(module, _)| module),
        }
    }
}

impl InspectArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        match &mut self.plan {
            Some(InspectVerb::Plan(plan)) => plan.locate(locator),
            None => self.model.iter_mut().try_for_each(|model| locator.model(model)),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or the configuration is wrong; standard output cannot be written.
pub fn run(args: &InspectArgs, options: &Options) -> Result<(), Failure> {
    let (parameters, plan) = match (&args.plan, &args.model) {
        (Some(InspectVerb::Plan(args)), None) => {
            let config = read_config(args.config()?)?;
            (parameters(&config, None), Some(args.plan(&config)?))
        }
        (None, Some(model)) => (of_directory(&ModelDir::open(model)?, options)?, None),
        _ => return Err(anyhow!("expected one model directory, or `plan` and a config.json").into()),
    };
    let mut out = Output::open();
    if options.json {
        let mut object = object(&parameters);
        if let Some(plan) = &plan {
            object["plan"] = plan.to_json();
        }
        out.json(&object)?;
    } else {
        write_table(&mut out, &parameters)?;
        if let Some(plan) = plan {
            plan.lines().into_iter().try_for_each(|line| out.line(line))?;
        }
    }
    out.finish()
}

/// The parameters of a model, as its configuration has them; with the types that they have in a file.
fn parameters(config: &Arc<dyn Config>, weights: Option<&Weights>) -> Vec<Parameter> {
    let outline = outline(config);
    let parameter = |(name, shape): NamedShape| Parameter {
        dtype: weights.and_then(|weights| dtype(weights, &config.sources(&name))),
        trainable: outline.entry(&name).is_some_and(ParamEntry::is_trained),
        tied_to: config.shared_by(&name),
        name,
        shape,
    };
    config.parameters().into_iter().map(parameter).collect()
}

fn of_directory(dir: &ModelDir, options: &Options) -> Result<Vec<Parameter>, Failure> {
    let Checked { config, weights, notes } = dir.checked()?;
    notes.iter().for_each(|note| options.note(note));
    Ok(parameters(&config, Some(&weights)))
}

/// The element type in the file.
fn dtype(weights: &Weights, spellings: &[String]) -> Option<String> {
    let found = spellings.iter().find(|name| weights.contains(name))?;
    weights.get(found).ok().map(|info| info.packed.map_or_else(|| info.dtype.to_string(), str::to_owned))
}

fn read_config(path: &Path) -> Result<Arc<dyn Config>, Failure> {
    let shape = path.to_str().and_then(|name| families::ALL.into_iter().find_map(|family| family.shape(name)));
    if let (Some(config), false) = (shape, path.exists()) {
        return Ok(config);
    }
    let candidates = ["config.json", "model/config.json"].map(|name| path.join(name));
    let found = candidates.iter().find(|candidate| candidate.exists());
    let path = if path.is_dir() { found.unwrap_or(&candidates[0]).clone() } else { path.to_path_buf() };
    let bytes = lfs::read(&path).with_context(|| {
        let names: Vec<&str> = families::ALL.into_iter().flat_map(|family| family.shapes()).collect();
        let names = names.join(", ");
        format!("cannot read {}, and no published shape has that name; there are {names}", path.display())
    })?;
    let object: Map<String, Value> = atento::json::parse(&bytes)
        .and_then(serde_json::from_value)
        .map_err(|error| anyhow!("{}: not a JSON object: {error}", path.display()))?;
    Ok(families::read(&path, &object, None)?)
}

/// Runs of parameters of one module, in order.
fn modules(parameters: &[Parameter]) -> impl Iterator<Item = &[Parameter]> {
    parameters.chunk_by(|a, b| a.module() == b.module())
}

fn total(parameters: &[Parameter]) -> usize {
    parameters.iter().map(Parameter::count).sum()
}

fn trainable(parameters: &[Parameter]) -> usize {
    parameters.iter().filter(|parameter| parameter.trainable).map(Parameter::count).sum()
}

fn object(parameters: &[Parameter]) -> Value {
    let tensor = |parameter: &Parameter| {
        json!({
            "name": parameter.name,
            "shape": parameter.shape,
            "dtype": parameter.dtype,
            "parameters": parameter.count(),
            "trainable": parameter.trainable,
            "tied_to": parameter.tied_to,
        })
    };
    let module = |list: &[Parameter]| {
        json!({
            "name": list[0].module(),
            "parameters": total(list),
            "tensors": list.iter().map(tensor).collect::<Vec<_>>(),
        })
    };
    json!({
        "total": total(parameters),
        "trainable": trainable(parameters),
        "modules": modules(parameters).map(module).collect::<Vec<_>>(),
    })
}

fn write_table(out: &mut Output, parameters: &[Parameter]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for list in modules(parameters) {
        let module = list[0].module();
        rows.push(vec![module.to_owned(), String::new(), String::new(), thousands(total(list))]);
        // A parameter outside any module is its own.
        rows.extend(list.iter().filter(|parameter| parameter.name != module).map(|one| row(module, one)));
    }
    let columns = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Left];
    table::lines(&columns, &rows).into_iter().try_for_each(|line| out.line(line))?;
    let all = total(parameters);
    out.line("")?;
    out.line(format_args!("parameters  {} ({} trainable)", thousands(all), thousands(trainable(parameters))))?;
    out.line(format_args!("in memory   {}", bytes((all as u64).saturating_mul(4))))?;
    Ok(())
}

fn row(module: &str, parameter: &Parameter) -> Vec<String> {
    let short = parameter.name.strip_prefix(module).unwrap_or(&parameter.name).trim_start_matches('.');
    let tied = if parameter.tied_to.is_empty() { String::new() } else { format!("= {}", parameter.tied_to.join(", ")) };
    let frozen = if parameter.trainable { "" } else { "not trained" };
    vec![
        format!("  {short}"),
        format!("{:?}", parameter.shape),
        parameter.dtype.clone().unwrap_or_default(),
        thousands(parameter.count()),
        tied + frozen,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use atento::models::TransformerConfig;

    #[test]
    fn a_parameter_belongs_to_its_layer_or_else_to_its_part() {
        let module = |name: &str| {
            let parameter = Parameter { name: name.into(), shape: vec![1], dtype: None, trainable: true, tied_to: &[] };
            parameter.module().to_owned()
        };
        assert_eq!(module("encoder.layers.10.self_attn.q_proj.weight"), "encoder.layers.10");
        assert_eq!(module("shared.weight"), "shared");
        assert_eq!(module("decoder.layer_norm.bias"), "decoder.layer_norm");
        assert_eq!(module("final_logits_bias"), "final_logits_bias");
        assert_eq!((module("h.11.attn.c_attn.weight"), module("ln_f.bias")), ("h.11".into(), "ln_f".into()));
    }

    #[test]
    fn counts_are_those_of_the_configuration() {
        let config = TransformerConfig::tiny(500);
        let count = config.parameter_count();
        let parameters = parameters(&(Arc::new(config) as Arc<dyn Config>), None);
        assert_eq!(total(&parameters), count);
        assert_eq!(trainable(&parameters), count - 500);
        assert_eq!(modules(&parameters).map(<[_]>::len).sum::<usize>(), parameters.len());
        assert_eq!(modules(&parameters).count(), 2 + 4 + 4);
    }
}
