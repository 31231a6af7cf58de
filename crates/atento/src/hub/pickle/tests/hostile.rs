//! Files that are damaged or meant to do harm: each is an error, in bounded time and memory.

use super::archive::*;
use super::fixture;
use crate::hub::pickle::TorchFault;
use crate::hub::pickle::machine;
use crate::hub::pickle::state_dict::parse;
use crate::hub::pickle::tensor::Entry;
use crate::hub::pickle::zip::Zip;
use proptest::prelude::*;
use std::fs;

/// What an archive says of a record instead of the truth.
type Change = fn(Told) -> Told;

/// Reads the file as far as it can be read; the message where it cannot.
fn read(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let elements = |entry: &Entry| {
        assert!(entry.elements(file).len() <= file.len());
        entry.elements(file).into_owned()
    };
    parse(file).map(|entries| entries.iter().map(elements).collect()).map_err(|fault| {
        let message = fault.to_string();
        assert!(message.len() < 2000, "the message has {} bytes", message.len());
        message
    })
}

/// Reads an archive of that pickle and a storage of two floats.
fn read_pickle(pickle: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    read(&archive(&[("data.pkl", pickle), ("data/0", &[0; 8])]))
}

/// The pickle and the storages of a fixture.
fn records(name: &str) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let file = fs::read(fixture(name)).unwrap();
    let zip = Zip::open(&file).unwrap();
    let names = (0..).map(|number| format!("data/{number}"));
    let storages = names.map_while(|name| zip.read(&name).unwrap().map(|data| (name, data.to_vec()))).collect();
    (zip.read("data.pkl").unwrap().unwrap().to_vec(), storages)
}

fn expect(outcome: Result<Vec<Vec<u8>>, String>, case: &str, expected: &str) {
    let message = outcome.expect_err(case);
    assert!(message.contains(expected), "{case}: {message}");
}

#[test]
fn the_archives_of_these_tests_are_read_where_nothing_is_wrong() {
    let pickle = one_tensor(2, 0, &[2], &[1]);
    let data = [1, 2, 3, 4, 5, 6, 7, 8];
    let records = [("data.pkl", pickle.as_slice()), ("data/0", &data)];
    assert_eq!(read(&archive(&records)).unwrap(), [data]);
    // The numbers that only files above 4 GiB need, in a small one.
    assert_eq!(read(&archive_with(&records, true, |_, told| Told { wide: true, ..told })).unwrap(), [data]);
    let commented = [archive(&records).strip_suffix(&[0, 0]).unwrap(), b"\x03\x00PK!"].concat();
    assert_eq!(read(&commented).unwrap(), [data]);
}

#[test]
fn archives_that_point_outside_themselves_are_refused() {
    let pickle = one_tensor(2, 0, &[2], &[1]);
    let records = [("data.pkl", pickle.as_slice()), ("data/0", &[0; 8])];
    let huge = u64::from(u32::MAX) << 31;
    let cases: [(&str, Change, &str); 7] = [
        ("compressed", |told| Told { method: 8, ..told }, "`m/data/0` is compressed or encrypted"),
        ("encrypted", |told| Told { flags: 1, ..told }, "`m/data/0` is compressed or encrypted"),
        ("long", |told| Told { bytes: 1 << 31, ..told }, "record `m/data/0` does not lie in the file"),
        ("far", |told| Told { local: 1 << 31, ..told }, "record `m/data/0` does not lie in the file"),
        ("elsewhere", |told| Told { local: 0, ..told }, "`m/data/0` does not begin where the directory says"),
        ("endless", |told| Told { bytes: u64::MAX, wide: true, ..told }, "record `m/data/0` does not lie in the file"),
        ("not wide", |told| Told { bytes: u64::from(u32::MAX), ..told }, "`m/data/0` has no usable zip64 numbers"),
    ];
    for (case, change, expected) in cases {
        let file = archive_with(&records, false, |name, told| if name == "data/0" { change(told) } else { told });
        expect(read(&file), case, expected);
    }
    for (case, at_end, bytes, expected) in [
        ("more entries", 12, 9u16.to_le_bytes().to_vec(), "its directory is shorter than its entries"),
        ("long directory", 10, u32::MAX.to_le_bytes().to_vec(), "do not lie before its end"),
        ("far directory", 6, u32::MAX.to_le_bytes().to_vec(), "do not lie before its end"),
    ] {
        let mut file = archive(&records);
        let at = file.len() - at_end;
        file[at..at + bytes.len()].copy_from_slice(&bytes);
        expect(read(&file), case, expected);
    }
    let mut file = archive_with(&records, true, |_, told| told);
    let at = file.len() - 22 - 20 - 56 + 32;
    for (number, expected) in [(huge, "more than 262144 records"), (3, "shorter than its entries")] {
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        expect(read(&file), "entries of the zip64 record", expected);
    }
}

#[test]
fn what_is_no_archive_of_tensors_is_said() {
    let pickle = one_tensor(2, 0, &[2], &[1]);
    for (case, file, expected) in [
        ("three bytes", vec![1, 2, 3], "not the zip archive that `torch.save` writes"),
        ("text", b"one word and another\n".to_vec(), "not the zip archive"),
        ("no records", archive(&[]), "it has no record data.pkl"),
        ("no pickle", archive(&[("data/0", &[0; 8])]), "it has no record data.pkl"),
        ("no storage", archive(&[("data.pkl", &pickle)]), "it has no record `data/0`"),
        ("big-endian", archive(&[("data.pkl", &pickle), ("byteorder", b"big")]), "its numbers are `big`-endian"),
        ("twice", archive(&[("data.pkl", &pickle), ("data.pkl", &pickle)]), "record `m/data.pkl` is listed twice"),
        (
            "short",
            archive(&[("data.pkl", &pickle), ("data/0", &[0; 7])]),
            "2 F32 elements, but its record `data/0` has 7",
        ),
    ] {
        expect(read(&file), case, expected);
    }
    let mut damaged = archive(&[("data.pkl", &pickle), ("data/0", &[0; 8])]);
    let at = damaged.windows(2).position(|pair| pair == b"X\x01").unwrap();
    damaged[at + 5] ^= 1;
    expect(read(&damaged), "damaged", "record `m/data.pkl` does not have the checksum");
}

#[test]
fn what_is_wrong_with_a_file_from_before_pytorch_1_6_is_said() {
    let pickle = one_tensor(2, 0, &[2], &[1]);
    let two: &[f32] = &[1.5, -2.0];
    let elements = two.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(read(&stream(&pickle, &[("0", two)])).unwrap(), std::slice::from_ref(&elements));
    // `_rebuild_tensor`, of which nothing is known but where its elements are.
    let arguments = [storage("0", 2), int(0), tuple(&[2]), tuple(&[1])].concat();
    let begin = [b"\x80\x02}".to_vec(), text("w"), b"ctorch._utils\n_rebuild_tensor\n(".to_vec()].concat();
    let first = [begin, arguments, b"tRs.".to_vec()].concat();
    assert_eq!(read(&stream(&first, &[("0", two)])).unwrap(), [elements]);
    let whole = stream(&pickle, &[("0", two)]);
    let mut negative = whole.clone();
    let count = whole.len() - 16;
    negative[count..count + 8].copy_from_slice(&(-1_i64).to_le_bytes());
    let mut endless = whole.clone();
    endless[count..count + 8].copy_from_slice(&i64::MAX.to_le_bytes());
    for (case, file, expected) in [
        ("version", stream_with(&pickle, 1002, true, &[("0", two)]), "second pickle is not the number 1001"),
        ("big-endian", stream_with(&pickle, 1001, false, &[("0", two)]), "its numbers are `big`-endian"),
        ("no storage", stream(&pickle, &[]), "there is no storage `0`"),
        ("unknown", stream(&pickle, &[("1", two), ("0", two)]), "nothing says what the elements of storage `1` are"),
        ("twice", stream(&pickle, &[("0", two), ("0", two)]), "storage `0` is listed twice"),
        ("short", stream(&pickle, &[("0", &two[..1])]), "needs a storage of 2 F32 elements, but its record `0` has 4"),
        ("negative", negative, "it is cut short in storage `0`"),
        ("endless", endless, "it is cut short in storage `0`"),
        ("shell", stream(b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR.", &[]), "refers to the Python object `os.system`"),
    ] {
        expect(read(&file), case, expected);
    }
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "cut at byte {end}");
    }
}

#[test]
fn tensors_beyond_their_storage_are_refused() {
    for (elements, offset, shape, strides) in [
        (2, 0, &[3][..], &[1][..]),
        (2, 1, &[2], &[1]),
        (2, 3, &[0], &[1]),
        (2, 0, &[2], &[2]),
        (2, 0, &[1 << 40], &[0]),
        (2, 0, &[1 << 32, 1 << 32], &[0, 0]),
        (2, 0, &[2], &[i64::MAX]),
        (2, i64::MAX, &[2], &[i64::MAX]),
        (2, 0, &[3, 3], &[i64::MAX, i64::MAX]),
    ] {
        let outcome = read_pickle(&one_tensor(elements, offset, shape, strides));
        expect(outcome, &format!("{offset} {shape:?} {strides:?}"), "ask for more than the 2 elements of its storage");
    }
    for (elements, expected) in [(3, "needs a storage of 3"), (i64::MAX, "needs a storage of"), (-1, "fewer than 0")] {
        expect(read_pickle(&one_tensor(elements, 0, &[1], &[1])), "elements", expected);
    }
    for (offset, shape, strides) in [(-1, &[1][..], &[1][..]), (0, &[-1], &[1]), (0, &[1], &[-1]), (0, &[1, 1], &[1])] {
        expect(read_pickle(&one_tensor(2, offset, shape, strides)), "sign", "are not whole numbers, 0 or more");
    }
    expect(read_pickle(&one_tensor(2, 0, &[1; 17], &[1; 17])), "dimensions", "it has 17 dimensions");
    let empty = one_tensor(2, 2, &[i64::MAX, 0, i64::MAX], &[i64::MAX; 3]);
    assert_eq!(read_pickle(&empty).unwrap(), [Vec::<u8>::new()]);
}

#[test]
fn names_that_are_not_data_are_refused_before_anything_else_happens() {
    for (name, spelled) in [
        ("cos\nsystem\n", "`os.system`"),
        ("cbuiltins\neval\n", "`builtins.eval`"),
        ("c__builtin__\nexec\n", "`__builtin__.exec`"),
        ("ctorch\nload\n", "`torch.load`"),
        ("ctorch._utils\n_rebuild_tensor_v2.__globals__\n", "`torch._utils._rebuild_tensor_v2.__globals__`"),
        ("ccollections\nOrderedDict\u{1b}[2J\n", "`collections.OrderedDict\\u{1b}[2J`"),
    ] {
        expect(read_pickle(name.as_bytes()), name, &format!("the Python object {spelled}"));
    }
    let stacked = [text("os").as_slice(), &text("system"), b"\x93."].concat();
    expect(read_pickle(&stacked), "from the stack", "the Python object `os.system`, which tensors have no use for");
}

#[test]
fn malformed_pickles_are_refused_with_their_place() {
    let long = [text("w"), rebuilt(&[storage(&"9".repeat(33), 2), int(0), b"))NN".to_vec()].concat()), b"s.".to_vec()];
    let negated = [storage("0", 2), int(0), b"))NN}".to_vec()].concat();
    let entry = |value: &[u8]| [b"}", text("w").as_slice(), value, b"s."].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "it is cut short at byte 0"),
        ("protocol 0", b"\x80\x00.".to_vec(), "protocol 0 is not one of 2 to 5"),
        ("protocol 6", b"\x80\x06.".to_vec(), "protocol 6 is not one of 2 to 5"),
        ("text opcode", b"I1\n.".to_vec(), "instruction 0x49 is not one that tensors need"),
        ("instance", b"(icos\nsystem\n".to_vec(), "instruction 0x69 is not one that tensors need"),
        ("new object", b"ccollections\nOrderedDict\n)\x81.".to_vec(), "instruction 0x81"),
        ("nothing", b".".to_vec(), "it ends with another number of values than one at byte 0"),
        ("two values", b"NN.".to_vec(), "another number of values than one at byte 2"),
        ("open mark", b"N(.".to_vec(), "another number of values than one"),
        ("no mark", b"t".to_vec(), "it uses a mark that it has not set"),
        ("below the mark", b"N(\x85".to_vec(), "it uses more values than there are"),
        ("no arguments", b"ccollections\nOrderedDict\nR".to_vec(), "it uses more values than there are"),
        ("no such value", b"h\x05".to_vec(), "it uses a value that it has not stored"),
        ("nothing stored", b"q\x05".to_vec(), "it uses more values than there are"),
        ("endless text", b"X\xff\xff\xff\xff".to_vec(), "it is cut short"),
        ("more endless text", b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "it is cut short"),
        ("not UTF-8", b"\x8c\x01\xff".to_vec(), "a string is not UTF-8"),
        ("long number", b"\x8a\x09123456789".to_vec(), "a whole number takes more than 8 bytes"),
        ("odd items", b"}(Nu".to_vec(), "it sets a key without a value"),
        ("items of a list", b"]NNs".to_vec(), "it sets keys of a list"),
        ("append to a dictionary", b"}Na".to_vec(), "it appends to a dictionary"),
        ("attributes of a list", b"]}b".to_vec(), "it sets attributes of a list"),
        ("calls a tuple", b"))R".to_vec(), "it calls something that is not a name"),
        ("calls a storage", b"ctorch\nFloatStorage\n)R".to_vec(), "Storage(F32) has arguments that it cannot have"),
        ("parameter of nothing", b"ctorch._utils\n_rebuild_parameter\n(NtR".to_vec(), "arguments that it cannot have"),
        ("storage of nothing", b"NQ".to_vec(), "refers to an object outside by something else than a tuple"),
        ("a list", b"].".to_vec(), "it holds a list, not a dictionary of tensors"),
        ("a number for a key", b"}K\x01Ns.".to_vec(), "a key of its dictionary is a whole number, not a string"),
        ("a list for a tensor", entry(b"]"), "its entry `w` is a list, not a tensor"),
        ("a tensor of nothing", entry(&rebuilt(b"N")), "it is not made of a storage, an offset"),
        ("a storage of nothing", entry(&rebuilt(b")QK\x00))NN")), "its storage has no type, key and number"),
        ("a long key", [b"}".to_vec(), long.concat()].concat(), "its storage has the key `999"),
        ("negated", entry(&rebuilt(&negated)), "it is not made of a storage, an offset, sizes and strides alone"),
    ];
    for (case, pickle, expected) in cases {
        expect(read_pickle(&pickle), case, expected);
    }
    let once = one_tensor(2, 0, &[2], &[1]);
    let pair = &once[3..once.len() - 1];
    let twice = [b"}", pair, pair, b"."].concat();
    expect(read_pickle(&twice), "twice", "tensor `w` is listed twice");
}

#[test]
fn a_dictionary_in_itself_and_tuples_without_end_do_no_harm() {
    let itself = [b"}q\x00".as_slice(), &text("state_dict"), b"h\x00s."].concat();
    expect(read_pickle(&itself), "itself", "its entry `state_dict` is a dictionary, not a tensor");
    let deep = [b"N".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    expect(read_pickle(&deep), "deep", "it holds a tuple, not a dictionary");
    // Thirty doublings of a tuple: a thousand million items if they were copied.
    let laughs = [b"N".as_slice(), &b"q\x00h\x00\x86".repeat(30), b"."].concat();
    expect(read_pickle(&laughs), "doubled", "it holds a tuple, not a dictionary");
    let marks = b"(".repeat(3_000_000);
    expect(read_pickle(&marks), "marks", "more than 2097152 instructions in its pickle");
    // The highest place in the memo costs no more than the lowest.
    let far = b"}r\xff\xff\xff\xffj\xff\xff\xff\xff0";
    expect(read_pickle(far), "far", "instruction 0x30");
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for name in ["types.bin", "views.bin", "protocol4.bin", "wrapped.bin"] {
        let file = fs::read(fixture(name)).unwrap();
        assert!(read(&file).is_ok());
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "{name} cut at byte {end}");
        }
        let (pickle, _) = records(name);
        for end in 0..pickle.len() {
            assert!(
                matches!(machine::run(&pickle[..end]), Err(TorchFault::Pickle { .. })),
                "{name}: pickle cut at {end}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_file_with_changed_bytes_never_panics(
        which in 0usize..5,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = ["types.bin", "views.bin", "module.bin", "malicious.bin", "legacy.bin"];
        let mut file = fs::read(fixture(names[which])).unwrap();
        for (position, byte) in changes {
            let at = position.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file);
    }

    /// Behind a true checksum, so that the changed pickle is run.
    #[test]
    fn a_pickle_with_changed_bytes_never_panics(
        which in 0usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (mut pickle, storages) = records(["types.bin", "views.bin", "protocol4.bin", "wrapped.bin"][which]);
        for (position, byte) in changes {
            let at = position.index(pickle.len());
            pickle[at] = byte;
        }
        let mut all = vec![("data.pkl", pickle.as_slice())];
        all.extend(storages.iter().map(|(name, data)| (name.as_str(), data.as_slice())));
        let _ = read(&archive(&all));
    }

    #[test]
    fn any_instructions_at_all_never_panic(pickle in proptest::collection::vec(
        prop_oneof![
            proptest::sample::select(b"\x80\x95.(N\x88JKM\x8aGX\x8c\x8d)\x85\x86\x87t]ae}suqr\x94hjc\x93RbQ".to_vec()),
            0u8..4,
        ],
        0..60,
    )) {
        let _ = read_pickle(&pickle);
    }
}
