//! Training of language models, as a person does it.

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
max_steps = 30
batch_tokens = 64
log_every = 5
eval_every = 10
[optimizer]
lr = 0.01
[schedule]
kind = "constant"
warmup_steps = 2
"#;

/// A folder with a text and a recipe.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("text.txt", "the cat sees the dog.\nthe dog sees the cat.\n".repeat(40));
    folder.write("r.toml", RECIPE);
    folder
}

fn train(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["train", "r.toml", "--quiet"], arguments].concat(), "")
}

#[test]
fn a_text_becomes_a_model_that_goes_on_with_it() {
    let folder = folder();
    let summary = train(&folder, &["--json", "--out", "run"]).objects().remove(0);
    let metric = |name: &str| summary["metrics"][name].as_f64().unwrap();
    let (loss, bits) = (metric("valid_loss"), metric("valid_bits_per_byte"));
    // Of 16 characters and three special tokens; a character is a byte here.
    assert!(loss < 2.5, "{loss}");
    assert!((bits - loss / std::f64::consts::LN_2).abs() < 0.02 * bits, "{bits} {loss}");
    for file in ["config.toml", "tokenizer.json", "data/train.bin", "model/model.safetensors", "report.html"] {
        assert!(folder.path("run").join(file).exists(), "{file}");
    }
    let report = std::fs::read_to_string(folder.path("run").join("report.html")).unwrap();
    assert!(report.contains("the cat"), "samples are in the report");
    let found = folder.run(&["generate", "run", "--greedy", "--json", "--prompt", "the ", "--max-new-tokens", "4"], "");
    assert_eq!(found.objects()[0]["ids"].as_array().unwrap().len(), 4);
    let scores = folder.run(&["score", "run", "--json", "the cat", "tttt eeee"], "").objects();
    assert!(scores[0]["perplexity"].as_f64() < scores[1]["perplexity"].as_f64());
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bits() {
    let folder = folder();
    for sampling in ["random", "sequential"] {
        let sampling = format!("data.sampling=\"{sampling}\"");
        let set = ["--set", &sampling, "--set", "train.accumulate=2", "--set", "model.dropout=0.1"];
        let (whole, parts) = (format!("whole-{}", sampling.len()), format!("parts-{}", sampling.len()));
        train(&folder, &[&set[..], &["--out", &whole]].concat()).output();
        train(&folder, &[&set[..], &["--out", &parts, "--max-steps", "13"]].concat()).output();
        train(&folder, &[&set[..], &["--out", &parts, "--resume"]].concat()).output();
        let model = |run: &str| std::fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
        assert!(model(&whole) == model(&parts), "{sampling}: the models differ");
    }
}

#[test]
fn a_run_that_goes_on_tells_that_its_text_has_changed() {
    let folder = folder();
    train(&folder, &["--out", "run", "--max-steps", "2"]).output();
    let goes_on = |steps: &str| {
        train(&folder, &["--out", "run", "--resume", "--max-steps", steps]).output();
        std::fs::read_to_string(folder.path("run/log.txt")).unwrap()
    };
    let told = "text.txt has changed since the run began";
    assert!(!goes_on("3").contains(told));
    folder.write("text.txt", "something else\n".repeat(50));
    assert!(goes_on("4").contains(told));
}

#[test]
fn a_model_is_trained_further() {
    let folder = folder();
    train(&folder, &["--out", "first"]).output();
    let from = ["--from", "first", "--out", "second", "--max-steps", "3"];
    train(&folder, &from).output();
    let tokenizer = |run: &str| std::fs::read(folder.path(run).join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer("first"), tokenizer("second"));
    let message = train(&folder, &[&from[..2], &["--out", "third", "--set", "model.layers=2"]].concat()).refusal();
    assert!(message.contains("`model.layers` is 2, but the model that is trained further has 1"), "{message}");
    assert!(!folder.path("third").exists());
}

#[test]
fn files_of_tokens_are_read_as_nanogpt_writes_them() {
    let folder = folder();
    train(&folder, &["--out", "first", "--max-steps", "2"]).output();
    std::fs::create_dir(folder.path("tokens")).unwrap();
    for name in ["train.bin", "val.bin"] {
        std::fs::copy(folder.path("first").join("data").join(name), folder.path("tokens").join(name)).unwrap();
    }
    folder.write("r.toml", RECIPE.replace("text = \"text.txt\"", "tokens = \"tokens\""));
    let message = train(&folder, &["--out", "second"]).refusal();
    assert!(message.contains("`data.tokens` needs `tokenizer.file`"), "{message}");
    let set = ["--set", "tokenizer.file=first/tokenizer.json", "--out", "second", "--max-steps", "2"];
    train(&folder, &set).output();
    // Half a token is missing.
    let bytes = std::fs::read(folder.path("tokens/train.bin")).unwrap();
    folder.write("tokens/train.bin", &bytes[..bytes.len() - 1]);
    let message = train(&folder, &[&set[..2], &["--out", "third"]].concat()).refusal();
    assert!(message.contains("train.bin") && message.contains("bytes"), "{message}");
}

#[test]
fn a_plan_writes_nothing_and_wrong_settings_are_named() {
    let folder = folder();
    let plan = train(&folder, &["--dry-run", "--json", "--out", "run"]).objects().remove(0);
    assert_eq!((plan["steps"].as_u64(), plan["what"].as_str()), (Some(30), Some("stretches of text")));
    assert!(!folder.path("run").exists());
    for (setting, expected) in [
        ("tokenizer.kind=\"bpe\"", "a language model learns \"byte_bpe\" or \"char\""),
        ("data.block_size=17", "`data.block_size` is 17, but the model has 16 positions"),
        ("model.arch=\"rnn\"", "`task` \"causal-lm\" does not go with `model.arch` \"rnn\""),
        ("data.text=\"nowhere.txt\"", "nowhere.txt"),
        ("train.early_stopping.metric=\"bleu\"", "which `task` \"causal-lm\" does not measure: watch \"loss\""),
    ] {
        let message = train(&folder, &["--out", "run", "--set", setting]).refusal();
        assert!(message.contains(expected), "{message}");
        assert!(!folder.path("run").exists(), "{setting}");
    }
}

#[test]
fn what_a_run_would_miss_midway_is_refused_before_it_starts() {
    let folder = folder();
    folder.write("short.txt", "ab");
    let refuse = |settings: &[&str]| {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let message = train(&folder, &["--out", "run"].into_iter().chain(set).collect::<Vec<_>>()).refusal();
        assert!(!folder.path("run").exists(), "{message}");
        message
    };
    let message = refuse(&["data.text=\"short.txt\""]);
    assert!(message.contains("short.txt: ") && message.contains("needs 17"), "{message}");
    let message = refuse(&["data.valid_text=\"short.txt\"", "train.eval_batches=2"]);
    assert!(message.contains("short.txt: ") && message.contains("needs 17"), "{message}");
    // One document and its tail: no end token stands between them.
    let message = refuse(&["data.document_attention=true"]);
    assert!(message.contains("no end token stands between them"), "{message}");
    let message =
        refuse(&["data.documents=\"line\"", "data.valid_fraction=0.000001", "train.early_stopping.patience=1"]);
    assert!(message.contains("need validation text, and there is none"), "{message}");
}

#[test]
fn a_start_that_was_cut_short_leaves_no_text_of_its_own_behind() {
    let folder = folder();
    folder.write("other.txt", "a bird sings at noon.\n".repeat(60));
    // A run without a checkpoint: as if it was killed while it started.
    train(&folder, &["--out", "run", "--max-steps", "1"]).output();
    std::fs::remove_dir_all(folder.path("run/checkpoints")).unwrap();
    ["metrics.jsonl", "config.toml"]
        .iter()
        .for_each(|name| std::fs::remove_file(folder.path("run").join(name)).unwrap());
    let set = ["--set", "data.text=\"other.txt\"", "--max-steps", "1"];
    train(&folder, &[&set[..], &["--out", "run"]].concat()).output();
    train(&folder, &[&set[..], &["--out", "whole"]].concat()).output();
    let tokens = |run: &str| std::fs::read(folder.path(run).join("data/train.bin")).unwrap();
    assert!(tokens("run") == tokens("whole"));
}
