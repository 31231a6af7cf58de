//! The processor: each name of the table calls its kernel of `atento-kernels`, all in f32 but for copies.
//!
//! No file but those below this one names a kernel; a test reads the sources of this crate for others.

mod attention;
mod elementwise;
mod losses;
mod norms;
mod products;
mod recurrent;
mod rows;

use super::Device;

/// The processor and its memory.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;

impl Device for Cpu {}
