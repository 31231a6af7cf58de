//! Special tokens, prompt templates and vocabularies: training and the other verbs agree on them.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Folder;

const CAUSAL: &str = r#"
task = "causal-lm"
[data]
text = "text.txt"
valid_fraction = 0.0
[tokenizer]
kind = "char"
[model]
arch = "gpt2"
layers = 1
heads = 2
d_model = 16
max_positions = 48
dropout = 0.0
[train]
max_steps = 1
batch_tokens = 96
[schedule]
kind = "constant"
warmup_steps = 0
"#;

const INSTRUCT: &str = r#"
task = "instruct"
[data]
train = { jsonl = "d.jsonl" }
[train]
max_steps = 2
batch_tokens = 96
[optimizer]
lr = 1e-2
[schedule]
kind = "constant"
warmup_steps = 0
"#;

/// A folder with a language model `lm` over characters: `<pad>` 0, `</s>` 1, `<unk>` 2.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("text.txt", "abcdefghijklmnopqrstuvwxyz ABCQ:.?\n".repeat(8));
    folder.write("lm.toml", CAUSAL);
    folder.run(&["train", "lm.toml", "--out", "run", "-q"], "").output();
    std::fs::rename(folder.path("run/model"), folder.path("lm")).unwrap();
    folder.write("d.jsonl", "{\"prompt\": \"hi\", \"completion\": \"yo\", \"topic\": \"x y\"}\n");
    folder.write("i.toml", INSTRUCT);
    folder
}

/// Changes a JSON file of a model.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = std::fs::read(path).map_or_else(|_| json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn instruct(folder: &Folder, arguments: &[&str]) -> crate::support::Ran {
    folder.run(&[&["train", "i.toml", "-q"], arguments].concat(), "")
}

/// The ids that `score` gives texts.
fn ids(folder: &Folder, model: &str, texts: &str) -> Vec<Value> {
    let found = folder.run(&["score", model, "--json", "-q"], texts).objects();
    found.iter().map(|line| line["ids"].clone()).collect()
}

#[test]
fn a_prompt_is_answered_in_the_template_that_was_taught_wherever_it_comes_from() {
    let folder = folder();
    let template = ["--set", "data.prompt_template=Q: {prompt}?\n"];
    instruct(&folder, &[&["--from", "lm", "--out", "taught"], &template[..]].concat()).output();
    folder.write("p.txt", "hi\nabc\n");
    let answers = |model: &str, arguments: &[&str], stdin: &str| -> Vec<Value> {
        let options = ["generate", model, "--greedy", "--max-new-tokens", "6", "--json", "-q"];
        let found = folder.run(&[&options[..], arguments].concat(), stdin).objects();
        found.iter().map(|line| line["ids"].clone()).collect()
    };
    let expected = answers("taught", &["--raw", "--prompt", "Q: hi?\n", "--prompt", "Q: abc?\n"], "");
    assert_ne!(answers("taught", &["--raw"], "hi\nabc\n"), expected);
    assert_eq!(answers("taught", &["-i", "p.txt"], ""), expected);
    assert_eq!(answers("taught", &[], "hi\nabc\n"), expected);
    assert_eq!(answers("taught", &["hi", "abc"], ""), expected);
    assert_eq!(answers("taught", &["--prompt", "hi", "--prompt", "abc"], ""), expected);
    // The template stays with the model.
    folder.run(&["convert", "taught", "--out", "converted"], "").output();
    assert_eq!(answers("converted", &[], "hi\nabc\n"), expected);
    instruct(&folder, &["--from", "taught", "--out", "further"]).output();
    instruct(&folder, &["--out", "further", "--resume", "--max-steps", "3"]).output();
    let file = |run: &str| read(&folder.path(run).join("model/prompt_template.json"));
    let templates = json!({ "prompt_template": "Q: {prompt}?\n", "completion_template": "{completion}<end>" });
    assert_eq!(file("further"), templates);
}

#[test]
fn a_template_takes_several_fields_from_the_data_and_from_prompts() {
    let folder = folder();
    let template = ["--set", "data.prompt_template=Q: {prompt} {topic}\n"];
    let arguments = [&["--from", "lm", "--out", "taught"], &template[..]].concat();
    let shown = instruct(&folder, &[&arguments[..], &["--show-masks"]].concat()).output();
    assert!(shown.starts_with("example 1, 13 tokens\nQ: hi x y\n⟦yo</s>⟧\n"), "{shown}");
    instruct(&folder, &arguments).output();
    folder.write("p.jsonl", "{\"topic\": \"x y\", \"prompt\": \"hi\"}\n{\"prompt\": \"hi\"}\n");
    let options = ["generate", "taught", "--greedy", "--max-new-tokens", "6", "--json"];
    let ran = folder.run(&[&options[..], &["-i", "p.jsonl"]].concat(), "");
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("p.jsonl, line 2: the prompt has no \"topic\""), "{}", ran.stderr);
    let first: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    let raw = folder.run(&[&options[..], &["--raw", "--prompt", "Q: hi x y\n"]].concat(), "").objects();
    assert_eq!((&first["ids"], &first["prompt"]), (&raw[0]["ids"], &json!("{\"topic\": \"x y\", \"prompt\": \"hi\"}")));
    let arguments = [&["--from", "lm", "--out", "other"], &template[..]].concat();
    folder.write("d.tsv", "hi\tyo\n");
    let set = ["--set", "data.train={tsv=\"d.tsv\"}"];
    let message = instruct(&folder, &[&arguments[..], &set].concat()).refusal();
    assert!(message.contains("{prompt} is the only name: use csv or jsonl"), "{message}");
    folder.write("d.csv", "prompt,completion,about\nhi,yo,x\n");
    let set = ["--set", "data.train={csv=\"d.csv\"}"];
    let message = instruct(&folder, &[&arguments[..], &set].concat()).refusal();
    assert!(message.contains("no column \"topic\" in the header"), "{message}");
}

#[test]
fn what_a_tokenizer_adds_before_a_text_is_added_in_training_too() {
    let folder = folder();
    change(&folder.path("lm/tokenizer.json"), |file| {
        file["post_processor"] = json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<pad>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<pad>": {"id": "<pad>", "ids": [0], "tokens": ["<pad>"]},
                "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}});
    });
    let shown = instruct(&folder, &["--from", "lm", "--show-masks"]).output();
    assert!(shown.contains("<pad>hi\n⟦yo</s>⟧\n"), "{shown}");
    let twice = ["--from", "lm", "--show-masks", "--set", "data.prompt_template=<pad>{prompt}\n"];
    assert_eq!(instruct(&folder, &twice).output(), shown);
    let scored = &ids(&folder, "lm", "hi\n")[0];
    assert_eq!((&scored[0], scored.as_array().unwrap().last()), (&json!(0), Some(&json!(1))));
    folder.write("docs.jsonl", "{\"text\": \"ab\"}\n{\"text\": \"cd\"}\n".repeat(20));
    folder.write("c.toml", CAUSAL.replace("text.txt", "docs.jsonl").replace("kind = \"char\"", ""));
    folder.run(&["train", "c.toml", "--from", "lm", "--out", "more", "-q", "--set", "data.block_size=8"], "").output();
    let bytes = std::fs::read(folder.path("more/data/train.bin")).unwrap();
    let tokens: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!((tokens.len(), tokens[0], tokens[3], tokens[4]), (40 * 4, 0, 1, 0));
}

#[test]
fn the_end_that_is_taught_is_the_one_that_the_model_declares() {
    let folder = folder();
    for (file, key, value) in [
        ("tokenizer_config.json", "eos_token", json!({"content": "<pad>"})),
        ("config.json", "eos_token_id", json!(0)),
        ("generation_config.json", "eos_token_id", json!([0, 2])),
    ] {
        change(&folder.path("lm").join(file), |config| config[key] = value);
        let shown = instruct(&folder, &["--from", "lm", "--show-masks"]).output();
        let is_declared = if file == "tokenizer_config.json" { "</s>" } else { "<pad>" };
        assert!(shown.contains(&format!("⟦yo{is_declared}⟧")), "{file}: {shown}");
        if file == "tokenizer_config.json" {
            // The other two files are stronger; without them it decides.
            change(&folder.path("lm/generation_config.json"), |config| config["eos_token_id"] = Value::Null);
            change(&folder.path("lm/config.json"), |config| config["eos_token_id"] = Value::Null);
            let shown = instruct(&folder, &["--from", "lm", "--show-masks"]).output();
            assert!(shown.contains("⟦yo<pad>⟧"), "{shown}");
        }
    }
    instruct(&folder, &["--from", "lm", "--out", "run2"]).output();
    instruct(&folder, &["--out", "run2", "--resume", "--max-steps", "3"]).output();
    let roles = read(&folder.path("run2/token_roles.json"));
    assert_eq!(roles["special"]["eos"], 0, "{roles}");
    assert_eq!(read(&folder.path("run2/model/config.json"))["eos_token_id"], 0);
}

#[test]
fn a_new_model_declares_its_special_tokens_and_a_guess_is_told() {
    let folder = folder();
    let config = read(&folder.path("lm/tokenizer_config.json"));
    assert_eq!((&config["eos_token"], &config["pad_token"]), (&json!("</s>"), &json!("<pad>")), "{config}");
    assert_eq!(read(&folder.path("lm/generation_config.json"))["eos_token_id"], 1);
    std::fs::copy(folder.path("lm/tokenizer.json"), folder.path("bare.json")).unwrap();
    let set = ["train", "lm.toml", "--out", "run2", "--set", "tokenizer.file=bare.json"];
    let ran = folder.run(&set, "");
    assert!(
        ran.stderr.contains("no file declares special tokens; taken by their usual names: pad \"<pad>\" (0)"),
        "{ran:?}"
    );
}

#[test]
fn a_target_begins_with_the_token_that_a_search_is_forced_to_begin_with() {
    let folder = Folder::new();
    folder.model();
    let target = |folder: &Folder| ids(folder, "m", "a dog runs\tein Hund rennt\n").remove(0);
    let mut expected = target(&folder);
    change(&folder.path("m/generation_config.json"), |config| config["forced_bos_token_id"] = json!(7));
    expected.as_array_mut().unwrap().insert(0, json!(7));
    assert_eq!(target(&folder), expected);
}

#[test]
fn what_the_vocabulary_lacks_is_counted_and_told() {
    let folder = folder();
    for verb in [&["score", "lm"][..], &["generate", "lm", "--greedy", "--max-new-tokens", "2"]] {
        let ran = folder.run(verb, "hi\nh€i€\nh<unk>\n");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let expected = "does not know 2 characters or words, which the model does not see as they are: \"€\" (standard input, line 2)";
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert!(!folder.run(verb, "hi\n").stderr.contains("does not know"));
    }
    // Of an object with several fields it is what the model reads of it.
    folder.write("lm/prompt_template.json", r#"{"prompt_template": "{a}{b}"}"#);
    let generate = ["generate", "lm", "--greedy", "--max-new-tokens", "2"];
    let ran = folder.run(&generate, "{\"a\": \"h\", \"b\": \"€\"}\n");
    assert!(ran.stderr.contains("does not know 1 characters or words"), "{}", ran.stderr);
}

#[test]
fn a_measured_text_with_what_the_vocabulary_lacks_is_told() {
    let folder = folder();
    folder.write("t.txt", "hi\nh€i€ ha\n");
    let ran = folder.run(&["eval", "lm", "--data", "t.txt"], "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("does not know 2 characters or words"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\"€\" (t.txt, document at line 1)"), "{}", ran.stderr);
    folder.write("t.txt", "hi\nh<unk>\n");
    let ran = folder.run(&["eval", "lm", "--data", "t.txt"], "");
    assert!(ran.stderr.contains("t.txt: 1 unknown token\n"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("does not know"), "{}", ran.stderr);
    folder.write("p.tsv", "hi\tha\nh€\tha\n");
    let ran = folder.run(&["eval", "lm", "--data", "p.tsv"], "");
    assert!(ran.stderr.contains("\"€\" (p.tsv, line 2)"), "{}", ran.stderr);
}

#[test]
fn two_tokens_of_one_id_are_refused() {
    let folder = folder();
    change(&folder.path("lm/tokenizer.json"), |file| file["model"]["vocab"]["!!!"] = json!(5));
    let message = folder.run(&["score", "lm", "hi"], "").refusal();
    assert!(message.contains("tokenizer.json") && message.contains("two tokens have the id 5, "), "{message}");
    assert!(message.contains("\"!!!\""), "{message}");
}

#[test]
fn the_models_stop_strings_end_a_text() {
    let folder = folder();
    let generate = |arguments: &[&str]| {
        let options =
            ["generate", "lm", "--temperature", "1", "--max-new-tokens", "40", "--json", "-q", "--prompt", "ab"];
        folder.run(&[&options[..], arguments].concat(), "").objects().remove(0)
    };
    let whole = generate(&[])["text"].as_str().unwrap().to_owned();
    let stop: String = whole.chars().skip(3).take(1).collect();
    let asked = generate(&["--stop", &stop]);
    change(&folder.path("lm/generation_config.json"), |config| config["stop_strings"] = json!([stop]));
    let found = generate(&[]);
    assert_eq!((&found, &found["finish_reason"]), (&asked, &json!("stop")));
    assert!(whole.starts_with(found["text"].as_str().unwrap()) && found["text"] != whole, "{found} {whole}");
}

#[test]
fn tokens_are_added_with_rows_of_their_own() {
    let folder = folder();
    let rows = |model: &str| read(&folder.path(model).join("config.json"))["vocab_size"].as_u64().unwrap();
    let set = ["--set", "tokenizer.add_tokens=[\"<a>\", \"<b>\"]"];
    let ran = folder.run(&[&["train", "i.toml", "--from", "lm", "--out", "more"], &set[..]].concat(), "");
    let before = rows("lm");
    let expected = format!("tokens were added: \"<a>\" ({before}), \"<b>\" ({})", before + 1);
    assert!(ran.code == Some(0) && ran.stderr.contains(&expected), "{ran:?}");
    assert_eq!(rows("more/model"), before + 2);
    let found = ids(&folder, "more", "a<b>\n").remove(0);
    assert_eq!(found.as_array().unwrap()[1..], [json!(before + 1)]);
    instruct(&folder, &["--out", "more", "--resume", "--max-steps", "3", set[0], set[1]]).output();
    let message =
        instruct(&folder, &["--from", "lm", "--out", "no", "--set", "tokenizer.add_tokens=[\"x\", \"x\"]"]).refusal();
    assert!(message.contains("`tokenizer.add_tokens`: it holds \"x\" twice"), "{message}");
    let folder = Folder::new();
    folder.model();
    folder.recipe();
    let text = std::fs::read_to_string(folder.path("r.toml")).unwrap();
    let (data, rest) = text.split_once("[tokenizer]").unwrap();
    folder.write("r.toml", format!("{data}{}", &rest[rest.find("[train]").unwrap()..]));
    folder.run(&[&["train", "r.toml", "-q", "--from", "m", "--out", "more"], &set[..]].concat(), "").output();
    let rows = |model: &str| read(&folder.path(model).join("config.json"))["vocab_size"].as_u64().unwrap();
    assert_eq!(rows("more/model"), rows("m") + 2);
    let found = ids(&folder, "more", "a<b>\t<a>\n").remove(0);
    assert_eq!(found, json!([rows("m"), 2]));
}
