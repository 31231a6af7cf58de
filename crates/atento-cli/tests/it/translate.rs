//! `translate`, `eval` and `inspect`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Folder, SENTENCES, reference_models};

#[test]
fn line_n_translates_line_n_and_empty_lines_stay_empty() {
    let folder = Folder::new();
    folder.model();
    let ran = folder.run(&["translate", "m"], "a dog runs\n\n   \ntwo dogs\n");
    assert_eq!(ran.stderr, "note: 2 empty lines have empty translations\n");
    let together = ran.output();
    let lines: Vec<&str> = together.split('\n').collect();
    assert_eq!((lines.len(), lines[1], lines[2], lines[4]), (5, "", "", ""));
    let alone = folder.run(&["translate", "m", "a dog runs"], "").output();
    assert_eq!(alone, format!("{}\n", lines[0]));
    let quiet = folder.run(&["translate", "m", "-q", ""], "");
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("\n", ""));
}

#[test]
fn files_plain_or_gzip_give_what_standard_input_gives() {
    let folder = Folder::new();
    folder.model();
    let text = "a dog runs\nthe cat\n";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    folder.write("plain", text);
    folder.write("zipped", encoder.finish().unwrap());
    let piped = folder.run(&["translate", "m"], text).output();
    for input in ["plain", "zipped"] {
        assert_eq!(folder.run(&["translate", "m", "--input", input], "").output(), piped);
    }
    assert_eq!(folder.run(&["translate", "m", "--input", "-"], text).output(), piped);
}

#[test]
fn json_has_source_and_the_n_best_translations_in_order() {
    let folder = Folder::new();
    folder.model();
    let objects = folder.run(&["--json", "translate", "m", "--beam", "4", "--n-best", "3", "a dog", ""], "").objects();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["source"], "a dog");
    let list = objects[0]["translations"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    let scores: Vec<f64> = list.iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(objects[1]["translations"], json!([{ "text": "", "ids": [], "score": 0.0 }]));
}

#[test]
fn the_longest_translation_is_the_models_unless_told_otherwise() {
    let folder = Folder::new();
    folder.model();
    let count = |min_len: &str, extra: &[&str]| {
        let arguments = [&["translate", "m", "--json", "--beam", "1", "--min-len", min_len, "a dog"], extra].concat();
        folder.run(&arguments, "").objects()[0]["translations"][0]["ids"].as_array().unwrap().len()
    };
    // `max_length` 13 of generation_config.json counts the start token; the model has 32 positions.
    assert_eq!([count("12", &[]), count("5", &["--max-len", "5"]), count("32", &["--max-len", "32"])], [12, 5, 32]);
}

#[test]
fn reference_models_translate_as_transformers_does() {
    let folder = Folder::new();
    for model in reference_models(&["marian", "m2m_100"]) {
        let expected: Value = serde_json::from_slice(&std::fs::read(model.join("expected.json")).unwrap()).unwrap();
        let cases = expected["cases"].as_array().unwrap();
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        for beam in ["1", "4"] {
            let options = ["translate", "--json", "--beam", beam, "--max-len", "12", model.to_str().unwrap()];
            let found = folder.run(&[&options[..], &texts].concat(), "").objects();
            for (case, found) in cases.iter().zip(&found) {
                let best = &found["translations"][0];
                // The reference's ids begin with the start token.
                let ids = &case[format!("beam{beam}")].as_array().unwrap()[1..];
                assert_eq!(best["ids"].as_array().unwrap(), ids, "{} of {}", case["text"], model.display());
                assert_eq!(best["text"], case[format!("beam{beam}_text")]);
            }
        }
    }
}

#[test]
fn eval_measures_loss_and_scores_from_any_kind_of_file() {
    let folder = Folder::new();
    folder.model();
    let lines = |of: fn(&(&str, &str)) -> String| SENTENCES.iter().map(of).collect::<String>();
    folder.write("en", lines(|(source, _)| format!("{source}\n")));
    folder.write("de", lines(|(_, target)| format!("{target}\n")));
    folder.write("pairs.tsv", lines(|(source, target)| format!("{source}\t{target}\n")));
    folder.write("pairs.jsonl", lines(|(source, target)| format!("{}\n", json!({ "en": source, "de": target }))));
    let run = |data: &[&str]| folder.run(&[&["eval", "m", "--json"], data].concat(), "").objects().remove(0);
    let files = run(&["--source", "en", "--target", "de", "--save-hypotheses", "out"]);
    assert_eq!(run(&["--data", "pairs.tsv"]), files);
    assert_eq!(run(&["--data", "pairs.jsonl", "--source-key", "en", "--target-key", "de"]), files);
    let number = |key: &str| files[key].as_f64().unwrap();
    assert!((number("loss").exp() - number("perplexity")).abs() < 1e-9);
    assert!(number("bleu") >= 0.0 && number("chrf") >= 0.0);
    assert_eq!(
        (&files["sentences"], &files["signature"]),
        (&json!(4), &json!("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"))
    );
    let translated = folder.run(&["translate", "m", "--input", "en"], "").output();
    assert_eq!(std::fs::read_to_string(folder.path("out")).unwrap(), translated);
    let text = folder.run(&["eval", "m", "--data", "pairs.tsv"], "").output();
    assert!(text.contains("perplexity") && text.contains("BLEU") && text.contains("chrF"), "{text}");
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    folder.model();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["tokenizer", "encode"]).arg(folder.path("m"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    // The program may be gone before it has read everything.
    let _ = child.stdin.take().unwrap().write_all("a dog\n".repeat(10_000).as_bytes());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}
