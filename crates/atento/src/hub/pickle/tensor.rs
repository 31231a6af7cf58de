//! Where a tensor's elements lie: its storage, offset, sizes and strides, checked against the bytes that are there.
//!
//! Element (i, j, …) is number `offset + i·stride₀ + j·stride₁ + …` of the storage. Rows that follow each other are
//! read in place; others (a transposed view, a column of a matrix) are gathered.

use super::fault::TorchFault;
use super::global::Global;
use super::value::{Pickled, Value};
use crate::hub::nearest::quoted;
use safetensors::Dtype;
use std::borrow::Cow;
use std::ops::Range;

/// A convolution over volumes has five.
const MOST_DIMENSIONS: usize = 16;
/// PyTorch numbers its storages.
const LONGEST_KEY: usize = 32;

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes of the file from the first to the last element of the tensor.
    range: Range<usize>,
    /// Elements from one index to the next, a dimension each; none where rows follow each other.
    strides: Option<Vec<usize>>,
}

impl Entry {
    /// The elements, row by row: as they lie in the file if they do so, otherwise gathered.
    pub fn elements<'a>(&self, file: &'a [u8]) -> Cow<'a, [u8]> {
        let bytes = &file[self.range.clone()];
        match &self.strides {
            None => Cow::Borrowed(bytes),
            Some(strides) => Cow::Owned(gather(bytes, element_bytes(self.dtype), &self.shape, strides)),
        }
    }
}

/// Elements of `size` bytes, row by row, from where the strides say.
fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count = shape.iter().product();
    let mut gathered = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..count {
        gathered.extend_from_slice(&bytes[at * size..][..size]);
        // The next index: the last dimension counts up, and where one is through, the one before it does.
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            at += strides[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            index[dimension] = 0;
            at -= strides[dimension] * shape[dimension];
        }
    }
    gathered
}

/// The key of a storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct StorageKey<'a>(pub &'a str);

/// Where a storage is in a file.
pub(super) struct Found {
    pub range: Range<usize>,
    /// Its name, for a message.
    pub record: String,
}

/// Finds a storage in a file.
pub(super) type Find<'f> = &'f dyn Fn(StorageKey<'_>) -> Result<Found, TorchFault>;

/// Reads the arguments of `_rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks, metadata)`, or of
/// `_rebuild_tensor`, which has the first four.
pub(super) fn entry(
    name: &str,
    arguments: &[Value<'_>],
    pickled: &Pickled<'_>,
    find: Find<'_>,
) -> Result<Entry, TorchFault> {
    let fault = |detail: &str| TorchFault::Tensor { name: quoted(name), detail: detail.into() };
    let (storage, offset, shape, strides) = match *arguments {
        // Metadata says that elements are to be negated or conjugated once read.
        [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides)]
        | [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), _, _]
        | [
            Value::Storage(storage),
            Value::Int(offset),
            Value::Tuple(shape),
            Value::Tuple(strides),
            _,
            _,
            Value::None,
        ] => (pickled.items(storage), offset, pickled.items(shape), pickled.items(strides)),
        _ => return Err(fault("it is not made of a storage, an offset, sizes and strides alone")),
    };
    let sizes = "its sizes, strides and offset are not whole numbers, 0 or more, as many sizes as strides";
    let (Some(shape), Some(strides)) = (whole_numbers(shape), whole_numbers(strides)) else {
        return Err(fault(sizes));
    };
    let offset = usize::try_from(offset).map_err(|_| fault(sizes))?;
    if shape.len() != strides.len() {
        return Err(fault(sizes));
    }
    if shape.len() > MOST_DIMENSIONS {
        return Err(fault(&format!("it has {} dimensions, the most that are read are {MOST_DIMENSIONS}", shape.len())));
    }
    let storage = storage_of(name, storage, find)?;
    let span = span(&shape, &strides).filter(|span| {
        // A view that repeats elements could ask for more memory than the file has bytes.
        span.count <= storage.elements && offset.checked_add(span.reach).is_some_and(|end| end <= storage.elements)
    });
    let Some(span) = span else {
        let elements = storage.elements;
        let what = format!(
            "offset {offset}, sizes {shape:?} and strides {strides:?} ask for more than the {elements} elements of its storage"
        );
        return Err(fault(&what));
    };
    let size = element_bytes(storage.dtype);
    let begin = storage.begin + offset * size;
    let range = begin..begin + span.reach * size;
    let strides = (span.count > 0 && !is_contiguous(&shape, &strides)).then_some(strides);
    Ok(Entry { name: name.to_string(), dtype: storage.dtype, shape, range, strides })
}

/// The elements of a storage: those in the file.
struct Storage {
    dtype: Dtype,
    elements: usize,
    /// The first byte, in the file.
    begin: usize,
}

/// What a pickle says of a storage.
pub(super) struct Described<'a> {
    pub dtype: Dtype,
    pub key: &'a str,
    pub elements: i64,
}

/// Reads `("storage", type, key, location, elements)`, behind which nothing stands, or that it is a view of no other.
pub(super) fn describe<'a>(description: &[Value<'a>]) -> Option<Described<'a>> {
    let (whole, rest) = description.split_first_chunk()?;
    let &[Value::Str("storage"), Value::Global(Global::Storage(dtype)), Value::Str(key), _, Value::Int(elements)] =
        whole
    else {
        return None;
    };
    matches!(rest, [] | [Value::None]).then_some(Described { dtype, key, elements })
}

/// Finds the storage of the tensor `name`.
fn storage_of(name: &str, description: &[Value<'_>], find: Find<'_>) -> Result<Storage, TorchFault> {
    let fault = |detail: &str| TorchFault::Tensor { name: quoted(name), detail: detail.into() };
    let Some(Described { dtype, key, elements }) = describe(description) else {
        return Err(fault("its storage has no type, key and number of elements"));
    };
    if key.len() > LONGEST_KEY {
        return Err(fault(&format!("its storage has the key {}", quoted(key))));
    }
    let Found { range, record } = find(StorageKey(key))?;
    let elements = usize::try_from(elements).map_err(|_| fault("its storage has fewer than 0 elements"))?;
    if elements.checked_mul(element_bytes(dtype)).is_none_or(|bytes| bytes > range.len()) {
        return Err(TorchFault::Storage { name: quoted(name), elements, dtype, record, bytes: range.len() });
    }
    Ok(Storage { dtype, elements, begin: range.start })
}

/// How many elements a tensor has, and how many of its storage lie from its first to behind its last.
struct Span {
    count: usize,
    reach: usize,
}

/// Nothing where a number does not fit.
fn span(shape: &[usize], strides: &[usize]) -> Option<Span> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    if count == 0 {
        return Some(Span { count, reach: 0 });
    }
    let mut reach = 1usize;
    for (&size, &stride) in shape.iter().zip(strides) {
        reach = reach.checked_add((size - 1).checked_mul(stride)?)?;
    }
    Some(Span { count, reach })
}

/// Whether rows of a tensor that has elements follow each other without gaps. Strides of dimensions of size 1 do not
/// matter.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size > 1 && stride != expected {
            return false;
        }
        expected *= size;
    }
    true
}

fn whole_numbers(values: &[Value<'_>]) -> Option<Vec<usize>> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(whole).collect()
}

pub(super) fn element_bytes(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}
