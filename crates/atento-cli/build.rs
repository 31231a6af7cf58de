//! Puts the commit that the program is built from into its version, where it is built from a repository.

use std::path::Path;
use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    // The repository is this one: a package that was unpacked inside another has no commit there.
    let is_tracked = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    if let Some(commit) = git(&["rev-parse", "--short=9", "HEAD"]).filter(|_| is_tracked) {
        version = format!("{version} ({commit})");
    }
    println!("cargo::rustc-env=ATENTO_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit and every checkout adds a line to it.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}
