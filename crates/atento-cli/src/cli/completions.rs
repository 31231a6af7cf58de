//! `atento completions` and `atento man`: what a shell and a reader of manuals need.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Command;
use clap_complete::Shell;
use serde_json::json;

use crate::ui::failure::Failure;
use crate::ui::options::Options;
use crate::ui::output::Output;

/// Print a script that completes commands and options in a shell
///
/// For bash: atento completions bash > atento.bash && source atento.bash
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write manual pages, one for each verb
///
/// With --json prints {"path"}.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory to write them into, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `completions` for the program's `command`.
///
/// # Errors
/// Standard output cannot be written.
pub fn complete(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    let mut out = Output::open();
    out.bytes(&script)?;
    out.finish()
}

/// Runs `man` for the program's `command`.
///
/// # Errors
/// The directory cannot be made, or a page not written.
pub fn manual(args: &ManArgs, command: Command, options: &Options) -> Result<(), Failure> {
    let dir = args.out.as_path();
    std::fs::create_dir_all(dir).map_err(|error| anyhow!("{}: cannot create the directory: {error}", dir.display()))?;
    let written = clap_mangen::generate_to(command, dir);
    written.with_context(|| format!("{}: cannot write a page", dir.display())).map_err(Failure::run)?;
    let mut out = Output::open();
    match options.json {
        true => out.json(&json!({ "path": dir }))?,
        false => out.line(format_args!("{}: atento.1 and a page for each verb", dir.display()))?,
    }
    out.finish()
}
