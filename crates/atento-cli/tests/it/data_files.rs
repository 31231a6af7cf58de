//! Files of data as people have them: packed, padded, in other encodings, with records of any length.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Folder, Ran};

const INSTRUCT: &str = r#"
task = "instruct"
[data]
train = { jsonl = "d.jsonl" }
[tokenizer]
kind = "char"
[model]
layers = 1
heads = 2
d_model = 16
max_positions = 48
[train]
max_steps = 2
batch_tokens = 128
[optimizer]
lr = 0.01
[schedule]
kind = "constant"
warmup_steps = 0
"#;

const CAUSAL: &str = r#"
task = "causal-lm"
[data]
text = "books"
valid_fraction = 0.1
[tokenizer]
kind = "char"
[model]
layers = 1
heads = 2
d_model = 16
max_positions = 16
[train]
max_steps = 2
batch_tokens = 64
eval_every = 2
[optimizer]
lr = 0.01
[schedule]
kind = "constant"
warmup_steps = 0
"#;

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn instruct(data: &str) -> Folder {
    let folder = Folder::new();
    folder.write("d.jsonl", data);
    folder.write("r.toml", INSTRUCT);
    folder
}

fn plan(folder: &Folder, set: &[&str]) -> Ran {
    let set = set.iter().flat_map(|setting| ["--set", setting]);
    folder.run(&["train", "r.toml", "--dry-run", "--json"].into_iter().chain(set).collect::<Vec<_>>(), "")
}

#[test]
fn every_reader_of_text_says_that_a_file_is_utf_16() {
    let folder = instruct("");
    folder.model();
    folder.recipe();
    folder.write("wide", utf16("a dog\tein Hund\n"));
    folder.write("wide.toml", utf16("task = \"instruct\"\n"));
    folder.write("good", "a dog\tein Hund\n");
    for arguments in [
        &["translate", "m", "-i", "wide"][..],
        &["score", "m", "-i", "wide"],
        &["eval", "m", "--data", "wide"],
        &["eval", "m", "--source", "good", "--target", "wide"],
        &["bleu", "wide", "good"],
        &["bleu", "good", "wide"],
        &["tokenizer", "train", "wide"],
        &["tokenizer", "encode", "m", "-i", "wide"],
        &["train", "r.toml", "--set", "data.train.tsv=wide"],
        &["train", "r.toml", "--set", "data.valid.tsv=wide"],
        &["train", "wide.toml"],
    ] {
        let message = folder.run(arguments, "").refusal();
        assert!(message.contains("wide") && message.contains("UTF-16 text, expected UTF-8"), "{arguments:?} {message}");
    }
    folder.write("r.toml", INSTRUCT.replace("jsonl = \"d.jsonl\"", "csv = \"wide\""));
    assert!(plan(&folder, &[]).refusal().contains("wide: this is UTF-16 text"));
    let tokenizer = std::fs::read_to_string(folder.path("m/tokenizer.json")).unwrap();
    std::fs::create_dir(folder.path("t")).unwrap();
    folder.write("t/tokenizer.json", utf16(&tokenizer));
    let message = folder.run(&["tokenizer", "encode", "t/tokenizer.json", "a dog"], "").refusal();
    assert!(message.contains("the file is UTF-16 text, expected UTF-8"), "{message}");
    folder.write("r.toml", CAUSAL.replace("books", "wide"));
    assert!(plan(&folder, &[]).refusal().contains("wide: this is UTF-16 text"));
}

#[test]
fn gzip_is_known_by_its_content_and_may_be_padded() {
    let folder = Folder::new();
    folder.write("plain", "A man rides.\nA dog runs.\n");
    folder.write("padded.txt", [gzip("A man rides.\n"), gzip("A dog runs.\n"), vec![0; 512]].concat());
    folder.write("plain.gz", "A man rides.\nA dog runs.\n");
    for other in ["padded.txt", "plain.gz"] {
        let found = folder.run(&["bleu", "plain", other, "--json"], "").objects().remove(0);
        assert!((found["chrf"].as_f64().unwrap() - 100.0).abs() < 1e-9, "{other}");
    }
    let whole = gzip("A man rides.\n");
    folder.write("short", &whole[..whole.len() - 3]);
    folder.write("garbage", [&whole[..], b"more"].concat());
    for (file, expected) in [("short", "the gzip file is cut short"), ("garbage", "neither gzip nor zeros")] {
        for arguments in [["bleu", "plain", file], ["tokenizer", "train", file]] {
            let message = folder.run(&arguments, "").refusal();
            assert!(message.contains(file) && message.contains(expected), "{message}");
        }
    }
}

#[test]
fn standard_input_is_data_once_and_pipes_are_refused_where_data_is_read_again() {
    let folder = instruct("");
    folder.model();
    folder.write("ref", "a\nb\n");
    folder.run(&["bleu", "-", "ref"], "a\nb\n").output();
    folder.run(&["eval", "m", "--data", "-"], "a dog\tein Hund\n").output();
    folder.run(&["tokenizer", "train", "-", "--vocab-size", "300", "--out", "t.json"], "a dog runs\n").output();
    let message = folder.run(&["bleu", "-", "-"], "a\nb\n").refusal();
    assert!(message.contains("standard input can be read once"), "{message}");
    let message = plan(&folder, &["data.train.jsonl=\"-\""]).refusal();
    assert!(message.contains("`data.train.jsonl` names -, which is standard input, expected a file"), "{message}");
    let message = plan(&folder, &["data.train.jsonl=\".\""]).refusal();
    assert!(message.contains("which is a directory, expected a file"), "{message}");
    if cfg!(target_os = "linux") {
        let message = plan(&folder, &["data.train.jsonl=/dev/stdin"]).refusal();
        assert!(message.contains("/dev/stdin, which is a pipe, expected a file"), "{message}");
    }
}

#[test]
fn records_over_a_mebibyte_follow_on_truncate() {
    let long = format!("{{\"prompt\":\"a\",\"completion\":\"{}\"}}\n", "word ".repeat(250_000));
    let folder = instruct(&(long.clone() + &"{\"prompt\":\"a\",\"completion\":\"b\"}\n".repeat(4)));
    let dropped = plan(&folder, &["data.on_truncate=drop"]).objects().remove(0);
    assert!(dropped.to_string().contains("\"too_long_dropped\":1"), "{dropped}");
    plan(&folder, &["data.on_truncate=warn"]).output();
    let message = plan(&folder, &[]).refusal();
    assert!(message.contains("d.jsonl, line 1: the example has") && message.contains("\"drop\""), "{message}");
}

#[test]
fn a_key_that_is_doubled_or_missing_is_told_with_its_line() {
    let folder =
        instruct("{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\",\"completion\":\"b\",\"prompt\":\"c\"}\n");
    let message = plan(&folder, &[]).refusal();
    assert!(message.contains("d.jsonl, line 2: ") && message.contains("the key \"prompt\" stands twice"), "{message}");
    folder.write("d.jsonl", "{\"prompt\":\"hi\",\"answer\":\"yo\"}\n");
    let message = plan(&folder, &[]).refusal();
    assert!(message.contains("no value at key \"completion\"; its keys with text are prompt, answer"), "{message}");
    let model = folder.model();
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    std::fs::write(model.join("config.json"), config.replacen('{', "{\"dropout\": 0.9,", 1)).unwrap();
    let message = folder.run(&["translate", "m", "a"], "").refusal();
    assert!(message.contains("config.json") && message.contains("the key \"dropout\" stands twice"), "{message}");
}

#[test]
fn the_same_example_in_training_and_validation_is_told() {
    let example = |i: usize| format!("{{\"prompt\":\"p{i}\",\"completion\":\"c\"}}\n");
    let folder = instruct(&(0..5).map(example).collect::<String>());
    folder.write("valid.jsonl", (3..9).map(example).collect::<String>());
    let recipe = INSTRUCT.replace("[tokenizer]", "valid = { jsonl = \"valid.jsonl\" }\n[tokenizer]");
    folder.write("r.toml", recipe);
    let ran = folder.run(&["train", "r.toml", "--out", "run"], "");
    assert!(ran.stderr.contains("2 in the training data too (the results"), "{}", ran.stderr);
    folder.recipe();
    let ran = folder.run(&["train", "r.toml", "--out", "pairs"], "");
    assert!(ran.stderr.contains("data.valid: of 12 pairs, 12 in the training data too"), "{}", ran.stderr);
}

#[test]
fn few_documents_give_validation_its_share_and_the_screen_says_how() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("books")).unwrap();
    for i in 1..=2 {
        folder.write(&format!("books/{i}.txt"), format!("the {i} cats see the dog. ").repeat(60) + "\n");
    }
    folder.write("r.toml", CAUSAL);
    for seed in ["1", "2", "3"] {
        let ran = folder.run(&["train", "r.toml", "--out", seed, "--seed", seed], "");
        assert!(ran.stderr.contains("validation: the last ") && ran.stderr.contains("books/"), "{}", ran.stderr);
        let metrics = std::fs::read_to_string(folder.path(seed).join("metrics.jsonl")).unwrap();
        assert!(metrics.contains("eval_loss"), "{metrics}");
        let size = |name: &str| std::fs::metadata(folder.path(seed).join("data").join(name)).unwrap().len() as f64;
        let share = size("val.bin") / (size("val.bin") + size("train.bin"));
        assert!((0.07..0.13).contains(&share), "{share}");
    }
    folder.write("books/1.txt", "ab\n".repeat(30));
    folder.write("books/2.txt", "cd\n");
    let none = folder.run(&["train", "r.toml", "--out", "none", "--set", "data.valid_fraction=0.001"], "");
    assert!(none.stderr.contains("no validation: the text is too short"), "{}", none.stderr);
}

#[test]
fn a_message_shows_the_beginning_of_a_long_value() {
    let folder = instruct("{\"prompt\":\"a\",\"completion\":\"b\"}\n");
    folder.model();
    let (long, path) = ("long value ".repeat(1000), "x/".repeat(5000));
    let (setting, key) = (format!("data.on_truncate=\"{long}\""), format!("data.{}=1", "k".repeat(10_000)));
    let (template, named) = (format!("data.prompt_template=\"{long}\""), format!("data.train.prompt_key=\"{long}\""));
    for arguments in [
        &["train", "r.toml", "--set", &setting][..],
        &["train", "r.toml", "--set", &key],
        &["train", "r.toml", "--set", &template],
        &["train", "r.toml", "--set", &named],
        &["train", "r.toml", "--set", &long],
        &["train", &path],
        &["translate", &path, "a"],
        &["translate", "m", "--beam", &long, "a"],
        &["translate", "m", "-i", &path],
        &["bleu", "r.toml", "r.toml", "--tokenize", &long],
        &[&long],
    ] {
        let message = folder.run(arguments, "").refusal();
        assert!(message.len() < 2000, "{} bytes: {}…", message.len(), &message[..300]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_no_utf_8_are_opened() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new();
    let odd = |name: &[u8]| OsStr::from_bytes(name).to_owned();
    let text = odd(b"f\xfcr.txt");
    std::fs::write(folder.path("").join(&text), "a dog runs\n").unwrap();
    let model = folder.model();
    std::fs::rename(&model, folder.path("").join(odd(b"m\xff"))).unwrap();
    let run = |arguments: &[&OsStr]| {
        let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
        Ran::from(command.current_dir(folder.path("")).args(arguments).output().unwrap())
    };
    let word = OsStr::new;
    run(&[word("bleu"), &text, &text]).output();
    run(&[word("translate"), &odd(b"m\xff"), word("-i"), &text]).output();
    run(&[
        word("tokenizer"),
        word("train"),
        &text,
        word("--vocab-size"),
        word("300"),
        word("--out"),
        &odd(b"t\xff.json"),
    ])
    .output();
    run(&[word("inspect"), &odd(b"m\xff")]).output();
    let message = run(&[word("bleu"), &odd(b"none\xff"), &text]).refusal();
    assert!(message.contains("none\u{fffd}: cannot open"), "{message}");
    std::fs::create_dir(folder.path("books")).unwrap();
    std::fs::rename(folder.path("").join(&text), folder.path("books").join(&text)).unwrap();
    std::fs::write(folder.path("books").join(&text), "the dog sees the cat.\n".repeat(20)).unwrap();
    folder.write("r.toml", CAUSAL);
    run(&[word("train"), word("r.toml"), word("--out"), word("run")]).output();
    let message = run(&[word("train"), word("r.toml"), word("--out"), &odd(b"run\xff")]);
    assert!(message.code != Some(1) && !message.stderr.contains("bug"), "{message:?}");
}
