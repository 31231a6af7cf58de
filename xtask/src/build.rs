//! Builds what is measured, and says where cargo put it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A benchmark of the library, built with the release profile.
pub fn bench(name: &str) -> Result<PathBuf> {
    executable(&["bench", "--no-run", "--package", "atento", "--bench", name], name)
}

/// The `atento` binary, built with the release profile.
pub fn cli() -> Result<PathBuf> {
    executable(&["build", "--release", "--package", "atento-cli", "--bin", "atento"], "atento")
}

/// The `atento` binary, built with the profile of the tests, which checks arithmetic.
pub fn debug_cli() -> Result<PathBuf> {
    executable(&["build", "--package", "atento-cli", "--bin", "atento"], "atento")
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from)
}

fn executable(args: &[&str], name: &str) -> Result<PathBuf> {
    eprintln!("building {name}");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).arg("--message-format=json-render-diagnostics").current_dir(crate::root());
    let output = cargo.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo {} ended with {}", args.join(" "), output.status);
    let messages = String::from_utf8(output.stdout)?;
    let found = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| PathBuf::from(path))
    });
    found.with_context(|| format!("cargo named no executable {name}"))
}
