//! The safetensors format: named tensors in one file, mapped into memory, and nothing trusted.
//!
//! [`SafeTensors::open`] accepts one file or the index of a sharded checkpoint; [`write()`] replaces a file
//! atomically. Every damaged or hostile file is an error naming the file and its fault: no offset, length or
//! shape out of a file is used before it was checked against the bytes that are there.

mod header;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use ::safetensors::Dtype;
pub use read::{SafeTensors, TensorView};
pub use write::{FloatType, NamedTensor, Values, write};
pub(crate) use write::{Outline, write_each};
