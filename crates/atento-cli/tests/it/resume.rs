//! A run that is killed, over and over, computes what it would have computed in peace.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Folder;

/// The settings of a run of seconds that uses everything a checkpoint has to hold: dropout, accumulation, a moving
/// average, a plateau schedule, evaluations.
const SETTINGS: &str = r#"
    seed = 11
    [data]
    corpus = "demo"
    max_length = 48
    [tokenizer]
    vocab_size = 400
    [model]
    d_model = 16
    heads = 2
    d_ff = 32
    encoder_layers = 1
    decoder_layers = 1
    max_positions = 64
    dropout = 0.2
    attention_dropout = 0.1
    [train]
    max_steps = 120
    batch_tokens = 256
    accumulate = 2
    log_every = 7
    eval_every = 40
    save_every = 3
    keep_last = 2
    ema = 0.9
    eval_max_sentences = 4
    [schedule]
    kind = "plateau"
    warmup_steps = 5
    [search]
    beam = 1
    max_length = 4
"#;

/// Kills of one run.
const KILLS: u32 = 20;

fn train(folder: &Folder, out: &str, resume: bool) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["train", "r.toml", "-q", "--threads", "2", "--out", out]).current_dir(folder.path(""));
    command.args(resume.then_some("--resume")).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Every file of the last checkpoint and of the exported model, but for the seconds it took.
fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |dir: &str, name: &str| (name.to_owned(), std::fs::read(run.join(dir).join(name)).unwrap());
    let checkpoint = "checkpoints/step-120";
    let mut files: Vec<_> =
        ["values.f32", "first.f32", "second.f32", "average.f32"].iter().map(|name| read(checkpoint, name)).collect();
    files.push(read("model", "model.safetensors"));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let untimed = metrics.lines().map(|line| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("tokens_per_second");
        record.to_string()
    });
    files.push(("metrics".to_owned(), untimed.collect::<String>().into_bytes()));
    files
}

#[test]
fn twenty_kills_at_random_moments_change_no_bit_of_the_result() {
    let folder = Folder::new();
    folder.write("r.toml", SETTINGS);
    assert!(train(&folder, "whole", false).status().unwrap().success());
    let begin = Instant::now();
    assert!(train(&folder, "timed", false).status().unwrap().success());
    let whole_run = begin.elapsed();
    // Pauses between a hundredth of a run and a third of one, from a fixed sequence.
    let (mut state, mut kills) = (0x2545_F491_4F6C_DD1D_u64, 0);
    let mut finished = false;
    while !finished {
        let mut child = train(&folder, "killed", folder.path("killed").join("config.toml").exists()).spawn().unwrap();
        if kills < KILLS {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let share = 0.01 + 0.3 * (state >> 40) as f64 / f64::from(1 << 24);
            let pause = Instant::now() + Duration::from_secs_f64(whole_run.as_secs_f64() * share);
            while Instant::now() < pause && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                kills += 1;
            }
        }
        finished = child.wait().unwrap().success();
    }
    assert!(kills >= 5, "the run ended after {kills} kills");
    for ((name, expected), (_, found)) in
        results(&folder.path("whole")).into_iter().zip(results(&folder.path("killed")))
    {
        assert!(expected == found, "{name} differs after {kills} kills");
    }
}

#[test]
fn a_run_without_its_tokenizer_is_not_resumed() {
    let folder = Folder::new();
    folder.write("r.toml", SETTINGS);
    let settings = ["train", "r.toml", "-q", "--out", "run", "--max-steps", "3"];
    folder.run(&settings, "").output();
    std::fs::remove_file(folder.path("run/tokenizer.json")).unwrap();
    let arguments: Vec<&str> = settings.into_iter().chain(["--resume"]).collect();
    let message = folder.run(&arguments, "").refusal();
    assert!(message.contains("tokenizer.json is missing"), "{message}");
}

#[test]
fn settings_that_would_make_another_run_are_refused_by_key_and_both_values() {
    let folder = Folder::new();
    folder.write("r.toml", SETTINGS);
    folder.run(&["train", "r.toml", "-q", "--out", "run", "--max-steps", "3"], "").output();
    let config = std::fs::read_to_string(folder.path("run/config.toml")).unwrap();
    for (setting, expected) in [
        ("train.batch_tokens=512", "`train.batch_tokens` was 256 when "),
        ("data.max_length=40", "`data.max_length` was 48 when "),
        ("tokenizer.vocab_size=410", "`tokenizer.vocab_size` was 400 when "),
        ("model.dropout=0.25", "`model.dropout` was 0.2 when "),
        ("optimizer.kind=sgd", "`optimizer.kind` was \"adamw\" when "),
        ("seed=12", "`seed` was 11 when "),
        ("train.eval_every=50", "`train.eval_every` was 40 when "),
        ("threads=2", ""),
    ] {
        // Editing the run's own copy of the recipe is no way around it.
        for recipe in ["r.toml", "run/config.toml"] {
            let arguments = ["train", recipe, "-q", "--out", "run", "--resume", "--max-steps", "3", "--set", setting];
            if expected.is_empty() {
                folder.run(&arguments, "").output();
                continue;
            }
            let message = folder.run(&arguments, "").refusal();
            let (_, new) = setting.split_once('=').unwrap();
            let is = |value: String| message.contains(&format!("saved and is {value} now"));
            assert!(message.contains(expected) && (is(new.to_owned()) || is(format!("\"{new}\""))), "{message}");
            assert_eq!(std::fs::read_to_string(folder.path("run/config.toml")).unwrap(), config);
        }
    }
}

#[test]
fn a_new_limit_is_taken_and_said_where_the_learning_rate_follows_it() {
    let folder = Folder::new();
    folder.write("r.toml", SETTINGS);
    let settings = ["train", "r.toml", "-q", "--out", "run", "--set", "schedule.kind=cosine", "--max-steps"];
    folder.run(&[&settings[..], &["3"]].concat(), "").output();
    folder.run(&[&settings[..], &["4", "--resume"]].concat(), "").output();
    let log = std::fs::read_to_string(folder.path("run/log.txt")).unwrap();
    assert!(log.contains("`train.max_steps` was 3 and is 4: the learning rate of the cosine schedule"), "{log}");
}
