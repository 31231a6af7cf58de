//! One token file, of which the parts that are needed are read when they are.
//!
//! The format is nanoGPT's: token after token, little-endian, without a header. A file says neither its
//! dtype nor its vocabulary; ids are checked where they are read. A file that is cut short meanwhile is an error, which
//! it would not be if it were mapped into memory: touching what is gone would end the process.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::data::hash::{add_ids, combine};
use crate::lfs;
use crate::text::Tokenizer;

/// How a token lies in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Two bytes, little-endian.
    #[default]
    Uint16,
    /// Four bytes, little-endian.
    Uint32,
}

/// Bytes of a file that are looked at to find the width of its tokens, and the fewest tokens that tell it.
const BEGINNING: u64 = 1 << 16;
const LEAST_PAIRS: usize = 8;

impl Dtype {
    /// Bytes of a token.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::Uint16 => 2,
            Dtype::Uint32 => 4,
        }
    }

    /// The smallest that holds all ids of a vocabulary.
    pub fn for_vocabulary(vocab_size: usize) -> Self {
        if vocab_size <= 1 << 16 { Dtype::Uint16 } else { Dtype::Uint32 }
    }

    /// What a token file that says nothing of itself holds: [`Dtype::Uint32`] where every second `uint16` of its beginning
    /// is 0 and not all are, as the upper halves of small ids would be; else [`Dtype::Uint16`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let mut beginning = Vec::new();
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let length = file.metadata().map_err(Error::io(path, "look at"))?.len();
        file.take(BEGINNING).read_to_end(&mut beginning).map_err(Error::io(path, "read"))?;
        let (pairs, _) = beginning.as_chunks::<4>();
        let halves = pairs.len() >= LEAST_PAIRS && pairs.iter().all(|pair| pair[2..] == [0, 0]);
        let wide = halves && pairs.iter().any(|pair| pair[..2] != [0, 0]) && length.is_multiple_of(4);
        Ok(if wide { Dtype::Uint32 } else { Dtype::Uint16 })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::Uint16 => "uint16",
            Dtype::Uint32 => "uint32",
        })
    }
}

/// Tokens that are looked at in one parallel task.
const CHECK_CHUNK: usize = 1 << 20;

/// A sequence of tokens: an open file, or ids that are in memory already.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    /// The file, how a token lies in it, and how many there were when it was opened.
    File(File, Dtype, usize),
    Memory(Vec<u32>),
}

impl Shard {
    /// Opens a token file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Empty`], [`Error::OddLength`].
    pub fn open(path: impl AsRef<Path>, dtype: Dtype) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let metadata = file.metadata().map_err(Error::io(path, "look at"))?;
        if !metadata.is_file() {
            let source = std::io::Error::other("it is no regular file");
            return Err(Error::Io { path: path.into(), doing: "read", source });
        }
        let bytes = metadata.len();
        if bytes == 0 {
            return Err(Error::Empty { path: path.into() });
        }
        let mut beginning = vec![0; bytes.min(64) as usize];
        read_at(&file, &mut beginning, 0)
            .and_then(|()| lfs::refuse_pointer(&beginning))
            .map_err(Error::io(path, "read"))?;
        if !bytes.is_multiple_of(dtype.bytes() as u64) {
            return Err(Error::OddLength { path: path.into(), bytes, dtype });
        }
        let tokens = (bytes / dtype.bytes() as u64) as usize;
        Ok(Shard { path: path.into(), storage: Storage::File(file, dtype, tokens) })
    }

    /// Ids in memory; `name` stands for the file in messages.
    ///
    /// # Errors
    /// [`Error::Empty`].
    pub fn from_ids(name: &str, ids: Vec<u32>) -> Result<Self, Error> {
        match ids.is_empty() {
            true => Err(Error::Empty { path: name.into() }),
            false => Ok(Shard { path: name.into(), storage: Storage::Memory(ids) }),
        }
    }

    /// The tokens of a text in memory, as [`prepare`](super::prepare()) makes them of a piece: nothing is added
    /// around it. `name` stands for the file in messages.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Empty`].
    pub fn from_text(name: &str, text: &str, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let encoded = tokenizer.encode_ids(text, false);
        Self::from_ids(name, encoded.map_err(|source| Error::Encode { place: name.into(), source })?)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of tokens; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a shard is never empty")]
    pub fn len(&self) -> usize {
        match &self.storage {
            Storage::File(_, _, tokens) => *tokens,
            Storage::Memory(ids) => ids.len(),
        }
    }

    /// The ids at some positions.
    ///
    /// # Errors
    /// [`Error::Changed`] if the file has become shorter, [`Error::Io`].
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u32>, Error> {
        assert!(range.start <= range.end && range.end <= self.len(), "shard: {range:?} of {} tokens", self.len());
        let (file, dtype) = match &self.storage {
            Storage::File(file, dtype, _) => (file, *dtype),
            Storage::Memory(ids) => return Ok(ids[range].to_vec()),
        };
        let mut bytes = vec![0; range.len() * dtype.bytes()];
        read_at(file, &mut bytes, (range.start * dtype.bytes()) as u64)
            .map_err(|error| self.cannot_read(file, error))?;
        Ok(match dtype {
            Dtype::Uint16 => bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes).into()).collect(),
            Dtype::Uint32 => bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect(),
        })
    }

    fn cannot_read(&self, file: &File, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return Error::io(&self.path, "read")(error);
        }
        let now = file.metadata().map_or(0, |metadata| metadata.len());
        let problem = format!("the file has {now} bytes now, and had {} tokens when it was opened", self.len());
        Error::Changed { place: self.path.display().to_string(), problem }
    }

    /// [`read`](Self::read), with every id checked to be below `vocab_size`.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`], naming the first; those of [`read`](Self::read).
    pub fn read_checked(&self, range: Range<usize>, vocab_size: usize) -> Result<Vec<u32>, Error> {
        let start = range.start;
        let ids = self.read(range)?;
        match ids.iter().position(|&id| id as usize >= vocab_size) {
            None => Ok(ids),
            Some(at) => {
                Err(Error::IdOutOfRange { path: self.path.clone(), position: start + at, id: ids[at], vocab_size })
            }
        }
    }

    /// Looks at every id, on all cores.
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`], naming the first id that is not below `vocab_size`; those of [`read`](Self::read).
    pub fn check_ids(&self, vocab_size: usize) -> Result<(), Error> {
        let check = |chunk: usize| {
            let start = chunk * CHECK_CHUNK;
            self.read_checked(start..self.len().min(start + CHECK_CHUNK), vocab_size).err()
        };
        let first = (0..self.len().div_ceil(CHECK_CHUNK)).into_par_iter().find_map_first(check);
        first.map_or(Ok(()), Err)
    }

    /// A hash of all ids, in their order; on all cores.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn hash(&self) -> Result<u64, Error> {
        let part = |chunk: usize| {
            let start = chunk * CHECK_CHUNK;
            Ok(add_ids(0, &self.read(start..self.len().min(start + CHECK_CHUNK))?))
        };
        let parts = (0..self.len().div_ceil(CHECK_CHUNK)).into_par_iter().map(part);
        Ok(parts.collect::<Result<Vec<u64>, Error>>()?.into_iter().fold(0, combine))
    }

    /// Checks that there is a window of `block_size` tokens with a target for each.
    ///
    /// # Errors
    /// [`Error::TooShort`].
    pub fn require(&self, block_size: usize) -> Result<(), Error> {
        match self.len() > block_size {
            true => Ok(()),
            false => Err(Error::TooShort { path: self.path.clone(), tokens: self.len(), block_size }),
        }
    }
}

/// Fills `bytes` from a place in a file, whatever other threads read of it.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// As above.
#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (bytes, offset) = (&mut bytes[read..], offset + read as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn file(dir: &TempDir, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join("train.bin");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_file_of_small_ids_in_four_bytes_is_told_from_one_in_two() {
        let dir = TempDir::new().unwrap();
        let found = |bytes: &[u8]| Dtype::of_file(&file(&dir, bytes)).unwrap();
        let ids: Vec<u32> = (0..20).map(|i| 7 * i % 50).collect();
        let wide: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let narrow: Vec<u8> = ids.iter().flat_map(|&id| (id as u16).to_le_bytes()).collect();
        assert_eq!((found(&wide), found(&narrow)), (Dtype::Uint32, Dtype::Uint16));
        assert_eq!(
            (found(&wide[..78]), found(&[0; 80]), found(&wide[..8])),
            (Dtype::Uint16, Dtype::Uint16, Dtype::Uint16)
        );
    }

    #[test]
    fn files_that_hold_no_tokens_are_refused_with_their_size() {
        let dir = TempDir::new().unwrap();
        let open = |bytes: &[u8], dtype| Shard::open(file(&dir, bytes), dtype).unwrap_err().to_string();
        assert!(open(&[], Dtype::Uint16).ends_with("train.bin: there are no tokens in it"));
        let odd = open(&[1, 0, 2], Dtype::Uint16);
        assert!(odd.contains("train.bin: 3 bytes are no whole number of uint16 tokens of 2 bytes each"), "{odd}");
        assert!(open(&[1, 0, 2, 0, 3, 0], Dtype::Uint32).contains("6 bytes are no whole number of uint32"));
        assert!(Shard::open(dir.path().join("none"), Dtype::Uint16).unwrap_err().to_string().contains("cannot open"));
        assert!(Shard::open(dir.path(), Dtype::Uint16).is_err());
        assert!(Shard::from_ids("memory", vec![]).is_err());
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_named_with_its_position() {
        let ids: Vec<u32> =
            (0..CHECK_CHUNK as u32 + 9).map(|i| if i > CHECK_CHUNK as u32 { 500 } else { i % 50 }).collect();
        let shard = Shard::from_ids("memory", ids).unwrap();
        assert!(shard.check_ids(501).is_ok());
        let message = shard.check_ids(50).unwrap_err().to_string();
        assert!(message.starts_with("memory: token 1048577 has id 500, the vocabulary has ids below 50"), "{message}");
        assert!(shard.read_checked(0..CHECK_CHUNK, 50).is_ok());
        assert!(shard.read_checked(3..10, 9).is_err());
    }

    #[test]
    fn a_window_needs_one_token_more_than_its_size() {
        let shard = Shard::from_ids("memory", vec![1; 8]).unwrap();
        assert!(shard.require(7).is_ok());
        let message = shard.require(8).unwrap_err().to_string();
        assert!(message.starts_with("memory: 8 tokens, a window of 8 needs 9"), "{message}");
    }

    #[test]
    fn a_file_that_is_cut_short_while_it_is_used_is_an_error() {
        let dir = TempDir::new().unwrap();
        let path = file(&dir, &[1; 80_000]);
        let shard = Shard::open(&path, Dtype::Uint16).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        assert_eq!(shard.read(0..50).unwrap().len(), 50);
        for error in [shard.read(49..51).unwrap_err(), shard.check_ids(1 << 16).unwrap_err(), shard.hash().unwrap_err()]
        {
            let message = error.to_string();
            assert!(message.contains("train.bin: the file has 100 bytes now, and had 40000 tokens"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_little_endian_numbers(ids in proptest::collection::vec(any::<u32>(), 1..300), cut in 0usize..300) {
            let dir = TempDir::new().unwrap();
            let cut = cut % ids.len();
            let wide: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            let shard = Shard::open(file(&dir, &wide), Dtype::Uint32).unwrap();
            prop_assert_eq!(shard.len(), ids.len());
            prop_assert_eq!(shard.read(cut..ids.len()).unwrap(), &ids[cut..]);
            let narrow: Vec<u8> = ids.iter().flat_map(|&id| (id as u16).to_le_bytes()).collect();
            let low: Vec<u32> = ids.iter().map(|id| id & 0xFFFF).collect();
            let shard = Shard::open(file(&dir, &narrow), Dtype::Uint16).unwrap();
            prop_assert_eq!(shard.read(0..cut).unwrap(), &low[..cut]);
            prop_assert_eq!(shard.read(0..shard.len()).unwrap(), low);
        }
    }
}
