//! Weights in fewer bits, for inference.
//!
//! The matrices that a token is multiplied by (projections and the embedding table; those with a layout) are what decoding
//! reads; positions, norms and biases stay in f32.

use atento_kernels::compact::{Compact, INT4, Levels, NF4, row_sizes, to_bf16, to_four, to_int8};
use atento_kernels::elementwise::first_non_finite;
use atento_tensor::ops::WeightLayout;
use atento_tensor::{Frozen, ParamEntry, Params, View};
use half::bf16;

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
    /// Fifteen levels at equal distances, with a factor per block of 64: 4.5 bits.
    Int4,
    /// The sixteen levels of NormalFloat, with a factor per block of 64: 4.5 bits.
    Nf4,
}

impl Precision {
    /// Whether a parameter is rounded in this precision.
    #[must_use]
    pub fn rounds(self, entry: &ParamEntry) -> bool {
        self != Precision::F32 && entry.layout.is_some()
    }

    /// Holds the matrices of a model so from here on. It can no longer be trained.
    ///
    /// # Errors
    /// [`NotFinite`]; matrices before that one are held already.
    pub fn hold_all(self, params: &mut Params) -> Result<(), NotFinite> {
        params.freeze(|entry| self.rounds(entry));
        for entry in params.entries().to_vec().iter().filter(|entry| self.rounds(entry)) {
            let held = self.hold(entry, params.get(entry.weight))?;
            params.set_frozen(entry.weight, held);
        }
        Ok(())
    }

    /// Holds the frozen matrices of a model so from here on, those aside that are in as few bits already.
    ///
    /// # Errors
    /// [`NotFinite`]; matrices before that one are held already.
    pub fn hold_frozen(self, params: &mut Params) -> Result<(), NotFinite> {
        let is_wider = |params: &Params, entry: &ParamEntry| match params.view(entry.weight) {
            View::Exact(_) => true,
            View::Compact(Compact::Int8 { .. } | Compact::Four(_) | Compact::Blocks(_)) | View::Parts => false,
            View::Compact(_) => self != Precision::Bf16,
        };
        for entry in params.entries().to_vec().iter().filter(|entry| entry.is_frozen() && self.rounds(entry)) {
            if is_wider(params, entry) {
                let held = self.hold(entry, &params.to_f32(entry.weight))?;
                params.set_frozen(entry.weight, held);
            }
        }
        if self != Precision::F32 {
            // The pages of a mapped file count as long as one parameter lies in it.
            params.own_frozen();
        }
        Ok(())
    }

    /// The values of a parameter in this precision.
    ///
    /// # Errors
    /// A value is not finite: whole numbers and levels have none for it.
    ///
    /// # Panics
    /// If it is not one that this precision rounds.
    pub fn hold(self, entry: &ParamEntry, values: &[f32]) -> Result<Frozen, NotFinite> {
        let layout = entry.layout.filter(|_| self != Precision::F32).expect("hold: a parameter that is rounded");
        let (outputs, inputs) = match layout {
            WeightLayout::OutIn => (entry.weight.rows, entry.weight.cols),
            WeightLayout::InOut => (entry.weight.cols, entry.weight.rows),
        };
        if self == Precision::Bf16 {
            let mut halves = vec![bf16::ZERO; values.len()];
            to_bf16(values, layout, inputs, &mut halves);
            return Ok(Frozen::Bf16(halves.into()));
        }
        if let Some(index) = first_non_finite(values) {
            return Err(NotFinite { name: entry.name.clone(), index, value: values[index] });
        }
        if let Some(levels) = self.levels() {
            let [bytes, blocks] = row_sizes(inputs).map(|size| size * outputs);
            let (mut bytes, mut scales) = (vec![0; bytes], vec![0.0; blocks]);
            to_four(values, layout, inputs, levels, &mut bytes, &mut scales);
            return Ok(Frozen::Four { values: bytes.into(), scales: scales.into(), levels });
        }
        let (mut bytes, mut scales) = (vec![0; values.len()], vec![0.0; outputs]);
        to_int8(values, layout, inputs, &mut bytes, &mut scales);
        Ok(Frozen::Int8 { values: bytes.into(), scales: scales.into() })
    }

    /// How many bits a value of a matrix takes that is rounded, factors counted; [`None`] where nothing is rounded.
    #[must_use]
    pub fn bits(self) -> Option<f64> {
        match self {
            Precision::F32 => None,
            Precision::Bf16 => Some(16.0),
            // A factor for a whole row is next to nothing.
            Precision::Int8 => Some(8.0),
            Precision::Int4 | Precision::Nf4 => Some(4.5),
        }
    }

    /// The levels of four bits, of a precision that has them.
    fn levels(self) -> Option<&'static Levels> {
        match self {
            Precision::Int4 => Some(&INT4),
            Precision::Nf4 => Some(&NF4),
            _ => None,
        }
    }
}

/// A matrix that cannot be held in whole numbers or levels.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("tensor `{name}` holds {value} at element {index}: rounding has no number for it")]
pub struct NotFinite {
    /// The parameter.
    pub name: String,
    /// The first such element, counted row by row from 0.
    pub index: usize,
    /// What it is.
    pub value: f32,
}
