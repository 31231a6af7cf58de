//! A file, mapped into memory: values by their keys, tensors by their names.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::AnyBitPattern;

use super::cursor::Cursor;
use super::dequantize::dequantize;
use super::element_type::ElementType;
use super::header::{self, Entry, MAGIC};
use super::value::{Kind, List, Value};
use crate::hub::Error;
use crate::hub::elements::missing;
use crate::hub::mmap::{Mapped, Mmap};
use crate::hub::nearest::hint;
use crate::lfs;

/// Whether a path is a GGUF file, or is meant to be: by its ending, or by its first bytes.
pub fn is_gguf(path: &Path) -> bool {
    let begins = || {
        let mut magic = [0; 4];
        File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == MAGIC
    };
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    is_file && (path.extension().is_some_and(|ending| ending == "gguf") || begins())
}

/// A GGUF file. It must not be cut short or overwritten in place while this lives.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    bytes: Arc<Mmap>,
    keys: BTreeMap<String, (Kind, usize)>,
    tensors: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// What a tensor is, without its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorInfo<'a> {
    /// Type of the elements.
    pub kind: ElementType,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
}

impl Gguf {
    /// Opens a file and checks its header. Elements are read from disk as they are asked for.
    ///
    /// # Errors
    /// The file cannot be read or is no sound GGUF file of version 2 or 3 with tensors of types that are read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let corrupt = |fault: &str| Error::Gguf { path: path.to_path_buf(), fault: fault.to_owned() };
        let about = fs::metadata(path).map_err(Error::io(path, "read"))?;
        if !about.is_file() {
            return Err(corrupt("it is not a regular file"));
        }
        if about.len() == 0 {
            return Err(corrupt("the file is empty"));
        }
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        let bytes = Arc::new(Mmap::map(&file).map_err(Error::io(path, "map into memory"))?);
        lfs::refuse_pointer(&bytes).map_err(Error::io(path, "read"))?;
        let header = header::parse(&bytes).map_err(|fault| corrupt(&fault))?;
        let by_name = header.tensors.iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect();
        Ok(Self { path: path.to_path_buf(), bytes, keys: header.keys, tensors: header.tensors, by_name })
    }

    /// The file that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|entry| entry.name.as_str())
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What the tensor of that name is.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with the nearest name there is.
    pub fn tensor(&self, name: &str) -> Result<TensorInfo<'_>, Error> {
        self.entry(name).map(|entry| TensorInfo { kind: entry.kind, shape: &entry.shape })
    }

    /// Whether two tensors have the same type, shape and elements, bit for bit.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn are_equal(&self, one: &str, other: &str) -> Result<bool, Error> {
        let is_alike = self.tensor(one)? == self.tensor(other)?;
        Ok(is_alike && self.bytes[self.entry(one)?.range.clone()] == self.bytes[self.entry(other)?.range.clone()])
    }

    /// Checks that there is a tensor of that name and shape.
    ///
    /// # Errors
    /// It is missing, or has another shape.
    pub fn check_shape(&self, name: &str, expected: &[usize]) -> Result<(), Error> {
        let found = self.tensor(name)?.shape;
        if found == expected {
            return Ok(());
        }
        let (path, name) = (self.path.clone(), name.to_owned());
        Err(Error::WrongShape { path, name, found: found.to_vec(), expected: expected.to_vec() })
    }

    /// Reads a tensor, row by row.
    ///
    /// # Errors
    /// It is missing, or holds NaN or an infinity.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let entry = self.entry(name)?;
        // The shape was checked against the bytes that are there.
        let mut values = vec![0.0; entry.shape.iter().product()];
        dequantize(entry.kind, &self.bytes[entry.range.clone()], &mut values);
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => {
                let (path, name, value) = (self.path.clone(), name.to_owned(), values[index].into());
                Err(Error::NotFinite { path, name, index, value })
            }
        }
    }

    /// The elements where they lie, if they lie there as the machine has numbers of this type in memory.
    ///
    /// # Errors
    /// The tensor is missing.
    pub(super) fn mapped<T: AnyBitPattern>(&self, name: &str) -> Result<Option<Mapped<T>>, Error> {
        Ok(Mapped::new(Arc::clone(&self.bytes), self.entry(name)?.range.clone()))
    }

    /// All keys of the metadata, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let &(kind, at) = self.keys.get(key)?;
        Value::read(kind, &mut Cursor::new(&self.bytes, at), key).ok()
    }

    /// A whole number, 0 or more; of a list, its one value, where all are the same.
    ///
    /// # Errors
    /// The value is something else.
    pub fn size(&self, key: &str) -> Result<Option<usize>, Error> {
        let size = |value: Value<'_>| {
            let sole = if let Value::List(list) = value { sole(list)? } else { value };
            sole.unsigned().and_then(|number| usize::try_from(number).ok())
        };
        self.typed(key, "a whole number, 0 or more", size)
    }

    /// A number.
    ///
    /// # Errors
    /// The value is something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        self.typed(key, "a number", Value::real)
    }

    /// A text.
    ///
    /// # Errors
    /// The value is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.typed(key, "a text", Value::text)
    }

    /// True or false.
    ///
    /// # Errors
    /// The value is something else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.typed(key, "true or false", |value| if let Value::Flag(flag) = value { Some(flag) } else { None })
    }

    /// The id of a token.
    ///
    /// # Errors
    /// The value is something else.
    pub fn id(&self, key: &str) -> Result<Option<u32>, Error> {
        self.typed(key, "a token id (a whole number, 0 or more)", |value| value.unsigned()?.try_into().ok())
    }

    /// Values that `each` reads, in a list.
    ///
    /// # Errors
    /// The value is no list, or one of its values is something else.
    pub fn list<'f, T>(
        &'f self,
        key: &str,
        expected: &str,
        each: impl Fn(Value<'f>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        self.typed(key, expected, |value| match value {
            Value::List(list) => list.values().map(&each).collect(),
            _ => None,
        })
    }

    /// What a key must have.
    ///
    /// # Errors
    /// It has nothing: the message names the nearest key there is.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| {
            let (path, hint) = (self.path.clone(), hint(key, self.keys()));
            Error::MissingKey { path, key: key.to_owned(), hint }
        })
    }

    /// The error that a key has a value that it cannot have.
    pub fn wrong(&self, key: &str, expected: impl Into<String>) -> Error {
        let found = self.value(key).map_or_else(|| "absent".into(), Value::shown);
        Error::WrongValue { path: self.path.clone(), key: key.to_owned(), found, expected: expected.into() }
    }

    fn typed<'f, T>(
        &'f self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value<'f>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.wrong(key, expected))
    }

    fn entry(&self, name: &str) -> Result<&Entry, Error> {
        match self.by_name.get(name) {
            Some(&index) => Ok(&self.tensors[index]),
            None => Err(missing(&self.path, name, self.names())),
        }
    }
}

/// The value that all of a list are.
fn sole(list: List<'_>) -> Option<Value<'_>> {
    let first = list.values().next()?;
    list.values().all(|value| value.unsigned() == first.unsigned()).then_some(first)
}
