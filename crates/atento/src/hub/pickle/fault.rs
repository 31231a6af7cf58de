//! What can be wrong with a file of PyTorch's.

use safetensors::Dtype;

/// What is wrong with a `pytorch_model.bin`. Names out of the file are quoted, escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchFault {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// A directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// A part of a file from before PyTorch 1.6 contradicts the format or lies outside the file.
    #[error("it has the format of PyTorch before 1.6 and is damaged: {detail}")]
    Stream {
        /// What is wrong with which part.
        detail: String,
    },
    /// No end of a zip archive is found.
    #[error("it is not the zip archive that `torch.save` writes, or it is cut short")]
    NotAnArchive,
    /// A part of the archive contradicts the format or lies outside the file.
    #[error("its zip archive is damaged: {detail}")]
    Archive {
        /// What is wrong with which part.
        detail: String,
    },
    /// A record is compressed or encrypted; `torch.save` stores records as they are.
    #[error(
        "its record {record} is compressed or encrypted, which `torch.save` does not do; \
         unpack the archive and pack it again without compression (zip -0)"
    )]
    NotStored {
        /// The record.
        record: String,
    },
    /// A record is not what was written.
    #[error("its record {record} does not have the checksum written beside it: the file is damaged")]
    Checksum {
        /// The record.
        record: String,
    },
    /// A record is not in the archive.
    #[error("it has no record {record}")]
    NoRecord {
        /// The record.
        record: String,
    },
    /// More of something than any checkpoint has.
    #[error("it has more than {most} {what}, the most that is read here")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are read.
        most: usize,
    },
    /// Written on a machine that stores the high byte first.
    #[error("its numbers are {found}-endian, only little-endian ones are read here")]
    ByteOrder {
        /// The byte order it names.
        found: String,
    },
    /// The pickle refers to something of Python that is not data of a state dict.
    #[error(
        "it refers to the Python object {name}, which tensors have no use for; nothing was executed. \
         If you trust the file, load it in Python and save it again as safetensors"
    )]
    Global {
        /// The module and the name in it.
        name: String,
    },
    /// The pickle is malformed or does what no state dict needs.
    #[error("its pickle is not one of tensors: {detail} at byte {at}")]
    Pickle {
        /// What is wrong.
        detail: String,
        /// Where the instruction begins: in the record data.pkl, or before PyTorch 1.6 in the file.
        at: usize,
    },
    /// The pickle holds something else than a dictionary of tensors.
    #[error(
        "{detail}; expected what `torch.save(model.state_dict(), …)` writes, or that under `state_dict` or `model`"
    )]
    NotAStateDict {
        /// What it holds.
        detail: String,
    },
    /// A tensor's description contradicts itself or its storage.
    #[error("tensor {name} is malformed: {detail}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A storage has fewer bytes than its elements need.
    #[error(
        "tensor {name} needs a storage of {elements} {dtype:?} elements, but its record {record} has {bytes} bytes"
    )]
    Storage {
        /// The tensor.
        name: String,
        /// Elements of the storage.
        elements: usize,
        /// Their type.
        dtype: Dtype,
        /// The record of the storage.
        record: String,
        /// Bytes in it.
        bytes: usize,
    },
    /// One name stands twice.
    #[error("{name} is listed twice")]
    Duplicate {
        /// A tensor or a record.
        name: String,
    },
}
