//! Sizes, vocabularies and words beyond all measure: planned by arithmetic, or refused in words.

use std::fs;

use serde_json::Value;

use crate::support::{Folder, SENTENCES};

const HUGE: [&str; 10] = [
    "--set",
    "model.d_model=65536",
    "--set",
    "model.encoder_layers=1024",
    "--set",
    "model.decoder_layers=1024",
    "--set",
    "model.heads=64",
    "--set",
    "model.d_ff=262144",
];

fn language_recipe(folder: &Folder, model: &str, train: &str) {
    folder.write("text.txt", "the cat sees the dog.\n".repeat(60));
    let recipe = format!(
        "task = \"causal-lm\"\n[data]\ntext = \"text.txt\"\n[tokenizer]\nkind = \"char\"\n[model]\n{model}\n[train]\n\
         max_steps = 30\n{train}\n"
    );
    folder.write("lm.toml", recipe);
}

#[test]
fn a_plan_counts_a_model_that_no_machine_holds() {
    let folder = Folder::new();
    folder.recipe();
    let plan = |arguments: &[&str]| {
        folder.run(&[&["train", "--dry-run", "--json"], arguments].concat(), "").objects().remove(0)
    };
    let found = plan(&[&["r.toml", "--out", "run"], &HUGE[..]].concat());
    let parameters = found["parameters"].as_u64().unwrap();
    // Attention and feed-forward of every layer, without tables and biases.
    let (width, inner, layers) = (65_536_u64, 262_144, 1024);
    let least = layers * (4 * width * width + 2 * width * inner) + layers * (8 * width * width + 2 * width * inner);
    assert!(parameters > least && parameters < least + least / 100, "{parameters} {least}");
    let trainable = found["trainable"].as_u64().unwrap();
    assert_eq!(found["state_bytes"].as_u64(), Some(4 * (parameters + 3 * trainable)));
    language_recipe(&folder, "d_model = 12288\nlayers = 96\nheads = 96\nmax_positions = 2048", "batch_tokens = 4096");
    let found = folder.run(&["train", "lm.toml", "--dry-run", "--set", "data.block_size=64"], "").output();
    // GPT-3 of 175 billion, less most of its vocabulary.
    assert!(found.contains("trainable params: 173,") || found.contains("trainable params: 174,"), "{found}");
    assert!(found.contains(" are free here") && found.contains("the run: 30 updates, about "), "{found}");
    assert!(!folder.path("run").exists() && !folder.path("runs").exists());
}

#[test]
fn positions_that_no_sentence_has_cost_nothing() {
    let folder = Folder::new();
    folder.model();
    let expected = folder.run(&["translate", "m", "a dog"], "").output();
    let config = fs::read_to_string(folder.path("m/config.json")).unwrap();
    let huge = config.replace("\"max_position_embeddings\": 32", "\"max_position_embeddings\": 16777216");
    assert_ne!(config, huge);
    folder.write("m/config.json", huge);
    assert_eq!(folder.run(&["translate", "m", "a dog"], "").output(), expected);
}

#[test]
fn a_run_that_does_not_fit_into_memory_is_refused_before_it_starts() {
    let folder = Folder::new();
    folder.recipe();
    let message = folder.run(&[&["train", "r.toml", "--out", "run"], &HUGE[..]].concat(), "").refusal();
    assert!(message.contains("training this model (weights, gradients and moments) needs "), "{message}");
    assert!(message.contains(" are free here") && !folder.path("run").exists(), "{message}");
    language_recipe(&folder, "d_model = 16\nlayers = 1\nheads = 2\nmax_positions = 16", "batch_tokens = 64");
    for setting in ["train.batch_tokens=9000000000000000000", "train.accumulate=9000000000000000000"] {
        let message = folder.run(&["train", "lm.toml", "--out", "run", "--set", setting], "").refusal();
        assert!(message.contains("train.batch_tokens") && message.contains(" are free here"), "{message}");
        // A plan may be for another machine, and tells what this one would refuse.
        let plan = folder.run(&["train", "lm.toml", "--dry-run", "--set", setting], "");
        assert!(plan.stderr.contains("this would not start here: an update of train.batch_tokens "), "{plan:?}");
        plan.output();
    }
    // The examples of a pass are no more, however many might be asked for.
    let all = ["--set", "train.accumulate=9000000000000000000", "--set", "train.batch_tokens=9000000000000000000"];
    let epochs = [&["train", "r.toml", "-q", "--set", "train.max_epochs=2"], &all[..]].concat();
    let plan = folder.run(&[&epochs[..], &["--dry-run"]].concat(), "");
    assert!(!plan.stderr.contains("would not start"), "{plan:?}");
    folder.run(&[&epochs[..], &["--out", "whole", "--set", "schedule.warmup_steps=1"]].concat(), "").output();
    let message =
        folder.run(&["train", "r.toml", "--out", "run", "--set", "train.accumulate=9000000000000000000"], "").refusal();
    assert!(message.contains("train.accumulate 9000000000000000000"), "{message}");
}

#[test]
fn a_validation_takes_no_more_batches_than_its_text_has() {
    let folder = Folder::new();
    language_recipe(&folder, "d_model = 16\nlayers = 1\nheads = 2\nmax_positions = 16", "batch_tokens = 64");
    let run = |batches: &str, out: &str| {
        let set = format!("train.eval_batches={batches}");
        let command = ["train", "lm.toml", "-q", "--out", out, "--set", &set, "--set", "train.eval_every=15"];
        folder.run(&command, "").output();
        fs::read_to_string(folder.path(out).join("metrics.jsonl")).unwrap()
    };
    let losses = |metrics: String| -> Vec<f64> {
        let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["eval_loss"].as_f64();
        metrics.lines().filter_map(loss).collect()
    };
    let all = losses(run("0", "all"));
    assert_eq!((all.len(), losses(run("9000000000000000000", "most"))), (2, all));
}

#[test]
fn a_plan_names_the_users_text_and_leaves_nothing_when_it_is_stopped() {
    let folder = Folder::new();
    language_recipe(&folder, "d_model = 16\nlayers = 1\nheads = 2\nmax_positions = 16", "batch_tokens = 64");
    let short = folder.write("short.txt", "x y");
    for more in [&["--dry-run"][..], &["--out", "run"]] {
        let set = ["train", "lm.toml", "--set", "data.text=short.txt", "--set", "data.valid_fraction=0"];
        let message = folder.run(&[&set[..], more].concat(), "").refusal();
        assert!(message.contains(&format!("{}: 4 tokens, a window of 16 needs 17", short.display())), "{message}");
    }
    fs::create_dir(folder.path("tmp")).unwrap();
    folder.write("text.txt", "the cat sees the dog.\n".repeat(1_000_000));
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("atento"));
    command.args(["train", "lm.toml", "--dry-run"]).current_dir(folder.path("")).env("TMPDIR", folder.path("tmp"));
    let mut plan = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let made = || fs::read_dir(folder.path("tmp")).unwrap().count();
    // Until something lies in its folder: then the program knows that folder as its own.
    let is_under_way = || {
        let folders = fs::read_dir(folder.path("tmp")).unwrap().flatten();
        folders.flat_map(|entry| fs::read_dir(entry.path())).any(|mut files| files.next().is_some())
    };
    while !is_under_way() && plan.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let terminated = std::process::Command::new("kill").arg(plan.id().to_string()).status().unwrap();
    assert!(terminated.success());
    assert_eq!((plan.wait().unwrap().code(), made()), (Some(128 + 15), 0));
}

#[test]
fn a_plan_of_a_resumed_run_checks_what_resuming_checks() {
    let folder = Folder::new();
    folder.recipe();
    let resume =
        |more: &[&str]| folder.run(&[&["train", "r.toml", "--out", "run", "--resume", "--dry-run"], more].concat(), "");
    assert!(resume(&[]).refusal().contains("nothing to resume") || !folder.path("run").exists());
    folder.run(&["train", "r.toml", "--out", "run", "-q"], "").output();
    let plan = resume(&["--max-steps", "8"]).output();
    assert!(plan.contains("the run: 8 updates, 6 of them done, "), "{plan}");
    let message = resume(&["--set", "optimizer.lr=0.5"]).refusal();
    assert!(message.contains("`optimizer.lr`") && message.contains("another run"), "{message}");
    fs::write(folder.path("pairs.tsv"), "a dog\tein Hund\n".repeat(9)).unwrap();
    assert!(resume(&[]).refusal().contains("is not what it was"), "other data");
}

#[test]
fn a_configuration_of_any_size_can_be_looked_at_and_is_not_loaded() {
    let folder = Folder::new();
    let model = folder.model();
    let read = |name: &str| fs::read_to_string(model.join(name)).unwrap();
    let mut config: Value = serde_json::from_str(&read("config.json")).unwrap();
    for key in
        ["vocab_size", "decoder_vocab_size", "d_model", "encoder_ffn_dim", "decoder_ffn_dim", "max_position_embeddings"]
    {
        config[key] = (1 << 24).into();
    }
    for key in ["encoder_layers", "decoder_layers"] {
        config[key] = 1024.into();
    }
    folder.write("m/config.json", config.to_string());
    let planned = folder.run(&["inspect", "plan", "m/config.json"], "").output();
    assert!(planned.contains("in training "), "{planned}");
    let message = folder.run(&["translate", "m", "a dog"], "").refusal();
    assert!(message.contains("model.safetensors"), "{message}");
    config["vocab_size"] = 1_000_000_000_000_000_000_u64.into();
    folder.write("m/config.json", config.to_string());
    let message = folder.run(&["inspect", "plan", "m/config.json"], "").refusal();
    assert!(message.contains("vocab_size") && message.contains("1000000000000000000"), "{message}");
}

#[test]
fn a_tokenizer_that_is_cut_short_is_an_input_error() {
    let folder = Folder::new();
    let model = folder.model();
    let whole = fs::read_to_string(model.join("tokenizer.json")).unwrap();
    let decoder = whole.find("\"decoder\"").unwrap();
    for end in [decoder + 20, decoder + 40, whole.len() - 3, whole.len() / 2, 1] {
        folder.write("m/tokenizer.json", &whole[..end]);
        let message = folder.run(&["translate", "m", "a dog"], "").refusal();
        assert!(message.contains("m/tokenizer.json: not a tokenizer.json: not JSON: "), "{message}");
    }
}

#[test]
fn text_of_endless_words_and_many_characters_becomes_a_tokenizer() {
    let folder = Folder::new();
    let characters: String = (0..500_u32).map(|i| char::from_u32(0x4E00 + i * 7 % 900).unwrap()).collect();
    let text: String = SENTENCES.iter().map(|(source, _)| format!("{source}\n")).collect();
    folder.write("text", format!("{}\n{}\n{characters}\n", text.repeat(5), "aZ3bxq7".repeat(900)));
    let train =
        |arguments: &[&str]| folder.run(&[&["tokenizer", "train", "text", "--out", "t.json"], arguments].concat(), "");
    for kind in ["bpe", "byte-bpe", "unigram", "wordpiece"] {
        let more: &[&str] = if kind == "byte-bpe" { &[] } else { &["--limit-alphabet", "60"] };
        let ran = train(&[&["--kind", kind, "--vocab-size", "400"], more].concat());
        assert!(ran.stderr.contains("1 word of more than 1000 characters"), "{kind}: {}", ran.stderr);
        assert_eq!(ran.stderr.contains("outside the tokenizer's alphabet"), !more.is_empty(), "{kind}: {}", ran.stderr);
        ran.output();
    }
    let message = train(&["--kind", "bpe", "--vocab-size", "500"]).refusal();
    assert!(message.contains("limit_alphabet (at most 240)") && !message.contains("min_frequency"), "{message}");
    train(&["--kind", "bpe", "--vocab-size", "500", "--limit-alphabet", "240"]).output();
    train(&["--kind", "bpe", "--vocab-size", "300", "--byte-fallback=false", "--character-coverage", "0.9"]).output();
    for (refused, named) in [
        (&["--kind", "byte-bpe", "--limit-alphabet", "9"][..], "limit_alphabet"),
        (&["--kind", "wordpiece", "--byte-fallback"], "byte_fallback"),
        (&["--kind", "unigram", "--min-frequency", "3"], "--min-frequency"),
        (&["--vocab-size", "18446744073709551615"], "vocab_size = 18446744073709551615"),
        (&["--character-coverage", "2"], "character_coverage = 2"),
    ] {
        let message = train(refused).refusal();
        assert!(message.contains(named), "{message}");
    }
}
