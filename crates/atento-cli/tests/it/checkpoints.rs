//! Checkpoints as models.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, fixture};

/// The checkpoint whose weights the run's model has.
fn chosen(summary: &Value) -> String {
    format!("run/checkpoints/step-{}", summary["model_step"])
}

#[test]
fn a_checkpoint_translates_as_the_model_that_was_made_of_it() {
    let folder = Folder::new();
    folder.recipe();
    let train = ["train", "r.toml", "--out", "run", "--quiet", "--json"];
    let summary = folder.run(&train, "").objects().remove(0);
    let (chosen, sentence) = (chosen(&summary), "the dog sees a cat");
    let expected = folder.run(&["translate", "run", sentence, "--json"], "").output();
    let ran = folder.run(&["translate", &chosen, sentence, "--json"], "");
    let note = format!("note: the model of the checkpoint was written to {chosen}/model\n");
    assert_eq!((ran.stderr.as_str(), ran.code), (note.as_str(), Some(0)), "{ran:?}");
    assert_eq!(ran.output(), expected);
    // It is there now, and what it was made of is not read again.
    let ran = folder.run(&["translate", &chosen, sentence, "--json"], "");
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.output(), expected);
    for file in
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    {
        let [found, expected] = [&*chosen, "run"].map(|of| fs::read(folder.path(of).join("model").join(file)).unwrap());
        assert!(found == expected, "{file}");
    }
    // A run goes on past it, and another one starts from it.
    folder.run(&["train", "r.toml", "--out", "run", "--quiet", "--resume", "--max-steps", "8"], "").output();
    folder.write("f.toml", "[data]\ntrain = { tsv = \"pairs.tsv\" }\n[train]\nmax_steps = 1\n");
    folder.run(&["train", "f.toml", "--from", &chosen, "--out", "more", "--quiet"], "").output();
    let config = fs::read_to_string(folder.path("more/config.toml")).unwrap();
    assert!(config.contains(&format!("{chosen}/model\"")), "{config}");
}

#[test]
fn a_damaged_checkpoint_is_no_model() {
    let folder = Folder::new();
    folder.recipe();
    folder.run(&["train", "r.toml", "--out", "run", "--quiet"], "").output();
    let values = folder.path("run/checkpoints/step-6/values.f32");
    let mut bytes = fs::read(&values).unwrap();
    bytes[40] ^= 1;
    fs::write(&values, bytes).unwrap();
    let ran = folder.run(&["translate", "run/checkpoints/step-6", "a dog runs"], "");
    assert!(ran.stderr.contains("step-6 is damaged: values.f32 differs from what was written"), "{ran:?}");
    assert!(!folder.path("run/checkpoints/step-6/model").exists());
}

const ADAPTED: &str = r#"
task = "causal-lm"
[data]
text = "text.txt"
valid_fraction = 0.2
[train]
method = "lora"
max_steps = 4
eval_every = 2
batch_tokens = 64
"#;

#[test]
fn a_checkpoint_of_an_adapter_is_that_adapter() {
    let folder = Folder::new();
    let base = fixture("gpt2-tiny");
    folder.write("text.txt", "the cat sees the dog.\nthe dog sees the cat.\n".repeat(40));
    folder.write("a.toml", ADAPTED);
    let train = ["train", "a.toml", "--from", base.to_str().unwrap(), "--out", "run", "--quiet", "--json"];
    let summary = folder.run(&train, "").objects().remove(0);
    let chosen = chosen(&summary);
    let expected = folder.run(&["score", "run", "the cat", "--json"], "").output();
    assert_eq!(folder.run(&["score", &chosen, "the cat", "--json"], "").output(), expected);
    let put_on = ["score", base.to_str().unwrap(), "--adapter", &chosen, "the cat", "--json"];
    assert_eq!(folder.run(&put_on, "").output(), expected);
}

#[test]
fn checkpoints_are_listed_exported_and_averaged() {
    let folder = Folder::new();
    folder.recipe();
    let summary = folder.run(&["train", "r.toml", "--out", "run", "--quiet", "--json"], "").objects().remove(0);
    let listed = folder.run(&["checkpoint", "list", "run", "--json"], "").objects();
    let steps: Vec<&Value> = listed.iter().map(|object| &object["step"]).collect();
    assert_eq!(steps, [0, 3, 6]);
    let exported: Vec<bool> = listed.iter().map(|object| object["exported"] == true).collect();
    assert_eq!(exported.iter().filter(|is| **is).count(), 1);
    assert_eq!(listed[exported.iter().position(|is| *is).unwrap()]["step"], summary["model_step"]);
    assert!(listed[2]["eval_loss"].is_f64() && listed[2]["eval_bleu"].is_f64() && listed[0]["eval_loss"].is_null());
    let table = folder.run(&["checkpoint", "list", "run"], "").output();
    assert!(table.starts_with("step") && table.contains("bleu") && table.contains('*'), "{table}");

    folder.run(&["checkpoint", "export", "run", "--step", "3", "--out", "three"], "").output();
    let sentence = "the dog sees a cat";
    let expected = folder.run(&["translate", "run/checkpoints/step-3", sentence, "--json", "-q"], "").output();
    assert_eq!(folder.run(&["translate", "three", sentence, "--json"], "").output(), expected);
    let averaged =
        folder.run(&["checkpoint", "average", "run", "--last", "2", "--out", "mean", "--json"], "").objects();
    assert_eq!(averaged[0]["steps"], serde_json::json!([3, 6]));
    folder.run(&["checkpoint", "average", "run", "--steps", "6,3", "--out", "other"], "").output();
    let [mean, other, three] =
        ["mean", "other", "three"].map(|dir| fs::read(folder.path(dir).join("model.safetensors")).unwrap());
    assert!(mean == other && mean != three && mean.len() == three.len());
    folder.run(&["translate", "mean", sentence], "").output();

    let refused = |arguments: &[&str]| {
        let ran = folder.run(&[&["checkpoint"], arguments].concat(), "");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        ran.stderr
    };
    let message = refused(&["export", "run", "--step", "4", "--out", "four"]);
    assert!(message.contains("has no checkpoint of step 4; there are those of 0, 3, 6"), "{message}");
    assert!(refused(&["export", "run", "--step", "3", "--out", "three"]).contains("three is not empty"));
    assert!(refused(&["list", "three"]).contains("three has no checkpoints: name the directory of a run"));
    assert!(refused(&["average", "run", "--out", "none"]).contains("--steps"));
}
