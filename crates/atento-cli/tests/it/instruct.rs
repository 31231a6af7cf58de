//! Training on prompts and completions, as a person does it.

use serde_json::{Value, json};

use crate::support::{Folder, Ran};

const RECIPE: &str = r#"
task = "instruct"
[data]
train = { csv = "train.csv", prompt_key = "mr", completion_key = "ref" }
valid = { csv = "valid.csv", prompt_key = "mr", completion_key = "ref" }
[tokenizer]
kind = "char"
[model]
layers = 1
heads = 2
d_model = 16
max_positions = 48
dropout = 0.0
[train]
max_steps = 40
batch_tokens = 128
log_every = 10
eval_every = 10
[optimizer]
lr = 0.01
[schedule]
kind = "constant"
warmup_steps = 2
"#;

const COLOURS: [&str; 6] = ["red", "green", "blue", "grey", "black", "white"];
const THINGS: [&str; 5] = ["cat", "dog", "hen", "fox", "cow"];

/// Pairs of a CSV file: those whose number `is_wanted`.
fn csv(is_wanted: impl Fn(usize) -> bool) -> String {
    let pairs = COLOURS.iter().flat_map(|colour| THINGS.iter().map(move |thing| (colour, thing)));
    let lines = pairs.enumerate().filter(|(i, _)| is_wanted(*i));
    let line = |(_, (colour, thing)): (usize, (&&str, &&str))| {
        format!("\"name[{thing}], colour[{colour}]\",The {thing} is {colour}.\n")
    };
    "mr,ref\n".to_owned() + &lines.map(line).collect::<String>()
}

/// A folder with prompts, completions and a recipe.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("train.csv", csv(|i| i % 7 > 0));
    folder.write("valid.csv", csv(|i| i % 7 == 0));
    folder.write("r.toml", RECIPE);
    folder
}

fn train(folder: &Folder, arguments: &[&str]) -> Ran {
    folder.run(&[&["train", "r.toml", "--quiet"], arguments].concat(), "")
}

/// The losses of a run's evaluations.
fn losses(folder: &Folder, run: &str) -> Vec<f64> {
    let lines = std::fs::read_to_string(folder.path(run).join("metrics.jsonl")).unwrap();
    let loss = |line| serde_json::from_str::<Value>(line).unwrap()["eval_loss"].as_f64();
    lines.lines().filter_map(loss).collect()
}

#[test]
fn a_model_learns_to_answer_prompts_that_it_has_not_seen() {
    let folder = folder();
    let summary = train(&folder, &["--json", "--out", "run"]).objects().remove(0);
    let found = losses(&folder, "run");
    assert!(found.len() == 4 && found[3] < 0.7 * found[0], "{found:?}");
    let metric = |name: &str| summary["metrics"][name].as_f64().unwrap();
    let best = found.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((metric("valid_loss") - best).abs() < 1e-4, "{summary}");
    assert!((metric("valid_perplexity") - metric("valid_loss").exp()).abs() < 1e-9, "{summary}");
    let report = std::fs::read_to_string(folder.path("run/report.html")).unwrap();
    let sample = "name[cat], colour[red]\n</td><td data-name=\"Completion\">The cat is red.</td>";
    assert!(report.contains(sample), "samples are in the report");
    assert!(report.contains("<tr><th>Prompt</th><th>Completion</th><th>Model</th></tr>"), "{report}");
    assert!(!report.contains("BLEU signature"), "{report}");
    let log = std::fs::read_to_string(folder.path("run/log.txt")).unwrap();
    assert!(log.contains("examples: 25 read, 25 used, 0 left out"), "{log}");
    let prompt = "name[cat], colour[red]\n";
    folder.run(&["generate", "run", "--greedy", "--max-new-tokens", "20", "--prompt", prompt], "").output();
}

#[test]
fn eval_measures_completions_as_the_validation_of_the_training_does() {
    let folder = folder();
    let measured = |run: &str, more: &[&str]| {
        let summary = train(&folder, &[&["--json", "--out", run], more].concat()).objects().remove(0);
        let command = ["eval", run, "--json", "--data", "valid.csv", "--prompt-key", "mr", "--completion-key", "ref"];
        let found = folder.run(&command, "").objects().remove(0);
        let difference = found["loss"].as_f64().unwrap() - summary["metrics"]["valid_loss"].as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{found} {summary}");
        found
    };
    let found = measured("run", &[]);
    // As the model was taught, whatever that was.
    measured("told", &["--set", "data.completion_template=\" So: {completion}\"", "--max-steps", "5"]);
    let eval = |arguments: &[&str]| folder.run(&[&["eval", "run", "--json", "--data"], arguments].concat(), "");
    assert_eq!((&found["examples"], &found["left_out"]), (&json!(5), &json!(0)));
    // Other files of the same pairs are known by their names and keys.
    let rows: Vec<[String; 2]> = csv(|i| i % 7 == 0)
        .lines()
        .skip(1)
        .map(|line| {
            let (prompt, completion) = line.trim_start_matches('"').split_once("\",").unwrap();
            [prompt.to_owned(), completion.to_owned()]
        })
        .collect();
    let object =
        |[prompt, completion]: &[String; 2]| json!({ "prompt": prompt, "completion": completion }).to_string() + "\n";
    folder.write("valid.jsonl", rows.iter().map(object).collect::<String>());
    folder.write("valid.tsv", rows.iter().map(|row| row.join("\t") + "\n").collect::<String>());
    for file in ["valid.jsonl", "valid.tsv"] {
        assert_eq!(eval(&[file]).objects().remove(0), found, "{file}");
    }
    // Another template is another loss.
    assert_ne!(eval(&["valid.tsv", "--prompt-template", "name: {prompt}"]).objects()[0]["loss"], found["loss"]);
    // What is too long is left out and told, or cut.
    folder.write("long.tsv", format!("{}\tred\n{}\t{}\n", rows[0][0], rows[1][0], "red ".repeat(30)));
    let ran = eval(&["long.tsv"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("1 of 2 examples are too long"), "{ran:?}");
    assert_eq!(eval(&["long.tsv", "--on-too-long", "cut"]).objects()[0]["examples"], json!(2));
    let message = eval(&["long.tsv", "--on-too-long", "split"]).refusal();
    assert!(message.contains("--on-too-long split is for pairs"), "{message}");
    // Where the prompt leaves no room, there is nothing to cut.
    folder.write("full.tsv", format!("{}\tred\n{}\tred\n", rows[0][0], "red ".repeat(30)));
    let ran = eval(&["full.tsv", "--on-too-long", "cut"]);
    assert!(ran.stderr.contains("1 of 2 examples have no room for a completion"), "{ran:?}");
    assert_eq!(ran.object_past_bad_lines()["left_out"], json!(1));
    // A bad line costs one line.
    let good = std::fs::read_to_string(folder.path("valid.jsonl")).unwrap();
    folder.write("bad.jsonl", format!("{{\"prompt\": \n{good}{{\"prompt\": \"a\"}}\n"));
    let ran = eval(&["bad.jsonl"]);
    let told = ran.stderr.contains("bad.jsonl, line 1: ") && ran.stderr.contains("bad.jsonl, line 7: no value at key");
    assert!(told && ran.stderr.contains("2 of 7 examples could not be used"), "{ran:?}");
    let skipped = ran.object_past_bad_lines();
    assert_eq!((&skipped["loss"], &skipped["left_out"]), (&found["loss"], &json!(2)));
    let rows = csv(|i| i % 7 == 0);
    let (header, rest) = rows.split_once('\n').unwrap();
    folder.write("bad.csv", format!("{header}\nalone\n{rest}"));
    let skipped = eval(&["bad.csv", "--prompt-key", "mr", "--completion-key", "ref"]);
    assert!(skipped.stderr.contains("bad.csv, line 2: 1 fields, the header has 2"), "{skipped:?}");
    assert_eq!(skipped.object_past_bad_lines()["loss"], found["loss"]);
    let message = eval(&["bad.jsonl", "--on-error", "stop"]).refusal();
    assert!(message.contains("bad.jsonl, line 1: "), "{message}");
    let message = eval(&["valid.tsv", "--stride", "3"]).refusal();
    assert!(message.contains("--stride is for plain text"), "{message}");
}

#[test]
fn a_model_that_knows_the_language_is_taught_to_answer() {
    let folder = folder();
    folder.write("text.txt", csv(|i| i % 7 > 0));
    let first = RECIPE.replace("\"instruct\"", "\"causal-lm\"").replace("train = {", "text = \"text.txt\" # {");
    folder.write("first.toml", first.replace("valid = {", "# {"));
    folder.run(&["train", "first.toml", "--quiet", "--out", "first"], "").output();
    let (model, rest) = RECIPE.split_once("[model]").unwrap();
    folder.write("r.toml", model.to_owned() + &rest[rest.find("[train]").unwrap()..]);
    let message = train(&folder, &["--out", "run"]).refusal();
    assert!(message.contains("`model`: there is no model: start from one with `from` or --from"), "{message}");
    train(&folder, &["--out", "run", "--from", "first"]).output();
    let found = losses(&folder, "run");
    assert!(found[3] < found[0], "{found:?}");
    let message = train(&folder, &["--out", "none", "--from", "first", "--set", "data.block_size=49"]).refusal();
    assert!(message.contains("`data.block_size`: it is 49, but the model has 48 positions"), "{message}");
    assert!(!folder.path("none").exists());
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bits() {
    let folder = folder();
    let set = ["--set", "train.accumulate=2", "--set", "model.dropout=0.1", "--set", "train.eval_batches=1"];
    train(&folder, &[&set[..], &["--out", "whole"]].concat()).output();
    train(&folder, &[&set[..], &["--out", "parts", "--max-steps", "13"]].concat()).output();
    train(&folder, &[&set[..], &["--out", "parts", "--resume"]].concat()).output();
    let model = |run: &str| std::fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
    assert!(model("whole") == model("parts"), "the models differ");
    let message = train(&folder, &["--out", "parts", "--resume", "--set", "data.train_on_prompt=true"]).refusal();
    assert!(message.contains("`data.train_on_prompt` was false"), "{message}");
}

#[test]
fn what_is_learned_of_an_example_is_shown_before_training() {
    let folder = folder();
    let text = train(&folder, &["--show-masks", "--out", "run"]).output();
    let first = "example 1, 39 tokens\nname[dog], colour[red]\n⟦The dog is red.</s>⟧\n\nexample 6,";
    assert!(text.starts_with(first) && text.matches('⟦').count() == 5, "{text}");
    let shown =
        train(&folder, &["--show-masks", "--json", "--set", "data.prompt_template=\"Q: {prompt}\\nA: \""]).objects();
    assert_eq!(shown.len(), 5);
    let pieces = serde_json::json!([
        { "text": "Q: name[dog], colour[red]\nA: ", "learned": false },
        { "text": "The dog is red.</s>", "learned": true },
    ]);
    assert_eq!(shown[0], serde_json::json!({ "example": 1, "tokens": 45, "pieces": pieces }));
    let plan = train(&folder, &["--dry-run", "--json", "--out", "run"]).objects().remove(0);
    assert_eq!((plan["examples"].as_u64(), plan["what"].as_str()), (Some(25), Some("prompts with completions")));
    assert_eq!(plan["data"]["valid"]["kept"].as_u64(), Some(5));
    assert!(!folder.path("run").exists());
}

#[test]
fn jsonl_and_tsv_are_read_as_csv_is() {
    let folder = folder();
    folder.write("a.jsonl", "{\"prompt\": \"name[dog]\", \"completion\": \"A dog.\"}\n");
    folder.write("a.tsv", "name[dog]\tA dog.\n");
    let shown = |train_on: &str| {
        let set = format!("data.train={train_on}");
        train(&folder, &["--show-masks", "--set", &set, "--set", "data.valid={tsv=\"a.tsv\"}"]).output()
    };
    assert_eq!(shown("{jsonl=\"a.jsonl\"}"), shown("{tsv=\"a.tsv\"}"));
    assert_eq!(shown("{tsv=\"a.tsv\"}"), "example 1, 17 tokens\nname[dog]\n⟦A dog.</s>⟧\n\n");
}

#[test]
fn data_that_cannot_be_learned_from_is_named() {
    let folder = folder();
    let refuse = |settings: &[&str]| {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let message = train(&folder, &["--out", "run"].into_iter().chain(set).collect::<Vec<_>>()).refusal();
        assert!(!folder.path("run").exists(), "{message}");
        message
    };
    let message = refuse(&["data.train.prompt_key=mrs"]);
    assert!(
        message.contains("`data.train`: ") && message.contains("train.csv, line 1: no column \"mrs\""),
        "{message}"
    );
    assert!(message.contains("(did you mean \"mr\"?); its columns are mr, ref; name the two with"), "{message}");
    folder.write("a.jsonl", "{\"mr\": \"a\", \"ref\": \"b\"}\n");
    let message = refuse(&["data.train={jsonl=\"a.jsonl\", prompt_key=\"mr\"}"]);
    assert!(message.contains("a.jsonl, line 1: no value at key \"completion\""), "{message}");
    folder.write("empty.csv", "mr,ref\nname[dog],\n,A dog.\n");
    let message = refuse(&["data.train.csv=empty.csv"]);
    assert!(message.contains("empty.csv: nothing is left to train on"), "{message}");
    assert!(
        message.contains("1 with an empty prompt") && message.contains("1 with an empty completion or no answer"),
        "{message}"
    );
    let message = refuse(&["data.block_size=38"]);
    assert!(
        message.contains(
            "train.csv, line 6: the example has 43 tokens; `data.block_size` 38 leaves room for 39: raise it"
        ),
        "{message}"
    );
    let message = refuse(&["train.batch_tokens=41"]);
    assert!(message.contains("`train.batch_tokens`: it is 41, and the longest example has 42 tokens"), "{message}");
}

#[test]
fn settings_that_do_not_go_with_prompts_are_refused() {
    let folder = folder();
    for (setting, expected) in [
        ("data.train.promt_key=mr", "unknown key `data.train.promt_key`; did you mean `data.train.prompt_key`?"),
        ("data.prompt_templat=x", "unknown key `data.prompt_templat`; did you mean `data.prompt_template`?"),
        ("data.text=\"train.csv\"", "`data.text` does not go with `task` \"instruct\": take it out"),
        ("search.beam=2", "`search` does not go with `task` \"instruct\""),
        ("data.train.source_key=mr", "does not go with `task` \"instruct\": here they are `prompt_key` and"),
        ("data.train.tsv=train.csv", "must name one of `csv`, `jsonl` and `tsv`; it names `tsv` and `csv`"),
        (
            "data.valid={tsv=\"train.csv\", prompt_key=\"1\", completion_key=\"1\"}",
            "`data.valid.prompt_key` and `data.valid.completion_key` are both \"1\"",
        ),
        ("data.on_truncate=split", "a completion cannot be split from its prompt"),
        ("data.prompt_template={input}", "no column \"input\" in the header"),
        ("data.prompt_template=input", "must hold {prompt} exactly once"),
        ("train.early_stopping.metric=bleu", "which `task` \"instruct\" does not measure: watch \"loss\""),
        ("model.arch=rnn", "`task` \"instruct\" does not go with `model.arch` \"rnn\""),
        ("task=causal-lm", "`data.text` is missing"),
    ] {
        let message = train(&folder, &["--out", "run", "--set", setting]).refusal();
        assert!(message.contains(expected), "{setting}: {message}");
        assert!(!folder.path("run").exists(), "{setting}");
    }
    let other = "task = \"translation\"\ndata.train = { squad = \"train.csv\" }\n";
    folder.write("r.toml", other);
    let message = train(&folder, &["--out", "run"]).refusal();
    assert!(
        message.contains("must name either `source` and `target`, or `tsv`, `csv` or `jsonl`; it names `squad`"),
        "{message}"
    );
    let message = train(&folder, &["--show-masks", "--set", "data={corpus=\"demo\"}"]).refusal();
    assert!(message.contains("`task`: \"translation\" has no masks to show"), "{message}");
}
