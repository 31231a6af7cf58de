//! `generate`, and the other verbs on a language model.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Folder, reference_models};

fn models() -> Vec<PathBuf> {
    reference_models(&["GPT2LMHeadModel"])
}

fn expected(model: &Path) -> Vec<Value> {
    let bytes = std::fs::read(model.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&bytes).unwrap();
    expected["cases"].as_array().unwrap().clone()
}

/// `generate` with options, a prompt each.
fn generate(model: &Path, options: &[&str], prompts: &[&str]) -> Vec<Value> {
    let command = [&["generate", "--json", model.to_str().unwrap()], options].concat();
    let prompts = prompts.iter().flat_map(|prompt| ["--prompt", prompt]);
    Folder::new().run(&command.into_iter().chain(prompts).collect::<Vec<_>>(), "").objects()
}

#[test]
fn reference_models_go_on_as_transformers_does() {
    for model in models() {
        let cases = expected(&model);
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        for (key, method) in [("greedy", &["--greedy"][..]), ("beam4", &["--beam", "4"])] {
            let found = generate(&model, &[method, &["--max-new-tokens", "10"]].concat(), &texts);
            for (case, found) in cases.iter().zip(&found) {
                assert_eq!(found["ids"], case[key], "{key} of {} in {}", case["text"], model.display());
                assert_eq!((&found["prompt"], &found["finish_reason"]), (&case["text"], &json!("length")));
                assert_eq!(found["logprobs"].as_array().unwrap().len(), 10);
            }
        }
    }
}

#[test]
fn a_seed_decides_and_a_batch_does_not() {
    for model in models() {
        let sample = |prompts: &[&str], seed: &str| -> Vec<String> {
            let options = ["--max-new-tokens", "12", "--seed", seed];
            generate(&model, &options, prompts).iter().map(|found| found["ids"].to_string()).collect()
        };
        let together = sample(&["a cat", "x", "two dogs run"], "1");
        assert_eq!(sample(&["a cat"], "1")[0], together[0]);
        assert_ne!(sample(&["a cat"], "2")[0], together[0]);
    }
}

#[test]
fn what_is_streamed_is_the_text() {
    for model in models() {
        let path = model.to_str().unwrap();
        let options = ["generate", path, "--greedy", "--max-new-tokens", "10", "--prompt", "a cat"];
        let streamed = Folder::new().run(&options, "").output();
        let text = generate(&model, &options[2..5], &["a cat"])[0]["text"].as_str().unwrap().to_owned();
        assert_eq!(streamed, format!("{text}\n"));
        // The text ends before a stop string, wherever that lies.
        let stop = text.chars().skip(3).take(2).collect::<String>();
        let stopped = generate(&model, &[&options[2..5], &["--stop", &stop]].concat(), &["a cat"]).remove(0);
        assert_eq!(stopped["text"].as_str().unwrap(), text.split(&stop).next().unwrap());
        assert_eq!(stopped["finish_reason"], "stop");
    }
}

#[test]
fn a_draft_model_changes_nothing_but_the_speed() {
    for model in models() {
        let greedy = ["--greedy", "--max-new-tokens", "12"];
        let plain = generate(&model, &greedy, &["a cat", "x"]);
        let draft = generate(&model, &[&greedy[..], &["--draft", model.to_str().unwrap()]].concat(), &["a cat", "x"]);
        for (plain, draft) in plain.iter().zip(&draft) {
            assert_eq!(plain["ids"], draft["ids"]);
        }
    }
}

#[test]
fn a_draft_model_of_another_tokenizer_is_refused() {
    let folder = Folder::new();
    folder.overflowing_models();
    for model in models() {
        for draft in ["lm", model.to_str().unwrap()] {
            let target = if draft == "lm" { model.to_str().unwrap() } else { "lm" };
            let message = folder.run(&["generate", target, "--draft", draft, "--prompt", "a cat"], "").refusal();
            assert!(message.contains("speculative decoding needs models with the same tokenizer"), "{message}");
        }
    }
}

#[test]
fn a_text_slides_beyond_the_positions_only_when_told() {
    let folder = Folder::new();
    for model in models() {
        let path = model.to_str().unwrap();
        let long = ["generate", path, "--prompt", "a cat", "--greedy", "--ignore-end", "--max-new-tokens", "100"];
        let message = folder.run(&long, "").refusal();
        assert!(message.contains("100 more are asked for, but the model has positions for 64"), "{message}");
        let slid = folder.run(&[&long[..], &["--slide", "--json"]].concat(), "").objects();
        assert_eq!(slid[0]["ids"].as_array().unwrap().len(), 100);
    }
}

#[test]
fn what_is_not_asked_for_goes_as_far_as_the_positions_whoever_is_beside() {
    let long = "x".repeat(62);
    for model in models() {
        for method in [&["--greedy"][..], &["--beam", "2"], &["--penalty-alpha", "0.5"]] {
            let options = [method, &["--ignore-end"]].concat();
            let lengths = |prompts: &[&str]| -> Vec<usize> {
                let found = generate(&model, &options, prompts);
                found.iter().map(|found| found["ids"].as_array().unwrap().len()).collect()
            };
            let (alone, together) = (lengths(&["x"]), lengths(&["x", &long]));
            // Contrastive search feeds the last token too, to look at its state.
            let last = if method[0] == "--penalty-alpha" { 0 } else { 1 };
            assert_eq!((alone[0], together), (63 + last, vec![63 + last, 2 + last]), "{method:?}");
        }
    }
}

#[test]
fn wrong_prompts_and_settings_are_named() {
    let folder = Folder::new();
    let Some(model) = models().pop() else { return };
    let path = model.to_str().unwrap();
    let long = "x".repeat(65);
    for (arguments, expected) in [
        (&["--prompt", ""][..], "prompt 1: the prompt is empty"),
        (&["--prompt", "x", "--prompt", &long], "prompt 2: the prompt has 65 tokens; the model has positions for 64"),
        (&["--prompt", "x", "--top-p", "0"], "top_p is 0: expected more than 0 and at most 1"),
        (&["--prompt", "x", "--temperature", "-1"], "temperature is -1"),
        (&["--prompt", "x", "--repetition-penalty", "0"], "repetition_penalty is 0"),
        (&["--prompt", "x", "--stop", ""], "stop string 0 (from 0) is empty"),
        (&["--prompt", "x", "--beam", "2", "--stop", "y"], "cannot be used with"),
        (&["--prompt", "x", "--weights", "int4"], "invalid value 'int4'"),
        (&["--prompt", "x", "--draft", "nowhere"], "nowhere: not found"),
        (&["--prompt", "x", "--beam", "1", "--n", "2"], "--n is 2, but the beam holds 1: raise --beam"),
        (&["--prompt", "x", "--n", "100000000"], "100000000 is not in 1..=1024"),
        (&["--prompt", "x", "--beam", "2", "--top-k", "3"], "cannot be used with"),
        (
            &["--prompt", "x", "--max-new-tokens", "18446744073709551615"],
            "ask for at most 64, or let the text slide with --slide",
        ),
        (&["--prompt", "xx", "--max-new-tokens", "64"], "ask for at most 63, or let the text slide with --slide"),
        (
            &["--prompt", "x", "--min-new-tokens", "9", "--max-new-tokens", "5"],
            "at least 9 new tokens and at most 5: see --min-new-tokens",
        ),
        (&["--prompt", "x", "--penalty-alpha", "0.5", "--max-new-tokens", "64"], "ask for at most 63"),
    ] {
        let message = folder.run(&[&["generate", path], arguments].concat(), "").refusal();
        assert!(message.contains(expected), "{message}");
    }
    let message = folder.run(&["translate", path, "x"], "").refusal();
    assert!(message.contains("this is a language model, not a translator"), "{message}");
    folder.model();
    let message = folder.run(&["generate", "m", "--prompt", "x"], "").refusal();
    assert!(message.contains("this model translates; use `atento translate`"), "{message}");
}

/// A copy of a model, named `name`, with these search settings.
fn with_settings(folder: &Folder, model: &Path, name: &str, settings: &Value) -> PathBuf {
    let copy = folder.path(name);
    std::fs::create_dir(&copy).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(model.join(file), copy.join(file)).unwrap();
    }
    std::fs::write(copy.join("generation_config.json"), settings.to_string()).unwrap();
    copy
}

#[test]
fn what_the_command_does_not_say_is_as_the_models_settings_have_it() {
    let folder = Folder::new();
    let Some(model) = models().pop() else { return };
    let limit = ["--max-new-tokens", "12"];
    for (number, (settings, options)) in [
        (json!({"num_beams": 4, "length_penalty": 0.5}), "--beam 4 --length-penalty 0.5 --ignore-end"),
        (json!({"do_sample": false}), "--greedy --ignore-end"),
        (json!({"penalty_alpha": 0.6, "top_k": 4}), "--penalty-alpha 0.6 --top-k 4 --ignore-end"),
        (json!({"do_sample": true, "temperature": 0.7, "top_k": 9}), "--temperature 0.7 --top-k 9 --ignore-end"),
        (json!({"do_sample": false, "repetition_penalty": 3.0}), "--greedy --repetition-penalty 3 --ignore-end"),
        (json!({"do_sample": false, "no_repeat_ngram_size": 1}), "--greedy --no-repeat-ngram 1 --ignore-end"),
        (json!({"do_sample": false, "eos_token_id": 0, "min_new_tokens": 12}), "--greedy --min-new-tokens 12"),
        (json!({"do_sample": false, "eos_token_id": 0, "min_length": 64}), "--greedy --min-new-tokens 12"),
    ]
    .iter()
    .enumerate()
    {
        let copy = with_settings(&folder, &model, &number.to_string(), settings);
        let command = ["generate", copy.to_str().unwrap(), "--json", "--prompt", "a cat"];
        let followed = folder.run(&[&command[..], &limit].concat(), "");
        assert_eq!(followed.stderr, "", "{settings}");
        let options: Vec<&str> = options.split_whitespace().chain(limit).collect();
        let asked = generate(&model, &options, &["a cat"]);
        assert_eq!(followed.objects()[0]["ids"], asked[0]["ids"], "{settings}");
    }
}

#[test]
fn settings_of_the_model_that_are_not_followed_are_told_and_wrong_ones_named() {
    let folder = Folder::new();
    let Some(model) = models().pop() else { return };
    let settings = json!({"do_sample": true, "num_beams": 3, "stop_strings": ["x"], "forced_eos_token_id": 0});
    let copy = with_settings(&folder, &model, "told", &settings);
    let arguments = ["generate", copy.to_str().unwrap(), "--prompt", "a cat", "--max-new-tokens", "3"];
    let notes = folder.run(&arguments, "").stderr;
    let told: Vec<&str> = notes.lines().filter_map(|note| note.split('`').nth(1)).collect();
    assert_eq!(told, ["num_beams", "forced_eos_token_id"], "{notes}");
    let notes = folder.run(&[&arguments[..], &["--beam", "2"]].concat(), "").stderr;
    assert!(notes.contains("`stop_strings` has no effect here"), "{notes}");
    assert_eq!(folder.run(&[&arguments[..], &["--quiet"]].concat(), "").stderr, "");
    for (number, (settings, expected)) in [
        (json!({"eos_token_id": "0"}), "key `eos_token_id` is \"0\", expected a token id"),
        (json!({"num_beams": 5000}), "key `num_beams` is 5000, expected 1 to 1024"),
        (json!({"temperature": -1}), "key `temperature` is -1, expected 0 or more"),
        (json!({"min_length": "4"}), "key `min_length` is \"4\", expected a whole number"),
    ]
    .iter()
    .enumerate()
    {
        let copy = with_settings(&folder, &model, &number.to_string(), settings);
        let message = folder.run(&["generate", copy.to_str().unwrap(), "--prompt", "x"], "").refusal();
        assert!(message.contains(&format!("{number}/generation_config.json: {expected}")), "{message}");
        // What only a search needs stops a search alone.
        let scored = folder.run(&["score", copy.to_str().unwrap(), "a red cat"], "");
        assert_eq!(scored.code, Some(if settings.get("eos_token_id").is_some() { 2 } else { 0 }), "{scored:?}");
    }
}

#[test]
fn one_wrong_line_costs_one_line() {
    let folder = Folder::new();
    let Some(model) = models().pop() else { return };
    let path = model.to_str().unwrap();
    let generate = ["generate", path, "--max-new-tokens", "3", "--seed", "4"];
    let good = folder.run(&generate, "a cat\nx\ny\n").output();
    for (command, fault) in [(&generate[..], "the prompt is empty"), (&["score", path], "the text has no tokens")] {
        let found = folder.run(command, "a cat\nx\n\nx\n");
        assert_eq!((found.code, found.stdout.lines().nth(2), found.stdout.lines().count()), (Some(1), Some(""), 4));
        assert!(found.stderr.contains(&format!("standard input, line 3: {fault}")), "{found:?}");
        let stopped = folder.run(&[command, &["--on-error", "stop"]].concat(), "a cat\nx\n\nx\n");
        let before: String = found.stdout.split_inclusive('\n').take(2).collect();
        assert_eq!((stopped.code, stopped.stdout), (Some(2), before));
    }
    // A bad line changes nothing in the draws of others.
    folder.write("latin1", b"a cat\nf\xfcr\ny\n");
    let found = folder.run(&[&generate[..], &["--input", "latin1"]].concat(), "");
    let lines: Vec<&str> = good.lines().collect();
    assert_eq!((found.code, found.stdout), (Some(1), format!("{}\n\n{}\n", lines[0], lines[2])));
    assert!(found.stderr.contains("latin1, line 2: not valid UTF-8"), "{}", found.stderr);
    // Arguments are there from the beginning, so a wrong one costs no work.
    folder.run(&[&generate[..], &["a cat", ""]].concat(), "").refusal();
    folder.run(&["score", path, "a cat", ""], "").refusal();
}

#[test]
fn a_prompt_without_room_is_cut_at_its_beginning_where_that_is_asked_for() {
    let folder = Folder::new();
    let Some(model) = models().pop() else { return };
    let path = model.to_str().unwrap();
    let long = format!("{}a cat", "x".repeat(80));
    let generate = ["generate", path, "--greedy", "--json", "--on-too-long", "cut", "--max-new-tokens"];
    let ran = folder.run(&[&generate[..], &["8"]].concat(), &format!("{long}\n"));
    assert!(ran.stderr.contains("line 1: the prompt has 8") && ran.stderr.contains("its last 57 are read"), "{ran:?}");
    let found = ran.objects().remove(0);
    // The longest end that fits is read: 57 tokens, and 7 of the new ones are fed again.
    let ends: Vec<&str> = (0..long.len()).map(|at| &long[at..]).collect();
    let encoded = folder.run(&["tokenizer", "encode", path, "--json"], &ends.join("\n")).objects();
    let fits = |ids: &Value| ids["ids"].as_array().unwrap().len() <= 57;
    let kept = ends[encoded.iter().position(fits).unwrap()];
    let expected = folder.run(&[&generate[..], &["8", "--prompt", kept]].concat(), "").objects().remove(0);
    assert_eq!((&found["ids"], &found["prompt"]), (&expected["ids"], &json!(long)));
}

#[cfg(unix)]
#[test]
fn an_interrupted_beam_search_prints_what_it_has_and_exits_as_an_interrupted_program() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let Some(model) = models().pop() else { return };
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["generate", model.to_str().unwrap(), "--json", "--prompt", "a cat", "--beam", "3", "--ignore-end"]);
    command.args(["--slide", "--max-new-tokens", "100000000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let search = command.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(Command::new("kill").args(["-INT", &search.id().to_string()]).status().unwrap().success());
    let ran = crate::support::Ran::from(search.wait_with_output().unwrap());
    let told = "stopping: the text so far is printed; press Ctrl-C again to end at once\n";
    assert_eq!((ran.code, &*ran.stderr), (Some(130), told));
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["finish_reason"], "interrupted");
    assert_eq!(found["logprobs"].as_array().unwrap().len(), found["ids"].as_array().unwrap().len());
}

#[cfg(unix)]
#[test]
fn a_generation_that_leaves_lines_unanswered_exits_with_130() {
    use std::process::{Command, Stdio};

    let Some(model) = models().pop() else { return };
    let folder = Folder::new();
    folder.write("lines", "a cat\n".repeat(20));
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["generate", model.to_str().unwrap(), "--json", "--ignore-end", "--slide"]);
    command.args(["--max-new-tokens", "100000000", "--input"]).arg(folder.path("lines"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = crate::support::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:?}");
    let printed: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!printed.is_empty() && printed.len() < 20, "{printed:?}");
    assert!(printed.iter().all(|one| one["finish_reason"] == "interrupted"), "{printed:?}");
}

#[cfg(unix)]
#[test]
fn one_interrupt_ends_a_generation_that_waits_for_its_next_prompt() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    let Some(model) = models().pop() else { return };
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["generate", model.to_str().unwrap(), "--max-new-tokens", "1", "-q"]);
    let mut waiting = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut prompts = waiting.stdin.take().unwrap();
    prompts.write_all(b"a cat\n").unwrap();
    BufReader::new(waiting.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    // The answer is written before the work counts as done.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
}

#[test]
fn scores_leave_the_first_token_out() {
    let folder = Folder::new();
    for model in models() {
        let found = folder.run(&["score", model.to_str().unwrap(), "--json", "a red cat", "x"], "").objects();
        let logprobs = found[0]["logprobs"].as_array().unwrap();
        assert_eq!((logprobs.len(), &logprobs[0]), (found[0]["ids"].as_array().unwrap().len(), &Value::Null));
        let sum: f64 = logprobs[1..].iter().map(|logprob| logprob.as_f64().unwrap()).sum();
        assert!((found[0]["sum_logprob"].as_f64().unwrap() - sum).abs() < 1e-5);
        let perplexity = found[0]["perplexity"].as_f64().unwrap();
        assert!((perplexity.ln() + sum / (logprobs.len() - 1) as f64).abs() < 1e-6);
        // A single token leaves nothing to predict.
        assert_eq!((&found[1]["perplexity"], &found[1]["logprobs"]), (&Value::Null, &json!([null])));
    }
}

#[test]
fn the_parameters_of_a_language_model_are_listed_and_published_shapes_planned() {
    let folder = Folder::new();
    for model in models() {
        let object = folder.run(&["inspect", model.to_str().unwrap(), "--json"], "").objects().remove(0);
        let names: Vec<&str> =
            object["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect();
        assert_eq!(names[..3], ["wte", "wpe", "h.0"]);
        let tied = &object["modules"][0]["tensors"][0]["tied_to"];
        assert_eq!(tied == &json!(["lm_head.weight"]), !names.contains(&"lm_head"));
        assert_eq!(object["modules"][0]["tensors"][0]["dtype"], "F32");
    }
    for shape in ["bert-base", "roberta-base", "distilbert-base", "electra-small", "deberta-v3-base", "modernbert-base"]
    {
        folder.run(&["inspect", "plan", shape, "--json"], "").objects();
    }
    let plan = folder.run(&["inspect", "plan", "gpt3-175b", "--json"], "").objects().remove(0);
    assert_eq!(plan["total"], 174_604_259_328_u64);
    let message = folder.run(&["inspect", "plan", "gpt5"], "").refusal();
    assert!(message.contains("no published shape has that name; there are gpt2, gpt2-medium"), "{message}");
}

#[test]
fn a_model_that_gives_labels_is_inspected_and_refused_by_the_other_verbs() {
    let folder = Folder::new();
    folder.write("pairs.tsv", "a\tb\n");
    folder.write("r.toml", "task = \"causal-lm\"\n[data]\ntext = \"pairs.tsv\"\n");
    for model in reference_models(&["GPT2ForSequenceClassification"]) {
        let path = model.to_str().unwrap();
        let object = folder.run(&["inspect", path, "--json"], "").objects().remove(0);
        let last = object["modules"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["name"], &last["tensors"][0]["dtype"]), (&json!("score"), &json!("F32")));
        assert_eq!(folder.run(&["inspect", "plan", path, "--json"], "").objects()[0]["total"], object["total"]);
        for verb in [&["generate", path, "--prompt", "x"][..], &["score", path, "x"], &["translate", path, "x"]] {
            let message = folder.run(verb, "").refusal();
            let expected = "this model gives whole texts labels or values; use `atento classify`";
            assert!(message.contains(expected), "{message}");
        }
        let message = folder.run(&["train", "r.toml", "--from", path, "--out", "run"], "").refusal();
        assert!(
            message.contains("a model that goes on with a text: this model gives whole texts labels or values"),
            "{message}"
        );
    }
}

#[test]
fn a_conversation_is_written_in_the_models_chat_template() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("m")).unwrap();
    for file in std::fs::read_dir(crate::support::fixture("gpt2-tiny")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.path("m").join(file.file_name())).unwrap();
    }
    let go_on = |more: &[&str], input: &str| {
        let command = ["generate", "m", "--greedy", "--max-new-tokens", "4", "--json"];
        folder.run(&[&command[..], more].concat(), input)
    };
    let refused = go_on(&["--chat", "--prompt", "a cat"], "").refusal();
    assert!(refused.contains("m: the model has no chat template"), "{refused}");
    let template = "{% for m in messages %}\n{{ m.role[0] }} {{ m.content.strip() }} {% endfor %}\n{{ 'the' }}";
    folder.write("m/chat_template.jinja", template);
    let written = |messages: &[&str], expected: &str| {
        let found = go_on(messages, "").objects().remove(0);
        assert_eq!(found["ids"], go_on(&["--raw", "--prompt", expected], "").objects().remove(0)["ids"], "{expected}");
    };
    written(&["--chat", "--prompt", " a red cat "], "u a red cat the");
    written(&["--chat", "--system", "old", "--prompt", "a cat"], "s old u a cat the");
    let line = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "dog"}]}"#;
    written(&["--chat", "--prompt", line], "u a a dog the");
    let told = go_on(&["--chat"], "{\"messages\": [{\"role\": \"user\"}]}\n").stderr;
    assert!(told.contains("message 1 is no object with \"role\" and \"content\""), "{told}");
    folder.write("m/chat_template.jinja", "{{ raise_exception('speak first') }}");
    let told = go_on(&["--chat", "--prompt", "x"], "").stderr;
    assert!(told.contains("the chat template: speak first"), "{told}");
    // A template that is none is told where it is asked for, and nowhere else.
    std::fs::remove_file(folder.path("m/chat_template.jinja")).unwrap();
    folder.write("m/tokenizer_config.json", r#"{"chat_template": {}}"#);
    let refused = go_on(&["--chat", "--prompt", "x"], "").refusal();
    assert!(refused.contains("key `chat_template` is {}"), "{refused}");
    assert_eq!(go_on(&["--prompt", "x"], "").objects().len(), 1);
}

#[test]
fn several_continuations_of_one_prompt_keep_their_line_ends() {
    let folder = Folder::new();
    folder.write("text.txt", "the cat.\nthe dog.\n\n".repeat(80));
    let recipe = "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\n[tokenizer]\nkind = \"char\"\n[model]\nlayers = 1\n\
                  heads = 2\nd_model = 32\nmax_positions = 16\n[train]\nmax_steps = 60\nbatch_tokens = 128\n\
                  [optimizer]\nlr = 0.01\n";
    folder.write("r.toml", recipe);
    folder.run(&["train", "r.toml", "--out", "run", "--quiet"], "").output();
    let generate = ["generate", "run", "--n", "2", "--max-new-tokens", "12", "--seed", "1"];
    let objects = folder.run(&[&generate[..], &["--prompt", "the", "--json"]].concat(), "").objects();
    let texts: Vec<&str> =
        objects[0]["samples"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.contains('\n')), "{texts:?}");
    let found = folder.run(&[&generate[..], &["--prompt", "the"]].concat(), "").output();
    assert_eq!(found, format!("{}\n---\n{}\n", texts[0], texts[1]));
    // Several prompts have a line for each continuation.
    let found = folder.run(&generate, "the\nthe\n").output();
    assert_eq!(found.lines().count(), 4, "{found}");
    assert_eq!(found.lines().next().unwrap(), texts[0].replace('\n', " "));
}
