//! Reading: one file or a sharded checkpoint, mapped into memory.

use super::header::{self, Entry};
use crate::hub::elements::{Described, missing};
use crate::hub::error::{Error, Fault};
use crate::hub::mmap::{Mapped, Mmap};
use crate::hub::shard_index::ShardIndex;
use crate::lfs;
use bytemuck::AnyBitPattern;
use safetensors::Dtype;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tensors of a `.safetensors` file, or of the shards of a `.safetensors.index.json`.
///
/// Opening reads and checks the headers only; data is read from disk as it is touched. The files must not be
/// cut short or overwritten in place while this lives (replacing them by rename is fine).
#[derive(Debug)]
pub struct SafeTensors {
    path: PathBuf,
    shards: Vec<Shard>,
    entries: Vec<(usize, Entry)>,
    by_name: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Arc<Mmap>,
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
    /// The elements, little-endian, row by row; not aligned to anything.
    pub bytes: &'a [u8],
}

impl SafeTensors {
    /// Opens a `.safetensors` file, or the shards that an index (a file ending in `.json`) lists.
    ///
    /// # Errors
    /// The file cannot be read, is not a safetensors file, or the index and its shards disagree.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut tensors = Self {
            path: path.to_path_buf(),
            shards: Vec::new(),
            entries: Vec::new(),
            by_name: HashMap::new(),
            metadata: BTreeMap::new(),
        };
        if ShardIndex::is_index(path) {
            tensors.add_shards(&ShardIndex::read(path)?)?;
        } else {
            tensors.add_shard(path)?;
        }
        Ok(tensors)
    }

    /// The file or index that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, in the order of their data.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(_, entry)| entry.name.as_str())
    }

    /// The free-form strings of the header (`__metadata__`).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with the nearest name there is.
    pub fn get(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let (shard, entry) = self.entry(name)?;
        Ok(TensorView { dtype: entry.dtype, shape: &entry.shape, bytes: &shard.bytes[entry.range.clone()] })
    }

    /// Reads a tensor of real numbers (F32, F16, BF16 or F64) into `values`, row by row.
    ///
    /// # Shapes
    /// - `values`: as many elements as `shape` has
    ///
    /// # Errors
    /// The tensor is missing, of another shape or element type, or holds NaN or an infinity.
    ///
    /// # Panics
    /// If `values` has another length than `shape` asks for.
    pub fn read_f32_into(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<(), Error> {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "read_f32_into: `{name}` of shape {shape:?}");
        let (described, bytes) = self.get_shaped(name, shape)?;
        described.to_f32(bytes, values)
    }

    /// Reads a tensor of real numbers into a new vector; see [`SafeTensors::read_f32_into`].
    ///
    /// # Errors
    /// As [`SafeTensors::read_f32_into`].
    pub fn read_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        // The file's shape was checked against its bytes, so its size is safe to allocate; the caller's may not be.
        let (described, bytes) = self.get_shaped(name, shape)?;
        let mut values = vec![0.0; described.shape.iter().product()];
        described.to_f32(bytes, &mut values)?;
        Ok(values)
    }

    /// Reads a tensor of whole numbers (I64, I32, I16, I8, U32, U16, U8 or BOOL).
    ///
    /// # Errors
    /// The tensor is missing, or of another shape or element type.
    pub fn read_i64(&self, name: &str, shape: &[usize]) -> Result<Vec<i64>, Error> {
        let (described, bytes) = self.get_shaped(name, shape)?;
        described.to_i64(bytes)
    }

    /// The elements where they lie in the file, if they lie there as the machine has numbers of this type in memory.
    pub(in crate::hub) fn mapped<T: AnyBitPattern>(&self, name: &str) -> Option<Mapped<T>> {
        let (shard, entry) = self.entry(name).ok()?;
        Mapped::new(Arc::clone(&shard.bytes), entry.range.clone())
    }

    fn entry(&self, name: &str) -> Result<(&Shard, &Entry), Error> {
        let Some(&index) = self.by_name.get(name) else {
            return Err(missing(&self.path, name, self.names()));
        };
        let (shard, entry) = &self.entries[index];
        Ok((&self.shards[*shard], entry))
    }

    /// The tensor of that name, if it has that shape, and its bytes.
    fn get_shaped(&self, name: &str, shape: &[usize]) -> Result<(Described<'_>, &[u8]), Error> {
        let (shard, entry) = self.entry(name)?;
        let described = Described { path: &shard.path, name: &entry.name, dtype: entry.dtype, shape: &entry.shape };
        described.check_shape(shape)?;
        Ok((described, &shard.bytes[entry.range.clone()]))
    }

    fn add_shards(&mut self, index: &ShardIndex) -> Result<(), Error> {
        for (file, path) in index.shards() {
            let already = self.entries.len();
            self.add_shard(&path)?;
            index.check_shard(file, self.names().skip(already))?;
        }
        index.check_complete(|name| self.contains(name))
    }

    fn add_shard(&mut self, path: &Path) -> Result<(), Error> {
        let corrupt = |fault| Error::Corrupt { path: path.to_path_buf(), fault };
        // Opening a pipe would wait for its writer, so what it is comes before opening it.
        let about = fs::metadata(path).map_err(Error::io(path, "read"))?;
        if !about.is_file() {
            return Err(corrupt(Fault::NotAFile));
        }
        if about.len() == 0 {
            return Err(corrupt(Fault::Empty));
        }
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let bytes = Mmap::map(&file).map_err(Error::io(path, "map into memory"))?;
        lfs::refuse_pointer(&bytes).map_err(Error::io(path, "read"))?;
        let header = header::parse(&bytes).map_err(corrupt)?;
        for entry in header.entries {
            self.by_name.insert(entry.name.clone(), self.entries.len());
            self.entries.push((self.shards.len(), entry));
        }
        self.metadata.extend(header.metadata);
        self.shards.push(Shard { path: path.to_path_buf(), bytes: Arc::new(bytes) });
        Ok(())
    }
}
