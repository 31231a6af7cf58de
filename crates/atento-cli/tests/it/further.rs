//! Models that are trained further: what they say of themselves stays with them.

use std::path::Path;

use atento::hub::safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::Folder;

fn read(folder: &Folder, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path(file)).unwrap()).unwrap()
}

fn change(folder: &Folder, file: &str, changes: Value) {
    let mut object = if folder.path(file).exists() { read(folder, file) } else { json!({}) };
    let (Value::Object(object), Value::Object(changes)) = (&mut object, changes) else { unreachable!() };
    object.extend(changes);
    folder.write(file, Value::Object(object.clone()).to_string());
}

/// Asserts that `found` has what `expected` has, but for the keys in `but`.
#[track_caller]
fn keeps(found: &Value, expected: &Value, but: &[&str]) {
    for (key, value) in expected.as_object().unwrap().iter().filter(|(key, _)| !but.contains(&key.as_str())) {
        assert_eq!(found.get(key), Some(value), "{key}");
    }
}

const CONTINUING: &str = r#"
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
activation = "tanh"
layer_norm_eps = 1e-6
bias = false
scale_by_layer = true
embedding_dropout = 0.05
[train]
max_steps = 2
batch_tokens = 64
[optimizer]
lr = 0.01
"#;

/// The same without a word about the model.
fn further() -> String {
    let (before, rest) = CONTINUING.split_once("[tokenizer]").unwrap();
    format!("{before}{}", &rest[rest.find("[train]").unwrap()..])
}

/// A folder with a language model `run` of two steps.
fn language_model() -> Folder {
    let folder = Folder::new();
    folder.write("text.txt", "the cat sees the dog.\nthe dog sees the cat.\n".repeat(40));
    folder.write("r.toml", CONTINUING);
    folder.write("further.toml", further());
    folder.run(&["train", "r.toml", "--out", "run", "--quiet"], "").output();
    folder
}

#[test]
fn a_translator_keeps_its_settings_when_it_is_trained_further_resumed_and_converted() {
    let folder = Folder::new();
    folder.model();
    folder.recipe();
    let generation = json!({
        "num_beams": 3, "forced_bos_token_id": 7, "length_penalty": 0.7, "early_stopping": true, "eos_token_id": [1, 3],
        "no_repeat_ngram_size": 3, "max_length": 12, "of_next_year": {"a": [1, null, {"b": 2.5}]}, "suppress_tokens": [9]
    });
    folder.write("m/generation_config.json", generation.to_string());
    change(&folder, "m/tokenizer_config.json", json!({"chat_template": "{{ messages }}", "extra": [1, {"b": []}]}));
    change(
        &folder,
        "m/config.json",
        json!({"of_next_year": {"x": [1, "y"]}, "eos_token_id": [1, 3], "torch_dtype": "float16"}),
    );
    folder.write("m/special_tokens_map.json", "{\"a\": 1}");
    folder.write("m/chat_template.jinja", "{{ messages }}");
    let recipe = "[data]\ntrain = { tsv = \"pairs.tsv\" }\nvalid = { tsv = \"pairs.tsv\" }\n[train]\nmax_steps = 2\neval_every = 1\n[optimizer]\nlr = 1e-9\n";
    folder.write("f.toml", recipe);
    folder.run(&["train", "f.toml", "--from", "m", "--out", "run", "--quiet"], "").output();
    let check = |model: &str, but: &[&str]| {
        let file = |name: &str| format!("{model}/{name}");
        let [found, base] = [file("config.json"), "m/config.json".into()].map(|name| read(&folder, &name));
        keeps(&found, &base, &["torch_dtype"]);
        assert_eq!((&found["dtype"], found.get("torch_dtype")), (&json!("float32"), None));
        let [found, base] =
            [file("generation_config.json"), "m/generation_config.json".into()].map(|name| read(&folder, &name));
        keeps(&found, &base, but);
        for name in ["tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"] {
            let bytes = |path: &str| std::fs::read(folder.path(path)).unwrap();
            assert_eq!(bytes(&file(name)), bytes(&format!("m/{name}")), "{name}");
        }
    };
    check("run/model", &[]);
    // Sentences are validated and translated with those settings, also where the run is resumed without its model.
    std::fs::rename(folder.path("m"), folder.path("elsewhere")).unwrap();
    let resumed = ["train", "f.toml", "--out", "run", "--resume", "--set", "train.max_steps=4", "--quiet"];
    folder.run(&resumed, "").output();
    folder.run(&["convert", "run", "--out", "converted"], "").output();
    std::fs::rename(folder.path("elsewhere"), folder.path("m")).unwrap();
    check("run/model", &[]);
    check("converted", &[]);
    let found = folder.run(&["translate", "run", "--json", "a dog runs"], "").objects().remove(0);
    assert_eq!(found["translations"][0]["ids"][0], json!(7));
    // What the recipe states is another matter.
    let stated = ["train", "f.toml", "--from", "m", "--out", "stated", "--quiet", "--set", "search.beam=2"];
    folder.run(&stated, "").output();
    check("stated/model", &["num_beams"]);
    assert_eq!(read(&folder, "stated/model/generation_config.json")["num_beams"], json!(2));
}

#[test]
fn a_language_model_keeps_its_settings_and_its_function_when_it_is_trained_further() {
    let folder = language_model();
    let base = json!({
        "do_sample": true, "temperature": 0.7, "top_k": 20, "repetition_penalty": 1.3, "max_new_tokens": 9,
        "unheard_of": [{"a": null}]
    });
    folder.write("run/model/generation_config.json", base.to_string());
    change(&folder, "run/model/config.json", json!({"unheard_of": {"b": [1.5]}, "pad_token_id": -1}));
    folder.run(&["train", "further.toml", "--from", "run", "--out", "on", "--quiet"], "").output();
    keeps(&read(&folder, "on/model/generation_config.json"), &base, &[]);
    keeps(&read(&folder, "on/model/config.json"), &read(&folder, "run/model/config.json"), &[]);
    let weights = atento::hub::Weights::open(&folder.path("on/model/model.safetensors")).unwrap();
    for name in weights.names().filter(|name| name.ends_with(".bias")) {
        let values = weights.read_f32(name, weights.get(name).unwrap().shape).unwrap();
        assert!(values.iter().all(|&value| value == 0.0), "{name}");
    }
    // A new run from what the run wrote down is of the same function.
    folder.run(&["train", "on/config.toml", "--out", "anew", "--quiet"], "").output();
    let [anew, on] = ["anew", "on"].map(|run| read(&folder, &format!("{run}/model/config.json")));
    let keys =
        ["activation_function", "layer_norm_epsilon", "atento_bias", "scale_attn_by_inverse_layer_idx", "embd_pdrop"];
    for key in keys {
        assert!(!on[key].is_null(), "{key}");
        assert_eq!(anew[key], on[key], "{key}");
    }
    assert_eq!(anew["activation_function"], json!("tanh"));
}

#[test]
fn a_recipe_is_held_against_the_model_that_it_starts_from() {
    let folder = language_model();
    // The preset has 256 positions, the model 16.
    let arguments = |last: &[&'static str]| [&["train", "further.toml", "--from", "run", "--out", "on"], last].concat();
    folder.run(&arguments(&["--dry-run"]), "").output();
    let message = folder.run(&arguments(&["--dry-run", "--set", "data.block_size=17"]), "").refusal();
    assert!(message.contains("--set data.block_size=17: `data.block_size` is 17, but the model has 16"), "{message}");
    folder.run(&arguments(&["--quiet", "--set", "data.block_size=8"]), "").output();
    assert!(std::fs::read_to_string(folder.path("on/config.toml")).unwrap().contains("max_positions = 16"));
}

/// The weights of a run's finished model.
#[test]
fn settings_that_stay_with_a_model_are_those_of_the_beginning_or_the_run_is_not_resumed() {
    let folder = language_model();
    folder.write("further.toml", further());
    let train = ["train", "further.toml", "-q", "--out", "again"];
    folder.run(&[&train[..], &["--from", "run"]].concat(), "").output();
    let resume = [&train[..], &["--max-steps", "3", "--resume"]].concat();
    let base = folder.path("again/base");
    let config = std::fs::read(base.join("config.json")).unwrap();
    std::fs::write(base.join("config.json"), [&config[..], b"\n"].concat()).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let message = folder.run(&[&resume[..], more].concat(), "").refusal();
        assert!(message.contains("again/base, the settings that stay with the model, has changed"), "{message}");
        assert!(message.contains("put it back as it was, or begin a new run with --out"), "{message}");
    }
    std::fs::write(base.join("config.json"), config).unwrap();
    std::fs::rename(&base, folder.path("elsewhere")).unwrap();
    let message = folder.run(&resume, "").refusal();
    assert!(message.contains("the settings that stay with the model, is missing: put it back"), "{message}");
    std::fs::rename(folder.path("elsewhere"), &base).unwrap();
    folder.run(&resume, "").output();
}

fn weights(folder: &Folder, run: &str) -> Vec<u8> {
    std::fs::read(folder.path(&format!("{run}/model/model.safetensors"))).unwrap()
}

#[test]
fn a_recipe_that_a_run_wrote_repeats_the_run_from_the_same_model() {
    let folder = language_model();
    let add = ["--set", "tokenizer.add_tokens=[\"<x>\"]"];
    let from = [&["train", "further.toml", "--from", "run", "--out", "on", "--quiet"], &add[..]].concat();
    folder.run(&from, "").output();
    let config = std::fs::read_to_string(folder.path("on/config.toml")).unwrap();
    let base = folder.path("run").canonicalize().unwrap();
    assert!(config.contains(&format!("\nfrom = \"{}\"\n", base.display())), "{config}");
    let again = folder.run(&["train", "on/config.toml", "--out", "again"], "");
    assert!(!again.stderr.contains("[tokenizer]"), "{again:?}");
    again.output();
    assert!(weights(&folder, "again") == weights(&folder, "on"));
    // With another model in its place, and without it.
    folder.run(&["train", "r.toml", "--set", "seed=9", "--out", "other", "--quiet"], "").output();
    folder.run(&["train", "on/config.toml", "--from", "other", "--out", "third", "--quiet"], "").output();
    assert!(weights(&folder, "third") != weights(&folder, "on"));
    std::fs::rename(folder.path("run"), folder.path("gone")).unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let message = folder.run(&[&["train", "on/config.toml", "--out", "fourth"], more].concat(), "").refusal();
        assert!(message.contains("run: not found"), "{message}");
    }
    let resumed = folder.run(&["train", "on/config.toml", "--out", "on", "--resume", "--max-steps", "3"], "");
    assert!(!resumed.stderr.contains("is not used"), "{resumed:?}");
    resumed.output();
}

#[test]
fn a_recipe_names_the_model_to_start_from_beside_it() {
    let folder = language_model();
    std::fs::create_dir(folder.path("recipes")).unwrap();
    // The preset has 256 positions, the model 16: the recipe is held against the model.
    let recipe = format!("from = \"../run\"\n{}", further().replace("\"text.txt\"", "\"../text.txt\""));
    folder.write("recipes/further.toml", recipe.replace("[train]", "[train]\neval_every = 1"));
    let plan = folder.run(&["train", "recipes/further.toml", "--out", "on", "--dry-run"], "").output();
    assert!(plan.contains("trainable params: 3,616 of 3,808 (the rest is frozen)"), "{plan}");
    folder.run(&["train", "recipes/further.toml", "--out", "on", "--quiet"], "").output();
    assert!(std::fs::read_to_string(folder.path("on/config.toml")).unwrap().contains("max_positions = 16"));
    // What a run began with stays: another model is not used, and none is no change.
    for (from, is_told) in [("r.toml", true), ("../run", false)] {
        let set = format!("from={from}");
        let arguments = ["train", "recipes/further.toml", "--out", "on", "--resume", "--set", &set, "--max-steps", "2"];
        let ran = folder.run(&arguments, "");
        assert_eq!(ran.stderr.contains("is not used: the run goes on from its checkpoint"), is_told, "{ran:?}");
        ran.output();
    }
    let none = ["train", "further.toml", "--out", "on", "--resume", "--max-steps", "3", "--set", "train.eval_every=1"];
    folder.run(&none, "").output();
    let base = folder.path("run").canonicalize().unwrap();
    assert!(std::fs::read_to_string(folder.path("on/config.toml")).unwrap().contains(&base.display().to_string()));
}

#[test]
fn what_nobody_needs_is_noted_and_what_is_needed_is_refused() {
    let folder = language_model();
    change(&folder, "run/model/config.json", json!({"eos_token_id": 50256, "pad_token_id": -1}));
    let mut tokenizer = read(&folder, "run/model/tokenizer.json");
    let vocab_size = read(&folder, "run/model/config.json")["vocab_size"].as_u64().unwrap();
    let mut token = tokenizer["added_tokens"][0].clone();
    (token["id"], token["content"]) = (json!(vocab_size), json!("[EXTRA]"));
    tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    folder.write("run/model/tokenizer.json", tokenizer.to_string());
    for arguments in [
        &["score", "run", "the cat"][..],
        &["generate", "run", "--prompt", "the", "--max-new-tokens", "2"],
        &["eval", "run", "--data", "text.txt"],
        &["convert", "run", "--out", "converted"],
        &["train", "further.toml", "--from", "run", "--out", "on"],
    ] {
        let ran = folder.run(arguments, "");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for expected in ["`eos_token_id` names token 50256", "`pad_token_id` names token -1", "`[EXTRA]`"] {
            assert_eq!(ran.stderr.matches(expected).count(), 1, "{expected}: {ran:?}");
        }
    }
    folder.run(&["inspect", "run"], "").output();
    for arguments in [&["score", "run", "the [EXTRA] cat"][..], &["generate", "run", "--prompt", "the [EXTRA] cat"]] {
        let ran = folder.run(arguments, "");
        assert!(ran.code != Some(0) && ran.stderr.contains("the token `[EXTRA]`"), "{ran:?}");
    }
    folder.write("text.txt", "the cat sees the dog.\n".repeat(40) + "the [EXTRA] cat\n");
    let message = folder.run(&["train", "further.toml", "--from", "run", "--out", "other", "--quiet"], "").refusal();
    assert!(message.contains("text.txt") && message.contains("the token `[EXTRA]`"), "{message}");
}

#[test]
fn a_git_lfs_pointer_is_named_wherever_a_file_is_opened() {
    let folder = language_model();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n", "0".repeat(64));
    let refused = |file: &str, arguments: &[&str]| {
        let path = folder.path(file);
        let kept = std::fs::read(&path).ok();
        folder.write(file, &pointer);
        let message = folder.run(arguments, "").refusal();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        assert!(message.contains("Git LFS pointer") && message.contains(name), "{file}: {message}");
        match kept {
            Some(bytes) => drop(folder.write(file, bytes)),
            None => std::fs::remove_file(path).unwrap(),
        }
    };
    let score = ["score", "run", "a"];
    for file in
        ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"]
    {
        refused(&format!("run/model/{file}"), &score);
    }
    std::fs::remove_file(folder.path("run/model/model.safetensors")).unwrap();
    for file in ["model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"] {
        refused(&format!("run/model/{file}"), &score);
    }
    let train = ["train", "r.toml", "--out", "other"];
    refused("text.txt", &train);
    refused("r.toml", &train);
    refused("lines.txt", &["tokenizer", "train", "lines.txt", "--kind", "char", "--out", "t.json"]);
    let tokens = ["train", "t.toml", "--out", "other"];
    let recipe = CONTINUING.replace("text = \"text.txt\"\nvalid_fraction = 0.2", "tokens = \"run/data\"");
    folder.write("t.toml", recipe.replace("kind = \"char\"", "file = \"run/tokenizer.json\""));
    refused("run/data/train.bin", &tokens);
    refused("run/data/tokens.json", &tokens);
}

/// What a run trains: the names of the tensors that differ from the base's.
fn moved(folder: &Folder, base: &str, run: &str) -> Vec<String> {
    let open = |dir: &str| SafeTensors::open(&folder.path(dir).join("model/model.safetensors")).unwrap();
    let (before, after) = (open(base), open(run));
    let bytes = |file: &SafeTensors, name: &str| file.get(name).unwrap().bytes.to_vec();
    let mut moved: Vec<String> = before.names().map(str::to_owned).collect();
    moved.retain(|name| bytes(&before, name) != bytes(&after, name));
    moved.sort();
    moved
}

#[test]
fn frozen_weights_stay_take_no_place_in_a_checkpoint_and_are_read_again_where_they_were() {
    let folder = Folder::new();
    folder.recipe();
    let train = |more: &[&str]| folder.run(&[&["train", "r.toml"], more].concat(), "");
    train(&["--out", "base", "-q"]).output();
    let only = ["--set", "train.train_only=[\"decoder.layers.*.fc1\", \"*.final_layer_norm\"]", "--from", "base"];
    let ran = train(&[&only[..], &["--out", "whole"]].concat());
    assert!(ran.stderr.contains("\"decoder.layers.*.fc1\" matches 2 parameters"), "{ran:?}");
    let found = moved(&folder, "base", "whole");
    let is_named = |name: &String| name.contains("decoder.layers.0.fc1") || name.contains("final_layer_norm");
    assert!(found.len() >= 4 && found.iter().all(is_named), "{found:?}");
    // Interrupted and resumed it is the same run.
    train(&[&only[..], &["--out", "parts", "--max-steps", "3", "-q"]].concat()).output();
    train(&[&only[..2], &["--out", "parts", "--resume", "-q"]].concat()).output();
    let model = |run: &str| std::fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
    assert!(model("whole") == model("parts"));
    let size = |run: &str| std::fs::metadata(folder.path(run).join("checkpoints/step-6/values.f32")).unwrap().len();
    assert!(10 * size("whole") < 3 * size("base"), "{} of {}", size("whole"), size("base"));
    // Another base is another model.
    let weights = folder.path("base/model/model.safetensors");
    let mut changed = std::fs::read(&weights).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, changed).unwrap();
    let message = train(&[&only[..2], &["--out", "parts", "--resume", "--max-steps", "9"]].concat()).refusal();
    assert!(
        message.contains("the frozen weights of this run are those of ") && message.contains("changed"),
        "{message}"
    );
    let message = train(&["--set", "train.freeze=[\"decoder.layers.0.fc3\"]"]).refusal();
    assert!(message.contains("the nearest is `decoder.layers.0.fc"), "{message}");
    let message = train(&["--set", "train.freeze=[\"*\"]"]).refusal();
    assert!(message.contains("nothing is left to train"), "{message}");
}
