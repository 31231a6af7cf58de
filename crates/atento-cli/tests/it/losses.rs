//! The training loss of logs and metrics: the one that compares with validation's.

use serde_json::Value;

use crate::support::{Folder, fixture};

/// The lines of the metrics of a run that has trained with these settings.
fn metrics(folder: &Folder, more: &[&str], settings: &[&str]) -> Vec<Value> {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> =
        ["train", "r.toml", "-q", "--out", "run"].into_iter().chain(more.iter().copied()).chain(set).collect();
    folder.run(&arguments, "").output();
    let text = std::fs::read_to_string(folder.path("run/metrics.jsonl")).unwrap();
    std::fs::remove_dir_all(folder.path("run")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last value of a measure.
fn last(lines: &[Value], key: &str) -> Option<f64> {
    lines.iter().rev().find_map(|line| line[key].as_f64())
}

#[test]
fn the_training_loss_is_that_of_validation_where_both_are_of_the_same_data() {
    let folder = Folder::new();
    folder.recipe();
    // The rate falls to nothing, so that the last update changes little.
    let settings = [
        "model.dropout=0",
        "optimizer.lr=0.03",
        "schedule.kind=linear",
        "train.max_steps=60",
        "train.log_every=1",
        "train.eval_every=60",
        "train.batch_tokens=1024",
    ];
    let lines = metrics(&folder, &[], &settings);
    let (loss, valid) = (last(&lines, "loss").unwrap(), last(&lines, "eval_loss").unwrap());
    let objective = last(&lines, "objective").unwrap();
    assert!(valid < 1.0 && (loss - valid).abs() < 0.02 * valid, "{loss} {valid}");
    assert!(objective > loss + 0.2, "{objective} {loss}");
    let lines = metrics(&folder, &[], &[&settings[..], &["train.label_smoothing=0"]].concat());
    assert_eq!(last(&lines, "objective"), None, "without smoothing the two are one");
}

#[test]
fn labels_with_smoothing_or_weights_have_an_objective_beside_their_loss() {
    let folder = Folder::new();
    let rows = |n: usize| "the cat is red\tred\nthe dog is blue\tblue\nthe hen is red\tred\n".repeat(n);
    folder.write("train.tsv", rows(4));
    folder.write("r.toml", "task = \"classify\"\n[data]\ntrain = { tsv = \"train.tsv\" }\nvalid = { tsv = \"train.tsv\" }\n[train]\nmax_steps = 4\nlog_every = 1\n[optimizer]\nlr = 1e-9\n");
    let model = fixture("bert-words").display().to_string();
    let of = |settings: &[&str]| {
        let lines = metrics(&folder, &["--from", &model], &[settings, &["model.dropout=0"]].concat());
        let (loss, valid) = (last(&lines, "loss").unwrap(), last(&lines, "eval_loss").unwrap());
        assert!((loss - valid).abs() < 0.05 * valid, "{settings:?}: {loss} {valid}");
        last(&lines, "objective")
    };
    assert!(of(&["train.label_smoothing=0.3"]).is_some());
    assert!(of(&["train.class_weights=balanced"]).is_some());
    assert_eq!(of(&[]), None);
}
