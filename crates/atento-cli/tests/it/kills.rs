//! A run that is killed at any change to its files, and resumed, makes what it would have made in peace.
//!
//! A shim in C (`kills.c`) kills the program before one of its writes, creations, renames, removals or flushes below the
//! run directory, or in the middle of a write. By default a few moments of each kind of run are tried;
//! `ATENTO_KILL_EVERYWHERE=1` tries all.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::Folder;

/// What the runs have in common: evaluations, checkpoints that are removed again, a mean of two of them (a language model has
/// a moving average in its place), a learning rate that depends on evaluations, dropout.
const COMMON: &str = r#"
    seed = 7
    [train]
    max_steps = 4
    batch_tokens = 48
    accumulate = 2
    log_every = 3
    eval_every = 3
    save_every = 1
    keep_last = 2
    average_last = 2
    [schedule]
    kind = "plateau"
    warmup_steps = 2
"#;

const TRANSLATION: &str = r#"
    [data]
    train = { tsv = "pairs.tsv" }
    valid = { tsv = "pairs.tsv" }
    max_length = 16
    drop_duplicates = false
    [tokenizer]
    vocab_size = 300
    min_frequency = 1
    [model]
    d_model = 8
    heads = 2
    d_ff = 8
    encoder_layers = 1
    decoder_layers = 1
    max_positions = 16
    dropout = 0.2
    [search]
    beam = 1
    max_length = 4
"#;

const LANGUAGE: &str = r#"
    task = "causal-lm"
    [data]
    text = "text.txt"
    valid_fraction = 0.2
    [tokenizer]
    kind = "char"
    [model]
    layers = 1
    heads = 2
    d_model = 8
    max_positions = 16
    dropout = 0.2
"#;

const INSTRUCT: &str = r#"
    task = "instruct"
    [data]
    train = { tsv = "pairs.tsv" }
    valid = { tsv = "pairs.tsv" }
    [tokenizer]
    kind = "char"
    [model]
    layers = 1
    heads = 2
    d_model = 8
    max_positions = 64
    dropout = 0.2
"#;

/// What runs are killed with, in a folder of their own.
struct Killer {
    folder: Folder,
    shim: PathBuf,
}

/// When a run is killed, or how changes are counted.
#[derive(Clone, Copy, Debug)]
enum Kill {
    /// Before a change.
    Before(u64),
    /// Half through it, where it is a write.
    Within(u64),
    /// Never; the changes are counted.
    Never,
}

impl Killer {
    /// `None` where there is no C compiler.
    fn new(task: &str) -> Option<Self> {
        let folder = Folder::new();
        let (source, shim) = (folder.write("kills.c", include_str!("kills.c")), folder.path("kills.so"));
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl");
        let Ok(compiled) = compile.output() else {
            eprintln!("skipped: there is no C compiler `cc`");
            return None;
        };
        assert!(compiled.status.success(), "{compiled:?}");
        folder.recipe();
        folder.write("text.txt", "the cat sees the dog.\nthe dog sees the cat.\n".repeat(12));
        // A top-level key comes before the first table.
        let (seed, tables) = COMMON.trim_start().split_once('\n').unwrap();
        let mean = if task == LANGUAGE { "ema = 0.5" } else { "average_last = 2" };
        let tables = tables.replace("average_last = 2", mean);
        folder.write("r.toml", format!("{seed}\n{task}{tables}"));
        Some(Self { folder, shim })
    }

    fn run(&self) -> PathBuf {
        self.folder.path("run")
    }

    /// Trains in the directory `run`.
    fn train(&self, more: &[&str], kill: Kill) -> Output {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
        command.args(["train", "r.toml", "-q", "--threads", "1", "--out"]).arg(self.run()).args(more);
        command.current_dir(self.folder.path("")).stdin(Stdio::null()).env("LD_PRELOAD", &self.shim);
        command.env("KILL_UNDER", self.run()).env("KILL_COUNT", self.folder.path("count"));
        match kill {
            Kill::Before(change) => command.env("KILL_AT", change.to_string()),
            Kill::Within(change) => command.env("KILL_AT", change.to_string()).env("KILL_TORN", "1"),
            Kill::Never => &mut command,
        };
        command.output().unwrap()
    }

    /// The changes of a run that goes to its end.
    fn count(&self, more: &[&str]) -> u64 {
        let ran = self.train(more, Kill::Never);
        assert!(ran.status.success(), "{ran:?}");
        fs::read_to_string(self.folder.path("count")).unwrap().parse().unwrap()
    }

    /// Resumes a run that was killed, or begins it again where nothing was written down.
    fn go_on(&self, scene: &Scene<'_>, kill: Kill) -> Output {
        // A run that goes on knows its model.
        let pairs = scene.arguments.chunks(2).filter(|pair| !["--from", "--resume"].contains(&pair[0]));
        let resumed = self.train(&[&pairs.flatten().copied().collect::<Vec<_>>()[..], &["--resume"]].concat(), kill);
        let message = String::from_utf8_lossy(&resumed.stderr).into_owned();
        match resumed.status.code() == Some(2) && message.contains("no run to resume") {
            true => self.train(scene.arguments, kill),
            false => resumed,
        }
    }

    fn restore(&self, before: Option<&Path>) {
        let run = self.run();
        if run.exists() {
            fs::remove_dir_all(&run).unwrap();
        }
        if let Some(before) = before {
            copy(before, &run);
        }
    }

    /// Kills a run at some or all of its changes, one after another; returns how many there were.
    fn sweep(&self, scene: &Scene<'_>) -> usize {
        self.restore(scene.before);
        let changes = self.count(scene.arguments);
        let expected = results(&self.run());
        let kills = kills(changes);
        for (number, &kill) in kills.iter().enumerate() {
            self.restore(scene.before);
            self.train(scene.arguments, kill);
            if number % 3 == 1 {
                // The run that goes on is killed too.
                self.go_on(scene, Kill::Before(changes * (number as u64 % 7 + 1) / 10));
            }
            let ran = self.go_on(scene, Kill::Never);
            let name = scene.name;
            assert!(ran.status.success(), "{name}, killed at {kill:?} of {changes}: {ran:?}");
            for ((file, expected), (_, found)) in expected.iter().zip(results(&self.run())) {
                assert!(*expected == found, "{name}, killed at {kill:?} of {changes}: {file} differs");
            }
            let left = leftovers(&self.run());
            assert!(left.is_empty(), "{name}, killed at {kill:?} of {changes}: {left:?} stayed");
        }
        eprintln!("{}: killed {} times at {changes} changes", scene.name, kills.len());
        kills.len()
    }
}

/// A run to be killed.
struct Scene<'a> {
    name: &'a str,
    /// What is in the run directory before.
    before: Option<&'a Path>,
    arguments: &'a [&'a str],
}

/// All moments, or a few that are spread over them.
fn kills(changes: u64) -> Vec<Kill> {
    if std::env::var_os("ATENTO_KILL_EVERYWHERE").is_some() {
        return (1..=changes).flat_map(|change| [Kill::Before(change), Kill::Within(change)]).collect();
    }
    let spread = |share: u64| (changes * share).div_ceil(100);
    [Kill::Before(spread(4)), Kill::Within(spread(29)), Kill::Before(spread(62)), Kill::Before(spread(97))].into()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// All files below a directory, in the order of their names.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What a run has made, but for times and speeds.
fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let steps = metrics.lines().map(|line| object(line)["step"].as_u64().unwrap());
    let checkpoint = run.join(format!("checkpoints/step-{}", steps.max().unwrap()));
    let mut made = vec![run.join("tokenizer.json")];
    made.extend(files(&run.join("model")));
    made.extend(files(&checkpoint).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "f32")));
    if run.join("data").exists() {
        made.extend(files(&run.join("data")));
    }
    let read = |path: PathBuf| (path.display().to_string(), fs::read(&path).unwrap());
    let mut results: Vec<_> = made.into_iter().map(read).collect();
    let untimed = |text: &str| {
        let mut value = object(text);
        for timed in ["tokens_per_second", "seconds", "window"] {
            value.as_object_mut().unwrap().remove(timed);
        }
        format!("{value}\n")
    };
    results.push(("metrics.jsonl".to_owned(), metrics.lines().map(untimed).collect::<String>().into_bytes()));
    let state = fs::read_to_string(checkpoint.join("state.json")).unwrap();
    results.push(("state.json".to_owned(), untimed(&state).into_bytes()));
    results
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What a killed process has left and no other has removed.
fn leftovers(run: &Path) -> Vec<PathBuf> {
    let is_leftover = |path: &PathBuf| {
        let path = path.display().to_string();
        [".atento-tmp", "/.tmp-", "/.old-", "request.json"].iter().any(|mark| path.contains(mark))
    };
    files(run).into_iter().filter(is_leftover).collect()
}

fn every_run_of(task: &str) {
    let Some(killer) = Killer::new(task) else { return };
    let modules = if task == TRANSLATION { "encoder" } else { "wte" };
    let frozen = &format!("train.freeze=[\"{modules}\"]");
    let mut kills = 0;
    let changes = killer.count(&[]);
    let (run, finished, cut, base) =
        (killer.run(), killer.folder.path("finished"), killer.folder.path("cut"), killer.folder.path("base"));
    copy(&run, &finished);
    copy(&run.join("model"), &base);
    killer.restore(None);
    killer.train(&[], Kill::Before(changes * 3 / 4));
    copy(&run, &cut);
    let scenes = [
        Scene { name: "a new run", before: None, arguments: &[] },
        Scene { name: "a longer run", before: Some(&finished), arguments: &["--max-steps", "6", "--resume"] },
        Scene { name: "a run that goes on", before: Some(&cut), arguments: &["--resume"] },
        Scene { name: "a run from a model", before: None, arguments: &["--from", "base"] },
        Scene {
            name: "a run from a model, partly frozen",
            before: None,
            arguments: &["--from", "base", "--set", frozen],
        },
    ];
    for scene in &scenes {
        kills += killer.sweep(scene);
    }
    eprintln!("killed {kills} times in all");
}

#[test]
fn a_translation_run_killed_at_any_change_of_its_files_makes_the_same() {
    every_run_of(TRANSLATION);
}

#[test]
fn a_language_run_killed_at_any_change_of_its_files_makes_the_same() {
    every_run_of(LANGUAGE);
}

#[test]
fn an_instruct_run_killed_at_any_change_of_its_files_makes_the_same() {
    every_run_of(INSTRUCT);
}

/// Settings taken out of a recipe, so that they follow others.
fn unstated(recipe: &str, keys: &[&str]) -> String {
    let is_kept = |line: &&str| !keys.iter().any(|key| line.trim().starts_with(&format!("{key} = ")));
    recipe.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_run_killed_before_its_first_checkpoint_goes_on_where_settings_follow_others() {
    for (task, keys) in [
        (TRANSLATION, &["warmup_steps", "eval_every", "keep_last", "batch_tokens", "max_length", "max_positions"][..]),
        (TRANSLATION, &["warmup_steps", "max_length", "heads"]),
        // A block follows the batch, the width follows the heads.
        (LANGUAGE, &["warmup_steps", "keep_last", "d_model", "max_positions"]),
    ] {
        let Some(killer) = Killer::new(task) else { return };
        let recipe = fs::read_to_string(killer.folder.path("r.toml")).unwrap();
        let recipe = if task == LANGUAGE { recipe.replace("heads = 2", "heads = 3") } else { recipe };
        killer.folder.write("r.toml", unstated(&recipe, keys));
        let asked = (1..100).find(|&change| {
            killer.restore(None);
            killer.train(&[], Kill::Before(change));
            killer.run().join("request.json").exists()
        });
        assert!(asked.is_some() && !killer.run().join("checkpoints").exists());
        let plan = killer.train(&["--resume", "--dry-run"], Kill::Never);
        assert!(plan.status.success(), "{plan:?}");
        let resumed = killer.train(&["--resume"], Kill::Never);
        assert!(resumed.status.success(), "{resumed:?}");
        let resumed = results(&killer.run());
        killer.restore(None);
        assert!(killer.train(&[], Kill::Never).status.success());
        assert!(results(&killer.run()) == resumed, "{keys:?}: the results differ");
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again_from_the_same_model_or_not_at_all() {
    let Some(killer) = Killer::new(LANGUAGE) else { return };
    assert!(killer.train(&[], Kill::Never).status.success());
    let base = killer.folder.path("base");
    copy(&killer.run().join("model"), &base);
    // Killed as soon as what was asked is written down.
    let asked = (1..100).find(|&change| {
        killer.restore(None);
        killer.train(&["--from", "base"], Kill::Before(change));
        killer.run().join("request.json").exists()
    });
    assert!(asked.is_some() && !killer.run().join("checkpoints").exists());
    let refused = |more: &[&str], expected: &[&str]| {
        let ran = killer.train(&[&["--resume"], more].concat(), Kill::Never);
        let message = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{message}");
        assert!(expected.iter().all(|expected| message.contains(expected)), "{message}");
    };
    let other = ["--set", "train.accumulate=1"];
    refused(&other, &["`train.accumulate` was 2 when", "request.json"]);
    refused(&[&other[..], &["--dry-run"]].concat(), &["`train.accumulate` was 2 when", "request.json"]);
    let weights = fs::read(base.join("model.safetensors")).unwrap();
    let mut changed = weights.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(base.join("model.safetensors"), changed).unwrap();
    refused(&[], &["the run was to start from ", "base", "it has changed since"]);
    fs::write(base.join("model.safetensors"), weights).unwrap();
    fs::rename(&base, killer.folder.path("elsewhere")).unwrap();
    refused(&[], &["the run was to start from ", "put it back, or begin a new run with --out"]);
    fs::rename(killer.folder.path("elsewhere"), &base).unwrap();
    assert!(killer.train(&["--resume"], Kill::Never).status.success());
}
