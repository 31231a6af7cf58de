//! Files as PyTorch writes them: archives with a pickle and the storages of tensors, written here without Python.

/// The records of an archive, in order: name and bytes.
pub type Records = Vec<(String, Vec<u8>)>;

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

/// A zip archive without compression.
pub fn write(records: &Records) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in records {
        let start = file.len() as u32;
        let (crc, size) = (crc32fast::hash(data).to_le_bytes(), (data.len() as u32).to_le_bytes());
        let numbers = [&[0; 4][..], &crc, &size, &size, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        file.extend([LOCAL, &[20, 0, 0, 0, 0, 0], &numbers, name.as_bytes(), data].concat());
        let place = [&[0; 10][..], &start.to_le_bytes()].concat();
        directory.extend([CENTRAL, &[20, 0, 20, 0, 0, 0, 0, 0], &numbers, &place, name.as_bytes()].concat());
    }
    let (start, entries) = ((file.len() as u32).to_le_bytes(), (records.len() as u16).to_le_bytes());
    let size = (directory.len() as u32).to_le_bytes();
    file.extend(directory);
    file.extend([END, &[0; 4], &entries, &entries, &size, &start, &[0; 2]].concat());
    file
}

/// The records of an archive that [`write()`] wrote and that is still whole.
pub fn read(bytes: &[u8]) -> Option<Records> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let (mut records, mut at) = (Vec::new(), 0);
    while bytes.get(at..)?.starts_with(LOCAL) {
        let (size, name) = (number(at + 18)?, number(at + 26)? & 0xFFFF);
        let start = at + 30 + name;
        let name = String::from_utf8(bytes.get(at + 30..start)?.to_vec()).ok()?;
        records.push((name, bytes.get(start..start.checked_add(size)?)?.to_vec()));
        at = start + size;
    }
    (!records.is_empty()).then_some(records)
}

/// One tensor of floats.
pub struct Tensor<'b> {
    pub name: &'b str,
    pub shape: Vec<u64>,
    pub data: &'b [u8],
}

/// The archive of `torch.save(state_dict)`.
pub fn torch(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let mut records = vec![("archive/data.pkl".to_owned(), pickle(tensors, b"tQ"))];
    records.extend(tensors.iter().enumerate().map(|(i, tensor)| (format!("archive/data/{i}"), tensor.data.to_vec())));
    records.push(("archive/version".into(), b"3\n".to_vec()));
    write(&records)
}

/// The same in the form from before PyTorch 1.6: pickles one after the other, then the storages.
pub fn legacy(tensors: &[Tensor<'_>]) -> Vec<u8> {
    let magic = [b"\x80\x02\x8a\x0a", &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19][..], b"."].concat();
    let version = b"\x80\x02M\xe9\x03.".to_vec();
    let sizes = [("short", 2), ("int", 4), ("long", 4)].map(|(name, size)| [text(name), vec![b'K', size]].concat());
    let system = [
        &b"\x80\x02}("[..],
        &text("protocol_version"),
        b"M\xe9\x03",
        &text("little_endian"),
        b"\x88",
        &text("type_sizes"),
        b"}(",
        &sizes.concat(),
        b"uu.",
    ];
    let keys: Vec<u8> = (0..tensors.len()).flat_map(|i| text(&i.to_string())).collect();
    let keys = [&b"\x80\x02]("[..], &keys, b"e."].concat();
    let mut file = [magic, version, system.concat(), pickle(tensors, b"NtQ"), keys].concat();
    for tensor in tensors {
        file.extend((tensor.data.len() as u64 / 4).to_le_bytes());
        file.extend(tensor.data);
    }
    file
}

/// A dictionary of tensors; `end` ends the name of a storage, which the older form gives one more part.
fn pickle(tensors: &[Tensor<'_>], end: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (i, tensor) in tensors.iter().enumerate() {
        let elements = tensor.data.len() as u64 / 4;
        let mut strides = vec![1_u64; tensor.shape.len()];
        for axis in (1..tensor.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * tensor.shape[axis];
        }
        bytes.extend(text(tensor.name));
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        bytes.extend([text("storage"), b"ctorch\nFloatStorage\n".to_vec()].concat());
        bytes.extend([text(&i.to_string()), text("cpu"), int(elements), end.to_vec(), int(0)].concat());
        bytes.extend([tuple(&tensor.shape), tuple(&strides), b"\x89ccollections\nOrderedDict\n)RtR".to_vec()].concat());
    }
    bytes.extend(b"u.");
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(number: u64) -> Vec<u8> {
    [b"\x8a\x08", &number.to_le_bytes()[..]].concat()
}

fn tuple(numbers: &[u64]) -> Vec<u8> {
    [&b"("[..], &numbers.iter().flat_map(|number| int(*number)).collect::<Vec<u8>>(), b"t"].concat()
}
