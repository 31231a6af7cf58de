//! Runs that lose their directory, their data, their checkpoints or their numbers.

use std::fs;
use std::path::Path;

use atento::train::recipe::Override;
use atento::train::{Error, Event, Recipe, Reporter, StopFlag, Summary, TrainOptions, train};
use serde_json::Value;

const SETTINGS: &str = r#"
    task = "causal-lm"
    seed = 5
    [data]
    tokens = "tokens"
    [tokenizer]
    file = "tokenizer.json"
    [model]
    layers = 1
    heads = 2
    d_model = 8
    max_positions = 16
    [train]
    max_steps = 8
    batch_tokens = 32
    log_every = 1
    eval_every = 4
    [optimizer]
    lr = 0.01
    [schedule]
    kind = "constant"
    warmup_steps = 0
"#;

/// Does something when a step has been logged.
struct At<F: FnMut()>(u64, F);

impl<F: FnMut()> Reporter for At<F> {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Step(report) if report.step == self.0) {
            self.1();
        }
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with token files, which a `tokens.json` describes, and a recipe.
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        fs::write(folder.path("text.txt"), "the cat sees the dog and the dog sees the cat.\n".repeat(20)).unwrap();
        let text = SETTINGS.replace("tokens = \"tokens\"", "text = \"text.txt\"");
        let text =
            text.replace("file = \"tokenizer.json\"", "kind = \"char\"").replace("max_steps = 8", "max_steps = 1");
        fs::write(folder.path("r.toml"), text).unwrap();
        folder.train("made", &[], At(0, || ())).unwrap();
        fs::rename(folder.path("made/data"), folder.path("tokens")).unwrap();
        fs::rename(folder.path("made/tokenizer.json"), folder.path("tokenizer.json")).unwrap();
        fs::write(folder.path("r.toml"), SETTINGS).unwrap();
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Trains in the directory `name`, or resumes there where it exists.
    #[expect(clippy::result_large_err, reason = "the error is that of the library")]
    fn train(&self, name: &str, settings: &[&str], mut reporter: impl Reporter) -> Result<Summary, Error> {
        let settings: Vec<Override> = settings.iter().map(|&setting| Override::set(setting)).collect();
        let loaded = Recipe::load(&self.path("r.toml"), &settings)?;
        let recipe = Recipe { out: Some(self.path(name)), ..loaded.recipe };
        let resume = self.path(name).exists();
        let options = TrainOptions { resume, written: loaded.written };
        train(&recipe, &options, &StopFlag::new(), &mut reporter)
    }

    #[expect(clippy::result_large_err, reason = "the error is that of the library")]
    fn go_on(&self, name: &str) -> Result<Summary, Error> {
        self.train(name, &[], At(0, || ()))
    }

    /// The message of a run that refuses to go on, and that has changed nothing for it.
    #[track_caller]
    fn refusal(&self, name: &str) -> String {
        let before = fs::read(self.path(name).join("metrics.jsonl")).unwrap();
        let error = self.go_on(name).unwrap_err();
        assert!(error.is_input(), "{error}");
        assert_eq!(fs::read(self.path(name).join("metrics.jsonl")).unwrap(), before);
        error.to_string()
    }

    fn weights(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name).join("model/model.safetensors")).unwrap()
    }

    fn metrics(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name).join("metrics.jsonl")).unwrap();
        let untimed = |line: &str| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            value.as_object_mut().unwrap().remove("tokens_per_second");
            value
        };
        text.lines().map(untimed).collect()
    }
}

#[test]
fn token_files_that_are_cut_short_in_mid_run_cost_no_finished_update() {
    let folder = Folder::new();
    folder.go_on("whole").unwrap();
    let tokens = folder.path("tokens/train.bin");
    let whole = fs::read(&tokens).unwrap();
    let cut = || fs::File::options().write(true).open(&tokens).unwrap().set_len(4).unwrap();
    let error = folder.train("run", &[], At(3, cut)).unwrap_err();
    assert!(!error.is_input() && error.to_string().contains("train.bin: the file has 4 bytes now"), "{error}");
    assert!(folder.path("run/checkpoints/step-3/complete.json").exists());
    fs::write(&tokens, whole).unwrap();
    folder.go_on("run").unwrap();
    assert!(folder.weights("run") == folder.weights("whole"));
    assert_eq!(folder.metrics("run"), folder.metrics("whole"));
}

#[test]
fn an_id_beyond_the_vocabulary_is_found_before_a_run_begins_whatever_stands_beside_it() {
    let folder = Folder::new();
    assert!(folder.path("tokens/tokens.json").exists());
    for name in ["train.bin", "val.bin"] {
        let path = folder.path("tokens").join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let last = bytes.len() - 2;
        bytes[last..].copy_from_slice(&999_u16.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = folder.go_on("run").unwrap_err();
        assert!(error.is_input() && error.to_string().contains("has id 999"), "{error}");
        assert!(!folder.path("run").exists());
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn what_could_not_be_written_to_the_log_is_written_when_the_run_goes_on() {
    let folder = Folder::new();
    folder.go_on("whole").unwrap();
    // The line of step 4, and at step 5 all that comes after the evaluation of step 4.
    for step in [3, 4] {
        let (name, log) = (format!("run{step}"), folder.path(&format!("run{step}/log.txt")));
        let break_log = || {
            fs::remove_file(&log).unwrap();
            fs::create_dir(&log).unwrap();
        };
        let error = folder.train(&name, &[], At(step, break_log)).unwrap_err();
        assert!(!error.is_input() && error.to_string().contains("log.txt"), "{error}");
        fs::remove_dir(&log).unwrap();
        folder.go_on(&name).unwrap();
        assert_eq!(folder.metrics(&name), folder.metrics("whole"), "{step}");
        assert!(folder.weights(&name) == folder.weights("whole"), "{step}");
    }
}

#[test]
fn a_run_whose_directory_is_removed_or_replaced_fails_and_makes_no_other() {
    let folder = Folder::new();
    for replaced in [false, true] {
        let path = folder.path("run");
        let remove = || {
            fs::remove_dir_all(&path).unwrap();
            if replaced {
                fs::create_dir(&path).unwrap();
                fs::write(path.join(".lock"), "1").unwrap();
            }
        };
        let error = folder.train("run", &[], At(3, remove)).unwrap_err();
        assert!(!error.is_input() && error.to_string().contains("was removed, moved or replaced"), "{error}");
        let left: Vec<_> = fs::read_dir(&path).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, if replaced { vec![".lock"] } else { vec![] });
        let _ = fs::remove_dir_all(&path);
    }
}

#[test]
fn a_run_that_has_made_steps_is_not_begun_anew_where_its_checkpoints_are_gone_or_damaged() {
    let folder = Folder::new();
    folder.go_on("run").unwrap();
    let (checkpoints, aside) = (folder.path("run/checkpoints"), folder.path("aside"));
    fs::rename(&checkpoints, &aside).unwrap();
    let gone = folder.refusal("run");
    assert!(gone.contains("came to step 8") && gone.contains("put its directory checkpoints back"), "{gone}");
    // As where a disk is not mounted.
    fs::create_dir(&checkpoints).unwrap();
    assert_eq!(folder.refusal("run"), gone);
    fs::remove_file(folder.path("run/config.toml")).unwrap();
    assert_eq!(folder.refusal("run"), gone);
    fs::remove_dir(&checkpoints).unwrap();
    fs::rename(&aside, &checkpoints).unwrap();
    for checkpoint in fs::read_dir(&checkpoints).unwrap() {
        fs::write(checkpoint.unwrap().path().join("state.json"), "{}").unwrap();
    }
    let damaged = folder.refusal("run");
    assert!(damaged.contains("no checkpoint in") && damaged.contains("is intact"), "{damaged}");
}

#[test]
fn a_place_in_the_data_that_cannot_be_read_is_not_taken_for_the_beginning() {
    let folder = Folder::new();
    for (cursor, expected) in [
        (serde_json::json!({"epoch": 0}), "its place in the data, {\"epoch\":0}, cannot be read: missing field"),
        (serde_json::json!({"epoch": u64::MAX, "index": 0}), "cannot be read: no run comes to"),
        (serde_json::json!({"epoch": 0, "index": 1_000_000}), "(epoch 0, index 1000000) does not exist"),
    ] {
        let _ = fs::remove_dir_all(folder.path("run"));
        folder.go_on("run").unwrap();
        set_cursor(&folder.path("run/checkpoints/step-8"), cursor);
        let message = folder.refusal("run");
        assert!(message.contains(expected), "{message}");
    }
}

/// Changes where a checkpoint says that the data loader stood.
fn set_cursor(checkpoint: &Path, cursor: Value) {
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(checkpoint.join(name)).unwrap()).unwrap() };
    let (mut state, mut list) = (read("state.json"), read("complete.json"));
    state["cursor"] = cursor;
    let text = serde_json::to_vec(&state).unwrap();
    let files = list["files"].as_array_mut().unwrap();
    let entry = files.iter_mut().find(|entry| entry["name"] == "state.json").unwrap();
    (entry["bytes"], entry["crc32"]) = (text.len().into(), crc32fast::hash(&text).into());
    fs::write(checkpoint.join("state.json"), text).unwrap();
    fs::write(checkpoint.join("complete.json"), list.to_string()).unwrap();
}

#[test]
fn updates_are_not_skipped_for_ever_and_are_counted() {
    let folder = Folder::new();
    let skip = ["train.on_non_finite=skip", "optimizer.lr=1e30", "train.eval_every=0", "train.save_every=1"];
    let error = folder.train("run", &[&skip[..], &["train.max_skips=3"]].concat(), At(0, || ())).unwrap_err();
    assert!(
        matches!(&error, Error::Midway(error) if matches!(**error, Error::OnlySkips { step: 5, skips: 3, .. })),
        "{error}"
    );
    assert!(!error.is_input() && !folder.path("run/model").exists());
    // The weights are numbers: those after the first update.
    let values = fs::read(folder.path("run/checkpoints/step-4/values.f32")).unwrap();
    assert!(values.as_chunks::<4>().0.iter().all(|&bytes| f32::from_le_bytes(bytes).is_finite()));
}

#[test]
fn a_model_that_is_no_longer_finite_is_neither_saved_nor_exported() {
    let folder = Folder::new();
    // The first update is beyond all numbers, though loss and gradient are none.
    let settings = ["train.on_non_finite=skip", "optimizer.lr=1e39", "train.save_every=2", "train.eval_every=2"];
    let error = folder.train("run", &settings, At(0, || ())).unwrap_err();
    assert!(!error.is_input() && error.to_string().contains("is not finite, so the model is neither saved"), "{error}");
    assert!(!folder.path("run/model").exists());
    let checkpoints = fs::read_dir(folder.path("run/checkpoints")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(checkpoints.collect::<Vec<_>>(), ["step-0"]);
}
