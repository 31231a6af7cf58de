//! `cargo xtask golden`: the recorded numbers of the tests, from the pinned reference libraries.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::options::Options;
use crate::venv;

/// Runs every scripts/golden_*.py.
pub fn run(options: &Options) -> Result<()> {
    let python = venv::python(options)?;
    for script in scripts()? {
        eprintln!("{}", script.display());
        venv::succeed(Command::new(&python).arg(script).current_dir(crate::root()))?;
    }
    Ok(())
}

fn scripts() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(crate::root().join("scripts"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("golden_") && name.ends_with(".py") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_scripts_are_found() {
        assert!(super::scripts().unwrap().iter().any(|path| path.ends_with("golden_sacrebleu.py")));
    }
}
