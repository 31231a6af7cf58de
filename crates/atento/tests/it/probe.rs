//! Probes against those of scikit-learn, recorded in `fixtures/measures/probes.json` (remade by `scripts/golden_metrics.py`).

use std::path::Path;

use atento::train::probe::{Examples, LogisticProbe, RidgeProbe, Scaling};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn golden(section: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/measures/probes.json");
    let mut golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(golden[section].take()).unwrap()
}

fn items<T: DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Asserts that a layer is the one recorded but for 10⁻⁵ of its largest weight.
#[track_caller]
fn assert_close(weight: &[f32], bias: &[f32], expected_weight: &[f64], expected_bias: &[f64], what: &str) {
    let largest = expected_weight.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (found, expected) in [(weight, expected_weight), (bias, expected_bias)] {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let off = (f64::from(*found) - expected).abs();
            assert!(off <= 1e-5 * largest, "{what}: {found} is not {expected}, the largest weight is {largest}");
        }
    }
}

#[test]
fn logistic_probes_are_those_of_scikit_learn() {
    for record in golden("probe") {
        let (features, labels) = (items::<f32>(&record["features"]), items::<u32>(&record["labels"]));
        let number = |key: &str| record[key].as_u64().unwrap() as usize;
        let (width, classes) = (number("width"), number("classes"));
        for fit in record["fits"].as_array().unwrap() {
            let scaling = match fit["standardised"].as_bool().unwrap() {
                true => Scaling::Standardized,
                false => Scaling::AsGiven,
            };
            let c = fit["c"].as_f64().unwrap();
            let train = Examples { features: &features, width, targets: &labels };
            let probe = LogisticProbe::fit_scaled(train, classes, c, scaling).unwrap();
            let (mut weight, mut bias) = (items::<f64>(&fit["weight"]), items::<f64>(&fit["bias"]));
            if classes == 2 {
                // scikit-learn has one row of weights, for the difference of the scores.
                weight = [-0.5, 0.5].iter().flat_map(|share| weight.iter().map(move |w| share * w)).collect();
                bias = vec![-0.5 * bias[0], 0.5 * bias[0]];
            }
            let mean = bias.iter().sum::<f64>() / bias.len() as f64;
            bias.iter_mut().for_each(|bias| *bias -= mean);
            let what = format!("{classes} classes, c {c}, {scaling:?}");
            assert_close(&probe.weight, &probe.bias, &weight, &bias, &what);
        }
    }
}

#[test]
fn ridge_probes_are_those_of_scikit_learn() {
    for record in golden("ridge") {
        let (features, values) = (items::<f32>(&record["features"]), items::<f32>(&record["values"]));
        for fit in record["fits"].as_array().unwrap() {
            let alpha = fit["alpha"].as_f64().unwrap();
            let width = record["width"].as_u64().unwrap() as usize;
            let probe = RidgeProbe::fit(&features, width, &values, alpha).unwrap();
            let bias = fit["bias"].as_f64().unwrap();
            let what = format!("alpha {alpha}");
            assert_close(&probe.weight, &[probe.bias], &items::<f64>(&fit["weight"]), &[bias], &what);
        }
    }
}
