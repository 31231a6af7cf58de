//! PyTorch's own weight files, `pytorch_model.bin`, read without executing anything.
//!
//! ```text
//! zip          the container: where each record of the file lies
//! machine      the pickle in it, run as far as data goes: inert values      opcode   what it understands
//! global       the names of Python that the pickle may mention
//! state_dict   the dictionary of tensors among the values
//! stream       the container before PyTorch 1.6: pickles, then storages
//! tensor       where a tensor's elements lie, checked                       read     files and shards
//! ```
//!
//! A pickle is a program for a small stack machine, and Python's machine calls whatever function the program names;
//! that is how such a file runs a shell command on the machine that loads it. The machine here knows a handful of
//! names, each of them stands for a shape of data and none for a function, and any other name
//! ends the reading with an error that says it.
//!
//! Nothing in the file is trusted: offsets and lengths are checked against the bytes that are there before they
//! are used, steps and records are limited, a tensor may not have more elements than its storage, and nothing recurses.
//! So the time and memory that a hostile file can cost are small multiples of its size, and bounded.
//!
//! Sources: `torch/serialization.py` and `torch/_utils.py` for what is written, `caffe2/serialize/inline_container.cc`
//! for the container, `pickletools.py` of Python for the opcodes, PKWARE's APPNOTE 6.3.10 for zip.

mod fault;
mod global;
mod machine;
mod opcode;
mod read;
mod state_dict;
mod stream;
mod tensor;
mod value;
mod zip;

#[cfg(test)]
mod tests;

pub use fault::TorchFault;
pub use read::TorchTensors;
