mod damage;
mod model;
mod round_trip;
mod writer;

use std::path::Path;

use super::*;

#[test]
fn a_file_of_llama_cpps_own_package_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/keys.gguf");
    assert!(is_gguf(&path) && !is_gguf(&path.with_file_name("types.safetensors")) && !is_gguf(path.parent().unwrap()));
    let file = Gguf::open(&path).unwrap();
    let number = |key: &str| file.value(key).unwrap();
    assert_eq!(
        [number("u8"), number("u16"), number("u32")].map(|n| n.unsigned()),
        [200, 60_000, 4_000_000_000].map(Some)
    );
    assert_eq!(number("u64").unsigned(), Some(1 << 63));
    let signed = |key: &str| if let Value::Signed(number) = number(key) { number } else { panic!("{key}") };
    assert_eq!(["i8", "i16", "i32", "i64"].map(signed), [-100, -30_000, -2_000_000_000, i64::MIN]);
    assert_eq!((number("f32").real(), number("f64").real()), (Some(0.5), Some(0.1)));
    assert_eq!((file.flag("bool").unwrap(), file.text("text").unwrap()), (Some(true), Some("naïve 🎉")));
    assert_eq!(file.list("texts", "", Value::text).unwrap().unwrap(), ["a", "", "éé"]);
    assert_eq!(file.list("numbers", "", Value::real).unwrap().unwrap(), [3.0, -4.0]);
    assert_eq!((file.size("same").unwrap(), file.size("no such key").unwrap()), (Some(7), None));
    assert!(file.size("numbers").is_err() && file.size("f32").is_err() && file.size("i8").is_err());
    let nested = file.list("lists", "", |value| if let Value::List(list) = value { Some(list) } else { None });
    let nested: Vec<Vec<_>> =
        nested.unwrap().unwrap().into_iter().map(|list| list.values().map(|n| n.real().unwrap()).collect()).collect();
    assert_eq!(nested, [vec![1.0, 2.0], vec![3.0]]);

    assert_eq!(file.names().collect::<Vec<_>>(), ["matrix", "half", "quantized"]);
    assert_eq!(file.tensor("matrix").unwrap(), TensorInfo { kind: ElementType::F32, shape: &[2, 3] });
    assert_eq!(file.read("matrix").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(file.read("half").unwrap(), [0.5, -2.0]);
    let quantized = file.read("quantized").unwrap();
    let near = |(i, value): (usize, &f32)| (value - (i as f32 / 31.5 - 1.0)).abs() < 5e-3;
    assert!(file.tensor("quantized").unwrap().shape == [2, 32] && quantized.iter().enumerate().all(near));
    let message = file.read("matrx").unwrap_err().to_string();
    assert!(message.contains("`matrx` (the file has `matrix`)"), "{message}");
}

#[test]
fn rows_and_columns_come_back_in_their_order() {
    let matrix = || (0..6).map(|i| i as f32).collect::<Vec<_>>();
    assert_eq!(Layout::Plain.restore(matrix(), &[2, 3]), matrix());
    assert_eq!(Layout::Transposed.shape(&[2, 3]), [3, 2]);
    assert_eq!(Layout::Transposed.restore(matrix(), &[2, 3]), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    // Two heads of four rows.
    let rows = (0..8).map(|i| i as f32).collect::<Vec<_>>();
    let paired = Layout::Paired { head_dim: 4 };
    assert_eq!(paired.restore(rows, &[8]), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
}
