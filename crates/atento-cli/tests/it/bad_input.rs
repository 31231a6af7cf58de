//! What is said, and with which exit code, when something is wrong.

use insta::assert_snapshot;

use crate::support::{Folder, Ran};

/// What a command told that went past bad lines; its output has `lines` lines.
#[track_caller]
fn told(lines: usize, folder: &Folder, arguments: &[&str], stdin: &str) -> String {
    let ran = folder.run(arguments, stdin);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), lines), "{ran:?}");
    ran.stderr
}

/// The message of a refused command, with the folder's path and the system's own words taken out.
#[track_caller]
fn refusal(folder: &Folder, arguments: &[&str], stdin: &str) -> String {
    let message = folder.run(arguments, stdin).refusal();
    assert!(!message.contains("panicked") && !message.contains("bug"), "{message}");
    message
}

#[test]
fn a_verb_that_does_not_exist_gets_the_nearest_one() {
    assert_snapshot!(refusal(&Folder::new(), &["translte"], ""), @r"
    error: unrecognized subcommand 'translte'

      tip: some similar subcommands exist: 'answer', 'train', 'translate'

    Usage: atento [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_cannot_be_used_are_refused_before_any_work() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.model();
    folder.recipe();
    let bad = std::ffi::OsStr::from_bytes(b"b\xffd");
    std::fs::copy(folder.path("r.toml"), folder.path("").join(bad)).unwrap();
    let run = |arguments: &[&std::ffi::OsStr]| {
        let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
        Ran::from(command.current_dir(folder.path("")).arg("train").args(arguments).output().unwrap()).refusal()
    };
    let [recipe, out, from, verb] = ["r.toml", "--out", "--from", "--dry-run"].map(std::ffi::OsStr::new);
    for (arguments, name) in
        [(&[recipe, out, bad][..], "--out"), (&[recipe, from, bad], "--from"), (&[bad, verb], "the recipe")]
    {
        let message = run(arguments);
        assert!(
            message.starts_with(&format!("error: {name}: the path ")) && message.contains("b\u{fffd}d is not UTF-8"),
            "{message}"
        );
    }
    std::os::unix::fs::symlink("nowhere", folder.path("link")).unwrap();
    let message = refusal(&folder, &["train", "r.toml", "--out", "link"], "");
    assert!(message.contains("link is a symbolic link to a place that does not exist"), "{message}");
    folder.write("empty.txt", "");
    assert!(refusal(&folder, &["train", "empty.txt"], "").starts_with("error: empty.txt: `data.train` is missing"));
    let eval = ["eval", "m", "--data", "pairs.tsv", "--save-hypotheses", "/proc/hypotheses"];
    assert!(refusal(&folder, &eval, "").starts_with("error: cannot write /proc/hypotheses: "));
}

#[test]
fn an_instruction_set_that_does_not_exist_is_told() {
    let run = |name: &str| {
        let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
        Ran::from(command.args(["doctor", "--no-measure"]).env("ATENTO_SIMD", name).output().unwrap()).stderr
    };
    assert!(run("foo").starts_with("note: ATENTO_SIMD is \"foo\" and has no effect; this machine has scalar"));
    assert_eq!((run("scalar"), run("")), (String::new(), String::new()));
    let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
    let ran = Ran::from(command.args(["doctor", "--no-measure"]).env("ATENTO_BF16", "tpu").output().unwrap());
    let expected = "note: ATENTO_BF16 is \"tpu\" and has no effect; this machine has emulated";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
}

#[test]
fn options_that_have_no_effect_on_the_data_of_eval_are_refused_and_useless_data_fails() {
    let folder = Folder::new();
    folder.overflowing_models();
    folder.write("text.txt", "a dog\n");
    folder.write("bad.tsv", "a\nb\n");
    folder.write("bad.jsonl", "{\"a\": 1}\n");
    for (data, option, expected) in [
        ("bad.tsv", "--prompt-key", "bad.tsv: line 1 has no column named \"x\"; it has 1 \"a\""),
        ("text.txt", "--text-key", "--text-key is for JSON objects, and text.txt is plain text"),
    ] {
        let message = refusal(&folder, &["eval", "lm", "--data", data, option, "x"], "");
        assert!(message.contains(expected), "{message}");
    }
    for (model, data, things) in
        [("m", "bad.tsv", "2 pairs"), ("lm", "bad.tsv", "2 examples"), ("lm", "bad.jsonl", "1 lines")]
    {
        let message = told(0, &folder, &["eval", model, "--data", data], "");
        assert!(
            message.contains(&format!("error: {data}: none of {things} can be used; each is named above")),
            "{message}"
        );
    }
}

#[test]
fn zero_threads_are_refused() {
    let folder = Folder::new();
    assert_snapshot!(refusal(&folder, &["doctor", "--threads", "0"], ""), @"error: --threads is 0, expected a number from 1 to 4096; leave it out to use all cores");
    let run = |value: &str| {
        let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
        Ran::from(command.args(["doctor", "--no-measure"]).env("RAYON_NUM_THREADS", value).output().unwrap())
    };
    assert_snapshot!(run("0").refusal(), @"error: RAYON_NUM_THREADS is 0, expected a number from 1 to 4096; leave it out to use all cores");
    assert_snapshot!(run("many").refusal(), @r#"error: RAYON_NUM_THREADS is "many", expected a number of threads from 1 to 4096"#);
    assert_eq!(run("").code, Some(0));
}

#[test]
fn texts_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    folder.model();
    folder.write("empty", "");
    folder.write("binary", b"ab\n\x7fELF\0\x01");
    folder.write("latin1", b"fine\nf\xfcr\n");
    for (file, is_read, expected) in [
        ("none", false, "error: none: cannot open: "),
        ("empty", false, "error: empty: the file is empty"),
        ("binary", true, "error: binary, line 2: contains a NUL byte"),
        ("latin1", true, "error: latin1, line 2: not valid UTF-8 at byte 1"),
    ] {
        let translate = ["translate", "m", "--input", file];
        let message = if is_read { told(2, &folder, &translate, "") } else { refusal(&folder, &translate, "") };
        assert!(message.starts_with(expected), "{message}");
        let message = refusal(&folder, &["tokenizer", "train", file], "");
        assert!(message.starts_with(expected), "{message}");
    }
    assert_snapshot!(refusal(&folder, &["translate", "m"], ""), @"error: standard input: the file is empty");
}

#[test]
fn what_the_system_says_is_told_once() {
    let folder = Folder::new();
    let model = folder.model();
    std::fs::remove_file(model.join("tokenizer.json")).unwrap();
    std::fs::create_dir(model.join("tokenizer.json")).unwrap();
    for arguments in [
        &["train", "none.toml"][..],
        &["translate", "m", "a"],
        &["translate", "m", "--input", "none"],
        &["tokenizer", "train", "none"],
        &["bleu", "none", "none"],
        &["eval", "m", "--data", "none.tsv"],
    ] {
        let message = refusal(&folder, arguments, "");
        assert_eq!(message.matches("(os error ").count(), 1, "{message}");
    }
}

#[test]
fn directories_that_hold_no_model_are_named() {
    let folder = Folder::new();
    folder.model();
    folder.write("file", "x");
    for name in ["hollow", "model"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    assert_snapshot!(refusal(&folder, &["translate", "modell", "a"], ""), @"error: modell: not found; there is `model` beside it");
    assert_snapshot!(refusal(&folder, &["translate", "file", "a"], ""), @"error: file: not found: a model is a directory, this is a file");
    assert_snapshot!(refusal(&folder, &["inspect", "hollow"], ""), @"error: hollow/config.json: not found; the directory is empty");
}

#[test]
fn damaged_weights_are_named() {
    let folder = Folder::new();
    let weights = folder.model().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let message = refusal(&folder, &["translate", "m", "a"], "");
    assert!(message.contains("m/model.safetensors: not a usable safetensors file"), "{message}");
    assert!(message.contains("cut short"), "{message}");
    std::fs::write(&weights, b"PK\x03\x04 not weights at all").unwrap();
    assert!(refusal(&folder, &["eval", "m", "--data", "x"], "").contains("x: cannot open"));
    assert!(refusal(&folder, &["score", "m", "a\tb"], "").contains("not a usable safetensors file"));
}

#[test]
fn a_sentence_beyond_the_models_positions_is_named_by_its_line() {
    let folder = Folder::new();
    folder.model();
    let text = format!("a dog\n\n{}\n", "dog ".repeat(40));
    let message = told(3, &folder, &["translate", "m"], &text);
    assert!(message.starts_with("error: standard input, line 3: the sentence has "), "{message}");
    let message = refusal(&folder, &["score", "m", "a\tb", &format!("a\t{}", "dog ".repeat(40))], "");
    assert!(message.starts_with("error: text 2: the target has "), "{message}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let folder = Folder::new();
    folder.model();
    assert_snapshot!(refusal(&folder, &["translate", "m", "--beam", "2", "--n-best", "3", "a"], ""), @"error: --n-best is 3, but the beam holds 2: raise --beam");
    assert_snapshot!(refusal(&folder, &["translate", "m", "--length-penalty", "nan", "a"], ""), @"error: length_penalty is NaN: it must be a finite number (0 turns it off, 1 scores the mean log-probability)");
    assert_snapshot!(refusal(&folder, &["translate", "m", "--max-len", "33", "a"], ""), @"error: --max-len is 33, but the model has positions for 32 tokens");
    assert_snapshot!(refusal(&folder, &["translate", "m", "--min-len", "6", "--max-len", "5", "a"], ""), @"error: --min-len is 6, but --max-len is 5 tokens");
    assert_snapshot!(refusal(&folder, &["translate", "m", "--min-len", "13", "a"], ""), @"error: --min-len is 13, but the model's longest is 12 tokens");
    for arguments in [["--beam", "0"], ["--max-len", "0"], ["--n-best", "0"], ["--batch-tokens", "0"], ["--beam", "x"]]
    {
        let message = refusal(&folder, &[&["translate", "m", "a"], &arguments[..]].concat(), "");
        assert!(message.contains(&format!("{} ", arguments[0])), "{message}");
        assert!(message.contains("expected a whole number, 1 or more"), "{message}");
    }
    assert_snapshot!(refusal(&folder, &["eval", "m"], ""), @"error: name the pairs with --data, or with --source and --target");
}

#[test]
fn a_setting_is_named_as_it_was_typed() {
    let folder = Folder::new();
    folder.recipe();
    let steps = refusal(&folder, &["train", "r.toml", "--max-steps", "0"], "");
    assert!(steps.starts_with("error: --max-steps 0: `train.max_steps` is 0, expected "), "{steps}");
    let steps = refusal(&folder, &["train", "r.toml", "--set", "train.max_steps=0"], "");
    assert!(steps.starts_with("error: --set train.max_steps=0: `train.max_steps` is 0, expected "), "{steps}");
}

#[test]
fn lines_to_score_need_one_tab() {
    let folder = Folder::new();
    folder.model();
    assert_snapshot!(told(2, &folder, &["score", "m"], "a\tb\na b\n"), @r"
    error: standard input, line 2: there is no tab; expected source TAB target
    error: 1 of 2 lines could not be used; each is named above
    ");
    assert_snapshot!(refusal(&folder, &["score", "m", "a\tb\tc"], ""), @"error: text 1: there are 2 tabs; expected one, source TAB target");
}

#[test]
fn pairs_that_do_not_match_are_refused() {
    let folder = Folder::new();
    folder.model();
    folder.write("en", "a\nb\n");
    folder.write("de", "a\n");
    folder.write("pairs.tsv", "a\tb\nc\n");
    let eval = ["eval", "m", "--source", "en"];
    assert_snapshot!(refusal(&folder, &[&eval[..], &["--target", "de"]].concat(), ""), @"error: en has 2 lines and de has 1: parallel files need one line for each line of the other");
    let stop = ["eval", "m", "--data", "pairs.tsv", "--on-error", "stop"];
    assert_snapshot!(refusal(&folder, &stop, ""), @"error: pairs.tsv, line 2: 1 tab-separated columns, expected exactly 2 (source TAB target)");
    assert_snapshot!(refusal(&folder, &["bleu", "en", "de"], ""), @"error: de has 1 lines but en has 2: line n of every file must be the same sentence");
    refusal(&folder, &eval, "");
    refusal(&folder, &["eval", "m"], "");
}

#[test]
fn a_config_of_another_kind_is_refused() {
    let folder = Folder::new();
    folder.write("config.json", "{\"model_type\": \"t5\"}");
    folder.write("broken.json", "{");
    folder.write("number.json", "{\"model_type\": 5}");
    folder.write("typo.json", "{\"modeltype\": \"gpt2\"}");
    assert_snapshot!(refusal(&folder, &["inspect", "plan", "config.json"], ""), @r#"error: config.json: key `model_type` is "t5", expected one of "marian", "m2m_100", "atento_rnn", "gpt2", "llama", "mistral", "qwen2", "qwen3", "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "deberta-v2", "modernbert""#);
    assert_snapshot!(refusal(&folder, &["inspect", "plan", "broken.json"], ""), @"error: broken.json: not a JSON object: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(refusal(&folder, &["inspect", "plan", "number.json"], ""), @r#"error: number.json: key `model_type` is 5, expected one of "marian", "m2m_100", "atento_rnn", "gpt2", "llama", "mistral", "qwen2", "qwen3", "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "deberta-v2", "modernbert""#);
    assert_snapshot!(refusal(&folder, &["inspect", "plan", "typo.json"], ""), @r#"error: typo.json: key `model_type` is missing; the nearest there is `modeltype`; expected one of "marian", "m2m_100", "atento_rnn", "gpt2", "llama", "mistral", "qwen2", "qwen3", "bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "deberta-v2", "modernbert""#);
    refusal(&folder, &["inspect"], "");
}

#[test]
fn saved_translations_never_overwrite_what_is_read() {
    let folder = Folder::new();
    folder.model();
    let pairs = "a dog runs\tein Hund rennt\n";
    folder.write("pairs.tsv", pairs);
    let message = folder.run(&["eval", "m", "--data", "pairs.tsv", "--save-hypotheses", "./pairs.tsv"], "").refusal();
    assert!(message.contains("would overwrite pairs.tsv"), "{message}");
    assert_eq!(std::fs::read_to_string(folder.path("pairs.tsv")).unwrap(), pairs);
}

#[test]
fn a_beam_that_would_fill_the_memory_is_refused() {
    let folder = Folder::new();
    folder.model();
    let message = folder.run(&["translate", "m", "--beam", "18446744073709551615", "a dog"], "").refusal();
    assert!(message.contains("the widest is 1024"), "{message}");
}

#[test]
fn a_start_token_beyond_the_table_is_refused() {
    let folder = Folder::new();
    let model = folder.model();
    let path = model.join("generation_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"decoder_start_token_id\": 1", "\"decoder_start_token_id\": 99999")).unwrap();
    let message = folder.run(&["translate", "m", "a dog"], "").refusal();
    assert!(message.contains("start token is 99999"), "{message}");
}
