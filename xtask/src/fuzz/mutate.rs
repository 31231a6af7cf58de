//! Changes to a file: of its bytes, or of what the bytes say.

use std::io::{Read, Write};

use super::archive;
use super::random::Random;
use super::tree;

/// How a file is built, which says at which levels it can be changed.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    /// Bytes.
    Bytes,
    /// Text in lines.
    Text,
    /// A JSON value.
    Json,
    /// A TOML table.
    Toml,
    /// Eight bytes with the length of a JSON header, the header, bytes.
    Safetensors,
    /// A zip archive with a pickle in it.
    Torch,
    /// Compressed text.
    Gzip,
}

/// Numbers where programs go wrong.
pub const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "2",
    "-1",
    "3",
    "127",
    "255",
    "256",
    "65535",
    "65536",
    "16777216",
    "2147483647",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "-1e-308",
    "0.5",
    "1e999",
    "1e18",
];

/// The file, changed once to four times.
pub fn mutate(form: Form, sound: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..1 + random.below(4) {
        bytes = change(form, &bytes, random);
    }
    bytes
}

fn change(form: Form, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    // Now and then below the level that the form gives.
    let inner = if random.once_in(4) { None } else { inside(form, bytes, random) };
    inner.unwrap_or_else(|| if form == Form::Bytes { of_bytes(bytes, random) } else { of_text(bytes, random) })
}

/// A change of what the bytes say; `None` where they do not say it any more.
fn inside(form: Form, bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    match form {
        Form::Bytes | Form::Text => None,
        Form::Json => {
            let mut value = serde_json::from_slice(bytes).ok()?;
            tree::change(&mut value, random);
            serde_json::to_vec_pretty(&value).ok()
        }
        Form::Toml => {
            let table: toml::Table = toml::from_str(std::str::from_utf8(bytes).ok()?).ok()?;
            let mut value = serde_json::to_value(table).ok()?;
            tree::change(&mut value, random);
            Some(toml::to_string(&value).ok()?.into_bytes())
        }
        Form::Safetensors => {
            let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
            let (header, data) = bytes.get(8..)?.split_at_checked(length)?;
            let header = change(Form::Json, header, random);
            let length = header.len() as u64;
            Some([&length.to_le_bytes()[..], &header, data].concat())
        }
        Form::Torch => {
            let mut records = archive::read(bytes)?;
            let at = if random.once_in(5) { random.below(records.len()) } else { 0 };
            records[at].1 = of_bytes(&records[at].1, random);
            Some(archive::write(&records))
        }
        Form::Gzip => {
            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut text).ok()?;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&of_text(&text, random)).ok()?;
            encoder.finish().ok()
        }
    }
}

/// Numbers, lines and words changed; or bytes.
fn of_text(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => other_number(bytes, random),
        1 => of_parts(bytes, b'\n', random),
        2 => of_parts(bytes, random.pick(b" \t,\":{}"), random),
        3 => insert(bytes, random.pick(&SNIPPETS).as_bytes(), random),
        _ => of_bytes(bytes, random),
    }
}

/// Pieces of text that mean something to a reader.
const SNIPPETS: [&str; 22] = [
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\0",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\u{FEFF}",
    "\u{2028}",
    "🎉",
    "e\u{301}\u{301}",
    "null",
    "\\ud800",
    "<unk>",
    "#",
    "''' ",
];

/// One of the numbers in a text replaced.
fn other_number(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let is_start = |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[at - 1].is_ascii_digit());
    let starts: Vec<usize> = (0..bytes.len()).filter(is_start).collect();
    if starts.is_empty() {
        return insert(bytes, random.pick(&NUMBERS).as_bytes(), random);
    }
    let start = random.pick(&starts);
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    [&bytes[..start], random.pick(&NUMBERS).as_bytes(), &bytes[start + length..]].concat()
}

/// A part between separators left out, doubled, repeated often, or moved to another place.
fn of_parts(bytes: &[u8], separator: u8, random: &mut Random) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == separator).collect();
    let at = random.below(parts.len());
    match random.below(4) {
        0 => _ = parts.remove(at),
        1 => parts.insert(at, parts[at]),
        2 => _ = parts.splice(at..at, std::iter::repeat_n(parts[at], 1 + random.below(300))),
        _ => {
            let other = random.below(parts.len());
            parts.swap(at, other);
        }
    }
    parts.join(&separator)
}

fn insert(bytes: &[u8], new: &[u8], random: &mut Random) -> Vec<u8> {
    let at = random.below(bytes.len() + 1);
    [&bytes[..at], new, &bytes[at..]].concat()
}

/// Bits, bytes and ranges of bytes changed.
fn of_bytes(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.is_empty() {
        return random.next().to_le_bytes().to_vec();
    }
    let (a, b) = (random.below(bytes.len()), random.below(bytes.len()));
    let near = a.max(b).min(a.min(b) + random.pick(&[1, 2, 4, 8, 64, 4096]));
    let range = a.min(b)..near;
    match random.below(9) {
        0 => bytes[a] ^= 1 << random.below(8),
        1 => bytes[a] = random.pick(&[0, 1, 0x7F, 0x80, 0xFF, b'0', b'}', b'"']),
        2 => bytes.truncate(a),
        3 => _ = bytes.drain(range),
        4 => {
            let copy = bytes[range].to_vec();
            bytes.splice(b..b, copy);
        }
        5 => {
            // Spliced: the beginning of one part, the end of another.
            let tail = bytes[b..].to_vec();
            bytes.truncate(a);
            bytes.extend(tail);
        }
        6 => {
            let number =
                random.pick(&[0, 1, u64::from(u16::MAX), u64::from(u32::MAX), u64::MAX, 1 << 63, 1 << 31, 1 << 40]);
            let width = random.pick(&[1, 2, 4, 8]);
            let number = if random.once_in(3) { number.to_be_bytes() } else { number.to_le_bytes() };
            for (place, byte) in bytes[a..].iter_mut().zip(&number[..width]) {
                *place = *byte;
            }
        }
        7 => {
            let new: Vec<u8> = (0..1 + random.below(32)).map(|_| random.next() as u8).collect();
            bytes.splice(a..a, new);
        }
        _ => bytes.swap(a, b),
    }
    bytes
}
