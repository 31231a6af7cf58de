//! Puts the commit that is checked out into the program's version, where it is built in its repository.

use std::path::Path;
use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    // The repository is this one, and not one that the program was copied into.
    let is_tracked = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let is_own = is_tracked && git(&["rev-parse", "--show-prefix"]).is_some_and(|path| path == "crates/atento-cli/");
    if let Some(commit) = git(&["rev-parse", "--short=9", "HEAD"]).filter(|_| is_own) {
        version = format!("{version} ({commit})");
    }
    println!("cargo::rustc-env=ATENTO_VERSION={version}");
    println!("cargo::rerun-if-changed=build.rs");
    // Every commit and every checkout changes one of them.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["logs/HEAD", "HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
