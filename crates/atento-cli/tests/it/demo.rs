//! `demo` and `train --dry-run`, made small.

use crate::support::Folder;

const SMALL: [&str; 8] = [
    "--set",
    "model.d_model=16",
    "--set",
    "model.d_ff=32",
    "--set",
    "train.max_steps=3",
    "--set",
    "search.max_length=3",
];

#[test]
fn the_demo_trains_scores_and_translates() {
    let folder = Folder::new();
    let arguments: Vec<&str> = ["demo", "--json", "-q"].into_iter().chain(SMALL).collect();
    let result = folder.run(&arguments, "").objects().remove(0);
    assert!(result["bleu"].is_number() && result["seconds"].is_number() && result["tokens_per_second"].is_number());
    assert_eq!(result["translations"][0]["source"], "Let's translate this sentence");
    assert!(folder.path("runs/demo/model/model.safetensors").is_file());
    // A second one finds its own place.
    folder.run(&arguments, "").output();
    assert!(folder.path("runs/demo-2/report.html").is_file());
}

#[test]
fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let folder = Folder::new();
    folder.write(
        "r.toml",
        "[data]\ncorpus = \"demo\"\nmax_length = 48\n[model]\nd_model = 16\nheads = 2\nmax_positions = 64\n[search]\nmax_length = 48\n",
    );
    let plan = folder.run(&["train", "r.toml", "--dry-run"], "").output();
    for part in ["trainable params: ", "memory: ", "an epoch: 40,000 pairs", "the run: 7,740 updates"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(!folder.path("runs").exists());
}
