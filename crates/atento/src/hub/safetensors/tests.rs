use super::*;
use crate::hub::{Error, Fault};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

/// A file of that header and data, with a true header length.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn one(entry: &str, data: &[u8]) -> Vec<u8> {
    file(&format!(r#"{{"w":{entry}}}"#), data)
}

fn open_bytes(bytes: &[u8]) -> Result<SafeTensors, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    SafeTensors::open(&path)
}

#[test]
fn every_hostile_file_is_refused_with_its_fault() {
    let max = usize::MAX;
    let huge = [(1u64 << 62).to_le_bytes().as_slice(), b"{}"].concat();
    let endless = [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat();
    // Eight tensors whose ends add up to just below 2^64: adding the header's length would wrap around.
    let eighth = (1u64 << 61) - 1;
    let entries: Vec<String> = (0..8)
        .map(|i| {
            format!(r#""{i}":{{"dtype":"U8","shape":[{eighth}],"data_offsets":[{},{}]}}"#, i * eighth, (i + 1) * eighth)
        })
        .collect();
    let wraps = file(&format!("{{{}}}", entries.join(",")), &[]);
    let pair = |a: &str, b: &str| {
        let entry = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}"#);
        file(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), &[0; 16])
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "the file is empty"),
        ("three bytes", vec![1, 2, 3], "the file has 3 bytes"),
        ("huge header", huge, "the header claims 4611686018427387904 bytes, but 2 follow"),
        ("endless header", endless, "the header claims 18446744073709551615 bytes"),
        ("text", b"version https://git-lfs".to_vec(), "the header claims"),
        ("not UTF-8", file_of(&[b'{', b'"', 0xff, b'"', b':']), "header is malformed"),
        ("not JSON", file("not json", &[]), "header is malformed"),
        ("cut JSON", file(r#"{"w":{"#, &[]), "entry `w`"),
        ("not an object", file("[1,2]", &[]), "expected an object of tensors"),
        ("deep JSON", file(&"[".repeat(100_000), &[]), "header is malformed"),
        ("entry is a number", one("3", &[]), "entry `w`"),
        ("unknown type", one(r#"{"dtype":"F99","shape":[1],"data_offsets":[0,4]}"#, &[0; 4]), "unknown variant `F99`"),
        ("no shape", one(r#"{"dtype":"F32","data_offsets":[0,4]}"#, &[0; 4]), "missing field `shape`"),
        ("negative size", one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#, &[0; 4]), "integer `-1`"),
        ("fraction", one(r#"{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}"#, &[0; 4]), "1.5"),
        ("offsets reversed", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#, &[0; 4]), "bytes 4..0"),
        (
            "offsets do not fit",
            one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, &[0; 4]),
            "cannot fill its bytes 0..4",
        ),
        (
            "shape overflows",
            one(&format!(r#"{{"dtype":"F32","shape":[{max},{max}],"data_offsets":[0,4]}}"#), &[0; 4]),
            "cannot fill",
        ),
        (
            "bytes overflow",
            one(&format!(r#"{{"dtype":"F64","shape":[{max}],"data_offsets":[0,8]}}"#), &[0; 8]),
            "cannot fill",
        ),
        ("half a byte", one(r#"{"dtype":"F4","shape":[1],"data_offsets":[0,0]}"#, &[]), "cannot fill"),
        ("sum overflows", wraps, "the file is cut short"),
        (
            "cut short",
            one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#, &[0; 5]),
            "ends at byte 8 of the data, but there are 5",
        ),
        ("far away", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4000,4004]}"#, &[0; 4]), "leaving a hole"),
        ("overlapping", pair("[0,8]", "[4,12]"), "tensor `b` begins at byte 4, inside"),
        ("hole", pair("[0,8]", "[12,20]"), "tensor `b` begins at byte 12, leaving a hole after byte 8"),
        ("trailing", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, &[0; 7]), "3 bytes follow"),
        ("metadata is a list", file(r#"{"__metadata__":[1]}"#, &[]), "entry `__metadata__`"),
        (
            "twice",
            file(
                r#"{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
                &[],
            ),
            "`w` is listed twice",
        ),
    ];
    for (case, bytes, expected) in cases {
        let message = open_bytes(&bytes).expect_err(case).to_string();
        assert!(message.contains("model.safetensors: "), "{case}: {message}");
        assert!(message.contains(expected), "{case}: {message}");
        assert!(message.len() < 1000, "{case}: the message has {} bytes", message.len());
        // What is refused here, the reference refuses too; what it lets pass is checked above. It overflows on
        // the sum and takes names twice.
        if !["sum overflows", "twice"].contains(&case) {
            assert!(::safetensors::SafeTensors::deserialize(&bytes).is_err(), "{case}");
        }
    }
}

fn file_of(header: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header].concat()
}

#[test]
fn what_is_not_a_file_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = SafeTensors::open(&directory.path().join("none")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let fault = SafeTensors::open(directory.path()).unwrap_err();
    assert!(matches!(fault, Error::Corrupt { fault: Fault::NotAFile, .. }), "{fault}");
}

/// One tensor `w` of that type with these bytes.
fn typed(dtype: &str, shape: &str, bytes: &[u8]) -> SafeTensors {
    let entry = format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}"#, bytes.len());
    open_bytes(&one(&entry, bytes)).unwrap()
}

#[test]
fn every_real_type_is_read_as_f32() {
    let expected = [1.5f32, -2.0];
    let f16: Vec<u8> = expected.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let bf16: Vec<u8> = expected.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let f32: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
    let f64: Vec<u8> = expected.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    for (dtype, bytes) in [("F16", f16), ("BF16", bf16), ("F32", f32), ("F64", f64)] {
        assert_eq!(typed(dtype, "[2,1]", &bytes).read_f32("w", &[2, 1]).unwrap(), expected, "{dtype}");
    }
}

#[test]
fn every_whole_type_is_read_as_i64() {
    for (dtype, bytes, expected) in [
        ("I64", (-7i64).to_le_bytes().to_vec(), -7),
        ("I32", (-7i32).to_le_bytes().to_vec(), -7),
        ("I16", (-7i16).to_le_bytes().to_vec(), -7),
        ("I8", vec![0xf9], -7),
        ("U32", u32::MAX.to_le_bytes().to_vec(), i64::from(u32::MAX)),
        ("U16", vec![1, 1], 257),
        ("U8", vec![200], 200),
        ("BOOL", vec![1], 1),
    ] {
        assert_eq!(typed(dtype, "[1]", &bytes).read_i64("w", &[1]).unwrap(), [expected], "{dtype}");
    }
}

#[test]
fn wrong_requests_are_named_with_what_was_found() {
    let tensors = typed("I32", "[2,1]", &[0; 8]);
    let message = |error: Error| error.to_string();
    assert!(message(tensors.read_f32("w", &[2, 1]).unwrap_err()).contains("`w` is I32, expected F32"));
    assert!(message(tensors.read_f32("w", &[1, 2]).unwrap_err()).contains("has shape [2, 1], expected [1, 2]"));
    assert!(message(tensors.read_f32("w", &[1 << 40]).unwrap_err()).contains("shape [2, 1]"));
    assert!(message(typed("F32", "[1]", &[0; 4]).read_i64("w", &[1]).unwrap_err()).contains("is F32"));
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let near = open_bytes(&file(&format!(r#"{{"encoder.weight":{entry}}}"#), &[])).unwrap();
    let missing = message(near.get("encoder.weights").unwrap_err());
    assert!(missing.contains("missing tensor `encoder.weights` (the file has `encoder.weight`)"), "{missing}");
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let nan: Vec<u8> = [0.0, f32::NAN].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
    let message = typed("F32", "[2]", &nan).read_f32("w", &[2]).unwrap_err().to_string();
    assert!(message.contains("tensor `w` holds NaN at element 1"), "{message}");
    // Finite as F64, infinite as the F32 the model computes with.
    let big = typed("F64", "[1]", &1e300f64.to_le_bytes());
    assert!(big.read_f32("w", &[1]).unwrap_err().to_string().contains("holds inf at element 0"));
}

/// Two shards `a` and `b` of one tensor each, with that index; the result of opening it.
fn open_index(weight_map: &str) -> (tempfile::TempDir, Result<SafeTensors, Error>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, value) in [("a", 1.0), ("b", 2.0)] {
        let shard = path(&format!("{name}.safetensors"));
        write(&shard, &[NamedTensor::new(name, [1], &[value])], &[]).unwrap();
    }
    let index = path("model.safetensors.index.json");
    fs::write(&index, weight_map).unwrap();
    let opened = SafeTensors::open(&index);
    (directory, opened)
}

#[test]
fn shards_are_read_through_their_index() {
    let index = r#"{"metadata":{"total_size":8},"weight_map":{"a":"a.safetensors","b":"b.safetensors"}}"#;
    let (_directory, tensors) = open_index(index);
    let tensors = tensors.unwrap();
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(tensors.read_f32("b", &[1]).unwrap(), [2.0]);
}

#[test]
fn an_index_at_odds_with_its_shards_is_refused() {
    for (index, expected) in [
        ("", "not valid JSON"),
        (r#"{"metadata":{}}"#, "missing field `weight_map`"),
        (r#"{"weight_map":{"a":"c.safetensors"}}"#, "c.safetensors: cannot read"),
        (r#"{"weight_map":{"a":"../a.safetensors"}}"#, "`../a.safetensors` is not a plain file name"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "not a plain file name"),
        (r#"{"weight_map":{"a":""}}"#, "not a plain file name"),
        (r#"{"weight_map":{"a":"a.safetensors","c":"a.safetensors"}}"#, "tensor `c` is not in its shard"),
        (r#"{"weight_map":{"b":"a.safetensors"}}"#, "holds tensor `a`, which the index does not place there"),
    ] {
        let message = open_index(index).1.expect_err(index).to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_header_ends_where_data_can_be_aligned_and_keeps_order_and_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("m.safetensors");
    let tensors = [NamedTensor::new("z", [2], &[1.0, 2.0]), NamedTensor::new("a", [1, 1], &[3.0])];
    write(&path, &tensors, &[("format", "pt")]).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()) % 8, 0);
    let read = SafeTensors::open(&path).unwrap();
    assert_eq!(read.names().collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(read.metadata()["format"], "pt");
    assert_eq!(::safetensors::SafeTensors::deserialize(&bytes).unwrap().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_back_bit_for_bit(
        tensors in proptest::collection::btree_map("[a-z.\"\\\\é\n]{1,12}", proptest::collection::vec(-1e30f32..1e30, 0..40), 0..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        let named: Vec<_> = tensors.iter().map(|(name, v)| NamedTensor::new(name.clone(), [v.len()], v)).collect();
        write(&path, &named, &[]).unwrap();
        let read = SafeTensors::open(&path).unwrap();
        prop_assert_eq!(read.names().len(), tensors.len());
        for (name, values) in &tensors {
            let found = read.read_f32(name, &[values.len()]).unwrap();
            prop_assert!(found.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn a_file_with_changed_bytes_never_panics(
        changes in proptest::collection::vec((0usize..200, any::<u8>()), 1..6),
        cut in 0usize..200,
    ) {
        let entry = r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[4],"data_offsets":[16,24]}}"#;
        let mut bytes = file(entry, &[0; 24]);
        for (position, byte) in changes {
            let length = bytes.len();
            bytes[position % length] = byte;
        }
        bytes.truncate(bytes.len() - cut % 3 * 10);
        if let Ok(tensors) = open_bytes(&bytes) {
            for name in tensors.names() {
                let shape = tensors.get(name).unwrap().shape.to_vec();
                let _ = (tensors.read_f32(name, &shape), tensors.read_i64(name, &shape));
            }
        }
    }
}
