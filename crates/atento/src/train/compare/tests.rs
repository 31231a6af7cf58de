use std::fs;

use super::*;
use crate::train::report::overlay;

/// The directory of a run with a few lines of metrics and, where `summary` is given, what came of it.
fn run(root: &Path, name: &str, config: &str, summary: Option<&str>) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.join("model")).unwrap();
    fs::write(path.join("config.toml"), config).unwrap();
    fs::write(path.join("model/model.safetensors"), [0; 2048]).unwrap();
    let metrics = "{\"step\":10,\"epoch\":0.5,\"loss\":2.5,\"lr\":0.001}\n{\"step\":20,\"epoch\":1.0,\"eval_loss\":2.25,\"eval_bleu\":12.5}\n";
    fs::write(path.join("metrics.jsonl"), metrics).unwrap();
    if let Some(summary) = summary {
        fs::write(path.join("summary.json"), summary).unwrap();
    }
    path
}

const CONFIG: &str = "task = \"translation\"\nout = \"x\"\n[optimizer]\nlr = 0.001\n[data.train]\ntsv = \"<a>.tsv\"\n";
const DONE: &str = r#"{"steps": 20, "epochs": 1.0, "seconds": 724.0, "tokens_per_second": 31412.3, "trainable": 1234567,
    "ending": "limit", "model_step": 20, "metrics": {"test_bleu": 12.346, "test_mcc": null}, "a key of another version": 1}"#;

fn values<'r>(rows: &'r [Row], name: &str) -> Vec<Option<&'r str>> {
    let row = rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
    row.values.iter().map(Option::as_deref).collect()
}

#[test]
fn runs_are_compared_by_their_settings_and_results() {
    let root = tempfile::tempdir().unwrap();
    let one = run(root.path(), "a/seed-1", CONFIG, Some(DONE));
    let changed = CONFIG.replace("0.001", "0.003").replace("\"x\"", "\"y\"") + "[train]\nema = 0.9\n";
    let other = run(root.path(), "b/seed-1", &changed, None);
    let found = Comparison::read(&[one, other]).unwrap();
    assert_eq!(found.runs().iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["a/seed-1", "b/seed-1"]);
    let settings: Vec<_> = found.settings().into_iter().collect();
    let expected = [("optimizer.lr", vec![Some("0.001"), Some("0.003")]), ("train.ema", vec![None, Some("0.9")])];
    assert_eq!(settings, expected, "`out` is not among them");
    let rows = found.results();
    assert_eq!(values(&rows, "State"), [Some("finished"), Some("unfinished")]);
    assert_eq!(values(&rows, "Test BLEU"), [Some("12.35"), None]);
    assert_eq!(values(&rows, "Last evaluation: loss"), [Some("2.2500"); 2]);
    assert_eq!(values(&rows, "Updates"), [Some("20"); 2]);
    assert_eq!(values(&rows, "Time"), [Some("12m04s"), None]);
    assert_eq!(values(&rows, "Tokens per second"), [Some("31,412"), None]);
    assert_eq!(values(&rows, "Trained parameters"), [Some("1,234,567"), None]);
    assert_eq!(values(&rows, "Weights"), [Some("2.0 KiB"); 2]);
    assert!(!rows.iter().any(|row| row.name.contains("Matthews") || row.name.contains("memory")), "{rows:?}");
    assert_eq!(found.notes(), ["b/seed-1 is unfinished at step 20: its measures are those of step 20"]);
    let page = overlay(&found).unwrap();
    assert_eq!(page.matches("<svg").count(), 4, "two losses, BLEU and the learning rate");
    assert_eq!(page.matches("<polyline").count(), 8, "a curve for each run");
    assert!(
        page.contains("<td>12.35</td><td>–</td>") && page.contains("<th scope=\"row\">optimizer.<wbr>lr</th>"),
        "{page}"
    );
    assert!(!page.contains("http") && !page.contains("<script"), "nothing is fetched");
}

#[test]
fn finished_runs_are_compared_by_their_final_measures_alone() {
    let root = tempfile::tempdir().unwrap();
    let runs = ["a", "b"].map(|name| run(root.path(), name, CONFIG, Some(DONE)));
    let found = Comparison::read(&runs).unwrap();
    assert!(found.settings().is_empty() && found.notes().is_empty());
    assert!(!found.results().iter().any(|row| row.name.starts_with("Last")));
    assert!(overlay(&found).unwrap().contains("the runs have the same settings"));
}

#[test]
fn a_run_that_went_on_after_its_end_is_unfinished() {
    let root = tempfile::tempdir().unwrap();
    let path = run(root.path(), "a", CONFIG, Some(&DONE.replace("\"steps\": 20", "\"steps\": 10")));
    let found = Run::read(&path).unwrap();
    assert_eq!((found.state(), found.steps()), (State::Unfinished, 20));
    fs::write(path.join("metrics.jsonl"), "").unwrap();
    assert_eq!(Run::read(&path).unwrap().steps(), 10);
    for (ending, state) in [("stopped", State::Stopped), ("early stopping", State::StoppedEarly)] {
        fs::write(path.join("summary.json"), DONE.replace("limit", ending)).unwrap();
        assert_eq!(Run::read(&path).unwrap().state(), state);
    }
}

#[test]
fn runs_without_any_metrics_have_a_page() {
    let root = tempfile::tempdir().unwrap();
    let runs = ["a", "b"].map(|name| run(root.path(), name, CONFIG, None));
    runs.iter().for_each(|run| fs::remove_file(run.join("metrics.jsonl")).unwrap());
    let found = Comparison::read(&runs).unwrap();
    assert_eq!(found.notes()[0], "a is unfinished at step 0: it has no measures");
    assert!(!overlay(&found).unwrap().contains("<svg"));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let one = run(root.path(), "runs/one", CONFIG, Some(DONE));
    let other = run(root.path(), "other", &CONFIG.replace("translation", "classify"), None);
    let refusal = |paths: &[&Path]| {
        Comparison::read(&paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>()).unwrap_err().to_string()
    };
    assert!(refusal(&[&one, &one.join("../one")]).ends_with("is there twice: name each run once"));
    let message = refusal(&[&one, &other]);
    assert!(message.contains("is a run of task \"translation\" and") && message.contains("\"classify\""), "{message}");
    assert!(refusal(&[&root.path().join("none")]).contains("none is no directory"));
    assert!(refusal(&[&one.join("config.toml")]).contains("is no directory: name the directory of a run"));
    let message = refusal(&[&one.join("model")]);
    assert!(message.contains("holds no run (there is no config.toml): it is a part of the run"), "{message}");
    let message = refusal(&[&root.path().join("runs")]);
    assert!(message.contains("; there is one below it: ") && message.ends_with("runs/one"), "{message}");
    fs::write(one.join("summary.json"), "[").unwrap();
    assert!(refusal(&[&one]).contains("summary.json: not the summary of a run: "));
    fs::write(one.join("config.toml"), "a = ").unwrap();
    assert!(refusal(&[&one]).contains("config.toml: not a recipe: "));
}
