//! What a run that was stopped makes in the end.

use std::path::Path;

use atento::hub::safetensors::SafeTensors;
use atento::train::recipe::Override;
use atento::train::{Event, Recipe, Reporter, StopFlag, Summary, TrainOptions, train};

const SETTINGS: &str = r#"
    seed = 5
    [data]
    train = { tsv = "pairs.tsv" }
    max_length = 16
    drop_duplicates = false
    [tokenizer]
    vocab_size = 300
    min_frequency = 1
    [model]
    d_model = 16
    heads = 2
    d_ff = 32
    encoder_layers = 1
    decoder_layers = 1
    max_positions = 16
    [train]
    max_steps = 10
    batch_tokens = 64
    log_every = 1
    save_every = 4
    keep_last = 2
    ema = 0.9
    [search]
    beam = 1
    max_length = 8
"#;

/// Stops the run after some step.
struct StopAt(u64, StopFlag);

impl Reporter for StopAt {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Step(report) if report.step == self.0) {
            self.1.stop();
        }
    }
}

fn run(folder: &Path, name: &str, stop_at: u64, resume: bool, settings: &[&str]) -> Summary {
    let settings: Vec<Override> = settings.iter().map(|&setting| Override::set(setting)).collect();
    let loaded = Recipe::load(&folder.join("r.toml"), &settings).unwrap();
    let recipe = Recipe { out: Some(folder.join(name)), ..loaded.recipe };
    let stop = StopFlag::new();
    train(&recipe, &TrainOptions { resume, ..TrainOptions::default() }, &stop, &mut StopAt(stop_at, stop.clone()))
        .unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..40).map(|i| format!("the dog {} runs\tder Hund {} rennt\n", i % 7, i % 7)).collect();
    std::fs::write(folder.path().join("pairs.tsv"), lines).unwrap();
    std::fs::write(folder.path().join("r.toml"), SETTINGS).unwrap();
    folder
}

fn weights(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name).join("model/model.safetensors")).unwrap()
}

#[test]
fn a_stop_does_not_change_which_checkpoints_are_averaged() {
    let folder = folder();
    let settings = ["train.average_last=2", "train.ema=0"];
    assert_eq!(run(folder.path(), "whole", 0, false, &settings).ending, "limit");
    for stop_at in [3, 6, 9] {
        let name = format!("stopped{stop_at}");
        assert_eq!(run(folder.path(), &name, stop_at, false, &settings).ending, "stopped");
        assert!(folder.path().join(format!("{name}/checkpoints/step-{stop_at}")).exists());
        assert_eq!(run(folder.path(), &name, 0, true, &settings).ending, "limit");
        assert!(weights(folder.path(), &name) == weights(folder.path(), "whole"), "stopped at {stop_at}");
    }
}

#[test]
fn the_moving_average_is_exported_also_where_nothing_was_evaluated() {
    let folder = folder();
    run(folder.path(), "run", 0, false, &[]);
    let run = folder.path().join("run");
    let model = SafeTensors::open(&run.join("model/model.safetensors")).unwrap();
    let table = model.read_f32("model.shared.weight", model.get("model.shared.weight").unwrap().shape).unwrap();
    let table: Vec<u8> = table.iter().flat_map(|value| value.to_le_bytes()).collect();
    let holds = |name: &str| {
        let values = std::fs::read(run.join("checkpoints/step-10").join(name)).unwrap();
        values.windows(table.len()).step_by(4).any(|window| window == table)
    };
    assert_eq!((holds("average.f32"), holds("values.f32")), (true, false));
}

/// The arrays of checkpoints after `steps`, in one mean.
fn mean_of(run: &Path, steps: &[u64]) -> Vec<f32> {
    let values = |step: &u64| -> Vec<f32> {
        let bytes = std::fs::read(run.join(format!("checkpoints/step-{step}/values.f32"))).unwrap();
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let all: Vec<Vec<f32>> = steps.iter().map(values).collect();
    (0..all[0].len())
        .map(|at| (all.iter().map(|values| f64::from(values[at])).sum::<f64>() / all.len() as f64) as f32)
        .collect()
}

fn holds(run: &Path, values: &[f32]) -> bool {
    let model = SafeTensors::open(&run.join("model/model.safetensors")).unwrap();
    let table = model.read_f32("model.shared.weight", model.get("model.shared.weight").unwrap().shape).unwrap();
    values.windows(table.len()).any(|window| window == table)
}

/// The validation pairs are those of training; a rate that is too high makes the weights swing around what their mean is near.
const SWINGING: [&str; 11] = [
    "schedule.warmup_steps=6",
    "data.valid={ tsv = 'pairs.tsv' }",
    "train.ema=0",
    "train.max_steps=60",
    "train.eval_every=6",
    "train.save_every=0",
    "train.keep_last=5",
    "train.early_stopping.metric=loss",
    "optimizer.lr=0.03",
    "schedule.kind=constant",
    // The mean is then better than the weights after any step of 72 by 7 % or more.
    "seed=8",
];

#[test]
fn a_translator_is_the_mean_of_checkpoints_where_validation_says_that_it_is_better() {
    let folder = folder();
    let summary = run(folder.path(), "run", 0, false, &SWINGING);
    let run_dir = folder.path().join("run");
    let steps = summary.model_steps.clone();
    assert!(steps.len() > 1, "{summary:?}");
    assert!(
        summary.model_choice.starts_with("the mean of steps ") && summary.model_choice.contains("; best single step ")
    );
    assert!(holds(&run_dir, &mean_of(&run_dir, &steps)), "{steps:?}");
    assert_eq!(summary.model_step, *steps.last().unwrap());
    let exported: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run_dir.join("exported.json")).unwrap()).unwrap();
    assert_eq!(exported["steps"], serde_json::json!(steps));

    // Asked for, the best single one is exported.
    let fixed: Vec<&str> = SWINGING.into_iter().chain(["train.average_last=0"]).collect();
    let single = run(folder.path(), "single", 0, false, &fixed);
    assert!(single.model_choice.starts_with("the best validation loss, ") && single.model_steps.len() == 1);
    assert!(single.metrics["valid_loss"] > summary.metrics["valid_loss"]);
}

#[test]
fn a_run_that_goes_on_does_not_replace_a_mean_by_something_worse() {
    let folder = folder();
    let first = run(folder.path(), "run", 0, false, &SWINGING);
    assert!(first.model_steps.len() > 1, "{first:?}");
    let before = weights(folder.path(), "run");
    // It learns nothing more, evaluates again, and is stopped.
    let mut more: Vec<&str> = SWINGING.to_vec();
    more[3] = "train.max_steps=72";
    let stopped = run(folder.path(), "run", 67, true, &more);
    assert_eq!((stopped.ending, &stopped.model_steps), ("stopped", &first.model_steps), "{stopped:?}");
    assert!(weights(folder.path(), "run") == before);
    // Where it ends, what is exported is not worse than what was.
    let ended = run(folder.path(), "run", 0, true, &more);
    assert!(ended.metrics["valid_loss"] <= first.metrics["valid_loss"], "{ended:?}");
    let kept = first.model_steps.iter().all(|step| folder.path().join(format!("run/checkpoints/step-{step}")).exists());
    assert!(kept || ended.model_steps != first.model_steps);
}
