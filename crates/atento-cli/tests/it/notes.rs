//! What a run tells a person who may have meant something else.

use serde_json::Value;

use crate::support::{Folder, Ran, reference_models};

const TEXT: &str = "the cat sees the dog.\nthe dog sees the cat.\n";

/// A folder with `text.txt` and a recipe `c.toml` of two steps that says nothing of the model.
fn continuing() -> Folder {
    let folder = Folder::new();
    folder.write("text.txt", TEXT.repeat(40));
    let recipe =
        "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\nvalid_fraction = 0.2\n[tokenizer]\nkind = \"char\"\n";
    folder.write("c.toml", format!("{recipe}[train]\nmax_steps = 2\nbatch_tokens = 64\neval_every = 1\n"));
    folder
}

/// A folder with `pairs.tsv` of prompts with completions and a recipe `i.toml` of two steps of a model of 32 positions.
fn answering(pairs: &str) -> Folder {
    let folder = Folder::new();
    folder.write("pairs.tsv", pairs);
    let model = "[model]\nlayers = 1\nheads = 2\nd_model = 16\nmax_positions = 32\n";
    let data = "task = \"instruct\"\n[data]\ntrain = { tsv = \"pairs.tsv\" }\n[tokenizer]\nkind = \"char\"\n";
    folder.write("i.toml", format!("{data}{model}[train]\nmax_steps = 2\nbatch_tokens = 64\n"));
    folder
}

const SMALL: [&str; 6] = ["--set", "model.layers=1", "--set", "model.heads=2", "--set", "model.d_model=16"];

fn train(folder: &Folder, recipe: &str, more: &[&str]) -> Ran {
    folder.run(&[&["train", recipe, "--out", "run"], more].concat(), "")
}

#[test]
fn a_new_model_that_nobody_described_is_told() {
    let folder = continuing();
    let told = |more: &[&str]| {
        let ran = train(&folder, "c.toml", &[&["--dry-run"], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stderr.contains("note: no [model] and no --from: a new model of preset small, ")
            && ran.stderr.contains(" parameters, starts from random weights")
    };
    assert!(told(&[]));
    assert!(!told(&SMALL));
    train(&folder, "c.toml", &SMALL).output();
    assert!(!told(&["--from", "run"]));
    let ran = train(&folder, "c.toml", &["--resume", "--dry-run"]);
    assert!(!ran.stderr.contains("a new model"), "{ran:?}");
}

#[test]
fn windows_that_the_batch_makes_short_are_told() {
    let folder = continuing();
    let told = "windows of 64 tokens because of `train.batch_tokens`; the model has 256 positions";
    let ran = train(&folder, "c.toml", &[&SMALL[..], &["--dry-run"]].concat());
    assert!(ran.stderr.contains(told), "{ran:?}");
    for setting in ["data.block_size=64", "train.batch_tokens=256"] {
        let ran = train(&folder, "c.toml", &[&SMALL[..], &["--dry-run", "--set", setting]].concat());
        assert!(ran.code == Some(0) && !ran.stderr.contains("windows of"), "{ran:?}");
    }
}

#[test]
fn the_summary_says_which_steps_weights_the_model_holds() {
    let folder = continuing();
    let ran = train(&folder, "c.toml", &[&SMALL[..], &["--set", "optimizer.lr=1e-3"]].concat());
    assert!(ran.stdout.contains("\nexported             step 2, the best validation loss, "), "{ran:?}");
    let plan = folder.run(&["inspect", "plan", "run"], "").output();
    assert!(plan.contains("parameters  7,648 (7,648 trainable)"), "a run directory is one with a config.json: {plan}");
    assert!(ran.stderr.contains("run: 7,648 parameters, 22 stretches of text"), "{ran:?}");
    let report = std::fs::read_to_string(folder.path("run/report.html")).unwrap();
    assert!(report.contains("step 2, the best validation loss, "));
    let summary = |settings: &[&str]| -> (Value, Value) {
        std::fs::remove_dir_all(folder.path("run")).unwrap();
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let more: Vec<&str> = SMALL.into_iter().chain(set).chain(["--json"]).collect();
        let mut summary = train(&folder, "c.toml", &more).objects().remove(0);
        (summary["model_step"].take(), summary["model_choice"].take())
    };
    assert_eq!(summary(&["data.valid_fraction=0", "train.eval_every=0"]), (2.into(), "the last step".into()));
    let mean = summary(&["train.average_last=2", "train.save_every=1"]);
    assert_eq!(mean, (2.into(), "the mean of the last 2 checkpoints".into()));
    // A learning rate of this size makes the model worse.
    let worse = summary(&["optimizer.lr=20", "schedule.warmup_steps=0", "train.max_steps=3"]);
    assert!(worse.1.as_str().unwrap().starts_with("the best validation loss, "), "{worse:?}");
}

#[test]
fn a_tsv_file_with_a_header_is_told() {
    let folder = answering("question\tanswer\na dog\tA dog.\n");
    let told = "pairs.tsv: line 1 looks like a header (question, answer) and is used as an example";
    for more in [&["--dry-run"][..], &[]] {
        let ran = train(&folder, "i.toml", more);
        assert!(ran.code == Some(0) && ran.stderr.contains(told), "{ran:?}");
    }
    let folder = Folder::new();
    folder.recipe();
    assert!(!train(&folder, "r.toml", &["--dry-run"]).stderr.contains("header"));
    let pairs = std::fs::read_to_string(folder.path("pairs.tsv")).unwrap();
    folder.write("pairs.tsv", format!("en\tde\n{pairs}"));
    assert!(train(&folder, "r.toml", &["--dry-run"]).stderr.contains("line 1 looks like a header (en, de)"));
}

#[test]
fn a_text_that_spells_the_unknown_token_is_told_as_such() {
    let folder = continuing();
    folder.write("text.txt", TEXT.repeat(40) + "the <unk> sees.\n");
    let set = ["--set", "tokenizer.kind=byte_bpe", "--set", "tokenizer.vocab_size=300", "--dry-run"];
    let ran = train(&folder, "c.toml", &[&SMALL[..], &set].concat());
    assert!(ran.stderr.contains("the text spells the unknown token `<unk>` once"), "{ran:?}");
}

#[test]
fn a_completion_without_an_end_is_told() {
    let folder = answering("a dog\tA dog.\n");
    let told = "`data.completion_template` has no <end>: the model is not taught to stop";
    let run = |more: &[&str]| train(&folder, "i.toml", &[&["--dry-run"], more].concat()).stderr.contains(told);
    assert!(run(&["--set", "data.completion_template={completion}"]));
    assert!(!run(&[]) && !run(&["--set", "data.completion_template={completion}</s>"]));
}

#[test]
fn a_long_example_is_told_with_the_settings_that_help() {
    let folder = answering(&format!("a dog\t{}\n", "A dog. ".repeat(9)));
    let message = train(&folder, "i.toml", &[]).refusal();
    assert!(message.contains("`data.train`: ") && message.contains("pairs.tsv, line 1: the example has "), "{message}");
    assert!(message.contains("the model has 32 positions, room for 33: set data.on_truncate = \"warn\""), "{message}");
    assert!(!message.contains("raise"), "{message}");
    let message = train(&folder, "i.toml", &["--set", "data.block_size=8"]).refusal();
    assert!(message.contains("`data.block_size` 8 leaves room for 9: raise it, or set data.on_truncate"), "{message}");
}

#[test]
fn a_missing_key_is_told_with_the_setting_that_names_it() {
    let folder = answering("");
    let refused = |object: &str, settings: &[&str]| {
        folder.write("d.jsonl", format!("{object}\n"));
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let data = ["--set", "data={train={jsonl=\"d.jsonl\"}}"];
        train(&folder, "i.toml", &data.into_iter().chain(set).collect::<Vec<_>>()).refusal()
    };
    let message = refused("{\"n\": 1}", &[]);
    let both = "name the two with `prompt_key` and `completion_key`";
    assert!(message.contains(&format!("no value at key \"prompt\"; it has no key with text; {both}")), "{message}");
    let message = refused("{\"promt\": \"a\"}", &[]);
    assert!(message.contains(&format!("no value at key \"prompt\" (did you mean \"promt\"?); {both}")), "{message}");
    let message = refused("{\"q\": \"a\", \"completion\": \"b\"}", &["data.prompt_template={question}:"]);
    assert!(message.contains("at key \"question\"; its keys with text are q, completion; "), "{message}");
    assert!(message.contains("`data.prompt_template` asks for {question}: name there what the data have"), "{message}");
}

#[test]
fn text_without_a_task_is_told_with_the_task() {
    let folder = continuing();
    let text = std::fs::read_to_string(folder.path("c.toml")).unwrap();
    folder.write("c.toml", text.replace("task = \"causal-lm\"\n", ""));
    let message = train(&folder, "c.toml", &[]).refusal();
    assert!(message.contains("c.toml:2: `data.text` is for language models: add task = \"causal-lm\""), "{message}");
}

#[test]
fn a_draft_that_is_refused_has_no_share_of_accepted_tokens() {
    let folder = continuing();
    train(&folder, "c.toml", &SMALL).output();
    for model in reference_models(&["GPT2LMHeadModel"]) {
        let model = model.to_str().unwrap();
        let message = folder.run(&["generate", model, "--prompt", "a", "--greedy", "--draft", "run"], "").refusal();
        assert!(!message.contains("drafted tokens"), "{message}");
    }
}
