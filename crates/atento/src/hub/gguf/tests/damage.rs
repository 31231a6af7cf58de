//! Files that are damaged, or made to be.

use std::fs;

use super::super::*;
use super::writer::{LIST, TEXT, Tensor, Writer, text};
use crate::hub::Error;

fn open(bytes: &[u8]) -> Result<Gguf, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path)
}

/// A file with a key of every shape, and two tensors.
fn sound() -> Writer {
    Writer::new("none")
        .texts("texts", ["one", "two"])
        .sizes("sizes", &[1, 2, 3])
        .size("size", 7)
        .flag("flag", true)
        .tensor("a", &[2, 3], &[0.5; 6])
        .tensor("b", &[4], &[1.0; 4])
}

fn refusal(writer: &Writer) -> String {
    open(&writer.sections().0).unwrap_err().to_string()
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused() {
    let (bytes, ends) = sound().sections();
    open(&bytes).unwrap();
    // The last bytes are padding.
    for len in 0..bytes.len() - 16 {
        let message = open(&bytes[..len]).unwrap_err().to_string();
        assert!(message.contains("model.gguf: not a usable GGUF file: "), "{len}: {message}");
    }
    let said = |len: usize| open(&bytes[..len]).unwrap_err().to_string();
    assert!(said(0).ends_with("the file is empty"));
    assert!(said(6).contains("the version takes 4 bytes from byte 4 on, but 2 are left: the file is cut short"));
    assert!(said(ends[0]).contains("the list of keys claims 5 entries, but the 0 bytes that follow hold at most 0"));
    assert!(said(ends[1] - 1).contains("key `flag` takes 1 bytes"), "{}", said(ends[1] - 1));
    assert!(said(ends[1]).contains("the list of tensors claims 2 entries"));
    assert!(said(ends[2] - 1).contains("tensor `b` takes 8 bytes"), "{}", said(ends[2] - 1));
    assert!(said(ends[2]).contains("tensor `a` takes 24 bytes from byte 0 of the data on, but there are 0"));
}

#[test]
fn a_beginning_of_another_kind_is_told() {
    let (bytes, _) = sound().sections();
    let with = |at: usize, new: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        open(&changed).unwrap_err().to_string()
    };
    assert!(with(0, b"GGML").contains("it begins with [47, 47, 4d, 4c], expected \"GGUF\""));
    assert!(with(4, &1u32.to_le_bytes()).contains("it is of version 1, expected 2 or 3"));
    assert!(with(4, &4u32.to_le_bytes()).contains("it is of version 4"));
    assert!(with(4, &3u32.to_be_bytes()).contains("its numbers are big-endian, expected little-endian"));
    for (at, what) in [(8, "the list of tensors claims 18446744073709551615"), (16, "the list of keys claims")] {
        assert!(with(at, &u64::MAX.to_le_bytes()).contains(what));
    }
    open(&Writer { version: 2, ..sound() }.sections().0).unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
    assert!(open(pointer).unwrap_err().to_string().contains("Git LFS pointer"));
}

#[test]
fn keys_that_cannot_be_are_named() {
    let huge = |kind: u32| [kind.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
    let deep =
        (0..9).fold(huge(TEXT), |inner, _| [LIST.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec(), inner].concat());
    for (kind, bytes, expected) in [
        (13, vec![0; 8], "key `k` is of type 13, expected a type from 0 to 12"),
        (TEXT, u64::MAX.to_le_bytes().to_vec(), "key `k` takes 18446744073709551615 bytes"),
        (TEXT, [1u64.to_le_bytes().to_vec(), vec![0xff]].concat(), "key `k` is not UTF-8"),
        (LIST, huge(TEXT), "key `k` claims 18446744073709551615 entries"),
        (LIST, huge(6), "key `k` claims 18446744073709551615 entries"),
        (LIST, huge(99), "key `k` is of type 99"),
        (LIST, deep, "key `k` has lists in each other, 4 deep"),
    ] {
        let message = refusal(&sound().key("k", kind, bytes));
        assert!(message.contains(expected), "{message}");
    }
    let mut twice = sound();
    twice.keys.push(("size".into(), TEXT, text("again")));
    assert!(refusal(&twice).contains("key `size` stands there twice"));
    let aligned = |alignment: usize| refusal(&sound().size("general.alignment", alignment));
    assert!(aligned(0).contains("key `general.alignment` is 0, expected a power of two"));
    assert!(aligned(24).contains("is 24, expected a power of two"));
    assert!(aligned(64).contains("tensor `b` begins at byte 32 of the data, expected a multiple of 64"));
}

#[test]
fn tensors_that_cannot_be_are_named() {
    let with = |change: &dyn Fn(&mut Tensor)| {
        let mut writer = sound();
        change(&mut writer.tensors[0]);
        refusal(&writer)
    };
    for (sizes, expected) in [
        (vec![3, 0], "tensor `a` has a size that is 0"),
        (vec![1; 5], "tensor `a` has 5 sizes, expected at most 4"),
        (vec![u64::MAX, 2], "tensor `a` of type F32 has the sizes [18446744073709551615, 2], more than any file holds"),
        (vec![1 << 62], "tensor `a` of type F32 has the sizes [4611686018427387904], more than any file holds"),
        (vec![1 << 40], "tensor `a` takes 4398046511104 bytes from byte 0 of the data on, but there are"),
    ] {
        let message = with(&|(_, found, ..)| *found = sizes.clone());
        assert!(message.contains(expected), "{message}");
    }
    let known = "expected one of F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K";
    for (kind, name) in [(10, "Q2_K"), (23, "IQ4_XS"), (26, "I32"), (77, "77")] {
        let message = with(&|(_, _, found, _)| *found = kind);
        assert!(message.contains(&format!("tensor `a` is of type {name}, {known}")), "{message}");
    }
    assert!(
        with(&|(_, _, kind, _)| *kind = 2).contains("of type Q4_0 has rows of 3 elements, expected a multiple of 32")
    );
    assert!(with(&|(name, ..)| *name = "b".into()).contains("tensor `b` is listed twice"));
    assert!(with(&|(.., bytes)| bytes.clear()).contains("tensors `b` and `a` share bytes"));
    let nan = sound().without("a").tensor("a", &[2], &[1.0, f32::NAN]);
    let message = open(&nan.sections().0).unwrap().read("a").unwrap_err().to_string();
    assert!(message.contains("tensor `a` holds NaN at element 1"), "{message}");
}
