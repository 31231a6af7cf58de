//! How runs end, what they keep, and what they say of their data.

use serde_json::Value;

use crate::support::{Folder, Ran, SENTENCES};

/// The recipe with validation data of its own, evaluated every other step.
const SETTINGS: [&str; 6] = [
    "data.valid.tsv=valid.tsv",
    "train.eval_every=2",
    "schedule.kind=constant",
    "schedule.warmup_steps=0",
    "search.beam=1",
    "search.max_length=6",
];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.recipe();
    let text: String = SENTENCES.iter().map(|(source, target)| format!("{source}\t{target}\n")).collect();
    folder.write("valid.tsv", text);
    folder
}

fn train(folder: &Folder, more: &[&str]) -> Ran {
    let settings: Vec<&str> = SETTINGS.iter().flat_map(|setting| ["--set", setting]).collect();
    folder.run(&[&["train", "r.toml", "--out", "run", "--json"], &settings[..], more].concat(), "")
}

fn weights(folder: &Folder) -> Vec<u8> {
    std::fs::read(folder.path("run/model/model.safetensors")).unwrap()
}

#[test]
fn a_run_that_was_stopped_early_is_not_trained_on_by_resuming_it() {
    let folder = folder();
    let settings = ["--set", "optimizer.lr=0.5", "--set", "train.early_stopping.patience=1", "--max-steps", "40"];
    let first: Value = train(&folder, &settings).objects().remove(0);
    assert_eq!(first["ending"], "early stopping", "{first}");
    let (before, lines) = (weights(&folder), evaluations(&folder));
    let again: Value = train(&folder, &[&settings[..], &["--resume"]].concat()).objects().remove(0);
    assert_eq!((&again["ending"], &again["steps"]), (&first["ending"], &first["steps"]));
    assert!(weights(&folder) == before, "resuming changed the model");
    assert_eq!(evaluations(&folder), lines, "an evaluation was made twice");
    let patient =
        ["--set", "optimizer.lr=0.5", "--set", "train.early_stopping.patience=9", "--max-steps", "40", "--resume"];
    let on: Value = train(&folder, &patient).objects().remove(0);
    assert!(on["steps"].as_u64() > first["steps"].as_u64(), "more patience goes on: {on}");
}

/// How many evaluations the metrics hold.
fn evaluations(folder: &Folder) -> usize {
    let metrics = std::fs::read_to_string(folder.path("run/metrics.jsonl")).unwrap();
    metrics.lines().filter(|line| line.contains("eval_loss")).count()
}

#[test]
fn the_last_evaluation_is_known_to_the_checkpoint_that_was_there_before_it() {
    let folder = folder();
    train(&folder, &["--max-steps", "5", "--set", "train.eval_every=4", "--set", "train.save_every=1"]).output();
    let state = std::fs::read_to_string(folder.path("run/checkpoints/step-5/state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["evaluated"], &state["early_stopping"]["best"]["step"]), (&5.into(), &5.into()));
}

#[test]
fn what_stops_being_finite_leaves_the_step_before_it() {
    let folder = folder();
    let diverges = ["--set", "optimizer.lr=1e30", "--set", "train.eval_every=0"];
    let ran = train(&folder, &diverges);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("step 2: ") && ran.stderr.contains("those of step 1"), "{}", ran.stderr);
    assert!(folder.path("run/checkpoints/step-1/complete.json").exists());
    // What fails midway is never the input's fault, whatever fails.
    let skips = ["--resume", "--set", "train.on_non_finite=skip"];
    let ran = train(&folder, &[&diverges[..], &skips].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn held_out_sentences_without_a_place_in_the_model_are_found_before_training() {
    let folder = folder();
    folder.write("long.tsv", format!("a dog runs\tein Hund rennt\n{}\tein Hund\n", "a dog ".repeat(40)));
    folder.write("wide.tsv", format!("a dog runs\t{}\n", "ein Hund ".repeat(40)));
    for (setting, expected) in [
        ("data.valid.tsv=long.tsv", "long.tsv, pair 2: the source has "),
        ("data.valid.tsv=wide.tsv", "wide.tsv, pair 1: the target has "),
        ("data.test.tsv=long.tsv", "long.tsv, pair 2: the source has "),
    ] {
        for more in [&["--set", setting][..], &["--set", setting, "--dry-run"]] {
            let message = train(&folder, more).refusal();
            assert!(message.contains(expected) && message.contains("positions for 32"), "{message}");
        }
    }
    assert!(!folder.path("run/config.toml").exists());
}

#[test]
fn what_is_left_out_or_cut_is_told_and_counted() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.path("pairs.tsv")).unwrap();
    folder.write("pairs.tsv", format!("{text}\tein Hund\n{}\tein Hund\n", "a dog ".repeat(40)));
    folder.write("valid.tsv", "a dog runs\tein Hund rennt\na cat\t\n");
    let ran = train(&folder, &["--set", "data.on_truncate=warn", "--max-steps", "2"]);
    for expected in [
        "warning: data.train: of 14 pairs, 1 with an empty source left out; 1 cut to the longest length, ",
        "warning: data.valid: of 2 pairs, 1 with an empty target left out",
    ] {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        let log = std::fs::read_to_string(folder.path("run/log.txt")).unwrap();
        assert!(log.contains(expected.strip_prefix("warning: ").unwrap()), "{log}");
    }
    let summary: Value = ran.objects().remove(0);
    assert_eq!(
        (&summary["data"]["train"]["empty_source"], &summary["data"]["valid"]["empty_target"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn other_training_data_under_the_same_name_is_noticed() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.path("pairs.tsv")).unwrap();
    train(&folder, &["--max-steps", "2"]).output();
    let (first, rest) = text.split_once('\n').unwrap();
    folder.write("pairs.tsv", format!("{rest}{first}\n"));
    let message = train(&folder, &["--resume"]).refusal();
    assert!(message.contains("the training or validation data is not what it was when "), "{message}");
    // The same data may lie elsewhere.
    folder.write("moved.tsv", text);
    train(&folder, &["--resume", "--set", "data.train.tsv=moved.tsv"]).output();
    folder.write("valid.tsv", "a cat\teine Katze\n");
    let message = train(&folder, &["--resume", "--set", "data.train.tsv=moved.tsv", "--max-steps", "8"]).refusal();
    assert!(message.contains("data is not what it was when "), "{message}");
}
