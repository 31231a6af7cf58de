//! Ops reach kernels through the table of the device alone, and look at no value themselves: this reads the sources of the
//! crate for other ways.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::alone;

/// What of `atento-kernels` may be named anywhere: types that say what is computed, not how.
const NAMES: [&str; 12] = [
    "activation::Activation",
    "attention::Segment",
    "attention::disentangled::Buckets",
    "dropout::DropoutKey",
    "group_losses::Group",
    "linear::WeightLayout",
    "matmul::Precision",
    "philox::Rng",
    "qk_norm::Heads",
    "rope::Pairing",
    // The frequencies of a model are a few numbers that the host computes once.
    "rope::{Pairing, periods}",
    // Frozen values are kept as such, and handed to the device.
    "compact::Compact",
];

/// Every source file below a directory that is no test.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let tests = ["tests.rs", "testing.rs", "finite_differences.rs"];
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if !tests.iter().any(|name| path.ends_with(name)) {
            files.push(path);
        }
    }
    files
}

/// The lines of a file before its tests that contain one of these.
fn lines_with<'a>(text: &'a str, words: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    lines.filter(|line| words.iter().any(|word| line.contains(word)))
}

/// What names a kernel, and values held in fewer bits, which have methods that compute.
const KERNELS: [&str; 2] = ["atento_kernels", "Compact"];

#[test]
fn no_file_but_those_of_the_processor_names_a_kernel() {
    let _alone = alone();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut beside = 0;
    for file in sources(&src) {
        let (text, file) = (fs::read_to_string(&file).unwrap(), file.strip_prefix(&src).unwrap().to_owned());
        if file.starts_with("device/cpu") {
            beside += lines_with(&text, &KERNELS).count();
            continue;
        }
        for line in lines_with(&text, &KERNELS) {
            let name = line.trim_start_matches("pub ").strip_prefix("use atento_kernels::");
            let is_plain = name.is_some_and(|name| NAMES.contains(&name.trim_end_matches(';')));
            // Parameters say how their values are held; nothing else looks.
            let is_held = file.starts_with("params") && line.contains("Compact");
            let is_free = is_plain && !line.contains("Compact");
            assert!(is_free || is_held, "{}: `{line}` goes past the device", file.display());
        }
    }
    assert!(beside > 10, "the processor's files name the kernels: {beside} lines found");
}

#[test]
fn ops_look_at_no_value_but_the_gradient_of_a_loss() {
    let _alone = alone();
    let ops = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    for file in sources(&ops) {
        let text = fs::read_to_string(&file).unwrap();
        for line in lines_with(&text, &[".f32()", ".f32_mut()", ".values()"]) {
            assert!(line.contains("dloss.f32()"), "{}: `{line}`", file.display());
        }
    }
}
