//! Reading: one file or a sharded checkpoint, mapped into memory.

use super::header::{self, Entry};
use crate::hub::error::{Error, Fault};
use crate::hub::mmap::Mmap;
use crate::hub::nearest::{nearest, quoted};
use half::{bf16, f16};
use safetensors::Dtype;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

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
    bytes: Mmap,
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

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
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
        if path.extension().is_some_and(|extension| extension == "json") {
            tensors.add_shards_of_index(path)?;
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
        let view = self.get_shaped(name, shape)?;
        let bytes = view.bytes;
        let finite = match view.dtype {
            Dtype::F32 => convert(bytes, values, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => convert(bytes, values, |b| f64::from_le_bytes(b) as f32),
            _ => return Err(self.wrong_dtype(name, "F32, F16, BF16 or F64")),
        };
        if finite { Ok(()) } else { Err(self.not_finite(name, values)) }
    }

    /// Reads a tensor of real numbers into a new vector; see [`SafeTensors::read_f32_into`].
    ///
    /// # Errors
    /// As [`SafeTensors::read_f32_into`].
    pub fn read_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        // The file's shape was checked against its bytes, so its size is safe to allocate; the caller's may not be.
        let view = self.get_shaped(name, shape)?;
        let mut values = vec![0.0; view.shape.iter().product()];
        self.read_f32_into(name, shape, &mut values)?;
        Ok(values)
    }

    /// Reads a tensor of whole numbers (I64, I32, I16, I8, U32, U16, U8 or BOOL).
    ///
    /// # Errors
    /// The tensor is missing, or of another shape or element type.
    pub fn read_i64(&self, name: &str, shape: &[usize]) -> Result<Vec<i64>, Error> {
        let view = self.get_shaped(name, shape)?;
        let bytes = view.bytes;
        Ok(match view.dtype {
            Dtype::I64 => widen(bytes, i64::from_le_bytes),
            Dtype::I32 => widen(bytes, |b| i32::from_le_bytes(b).into()),
            Dtype::I16 => widen(bytes, |b| i16::from_le_bytes(b).into()),
            Dtype::I8 => widen(bytes, |b| i8::from_le_bytes(b).into()),
            Dtype::U32 => widen(bytes, |b| u32::from_le_bytes(b).into()),
            Dtype::U16 => widen(bytes, |b| u16::from_le_bytes(b).into()),
            Dtype::U8 | Dtype::BOOL => widen(bytes, |b| u8::from_le_bytes(b).into()),
            _ => return Err(self.wrong_dtype(name, "a whole-number type")),
        })
    }

    fn entry(&self, name: &str) -> Result<(&Shard, &Entry), Error> {
        let Some(&index) = self.by_name.get(name) else {
            let found = nearest(name, self.names()).map(|near| format!(" (the file has {})", quoted(near)));
            let tensors = vec![format!("`{name}`{}", found.unwrap_or_default())];
            return Err(Error::MissingTensors { path: self.path.clone(), tensors });
        };
        let (shard, entry) = &self.entries[index];
        Ok((&self.shards[*shard], entry))
    }

    fn get_shaped(&self, name: &str, shape: &[usize]) -> Result<TensorView<'_>, Error> {
        let view = self.get(name)?;
        if view.shape != shape {
            let (shard, entry) = self.entry(name)?;
            return Err(Error::WrongShape {
                path: shard.path.clone(),
                name: name.to_string(),
                found: entry.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(view)
    }

    fn wrong_dtype(&self, name: &str, expected: &'static str) -> Error {
        match self.entry(name) {
            Ok((shard, entry)) => {
                Error::WrongDtype { path: shard.path.clone(), name: name.to_string(), found: entry.dtype, expected }
            }
            Err(missing) => missing,
        }
    }

    fn not_finite(&self, name: &str, values: &[f32]) -> Error {
        let index = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        let path = self.entry(name).map_or(&self.path, |(shard, _)| &shard.path).clone();
        Error::NotFinite { path, name: name.to_string(), index, value: values[index].into() }
    }

    fn add_shards_of_index(&mut self, path: &Path) -> Result<(), Error> {
        let text = fs::read(path).map_err(Error::io(path, "read"))?;
        let index: Index = serde_json::from_slice(&text)
            .map_err(|error| Error::Json { path: path.to_path_buf(), detail: error.to_string() })?;
        let fault = |fault: String| Error::Index { path: path.to_path_buf(), fault };
        let mut files: Vec<&String> = index.weight_map.values().collect();
        files.sort();
        files.dedup();
        for file in files {
            // An index that points outside its directory is not a checkpoint but an attempt at something.
            if Path::new(file).file_name().is_none_or(|name| name != file.as_str()) {
                return Err(fault(format!("shard {} is not a plain file name", quoted(file))));
            }
            let already = self.entries.len();
            self.add_shard(&path.with_file_name(file))?;
            for (_, entry) in &self.entries[already..] {
                if index.weight_map.get(&entry.name) != Some(file) {
                    let name = quoted(&entry.name);
                    return Err(fault(format!(
                        "shard `{file}` holds tensor {name}, which the index does not place there"
                    )));
                }
            }
        }
        match index.weight_map.iter().find(|(name, _)| !self.contains(name)) {
            Some((name, file)) => Err(fault(format!("tensor {} is not in its shard `{file}`", quoted(name)))),
            None => Ok(()),
        }
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
        let header = header::parse(&bytes).map_err(corrupt)?;
        for entry in header.entries {
            self.by_name.insert(entry.name.clone(), self.entries.len());
            self.entries.push((self.shards.len(), entry));
        }
        self.metadata.extend(header.metadata);
        self.shards.push(Shard { path: path.to_path_buf(), bytes });
        Ok(())
    }
}

/// Converts little-endian elements and says whether all of them are finite.
fn convert<const N: usize>(bytes: &[u8], values: &mut [f32], from: impl Fn([u8; N]) -> f32) -> bool {
    let (elements, _) = bytes.as_chunks::<N>();
    let mut finite = true;
    for (value, element) in values.iter_mut().zip(elements) {
        *value = from(*element);
        finite &= value.is_finite();
    }
    finite
}

fn widen<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks::<N>().0.iter().map(|element| from(*element)).collect()
}
