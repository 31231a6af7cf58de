//! `eval` on a language model.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::support::{Folder, reference_models};

const TEXT: &str = "a red cat runs.\ntwo dogs run, and a cat sees them.\n\nthe dog sleeps.\n";

fn models() -> Vec<PathBuf> {
    reference_models(&["GPT2LMHeadModel"])
}

fn eval(folder: &Folder, model: &Path, data: &str, options: &[&str]) -> Value {
    let command = ["eval", model.to_str().unwrap(), "--json", "--data", data];
    folder.run(&[&command[..], options].concat(), "").objects().remove(0)
}

/// The tokens that `score` gives a text, and its log-probability.
fn score(folder: &Folder, model: &Path, text: &str) -> (Vec<u64>, f64) {
    let found = folder.run(&["score", model.to_str().unwrap(), "--json", text], "").objects().remove(0);
    let ids = found["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
    (ids, found["sum_logprob"].as_f64().unwrap())
}

fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-5 * expected.abs(), "{found} {expected}");
}

#[test]
fn a_text_within_a_window_has_the_mean_of_its_scores() {
    let folder = Folder::new();
    folder.write("a.txt", "a red cat");
    for model in models() {
        let (ids, sum) = score(&folder, &model, "a red cat");
        let found = eval(&folder, &model, "a.txt", &[]);
        assert_eq!((&found["tokens"], &found["bytes"]), (&json!(ids.len() - 1), &json!(9)));
        assert_near(&found["loss"], -sum / (ids.len() - 1) as f64);
        assert_near(&found["perplexity"], found["loss"].as_f64().unwrap().exp());
        assert_near(&found["bits_per_byte"], -sum / 2f64.ln() / 9.0);
        // After the start token, the first token of the text counts too.
        let (_, begun) = score(&folder, &model, "<|endoftext|>a red cat");
        let found = eval(&folder, &model, "a.txt", &["--start-token"]);
        assert_eq!(found["tokens"], ids.len());
        assert_near(&found["loss"], -begun / ids.len() as f64);
        let text = folder.run(&["eval", model.to_str().unwrap(), "--data", "a.txt"], "").output();
        assert!(text.contains("(windows of 64, stride 32)"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }
}

#[test]
fn the_same_text_has_the_same_perplexity_from_any_kind_of_file() {
    let folder = Folder::new();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(TEXT.as_bytes()).unwrap();
    folder.write("a.txt.gz", gzip.finish().unwrap());
    folder.write("a.jsonl", json!({ "body": TEXT }).to_string());
    std::fs::create_dir(folder.path("d")).unwrap();
    for path in ["a.txt", "d/a.txt"] {
        folder.write(path, TEXT);
    }
    for model in models() {
        let plain = eval(&folder, &model, "a.txt", &["--block-size", "16"]);
        let (ids, _) = score(&folder, &model, &TEXT[..16]);
        assert!(plain["tokens"].as_u64().unwrap() as usize > ids.len());
        for (data, options) in [("a.txt.gz", &[][..]), ("a.jsonl", &["--text-key", "body"]), ("d", &[])] {
            assert_eq!(eval(&folder, &model, data, &[&["--block-size", "16"], options].concat()), plain, "{data}");
        }
        for threads in ["1", "3"] {
            assert_eq!(eval(&folder, &model, "a.txt", &["--block-size", "16", "--threads", threads]), plain);
        }
        // Whatever the stride, every token after the first counts once.
        for stride in ["1", "7", "16"] {
            let found = eval(&folder, &model, "a.txt", &["--block-size", "16", "--stride", stride]);
            assert_eq!((&found["tokens"], &found["bytes"]), (&plain["tokens"], &plain["bytes"]));
        }
        let rounded = eval(&folder, &model, "a.txt", &["--weights", "int8"])["loss"].as_f64().unwrap();
        let loss = eval(&folder, &model, "a.txt", &[])["loss"].as_f64().unwrap();
        assert!(rounded != loss && (rounded - loss).abs() < 0.05, "{rounded} {loss}");
    }
}

#[test]
fn a_bad_json_object_costs_itself_alone() {
    let folder = Folder::new();
    let object = |text: &str| json!({ "text": text }).to_string();
    folder.write("good.jsonl", [object("a red cat runs"), object("a dog")].join("\n"));
    folder.write("bad.jsonl", [&object("a red cat runs"), "{", "{\"txt\": \"x\"}", &object("a dog")].join("\n"));
    for model in models() {
        let good = eval(&folder, &model, "good.jsonl", &[]);
        let command = ["eval", model.to_str().unwrap(), "--json", "--data", "bad.jsonl"];
        let ran = folder.run(&command, "");
        assert_eq!(ran.object_past_bad_lines(), good);
        let told =
            ran.stderr.contains("bad.jsonl, line 2: ") && ran.stderr.contains("line 3: no value at key \"text\"");
        assert!(told && ran.stderr.contains("2 lines could not be used"), "{ran:?}");
        let message = folder.run(&[&command[..], &["--on-error", "stop"]].concat(), "").refusal();
        assert!(message.contains("bad.jsonl, line 2: "), "{message}");
    }
}

#[test]
fn token_files_are_measured_without_their_text() {
    let folder = Folder::new();
    folder.write("a.txt", TEXT);
    std::fs::create_dir(folder.path("tokens")).unwrap();
    for model in models() {
        let path = model.to_str().unwrap();
        let encoded = folder.run(&["tokenizer", "encode", path, "--json", "a red cat runs"], "").objects().remove(0);
        let ids = encoded["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u16);
        let bytes: Vec<u8> = ids.flat_map(u16::to_le_bytes).collect();
        folder.write("tokens/val.bin", &bytes);
        folder.write("b.txt", "a red cat runs");
        let text = eval(&folder, &model, "b.txt", &[]);
        for data in ["tokens", "tokens/val.bin"] {
            let found = eval(&folder, &model, data, &[]);
            assert_eq!((&found["loss"], &found["tokens"]), (&text["loss"], &text["tokens"]));
            assert_eq!((&found["bits_per_byte"], &found["bytes"]), (&Value::Null, &Value::Null));
        }
        folder.write("wide.bin", [1, 0, 0xff, 0xff]);
        let message = folder.run(&["eval", path, "--data", "wide.bin"], "").refusal();
        assert!(message.contains("wide.bin: token 1 has id 65535, the vocabulary has ids below "), "{message}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = Folder::new();
    folder.model();
    folder.write("a.txt", TEXT);
    folder.write("empty", "");
    folder.write("x", "x");
    folder.write("pairs.tsv", "a dog\tein Hund\n");
    std::fs::create_dir(folder.path("tokens")).unwrap();
    folder.write("tokens/train.bin", [1, 0, 2, 0]);
    let refuse = |model: &str, arguments: &[&str]| folder.run(&[&["eval", model], arguments].concat(), "").refusal();
    for model in models() {
        let path = model.to_str().unwrap();
        for (arguments, expected) in [
            (
                &["--data", "a.txt", "--stride", "0"][..],
                "--stride is 0, expected 1 to 64: a longer stride than the window would leave tokens unscored",
            ),
            (&["--data", "a.txt", "--stride", "65"], "--stride is 65, expected 1 to 64"),
            (&["--data", "a.txt", "--block-size", "8", "--stride", "9"], "--stride is 9, expected 1 to 8"),
            (&["--data", "a.txt", "--block-size", "65"], "--block-size is 65, but the model has positions for 64"),
            (&["--data", "a.txt", "--block-size", "1"], "--block-size is 1: a window that scores needs 2 tokens"),
            (&["--data", "empty"], "empty: there are no tokens in it"),
            (&["--data", "x"], "x: a single token leaves nothing to predict"),
            (&["--data", "nowhere"], "nowhere: cannot open"),
            (&["--data", "tokens"], "no val.bin in it; name the file, such as tokens/train.bin"),
            (
                &["--data", "a.txt", "--beam", "4"],
                "--beam is for a model that translates, and this is a language model",
            ),
            (&["--source", "a.txt", "--target", "a.txt"], "--source is for a model that translates"),
            (&["--data", "a.txt", "--weights", "int4"], "invalid value 'int4'"),
            (&[], "name the text with --data"),
        ] {
            let message = refuse(path, arguments);
            assert!(message.contains(expected), "{message}");
        }
    }
    for option in [&["--stride", "4"][..], &["--start-token"], &["--text-key", "text"]] {
        let message = refuse("m", &[&["--data", "pairs.tsv"], option].concat());
        let expected = format!("{} is for a language model, and this model translates: m", option[0]);
        assert!(message.contains(&expected), "{message}");
    }
}
