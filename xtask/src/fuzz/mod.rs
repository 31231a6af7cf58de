//! `cargo xtask fuzz`: damaged files given to the program, which must say what is wrong and never fall over.
//!
//! The program itself makes small sound files (`seeds`). Each input is one of them, changed at random (`mutate`), and is
//! read by a command of the program in a process of its own with a limit of time and memory (`attempt`). The command must
//! end with exit code 0 or 2. A panic, an abort, a signal, another exit code or no end is a finding: the input is kept, and
//! `--repeat FILE` runs it again. The same `--seed` gives the same inputs.

mod archive;
mod attempt;
mod mutate;
mod random;
mod seeds;
mod targets;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::build;
use crate::options::Options;
use attempt::{Attempt, Verdict};
use random::Random;
use targets::{TARGETS, Target};

/// Inputs of each target, unless told otherwise.
const RUNS: usize = 1000;

/// Runs the chore.
pub fn run(options: &Options) -> Result<()> {
    let program = options.program.clone().map_or_else(build::debug_cli, Ok)?;
    let work = tempfile::tempdir()?;
    let seeds = work.path().join("seeds");
    seeds::make(&program, &seeds).context("cannot make the files to start from")?;
    let fuzzer = Fuzzer { program, seeds, work: work.path().to_path_buf(), seed: options.seed.unwrap_or(1) };
    if let Some(file) = &options.repeat {
        return fuzzer.repeat(file);
    }
    let runs = options.runs.unwrap_or(RUNS);
    let mut findings = 0;
    for target in chosen(options.target.as_deref())? {
        let found = fuzzer.target(target, runs)?;
        println!("{:<18} {runs} inputs, {} accepted, {} findings", target.name, found.accepted, found.findings);
        findings += found.findings;
    }
    ensure!(findings == 0, "{findings} findings; the inputs are in {}", kept().display());
    Ok(())
}

fn chosen(name: Option<&str>) -> Result<Vec<&'static Target>> {
    let chosen: Vec<&Target> = TARGETS.iter().filter(|target| name.is_none_or(|name| target.name == name)).collect();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    ensure!(!chosen.is_empty(), "no target {:?}; there are {}", name.unwrap_or_default(), names.join(", "));
    Ok(chosen)
}

/// Where inputs that were findings are kept.
fn kept() -> PathBuf {
    build::target_dir().join("fuzz")
}

/// What a target's inputs came to.
struct Found {
    accepted: usize,
    findings: usize,
}

struct Fuzzer {
    program: PathBuf,
    seeds: PathBuf,
    work: PathBuf,
    seed: u64,
}

impl Fuzzer {
    /// Every command accepts every file as it was made: else its changes would be refused for another reason.
    fn check_sound(&self, target: &'static Target) -> Result<()> {
        let attempt = self.attempt(target, &format!("{}-sound", target.name))?;
        for (variant, file) in target.files.iter().enumerate() {
            let sound = fs::read(self.seeds.join(file))?;
            for (command, words) in target.commands.iter().enumerate() {
                let verdict = attempt.run(variant, &sound, command)?;
                let said = attempt.said()?;
                let words = words.join(" ");
                ensure!(matches!(verdict, Verdict::Accepted), "atento {words} with {file} as it was made: {said}");
            }
        }
        Ok(())
    }

    /// Tries inputs of a target on all cores.
    fn target(&self, target: &'static Target, runs: usize) -> Result<Found> {
        self.check_sound(target)?;
        let (next, accepted, findings) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let failure = Mutex::new(None);
        let work = |thread: usize| -> Result<()> {
            let attempt = self.attempt(target, &format!("{}-{thread}", target.name))?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= runs {
                    return Ok(());
                }
                let mut random = Random::new(self.seed, target.name, number as u64);
                let variant = random.below(target.files.len());
                let sound = fs::read(self.seeds.join(target.files[variant]))?;
                let input = mutate::mutate(target.form, &sound, &mut random);
                match attempt.run(variant, &input, random.below(usize::MAX))? {
                    Verdict::Accepted => _ = accepted.fetch_add(1, Ordering::Relaxed),
                    Verdict::Refused => {}
                    Verdict::Finding(why) => {
                        findings.fetch_add(1, Ordering::Relaxed);
                        let path = keep(target, variant, self.seed, number, &input)?;
                        println!("{}: {why}\n    again: cargo xtask fuzz --repeat {}", target.name, path.display());
                    }
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for thread in 0..threads {
                let (work, failure) = (&work, &failure);
                scope.spawn(move || {
                    if let Err(error) = work(thread) {
                        *failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error);
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(error) => Err(error),
            None => Ok(Found { accepted: accepted.into_inner(), findings: findings.into_inner() }),
        }
    }

    /// A folder for a target's commands to run in.
    fn attempt(&self, target: &'static Target, name: &str) -> Result<Attempt> {
        Attempt::new(&self.program, &self.seeds, &self.work.join(name), target)
    }

    /// Runs every command of an input that was kept.
    fn repeat(&self, file: &Path) -> Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let [target, variant, ..] = name.split('.').collect::<Vec<_>>()[..] else {
            bail!("{}: its name does not say which target it belongs to", file.display());
        };
        let target = chosen(Some(target))?.remove(0);
        let variant: usize = variant.parse().ok().filter(|variant| *variant < target.files.len()).context("variant")?;
        let input = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let attempt = self.attempt(target, "repeat")?;
        let mut findings = 0;
        for command in 0..target.commands.len() {
            let verdict = attempt.run(variant, &input, command)?;
            println!("atento {}\n{}", target.commands[command].join(" "), attempt.said()?);
            println!("    {verdict:?}");
            findings += usize::from(matches!(verdict, Verdict::Finding(_)));
        }
        ensure!(findings == 0, "{findings} findings");
        Ok(())
    }
}

fn keep(target: &Target, variant: usize, seed: u64, number: usize, input: &[u8]) -> Result<PathBuf> {
    fs::create_dir_all(kept())?;
    let path = kept().join(format!("{}.{variant}.{seed}-{number}", target.name));
    fs::write(&path, input)?;
    Ok(path)
}
