use super::*;

fn started(path: &Path) -> RunDir {
    let run = RunDir::open(path, Mode::New).unwrap();
    run.write(&run.config(), "seed = 1\n").unwrap();
    run
}

#[test]
fn a_new_run_makes_its_directory_and_a_resumed_one_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs/a");
    drop(started(&path));
    let run = RunDir::open(&path, Mode::Resume).unwrap();
    run.append_log("one").unwrap();
    run.append_log("two").unwrap();
    assert_eq!(fs::read_to_string(run.log()).unwrap(), "one\ntwo\n");
    assert_eq!(fs::read_to_string(run.config()).unwrap(), "seed = 1\n");
    assert_eq!(run.checkpoints().path(3), path.join("checkpoints/step-3"));
}

#[test]
fn a_run_that_could_not_start_leaves_nothing_but_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for path in ["new/runs/a", "empty"] {
        let run = RunDir::open(&dir.path().join(path), Mode::New).unwrap();
        run.append_log("one").unwrap();
        run.abandon();
    }
    assert!(!dir.path().join("new").exists());
    assert_eq!(fs::read_dir(dir.path().join("empty")).unwrap().count(), 0);
    let run = started(&dir.path().join("b"));
    run.abandon();
    assert!(run.config().exists());
}

#[test]
fn a_run_in_progress_is_locked_and_its_process_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let run = started(&path);
    for mode in [Mode::New, Mode::Resume] {
        let error = RunDir::open(&path, mode).unwrap_err().to_string();
        assert!(error.contains(&format!("already in use by process {}:", std::process::id())), "{error}");
    }
    drop(run);
    RunDir::open(&path, Mode::Resume).unwrap();
}

#[test]
fn a_lock_left_by_a_killed_process_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(LOCK), "1").unwrap();
    fs::write(dir.path().join("config.toml.tmp-1"), "see").unwrap();
    // Nothing says what was asked: it cannot be resumed.
    assert!(matches!(RunDir::open(dir.path(), Mode::Resume), Err(Error::NothingToResume { .. })));
    fs::write(dir.path().join(REQUEST), "{}").unwrap();
    drop(RunDir::open(dir.path(), Mode::Resume).unwrap());
    let run = RunDir::open(dir.path(), Mode::New).unwrap();
    assert_eq!(fs::read_to_string(run.path().join(LOCK)).unwrap(), std::process::id().to_string());
}

#[test]
fn an_existing_run_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    drop(started(dir.path()));
    let error = RunDir::open(dir.path(), Mode::New).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    assert!(error.to_string().contains("--resume") && error.to_string().contains("--out"), "{error}");
}

#[test]
fn metrics_are_a_run_also_without_its_recipe() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(LOCK), "1").unwrap();
    fs::write(dir.path().join(METRICS), "{}\n").unwrap();
    assert!(matches!(RunDir::open(dir.path(), Mode::New), Err(Error::Exists { .. })));
}

#[test]
fn a_directory_that_was_removed_or_replaced_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let run = started(&path);
    fs::remove_dir_all(&path).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::create_dir(&path).unwrap();
            fs::write(path.join(LOCK), "").unwrap();
        }
        let refused = |result| assert!(matches!(result, Err(Error::Gone { .. })));
        refused(run.append_log("one"));
        refused(run.write(&run.config(), "seed = 1\n"));
        refused(run.make_model().map(|_| ()));
        run.abandon();
        let left = fs::read_dir(&path).map_or(0, Iterator::count);
        assert_eq!(left, usize::from(replaced));
    }
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "").unwrap();
    let error = RunDir::open(dir.path(), Mode::New).unwrap_err().to_string();
    assert!(error.contains("there is thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn resuming_needs_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign");
    fs::create_dir_all(foreign.join("papers")).unwrap();
    for path in [foreign, dir.path().join("none")] {
        assert!(matches!(RunDir::open(&path, Mode::Resume), Err(Error::NothingToResume { .. })));
    }
    assert!(!dir.path().join("none").exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let error = RunDir::open(&link, Mode::New).unwrap_err().to_string();
    assert!(error.contains("link is a symbolic link to a place that does not exist"), "{error}");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(RunDir::open(&file, Mode::New), Err(Error::Io { .. })));
}
