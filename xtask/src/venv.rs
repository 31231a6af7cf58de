//! The Python environment of the peers: `.venv-peers` in the repository, with exactly bench/requirements.txt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::options::Options;

/// The Python of the environment asked for, or of our own, which is made if it is missing or out of date.
pub fn python(options: &Options) -> Result<PathBuf> {
    if let Some(venv) = &options.venv {
        let python = venv.join("bin/python");
        ensure!(python.exists(), "--venv {}: there is no bin/python in it", venv.display());
        return Ok(python);
    }
    let venv = crate::root().join(".venv-peers");
    let requirements = crate::root().join("bench/requirements.txt");
    let wanted = fs::read(&requirements).with_context(|| requirements.display().to_string())?;
    // Written last, so an installation that was interrupted is taken up again.
    let stamp = venv.join("installed.txt");
    if fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        install(&venv, &requirements)?;
        fs::write(&stamp, wanted)?;
    }
    Ok(venv.join("bin/python"))
}

fn install(venv: &Path, requirements: &Path) -> Result<()> {
    eprintln!("installing the peers into {} (once; some gigabytes from PyPI)", venv.display());
    succeed(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    succeed(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))
}

/// Runs a command whose output the person sees.
pub fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
