//! A writer of archives and pickles, so that tests can write wrong ones.

/// The numbers of a record as the archive tells them.
#[derive(Clone, Copy)]
pub struct Told {
    pub method: u16,
    pub flags: u16,
    pub bytes: u64,
    pub local: u64,
    /// Whether numbers stand in the zip64 extra field.
    pub wide: bool,
}

/// An archive of these records under the root `m`.
pub fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
    archive_with(records, false, |_, told| told)
}

/// An archive of which the directory says what `change` makes of the truth, with a zip64 end if so asked.
pub fn archive_with(records: &[(&str, &[u8])], wide_end: bool, change: impl Fn(&str, Told) -> Told) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in records {
        let path = format!("m/{name}");
        let local = file.len() as u64;
        let told = change(name, Told { method: 0, flags: 0, bytes: data.len() as u64, local, wide: false });
        file.extend([b"PK\x03\x04".as_slice(), &[0; 22], &(path.len() as u16).to_le_bytes(), &[0, 0]].concat());
        file.extend([path.as_bytes(), data].concat());
        directory.extend(central(&path, crc32fast::hash(data), told));
    }
    let (begin, entries) = (file.len() as u64, records.len() as u64);
    file.extend(&directory);
    if wide_end {
        let end = file.len() as u64;
        file.extend([b"PK\x06\x06".as_slice(), &[0; 28]].concat());
        file.extend([entries, directory.len() as u64, begin].map(u64::to_le_bytes).concat());
        file.extend([b"PK\x06\x07".as_slice(), &[0; 4], &end.to_le_bytes(), &[0; 4]].concat());
    }
    let numbers = if wide_end { [u32::MAX; 2] } else { [directory.len() as u32, begin as u32] };
    file.extend([b"PK\x05\x06".as_slice(), &[0; 6], &(entries as u16).to_le_bytes()].concat());
    file.extend([numbers.map(u32::to_le_bytes).concat(), vec![0; 2]].concat());
    file
}

fn central(path: &str, crc: u32, told: Told) -> Vec<u8> {
    let extra = match told.wide {
        true => [b"\x01\x00\x18\x00".as_slice(), &[told.bytes, told.bytes, told.local].map(u64::to_le_bytes).concat()]
            .concat(),
        false => Vec::new(),
    };
    let short = |number: u64| if told.wide { u32::MAX } else { number as u32 };
    let mut entry = [b"PK\x01\x02".as_slice(), &[0; 4]].concat();
    entry.extend([told.flags, told.method, 0, 0].map(u16::to_le_bytes).concat());
    entry.extend([crc, short(told.bytes), short(told.bytes)].map(u32::to_le_bytes).concat());
    entry.extend([path.len() as u16, extra.len() as u16, 0].map(u16::to_le_bytes).concat());
    entry.extend([&[0; 8], short(told.local).to_le_bytes().as_slice(), path.as_bytes(), &extra].concat());
    entry
}

/// A file from before PyTorch 1.6 of that state dict, with these storages of floats behind it.
pub fn stream(pickle: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    stream_with(pickle, 1001, true, storages)
}

/// The same, with another version of the format or another order of bytes.
pub fn stream_with(pickle: &[u8], protocol: i64, is_little: bool, storages: &[(&str, &[f32])]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let order: &[u8] = if is_little { b"\x88" } else { b"\x89" };
    let system = [b"\x80\x02}", text("little_endian").as_slice(), order, b"s."].concat();
    let keys: Vec<u8> = storages.iter().flat_map(|(key, _)| text(key)).collect();
    let mut file = [magic.as_slice(), b"\x80\x02", &int(protocol), b".", &system, pickle].concat();
    file.extend([b"\x80\x02](", keys.as_slice(), b"e."].concat());
    for (_, values) in storages {
        file.extend((values.len() as i64).to_le_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

/// `{"w": tensor}` of a float storage `0`.
pub fn one_tensor(elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let arguments = [storage("0", elements), int(offset), tuple(shape), tuple(strides), b"\x89N".to_vec()].concat();
    [b"\x80\x02}", text("w").as_slice(), &rebuilt(&arguments), b"s."].concat()
}

/// `_rebuild_tensor_v2(arguments…)`.
pub fn rebuilt(arguments: &[u8]) -> Vec<u8> {
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", arguments, b"tR"].concat()
}

/// A storage of floats under that key.
pub fn storage(key: &str, elements: i64) -> Vec<u8> {
    let [kind, key, place] = ["storage", key, "cpu"].map(text);
    [b"(", kind.as_slice(), b"ctorch\nFloatStorage\n", &key, &place, &int(elements), b"tQ"].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

pub fn tuple(numbers: &[i64]) -> Vec<u8> {
    [b"(".to_vec(), numbers.iter().flat_map(|&number| int(number)).collect(), b"t".to_vec()].concat()
}

pub fn int(number: i64) -> Vec<u8> {
    [b"\x8a\x08", number.to_le_bytes().as_slice()].concat()
}
