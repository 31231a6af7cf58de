//! Weights in fewer bits, for inference.
//!
//! The matrices that a token is multiplied by (projections and the embedding table) are what decoding reads; positions,
//! norms and biases stay in f32.

use atento_kernels::compact::{to_bf16, to_int8};
use atento_tensor::ops::WeightLayout;
use atento_tensor::{Held, ParamEntry};
use half::bf16;

use super::Gpt2;

/// How a model's matrices are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As trained.
    #[default]
    F32,
    /// Brain floats: half the bytes, 8 bits of precision.
    Bf16,
    /// Whole numbers with a factor per output: a quarter of the bytes.
    Int8,
}

impl Precision {
    /// The values of a parameter in this precision; `None` where it stays in f32.
    #[must_use]
    pub fn hold(self, entry: &ParamEntry, values: &[f32]) -> Option<Held> {
        let layout = match entry.name.as_str() {
            "wte.weight" | "lm_head.weight" => WeightLayout::OutIn,
            name if name.starts_with("h.") && entry.dims.len() == 2 => WeightLayout::InOut,
            _ => return None,
        };
        let (outputs, inputs) = match layout {
            WeightLayout::OutIn => (entry.weight.rows, entry.weight.cols),
            WeightLayout::InOut => (entry.weight.cols, entry.weight.rows),
        };
        match self {
            Precision::F32 => None,
            Precision::Bf16 => {
                let mut halves = vec![bf16::ZERO; values.len()];
                to_bf16(values, layout, inputs, &mut halves);
                Some(Held::Bf16(halves))
            }
            Precision::Int8 => {
                let (mut bytes, mut scales) = (vec![0; values.len()], vec![0.0; outputs]);
                to_int8(values, layout, inputs, &mut bytes, &mut scales);
                Some(Held::Int8 { values: bytes, scales })
            }
        }
    }
}

impl Gpt2 {
    /// Holds the model's matrices in fewer bits from here on. It can no longer be trained.
    pub fn hold(&mut self, precision: Precision) {
        let entries = self.params.entries().to_vec();
        for entry in entries {
            if let Some(held) = precision.hold(&entry, self.params.get(entry.weight)) {
                self.params.hold(entry.weight, held);
            }
        }
    }
}
