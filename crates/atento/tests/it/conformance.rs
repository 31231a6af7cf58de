//! What the tests against recorded reference numbers have in common.

use std::path::{Path, PathBuf};

use atento::families::Config;
use atento::hub::safetensors::SafeTensors;
use atento::train::Optimizer;
use atento::train::recipe::OptimizerSettings;
use atento_tensor::{Grads, Params};
use serde_json::Value;

/// Every directory of fixtures of these model types or classes: those committed, and a larger set beside the repository where there
/// is one. `file` tells a model's own recordings from an adapter's.
pub fn fixtures(model_types: &[&str], file: &str) -> Vec<PathBuf> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = crate_dir.join("../../../shared/conformance");
    let committed = crate_dir.join("tests/fixtures/conformance");
    let dirs = [shared, committed].into_iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let found: Vec<PathBuf> = dirs
        .map(|entry| entry.path())
        .filter(|dir| {
            let config = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
            dir.join(file).exists() && model_types.iter().any(|kind| config.contains(&format!("\"{kind}\"")))
        })
        .collect();
    assert!(!found.is_empty(), "no fixture of {model_types:?}");
    found
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Rows of a recorded matrix of whole numbers.
pub fn rows(file: &SafeTensors, name: &str) -> Vec<Vec<i64>> {
    let shape = file.get(name).unwrap().shape.to_vec();
    file.read_i64(name, &shape).unwrap().chunks(shape[1]).map(<[i64]>::to_vec).collect()
}

/// Every trainable parameter's gradient is the recorded one, and no recorded one is left over.
pub fn assert_gradients(dir: &Path, config: &dyn Config, params: &Params, grads: &Grads) {
    let reference = SafeTensors::open(&dir.join("grads.safetensors")).unwrap();
    let mut checked = 0;
    for entry in params.entries().iter().filter(|e| e.is_trained()) {
        let expected = reference.read_f32(&config.sources(&entry.name)[0], &entry.dims).unwrap();
        let scale = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
        let difference = largest_difference(grads.get(entry.weight), &expected);
        // Keys' biases shift every score of a row alike: their exact gradient is zero and both sides hold rounding.
        assert!(
            difference <= 1e-4 * scale + 1e-7,
            "{}: gradient of {}: {difference} of {scale}",
            dir.display(),
            entry.name
        );
        checked += 1;
    }
    assert_eq!(checked, reference.names().len(), "{}: parameters with a gradient", dir.display());
}

/// The recorded run's optimiser, its learning rate, and its losses. The reference decays every parameter, biases and
/// norms too.
pub fn recorded_run(dir: &Path, params: &Params) -> (Optimizer, f64, Vec<f64>) {
    let recorded = json(&dir.join("train_losses.json"));
    let number = |key: &str| recorded[key].as_f64().unwrap();
    let settings = OptimizerSettings {
        lr: number("lr"),
        betas: [recorded["betas"][0].as_f64().unwrap(), recorded["betas"][1].as_f64().unwrap()],
        eps: number("eps"),
        weight_decay: number("weight_decay"),
        ..OptimizerSettings::default()
    };
    let losses = recorded["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    (Optimizer::decaying_everything(&settings, params), settings.lr, losses)
}
