//! Adapters put on models and merged into them, as a person does it.

use serde_json::{Value, json};

use crate::support::{Folder, fixture};

/// An adapter for the queries of `bert-labels`: rank 1, its numbers a wave.
fn adapter(folder: &Folder, name: &str, module: &str) {
    let config = json!({
        "peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": [module], "base_model_name_or_path": "some/bert",
    });
    std::fs::create_dir(folder.path(name)).unwrap();
    folder.write(&format!("{name}/adapter_config.json"), config.to_string());
    let model = std::fs::read_to_string(fixture("bert-labels").join("config.json")).unwrap();
    let model: Value = serde_json::from_str(&model).unwrap();
    let (width, layers) = (model["hidden_size"].as_u64().unwrap(), model["num_hidden_layers"].as_u64().unwrap());
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for layer in 0..layers {
        for (half, shape) in [("A", [1, width]), ("B", [width, 1])] {
            let start = data.len();
            data.extend((0..width).flat_map(|at| (0.9 * at as f32 + layer as f32).sin().to_le_bytes()));
            let path =
                format!("base_model.model.bert.encoder.layer.{layer}.attention.self.{module}.lora_{half}.weight");
            header.insert(path, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
        }
    }
    let header = Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    folder.write(&format!("{name}/adapter_model.safetensors"), bytes);
}

#[test]
fn an_adapter_is_put_on_its_base_and_merged_into_it() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    let base = fixture("bert-labels").display().to_string();
    let logits = |command: &[&str]| -> Vec<f64> {
        let object = folder.run(&[&["classify", "--json"], command].concat(), "").objects().remove(0);
        serde_json::from_value(object["logits"].clone()).unwrap()
    };
    let apart = |one: &[f64], other: &[f64]| one.iter().zip(other).fold(0f64, |most, (x, y)| most.max((x - y).abs()));
    let adapted = logits(&[&base, "a red cat runs", "--adapter", "a"]);
    assert!(apart(&adapted, &logits(&[&base, "a red cat runs"])) > 1e-4);
    let told = folder.run(&["adapter", "merge", &base, "a", "--out", "merged", "--json"], "").objects().remove(0);
    assert!(told["modules"].as_u64().unwrap() > 0 && told["largest_difference"].as_f64().unwrap() < 1e-5, "{told}");
    assert!(apart(&adapted, &logits(&["merged", "a red cat runs"])) < 1e-5);
}

/// What a directory of sentence-transformers says of vectors stays with the merged model, with that without the adapter, and with
/// one that is trained further.
#[test]
fn a_changed_sentence_encoder_makes_vectors_as_its_base_does() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    std::fs::create_dir_all(folder.path("st/1_Pooling")).unwrap();
    for file in std::fs::read_dir(fixture("bert-labels")).unwrap().map(|file| file.unwrap().path()) {
        folder.write(&format!("st/{}", file.file_name().unwrap().display()), std::fs::read(&file).unwrap());
    }
    let step = |kind: &str, path: &str| json!({ "type": format!("sentence_transformers.models.{kind}"), "path": path });
    let steps = json!([step("Transformer", ""), step("Pooling", "1_Pooling"), step("Normalize", "2_Normalize")]);
    folder.write("st/modules.json", steps.to_string());
    folder.write("st/1_Pooling/config.json", json!({ "pooling_mode_max_tokens": true }).to_string());
    folder.run(&["adapter", "merge", "st", "a", "--out", "merged"], "").output();
    folder.run(&["adapter", "unmerge", "merged", "a", "--out", "plain"], "").output();
    let vector = |command: &[&str]| -> Vec<f64> {
        let object = folder.run(&[&["embed"], command, &["a red cat runs"]].concat(), "").objects().remove(0);
        serde_json::from_value(object["embedding"].clone()).unwrap()
    };
    for (same, as_same) in [(&["merged"][..], &["st", "--adapter", "a"][..]), (&["plain"], &["st"])] {
        let (found, expected) = (vector(same), vector(as_same));
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?} {expected:?}");
        assert!((found.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-4, "{found:?}");
    }
    folder.write("train.tsv", "text\tlabel\nthe cat is red\tred\nthe hen is green\tgreen\nthe dog is blue\tblue\n");
    let recipe = "task = \"classify\"\n[data]\ntrain = { tsv = \"train.tsv\", text_key = \"text\", label_key = \"label\" }\n\
                  [train]\nmax_steps = 2\nbatch_tokens = 64\n";
    folder.write("further.toml", recipe);
    folder.run(&["train", "further.toml", "--from", "st", "--out", "run", "-q"], "").output();
    let files = |dir: &str| {
        ["modules.json", "1_Pooling/config.json"].map(|name| std::fs::read(folder.path(dir).join(name)).unwrap())
    };
    assert_eq!(files("run/model"), files("st"));
    let found = vector(&["run"]);
    assert!((found.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-4, "{found:?}");
    // The run goes on with the files that it began with, or not at all.
    folder.write("run/base/1_Pooling/config.json", json!({ "pooling_mode_cls_token": true }).to_string());
    let message =
        folder.run(&["train", "run/config.toml", "--out", "run", "--resume", "--max-steps", "3"], "").refusal();
    assert!(message.contains("has changed since the run saved it"), "{message}");
}

#[test]
fn biases_that_were_trained_take_the_place_of_the_models_own() {
    let (folder, base) = colours();
    let train = ["train", "r.toml", "--from", &base, "--set", "train.method=bitfit", "--out", "run", "-q"];
    folder.run(&train, "").output();
    let told = folder.run(&["adapter", "merge", &base, "run", "--out", "merged"], "").output();
    assert!(
        told.contains(" trained tensors in place of the model's own; logits differ") && !told.contains("modules"),
        "{told}"
    );
    let logits = |model: &str| {
        folder.run(&["classify", "--json", model, "the dog is red"], "").objects().remove(0)["logits"].clone()
    };
    assert_eq!(logits("merged"), logits("run"));
}

#[test]
fn what_an_adapter_is_not_for_is_told() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    adapter(&folder, "b", "querry");
    let base = fixture("bert-labels").display().to_string();
    let message = folder.run(&["classify", &base, "x", "--adapter", "b"], "").refusal();
    assert!(message.contains("is of no module of the model (the nearest is"), "{message}");
    let message = folder.run(&["classify", "a", "x"], "").refusal();
    assert!(
        message.contains("the directory holds an adapter of some/bert, which is not here: name its base"),
        "{message}"
    );
    let message = folder.run(&["classify", &base, "x", "--adapter", "none"], "").refusal();
    assert!(message.contains("none/adapter_config.json"), "{message}");
    let message = folder.run(&["classify", &base, "x", "--adapter", &base], "").refusal();
    assert!(message.contains("holds a whole model, which needs no base"), "{message}");
    let bytes = std::fs::read(folder.path("a/adapter_model.safetensors")).unwrap();
    folder.write("a/adapter_model.safetensors", &bytes[..bytes.len() - 4]);
    let message = folder.run(&["adapter", "merge", &base, "a", "--out", "m"], "").refusal();
    assert!(message.contains("adapter_model.safetensors") && !folder.path("m").exists(), "{message}");
}

/// A model, the texts that it is adapted to, and a recipe for that.
fn colours() -> (Folder, String) {
    let folder = Folder::new();
    let labels = ["red", "green", "blue"];
    let rows = |things: &[&str]| -> String {
        let row = |thing: &&str| labels.map(|label| format!("the {thing} is {label}\t{label}\n")).concat();
        things.iter().map(row).collect()
    };
    folder.write("train.tsv", rows(&["cat", "dog", "hen", "fox", "cow"]).repeat(2));
    folder.write("valid.tsv", rows(&["owl", "dog"]));
    folder.write(
        "r.toml",
        r#"
task = "classify"
[data]
train = { tsv = "train.tsv" }
valid = { tsv = "valid.tsv" }
[train]
method = "lora"
max_epochs = 40
max_sentences = 8
[lora]
rank = 2
[optimizer]
lr = 2e-2
"#,
    );
    (folder, fixture("bert-words").display().to_string())
}

#[test]
fn an_adapter_is_trained_used_looked_at_merged_and_taken_out_again() {
    let (folder, base) = colours();
    let told = folder.run(&["train", "r.toml", "--from", &base, "--out", "run"], "").stderr;
    let lines: Vec<&str> = told.lines().collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{told}"));
    assert!(at("target modules: \"query\" matches 2 modules") < at("trainable params: "), "{told}");
    assert!(lines[at("trainable params: ")].contains(" || all params: "), "{told}");
    // The run's own directory, and its adapter on the base, answer alike; a base without the output does not answer.
    let label = |command: &[&str]| {
        let object = folder.run(&[&["classify", "--json"], command].concat(), "").objects().remove(0);
        (object["label"].as_str().unwrap().to_owned(), object["logits"].clone())
    };
    let text = "the dog is red";
    let (found, logits) = label(&["run", text]);
    assert_eq!(found, "red");
    assert_eq!(label(&[&base, text, "--adapter", "run"]).1, logits);
    assert_eq!(label(&[&base, text, "--adapter", "run/model"]).1, logits);
    folder.run(&["classify", &base, text], "").refusal();
    let measured = folder.run(&["eval", "run", "--data", "valid.tsv", "--json"], "").objects().remove(0);
    assert_eq!(measured["texts"], 6);
    let shown = folder.run(&["adapter", "inspect", "run", "--json"], "").objects().remove(0);
    assert_eq!(shown["config"]["peft_type"], "LORA");
    assert_eq!((shown["modules"].as_array().unwrap().len(), shown["config"]["r"].as_u64()), (4, Some(2)));
    assert!(folder.run(&["adapter", "inspect", "run"], "").output().contains("target_modules"));
    let changes = folder.run(&["adapter", "diff", &base, "run", "--json"], "").objects();
    let pair = changes.iter().find(|change| change["rank"] == 2).unwrap();
    assert!(pair["norm"].as_f64().unwrap() > 0.0 && pair["singular_values"].as_array().unwrap().len() == 2, "{pair}");
    assert!(changes.iter().any(|change| change["name"] == "classifier.weight" && change["relative"].is_null()));
    assert!(folder.run(&["adapter", "diff", &base, "run"], "").output().contains("of its own"));
    // Merged, it is a model of its own, into which it is not merged again.
    folder.run(&["adapter", "merge", &base, "run", "--out", "merged"], "").output();
    assert_eq!(label(&["merged", text]).0, "red");
    let message = folder.run(&["adapter", "merge", "merged", "run", "--out", "again", "--any-base"], "").refusal();
    assert!(message.contains("has been merged into the model already"), "{message}");
    let message = folder.run(&["adapter", "merge", "merged", "run", "--out", "again"], "").refusal();
    assert!(message.contains("the adapter was made for a model with contents"), "{message}");
    // What comes out again has the queries that it had.
    folder.run(&["adapter", "unmerge", "merged", "run", "--out", "plain"], "").output();
    let message = folder.run(&["adapter", "unmerge", "plain", "run", "--out", "less"], "").refusal();
    assert!(message.contains("does not say that this adapter was merged into it"), "{message}");
    let changes = folder.run(&["adapter", "diff", "plain", "run", "--any-base", "--json"], "").objects();
    let again = changes.iter().find(|change| change["name"] == pair["name"]).unwrap();
    let apart = |key: &str| (again[key].as_f64().unwrap() / pair[key].as_f64().unwrap() - 1.0).abs();
    assert!(apart("norm") < 1e-5 && apart("relative") < 1e-4, "{again} {pair}");
    // What is converted is merged on the way.
    let told = folder.run(&["convert", "run", "--out", "converted", "--json"], "").objects().remove(0);
    let total = folder.run(&["inspect", "converted", "--json"], "").objects().remove(0)["total"].clone();
    assert_eq!(told["parameters"], total);
    assert_eq!(label(&["converted", text]).0, "red");
}

#[test]
fn an_adapter_of_queries_and_values_of_a_fused_matrix_is_saved_as_peft_reads_it() {
    let folder = Folder::new();
    let base = fixture("gpt2-tiny").display().to_string();
    folder.write("t.txt", "a red cat runs and the old dog sees it\n".repeat(40));
    folder.write(
        "r.toml",
        "task = \"causal-lm\"\n[data]\ntext = \"t.txt\"\nblock_size = 16\n[train]\nmethod = \"lora\"\nmax_steps = 20\n\
         batch_tokens = 64\n[lora]\nrank = 2\nalpha = 6\ntargets = [\"q\", \"v\"]\n[optimizer]\nlr = 1e-2\n",
    );
    folder.run(&["train", "r.toml", "--from", &base, "--out", "run", "--quiet"], "").output();
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.path("run/model/adapter_config.json")).unwrap()).unwrap();
    let pattern = "transformer\\.h\\.0\\.attn\\.c_attn";
    assert_eq!((&config["rank_pattern"][pattern], &config["alpha_pattern"][pattern]), (&json!(4), &json!(12.0)));
    // A loss with it is another than without, and the keys are as they were.
    let loss = |model: &[&str]| {
        let command = [&["eval"], model, &["--data", "t.txt", "--json"]].concat();
        folder.run(&command, "").objects().remove(0)["loss"].as_f64().unwrap()
    };
    let (with, without) = (loss(&["run"]), loss(&[&base]));
    assert!(with < without - 0.1, "{with} {without}");
    assert_eq!(loss(&[&base, "--adapter", "run"]), with);
    let changes = folder.run(&["adapter", "diff", &base, "run", "--json"], "").objects();
    let change = changes.iter().find(|change| change["name"] == "transformer.h.0.attn.c_attn.weight").unwrap();
    assert_eq!(change["rank"], 4);
}

#[test]
fn a_translator_is_adapted_and_merged_too() {
    let folder = Folder::new();
    let base = fixture("marian-tiny").display().to_string();
    folder.write("s.txt", "a red cat runs\nthe old dog sees\nthe hen\n".repeat(20));
    folder.write("g.txt", "eine rote katze\nder alte hund\ndie henne\n".repeat(20));
    folder.write(
        "r.toml",
        "task = \"translation\"\n[data]\ntrain = { source = \"s.txt\", target = \"g.txt\" }\n[train]\nmethod = \"lora\"\n\
         max_steps = 30\nbatch_tokens = 200\n[lora]\nrank = 2\n[optimizer]\nlr = 1e-2\n",
    );
    folder.run(&["train", "r.toml", "--from", &base, "--out", "run", "--quiet"], "").output();
    folder.run(&["adapter", "merge", &base, "run", "--out", "merged"], "").output();
    let loss = |model: &[&str]| {
        let command = [&["eval"], model, &["--source", "s.txt", "--target", "g.txt", "--beam", "1", "--json"]].concat();
        folder.run(&command, "").objects().remove(0)["loss"].as_f64().unwrap()
    };
    let (with, without, merged) = (loss(&["run"]), loss(&[&base]), loss(&["merged"]));
    assert!(with < without - 0.1 && (with - merged).abs() < 1e-5, "{with} {without} {merged}");
    assert_eq!(loss(&[&base, "--adapter", "run"]), with);
    let told = folder.run(&["adapter", "diff", &base, "run", "--json"], "").objects();
    assert!(told.last().unwrap()["largest_difference"].as_f64().unwrap() > 0.0);
}

#[test]
fn adapters_are_combined_and_what_does_not_go_together_is_told() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    adapter(&folder, "b", "query");
    adapter(&folder, "c", "key");
    let base = fixture("bert-labels").display().to_string();
    let logits = |adapter: &str| -> Vec<f64> {
        let command = ["classify", &base, "a red cat runs", "--adapter", adapter, "--json"];
        serde_json::from_value(folder.run(&command, "").objects().remove(0)["logits"].clone()).unwrap()
    };
    let close = |one: &[f64], other: &[f64]| one.iter().zip(other).all(|(x, y)| (x - y).abs() < 1e-5);
    // Halves of the same are the same, and of two modules both are adapted.
    let told = folder.run(&["adapter", "combine", "a", "b", "--out", "both", "--json"], "").objects().remove(0);
    assert_eq!(told["modules"], 2);
    assert!(close(&logits("a"), &logits("both")));
    folder.run(&["adapter", "combine", "a", "b", "--method", "svd", "--rank", "1", "--out", "one"], "").output();
    assert!(close(&logits("a"), &logits("one")));
    let said = folder.run(&["adapter", "combine", "a", "c", "--weights", "1,-2", "--out", "two"], "").output();
    assert!(said.contains("two: 2 adapters combined, 4 modules"), "{said}");
    assert!(!close(&logits("a"), &logits("two")));
    for (more, expected) in [
        (&["--weights", "1,2,3"][..], "--weights has 3 numbers, and there are 2 adapters"),
        (&["--rank", "2"], "--rank goes with --method svd"),
        (&["--method", "ties", "--density", "0"], "--density is 0, expected a share above 0"),
    ] {
        let message = folder.run(&[&["adapter", "combine", "a", "b", "--out", "x"], more].concat(), "").refusal();
        assert!(message.contains(expected) && !folder.path("x").exists(), "{message}");
    }
    let message = folder.run(&["adapter", "combine", "a", "b", "--out", "both"], "").refusal();
    assert!(message.contains("both is not empty"), "{message}");
}

#[test]
fn a_prefix_is_put_on_a_model_and_not_merged_into_it() {
    let folder = Folder::new();
    let (base, prefix) = (fixture("gpt2-tiny"), fixture("gpt2-tiny.prefix"));
    let (base, prefix) = (base.display().to_string(), prefix.display().to_string());
    let command = ["generate", &base, "--prompt", "a red", "--greedy", "--max-new-tokens", "5", "--json"];
    let plain = folder.run(&command, "").objects().remove(0);
    let with = folder.run(&[&command[..], &["--adapter", &prefix]].concat(), "").objects().remove(0);
    assert_ne!(plain["logprobs"], with["logprobs"]);
    // A draft model has no virtual tokens, and changes nothing of what is written.
    for adapter in [prefix.as_str(), &fixture("gpt2-tiny.prompt").display().to_string()] {
        let alone = folder.run(&[&command[..], &["--adapter", adapter]].concat(), "").objects().remove(0);
        let drafted = [&command[..], &["--adapter", adapter, "--draft", &base]].concat();
        assert_eq!(folder.run(&drafted, "").objects().remove(0)["ids"], alone["ids"]);
    }
    let message = folder.run(&["adapter", "merge", &base, &prefix, "--out", "merged"], "").refusal();
    assert!(message.contains("cannot become part of the weights: it is tokens before every text"), "{message}");
    assert!(!folder.path("merged").exists());
    let shown = folder.run(&["adapter", "inspect", &prefix, "--json"], "").objects().remove(0);
    assert_eq!((&shown["config"]["num_virtual_tokens"], &shown["parameters"]), (&json!(3), &json!(192)));
}

#[test]
fn several_adapters_of_one_model_answer_the_lines_that_name_them() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    adapter(&folder, "b", "value");
    let base = fixture("bert-labels").display().to_string();
    let texts = ["a red cat runs", "the old hen sees a fox", "a dog"];
    let alone = |adapter: &str| -> Vec<Value> {
        let command = [&["classify", "--json", base.as_str(), "--adapter", adapter][..], &texts].concat();
        folder.run(&command, "").objects()
    };
    let (of_a, of_b) = (alone("a"), alone("b"));
    let lines = "one\ta red cat runs\nother\ta red cat runs\nother\tthe old hen sees a fox\none\tthe old hen sees a fox\n\
                 one\ta dog\n";
    let both = ["classify", "--json", base.as_str(), "--adapter", "one=a", "--adapter", "other=b"];
    let logits = |object: &Value| -> Vec<f64> { serde_json::from_value(object["logits"].clone()).unwrap() };
    let found = folder.run(&both, lines).objects();
    let names = ["one", "other", "other", "one", "one"];
    for ((found, name), expected) in found.iter().zip(names).zip([&of_a[0], &of_b[0], &of_b[1], &of_a[1], &of_a[2]]) {
        assert_eq!((&found["adapter"], &found["text"]), (&json!(name), &expected["text"]));
        let (found, expected) = (logits(found), logits(expected));
        assert!(found.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?} {expected:?}");
    }
    assert_eq!(found.len(), 5);
    assert!(logits(&of_a[0]) != logits(&of_b[0]));
    // One with a name is asked for by it too, and a line that asks for another is a bad line.
    let ran = folder.run(&["classify", "--json", &base, "--adapter", "one=a"], "one\ta dog\ntwo\ta dog\na dog\n");
    let message = &ran.stderr;
    assert!(message.contains("line 2: the line begins with no adapter's name and a tab; there are one"), "{message}");
    assert!(message.contains("2 of 3 lines could not be used"), "{message}");
    for (more, expected) in [
        (&["--adapter", "a", "--adapter", "one=b"][..], "one of several has a name, by which lines ask for it"),
        (&["--adapter", "x=a", "--adapter", "x=b"], "two have the name \"x\""),
        (&["--adapter", "=a"], "there is no name before the ="),
    ] {
        let message = folder.run(&[&["classify", &base, "x"], more].concat(), "").refusal();
        assert!(message.contains(expected), "{message}");
    }
    let message = folder.run(&["embed", &base, "x", "--adapter", "x=a"], "").refusal();
    assert!(message.contains("this verb takes one, without a name"), "{message}");
}

#[test]
fn prompts_name_their_adapters() {
    let folder = Folder::new();
    let base = fixture("gpt2-tiny").display().to_string();
    let (ia3, ranks) =
        (fixture("gpt2-tiny.ia3").display().to_string(), fixture("gpt2-tiny.lora-ranks").display().to_string());
    let run = |more: &[&str], input: &str| -> Vec<Value> {
        let how = ["generate", base.as_str(), "--json", "--greedy", "--max-new-tokens", "5"];
        folder.run(&[&how[..], more].concat(), input).objects()
    };
    let prompts = "the dog\na red cat\n";
    let (of_ia3, of_ranks) = (run(&["--adapter", &ia3], prompts), run(&["--adapter", &ranks], prompts));
    let (x, y) = (format!("x={ia3}"), format!("y={ranks}"));
    let found = run(&["--adapter", &x, "--adapter", &y], "y\tthe dog\nx\tthe dog\nx\ta red cat\ny\ta red cat\n");
    let expected = [("y", &of_ranks[0]), ("x", &of_ia3[0]), ("x", &of_ia3[1]), ("y", &of_ranks[1])];
    for (found, (name, expected)) in found.iter().zip(expected) {
        assert_eq!(
            (&found["adapter"], &found["ids"], &found["prompt"]),
            (&json!(name), &expected["ids"], &expected["prompt"])
        );
    }
    assert_eq!(found.len(), 4);
    assert!(of_ia3[0]["ids"] != of_ranks[0]["ids"]);
}

#[test]
fn an_adapter_becomes_a_file_of_llama_cpp() {
    let folder = Folder::new();
    let base = fixture("gpt2-tiny").display().to_string();
    let adapter = fixture("gpt2-tiny.lora-ranks").display().to_string();
    let command = ["adapter", "convert", &adapter, "--base", &base, "--out", "a.gguf", "--json"];
    let told = folder.run(&command, "").objects().remove(0);
    assert!(told["modules"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(&std::fs::read(folder.path("a.gguf")).unwrap()[..4], b"GGUF");
    let message = folder.run(&command, "").refusal();
    assert!(message.contains("a.gguf is there already"), "{message}");
    let message = folder.run(&["adapter", "convert", &adapter, "--out", "b.gguf"], "").refusal();
    assert!(message.contains("name its base"), "{message}");
}

/// An adapter that learned prompts in a template gets them in it, alone, on its base and merged.
#[test]
fn an_adapter_keeps_the_prompt_template_that_it_was_taught_with() {
    let folder = Folder::new();
    let base = fixture("gpt2-tiny").display().to_string();
    let pairs: Vec<String> =
        (0..8).map(|at| json!({ "prompt": format!("cat {at}"), "completion": "dog" }).to_string()).collect();
    folder.write("pairs.jsonl", pairs.join("\n") + "\n");
    let recipe = "task = \"instruct\"\n[data]\ntrain = { jsonl = \"pairs.jsonl\" }\nprompt_template = \"Q: {prompt} A:\"\n\
                  [train]\nmethod = \"lora\"\nmax_steps = 2\nbatch_tokens = 64\n[lora]\nrank = 2\n";
    folder.write("r.toml", recipe);
    folder.run(&["train", "r.toml", "--from", &base, "--out", "run", "-q"], "").output();
    let ids = |command: &[&str]| {
        let how = ["--greedy", "--json", "--max-new-tokens", "6"];
        folder.run(&[&["generate"], command, &how[..]].concat(), "").objects().remove(0)["logprobs"].clone()
    };
    let written = ids(&["run", "Q: the cat A:", "--raw"]);
    assert!(written != ids(&["run", "the cat", "--raw"]));
    assert_eq!(ids(&["run", "the cat"]), written);
    assert_eq!(ids(&[&base, "the cat", "--adapter", "run"]), written);
    folder.run(&["adapter", "merge", &base, "run", "--out", "merged"], "").output();
    assert!(folder.path("merged/prompt_template.json").exists());
}

#[test]
fn an_adapter_that_was_trained_here_stands_on_a_base_in_int8() {
    let folder = Folder::new();
    let base = fixture("gpt2-untied").display().to_string();
    folder.run(&["convert", &base, "--out", "int8", "--weights", "int8"], "").output();
    folder.write("text.txt", "the cat sees a dog\n".repeat(40));
    let recipe = "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\nblock_size = 8\n[train]\nmethod = \"lora\"\n\
                  max_steps = 2\nbatch_tokens = 64\n[lora]\nrank = 2\n";
    folder.write("r.toml", recipe);
    folder.run(&["train", "r.toml", "--from", &base, "--out", "run", "-q"], "").output();
    let score = |command: &[&str]| {
        folder.run(&[&["score"], command, &["the cat", "--json"][..]].concat(), "").objects().remove(0)["perplexity"]
            .as_f64()
            .unwrap()
    };
    let message = folder.run(&["score", "int8", "the cat", "--adapter", "run"], "").refusal();
    assert!(message.contains("was made for a model with contents"), "{message}");
    let (exact, rounded) = (score(&["run"]), score(&["int8", "--adapter", "run", "--any-base"]));
    assert!((rounded / exact - 1.0).abs() < 0.05, "{rounded} {exact}");
    // Its states can be asked for, though its output is not its table.
    assert_eq!(folder.run(&["embed", &base, "the cat"], "").objects().len(), 1);
}

#[test]
fn adapters_come_out_in_the_opposite_order() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    adapter(&folder, "b", "value");
    let base = fixture("bert-labels").display().to_string();
    folder.run(&["adapter", "merge", &base, "a", "--out", "one"], "").output();
    folder.run(&["adapter", "merge", "one", "b", "--out", "two"], "").output();
    let message = folder.run(&["adapter", "unmerge", "two", "a", "--out", "no"], "").refusal();
    assert!(message.contains("take out the last one first") && !folder.path("no").exists(), "{message}");
    folder.run(&["adapter", "unmerge", "two", "b", "--out", "one-again"], "").output();
    folder.run(&["adapter", "unmerge", "one-again", "a", "--out", "none"], "").output();
    let scores = |model: &str| {
        let object = folder.run(&["classify", model, "a red cat runs", "--json", "--quiet"], "").objects().remove(0);
        serde_json::from_value::<std::collections::BTreeMap<String, f64>>(object["scores"].clone()).unwrap()
    };
    let (found, expected) = (scores("none"), scores(&base));
    assert!(expected.iter().all(|(label, score)| (found[label] - score).abs() < 1e-5), "{found:?} {expected:?}");
}

/// The sum is rounded, and not its parts.
#[test]
fn a_model_is_rounded_after_its_adapter_was_merged() {
    let folder = Folder::new();
    adapter(&folder, "a", "query");
    let base = fixture("bert-labels").display().to_string();
    let config = std::fs::read_to_string(folder.path("a/adapter_config.json")).unwrap();
    folder.write("a/adapter_config.json", config.replace("some/bert", &base.replace('\\', "/")));
    for weights in ["bf16", "int8"] {
        let (at_once, exact, then) = (format!("{weights}-1"), format!("{weights}-f32"), format!("{weights}-2"));
        folder.run(&["convert", "a", "--out", &at_once, "--weights", weights], "").output();
        folder.run(&["convert", "a", "--out", &exact], "").output();
        folder.run(&["convert", &exact, "--out", &then, "--weights", weights], "").output();
        let bytes = |dir: &str| std::fs::read(folder.path(dir).join("model.safetensors")).unwrap();
        assert!(bytes(&at_once) == bytes(&then), "{weights}");
    }
}
