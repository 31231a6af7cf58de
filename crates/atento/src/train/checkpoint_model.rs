//! The model that a checkpoint holds, or the mean of several, as a directory like any other.
//!
//! A checkpoint has the values that are trained; the rest of the model is in the run's directory beside it, and what is frozen
//! in the model that the run started from. The directory is `model/` in the checkpoint: it goes when the checkpoint goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::adopt::{Base, saved_tokenizer};
use super::build::new_model;
use super::checkpoint::{self, Checkpoint, Checkpoints, Identity};
use super::choose::read_mean;
use super::freeze::{Beside, freeze};
use super::recipe::Recipe;
use super::run_dir::CHECKPOINTS;
use super::step::Trainable;
use super::trainer::save_model;
use super::workload::Making;
use crate::families::Head;
use crate::hub::generation::GenerationConfig;
use crate::hub::templates;
use crate::models::{CausalLm, Headed, Translator};
use crate::pipelines::{Loaded, Net};
use crate::tasks::translation::{generation_config, overlay};

/// The folder in a checkpoint.
const MODEL: &str = "model";

/// Whether a path is that of a checkpoint, whole or damaged.
#[must_use]
pub fn is_checkpoint(path: &Path) -> bool {
    step_of(path).is_some() && path.join(checkpoint::STATE).is_file()
}

/// The model directory of a checkpoint, `RUN/checkpoints/step-N`, which is written if it is not there.
///
/// # Errors
/// The checkpoint is damaged; a file of the run is missing, or the model that it started from; the directory cannot be
/// written.
pub fn checkpoint_model(path: &Path) -> Result<PathBuf, Error> {
    let dir = path.join(MODEL);
    if dir.is_dir() {
        return Ok(dir);
    }
    // A directory that has its name is whole.
    let unnamed = path.join(format!(".{MODEL}-{}", std::process::id()));
    let written = write(path, &unnamed).and_then(|()| match fs::rename(&unnamed, &dir) {
        // Another process was faster.
        Err(_) if dir.is_dir() => Ok(()),
        renamed => renamed.map_err(|source| Error::Io { path: dir.clone(), source }),
    });
    // The error to report is the first one.
    let _ = fs::remove_dir_all(&unnamed);
    written.map(|()| dir)
}

/// Writes the model that a run's checkpoint after an update holds into the directory `out`; of several `steps`, their mean.
///
/// # Errors
/// As [`checkpoint_model`]; there is no such checkpoint; `out` is not empty.
pub fn export_checkpoints(run: &Path, steps: &[u64], out: &Path) -> Result<(), Error> {
    let is_taken = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) || out.is_file();
    if is_taken {
        let problem = format!("{} is not empty: choose another directory", out.display());
        return Err(Error::Setting { key: "out", problem });
    }
    let run = run.canonicalize().map_err(|source| Error::Io { path: run.to_path_buf(), source })?;
    let is_within = std::path::absolute(out).is_ok_and(|out| out.starts_with(run.join(CHECKPOINTS)));
    if is_within {
        let problem = format!("{} lies among the checkpoints of the run: choose another directory", out.display());
        return Err(Error::Setting { key: "out", problem });
    }
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    steps.dedup();
    let checkpoints = Checkpoints::new(run.join(CHECKPOINTS));
    let there = checkpoints.steps()?;
    if let Some(step) = steps.iter().find(|step| !there.contains(step)) {
        let there: Vec<String> = there.iter().map(u64::to_string).collect();
        let problem =
            format!("{} has no checkpoint of step {step}; there are those of {}", run.display(), there.join(", "));
        return Err(Error::Setting { key: "step", problem });
    }
    let loaded = steps.iter().map(|&step| checkpoints.load(step)).collect::<Result<Vec<_>, _>>()?;
    write_models(&run, &loaded, out)
}

/// The update after which a checkpoint was written, by its name.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

fn write(path: &Path, out: &Path) -> Result<(), Error> {
    let missing = || Error::Io { path: path.to_path_buf(), source: io::ErrorKind::NotFound.into() };
    // By its whole path, in which the run is found.
    let path = path.canonicalize().map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    let (checkpoints, step) = path.parent().zip(step_of(&path)).ok_or_else(missing)?;
    let run = checkpoints.parent().ok_or_else(missing)?;
    write_models(run, &[Checkpoints::new(checkpoints).load(step)?], out)
}

/// Writes the mean of checkpoints of one run, of which there is one at least.
fn write_models(run: &Path, checkpoints: &[Checkpoint], out: &Path) -> Result<(), Error> {
    match checkpoints[0].state.identity.model.head() {
        Head::Translation => write_as::<Box<dyn Translator>>(run, checkpoints, out, |model, recipe, base| match base {
            Some(base) => overlay(&base, &recipe.search, model.max_positions()),
            None => generation_config(recipe, &**model),
        }),
        Head::Language => write_as::<Box<dyn CausalLm>>(run, checkpoints, out, |model, _, base| {
            base.unwrap_or_else(|| GenerationConfig::of_language_model(model.sizes()))
        }),
        _ => write_as::<Headed>(run, checkpoints, out, |_, _, base| base.unwrap_or_default()),
    }
}

fn write_as<M: Net + Trainable>(
    run: &Path,
    checkpoints: &[Checkpoint],
    out: &Path,
    generation: impl FnOnce(&M, &Recipe, Option<GenerationConfig>) -> GenerationConfig,
) -> Result<(), Error> {
    let last = &checkpoints[checkpoints.len() - 1];
    let identity: &Identity = &last.state.identity;
    let recipe = Recipe::read_text(&identity.recipe, "config.toml")?.recipe;
    let config = identity.model.shared();
    let tokenizer = saved_tokenizer(run)?;
    let base = identity.from.as_ref().map(|_| Base::saved(run, identity, &tokenizer)).transpose()?;
    let mut model: M = new_model(config, &recipe, Making::Weights)?;
    let from = identity.from.as_deref();
    let Beside { base: contents, adapter } =
        freeze(&mut model, &**config, &recipe, from, Some(identity), &mut Vec::new())?;
    let values = if last.len_of("average").is_some() { "average" } else { "values" };
    read_mean(checkpoints, values, Net::params_mut(&mut model).values_mut())?;
    if !Net::params(&model).buffers().is_empty() {
        last.read_into("buffers", Net::params_mut(&mut model).buffers_mut())?;
    }
    let (of_base, kept) = base.map_or((None, None), |base| (Some(base.generation), Some(base.kept)));
    let generation = generation(&model, &recipe, of_base);
    let tokenizer = tokenizer.for_table(config.sizes().vocab_size);
    let loaded = Loaded {
        model,
        tokenizer,
        generation,
        templates: templates::read(run)?,
        kept: kept.unwrap_or_default(),
        notes: Vec::new(),
    };
    let adapter = adapter.as_ref().zip(contents.as_deref());
    save_model(&loaded, adapter, out)
}
