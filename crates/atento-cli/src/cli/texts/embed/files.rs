//! Vectors in a file: NumPy's format, or safetensors.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use atento::hub::safetensors::{NamedTensor, write};
use atento::pipelines::texts::embed::Embedded;

use crate::ui::failure::Failure;
use crate::ui::out_file::OutFile;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Jsonl,
    Npy,
    Safetensors,
}

impl Format {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
        }
    }
}

/// A file for the vectors of all lines, which are held until the end.
pub struct Vectors {
    path: PathBuf,
    file: OutFile,
    format: Format,
    /// Whether a line has one vector of each layer, not one a token.
    is_pooled: bool,
    /// Nothing for a line that cannot be used.
    lines: Vec<Option<Embedded>>,
}

impl Vectors {
    /// A file that can be written.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(path: &Path, format: Format, is_pooled: bool) -> anyhow::Result<Self> {
        let file = OutFile::check("--out", path, [])?;
        if format == Format::Npy && !is_pooled {
            bail!("--format npy holds one vector a text: use --format safetensors with --pooling none");
        }
        Ok(Self { path: path.to_owned(), file, format, is_pooled, lines: Vec::new() })
    }

    /// Takes the vectors of the next line.
    pub fn push(&mut self, line: Option<Embedded>) {
        self.lines.push(line);
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// No line has vectors; the disk is full, say.
    pub fn write(&self) -> Result<(), Failure> {
        let Some(first) = self.lines.iter().flatten().next() else {
            return Err(anyhow!("{}: no line has a vector, so it is not written", self.path.display()).into());
        };
        let shape = match first.layers.len() {
            1 => vec![self.lines.len(), first.width],
            layers => vec![self.lines.len(), layers, first.width],
        };
        if !self.is_pooled {
            return self.write_tokens();
        }
        let absent = vec![f32::NAN; first.layers.len() * first.width];
        let row = |line: &Option<Embedded>| line.as_ref().map_or_else(|| absent.clone(), |line| line.layers.concat());
        let values: Vec<f32> = self.lines.iter().flat_map(row).collect();
        if self.format == Format::Safetensors {
            return Ok(write(&self.path, &[NamedTensor::new("embeddings", shape, values)], &[])?);
        }
        self.file.write(|out| {
            out.write_all(&npy_header(&shape))?;
            values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
        })
    }

    /// A tensor for each line that has vectors, by its number.
    fn write_tokens(&self) -> Result<(), Failure> {
        let tensor = |(number, line): (usize, &Option<Embedded>)| {
            let line = line.as_ref()?;
            let tokens = line.layers[0].len() / line.width;
            let shape = match line.layers.len() {
                1 => vec![tokens, line.width],
                layers => vec![layers, tokens, line.width],
            };
            Some(NamedTensor::new(number.to_string(), shape, line.layers.concat()))
        };
        let tensors: Vec<NamedTensor<'_>> = self.lines.iter().enumerate().filter_map(tensor).collect();
        Ok(write(&self.path, &tensors, &[])?)
    }
}

/// The first bytes of a file of NumPy's format, version 1.0: what follows is f32, little-endian, row by row.
fn npy_header(shape: &[usize]) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let dims = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({dims}), }}");
    // The header ends with a line end, at a multiple of 64 bytes.
    let length = (MAGIC.len() + 2 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 2;
    let mut header = MAGIC.to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header.resize(MAGIC.len() + 2 + length - 1, b' ');
    header.push(b'\n');
    header
}
