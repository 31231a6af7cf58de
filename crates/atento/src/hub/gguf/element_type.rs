//! Types of the elements of tensors: llama.cpp's, of numbers alone or of blocks of quantized ones.

use atento_kernels::compact::BlockKind;

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
    /// Blocks of quantized ones.
    Blocks(BlockKind),
}

/// The types that are read, by their numbers.
const READ: [(u32, ElementType); 11] = [
    (0, ElementType::F32),
    (1, ElementType::F16),
    (30, ElementType::Bf16),
    (2, ElementType::Blocks(BlockKind::Q4_0)),
    (3, ElementType::Blocks(BlockKind::Q4_1)),
    (6, ElementType::Blocks(BlockKind::Q5_0)),
    (7, ElementType::Blocks(BlockKind::Q5_1)),
    (8, ElementType::Blocks(BlockKind::Q8_0)),
    (12, ElementType::Blocks(BlockKind::Q4K)),
    (13, ElementType::Blocks(BlockKind::Q5K)),
    (14, ElementType::Blocks(BlockKind::Q6K)),
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
            Self::Blocks(BlockKind::Q4_0) => "Q4_0",
            Self::Blocks(BlockKind::Q4_1) => "Q4_1",
            Self::Blocks(BlockKind::Q5_0) => "Q5_0",
            Self::Blocks(BlockKind::Q5_1) => "Q5_1",
            Self::Blocks(BlockKind::Q8_0) => "Q8_0",
            Self::Blocks(BlockKind::Q4K) => "Q4_K",
            Self::Blocks(BlockKind::Q5K) => "Q5_K",
            Self::Blocks(BlockKind::Q6K) => "Q6_K",
        }
    }

    /// The number of elements in a block, and the number of its bytes.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Blocks(kind) => kind.sizes(),
        }
    }
}
