//! `W ← W + scale · up · down`: an adapter as part of the weights (Hu et al. 2021, §4.1).

use atento_kernels::compact::Compact;
use atento_kernels::linear::WeightLayout;
use atento_tensor::{Frozen, LowRank, ParamEntry, Params, View};
use rayon::prelude::*;

use super::Error;

/// Makes every pair part of its matrix; the products have nothing to add any more.
///
/// # Errors
/// A matrix is held in int8; what comes out is not finite. The model is then as it was. Half floats become f32.
pub fn merge(params: &mut Params) -> Result<(), Error> {
    let entries: Vec<ParamEntry> =
        params.entries().iter().filter(|entry| params.has_low_rank(entry.weight)).cloned().collect();
    let mut merged = Vec::with_capacity(entries.len());
    for entry in &entries {
        if let View::Compact(Compact::Int8 { .. }) = params.view(entry.weight) {
            return Err(Error::Int8 { name: entry.name.clone() });
        }
        let mut values = params.to_f32(entry.weight).into_owned();
        for (_, low_rank) in params.low_ranks(entry.weight) {
            add(params, entry, &low_rank, &mut values);
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { name: entry.name.clone(), at });
        }
        merged.push(values);
    }
    for (entry, values) in entries.iter().zip(merged) {
        params.take_low_ranks(entry.weight);
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
    }
    Ok(())
}

/// Adds a pair to the values of its matrix; sums are in f64.
fn add(params: &Params, entry: &ParamEntry, low_rank: &LowRank, values: &mut [f32]) {
    let LowRank { down, up, scale, outputs, .. } = low_rank;
    let (rank, inputs) = (down.rows, down.cols);
    let (down, up) = (params.to_f32(*down), params.to_f32(*up));
    let product = |output: usize, input: usize| {
        let row = &up[(output - outputs.start) * rank..][..rank];
        let sum: f64 = (0..rank).map(|at| f64::from(row[at]) * f64::from(down[at * inputs + input])).sum();
        f64::from(*scale) * sum
    };
    let width = entry.weight.cols;
    values.par_chunks_mut(width).enumerate().for_each(|(row, values)| {
        for (column, value) in values.iter_mut().enumerate() {
            let (output, input) = match entry.layout {
                Some(WeightLayout::InOut) => (column, row),
                _ => (row, column),
            };
            if outputs.contains(&output) {
                *value = (f64::from(*value) + product(output, input)) as f32;
            }
        }
    });
}
