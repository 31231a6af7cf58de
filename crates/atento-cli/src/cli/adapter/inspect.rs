//! `atento adapter inspect`: what an adapter says of itself, without its model.

use std::path::PathBuf;

use atento::hub::ModelDir;
use atento::peft::Adapter;
use serde_json::{Value, json};

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::{bytes, thousands};

/// Show what an adapter is: its method, its settings, its modules, its size, the model that it is for
///
/// With --json prints {"config", "modules", "whole", "parameters", "bytes", "base_contents"}; "config" is adapter_config.json.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The adapter's directory, or that of the run that trained it
    pub adapter: PathBuf,
}

/// Runs the verb.
///
/// # Errors
/// The adapter is wrong; standard output cannot be written.
pub fn run(args: &InspectArgs, options: &Options) -> Result<(), Failure> {
    let adapter = Adapter::open(&ModelDir::adapter_in(&args.adapter)?)?;
    let ((parameters, size), (modules, whole)) = (adapter.sizes()?, adapter.names());
    let config = adapter.config.to_json();
    let mut out = Output::open();
    if options.json {
        out.json(&json!({
            "config": config, "modules": modules, "whole": whole, "parameters": parameters, "bytes": size,
            "base_contents": adapter.base_contents(),
        }))?;
        return out.finish();
    }
    for (key, value) in &config {
        let text = match value {
            Value::Null => continue,
            Value::Object(entries) if entries.is_empty() => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        out.line(format_args!("{key:26} {text}"))?;
    }
    out.line("")?;
    for (name, list) in [("modules", &modules), ("trained whole", &whole)] {
        list.iter()
            .enumerate()
            .try_for_each(|(at, path)| out.line(format_args!("{:26} {path}", if at == 0 { name } else { "" })))?;
    }
    out.line(format_args!("{:26} {}", "parameters", thousands(parameters)))?;
    out.line(format_args!("{:26} {}", "size", bytes(size)))?;
    out.finish()
}
