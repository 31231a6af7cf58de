//! In which numbers a product is computed.

use super::packed::{self, Parts};
use super::{Mat, MatMut, gemm};

/// How a product of f32 operands is computed. Sums are in f32 in each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The operands as they are.
    #[default]
    F32,
    /// The operands rounded to bf16: relative errors of at most 2⁻⁸ in each.
    Bf16,
    /// Each operand as the sum of two bf16 numbers, three products (Henry, Tang & Heinecke 2019): relative errors of at most
    /// 2⁻¹⁶ in each.
    Bf16x3,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Bf16x3];

    /// The name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Bf16x3 => "bf16x3",
        }
    }
}

/// `c = a · b`, or `c += a · b` with `accumulate`, in this precision.
///
/// # Panics
/// As [`gemm()`]; in other precisions than f32 also where the columns of `c`, or neither rows nor columns of `a` or `b`, are
/// contiguous.
#[track_caller]
pub fn gemm_in(precision: Precision, a: Mat<'_>, b: Mat<'_>, accumulate: bool, c: MatMut<'_>) {
    match precision {
        Precision::F32 => gemm(1.0, a, b, if accumulate { 1.0 } else { 0.0 }, c),
        Precision::Bf16 => packed::product(Parts::One, a, b, accumulate, c),
        Precision::Bf16x3 => packed::product(Parts::Two, a, b, accumulate, c),
    }
}
