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
