//! Reading: one file or a sharded checkpoint, mapped into memory.

use super::fault::TorchFault;
use super::state_dict;
use super::tensor::Entry;
use crate::hub::Error;
use crate::hub::elements::{Described, missing};
use crate::hub::mmap::Mmap;
use crate::hub::shard_index::ShardIndex;
use crate::hub::weights::WeightInfo;
use crate::lfs;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The tensors of a `pytorch_model.bin`, or of the shards of a `pytorch_model.bin.index.json`.
///
/// Opening reads and checks descriptions only; data is read from disk as it is touched. The files must not be cut short
/// or overwritten in place while this lives (replacing them by rename is fine).
#[derive(Debug)]
pub struct TorchTensors {
    path: PathBuf,
    shards: Vec<Shard>,
    entries: Vec<(usize, Entry)>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Mmap,
}

impl TorchTensors {
    /// Opens a file that `torch.save` wrote, or the shards that an index (a file ending in
    /// `.json`) lists. Nothing in the file is executed.
    ///
    /// # Errors
    /// The file cannot be read; it is not such a file, holds something else than a dictionary of tensors, or refers to
    /// anything of Python that tensors do not need; the index and its shards disagree.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut tensors =
            Self { path: path.to_path_buf(), shards: Vec::new(), entries: Vec::new(), by_name: HashMap::new() };
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

    /// Names of all tensors, in the order of the dictionary.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(_, entry)| entry.name.as_str())
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Element type and shape of the tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with the nearest name there is.
    pub fn get(&self, name: &str) -> Result<WeightInfo<'_>, Error> {
        let (_, entry) = self.entry(name)?;
        Ok(WeightInfo { dtype: entry.dtype, shape: &entry.shape, packed: None })
    }

    /// The elements of the tensor of that name, row by row, as they lie in the file where they do.
    pub(in crate::hub) fn elements(&self, name: &str) -> Result<Cow<'_, [u8]>, Error> {
        let (shard, entry) = self.entry(name)?;
        Ok(entry.elements(&shard.bytes))
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
        described.to_f32(&bytes, values)
    }

    /// Reads a tensor of real numbers into a new vector; see [`TorchTensors::read_f32_into`].
    ///
    /// # Errors
    /// As [`TorchTensors::read_f32_into`].
    pub fn read_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let (described, bytes) = self.get_shaped(name, shape)?;
        let mut values = vec![0.0; described.shape.iter().product()];
        described.to_f32(&bytes, &mut values)?;
        Ok(values)
    }

    fn entry(&self, name: &str) -> Result<(&Shard, &Entry), Error> {
        let Some(&index) = self.by_name.get(name) else {
            return Err(missing(&self.path, name, self.names()));
        };
        let (shard, entry) = &self.entries[index];
        Ok((&self.shards[*shard], entry))
    }

    /// The tensor of that name, if it has that shape, and its elements row by row.
    fn get_shaped(&self, name: &str, shape: &[usize]) -> Result<(Described<'_>, Cow<'_, [u8]>), Error> {
        let (shard, entry) = self.entry(name)?;
        let described = Described { path: &shard.path, name: &entry.name, dtype: entry.dtype, shape: &entry.shape };
        described.check_shape(shape)?;
        Ok((described, entry.elements(&shard.bytes)))
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
        let unusable = |fault| Error::Torch { path: path.to_path_buf(), fault };
        // Opening a pipe would wait for its writer, so what it is comes before opening it.
        let about = fs::metadata(path).map_err(Error::io(path, "read"))?;
        if !about.is_file() {
            return Err(unusable(TorchFault::NotAFile));
        }
        if about.len() == 0 {
            return Err(unusable(TorchFault::Empty));
        }
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let bytes = Mmap::map(&file).map_err(Error::io(path, "map into memory"))?;
        lfs::refuse_pointer(&bytes).map_err(Error::io(path, "read"))?;
        for entry in state_dict::parse(&bytes).map_err(unusable)? {
            self.by_name.insert(entry.name.clone(), self.entries.len());
            self.entries.push((self.shards.len(), entry));
        }
        self.shards.push(Shard { path: path.to_path_buf(), bytes });
        Ok(())
    }
}
