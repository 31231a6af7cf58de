//! A file put together key by key and tensor by tensor, as llama.cpp's converters write it.

use std::path::{Path, PathBuf};

/// Numbers of types of values.
pub(super) const U32: u32 = 4;
const F32: u32 = 6;
const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
pub(super) const LIST: u32 = 9;

/// Name, sizes with the innermost first, type, bytes.
pub(super) type Tensor = (String, Vec<u64>, u32, Vec<u8>);

/// A file to be.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) version: u32,
    /// Name, type, bytes of the value.
    pub(super) keys: Vec<(String, u32, Vec<u8>)>,
    pub(super) tensors: Vec<Tensor>,
}

pub(super) fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

fn list(kind: u32, values: Vec<Vec<u8>>) -> Vec<u8> {
    [kind.to_le_bytes().to_vec(), (values.len() as u64).to_le_bytes().to_vec(), values.concat()].concat()
}

impl Writer {
    pub(super) fn new(architecture: &str) -> Self {
        let new = Self { version: 3, keys: Vec::new(), tensors: Vec::new() };
        new.text("general.architecture", architecture)
    }

    pub(super) fn key(mut self, name: &str, kind: u32, bytes: Vec<u8>) -> Self {
        self.keys.retain(|(known, ..)| known != name);
        self.keys.push((name.into(), kind, bytes));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.keys.retain(|(known, ..)| known != name);
        self.tensors.retain(|(known, ..)| known != name);
        self
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.key(name, TEXT, text(value))
    }

    pub(super) fn size(self, name: &str, value: usize) -> Self {
        self.key(name, U32, (value as u32).to_le_bytes().to_vec())
    }

    pub(super) fn number(self, name: &str, value: f64) -> Self {
        self.key(name, F32, (value as f32).to_le_bytes().to_vec())
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.key(name, BOOL, vec![value.into()])
    }

    pub(super) fn texts<'t>(self, name: &str, values: impl IntoIterator<Item = &'t str>) -> Self {
        self.key(name, LIST, list(TEXT, values.into_iter().map(text).collect()))
    }

    pub(super) fn numbers(self, name: &str, values: &[f32]) -> Self {
        self.key(name, LIST, list(F32, values.iter().map(|value| value.to_le_bytes().to_vec()).collect()))
    }

    pub(super) fn sizes(self, name: &str, values: &[u32]) -> Self {
        self.key(name, LIST, list(U32, values.iter().map(|value| value.to_le_bytes().to_vec()).collect()))
    }

    /// A tensor in F32, of a shape with the outermost size first.
    pub(super) fn tensor(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let sizes = shape.iter().rev().map(|size| *size as u64).collect();
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.into(), sizes, 0, bytes));
        self
    }

    /// The bytes of the file, and where its sections end: the beginning, the keys, the tensors' descriptions, the data.
    pub(super) fn sections(&self) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        let mut ends = vec![bytes.len()];
        for (name, kind, value) in &self.keys {
            bytes.extend([text(name), kind.to_le_bytes().to_vec(), value.clone()].concat());
        }
        ends.push(bytes.len());
        let mut data: Vec<u8> = Vec::new();
        for (name, sizes, kind, values) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((sizes.len() as u32).to_le_bytes());
            sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(values);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        ends.push(bytes.len());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        ends.push(bytes.len());
        (bytes, ends)
    }

    pub(super) fn save(&self, folder: &Path) -> PathBuf {
        let path = folder.join("model.gguf");
        std::fs::write(&path, self.sections().0).unwrap();
        path
    }
}
