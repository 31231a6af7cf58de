//! `W ← W + scale · up · down`: an adapter as part of the weights (Hu et al. 2021, §4.1). Rows with lengths of their own are
//! brought to them (Liu et al. 2024, eq. 5). Factors are multiplied into rows and columns, and into the bias (Liu et al. 2022).

use atento_kernels::compact::Compact;
use atento_kernels::linear::WeightLayout;
use atento_tensor::device::Cpu;
use atento_tensor::{Frozen, LowRank, ParamEntry, Params, Placed, Scaling, View, Weight};
use rayon::prelude::*;

use super::Error;

/// Makes every pair part of its matrix; the products have nothing to add any more. Returns how many matrices had one.
///
/// # Errors
/// The adapter is virtual tokens or bottlenecks; a matrix is held in int8; what comes out is not finite. The model is then as
/// it was. Half floats become f32.
pub fn merge(params: &mut Params) -> Result<usize, Error> {
    if params.virtual_count() > 0 {
        return Err(Error::Beside { what: "it is tokens before every text" });
    }
    if params.entries().iter().any(|entry| params.has_bottleneck(entry.weight)) {
        return Err(Error::Beside { what: "it is layers of its own, which are not linear" });
    }
    let entries: Vec<ParamEntry> = params.entries().iter().filter(|entry| is_adapted(params, entry)).cloned().collect();
    let biases = entries.iter().filter_map(|entry| bias_of(params, entry).cloned());
    let changed: Vec<ParamEntry> = entries.iter().cloned().chain(biases).collect();
    let values = changed.iter().map(|entry| merged(params, entry)).collect::<Result<Vec<_>, Error>>()?;
    for (entry, values) in changed.iter().zip(values) {
        params.take_low_ranks(entry.weight);
        params.take_scaling(entry.weight);
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
    }
    Ok(entries.len())
}

/// The values of a parameter with what is added to it and multiplied into it.
pub(super) fn merged(params: &Params, entry: &ParamEntry) -> Result<Vec<f32>, Error> {
    if let View::Compact(Compact::Int8 { .. }) = params.view(entry.weight) {
        return Err(Error::Int8 { name: entry.name.clone() });
    }
    let mut values = params.to_f32(entry.weight).into_owned();
    if let Some(factors) = factors_of_bias(params, entry) {
        let factors = params.get(factors);
        values.iter_mut().zip(factors).for_each(|(x, l)| *x = (f64::from(*x) * f64::from(*l)) as f32);
    }
    for pair in params.low_ranks(entry.weight) {
        add(params, entry, pair, &mut values);
    }
    if let Some(scaling) = params.scaling(entry.weight) {
        multiply(params, entry, scaling, &mut values);
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::NotFinite { name: entry.name.clone(), at }),
        None => Ok(values),
    }
}

/// The bias beside a matrix with factors on what it gives.
fn bias_of<'p>(params: &'p Params, entry: &ParamEntry) -> Option<&'p ParamEntry> {
    params.scaling(entry.weight)?.outputs?;
    params.entry(&format!("{}bias", entry.name.strip_suffix("weight")?))
}

/// The factors on a bias, if it is beside such a matrix.
fn factors_of_bias(params: &Params, entry: &ParamEntry) -> Option<Weight> {
    let beside = params.entry(&format!("{}weight", entry.name.strip_suffix("bias")?))?;
    params.scaling(beside.weight)?.outputs
}

/// Whether products with a matrix are changed beside it.
fn is_adapted(params: &Params, entry: &ParamEntry) -> bool {
    params.has_low_rank(entry.weight) || params.has_scaling(entry.weight)
}

/// Multiplies rows and columns of a matrix.
fn multiply(params: &Params, entry: &ParamEntry, scaling: Scaling, values: &mut [f32]) {
    let width = entry.weight.cols;
    let factor = |factors: Option<Weight>, at: usize| factors.map_or(1.0, |factors| f64::from(params.get(factors)[at]));
    for (at, value) in values.iter_mut().enumerate() {
        let (row, column) = (at / width, at % width);
        let (output, input) = if entry.layout == Some(WeightLayout::InOut) { (column, row) } else { (row, column) };
        let by = factor(scaling.outputs, output) * factor(scaling.inputs, input);
        *value = (f64::from(*value) * by) as f32;
    }
}

/// Adds a pair to the values of its matrix; sums are in f64.
fn add(params: &Params, entry: &ParamEntry, pair: Placed<'_>, values: &mut [f32]) {
    let LowRank { down, up, scale, outputs, magnitude, .. } = pair.low_rank;
    let lengths = pair.inverse_lengths(params, &Cpu).zip(magnitude.as_ref());
    let factor = |output: usize| {
        lengths.as_ref().map_or(1.0, |(inverse, magnitude)| {
            let at = output - outputs.start;
            f64::from(params.get(magnitude.weight())[at]) * f64::from(inverse[at])
        })
    };
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
                *value = (factor(output) * (f64::from(*value) + product(output, input))) as f32;
            }
        }
    });
}
