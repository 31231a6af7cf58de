//! Verbs for models with heads: labels, tags, answers, choices, masked words.

use atento::hub::safetensors::{NamedTensor, SafeTensors, write};
use serde_json::{Value, json};

use crate::support::{Folder, fixture};

/// A model of the library's fixtures, as an argument.
fn model(name: &str) -> String {
    fixture(name).display().to_string()
}

fn recorded(name: &str, file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name).join(file)).unwrap()).unwrap()
}

/// A recorded tensor.
fn tensor(name: &str, file: &str, key: &str) -> Vec<f64> {
    let file = SafeTensors::open(&fixture(name).join(file)).unwrap();
    let values = file.read_f32(key, file.get(key).unwrap().shape).unwrap();
    values.into_iter().map(f64::from).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], most: f64) {
    assert_eq!(found.len(), expected.len());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(difference <= most, "{difference}: {found:?} {expected:?}");
}

/// A copy of a fixture as `name` in the folder, in which a tensor is changed.
fn changed(folder: &Folder, from: &str, name: &str, tensor: &str, change: impl Fn(&mut [f32])) {
    std::fs::create_dir(folder.path(name)).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture(from).join(file), folder.path(name).join(file)).unwrap();
    }
    let file = SafeTensors::open(&fixture(from).join("model.safetensors")).unwrap();
    let tensors: Vec<NamedTensor<'_>> = file
        .names()
        .map(|key| {
            let shape = file.get(key).unwrap().shape.to_vec();
            let mut values = file.read_f32(key, &shape).unwrap();
            if key == tensor {
                change(&mut values);
            }
            NamedTensor::new(key.to_owned(), shape, values)
        })
        .collect();
    assert!(tensors.iter().any(|found| found.name == tensor));
    write(&folder.path(name).join("model.safetensors"), &tensors, &[]).unwrap();
}

const LABELLERS: [&str; 5] =
    ["bert-labels", "roberta-labels", "distilbert-labels", "electra-labels", "modernbert-labels"];

#[test]
fn classify_gives_texts_and_pairs_the_labels_of_the_reference() {
    let folder = Folder::new();
    for name in LABELLERS {
        let texts = recorded(name, "expected.json")["cases"].clone();
        let pairs = recorded(name, "expected_pairs.json")["cases"].clone();
        let texts = texts.as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap().to_owned());
        let side = |case: &Value, key: &str| case[key].as_str().unwrap().to_owned();
        let pairs = pairs.as_array().unwrap().iter().map(|case| side(case, "a") + "\t" + &side(case, "b"));
        let lines: Vec<String> = texts.chain(pairs).collect();
        let input = lines.join("\n") + "\n";
        let together = folder.run(&["classify", &model(name), "--json", "--quiet"], &input).objects();
        let plain = folder.run(&["classify", &model(name), "--quiet"], &input).output();
        assert_eq!((together.len(), plain.lines().count()), (6, 6));
        for (i, (object, plain)) in together.iter().zip(plain.lines()).enumerate() {
            let (file, i) = if i < 3 { ("expected.safetensors", i) } else { ("expected_pairs.safetensors", i - 3) };
            let expected = tensor(name, file, &format!("{i}.logits"));
            assert_close(&numbers(&object["logits"]), &expected, 1e-4);
            let best = (1..3).fold(0, |best, at| if expected[at] > expected[best] { at } else { best });
            let label = ["red", "green", "blue"][best];
            assert_eq!(object["label"], label);
            let sum: f64 = expected.iter().map(|x| (x - expected[best]).exp()).sum();
            assert!((object["scores"][label].as_f64().unwrap() - 1.0 / sum).abs() < 1e-4);
            assert_eq!(plain, format!("{label}\t{:.4}", object["scores"][label].as_f64().unwrap()));
        }
        // A text by itself gives the same numbers.
        for (line, beside) in lines.iter().zip(&together) {
            let alone = folder.run(&["classify", &model(name), "--json", "--quiet", line], "").objects().remove(0);
            assert_eq!((&alone["text"], &alone["label"]), (&json!(line), &beside["label"]));
            assert_close(&numbers(&alone["logits"]), &numbers(&beside["logits"]), 1e-5);
        }
    }
}

#[test]
fn many_labels_and_values_are_printed_as_what_they_are() {
    let folder = Folder::new();
    for (name, problem) in [("many", "multi_label_classification"), ("values", "regression")] {
        changed(&folder, "bert-labels", name, "classifier.bias", |bias| bias.copy_from_slice(&[40.0, -40.0, 40.0]));
        let mut config = recorded("bert-labels", "config.json");
        config["problem_type"] = json!(problem);
        folder.write(&format!("{name}/config.json"), config.to_string());
    }
    assert_eq!(folder.run(&["classify", "many", "x"], "").output(), "red\t1.0000\tblue\t1.0000\n");
    let object = folder.run(&["classify", "many", "x", "--json"], "").objects().remove(0);
    assert_eq!((&object["labels"], object.get("label")), (&json!(["red", "blue"]), None));
    let object = folder.run(&["classify", "values", "x", "--json"], "").objects().remove(0);
    assert_eq!((object.get("scores"), object.get("label")), (None, None));
    let logits = numbers(&object["logits"]);
    assert_eq!((&object["values"]["red"], &object["values"]["green"]), (&object["logits"][0], &object["logits"][1]));
    let printed: Vec<String> = logits.iter().map(|x| format!("{x:.4}")).collect();
    assert_eq!(folder.run(&["classify", "values", "x"], "").output(), printed.join("\t") + "\n");
}

#[test]
fn tags_are_those_of_the_reference_and_lie_in_the_text() {
    let folder = Folder::new();
    for name in ["bert-tags", "gpt2-tags", "llama-tags"] {
        let cases = recorded(name, "expected.json")["cases"].clone();
        let cases = cases.as_array().unwrap();
        let input: String = cases.iter().map(|case| format!("{}\n", case["text"].as_str().unwrap())).collect();
        let found = folder.run(&["tag", &model(name), "--json", "--quiet"], &input).objects();
        let plain = folder.run(&["tag", &model(name), "--quiet"], &input).output();
        assert_eq!((found.len(), plain.lines().count()), (cases.len(), cases.len()));
        let mut entities = 0;
        for (i, ((case, object), plain)) in cases.iter().zip(&found).zip(plain.lines()).enumerate() {
            let tokens = object["tokens"].as_array().unwrap();
            let ids: Vec<&Value> = tokens.iter().map(|token| &token["id"]).collect();
            assert_eq!(json!(ids), case["input_ids"], "{name}");
            let logits: Vec<f64> = tokens.iter().flat_map(|token| numbers(&token["logits"])).collect();
            assert_close(&logits, &tensor(name, "expected.safetensors", &format!("{i}.logits")), 1e-4);
            let text: Vec<char> = case["text"].as_str().unwrap().chars().collect();
            let mut line = Vec::new();
            for entity in object["entities"].as_array().unwrap() {
                let at = |key: &str| entity[key].as_u64().unwrap() as usize;
                let part: String = text[at("start")..at("end")].iter().collect();
                assert_eq!((entity["text"].as_str(), part.is_empty()), (Some(part.as_str()), false), "{name}");
                assert!(["WHO", "WHAT"].contains(&entity["label"].as_str().unwrap()), "{entity}");
                assert!((0.0..=1.0).contains(&entity["score"].as_f64().unwrap()));
                line.push(format!("{part}\t{}", entity["label"].as_str().unwrap()));
                entities += 1;
            }
            assert_eq!(plain, line.join("\t"));
        }
        assert!(entities > 0, "{name}");
    }
}

#[test]
fn answers_have_the_logits_of_the_reference_and_lie_in_the_context() {
    let folder = Folder::new();
    for name in ["bert-span", "modernbert-span", "llama-span"] {
        let cases = recorded(name, "expected_pairs.json")["cases"].clone();
        for (i, case) in cases.as_array().unwrap().iter().enumerate() {
            let (question, context) = (case["a"].as_str().unwrap(), case["b"].as_str().unwrap());
            let line = format!("{question}\t{context}");
            let run = |more: &[&str]| folder.run(&[&["answer", &model(name), &line, "--quiet"], more].concat(), "");
            let object = run(&["--json", "--logits"]).objects().remove(0);
            assert_eq!(object["input_ids"], case["input_ids"]);
            for key in ["start_logits", "end_logits"] {
                let expected = tensor(name, "expected_pairs.safetensors", &format!("{i}.{key}"));
                assert_close(&numbers(&object[key]), &expected, 1e-4);
            }
            let at = |key: &str| object[key].as_u64().unwrap() as usize;
            let part: String = context.chars().skip(at("start")).take(at("end") - at("start")).collect();
            assert_eq!((&object["answer"], part.is_empty()), (&json!(part), false));
            assert_eq!(run(&[]).output(), format!("{part}\t{:.4}\n", object["score"].as_f64().unwrap()));
            let one = run(&["--json", "--max-answer-len", "1", "--logits"]).objects().remove(0);
            assert!(one["end"].as_u64().unwrap() > one["start"].as_u64().unwrap());
            let none = run(&["--json", "--null-threshold", "-1000"]).objects().remove(0);
            assert_eq!((&none["answer"], &none["start"]), (&json!(""), &none["end"]));
        }
    }
}

#[test]
fn a_long_context_is_read_in_windows() {
    let folder = Folder::new();
    let context = "Two dogs run. The red cat sees a dog. ".repeat(4);
    let line = format!("Who runs?\t{context}");
    let run =
        |more: &[&str]| folder.run(&[&["answer", &model("bert-span"), "--json", "--logits", &line], more].concat(), "");
    let object = run(&[]).objects().remove(0);
    let windows = object["windows"].as_array().unwrap();
    assert!(windows.len() > 1, "{object}");
    for window in windows {
        let tokens = window["input_ids"].as_array().unwrap().len();
        assert!(tokens <= 32 && tokens == window["start_logits"].as_array().unwrap().len(), "{window}");
    }
    let (start, end) = (object["start"].as_u64().unwrap() as usize, object["end"].as_u64().unwrap() as usize);
    assert_eq!(object["answer"], json!(context[start..end]));
    assert!(
        run(&["--max-len", "16", "--stride", "4"]).objects()[0]["windows"].as_array().unwrap().len() > windows.len()
    );
    let message = run(&["--max-len", "6"]).refusal();
    assert!(message.contains("question"), "{message}");
}

#[test]
fn choices_are_those_of_the_reference() {
    let folder = Folder::new();
    for name in ["bert-choice", "modernbert-choice"] {
        let expected = recorded(name, "expected.json");
        let choices: Vec<&str> = expected["choices"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
        let line = format!("{}\t{}", expected["prompt"].as_str().unwrap(), choices.join("\t"));
        let input = format!("{line}\nx\tTwo dogs\tA dog\n");
        let found = folder.run(&["choose", &model(name), "--json"], &input).objects();
        let logits = numbers(&expected["logits"]);
        assert_close(&numbers(&found[0]["logits"]), &logits, 1e-4);
        let best = (1..3).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        assert_eq!((&found[0]["choice"], found[1]["logits"].as_array().unwrap().len()), (&json!(best), 2));
        let scores = numbers(&found[0]["scores"]);
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        let alone = folder.run(&["choose", &model(name), &line], "").output();
        assert_eq!(alone, format!("{best}\t{}\t{:.4}\n", choices[best], scores[best]));
    }
}

#[test]
fn masked_words_are_those_of_the_reference() {
    let folder = Folder::new();
    for name in ["bert-words", "roberta-words", "xlm-roberta-words", "electra-words", "modernbert-words"] {
        let cases = recorded(name, "expected.json")["cases"].clone();
        let cases: Vec<&Value> = cases.as_array().unwrap().iter().filter(|case| case.get("masks").is_some()).collect();
        let input: String = cases.iter().map(|case| format!("{}\n", case["text"].as_str().unwrap())).collect();
        let found = folder.run(&["fill-mask", &model(name), "--json", "--top-k", "3"], &input).objects();
        let plain = folder.run(&["fill-mask", &model(name), "--top-k", "1"], &input).output();
        assert_eq!((found.len(), cases.len()), (2, 2));
        for ((case, object), plain) in cases.iter().zip(&found).zip(plain.lines()) {
            let (masks, expected) = (object["masks"].as_array().unwrap(), case["masks"].as_array().unwrap());
            assert_eq!(masks.len(), expected.len(), "{name}");
            assert_eq!(plain.split(" | ").count(), expected.len(), "{plain}");
            for (words, expected) in masks.iter().zip(expected) {
                let (words, expected) = (words.as_array().unwrap(), expected.as_array().unwrap());
                assert_eq!(words.len(), 3);
                for (word, expected) in words.iter().zip(expected) {
                    assert_eq!((&word["id"], &word["token"]), (&expected["id"], &expected["token"]), "{name}");
                    assert!((word["prob"].as_f64().unwrap() - expected["prob"].as_f64().unwrap()).abs() < 1e-5);
                }
            }
        }
    }
    // The model of pre-training finds words too.
    let text = "The [MASK] cat";
    let object = folder.run(&["fill-mask", &model("bert"), text, "--json"], "").objects().remove(0);
    assert_eq!(object["masks"][0].as_array().unwrap().len(), 5);
}

#[test]
fn int8_models_with_heads_answer_nearly_as_the_models_they_are_made_of() {
    let folder = Folder::new();
    for (verb, name, text, key) in [
        ("classify", "bert-labels", "Two dogs run.", "/logits"),
        ("tag", "llama-tags", "Two dogs run.", "/tokens/0/logits"),
        ("answer", "bert-span", "x\tTwo dogs run.", "/start_logits"),
        ("choose", "bert-choice", "x\tTwo dogs\tA dog", "/logits"),
        ("classify", "electra-labels", "Two dogs run.", "/logits"),
    ] {
        let out = format!("{verb}-{name}");
        folder.run(&["convert", &model(name), "--weights", "int8", "--out", &out], "").output();
        let more: &[&str] = if verb == "answer" { &["--logits"] } else { &[] };
        let ask =
            |path: &str| folder.run(&[&[verb, path, text, "--json", "--quiet"], more].concat(), "").objects().remove(0);
        let (exact, rounded) = (ask(&model(name)), ask(&out));
        let (exact, rounded) = (numbers(exact.pointer(key).unwrap()), numbers(rounded.pointer(key).unwrap()));
        assert_close(&rounded, &exact, 0.3);
        assert_ne!(rounded, exact, "{out}");
    }
}

#[test]
fn a_model_without_the_head_is_refused_and_told_apart() {
    let folder = Folder::new();
    let verbs = [
        (
            "classify",
            "bert-tags",
            "gives each token a label; `atento classify` needs one that gives whole texts labels",
        ),
        ("tag", "bert-labels", "gives whole texts labels or values; `atento tag` needs one that gives each token"),
        ("answer", "bert-choice", "chooses one of several texts; `atento answer` needs one that finds an answer"),
        ("choose", "bert-words", "finds masked words; `atento choose` needs one that chooses one of several texts"),
        (
            "fill-mask",
            "bert-legacy",
            "gives states and nothing more; `atento fill-mask` needs one that finds masked words",
        ),
        ("fill-mask", "llama-tags", "gives each token a label; `atento fill-mask` needs one that finds masked words"),
        ("classify", "marian-tiny", "translates; `atento classify` needs one that gives whole texts labels"),
    ];
    for (verb, name, expected) in verbs {
        let message = folder.run(&[verb, &model(name), "x"], "").refusal();
        assert!(message.contains(expected), "{message}");
        // Advice is given where a model of the family could have the head.
        let can_have = !(verb == "fill-mask" && name == "llama-tags") && name != "marian-tiny";
        assert_eq!(message.contains("train one from it with `atento train --from`"), can_have, "{message}");
    }
}

#[test]
fn a_text_without_the_right_mask_is_refused() {
    let folder = Folder::new();
    for (name, text, expected) in [
        ("bert-words", "The red cat", "the text has no [MASK] in place of a word"),
        ("bert-words", "The <mask> cat", "the text has no [MASK], but <mask>: this model's mask is [MASK]"),
        ("roberta-words", "The [MASK] cat", "the text has no <mask>, but [MASK]: this model's mask is <mask>"),
    ] {
        let message = folder.run(&["fill-mask", &model(name), text], "").refusal();
        assert!(message.contains(expected), "{message}");
    }
    let ran = folder.run(&["fill-mask", &model("bert-words"), "--json"], "The cat\nThe [MASK] cat\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["text"], "The cat");
    assert!(lines[0]["error"].as_str().unwrap().contains("has no [MASK]"), "{lines:?}");
    assert_eq!(lines[1]["masks"].as_array().unwrap().len(), 1);
}

#[test]
fn texts_that_are_too_long_are_skipped_or_cut() {
    let folder = Folder::new();
    let long = "dog ".repeat(40);
    let pair = format!("{long}\tcat");
    for (verb, name, text) in [
        ("classify", "bert-labels", &long),
        ("classify", "roberta-labels", &pair),
        ("tag", "gpt2-tags", &long),
        ("tag", "bert-tags", &long),
        ("embed", "bert-legacy", &long),
    ] {
        let input = format!("{text}\nx\n");
        let ran = folder.run(&[verb, &model(name), "--json"], &input);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let objects: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let error = objects[0]["error"].as_str().unwrap();
        let limit = if name == "roberta-labels" { 30 } else { 32 };
        assert!(error.contains("tokens; the model has positions for") && error.contains("--on-too-long"), "{error}");
        assert!(error.contains(&format!("positions for {limit}")), "{error}");
        assert!(objects[1].get("error").is_none(), "{ran:?}");
        let cut = folder.run(&[verb, &model(name), "--json", "--on-too-long", "cut"], &input);
        assert!(cut.stderr.contains(&format!("cut to {limit}")), "{cut:?}");
        let first = cut.objects().remove(0);
        assert!(first.get("error").is_none(), "{first}");
    }
}

#[test]
fn lines_that_cannot_be_used_cost_one_line_each() {
    let folder = Folder::new();
    for (verb, name, bad, expected) in [
        ("classify", "bert-labels", "", "the text is empty"),
        ("classify", "bert-labels", "a\tb\tc", "there are 2 tabs; expected a text, or two with one tab between them"),
        ("tag", "bert-tags", "  ", "the text is empty"),
        ("answer", "bert-span", "no tab", "there is no tab; expected question TAB context"),
        ("answer", "bert-span", "\tTwo dogs run.", "the question is empty"),
        ("answer", "bert-span", "Who runs?\t ", "the context is empty"),
        ("choose", "bert-choice", "x\tone", "there is one choice; expected prompt TAB choice TAB choice…"),
        ("choose", "bert-choice", "x\tone\t\ttwo", "choice 1 is empty"),
        ("embed", "bert-legacy", "", "the text is empty"),
    ] {
        let good = match verb {
            "answer" => "Who?\tA dog",
            "choose" => "x\tone\ttwo",
            _ => "A dog",
        };
        let input = format!("{good}\n{bad}\n{good}\n");
        let ran = folder.run(&[verb, &model(name)], &input);
        assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 3), "{verb}: {ran:?}");
        assert!(ran.stderr.contains(&format!("line 2: {expected}")), "{verb}: {}", ran.stderr);
        let message = folder.run(&[verb, &model(name), "--on-error", "stop"], &format!("{bad}\n")).refusal();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_told() {
    let folder = Folder::new();
    changed(&folder, "bert-labels", "nan", "classifier.weight", |values| values[3] = f32::NAN);
    let message = folder.run(&["classify", "nan", "x"], "").refusal();
    assert!(message.contains("tensor `classifier.weight` holds NaN at element 3"), "{message}");
    // Weights that are numbers, and too large.
    for (verb, from, tensor, text) in [
        ("classify", "bert-labels", "classifier.weight", "Two dogs run."),
        ("tag", "bert-tags", "classifier.weight", "Two dogs run."),
        ("answer", "bert-span", "qa_outputs.weight", "x\tTwo dogs run."),
        ("choose", "bert-choice", "classifier.weight", "x\tTwo\tdogs"),
        ("fill-mask", "bert-words", "bert.embeddings.word_embeddings.weight", "Two [MASK] run."),
        ("embed", "llama-span", "transformer.norm.weight", "Two dogs run."),
    ] {
        changed(&folder, from, verb, tensor, |values| values.fill(f32::MAX));
        let ran = folder.run(&[verb, verb, text], "");
        assert_eq!(ran.code, Some(1), "{verb}: {ran:?}");
        assert!(ran.stderr.contains("no numbers (NaN or infinities): its weights are damaged"), "{verb}: {ran:?}");
    }
}
