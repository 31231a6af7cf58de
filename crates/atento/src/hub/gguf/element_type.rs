//! Types of the elements of tensors: llama.cpp's, of numbers alone or of blocks of quantized ones.

use crate::messages;

/// A type whose elements are read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// Brain floats.
    Bf16,
    /// 4 bits and a scale for 32 elements.
    Q4_0,
    /// 4 bits, a scale and a least value for 32 elements.
    Q4_1,
    /// 5 bits and a scale for 32 elements.
    Q5_0,
    /// 5 bits, a scale and a least value for 32 elements.
    Q5_1,
    /// 8 bits and a scale for 32 elements.
    Q8_0,
    /// 4 bits, with scales and least values of 6 bits for 32 elements and of 16 bits for 256.
    Q4K,
    /// The same with 5 bits.
    Q5K,
    /// 6 bits, with scales of 8 bits for 16 elements and of 16 bits for 256.
    Q6K,
}

/// The types that are read, by their numbers.
const READ: [(u32, ElementType); 11] = [
    (0, ElementType::F32),
    (1, ElementType::F16),
    (30, ElementType::Bf16),
    (2, ElementType::Q4_0),
    (3, ElementType::Q4_1),
    (6, ElementType::Q5_0),
    (7, ElementType::Q5_1),
    (8, ElementType::Q8_0),
    (12, ElementType::Q4K),
    (13, ElementType::Q5K),
    (14, ElementType::Q6K),
];

/// Types that are known by name only.
const NAMED: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl ElementType {
    /// The type of a number in a file.
    ///
    /// # Errors
    /// In words: the type, and those that are read.
    pub(super) fn of(code: u32) -> Result<Self, String> {
        if let Some((_, kind)) = READ.iter().find(|(number, _)| *number == code) {
            return Ok(*kind);
        }
        let known = NAMED.iter().find(|(number, _)| *number == code);
        let found = known.map_or_else(|| code.to_string(), |(_, name)| (*name).to_owned());
        Err(format!("{found}, expected one of {}", messages::list(READ.iter().map(|(_, kind)| kind.name()))))
    }

    /// Its name in llama.cpp.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// The number of elements in a block, and the number of its bytes.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }
}
