//! Frozen models as features, which layer knows most, and models with heads measured, as a person does it.

use serde_json::Value;

use crate::support::{Folder, fixture};

const LABELS: [&str; 3] = ["red", "green", "blue"];

/// Rows of texts, each with the colour that it names.
fn rows(things: &[&str]) -> String {
    let pairs = things.iter().flat_map(|thing| LABELS.iter().map(move |label| (thing, label)));
    pairs.map(|(thing, label)| format!("the {thing} is {label}\t{label}\n")).collect()
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("train.tsv", rows(&["cat", "dog", "hen", "fox", "cow"]).repeat(2));
    folder.write("valid.tsv", rows(&["owl", "dog"]));
    folder.write("test.tsv", rows(&["cow", "hen"]));
    folder.write(
        "r.toml",
        r#"
task = "classify"
[data]
train = { tsv = "train.tsv" }
valid = { tsv = "valid.tsv" }
test = { tsv = "test.tsv" }
[train]
max_epochs = 2
max_sentences = 8
[optimizer]
lr = 1e-3
"#,
    );
    folder
}

#[test]
fn one_command_compares_features_a_part_and_the_whole_over_several_seeds() {
    let folder = folder();
    // The paths of a recipe are relative to it, those of a command to where it is given.
    std::fs::create_dir(folder.path("my recipes")).unwrap();
    let recipe = std::fs::read_to_string(folder.path("r.toml")).unwrap().replace("tsv = \"", "tsv = \"../");
    folder.write("my recipes/r.toml", recipe);
    let model = fixture("bert-words").display().to_string();
    let command = [
        "train",
        "my recipes/r.toml",
        "--from",
        &model,
        "--out",
        "runs",
        "--seeds",
        "2",
        "--vary",
        "train.method=features,partial,full",
        "--set",
        "train.eval_every=0",
        "--json",
        "--quiet",
    ];
    let table = folder.run(&command, "").objects();
    let column = |key: &str| table.iter().map(|row| row[key].clone()).collect::<Vec<Value>>();
    let settings = ["train.method=features", "train.method=partial", "train.method=full"];
    assert_eq!(column("setting"), settings.map(Value::from));
    assert!(table.iter().all(|row| row["seeds"] == serde_json::json!([1, 2])), "{table:?}");
    let trainable: Vec<u64> = column("trainable").iter().map(|count| count.as_u64().unwrap()).collect();
    assert!(trainable[0] < trainable[1] && trainable[1] < trainable[2], "{trainable:?}");
    for row in &table {
        let accuracy = &row["metrics"]["test_accuracy"];
        assert!(accuracy["median"].is_f64() && accuracy["std"].is_f64() && row["seconds"]["median"].is_f64(), "{row}");
    }
    // Features follow from the model and the data: the second seed found those of the first, and gave the same output.
    let spread = &table[0]["metrics"]["test_accuracy"];
    assert_eq!(spread["min"], spread["max"]);
    assert!(folder.path("runs/train.method=features/features").is_dir());
    let log = std::fs::read_to_string(folder.path("runs/train.method=features/seed-2/log.txt")).unwrap();
    assert!(log.contains("were found in"), "{log}");
    let page = std::fs::read_to_string(folder.path("runs/report.html")).unwrap();
    assert!(page.matches("<svg").count() >= 3 && settings.iter().all(|setting| page.contains(setting)), "{page}");
    assert!(table.iter().all(|row| row["model_bytes"].as_u64() > Some(1000)), "{table:?}");
    // What is measured afterwards is what the run measured.
    let run = folder.path("runs/train.method=full/seed-1").display().to_string();
    let summary = std::fs::read_to_string(folder.path("runs/train.method=full/seed-1/summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let found = folder.run(&["eval", &run, "--data", "test.tsv", "--json"], "").objects().remove(0);
    for (key, name) in [("accuracy", "test_accuracy"), ("f1_macro", "test_f1_macro"), ("loss", "test_loss")] {
        let (now, then) = (found[key].as_f64().unwrap(), summary["metrics"][name].as_f64().unwrap());
        assert!((now - then).abs() < 1e-9, "{key}: {now} and {then}");
    }
    assert_eq!(found["texts"], 6);
    let counts = found["confusion"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum::<u64>(), 6);
}

#[test]
fn the_layer_that_knows_most_is_found() {
    let folder = folder();
    let model = fixture("bert-words").display().to_string();
    let command = ["probe", &model, "--train", "train.tsv", "--valid", "valid.tsv", "--test", "test.tsv"];
    let layers = folder.run(&[&command[..], &["--json"]].concat(), "").objects();
    let numbers: Vec<u64> = layers.iter().map(|layer| layer["layer"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..layers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() > 2);
    for layer in &layers {
        assert_eq!(layer["measure"], "accuracy");
        // The small vocabulary has one word for two of the colours.
        assert!(layer["valid"].as_f64().unwrap() > 0.6 && layer["test"].as_f64().unwrap() > 0.6, "{layer}");
    }
    let said = folder.run(&command, "").output();
    assert!(said.starts_with("layer") && said.contains("0 (embeddings)") && said.contains('*'), "{said}");
    folder.write("one.tsv", "a\tred\nb\tred\n");
    let refusal = folder.run(&["probe", &model, "--train", "one.tsv", "--valid", "valid.tsv"], "").refusal();
    assert!(refusal.contains("nothing to tell apart"), "{refusal}");
    folder.write("odd.tsv", "a\tred\nb\tpink\n");
    let refusal = folder.run(&["probe", &model, "--train", "train.tsv", "--valid", "odd.tsv"], "").refusal();
    assert!(refusal.contains("odd.tsv, line 2: the label \"pink\""), "{refusal}");
}

#[test]
fn every_head_is_measured_and_what_has_none_is_refused() {
    let folder = folder();
    let eval = |model: &str, data: &str, more: &[&str]| {
        folder.run(&[&["eval", &fixture(model).display().to_string(), "--data", data, "--json"], more].concat(), "")
    };
    folder.write("tags.txt", "the O\ndog B-PER\n\na O\ncat O\n");
    let tags = eval("bert-tags", "tags.txt", &[]);
    // The labels of a model are those of its data, or the data are refused.
    match tags.stderr.contains("none of the model's") {
        true => assert!(tags.refusal().contains("tags.txt, line")),
        false => assert!(tags.objects()[0]["f1"].is_f64()),
    }
    let question = serde_json::json!({"data": [{"paragraphs": [{"context": "the cat is red", "qas": [
        {"id": "1", "question": "what is red", "answers": [{"text": "the cat", "answer_start": 0}]}]}]}]});
    folder.write("squad.json", question.to_string());
    let found = eval("bert-span", "squad.json", &[]).objects().remove(0);
    assert!(found["exact_match"].is_f64() && found["f1"].is_f64() && found["windows"] == 1, "{found}");
    folder.write("choices.jsonl", "{\"prompt\": \"the cat\", \"choices\": [\"is red\", \"a\"], \"label\": 0}\n");
    let found = eval("bert-choice", "choices.jsonl", &[]).objects().remove(0);
    assert!(found["accuracy"] == 0.0 || found["accuracy"] == 1.0, "{found}");
    folder.write("text.txt", "The cat is red. It runs.\nThe dog is blue.\n\nThe hen is green. It sits.\n");
    let words = |more: &[&str]| eval("bert-words", "text.txt", more).objects().remove(0);
    let found = words(&[]);
    assert!(found["loss"].as_f64().unwrap() > 0.0 && found["masked_words"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(words(&[]), found);
    let found = eval("bert", "text.txt", &[]).objects().remove(0);
    assert!(found["next_accuracy"].is_f64() && found["word_accuracy"].is_f64(), "{found}");
    // A Transformer without an output is not measured as if its new one were an answer.
    let bare = folder.path("bare");
    std::fs::create_dir(&bare).unwrap();
    for file in std::fs::read_dir(fixture("bert-words")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), bare.join(file.file_name())).unwrap();
    }
    let config = std::fs::read_to_string(bare.join("config.json")).unwrap().replace("BertForMaskedLM", "BertModel");
    std::fs::write(bare.join("config.json"), config).unwrap();
    let refusal = folder.run(&["eval", "bare", "--data", "text.txt"], "").refusal();
    assert!(refusal.contains("it has no output whose answers could be right or wrong"), "{refusal}");
    let refusal = eval("bert-labels", "test.tsv", &["--beam", "2"]).refusal();
    assert!(refusal.contains("--beam is for a model that translates"), "{refusal}");
    // What is left out is told and counted by the exit code; what cannot be cut in parts is refused.
    folder.write("long.tsv", format!("the cat is red\tred\n{}\tred\n\tblue\n", "the cat ".repeat(200)));
    let ran = eval("bert-labels", "long.tsv", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("1 rows have no text, 1 rows are too long and left out"), "{}", ran.stderr);
    assert!(ran.stdout.contains("\"texts\":1"), "{}", ran.stdout);
    let refusal = eval("bert-labels", "long.tsv", &["--on-too-long", "split"]).refusal();
    assert!(refusal.contains("long.tsv, line 2"), "{refusal}");
    folder.write("unknown.tsv", "the cat is red\tred\nthe cat is pink\tpink\n");
    let refusal = eval("bert-labels", "unknown.tsv", &[]).refusal();
    assert!(refusal.contains("unknown.tsv, line 2: the label \"pink\" is none of the model's"), "{refusal}");
}

#[test]
fn runs_that_are_finished_count_for_the_same_settings_alone() {
    let folder = folder();
    let model = fixture("bert-words").display().to_string();
    let several = |more: &[&str]| {
        let command =
            ["train", "r.toml", "--from", &model, "--out", "runs", "--seeds", "2", "--max-steps", "2", "--quiet"];
        folder.run(&[&command[..], more].concat(), "")
    };
    let table = several(&[]).output();
    assert_eq!(several(&["--resume"]).output(), table);
    let message = several(&["--resume", "--set", "optimizer.lr=1e-4"]).refusal();
    assert!(
        message.contains("runs/seed-1: the run is finished, but with another recipe or other settings"),
        "{message}"
    );
    for (vary, expected) in [
        ("seed=1,2", "`seed` is for --seeds N"),
        ("from=a,b", "`from` is for --from"),
        ("train.max_steps=2,3", "both say how long the runs are"),
        ("optimizer.lr=1e-3,much", "`optimizer.lr` is the text \"much\""),
    ] {
        let message = several(&["--vary", vary]).refusal();
        assert!(message.contains(expected), "{message}");
    }
    assert!(!folder.path("runs/optimizer.lr=1e-3").exists());
}

#[test]
fn what_gradual_unfreezing_never_came_to_is_told() {
    let folder = folder();
    let model = fixture("bert-words").display().to_string();
    let command = ["train", "r.toml", "--from", &model, "--out", "run", "--set", "train.unfreeze_every=100"];
    let ran = folder.run(&command, "");
    assert!(ran.stderr.contains("values were never trained: the run ended before"), "{}", ran.stderr);
    ran.output();
}
