//! What an update of `train` is: that the last one moves the weights, that one without anything to predict is left out,
//! and that neither threads nor the cut into micro-batches change it.

use serde_json::Value;

use crate::support::{Folder, Ran};

const RECIPE: &str = r#"
task = "causal-lm"
[data]
text = "text.txt"
valid_fraction = 0.2
[tokenizer]
kind = "char"
[model]
layers = 1
heads = 2
d_model = 16
max_positions = 16
[train]
max_steps = 6
batch_tokens = 64
log_every = 1
eval_every = 3
[optimizer]
kind = "sgd"
lr = 0.1
[schedule]
kind = "constant"
warmup_steps = 0
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("text.txt", "the cat sees the dog.\nthe dog sees the cat.\n".repeat(40));
    folder.write("r.toml", RECIPE);
    folder
}

fn train(folder: &Folder, out: &str, settings: &[&str]) -> Ran {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["train", "r.toml", "--quiet", "--json", "--out", out].into_iter().chain(set).collect();
    folder.run(&arguments, "")
}

/// The numbers of this name in the log of metrics.
fn measured(folder: &Folder, run: &str, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.path(run).join("metrics.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()[name].as_f64()).collect()
}

fn weights(folder: &Folder, run: &str) -> Vec<u8> {
    std::fs::read(folder.path(run).join("model/model.safetensors")).unwrap()
}

#[test]
fn the_last_update_of_every_schedule_moves_the_weights_and_a_run_of_one_update_trains() {
    let folder = folder();
    for kind in ["linear", "cosine", "wsd"] {
        let set = format!("schedule.kind=\"{kind}\"");
        for (steps, limit) in [(1, "train.max_steps=1"), (4, "train.max_steps=4")] {
            let run = format!("{kind}-{steps}");
            train(&folder, &run, &[&set, limit, "train.eval_every=0"]).output();
            let rates = measured(&folder, &run, "lr");
            assert_eq!(rates.len(), steps, "{kind}");
            assert!(rates.iter().all(|&rate| rate > 0.0) && rates[0] == 0.1, "{kind}: {rates:?}");
        }
    }
    // Limited by passes over the data instead of updates.
    train(&folder, "epochs", &["schedule.kind=\"linear\"", "train.max_epochs=1", "train.batch_tokens=512"]).output();
    assert!(measured(&folder, "epochs", "lr").iter().all(|&rate| rate > 0.0));
}

/// `tokens/`, files of tokens for the tokenizer of the run `first`, in which `end` is its end token: training text with
/// stretches of empty documents, and validation text.
fn token_files(folder: &Folder, train_ids: impl Fn(u16) -> Vec<u16>, val_ids: impl Fn(u16) -> Vec<u16>) {
    train(folder, "first", &["train.max_steps=1", "train.eval_every=0"]).output();
    let json = std::fs::read_to_string(folder.path("first/tokenizer.json")).unwrap();
    let tokens = serde_json::from_str::<Value>(&json).unwrap()["added_tokens"].as_array().unwrap().clone();
    let end = tokens.iter().find(|token| token["content"] == "</s>").unwrap()["id"].as_u64().unwrap() as u16;
    std::fs::create_dir_all(folder.path("tokens")).unwrap();
    for (name, ids) in [("train.bin", train_ids(end)), ("val.bin", val_ids(end))] {
        let bytes: Vec<u8> = ids.into_iter().flat_map(u16::to_le_bytes).collect();
        folder.write(&format!("tokens/{name}"), bytes);
    }
    let text =
        RECIPE.replace("text = \"text.txt\"\nvalid_fraction = 0.2", "tokens = \"tokens\"\ndocument_attention = true");
    folder.write("r.toml", text.replace("kind = \"char\"", "file = \"first/tokenizer.json\""));
}

fn words(n: usize) -> Vec<u16> {
    [5, 6, 7, 8].repeat(n)
}

#[test]
fn batches_with_nothing_to_predict_are_skipped_and_counted() {
    let folder = folder();
    token_files(&folder, |end| [vec![end; 600], words(200)].concat(), |end| [vec![end; 40], words(20)].concat());
    for (run, settings) in [
        ("random", &["train.max_steps=20"][..]),
        ("sequential", &["train.max_steps=20", "data.sampling=\"sequential\""]),
        ("halves", &["train.max_steps=20", "train.accumulate=2"]),
        ("part", &["train.max_steps=20", "train.eval_batches=1"]),
    ] {
        let ran = train(&folder, run, &[settings, &["train.batch_tokens=16"]].concat());
        let summary = ran.objects().remove(0);
        assert_eq!(summary["steps"], 20, "{run}");
        assert!(summary["batches_without_targets"].as_u64().unwrap() > 0, "{run}: {summary}");
        assert!(summary["metrics"]["valid_loss"].as_f64().is_some_and(f64::is_finite), "{run}: {summary}");
        let losses = measured(&folder, run, "loss");
        assert_eq!(losses.len(), 20, "{run}: every update has a loss");
        let log = std::fs::read_to_string(folder.path(run).join("log.txt")).unwrap();
        assert!(log.contains("had no token to predict and taught nothing"), "{log}");
    }
    // Stopped and resumed, the count goes on.
    let set = ["train.batch_tokens=16", "train.max_steps=9"];
    train(&folder, "parts", &set).output();
    let rest = ["train", "r.toml", "-q", "--json", "--out", "parts", "--resume", "--max-steps", "20"];
    let rest = folder.run(&[&rest[..], &["--set", "train.batch_tokens=16"]].concat(), "").objects().remove(0);
    let whole = train(&folder, "whole", &["train.batch_tokens=16", "train.max_steps=20"]).objects().remove(0);
    assert_eq!(rest["batches_without_targets"], whole["batches_without_targets"]);
    assert!(weights(&folder, "parts") == weights(&folder, "whole"));
}

#[test]
fn data_with_nothing_to_predict_is_refused_before_a_run_starts() {
    let folder = folder();
    token_files(&folder, |_| words(100), |end| vec![end; 80]);
    let message = train(&folder, "run", &[]).refusal();
    assert!(message.contains("val.bin has nothing to predict"), "{message}");
    token_files(folder_again(&folder), |end| [vec![end; 80], vec![5]].concat(), |_| words(20));
    let message = train(&folder, "run", &[]).refusal();
    assert!(message.contains("train.bin has nothing to predict"), "{message}");
    assert!(!folder.path("run").exists());
    // Without documents of their own, an end token predicts the next one.
    train(&folder, "whole", &["data.document_attention=false"]).output();
}

/// The folder as it was before its recipe named token files.
fn folder_again(folder: &Folder) -> &Folder {
    std::fs::remove_dir_all(folder.path("first")).unwrap();
    folder.write("r.toml", RECIPE);
    folder
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_run() {
    let folder = Folder::new();
    folder.recipe();
    // Batches of up to 520 tokens: a block of rows with and without a short tail.
    for batch in ["train.batch_tokens=520", "train.batch_tokens=1030"] {
        let run = |threads: &str| {
            let out = format!("{batch}-{threads}");
            let set = ["--set", batch, "--set", "model.dropout=0.1", "--threads", threads];
            folder.run(&[&["train", "r.toml", "-q", "--out", &out], &set[..]].concat(), "").output();
            weights(&folder, &out)
        };
        let one = run("1");
        for threads in ["2", "3"] {
            assert!(run(threads) == one, "{batch}, {threads} threads");
        }
    }
}

/// Dropout masks and validation batches included: what differs is the rounding of sums.
#[test]
fn an_update_in_parts_is_the_update_in_one_and_so_is_its_validation() {
    let folder = folder();
    let train = |run: &str, tokens: &str, accumulate: &str| {
        let set = [tokens, accumulate, "model.dropout=0.2", "train.eval_batches=2"];
        train(&folder, run, &set).output();
        [measured(&folder, run, "loss"), measured(&folder, run, "eval_loss")].concat()
    };
    let whole = train("whole", "train.batch_tokens=64", "train.accumulate=1");
    assert_eq!(whole.len(), 8, "six updates, two evaluations");
    for (run, tokens, accumulate) in [
        ("halves", "train.batch_tokens=32", "train.accumulate=2"),
        ("quarters", "train.batch_tokens=16", "train.accumulate=4"),
    ] {
        let parts = train(run, tokens, accumulate);
        let largest = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(parts.len() == 8 && largest < 1e-5, "{run}: losses differ by {largest}");
    }
}
