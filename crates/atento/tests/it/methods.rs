//! How much of a model is trained: its output alone, solved on features; a part; one block after the other.

use std::collections::BTreeMap;
use std::fs;

use atento::pipelines::TextModel;
use atento::pipelines::texts::TooLong;
use safetensors::SafeTensors;

use crate::tuning::Folder;

fn texts() -> String {
    let (kinds, labels) = (["good", "bad", "odd"], ["pos", "neg", "odd"]);
    (0..42).map(|at| format!("it {at} is {}\t{}\n", kinds[at % 3], labels[at % 3])).collect()
}

/// A folder with a model that has learned the texts, `base/model`.
fn folder() -> Folder {
    let data = "train = { tsv = \"t.tsv\" }\nvalid = { tsv = \"v.tsv\" }";
    let few: String = texts().lines().take(9).map(|line| format!("{line}\n")).collect();
    let folder = Folder::new("classify", data, &[("t.tsv", &texts()), ("v.tsv", &few)]);
    folder.run("base", &["train.max_epochs=8"], 0).unwrap();
    folder
}

fn weights(folder: &Folder, model: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(folder.path(model).join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

#[test]
fn an_output_is_solved_on_features_that_are_computed_once() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let features = format!("train.features_dir={}", folder.path("shared").display());
    let settings = [from.as_str(), "train.method=features", &features];
    let summary = folder.run("solved", &settings, 0).unwrap();
    assert_eq!((summary.steps, summary.trainable), (1, 3 * 32 + 3));
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    // The Transformer is what it was, and the output reads the mean of its states.
    let (before, after) = (weights(&folder, "base/model"), weights(&folder, "solved/model"));
    let changed: Vec<&String> =
        after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|x| x.0).collect();
    assert_eq!(changed, ["pooled_classifier.bias", "pooled_classifier.weight"]);
    assert!(!after.contains_key("bert.pooler.dense.weight"));
    let config = fs::read_to_string(folder.path("solved/model/config.json")).unwrap();
    assert!(config.contains("\"head_pooling\": \"mean\""), "{config}");
    let model = TextModel::load(folder.path("solved/model")).unwrap();
    let text = model.encode("it 1 is bad", None, TooLong::Refuse).unwrap();
    assert_eq!(model.classify(&[&text]).unwrap()[0].labels, [0]);
    // Another run on the same model and data takes the features that are there; on other data it does not.
    let log = |name: &str| fs::read_to_string(folder.path(name).join("log.txt")).unwrap();
    assert!(!log("solved").contains("were found"));
    folder.run("again", &settings, 0).unwrap();
    assert!(log("again").contains("were found in"));
    assert_eq!(weights(&folder, "again/model"), after);
    fs::write(folder.path("t.tsv"), texts() + "another is good\tpos\n").unwrap();
    folder.run("other", &settings, 0).unwrap();
    assert_eq!(log("other").matches("were found").count(), 1, "those of the validation data");
    // A damaged file is made anew.
    for file in fs::read_dir(folder.path("shared")).unwrap() {
        fs::write(file.unwrap().path(), "no features").unwrap();
    }
    folder.run("repaired", &settings, 0).unwrap();
    assert_eq!(weights(&folder, "repaired/model"), weights(&folder, "other/model"));
    // Trained further without a word on it, the model keeps its pooling.
    let from = format!("from={}", folder.path("solved/model").display());
    folder.run("further", &[&from, "train.max_epochs=1"], 0).unwrap();
    let config = fs::read_to_string(folder.path("further/model/config.json")).unwrap();
    assert!(config.contains("\"head_pooling\": \"mean\""), "{config}");
}

#[test]
fn a_run_goes_on_when_the_model_it_started_from_is_gone_and_ignores_averages_of_updates_that_there_are_not() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    // Stopped in the course of it, and resumed by a recipe that names no model, or one that is gone.
    folder.run("full", &[&from, "train.log_every=1", "train.pooling=mean"], 3).unwrap();
    let solved = [&from, "train.method=features", "train.ema=0.9"];
    let summary = folder.run("solved", &solved, 0).unwrap();
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    fs::rename(folder.path("base"), folder.path("gone")).unwrap();
    let summary = folder.run("full", &["train.pooling=mean", "train.log_every=1", "train.max_epochs=8"], 0).unwrap();
    assert!(summary.steps > 3, "{}", summary.steps);
    let config = fs::read_to_string(folder.path("full/model/config.json")).unwrap();
    assert!(config.contains("\"head_pooling\": \"mean\""), "{config}");
}

#[test]
fn an_output_that_is_solved_is_where_training_begins() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    folder.run("solved", &[&from, "train.method=features"], 0).unwrap();
    // So small a rate that what is trained hardly moves.
    let settings = [&from, "train.solve_output=true", "optimizer.lr=1e-9", "train.max_epochs=1", "train.ema=0.9"];
    let summary = folder.run("begun", &settings, 0).unwrap();
    assert!(summary.steps > 1 && summary.metrics["valid_accuracy"] == 1.0, "{summary:?}");
    let (solved, begun) = (weights(&folder, "solved/model"), weights(&folder, "begun/model"));
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    for (name, bytes) in &begun {
        let (found, expected) = (numbers(bytes), numbers(&solved[name]));
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() <= 1e-6 * y.abs().max(1.0)), "{name}");
    }
    // Stopped after an update and resumed, it is not solved again.
    folder.run("parts", &[&settings[..], &["train.log_every=1"]].concat(), 1).unwrap();
    folder.run("parts", &[&settings[..], &["train.log_every=1"]].concat(), 0).unwrap();
    assert_eq!(weights(&folder, "parts/model"), begun);
}

#[test]
fn values_and_any_number_of_labels_are_read_off_features_too() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let rows = |at: usize| format!("it {at} is {}\t{}\n", ["good", "bad", "odd"][at % 3], ["a,b", "b", "a"][at % 3]);
    fs::write(folder.path("t.tsv"), (0..42).map(rows).collect::<String>()).unwrap();
    fs::write(folder.path("v.tsv"), (0..9).map(rows).collect::<String>()).unwrap();
    let summary = folder.run("many", &[&from, "train.method=features", "data.multi_label=true"], 0).unwrap();
    assert_eq!(summary.metrics["valid_accuracy"], 1.0);
    let rows = |at: usize| format!("it {at} is {}\t{}\n", ["good", "bad", "odd"][at % 3], [1.5, -2.0, 0.25][at % 3]);
    fs::write(folder.path("t.tsv"), (0..42).map(rows).collect::<String>()).unwrap();
    fs::write(folder.path("v.tsv"), (0..9).map(rows).collect::<String>()).unwrap();
    let recipe = fs::read_to_string(folder.path("r.toml")).unwrap().replace("\"classify\"", "\"regress\"");
    fs::write(folder.path("r.toml"), recipe).unwrap();
    let summary =
        folder.run("values", &[&from, "train.method=features", "train.early_stopping.metric=pearson"], 0).unwrap();
    assert!(summary.metrics["valid_pearson"] > 0.95, "{:?}", summary.metrics);
}

#[test]
fn blocks_are_trained_one_after_the_other() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    let before = weights(&folder, "base/model");
    let moved = |name: &str, steps: u64| {
        let steps = format!("train.max_steps={steps}");
        folder.run(name, &[&from, "train.unfreeze_every=2", &steps, "train.eval_every=0"], 0).unwrap();
        let after = weights(&folder, &format!("{name}/model"));
        let has_moved = |part: &str| after.iter().any(|(name, value)| name.contains(part) && before[name] != *value);
        ["classifier", "layer.0.", "embeddings"].map(has_moved)
    };
    assert_eq!(moved("two", 2), [true, false, false]);
    assert_eq!(moved("four", 4), [true, true, false]);
    assert_eq!(moved("five", 5), [true, true, true]);
}

#[test]
fn methods_that_contradict_what_is_named_are_refused() {
    let folder = folder();
    let from = format!("from={}", folder.path("base/model").display());
    for (settings, expected) in [
        (&["train.method=features"][..], "features need a model that gives them: name one with --from"),
        (
            &[&from, "train.method=full", "train.top_layers=1"],
            "\"full\" does not go with `train.top_layers`: set it to \"partial\"",
        ),
        (&[&from, "train.method=features", "train.class_weights=balanced"], "`train.class_weights` does not go with"),
        (&[&from, "train.method=partial"], "it is 2, and the model has 1 blocks"),
        (&["train.solve_output=true"], "features need a model that gives them: name one with --from"),
    ] {
        let message = folder.refusal(settings);
        assert!(message.contains(expected), "{message}");
    }
}
