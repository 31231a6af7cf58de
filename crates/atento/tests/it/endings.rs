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
