//! What a file that should be UTF-8 text is instead, as far as its first bytes tell.

use std::io;
use std::path::Path;

use crate::lfs;

/// The bytes of a file of UTF-8 text, without the byte-order mark that editors of Windows put at the beginning.
///
/// # Errors
/// The file cannot be read, is a Git LFS pointer, or begins as no UTF-8 text does; the caller names the file.
pub fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = lfs::read(path)?;
    if let Some(found) = foreign(&bytes) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file is {found}")));
    }
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

const MARK: &[u8] = "\u{feff}".as_bytes();

/// Bytes that are looked at: enough for a line of text.
const LOOKED_AT: usize = 256;

/// What the file is and what to do about it, where its first bytes show that it is no UTF-8 text.
pub fn foreign(beginning: &[u8]) -> Option<String> {
    let beginning = &beginning[..beginning.len().min(LOOKED_AT)];
    if let Some(encoding) = wide(beginning) {
        return Some(format!(
            "{encoding} text, expected UTF-8; convert it, for example with iconv -f {encoding} -t UTF-8"
        ));
    }
    let converts = "make a model directory of it with atento convert FILE --out DIR";
    let kinds: [(&[u8], &str, &str); 8] = [
        (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it with zstd -d"),
        (b"\xfd7zXZ\0", "an xz archive", "unpack it with xz -d"),
        (b"BZh91AY&SY", "a bzip2 archive", "unpack it with bzip2 -d"),
        (b"PK\x03\x04", "a ZIP archive (or a spreadsheet)", "unpack it, or save it as text"),
        (b"PAR1", "a Parquet file", "convert it to JSON objects, one a line"),
        (b"GGUF\x02\0\0\0", "a GGUF file", converts),
        (b"GGUF\x03\0\0\0", "a GGUF file", converts),
        (b"ARROW1", "an Arrow file", "convert it to JSON objects, one a line"),
    ];
    let (_, name, advice) = kinds.into_iter().find(|(start, ..)| beginning.starts_with(start))?;
    Some(format!("{name}, expected UTF-8 text; {advice}"))
}

/// The name of a Unicode encoding of two or four bytes: by its byte-order mark, or by the zeros that it has between
/// letters.
pub fn wide(beginning: &[u8]) -> Option<&'static str> {
    match beginning {
        [0xff, 0xfe, 0, 0, ..] => return Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32BE"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let pairs = beginning.chunks_exact(2);
    let count = pairs.len();
    // A text of any length; binary files have zeros too, but not in every second place alone.
    let all = |test: fn(&[u8]) -> bool| count >= 2 && pairs.clone().filter(|pair| test(pair)).count() * 10 >= count * 9;
    if all(|pair| pair[0] != 0 && pair[1] == 0) {
        return Some("UTF-16LE");
    }
    all(|pair| pair[0] == 0 && pair[1] != 0).then_some("UTF-16BE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn wide_encodings_are_known_with_a_mark_and_without() {
        let text = "prompt,completion\na,b\n";
        for (mark, bytes, name) in [
            ("\u{feff}", u16::to_le_bytes as fn(u16) -> [u8; 2], "UTF-16"),
            ("\u{feff}", u16::to_be_bytes, "UTF-16"),
            ("", u16::to_le_bytes, "UTF-16LE"),
            ("", u16::to_be_bytes, "UTF-16BE"),
        ] {
            assert_eq!(wide(&utf16(&format!("{mark}{text}"), bytes)), Some(name));
        }
        assert_eq!(wide(&utf16("\u{feff}日本", u16::to_le_bytes)), Some("UTF-16"));
        assert_eq!(wide(b"\xff\xfe\0\0a\0\0\0"), Some("UTF-32LE"));
        assert!(foreign(&utf16(text, u16::to_le_bytes)).unwrap().contains("iconv -f UTF-16LE -t UTF-8"));
    }

    #[test]
    fn text_of_any_script_is_no_foreign_file() {
        for text in ["", "a", "\n", "\u{feff}a", "日本語\n", "PKZIP", "BZh", "PART 1", "GGUF is", "a\0b\0\0\0\0\0\0\0"]
        {
            assert_eq!(foreign(text.as_bytes()), None, "{text:?}");
        }
        assert!(foreign(b"GGUF\x03\0\0\0\x22").unwrap().ends_with("with atento convert FILE --out DIR"));
        assert!(foreign(b"PAR1\x15\x04").unwrap().starts_with("a Parquet file, expected UTF-8 text; convert it"));
    }
}
