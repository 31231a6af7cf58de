//! Pairs as people have them: nothing set apart for validation, columns of other things, lines that are none.

use crate::support::{Folder, Ran};

const RECIPE: &str = r#"
seed = 3
[data]
train = { tsv = "pairs.tsv" }
max_length = 32
[tokenizer]
vocab_size = 320
min_frequency = 1
[model]
d_model = 16
heads = 2
d_ff = 32
encoder_layers = 1
decoder_layers = 1
max_positions = 32
[train]
max_steps = 4
log_every = 2
eval_every = 2
[schedule]
warmup_steps = 2
[search]
beam = 1
max_length = 12
"#;

fn folder(pairs: impl AsRef<[u8]>) -> Folder {
    let folder = Folder::new();
    folder.write("pairs.tsv", pairs);
    folder.write("r.toml", RECIPE);
    folder
}

fn train(folder: &Folder, set: &[&str], more: &[&str]) -> Ran {
    let set = set.iter().flat_map(|setting| ["--set", setting]);
    folder.run(&["train", "r.toml"].into_iter().chain(set).chain(more.iter().copied()).collect::<Vec<_>>(), "")
}

fn numbered(count: usize) -> String {
    (0..count).map(|i| format!("{i} dogs\t{i} Hunde\n")).collect()
}

#[test]
fn a_share_of_the_pairs_is_validated_on_and_not_trained_on() {
    let folder = folder(numbered(60));
    let ran = train(&folder, &["data.valid_fraction=0.2"], &["--out", "run", "--json"]);
    assert!(ran.stderr.contains("held out for validation (data.valid_fraction)"), "{}", ran.stderr);
    let summary = ran.objects().pop().unwrap();
    assert!(summary["metrics"]["valid_bleu"].is_number(), "{summary}");
    let (trained, held_out) = (&summary["data"]["train"], &summary["data"]["valid"]);
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    assert_eq!(number(&trained["kept"]) + number(&trained["held_out"]), 60, "{summary}");
    assert_eq!((number(&held_out["kept"]), number(&held_out["in_training_too"])), (number(&trained["held_out"]), 0));
    let metrics = std::fs::read_to_string(folder.path("run/metrics.jsonl")).unwrap();
    assert!(metrics.contains("eval_loss"), "{metrics}");
    // The same pairs are held out when the run goes on, and another share is another run.
    let resume = ["--out", "run", "--resume", "--max-steps", "6"];
    train(&folder, &["data.valid_fraction=0.2"], &resume).output();
    let message = train(&folder, &["data.valid_fraction=0.5"], &resume).refusal();
    assert!(message.contains("`data.valid_fraction`"), "{message}");
}

#[test]
fn a_share_is_refused_beside_validation_pairs_and_told_where_it_has_none() {
    let folder = folder(numbered(5));
    let ran = train(&folder, &["data.valid_fraction=0.000001"], &["--dry-run"]);
    let told = "no validation: `data.valid_fraction` 0.000001 has none of the 5 pairs";
    assert!(ran.code == Some(0) && ran.stderr.contains(told), "{ran:?}");
    let stopping = ["data.valid_fraction=0.000001", "train.early_stopping.patience=1"];
    let message = train(&folder, &stopping, &["--dry-run"]).refusal();
    assert!(message.contains("a share of 0.000001 has none of the 5 pairs"), "{message}");
    for (other, key) in [("data.valid={tsv=\"pairs.tsv\"}", "data.valid"), ("data={corpus=\"demo\"}", "data.corpus")] {
        let message = train(&folder, &[other, "data.valid_fraction=0.1"], &["--dry-run"]).refusal();
        assert!(message.contains(&format!("`data.valid_fraction` and `{key}` exclude each other")), "{message}");
    }
}

/// Anki's form: a third column says who wrote the pair.
fn attributed(count: usize) -> String {
    numbered(count).lines().map(|pair| format!("{pair}\tCC-BY 2.0 (France) Attribution: tatoeba.org\n")).collect()
}

#[test]
fn two_of_several_columns_are_chosen_by_number_or_by_name() {
    let folder = folder(attributed(9));
    folder.model();
    let message = train(&folder, &[], &["--dry-run"]).refusal();
    let found = "pairs.tsv: 3 tab-separated columns, expected 2; line 1 has 1 \"0 dogs\", 2 \"0 Hunde\"";
    assert!(message.contains(found) && message.contains("choose two with source_key and target_key"), "{message}");
    let pairs = |set: &[&str]| {
        let ran = train(&folder, set, &["--dry-run", "--json"]);
        assert!(!ran.stderr.contains("header"), "{}", ran.stderr);
        ran.objects().remove(0)["data"]["train"]["kept"].clone()
    };
    let keys = |source: &str, target: &str| {
        [format!("data.train.source_key=\"{source}\""), format!("data.train.target_key=\"{target}\"")]
    };
    let chosen = |source: &str, target: &str| pairs(&keys(source, target).each_ref().map(String::as_str));
    assert_eq!(chosen("2", "1"), 9);
    folder.write("pairs.tsv", format!("English\tGerman\tAttribution\n{}", attributed(9)));
    assert_eq!(chosen("German", "English"), 9);
    let message = train(&folder, &keys("Germn", "English").each_ref().map(String::as_str), &["--dry-run"]).refusal();
    assert!(message.contains("no column named \"Germn\" (did you mean \"German\"?)"), "{message}");
    // Chosen by number, the first line is an example, and looks like none.
    let ran = train(&folder, &keys("1", "2").each_ref().map(String::as_str), &["--dry-run"]);
    assert!(ran.stderr.contains("line 1 looks like a header (English, German, Attribution)"), "{ran:?}");
    let message = train(&folder, &keys("2", "2").each_ref().map(String::as_str), &["--dry-run"]).refusal();
    assert!(message.contains("`data.train.source_key` and `data.train.target_key` are both \"2\""), "{message}");
    let eval = |more: &[&str]| folder.run(&[&["eval", "m", "--data", "pairs.tsv", "--json"], more].concat(), "");
    assert!(eval(&[]).refusal().contains("3 tab-separated columns, expected 2"));
    for (keys, sentences) in [(["English", "German"], 9), (["1", "2"], 10)] {
        let found = eval(&["--source-key", keys[0], "--target-key", keys[1]]).objects().remove(0);
        assert_eq!(found["sentences"], sentences);
    }
}

#[test]
fn bad_lines_are_told_all_at_once_or_left_out_and_counted() {
    let folder = folder([numbered(30).as_bytes(), b"no tab\n\nf\xfcr\tx\na\tb\tc\n"].concat());
    let message = train(&folder, &[], &["--dry-run"]).refusal();
    for expected in [
        "pairs.tsv: 3 bad lines; a recipe with data.on_bad_line = \"skip\" leaves them out:",
        "line 31: 1 tab-separated columns, expected exactly 2",
        "line 33: not valid UTF-8",
        "line 34: 3 tab-separated columns",
    ] {
        assert!(message.contains(expected), "{message}");
    }
    let set = ["data.on_bad_line=skip", "data.valid={tsv=\"pairs.tsv\"}"];
    let ran = train(&folder, &set, &["--out", "run", "--json"]);
    let told = "left out 2 lines with another number of columns, 1 line not UTF-8";
    for part in ["data.train", "data.valid"] {
        assert!(ran.stderr.contains(&format!("{part}: {told}")), "{}", ran.stderr);
    }
    let summary = ran.objects().pop().unwrap();
    for part in ["train", "valid"] {
        let (report, lines) = (&summary["data"][part], &summary["data"][part]["lines"]);
        assert_eq!((&report["kept"], &report["pairs_read"]), (&30.into(), &30.into()), "{summary}");
        let found = ["blank", "other_columns", "not_utf8", "nul_byte"].map(|reason| lines[reason].as_u64().unwrap());
        assert_eq!(found, [1, 2, 1, 0], "{summary}");
    }
    let report = std::fs::read_to_string(folder.path("run/report.html")).unwrap();
    assert!(report.contains("2 lines with another number of columns") && report.contains("1 line without text"));
}

#[test]
fn bad_lines_of_prompts_and_of_texts_with_labels_follow_the_same_setting() {
    let folder = folder("");
    let size = "[model]\nlayers = 1\nheads = 2\nd_model = 16\nmax_positions = 48\n[train]\nmax_steps = 2\n";
    let prompts =
        "task = \"instruct\"\n[data]\ntrain = { tsv = \"d.tsv\", prompt_key = \"3\", completion_key = \"1\" }\n";
    let texts = "task = \"classify\"\n[data]\ntrain = { tsv = \"d.tsv\", text_key = \"1\", label_key = \"3\" }\n";
    folder.write("d.tsv", b"a\tx\t1\n\nb\ty\t0\nno tab\nc\tz\t1\nf\xfcr\tx\t0\n");
    for (recipe, tokenizer) in [(prompts, "[tokenizer]\nkind = \"char\"\n"), (texts, "")] {
        folder.write("r.toml", format!("{recipe}{tokenizer}{size}"));
        let message = train(&folder, &[], &["--dry-run"]).refusal();
        let told = message.contains("d.tsv: 2 bad lines; ") && message.contains("line 6: not valid UTF-8");
        assert!(told && message.contains("line 4: 1 "), "{message}");
        let ran = train(&folder, &["data.on_bad_line=skip"], &["--dry-run", "--json"]);
        let plan = ran.objects().remove(0);
        let report = &plan["data"]["train"];
        assert_eq!(report["kept"], 3, "{plan}");
        let lines = ["blank", "other_columns", "not_utf8"].map(|reason| report["lines"][reason].as_u64());
        assert_eq!(lines, [Some(1); 3], "{plan}");
    }
}

#[test]
fn bad_lines_of_words_choices_and_questions_follow_the_same_setting() {
    let folder = folder("");
    folder.write("d.conll", "a\tB-X\nb\tO\n\nc\nd\tO\n\ne\tO\n");
    folder.write("d.tsv", "p\tx\ty\t0\nno choice\t0\nq\tx\ty\t1\n");
    let context = r#""context": "the dog was here", "qas": ["#;
    let question = r#"{"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 4}]}"#;
    folder.write("d.json", format!(r#"{{"data": [{{"paragraphs": [{{{context}{question}, {{"id": "2"}}]}}]}}]}}"#));
    let size = "[model]\nlayers = 1\nheads = 2\nd_model = 16\n[train]\nmax_steps = 2\n";
    for (task, data, bad, left_out) in [
        ("tag", "conll = \"d.conll\"", "d.conll, line 4: 1 columns", "1 sentences have a bad line"),
        ("multiple-choice", "tsv = \"d.tsv\"", "d.tsv, line 2: 2 columns", "1 line with another number of columns"),
        ("qa", "squad = \"d.json\"", "qas[1]: there is no \"question\"", "1 entries hold no question"),
    ] {
        folder.write("r.toml", format!("task = \"{task}\"\n[data]\ntrain = {{ {data} }}\n{size}"));
        let message = train(&folder, &[], &["--dry-run"]).refusal();
        assert!(message.contains(bad) && message.contains("data.on_bad_line = \"skip\" leaves the "), "{message}");
        let ran = train(&folder, &["data.on_bad_line=skip"], &["--dry-run", "--json"]);
        assert!(ran.stderr.contains(left_out), "{ran:?}");
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn prompts_stand_in_columns_with_names() {
    let folder = folder("");
    folder.write("d.tsv", "id\tquestion\tanswer\n1\tWho?\tMe.\n2\tWhat?\tThat.\n");
    let recipe = "task = \"instruct\"\n[data]\ntrain = { tsv = \"d.tsv\", prompt_key = \"question\", completion_key = \"answer\" }\n";
    let size = "[tokenizer]\nkind = \"char\"\n[model]\nlayers = 1\nheads = 2\nd_model = 16\n[train]\nmax_steps = 2\n";
    folder.write("r.toml", format!("{recipe}{size}"));
    let shown = train(&folder, &[], &["--show-masks"]).output();
    assert!(shown.contains("Who?") && shown.contains("That.") && !shown.contains("question"), "{shown}");
}
