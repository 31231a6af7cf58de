//! One bad line costs one line, and what is there is answered.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Folder, reference_models};

/// More tokens than the 32 positions of the test's model.
fn long() -> String {
    "dog. ".repeat(40)
}

#[test]
fn a_bad_line_costs_one_line_wherever_it_is() {
    let folder = Folder::new();
    folder.model();
    let good = folder.run(&["translate", "m"], "a dog\n").output();
    for (bad, all) in [(vec![1], 3), (vec![2], 3), (vec![3], 3), (vec![1], 1), (vec![1, 2, 3], 3)] {
        let line = |number| if bad.contains(&number) { long() } else { "a dog".to_owned() };
        let text: String = (1..=all).map(|number| line(number) + "\n").collect();
        let ran = folder.run(&["translate", "m", "-q"], &text);
        let expected: String = (1..=all).map(|n| if bad.contains(&n) { "\n" } else { &good }).collect();
        assert_eq!((ran.code, &ran.stdout), (Some(1), &expected), "{bad:?}: {ran:?}");
        let told: Vec<&str> = ran.stderr.lines().collect();
        for (number, message) in bad.iter().zip(&told) {
            assert!(
                message.starts_with(&format!("error: standard input, line {number}: the sentence has ")),
                "{ran:?}"
            );
        }
        let count = format!("error: {} of {all} lines could not be used; each is named above", bad.len());
        assert_eq!(told[bad.len()..], [count]);
    }
}

#[test]
fn many_bad_lines_are_counted_and_the_first_ten_told() {
    let folder = Folder::new();
    folder.model();
    folder.write("lines", "no tab\n".repeat(25) + "a dog\tein Hund\n");
    for verb in [&["score", "m", "--input", "lines"][..], &["eval", "m", "--data", "lines"]] {
        let ran = folder.run(verb, "");
        let told: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!((ran.code, told.len()), (Some(1), 12), "{ran:?}");
        assert!(told[9].contains("lines, line 10: "), "{ran:?}");
        assert_eq!(told[10], "… more of the same kind are counted, not shown");
        assert!(told[11].starts_with("error: 25 of 26 "), "{ran:?}");
        assert!(told[11].ends_with(" could not be used; the first 10 are named above"), "{ran:?}");
    }
}

#[test]
fn a_missing_key_is_told_with_the_option_that_names_it() {
    let folder = Folder::new();
    folder.model();
    folder.write("pairs.jsonl", "{\"source\": \"a\", \"en\": \"b\"}\n{\"source\": \"a\", \"target\": \"b\"}\n");
    let told = |model: &str, data: &str, more: &[&str], expected: &str| {
        let ran = folder.run(&[&["eval", model, "--data", data], more].concat(), "");
        assert!(ran.code != Some(0) && ran.stderr.contains(expected), "{expected}: {ran:?}");
    };
    told("m", "pairs.jsonl", &[], "; --target-key names another key\n");
    told("m", "pairs.jsonl", &["--source-key", "de"], "; --source-key names another key\n");
    folder.write("texts.jsonl", "{\"txt\": \"a\"}\n{\"text\": \"a cat\"}\n");
    folder.write(
        "asked.jsonl",
        "{\"question\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n",
    );
    for model in reference_models(&["GPT2LMHeadModel"]) {
        let model = model.to_str().unwrap();
        for stop in [&[][..], &["--on-error", "stop"]] {
            told(model, "texts.jsonl", stop, "(did you mean \"txt\"?); --text-key names another key\n");
            told(model, "asked.jsonl", stop, "; --prompt-key names another key\n");
        }
    }
}

#[test]
fn a_bad_line_is_an_object_with_its_text_and_the_error() {
    let folder = Folder::new();
    folder.model();
    let objects = |verb: &[&str], bad: &str| -> Vec<Value> {
        let ran = folder.run(&[verb, &["--json"]].concat(), bad);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for (verb, good, bad, key) in [
        (&["translate", "m"][..], "a dog", long(), "source"),
        (&["score", "m"], "a dog\tein Hund", "no tab".to_owned(), "text"),
        (&["tokenizer", "decode", "m"], "5 6", "5 x".to_owned(), "ids"),
    ] {
        let found = objects(verb, &format!("{good}\n{bad}\n{good}\n"));
        assert_eq!((found.len(), &found[0]), (3, &found[2]));
        assert_eq!(found[1][key], bad);
        assert!(found[1]["error"].as_str().unwrap().starts_with("standard input, line 2: "), "{}", found[1]);
        assert!(found[0].get("error").is_none());
    }
}

#[test]
fn lines_that_are_no_text_cost_one_line_too() {
    let folder = Folder::new();
    folder.model();
    folder.write("mixed", [b"\xff\na dog\nx\0y\n", "x".repeat((1 << 20) + 5).as_bytes(), b"\na dog\n"].concat());
    for verb in [&["translate", "m"][..], &["tokenizer", "encode", "m"]] {
        let ran = folder.run(&[verb, &["-i", "mixed"]].concat(), "");
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!((ran.code, lines.len()), (Some(1), 5), "{ran:?}");
        assert!(lines[0].is_empty() && lines[2].is_empty() && lines[3].is_empty() && lines[1] == lines[4]);
        for (number, fault) in [(1, "not valid UTF-8"), (3, "NUL byte"), (4, "longer than")] {
            assert!(ran.stderr.contains(&format!("mixed, line {number}: ")) && ran.stderr.contains(fault), "{ran:?}");
        }
    }
}

#[test]
fn on_error_stop_writes_the_lines_before() {
    let folder = Folder::new();
    folder.model();
    let text = format!("a dog\ntwo dogs\n{}\na dog\n", long());
    let ran = folder.run(&["translate", "m", "--on-error", "stop"], &text);
    assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.lines().count()), (Some(2), 2, 1), "{ran:?}");
    assert!(ran.stderr.starts_with("error: standard input, line 3: "), "{ran:?}");
    // Arguments are all there: by themselves they stop before any work, and can be told to be as lines are.
    let arguments = ["translate", "m", "a dog", &long()];
    folder.run(&arguments, "").refusal();
    let ran = folder.run(&[&arguments[..], &["--on-error", "skip"]].concat(), "");
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 2), "{ran:?}");
}

#[test]
fn a_sentence_too_long_can_be_cut_or_split_and_that_is_told() {
    let folder = Folder::new();
    folder.model();
    let text = format!("a dog\n{}\n", long());
    let run = |how: &str| {
        let ran = folder.run(&["translate", "m", "--json", "--on-too-long", how], &text);
        assert!(ran.stderr.contains("note: standard input, line 2: the sentence has "), "{ran:?}");
        (ran.stderr.clone(), ran.objects().remove(1)["translations"][0].clone())
    };
    let (told, cut) = run("cut");
    assert!(told.contains("cut to 3"), "{told}");
    let (told, split) = run("split");
    assert!(told.contains("translated in "), "{told}");
    let length = |one: &Value| one["ids"].as_array().unwrap().len();
    assert!(length(&split) > length(&cut), "{split} {cut}");
    assert!(split["text"].as_str().unwrap().contains(' '));
}

#[test]
fn a_line_for_which_the_model_has_no_number_costs_score_one_line_and_ends_eval() {
    let folder = Folder::new();
    folder.overflowing_models();
    for (model, lines) in
        [("m", "a dog\tein Hund\nx\tein Hund\na dog\tx\na dog\tein Hund\n"), ("lm", "a dog\nx y\nx\na dog\n")]
    {
        let ran = folder.run(&["score", model, "-q"], lines);
        let found: Vec<&str> = ran.stdout.lines().collect();
        let named = |line| ran.stderr.contains(&format!("error: standard input, line {line}: the logits hold NaN"));
        assert!(ran.code == Some(1) && found.len() == 4 && named(2) && !ran.stdout.contains("NaN"), "{ran:?}");
        assert!(found[1].is_empty() && !found[0].is_empty() && found[0] == found[3] && named(3), "{ran:?}");
        let ran = folder.run(&["score", model, "--json"], lines);
        let object: Value = serde_json::from_str(ran.stdout.lines().nth(1).unwrap()).unwrap();
        assert!(object["error"].as_str().unwrap().contains("the logits hold NaN") && ran.code == Some(1), "{ran:?}");
        let ran = folder.run(&["score", model, "-q", "--on-error", "stop"], lines);
        assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.lines().count()), (Some(1), 1, 1), "{ran:?}");
    }
    folder.write("text.txt", "a dog x runs");
    folder.write("completions.tsv", "a dog\truns\nx\truns\n");
    folder.write("pairs.tsv", "a dog\tein Hund\na dog\tx\n");
    for (model, data, place) in [
        ("lm", "text.txt", "text.txt: at token 0"),
        ("lm", "completions.tsv", "completions.tsv: example 2: "),
        ("m", "pairs.tsv", "pairs.tsv, line 2: "),
    ] {
        let ran = folder.run(&["eval", model, "-q", "--data", data], "");
        let told = ran.stderr.contains(place) && ran.stderr.contains("the logits hold NaN");
        assert!(ran.code == Some(1) && told && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn a_long_line_is_split_in_a_time_that_grows_with_its_length() {
    let folder = Folder::new();
    folder.model();
    let text = "dog".repeat(10_000);
    let ran = folder.run(&["translate", "m", "--on-too-long", "split", "--max-len", "1"], &format!("{text}\n"));
    assert!(ran.stderr.contains("translated in ") && ran.code == Some(0), "{}", ran.stderr);
}

#[test]
fn n_best_lines_can_be_counted() {
    let folder = Folder::new();
    folder.model();
    let text = format!("a dog\n\n{}\ntwo dogs\n", long());
    let ran = folder.run(&["translate", "m", "--beam", "4", "--n-best", "3"], &text);
    assert_eq!(ran.stdout.split('\n').count(), 4 * 3 + 1, "{ran:?}");
    for model in reference_models(&["GPT2LMHeadModel"]) {
        let command = ["generate", model.to_str().unwrap(), "--n", "3", "--max-new-tokens", "4"];
        for method in [&["--temperature", "1"][..], &["--beam", "3"]] {
            let ran = folder.run(&[&command[..], method].concat(), "a cat\n\nx\n");
            assert_eq!(ran.stdout.split('\n').count(), 3 * 3 + 1, "{ran:?}");
        }
    }
}

fn start(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.current_dir(folder.path("")).args(arguments).arg("-q");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Writes a line, waits for its answer, and so on.
fn converse(child: &mut Child, lines: &[&str]) -> String {
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut answers = String::new();
    for line in lines {
        input.write_all(line.as_bytes()).unwrap();
        input.flush().unwrap();
        output.read_line(&mut answers).unwrap();
    }
    answers
}

#[test]
fn a_program_that_writes_a_line_and_waits_gets_its_answer() {
    let folder = Folder::new();
    folder.model();
    let gpt2 = reference_models(&["GPT2LMHeadModel"]).pop();
    let gpt2 = gpt2.as_deref().map(|path: &Path| path.to_str().unwrap().to_owned());
    let mut verbs = vec![
        (vec!["translate", "m"], ["\n", "a dog\n", "two dogs\n"]),
        (vec!["score", "m"], ["a dog\tein Hund\n", "a\tb\n", "no tab\n"]),
        (vec!["tokenizer", "encode", "m"], ["\n", "a\n", "a dog\n"]),
    ];
    if let Some(path) = &gpt2 {
        verbs.push((vec!["generate", path, "--max-new-tokens", "3", "--seed", "2"], ["a cat\n", "\n", "x\n"]));
    }
    for (verb, lines) in verbs {
        let mut child = start(&folder, &verb);
        let answers = converse(&mut child, &lines);
        child.wait().unwrap();
        // How lines arrive changes nothing.
        assert_eq!(answers, folder.run(&[&verb[..], &["-q"]].concat(), &lines.concat()).stdout, "{verb:?}");
        folder.write("lines", lines.concat());
        assert_eq!(answers, folder.run(&[&verb[..], &["-q", "-i", "lines"]].concat(), "").stdout, "{verb:?}");
    }
}

#[test]
fn eval_leaves_a_bad_pair_out_of_the_scores_and_keeps_the_lines_of_its_hypotheses() {
    let folder = Folder::new();
    folder.model();
    let good = ["a dog runs\tein Hund rennt", "two dogs run\tzwei Hunde rennen"];
    folder.write("good.tsv", good.join("\n"));
    folder.write("bad.tsv", format!("no tab\n{}\n{}\tx\n{}\na\t{}\n", good[0], long(), good[1], long()));
    let eval = |data: &str, options: &[&str]| {
        folder.run(
            &[&["eval", "m", "--json", "--data", data, "--save-hypotheses", data.split_at(3).0], options].concat(),
            "",
        )
    };
    let expected = eval("good.tsv", &[]).objects().remove(0);
    let ran = eval("bad.tsv", &[]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &found["left_out"], &found["sentences"]), (Some(1), &json!(3), &json!(2)), "{ran:?}");
    for key in ["bleu", "chrf", "tokens"] {
        assert_eq!(found[key], expected[key], "{key}");
    }
    assert!((found["loss"].as_f64().unwrap() - expected["loss"].as_f64().unwrap()).abs() < 1e-6);
    for (number, fault) in [(1, "1 tab-separated"), (3, "the sentence has"), (5, "the target has")] {
        assert!(ran.stderr.contains(&format!("error: bad.tsv, line {number}: {fault}")), "{ran:?}");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    let (all, two) = (read("bad"), read("goo"));
    let two: Vec<&str> = two.lines().collect();
    assert_eq!(all, format!("\n{}\n\n{}\n\n", two[0], two[1]));
    // Split, a long source is translated and a long target compared; neither has a place in the loss.
    let ran = eval("bad.tsv", &["--on-too-long", "split"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&found["left_out"], &found["sentences"], &found["tokens"]),
        (&json!(1), &json!(4), &expected["tokens"])
    );
}

#[test]
fn a_file_is_replaced_when_there_is_something_to_write_and_else_left() {
    let folder = Folder::new();
    folder.model();
    folder.write("keep", "mine\n");
    folder.write("none.tsv", "no tab\n");
    folder.write("short", "a\n");
    folder.write("two", "a\nb\n");
    folder.write("zeros", "a\0b\n");
    let save = ["--save-hypotheses", "keep"];
    for arguments in [
        [&["eval", "m", "--data", "none.tsv"], &save[..]].concat(),
        [&["eval", "m", "--data", "none.tsv", "--on-error", "stop"], &save[..]].concat(),
        [&["eval", "m", "--source", "short", "--target", "two"], &save[..]].concat(),
        [&["eval", "m", "--source", "two", "--target", "two", "--max-len", "99"], &save[..]].concat(),
        vec!["tokenizer", "train", "zeros", "--out", "keep"],
    ] {
        let ran = folder.run(&arguments, "");
        assert!(ran.code == Some(1) || ran.code == Some(2), "{ran:?}");
        assert_eq!(std::fs::read_to_string(folder.path("keep")).unwrap(), "mine\n", "{arguments:?}");
    }
    let message = folder.run(&["tokenizer", "train", "keep", "--out", "./keep"], "").refusal();
    assert!(message.contains("--out would overwrite keep, which is read"), "{message}");
    let nowhere = ["eval", "m", "--source", "two", "--target", "two", "--save-hypotheses", "nowhere/keep"];
    assert!(folder.run(&nowhere, "").refusal().contains("cannot write nowhere/keep"));
}
