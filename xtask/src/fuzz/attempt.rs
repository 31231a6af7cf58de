//! One input read by one command of the program, in a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::targets::Target;

/// The limits of a process, as a shell sets them: 8 GiB of addresses, 60 seconds of a processor.
const LIMITS: &str = r#"ulimit -v 8388608; ulimit -t 60; exec "$0" "$@""#;
/// A process that neither computes nor ends is ended after this.
const PATIENCE: Duration = Duration::from_secs(300);
/// What commands that take text on standard input read.
const STDIN: &str = "the cat sees\na dog\n";
/// How a run ends whose model computes NaN: a changed weight may be any number, and most are sound.
const DAMAGED: &str = "the model's weights are damaged";
/// What the program says of a panic.
const PANIC: &str = "this is a bug in atento";

/// What became of an input.
#[derive(Debug)]
pub enum Verdict {
    /// Exit code 0.
    Accepted,
    /// Exit code 2 and a message.
    Refused,
    /// Anything else, in words.
    Finding(String),
}

/// A folder with sound files, one of which is replaced for each input.
pub struct Attempt {
    program: PathBuf,
    seeds: PathBuf,
    folder: PathBuf,
    target: &'static Target,
}

impl Attempt {
    pub fn new(program: &Path, seeds: &Path, folder: &Path, target: &'static Target) -> Result<Self> {
        copy(seeds, folder)?;
        let (program, seeds, folder) = (program.to_path_buf(), seeds.to_path_buf(), folder.to_path_buf());
        Ok(Self { program, seeds, folder, target })
    }

    /// Runs a command of the target, counted around, with `input` in the place of file `variant`.
    pub fn run(&self, variant: usize, input: &[u8], command: usize) -> Result<Verdict> {
        let file = self.target.files[variant];
        let top = file.split('/').next().unwrap_or(file);
        fs::write(self.folder.join(file), input)?;
        seal(&self.folder.join(file), input)?;
        let verdict = self.execute(self.target.commands[command % self.target.commands.len()], file)?;
        // The command may have written beside it.
        for name in [top, "out"] {
            let path = self.folder.join(name);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
        }
        copy(&self.seeds.join(top), &self.folder.join(top))?;
        Ok(verdict)
    }

    /// What the last command said on standard error.
    pub fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("said"))?).into_owned())
    }

    fn execute(&self, words: &[&str], file: &str) -> Result<Verdict> {
        let directory = Path::new(file).parent().unwrap_or(Path::new("")).display().to_string();
        let word = |word: &&str| word.replace("FILE", file).replace("DIR", &directory);
        let mut command = Command::new("sh");
        command.arg("-c").arg(LIMITS).arg(&self.program).args(words.iter().map(word)).current_dir(&self.folder);
        command.env("RAYON_NUM_THREADS", "1").env_remove("RUST_BACKTRACE");
        fs::write(self.folder.join("stdin"), STDIN)?;
        command.stdin(File::open(self.folder.join("stdin"))?).stdout(Stdio::null());
        command.stderr(File::create(self.folder.join("said"))?);
        let mut child = command.spawn().context("cannot start sh")?;
        let begin = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if begin.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
                None => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(Verdict::Finding(format!("no end after {} s", PATIENCE.as_secs())));
                }
            }
        };
        Ok(judge(status, &self.said()?))
    }
}

fn judge(status: ExitStatus, said: &str) -> Verdict {
    let last = || said.lines().last().unwrap_or_default().to_owned();
    match status.code() {
        _ if said.contains(PANIC) => Verdict::Finding(last()),
        Some(0) => Verdict::Accepted,
        Some(1) if said.contains(DAMAGED) || names_every_bad_line(said) => Verdict::Refused,
        Some(2) if !said.trim().is_empty() => Verdict::Refused,
        Some(code) => Verdict::Finding(format!("exit code {code}: {}", last())),
        None => Verdict::Finding(format!("{status}: {}", last())),
    }
}

/// Whether a verb went past bad lines and named each of them, as it must: a changed model may have no place for them.
fn names_every_bad_line(said: &str) -> bool {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("error: "));
    let bad = lines.next_back().and_then(|last| last.strip_suffix(" lines could not be used; each is named above"));
    let counted = bad.and_then(|bad| bad.split_once(" of ")?.0.parse().ok());
    counted == Some(lines.filter(|line| line.starts_with("standard input, line ")).count())
}

/// Puts the size and the checksum of a changed file of a checkpoint into its list of files, so that what the file says is
/// read at all.
fn seal(file: &Path, input: &[u8]) -> Result<()> {
    let list = file.with_file_name("complete.json");
    if !list.exists() {
        return Ok(());
    }
    let mut value: Value = serde_json::from_slice(&fs::read(&list)?)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    for entry in value["files"].as_array_mut().into_iter().flatten().filter(|entry| entry["name"] == *name) {
        entry["bytes"] = json!(input.len());
        entry["crc32"] = json!(crc32fast::hash(input));
    }
    fs::write(list, serde_json::to_vec(&value)?)?;
    Ok(())
}

/// Copies a file or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_no_finding_where_each_is_named() {
        let (first, second) =
            ("error: standard input, line 1: too long\n", "error: standard input, line 2: too long\n");
        let end = "error: 2 of 2 lines could not be used; each is named above\n";
        assert!(names_every_bad_line(&[first, second, end].concat()));
        for said in [&[first, end][..], &[second], &[end], &[first, second, end, "error: something else\n"]] {
            assert!(!names_every_bad_line(&said.concat()), "{said:?}");
        }
    }
}
