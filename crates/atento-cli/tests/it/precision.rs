//! `train.precision`.

use crate::support::{Folder, Ran};

/// A run of `r.toml` in a precision, with an environment variable.
fn train(folder: &Folder, arguments: &[&str], (variable, value): (&str, &str)) -> Ran {
    let mut command = assert_cmd::Command::cargo_bin("atento").unwrap();
    let command = command.arg("train").args(arguments).env(variable, value).current_dir(folder.path(""));
    Ran::from(command.output().unwrap())
}

const EMULATED: (&str, &str) = ("ATENTO_BF16", "emulated");

#[test]
fn bf16_without_a_unit_is_refused_with_the_reason_and_nothing_is_written() {
    let folder = Folder::new();
    folder.recipe();
    for (precision, asked) in [("bf16", &[][..]), ("bf16x3", &["--dry-run"])] {
        let setting = format!("train.precision={precision}");
        let arguments = [&["r.toml", "--out", "run", "--set", &setting], asked].concat();
        // On every machine: what needs AVX-512 is off.
        let message = train(&folder, &arguments, ("ATENTO_SIMD", "scalar")).refusal();
        let (key, why) = ("`train.precision`: ", format!("so that \"{precision}\" would be emulated"));
        assert!(message.contains(key) && message.contains(&why), "{message}");
        assert!(!folder.path("run").exists());
    }
    let message = train(&folder, &["r.toml", "--set", "train.precision=f16"], EMULATED).refusal();
    assert!(message.contains("`train.precision`") && message.contains("\"bf16x3\""), "{message}");
}

#[test]
fn a_run_in_bf16_is_planned_made_and_resumed_in_bf16() {
    let folder = Folder::new();
    folder.recipe();
    let begin = ["r.toml", "--out", "run", "--set", "train.precision=bf16"];
    let plan = train(&folder, &[&begin[..], &["--dry-run"]].concat(), EMULATED).output();
    assert!(plan.contains("train.precision = bf16: products on the unit emulated"), "{plan}");
    let ran = train(&folder, &begin, EMULATED);
    assert!(ran.stderr.contains("train.precision = bf16: products on the unit emulated"), "{}", ran.stderr);
    ran.output();
    let config = std::fs::read_to_string(folder.path("run/config.toml")).unwrap();
    assert!(config.contains("\nprecision = \"bf16\"\n"), "{config}");
    let more = ["--out", "run", "--resume", "--max-steps", "8"];
    let message = train(&folder, &[&["r.toml"], &more[..]].concat(), EMULATED).refusal();
    assert!(message.contains("`train.precision`"), "{message}");
    let resumed = train(&folder, &[&["run/config.toml"], &more[..]].concat(), EMULATED);
    assert!(resumed.stderr.contains("resumed at step 6 from "), "{}", resumed.stderr);
    resumed.output();
}
