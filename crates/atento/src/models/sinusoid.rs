//! Sinusoidal positions in the two layouts the checkpoint formats use.
//!
//! "Attention Is All You Need", section 3.5, interleaves sines and cosines. Neither format here does;
//! both put all sines first and all cosines after them, and they differ in the frequencies:
//!
//! ```text
//! Marian   w_k = 10000^(-2k / d_model)             k = 0 .. d_model/2
//! M2M100   w_k = 10000^(-k / (d_model/2 - 1))      (tensor2tensor)
//! row(p) = [ sin(p w_0), sin(p w_1), …, cos(p w_0), cos(p w_1), … ]
//! ```
//!
//! They also differ in which row a token reads: token `i` (from 0) of a sentence reads row `i` in Marian
//! and row `pad_id + 1 + i` in M2M100, whose row `pad_id` is all zeros.
//!
//! # Numerics
//!
//! Each layout repeats the arithmetic of its reference: Marian's angles are computed in `f64` and rounded
//! once at the end, M2M100's frequencies and angles are products in `f32`.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::config::TransformerConfig;

/// Which of the two sinusoid layouts a model uses; it follows from where the model normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sinusoid {
    /// `MarianMTModel`: token `i` reads row `i`.
    Marian,
    /// `M2M100ForConditionalGeneration`: token `i` reads row `pad_id + 1 + i`.
    M2m100,
}

impl Sinusoid {
    /// The table row that token `index` (from 0) of a sentence reads.
    pub fn row_of_token(self, index: usize, pad_id: u32) -> usize {
        match self {
            Sinusoid::Marian => index,
            Sinusoid::M2m100 => pad_id as usize + 1 + index,
        }
    }

    /// Writes row `position` of the table as the checkpoint format numbers rows.
    ///
    /// # Shapes
    /// - `row`: `[d_model]`
    pub fn write_row(self, position: usize, row: &mut [f32]) {
        let d_model = row.len();
        let (sines, cosines) = row.split_at_mut(d_model.div_ceil(2));
        for k in 0..d_model.div_ceil(2) {
            let (sine, cosine) = self.sine_cosine(position, k, d_model);
            sines[k] = sine;
            if let Some(slot) = cosines.get_mut(k) {
                *slot = cosine;
            }
        }
    }

    /// The rows that tokens `0 .. n_tokens` of a sentence read, one after the other.
    ///
    /// # Shapes
    /// - returns `[n_tokens, d_model]`
    pub fn table(self, n_tokens: usize, d_model: usize, pad_id: u32) -> Vec<f32> {
        self.rows(0..n_tokens, d_model, pad_id)
    }

    fn rows(self, tokens: Range<usize>, d_model: usize, pad_id: u32) -> Vec<f32> {
        let mut rows = vec![0.0; tokens.len() * d_model];
        for (index, row) in tokens.zip(rows.chunks_exact_mut(d_model)) {
            self.write_row(self.row_of_token(index, pad_id), row);
        }
        rows
    }

    fn sine_cosine(self, position: usize, k: usize, d_model: usize) -> (f32, f32) {
        match self {
            Sinusoid::Marian => {
                let frequency = 10000f64.powf(2.0 * k as f64 / d_model as f64);
                let angle = position as f64 / frequency;
                (angle.sin() as f32, angle.cos() as f32)
            }
            Sinusoid::M2m100 => {
                let step = (10000f64.ln() / (d_model / 2 - 1) as f64) as f32;
                let angle = position as f32 * (k as f32 * -step).exp();
                (angle.sin(), angle.cos())
            }
        }
    }
}

/// The rows of a table that are computed at once, at least.
const ROWS: usize = 512;

/// A model's table of positions, computed as far as sentences have been long: a configuration may allow for many more
/// positions than any sentence has.
pub struct PositionTable {
    layout: Sinusoid,
    d_model: usize,
    pad_id: u32,
    max_positions: usize,
    rows: Mutex<Arc<[f32]>>,
}

impl PositionTable {
    /// A model's table, without rows yet.
    pub fn new(config: &TransformerConfig) -> Self {
        let TransformerConfig { d_model, pad_id, max_positions, .. } = *config;
        Self { layout: config.sinusoid(), d_model, pad_id, max_positions, rows: Mutex::default() }
    }

    /// The first rows: as many as asked for, or more.
    ///
    /// # Shapes
    /// - returns `[at least n_tokens, d_model]`, but no more rows than the model has positions
    pub fn first(&self, n_tokens: usize) -> Arc<[f32]> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, needed) = (rows.len() / self.d_model, n_tokens.min(self.max_positions));
        if found < needed {
            let all = needed.max(2 * found).next_multiple_of(ROWS).min(self.max_positions);
            let more = self.layout.rows(found..all, self.d_model, self.pad_id);
            *rows = [&rows[..], &more[..]].concat().into();
        }
        Arc::clone(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::{PositionTable, Sinusoid};
    use crate::models::TransformerConfig;
    use crate::models::config::Norm;

    #[test]
    fn a_table_has_the_rows_that_were_needed_and_not_all_that_a_configuration_allows_for() {
        for norm in [Norm::Post, Norm::Pre] {
            let config = TransformerConfig { d_model: 8, max_positions: 1 << 40, ..TransformerConfig::tiny(50) };
            let config = config.with_norm(norm);
            let table = PositionTable::new(&config);
            for needed in [1, 700, 3, 2000] {
                let rows = table.first(needed);
                assert!(rows.len() >= needed * 8 && rows.len() < 5000 * 8, "{}", rows.len());
                assert_eq!(rows[..], config.sinusoid().table(rows.len() / 8, 8, config.pad_id));
            }
            let few = TransformerConfig { max_positions: 9, ..config };
            assert_eq!(PositionTable::new(&few).first(20).len(), 9 * 8);
        }
    }

    /// Values printed by `MarianSinusoidalPositionalEmbedding(8, 6).create_weight()` and
    /// `M2M100SinusoidalPositionalEmbedding.get_embedding(8, 6, 1)` of transformers 5.23.
    #[test]
    fn rows_equal_those_of_transformers() {
        let marian = [0.14112, 0.1387981, 0.0064633, -0.9899925, 0.9903207, 0.9999791];
        let m2m100 = [0.14112, 0.0299955, 0.0003, -0.9899925, 0.99955, 0.9999999];
        for (kind, expected) in [(Sinusoid::Marian, marian), (Sinusoid::M2m100, m2m100)] {
            let mut row = [0.0; 6];
            kind.write_row(3, &mut row);
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{kind:?}: {row:?}");
            }
        }
    }

    #[test]
    fn m2m100_starts_after_the_padding_row() {
        let mut row = [0.0; 8];
        Sinusoid::M2m100.write_row(2, &mut row);
        assert_eq!(&Sinusoid::M2m100.table(3, 8, 1)[..8], &row);
        assert_eq!(&Sinusoid::Marian.table(3, 8, 1)[16..], {
            Sinusoid::Marian.write_row(2, &mut row);
            &row
        });
    }
}
