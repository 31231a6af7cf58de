//! The content of a gzip file: its members, one after the other, as made by `cat a.gz b.gz` or `pigz`.
//!
//! Zero bytes after a member are padding, as tapes and object stores leave it, and end the file or come before another
//! member; `gzip` reads them so. Anything else after a member is an error: whether it was text, nobody can tell.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// What every gzip file begins with.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads what the members hold.
pub(super) struct Members<R> {
    /// The member that is read; `None` after the last.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Members { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            match member.read(buffer)? {
                0 => {
                    self.member = self.member.take().map(GzDecoder::into_inner).map(next_member).transpose()?.flatten()
                }
                read => return Ok(read),
            }
        }
        Ok(0)
    }
}

/// The member after one that has ended; `None` at the end of the file.
fn next_member<R: BufRead>(mut input: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let waiting = input.fill_buf()?;
        match waiting.iter().position(|&byte| byte != 0) {
            Some(at) if waiting[at] == MAGIC[0] => {
                input.consume(at);
                return Ok(Some(GzDecoder::new(input)));
            }
            Some(_) => {
                let message = "after the gzip data come bytes that are neither gzip nor zeros";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            None if waiting.is_empty() => return Ok(None),
            None => {
                let zeros = waiting.len();
                input.consume(zeros);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn content(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A small buffer: padding and members lie across its ends.
        Members::new(io::BufReader::with_capacity(7, packed)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn zeros_after_a_member_are_padding_and_other_bytes_are_an_error() {
        let (one, two, nothing) = (gzip(b"one"), gzip(b"two"), gzip(b""));
        let zeros = vec![0; 513];
        for (packed, expected) in [
            (vec![&one[..]], &b"one"[..]),
            (vec![&one, &two], b"onetwo"),
            (vec![&one, &zeros], b"one"),
            (vec![&one, &nothing, &zeros, &two, &zeros], b"onetwo"),
            (vec![&nothing], b""),
        ] {
            assert_eq!(content(&packed.concat()).unwrap(), expected);
        }
        for end in [&b"text"[..], b"\0\0x", b"\n"] {
            let error = content(&[&one, end].concat()).unwrap_err();
            assert!(error.to_string().contains("neither gzip nor zeros"), "{error}");
        }
    }

    #[test]
    fn a_member_that_is_cut_short_anywhere_is_an_error() {
        let both = [gzip(b"one"), gzip(b"some more text")].concat();
        let first = gzip(b"one").len();
        for end in (1..both.len()).filter(|end| *end != first) {
            assert_eq!(content(&both[..end]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
    }
}
