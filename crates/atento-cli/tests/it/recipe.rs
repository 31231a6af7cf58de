//! `recipe`, `completions` and `man`: what the program says of its own words.

use std::fs;

use crate::support::{Folder, fixture};

#[test]
fn a_printed_recipe_is_trained_as_it_is_once_its_data_are_there() {
    let folder = Folder::new();
    let tasks = folder.run(&["recipe", "--json"], "").objects();
    assert!(tasks.len() == 10 && tasks.iter().any(|task| task["task"] == "qa"), "{tasks:?}");
    let text = folder.run(&["recipe", "classify"], "").output();
    folder.write("mine.toml", text.replace("#max_epochs = 3", "max_epochs = 1"));
    let rows: String = (0..9).map(|at| format!("the {at} cat\t{}\n", ["red", "green", "blue"][at % 3])).collect();
    folder.write("train.tsv", format!("text\tlabel\n{rows}"));
    folder.write("valid.tsv", format!("text\tlabel\n{rows}"));
    let base = fixture("bert-labels").display().to_string();
    folder.run(&["train", "mine.toml", "--from", &base, "-q"], "").output();
    // What the run did says the same of every setting, and what other tasks have is not in it.
    let config = fs::read_to_string(folder.path("runs/mine/config.toml")).unwrap();
    assert!(
        config.contains("# The limit in passes over the training data.") && config.contains("\nmax_epochs = 1\n"),
        "{config}"
    );
    assert!(!config.contains("[search]") && !config.contains("[lora]") && !config.contains("rope_theta"), "{config}");
    folder.run(&["train", "runs/mine/config.toml", "--out", "again", "-q"], "").output();
    let weights = |run: &str| fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
    assert_eq!(weights("again"), weights("runs/mine"));
    let message = folder.run(&["recipe", "clasify"], "").refusal();
    assert!(message.contains("\"classify\""), "{message}");
    let message = folder.run(&["recipe", "classify", "--arch", "rnn"], "").refusal();
    assert!(message.contains("does not go with `model.arch` \"rnn\""), "{message}");
    let schema = folder.run(&["recipe", "--schema"], "").output();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&schema).unwrap()["additionalProperties"], false);
}

#[test]
fn shells_and_manuals_know_every_verb() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.run(&["completions", shell], "").output();
        assert!(script.contains("fill-mask") && script.contains("dry-run"), "{shell}");
    }
    folder.run(&["man", "--out", "man"], "").output();
    let page = fs::read_to_string(folder.path("man/atento-train.1")).unwrap();
    assert!(page.contains("\\-\\-dry\\-run"), "{page}");
    assert!(folder.path("man/atento-adapter-merge.1").exists());
    let version = folder.run(&["--version"], "").output();
    assert!(version.starts_with(&format!("atento {}", env!("CARGO_PKG_VERSION"))), "{version}");
}
