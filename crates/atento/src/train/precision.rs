//! How the products of a run are computed here.

use atento_kernels::matmul;
use atento_kernels::matmul::packed::{native_unit, usable_unit};

use super::Error;
use super::recipe::Precision;

impl Precision {
    /// The precision of the kernels' products.
    #[must_use]
    pub fn of_products(self) -> matmul::Precision {
        match self {
            Self::F32 => matmul::Precision::F32,
            Self::Bf16 => matmul::Precision::Bf16,
            Self::Bf16x3 => matmul::Precision::Bf16x3,
        }
    }
}

/// Whether this machine computes products so without emulating them.
///
/// # Errors
/// [`Error::Setting`] says why it does not.
pub(crate) fn check(precision: Precision) -> Result<(), Error> {
    if precision == Precision::F32 || usable_unit().is_some() {
        return Ok(());
    }
    let why = match native_unit() {
        Some(_) => "ATENTO_SIMD turns the unit of this processor off",
        None => "this processor has neither AMX tiles nor AVX512-BF16",
    };
    let problem =
        format!("{why}, so that \"{precision}\" would be emulated, many times slower than \"f32\": write that");
    Err(Error::Setting { key: "train.precision", problem })
}

/// What a run says of its products: where they are computed, or by what factor those in bf16 would be faster than in f32.
pub(crate) fn told(precision: Precision, bf16_gain: Option<f64>) -> Option<String> {
    match (precision, bf16_gain) {
        (Precision::F32, Some(gain)) if gain >= 1.1 => Some(format!(
            "train.precision = f32: products in \"bf16\" would take 1/{gain:.1} of the time on this processor"
        )),
        (Precision::F32, _) => None,
        (_, _) => {
            usable_unit().map(|unit| format!("train.precision = {precision}: products on the unit {}", unit.name()))
        }
    }
}
