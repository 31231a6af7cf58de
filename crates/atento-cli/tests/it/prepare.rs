//! `prepare`.

use insta::assert_snapshot;

use crate::support::Folder;

const TEXT: &str = "The curious kitten deftly climbed the bookshelf.\nIt found an old book.\n\n\
                    A dog slept in the sun.\nNobody woke it.\n\n\
                    A dog slept in the sun.\nNobody woke it.\n";

/// A folder with `text`, and `t.json`, a WordPiece tokenizer that knows its words.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("text", TEXT);
    let kind = ["--kind", "wordpiece", "--purpose", "encoder", "--vocab-size", "200", "--min-frequency", "1"];
    folder.run(&[&["tokenizer", "train", "text", "--out", "t.json"], &kind[..]].concat(), "").output();
    folder
}

fn prepare<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["prepare", "--tokenizer", "t.json", "-q"], rest].concat()
}

#[test]
fn examples_are_shown_with_what_became_of_each_token() {
    let folder = folder();
    let shown = |rest: &[&str]| folder.run(&prepare(&[&["text", "--show", "2"], rest].concat()), "").output();
    assert_snapshot!(shown(&["--seed", "3"]), @r"
    [CLS] A dog [MASK] in the sun. [SEP] [MASK] woke it. [SEP]  IsNext = False
      slept → [MASK] (masked)
      Nobody → [MASK] (masked)

    [CLS] Nobody woke it. [SEP] [MASK] dog slept in the sun. Nobody woke it. [SEP]  IsNext = False
      A → [MASK] (masked)
      in → in (kept)

    documents: 3 in 1 file, 3 used
      1 duplicates: kept
    sentences: 6
    tokens: 36 of 148 bytes, 148 characters, 0 unknown
    examples: 6, 14.7 tokens each, 0.00% short
    pairs: 16.67% true
    chosen: 14.29% of the tokens that are not special; of these 80.00% masked, 0.00% a random word, 20.00% kept
    ");
    assert_eq!(shown(&["--seed", "3"]), shown(&["--seed", "3", "--threads", "1"]));
    assert_ne!(shown(&["--seed", "3"]), shown(&["--seed", "4"]));
    assert!(shown(&["--objective", "mlm+sop"]).contains("[SEP]  InOrder = "));
    assert!(!shown(&["--objective", "mlm", "--spans"]).contains(" = "));
}

#[test]
fn json_has_the_counts_the_percentages_and_the_examples() {
    let folder = folder();
    let found = folder.run(&prepare(&["text", "--json", "--show", "1", "--drop-duplicates"]), "").objects().remove(0);
    assert_eq!(found["report"]["documents"], 3);
    assert_eq!(found["report"]["duplicates_dropped"], 1);
    assert!(found["drawn"]["chosen"].as_u64().unwrap() > 0);
    let shares = ["masked", "random", "kept"].map(|fate| found["percent"][fate].as_f64().unwrap());
    assert!((shares.iter().sum::<f64>() - 100.0).abs() < 1e-9);
    assert!(found["percent"]["true_pairs"].is_number());
    let example = &found["examples"][0];
    assert!(example["text"].as_str().unwrap().starts_with("[CLS] ") && example["label"].is_boolean());
    assert!(example["chosen"][0]["became"].is_string());
    let single = folder.run(&prepare(&["text", "--json", "--objective", "mlm"]), "").objects().remove(0);
    assert!(single["percent"]["true_pairs"].is_null());
}

#[test]
fn files_are_kept_where_that_is_asked_for() {
    let folder = folder();
    let keep = prepare(&["text", "--out", "data"]);
    assert!(folder.run(&keep, "").output().ends_with("files: data\n"));
    assert!(folder.path("data/tokens.bin").is_file());
    assert_snapshot!(folder.run(&keep, "").refusal(), @"error: data: exists already and is not an empty directory; remove it or name another");
}

#[test]
fn text_comes_from_standard_input_too() {
    let folder = folder();
    let named = folder.run(&prepare(&["text"]), "").output();
    assert_eq!(folder.run(&prepare(&["-"]), TEXT).output(), named);
}

#[test]
fn a_bad_line_costs_one_line_or_stops() {
    let folder = folder();
    folder.write(
        "t.jsonl",
        "{\"text\": \"A dog. The sun.\"}\n{\"txt\": \"a\"}\n{\"text\": \"It woke. Nobody slept.\"}\n",
    );
    let ran = folder.run(&prepare(&["t.jsonl", "--json"]), "");
    assert_eq!(ran.object_past_bad_lines()["report"]["bad_lines"], 1);
    assert_snapshot!(ran.stderr, @r#"
    error: t.jsonl, line 2: no value at key "text" (did you mean "txt"?); --text-key names another key
    error: 1 lines could not be used; each is named above
    "#);
    let stopped = folder.run(&prepare(&["t.jsonl", "--on-error", "stop"]), "").refusal();
    assert_snapshot!(stopped, @r#"error: t.jsonl, line 2: no value at key "text" (did you mean "txt"?); --text-key names another key"#);
}

#[test]
fn what_cannot_work_is_refused() {
    let folder = folder();
    folder.write("one", "A dog.\nThe sun.\n");
    let refused = |rest: &[&str]| folder.run(&prepare(rest), "").refusal();
    assert_snapshot!(refused(&["one"]), @r#"error: one: there is one document, so no segment of another document can be drawn: separate documents by blank lines, or learn masked words alone, or with the order of two segments, which need no other document"#);
    assert_snapshot!(refused(&["text", "--mask-prob", "2"]), @"error: mask_prob = 2: expected a share above 0, at most 1");
    assert_snapshot!(refused(&["text", "--seq-len", "4"]), @"error: seq_len = 4: expected 5 to 1048576, since 3 tokens are special");
    assert!(refused(&["none"]).starts_with("error: none: cannot open"));
    folder.run(&["tokenizer", "train", "text", "--out", "causal.json", "--vocab-size", "400"], "").output();
    let refusal = folder.run(&["prepare", "-q", "--tokenizer", "causal.json", "text"], "").refusal();
    assert_snapshot!(refusal, @"error: the tokenizer has no mask token (it stands for hidden tokens): name one as mask_token in the tokenizer_config.json beside it, or learn a tokenizer with --purpose encoder");
}
