//! The processor: each name of the table calls its kernel of `atento-kernels`, all in f32 but for copies and for products,
//! whose precision a processor has.
//!
//! No file but those below this one names a kernel; a test reads the sources of this crate for others.

mod attention;
mod elementwise;
mod losses;
mod norms;
mod products;
mod recurrent;
mod rows;

use atento_kernels::matmul::Precision;

use super::Device;

/// The processor and its memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// How products with weights are computed; their operands and results are f32.
    precision: Precision,
}

impl Cpu {
    /// The processor that computes products with weights in this precision.
    #[must_use]
    pub fn computing_in(precision: Precision) -> &'static Self {
        match precision {
            Precision::F32 => &Self { precision: Precision::F32 },
            Precision::Bf16 => &Self { precision: Precision::Bf16 },
            Precision::Bf16x3 => &Self { precision: Precision::Bf16x3 },
        }
    }
}

impl Device for Cpu {}
