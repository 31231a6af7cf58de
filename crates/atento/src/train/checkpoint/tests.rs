use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::write::{Output, create_file};
use super::*;
use crate::families::{Config, ModelConfig};
use crate::models::TransformerConfig;
use crate::train::EarlyStopping;
use crate::train::schedule::PlateauState;

fn state(step: u64) -> TrainState {
    let mut early_stopping = EarlyStopping::new(&Default::default());
    early_stopping.observe(step, 0.1 + 0.2, 0.3);
    TrainState {
        seed: u64::MAX,
        step,
        epoch: 2,
        tokens: 12345,
        accumulated: 1,
        skipped: 3,
        skipped_in_a_row: 2,
        without_targets: 4,
        seconds: 1.0 / 3.0,
        schedule: PlateauState { best: Some(1e-300 / 3.0), waited: 1, reductions: 2 },
        early_stopping,
        cursor: serde_json::json!({"epoch": 2, "pair": 17}),
        evaluated: Some(4),
        regular: false,
        window: LogWindow { steps: 3, loss: 0.1 + 0.2, objective: 0.7, ..LogWindow::default() },
        identity: Identity {
            recipe: "seed = 1\n".into(),
            model: ModelConfig::from(Arc::new(TransformerConfig::tiny(90)) as Arc<dyn Config>),
            from: Some("m".into()),
            base: Some("1b".into()),
            kept: Some("3c".into()),
            data: "2a".into(),
        },
    }
}

fn arrays(seed: f32, len: usize) -> (Vec<f32>, Vec<f32>) {
    ((0..len).map(|i| seed + i as f32 / 7.0).collect(), (0..len).map(|i| seed * i as f32).collect())
}

fn save(checkpoints: &Checkpoints, step: u64) -> Result<PathBuf, Error> {
    let (weights, moments) = arrays(step as f32, 40_000);
    checkpoints.save(&state(step), &[Blob { name: "weights", values: &weights }, Blob { name: "m", values: &moments }])
}

fn with(steps: &[u64]) -> (TempDir, Checkpoints) {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(dir.path().join("checkpoints"));
    for &step in steps {
        save(&checkpoints, step).unwrap();
    }
    (dir, checkpoints)
}

fn latest_step(checkpoints: &Checkpoints) -> Option<u64> {
    checkpoints.latest().unwrap().checkpoint.map(|checkpoint| checkpoint.state.step)
}

fn hidden(checkpoints: &Checkpoints) -> Vec<String> {
    checkpoints.names().unwrap().into_iter().filter(|name| name.starts_with('.')).collect()
}

/// Checkpoints on a disk with room for `room` more bytes; what happens when it is full is up to `full`.
fn on_small_disk(dir: &Path, room: i64, full: fn() -> io::Error) -> Checkpoints {
    struct Small {
        file: Box<dyn Output>,
        room: Arc<AtomicI64>,
        full: fn() -> io::Error,
    }
    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.room.fetch_sub(bytes.len() as i64, Ordering::Relaxed);
            let fits = bytes.len().min(room.max(0) as usize);
            match (fits, bytes.is_empty()) {
                (0, false) => Err((self.full)()),
                _ => self.file.write(&bytes[..fits]),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }
    impl Output for Small {
        fn sync(&mut self) -> io::Result<()> {
            self.file.sync()
        }
    }
    let room = Arc::new(AtomicI64::new(room));
    let create = move |path: &Path| {
        Ok(Box::new(Small { file: create_file(path)?, room: Arc::clone(&room), full }) as Box<dyn Output>)
    };
    Checkpoints { dir: dir.join("checkpoints"), create: Box::new(create) }
}

fn disk_full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

#[test]
fn a_checkpoint_comes_back_bit_for_bit() {
    let (_dir, checkpoints) = with(&[]);
    let odd = [f32::NAN, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0, 1.0 / 3.0];
    checkpoints.save(&state(7), &[Blob { name: "weights", values: &odd }, Blob { name: "ema", values: &[] }]).unwrap();
    let Found { checkpoint, warnings } = checkpoints.latest().unwrap();
    let checkpoint = checkpoint.unwrap();
    assert_eq!((&checkpoint.state, warnings), (&state(7), vec![]));
    assert_eq!(
        (checkpoint.len_of("weights"), checkpoint.len_of("ema"), checkpoint.len_of("m")),
        (Some(5), Some(0), None)
    );
    let mut read = [0.0; 5];
    checkpoint.read_into("weights", &mut read).unwrap();
    assert_eq!(read.map(f32::to_bits), odd.map(f32::to_bits));
    checkpoint.read_into("ema", &mut []).unwrap();
}

#[test]
fn arrays_longer_than_a_buffer_come_back() {
    let (_dir, checkpoints) = with(&[3]);
    let (weights, moments) = arrays(3.0, 40_000);
    let checkpoint = checkpoints.load(3).unwrap();
    let (mut read_weights, mut read_moments) = (vec![0.0; 40_000], vec![0.0; 40_000]);
    checkpoint.read_into("weights", &mut read_weights).unwrap();
    checkpoint.read_into("m", &mut read_moments).unwrap();
    assert!(read_weights == weights && read_moments == moments);
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let (_dir, checkpoints) = with(&[3]);
    let checkpoint = checkpoints.load(3).unwrap();
    let error = checkpoint.read_into("weights", &mut [0.0; 4]).unwrap_err().to_string();
    assert!(error.ends_with("`weights` has 40000 values, expected 4; was the recipe changed?"), "{error}");
    assert!(matches!(checkpoint.read_into("v", &mut [0.0; 4]), Err(Error::Mismatch { found: 0, .. })));
}

#[test]
fn a_run_that_never_saved_has_no_checkpoint() {
    let (_dir, checkpoints) = with(&[]);
    assert_eq!(checkpoints.latest().unwrap(), Found { checkpoint: None, warnings: vec![] });
    assert_eq!(checkpoints.sweep().unwrap(), Vec::<String>::new());
}

#[test]
fn the_newest_is_found_by_number_not_by_name() {
    let (_dir, checkpoints) = with(&[100, 20, 9]);
    assert_eq!(checkpoints.steps().unwrap(), [9, 20, 100]);
    // A file of that name is nobody's checkpoint: it stays, and is named.
    let stray = checkpoints.path(20).with_file_name("step-50");
    std::fs::write(&stray, "mine").unwrap();
    assert!(checkpoints.save(&state(50), &[]).is_err());
    for refused in [checkpoints.steps().err(), checkpoints.latest().err(), checkpoints.sweep().err()] {
        assert!(refused.unwrap().to_string().contains("step-50 is no directory"));
    }
    assert_eq!(std::fs::read_to_string(&stray).unwrap(), "mine");
    std::fs::remove_file(&stray).unwrap();
    assert_eq!(latest_step(&checkpoints), Some(100));
}

#[test]
fn the_last_and_the_best_are_kept() {
    let (_dir, checkpoints) = with(&[1, 2, 3, 4, 5]);
    assert_eq!(checkpoints.retain(2, &[1]).unwrap(), [2, 3]);
    assert_eq!(checkpoints.steps().unwrap(), [1, 4, 5]);
    assert_eq!(checkpoints.retain(2, &[5]).unwrap(), [1]);
    assert_eq!(checkpoints.retain(9, &[]).unwrap(), Vec::<u64>::new());
    checkpoints.go_on_from(4).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [4]);
    assert!(hidden(&checkpoints).is_empty());
}

#[test]
fn saving_a_step_again_replaces_it() {
    let (_dir, checkpoints) = with(&[5]);
    let second = TrainState { tokens: 1, ..state(5) };
    checkpoints.save(&second, &[]).unwrap();
    assert_eq!(checkpoints.load(5).unwrap().state, second);
    assert!(hidden(&checkpoints).is_empty());
}

#[test]
fn a_checkpoint_whose_replacement_was_cut_short_is_found_and_kept_in_the_order_of_a_resume() {
    // Killed before the newer one had its name, and while the older one was removed behind it; damaged since.
    for newer in [None, Some("whole"), Some("damaged")] {
        let (_dir, checkpoints) = with(&[5, 6]);
        fs::rename(checkpoints.path(6), checkpoints.aside(6)).unwrap();
        if newer.is_some() {
            save(&checkpoints, 6).unwrap();
            assert!(!checkpoints.aside(6).exists(), "nothing stays aside");
            copy(&checkpoints.path(6), &checkpoints.aside(6));
        }
        if newer == Some("damaged") {
            fs::write(checkpoints.path(6).join(STATE), "{}").unwrap();
        } else if newer == Some("whole") {
            fs::remove_file(checkpoints.aside(6).join(STATE)).unwrap();
        }
        let found = checkpoints.latest().unwrap().checkpoint.unwrap();
        assert_eq!((found.state, checkpoints.steps().unwrap()), (state(6), vec![5, 6]), "{newer:?}");
        checkpoints.sweep().unwrap();
        checkpoints.go_on_from(6).unwrap();
        assert_eq!((latest_step(&checkpoints), hidden(&checkpoints)), (Some(6), vec![]), "{newer:?}");
        assert!(checkpoints.path(6).join(MANIFEST).exists(), "{newer:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_checkpoint_that_is_removed_does_not_come_back_from_aside() {
    let (_dir, checkpoints) = with(&[5, 6]);
    copy(&checkpoints.path(5), &checkpoints.aside(5));
    // What a killed removal has left.
    fs::create_dir_all(checkpoints.dir.join(".tmp-step-5-removed/rest")).unwrap();
    checkpoints.retain(1, &[]).unwrap();
    assert_eq!((checkpoints.steps().unwrap(), hidden(&checkpoints)), (vec![6], vec![]));
}

#[test]
fn checkpoints_that_only_a_stop_has_made_do_not_outlive_the_next_one() {
    let (_dir, checkpoints) = with(&[]);
    for (step, regular) in [(2, true), (3, false), (4, true), (5, false)] {
        checkpoints.save(&TrainState { regular, ..state(step) }, &[]).unwrap();
    }
    checkpoints.go_on_from(5).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [2, 4, 5]);
}

#[test]
fn a_full_disk_leaves_the_previous_checkpoint_and_no_rest() {
    let (dir, good) = with(&[10]);
    // Checksums are written in as many digits as they have: only the same step has the same size.
    let (_elsewhere, whole) = with(&[20]);
    let bytes: u64 = fs::read_dir(whole.path(20)).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    for room in [0, 1, 70_000, 160_000, 200_000, bytes as i64 - 1] {
        let checkpoints = on_small_disk(dir.path(), room, disk_full);
        let error = save(&checkpoints, 20).unwrap_err();
        assert!(
            error.to_string().contains("step-20") && error.to_string().contains("earlier checkpoints are untouched"),
            "{error}"
        );
        assert_eq!((latest_step(&good), hidden(&good)), (Some(10), vec![]));
    }
    save(&on_small_disk(dir.path(), bytes as i64, disk_full), 20).unwrap();
    assert_eq!(latest_step(&good), Some(20));
}

#[test]
fn a_process_killed_while_writing_leaves_the_previous_checkpoint() {
    let (dir, good) = with(&[10]);
    for room in [0, 100, 150_000, 320_000, 320_500, 320_700] {
        // Unwinding passes by the tidying up, as a kill would.
        let checkpoints = on_small_disk(dir.path(), room, || panic!("killed"));
        assert!(catch_unwind(AssertUnwindSafe(|| save(&checkpoints, 20))).is_err(), "room {room}");
        let Found { checkpoint, warnings } = good.latest().unwrap();
        assert_eq!(checkpoint.unwrap().state, state(10));
        assert!(warnings.len() == 1 && warnings[0].starts_with("ignoring the half-written checkpoint"), "{warnings:?}");
        assert_eq!(good.sweep().unwrap().len(), 1);
    }
    assert_eq!(latest_step(&good), Some(10));
}

#[test]
fn when_none_is_intact_that_is_said() {
    let (_dir, checkpoints) = with(&[1, 2]);
    fs::remove_file(checkpoints.path(1).join(MANIFEST)).unwrap();
    fs::write(checkpoints.path(2).join(STATE), "{}").unwrap();
    let error = checkpoints.latest().unwrap_err().to_string();
    assert!(
        error.contains("no checkpoint in")
            && error.contains("state.json has 2 bytes")
            && error.contains("complete.json: "),
        "{error}"
    );
}

#[test]
fn a_list_that_points_elsewhere_is_refused() {
    let (_dir, checkpoints) = with(&[1]);
    let files = vec![Entry { name: "../../secret".into(), bytes: 1, crc32: 0 }];
    fs::write(checkpoints.path(1).join(MANIFEST), serde_json::to_vec(&Manifest { version: 1, files }).unwrap())
        .unwrap();
    let error = checkpoints.load(1).unwrap_err().to_string();
    assert!(error.contains("../../secret, which is not a file of it"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn damage_anywhere_is_noticed(file in 0..4usize, position in 0.0..1.0f64, truncates in any::<bool>()) {
        let (_dir, checkpoints) = with(&[1, 2]);
        let path = checkpoints.path(2).join(["weights.f32", "m.f32", STATE, MANIFEST][file]);
        let len = fs::metadata(&path).unwrap().len();
        let offset = (len as f64 * position) as u64;
        if truncates {
            OpenOptions::new().write(true).open(&path).unwrap().set_len(offset).unwrap();
        } else {
            let mut bytes = fs::read(&path).unwrap();
            bytes[offset as usize] ^= 0x04;
            fs::write(&path, bytes).unwrap();
        }
        let Found { checkpoint, warnings } = checkpoints.latest().unwrap();
        prop_assert_eq!(checkpoint.unwrap().state.step, 1);
        prop_assert!(warnings.len() == 1 && warnings[0].ends_with("; going back to step 1"), "{:?}", warnings);
    }
}
