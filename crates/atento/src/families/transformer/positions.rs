//! Position tables that a checkpoint stores though they could be computed.

use crate::hub::load::check_shape;
use crate::hub::safetensors::Dtype;
use crate::hub::{Error, Weights};
use crate::models::config::{Norm, TransformerConfig};

/// The position tables of encoder and decoder, `[max_positions, d_model]` each, where a Marian checkpoint stores others
/// than the sinusoids; `transformers` reads them too, though it never writes any.
///
/// # Errors
/// A table of another size, or with an element that is no finite number.
pub(super) fn stored(weights: &Weights, config: &TransformerConfig) -> Result<Option<[Vec<f32>; 2]>, Error> {
    if config.norm == Norm::Pre {
        return Ok(None);
    }
    let mut is_own = false;
    let mut table = |side: &str| {
        let stored = format!("model.{side}.embed_positions.weight");
        if !weights.contains(&stored) {
            return Ok(config.sinusoid().table(config.max_positions, config.d_model, config.pad_id));
        }
        let mut table = read_positions(weights, config, &stored)?;
        let rows = table.len() / config.d_model;
        if rows < config.max_positions {
            check_shape(weights, &stored, &[], &[config.max_positions, config.d_model])?;
        }
        table.truncate(config.max_positions * config.d_model);
        is_own |= first_other_row(weights, config, &stored, &table)?.is_some();
        Ok(table)
    };
    let tables = [table("encoder")?, table("decoder")?];
    Ok(is_own.then_some(tables))
}

/// Checks the tables that are computed here whatever a file says: M2M100's are never read from a file. Marian's are taken as
/// they are ([`stored`]).
///
/// # Errors
/// A table is not the sinusoids.
pub(super) fn check(weights: &Weights, config: &TransformerConfig, stored: &[String]) -> Result<(), Error> {
    let is_computed = |stored: &&String| config.norm == Norm::Pre || stored.ends_with(".weights");
    stored.iter().filter(is_computed).try_for_each(|stored| {
        match first_other_row(weights, config, stored, &read_positions(weights, config, stored)?)? {
            None => Ok(()),
            Some(row) => Err(Error::Positions { path: weights.path().to_path_buf(), name: stored.clone(), row }),
        }
    })
}

/// A stored table of positions, of as many rows as there are.
fn read_positions(weights: &Weights, config: &TransformerConfig, stored: &str) -> Result<Vec<f32>, Error> {
    let shape = weights.get(stored)?.shape;
    let rows = match *shape {
        [rows, d_model] if d_model == config.d_model => rows,
        _ => config.max_positions,
    };
    check_shape(weights, stored, &[], &[rows, config.d_model])?;
    weights.read_f32(stored, shape)
}

/// The first row of a stored table that is not what would be computed, within the error of its type.
fn first_other_row(
    weights: &Weights,
    config: &TransformerConfig,
    stored: &str,
    table: &[f32],
) -> Result<Option<usize>, Error> {
    let tolerance = match weights.get(stored)?.dtype {
        Dtype::F16 => 1e-3,
        Dtype::BF16 => 8e-3,
        _ => 5e-4,
    };
    let mut row = vec![0.0; config.d_model];
    for (index, found) in table.chunks_exact(config.d_model).enumerate() {
        config.sinusoid().write_row(index, &mut row);
        // M2M100's table has zeros where padding would read, one row before the first token's.
        let is_padding = config.sinusoid().row_of_token(0, config.pad_id) == index + 1;
        if is_padding && found.iter().all(|&value| value == 0.0) {
            continue;
        }
        if found.iter().zip(&row).any(|(found, expected)| (found - expected).abs() > tolerance) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
