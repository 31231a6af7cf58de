//! The parts of a file, one after another, each checked against the bytes that are left.

/// A place in the bytes of a file.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl<'f> Cursor<'f> {
    /// At byte `at`, which is at most the last one's end.
    pub(super) fn new(bytes: &'f [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The number of bytes that were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The number of bytes that follow.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `len` bytes, which hold `what`.
    pub(super) fn take(&mut self, len: u64, what: &str) -> Result<&'f [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let Some(taken) = taken else {
            let (at, left) = (self.at, rest.len());
            return Err(format!(
                "{what} takes {len} bytes from byte {at} on, but {left} are left: the file is cut short"
            ));
        };
        self.at += taken.len();
        Ok(taken)
    }

    /// The next `N` bytes, which hold `what`.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    /// A whole number of 4 bytes.
    pub(super) fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A whole number of 8 bytes.
    pub(super) fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A text: its length, then its bytes.
    pub(super) fn text(&mut self, what: &str) -> Result<&'f str, String> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|error| format!("{what} is not UTF-8: {error}"))
    }

    /// Checks that `count` things of at least `least` bytes each can follow.
    pub(super) fn check_count(&self, count: u64, least: usize, what: &str) -> Result<(), String> {
        let most = (self.left() / least) as u64;
        if count <= most {
            return Ok(());
        }
        Err(format!("{what} claims {count} entries, but the {} bytes that follow hold at most {most}", self.left()))
    }
}
