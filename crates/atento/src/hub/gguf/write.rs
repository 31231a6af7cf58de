//! Writing a file: its keys and its tensors, in F32.

use std::path::Path;

use super::header::MAGIC;
use crate::hub::Error;
use crate::hub::atomic::atomic_write_with;

/// The version of the format.
const VERSION: u32 = 3;
/// Tensors begin at multiples of so many bytes.
const ALIGNMENT: usize = 32;
/// The numbers of types: of values, and of elements.
const VALUE_F32: u32 = 6;
const VALUE_TEXT: u32 = 8;
const ELEMENT_F32: u32 = 0;

/// A file to be written.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// How many keys, and their bytes.
    keys: (u64, Vec<u8>),
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl NewFile {
    /// Adds a key whose value is a text.
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key, VALUE_TEXT, &text(value));
    }

    /// Adds a key whose value is a number.
    pub fn number(&mut self, key: &str, value: f32) {
        self.key(key, VALUE_F32, &value.to_le_bytes());
    }

    fn key(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.keys.0 += 1;
        self.keys.1.extend([&text(key), &kind.to_le_bytes()[..], value].concat());
    }

    /// Adds a tensor, of a shape with the outermost size first.
    ///
    /// # Panics
    /// If there are not so many values.
    pub fn tensor(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        self.tensors.push((name, shape, values));
    }

    /// Writes the file, which appears whole.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut head = MAGIC.to_vec();
        head.extend(VERSION.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend(self.keys.0.to_le_bytes());
        head.extend(&self.keys.1);
        let mut place = 0;
        for (name, shape, values) in &self.tensors {
            head.extend(text(name));
            head.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|size| head.extend((*size as u64).to_le_bytes()));
            head.extend(ELEMENT_F32.to_le_bytes());
            head.extend((place as u64).to_le_bytes());
            place += size_of_val(&values[..]).next_multiple_of(ALIGNMENT);
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        atomic_write_with(path, |file| {
            file.write_all(&head)?;
            for (_, _, values) in &self.tensors {
                let mut bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                file.write_all(&bytes)?;
            }
            Ok(())
        })
    }
}

/// A text with its length before it.
fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}
