//! Files that PyTorch wrote, read back; the hostile ones are in `hostile`.

mod archive;
mod hostile;

use super::{TorchFault, TorchTensors};
use crate::hub::{Error, Weights};
use safetensors::Dtype;
use std::fs;
use std::path::{Path, PathBuf};

/// What `scripts/golden_torch_bin.py` calls `matrix`.
const MATRIX: [f32; 6] = [0.5, -1.0, 2.0, 3.0, -4.0, 0.25];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_bin").join(name)
}

fn open(name: &str) -> TorchTensors {
    TorchTensors::open(&fixture(name)).unwrap()
}

fn refusal(name: &str) -> String {
    TorchTensors::open(&fixture(name)).expect_err(name).to_string()
}

/// Elements 0, 1, 2, … of a 2 × 3 × 4 tensor, picked by index.
fn picked(index: impl Fn(usize) -> (usize, usize, usize), count: usize) -> Vec<f32> {
    (0..count).map(&index).map(|(i, j, k)| (12 * i + 4 * j + k) as f32).collect()
}

#[test]
fn every_real_type_is_read_as_f32() {
    let tensors = open("types.bin");
    assert_eq!(tensors.names().collect::<Vec<_>>()[..3], ["f32", "f16", "bf16"]);
    let types = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::F32];
    for (name, dtype) in ["f32", "f16", "bf16", "f64", "parameter"].iter().zip(types) {
        let info = tensors.get(name).unwrap();
        assert_eq!((info.dtype, info.shape), (dtype, &[2, 3][..]), "{name}");
        assert_eq!(tensors.read_f32(name, &[2, 3]).unwrap(), MATRIX, "{name}");
    }
}

#[test]
fn scalars_and_empty_tensors_have_their_shapes() {
    let tensors = open("types.bin");
    assert_eq!(tensors.read_f32("scalar", &[]).unwrap(), [2.5]);
    assert!(tensors.read_f32("empty", &[0, 3]).unwrap().is_empty());
}

#[test]
fn whole_numbers_are_listed_and_are_no_parameters() {
    let tensors = open("types.bin");
    assert_eq!(tensors.get("i64").unwrap().dtype, Dtype::I64);
    assert_eq!(tensors.get("bool").unwrap().shape, [2]);
    for (name, shape, found) in [("i64", 3, "I64"), ("bool", 2, "BOOL")] {
        let message = tensors.read_f32(name, &[shape]).unwrap_err().to_string();
        assert!(message.contains(&format!("types.bin: tensor `{name}` is {found}, expected F32")), "{message}");
    }
}

#[test]
fn views_of_one_storage_are_gathered_row_by_row() {
    let tensors = open("views.bin");
    let whole = picked(|n| (0, 0, n), 24);
    let cases = [
        ("base", vec![2, 3, 4], whole.clone()),
        ("tied", vec![2, 3, 4], whole.clone()),
        ("reshaped", vec![6, 4], whole),
        ("transposed", vec![4, 2, 3], picked(|n| (n / 3 % 2, n % 3, n / 6), 24)),
        ("row", vec![4], picked(|n| (1, 2, n), 4)),
        ("column", vec![2, 3], picked(|n| (n / 3, n % 3, 1), 6)),
        ("strided", vec![3, 2], picked(|n| (1, n / 2, n % 2 * 2), 6)),
        ("one_column", vec![2, 1, 4], picked(|n| (n / 4, 1, n % 4), 8)),
    ];
    assert_eq!(tensors.names().len(), cases.len());
    for (name, shape, expected) in cases {
        assert_eq!(tensors.read_f32(name, &shape).unwrap(), expected, "{name}");
        let mut values = vec![f32::NAN; expected.len()];
        tensors.read_f32_into(name, &shape, &mut values).unwrap();
        assert_eq!(values, expected, "{name}");
    }
}

#[test]
fn tensors_are_equal_in_type_shape_and_elements() {
    let views = Weights::open(&fixture("views.bin")).unwrap();
    assert!(views.are_equal("base", "tied").unwrap());
    assert!(!views.are_equal("base", "reshaped").unwrap());
    let types = Weights::open(&fixture("types.bin")).unwrap();
    assert!(types.are_equal("f32", "parameter").unwrap());
    assert!(!types.are_equal("f16", "bf16").unwrap());
    assert!(types.are_equal("f32", "none").is_err());
}

#[test]
fn state_dicts_are_found_however_they_were_saved() {
    for name in ["module.bin", "protocol4.bin", "wrapped.bin"] {
        let tensors = open(name);
        assert_eq!(tensors.names().collect::<Vec<_>>(), ["weight", "bias"], "{name}");
        assert_eq!(tensors.read_f32("weight", &[2, 3]).unwrap(), MATRIX, "{name}");
        assert_eq!(tensors.read_f32("bias", &[2]).unwrap(), [0.0, 1.0], "{name}");
    }
}

#[test]
fn shards_are_read_through_their_index() {
    let tensors = open("pytorch_model.bin.index.json");
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["first.weight", "first.bias", "second.weight"]);
    assert_eq!(tensors.read_f32("first.bias", &[2]).unwrap(), [0.0, 1.0]);
    assert_eq!(tensors.read_f32("second.weight", &[2, 3]).unwrap(), MATRIX.map(|value| -value));
}

#[test]
fn an_index_at_odds_with_its_shards_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(fixture("protocol4.bin"), directory.path().join("a.bin")).unwrap();
    let index = directory.path().join("pytorch_model.bin.index.json");
    for (weight_map, expected) in [
        (r#"{"weight": "../a.bin"}"#, "`../a.bin` is not a plain file name"),
        (r#"{"weight": "a.bin"}"#, "shard `a.bin` holds tensor `bias`, which the index does not place there"),
        (r#"{"weight": "a.bin", "bias": "a.bin", "c": "a.bin"}"#, "tensor `c` is not in its shard `a.bin`"),
        (r#"{"weight": "b.bin"}"#, "b.bin: cannot read"),
    ] {
        fs::write(&index, format!(r#"{{"weight_map": {weight_map}}}"#)).unwrap();
        let message = TorchTensors::open(&index).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_file_that_would_run_a_command_runs_nothing_and_is_named() {
    let message = refusal("malicious.bin");
    assert!(
        message.contains("malicious.bin: not a usable PyTorch file: it refers to the Python object `posix.system`")
    );
    assert!(message.contains("nothing was executed"), "{message}");
    assert!(!Path::new("pickle-was-executed").exists());
}

#[test]
fn files_from_before_pytorch_1_6_are_read() {
    let legacy = open("legacy.bin");
    assert_eq!(legacy.names().collect::<Vec<_>>(), ["weight", "bias"]);
    assert_eq!(legacy.read_f32("weight", &[2, 3]).unwrap(), MATRIX);
    assert_eq!(legacy.read_f32("bias", &[2]).unwrap(), [0.0, 1.0]);
}

#[test]
fn what_torch_can_read_and_this_cannot_is_said_with_what_to_do() {
    for (name, expected) in [
        ("compressed.bin", "its record `protocol4/data.pkl` is compressed or encrypted"),
        ("nested.bin", "its entry `epoch` is a whole number, not a tensor; expected what `torch.save("),
        ("repeated.bin", "tensor `repeated` is malformed: offset 0, sizes [2, 3] and strides [1, 0] ask for more"),
    ] {
        let message = refusal(name);
        assert!(message.contains(&format!("{name}: not a usable PyTorch file: ")), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn wrong_requests_are_named_with_what_was_found() {
    let tensors = open("types.bin");
    let message = tensors.get("f33").unwrap_err().to_string();
    assert!(message.contains("types.bin: missing tensor `f33` (the file has `f3"), "{message}");
    let message = tensors.read_f32("f32", &[3, 2]).unwrap_err().to_string();
    assert!(message.ends_with("tensor `f32` has shape [2, 3], expected [3, 2]"), "{message}");
}

#[test]
fn what_is_not_a_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = TorchTensors::open(&directory.path().join("none.bin")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let fault = TorchTensors::open(directory.path()).unwrap_err();
    assert!(matches!(fault, Error::Torch { fault: TorchFault::NotAFile, .. }), "{fault}");
}
