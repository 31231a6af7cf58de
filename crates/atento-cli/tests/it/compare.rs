//! `compare`: runs beside each other, and what a run leaves for it.

use serde_json::Value;

use crate::support::{Folder, Ran};

fn train(folder: &Folder, out: &str, settings: &[&str]) {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["train", "r.toml", "-q", "--out", out].into_iter().chain(set).collect();
    folder.run(&arguments, "").output();
}

fn compare(folder: &Folder, more: &[&str]) -> Ran {
    folder.run(&[&["compare"], more].concat(), "")
}

/// The cells of a line of a table on the terminal.
fn cells<'t>(table: &'t str, name: &str) -> Vec<&'t str> {
    let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {table}"));
    line[name.len()..].split_whitespace().collect()
}

#[test]
fn runs_are_compared_on_the_terminal_on_a_page_and_as_json() {
    let folder = Folder::new();
    folder.recipe();
    train(&folder, "runs/plain", &[]);
    train(&folder, "runs/smooth", &["train.label_smoothing=0.3", "train.max_steps=4"]);
    let ran = compare(&folder, &["runs/plain", "runs/smooth", "--out", "page.html"]);
    assert!(ran.stderr.contains("curves: page.html"), "{ran:?}");
    let table = ran.output();
    assert_eq!(cells(&table, "settings"), ["plain", "smooth"]);
    assert_eq!(cells(&table, "train.label_smoothing"), ["0.1", "0.3"]);
    assert_eq!(cells(&table, "train.max_steps"), ["6", "4"]);
    assert_eq!(cells(&table, "State"), ["finished", "finished"]);
    assert_eq!(cells(&table, "Updates"), ["6", "4"]);
    assert!(!table.contains("\nout") && !table.contains("\nseed"), "{table}");
    let page = std::fs::read_to_string(folder.path("page.html")).unwrap();
    for present in ["Training loss", "Validation loss", "BLEU", "Learning rate", "train.<wbr>label_<wbr>smoothing"] {
        assert!(page.contains(present), "{present}");
    }
    let found = compare(&folder, &["runs/smooth", "runs/plain", "--json", "-q"]).objects().remove(0);
    assert_eq!(found["settings"]["train.max_steps"], serde_json::json!(["4", "6"]));
    assert_eq!(found["page"], "compare.html");
    let summary = std::fs::read_to_string(folder.path("runs/plain/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(found["runs"][1]["summary"]["metrics"], summary["metrics"]);
    assert!(found["runs"][0]["evaluation"]["eval_loss"].is_f64(), "{found}");
}

#[test]
fn a_run_that_goes_on_has_the_summary_of_its_new_end() {
    let folder = Folder::new();
    folder.recipe();
    train(&folder, "run", &["train.max_steps=3"]);
    train(&folder, "other", &[]);
    let steps = || {
        let text = std::fs::read_to_string(folder.path("run/summary.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["steps"].clone()
    };
    assert_eq!(steps(), 3);
    folder.run(&["train", "run/config.toml", "-q", "--out", "run", "--resume", "--max-steps", "6"], "").output();
    assert_eq!(steps(), 6);
    // One that was killed before its new end has none, and the measures of its last evaluation.
    let text = std::fs::read_to_string(folder.path("run/summary.json")).unwrap();
    folder.write("run/summary.json", text.replace("\"steps\": 6", "\"steps\": 3"));
    let ran = compare(&folder, &["run", "other"]);
    assert!(ran.stderr.contains("note: run is unfinished at step 6: its measures are those of step 6"), "{ran:?}");
    assert_eq!(cells(&ran.output(), "State"), ["unfinished", "finished"]);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = Folder::new();
    folder.recipe();
    train(&folder, "run", &["train.max_steps=1", "train.eval_every=0"]);
    folder.write("text.txt", "a dog sees a cat and a dog\n".repeat(40));
    folder.write(
        "lm.toml",
        "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\n[tokenizer]\nkind = \"char\"\n[model]\narch = \"gpt2\"\nd_model = 16\nheads = 2\nlayers = 1\nmax_positions = 32\n[train]\nmax_steps = 1\n",
    );
    folder.run(&["train", "lm.toml", "-q", "--out", "lm"], "").output();
    let refusal = |more: &[&str]| compare(&folder, more).refusal();
    let message = refusal(&["run", "lm"]);
    assert!(message.contains("run is a run of task \"translation\" and lm one of \"causal-lm\""), "{message}");
    assert!(refusal(&["run", "run/model"]).contains("run/model holds no run"));
    assert!(refusal(&["run", "nowhere"]).contains("nowhere is no directory"));
    assert!(refusal(&["run", "./run"]).contains("./run is there twice"));
    assert!(refusal(&["run"]).contains("2 values required"));
    train(&folder, "other", &["train.max_steps=1", "train.eval_every=0"]);
    let message = refusal(&["run", "other", "--out", "run/metrics.jsonl"]);
    assert!(message.contains("--out would overwrite") && !folder.path("compare.html").exists(), "{message}");
}
