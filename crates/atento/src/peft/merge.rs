//! `W ← W + scale · up · down`: an adapter as part of the weights (Hu et al. 2021, §4.1). Rows with lengths of their own are
//! brought to them (Liu et al. 2024, eq. 5). Factors are multiplied into rows and columns, and into the bias (Liu et al. 2022).
//! Rows of tokens take the place of the table's own.
//!
//! A table that is the output too is two tables in the merged model, if an adapter changes one of its ends alone.

use atento_kernels::compact::Compact;
use atento_kernels::linear::WeightLayout;
use atento_tensor::device::Cpu;
use atento_tensor::{Frozen, LookupPair, LowRank, ParamEntry, Params, Placed, Scaling, View, Weight};
use rayon::prelude::*;

use super::Error;
use super::modules::{is_output, modules};
use crate::families::Config;

/// Which uses of a matrix its values are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of them.
    Both,
    /// Rows of a table that are looked up.
    Lookups,
    /// Products.
    Products,
}

/// Makes every pair part of its matrix; the products and lookups have nothing to add any more. Returns how many modules had
/// one.
///
/// # Errors
/// The adapter is virtual tokens or bottlenecks; a matrix is held in int8; what comes out is not finite; it changes one end
/// alone of a table that is the output too ([`unties`]). The model is then as it was. Half floats become f32.
pub fn merge(config: &dyn Config, params: &mut Params) -> Result<usize, Error> {
    check(params)?;
    if unties(config, params)? {
        return Err(Error::Beside { what: "it changes one end of a table that is the output too" });
    }
    let entries: Vec<ParamEntry> = params.entries().iter().filter(|entry| is_adapted(params, entry)).cloned().collect();
    let biases = entries.iter().filter_map(|entry| bias_of(params, entry).cloned());
    let changed: Vec<ParamEntry> = entries.iter().cloned().chain(biases).collect();
    // Of a table that is the output too, both ends are the same, with a pair each.
    let tied = tied_table(config, params).map(|entry| entry.weight);
    let end = |entry: &ParamEntry| if tied == Some(entry.weight) { End::Products } else { End::Both };
    let values = changed.iter().map(|entry| merged(params, entry, end(entry))).collect::<Result<Vec<_>, Error>>()?;
    let count = entries.iter().map(|entry| adapted_ends(params, entry)).sum();
    for (entry, values) in changed.iter().zip(values) {
        params.take_low_ranks(entry.weight);
        params.take_lookup_pair(entry.weight);
        params.take_replaced_rows(entry.weight);
        params.take_scaling(entry.weight);
        if entry.is_frozen() {
            params.set_frozen(entry.weight, Frozen::F32(values.into()));
        } else {
            params.get_mut(entry.weight).copy_from_slice(&values);
        }
    }
    Ok(count)
}

/// Whether a merged model needs a table for what it looks up and another for its output, which are one table so far.
///
/// # Errors
/// That table is held in int8, or what comes out is not finite.
pub fn unties(config: &dyn Config, params: &Params) -> Result<bool, Error> {
    let Some(entry) = tied_table(config, params) else { return Ok(false) };
    if !params.has_low_rank(entry.weight) && params.lookup_pair(entry.weight).is_none() {
        return Ok(false);
    }
    Ok(merged(params, entry, End::Lookups)? != merged(params, entry, End::Products)?)
}

/// Gives the model of [`Config::untied`], `to`, the values of `params` with what is added to them; returns how many modules had
/// something added.
///
/// # Errors
/// As [`merge`].
///
/// # Panics
/// If the two are not models that differ in their tables alone.
pub fn merge_untied(config: &dyn Config, params: &Params, to: &mut Params) -> Result<usize, Error> {
    check(params)?;
    let table = tied_table(config, params).expect("a model whose output is a table");
    let source = |entry: &ParamEntry| match params.entry(&entry.name) {
        Some(own) if own.weight == table.weight => (own, End::Lookups),
        Some(own) => (own, End::Both),
        None if entry.name.strip_suffix(".weight").is_some_and(is_output) => (table, End::Products),
        None => (table, End::Lookups),
    };
    let is_changed = |from: &ParamEntry| is_adapted(params, from) || factors_of_bias(params, from).is_some();
    let is_exact = |from: &ParamEntry| is_changed(from) || matches!(params.view(from.weight), View::Exact(_));
    to.freeze_without_values(|entry| source(entry).0.is_frozen());
    for entry in to.entries().to_vec() {
        let (from, end) = source(&entry);
        let held = match params.frozen(from.weight) {
            Some(frozen) if !is_exact(from) => frozen.clone(),
            _ => Frozen::F32(merged(params, from, end)?.into()),
        };
        match held {
            Frozen::F32(values) if !entry.is_frozen() => to.get_mut(entry.weight).copy_from_slice(&values),
            held => to.set_frozen(entry.weight, held),
        }
    }
    Ok(params.entries().iter().map(|entry| adapted_ends(params, entry)).sum())
}

/// Refuses adapters that stand beside the weights.
fn check(params: &Params) -> Result<(), Error> {
    if params.virtual_count() > 0 {
        return Err(Error::Beside { what: "it is tokens before every text" });
    }
    if params.entries().iter().any(|entry| params.has_bottleneck(entry.weight)) {
        return Err(Error::Beside { what: "it is layers of its own, which are not linear" });
    }
    Ok(())
}

/// The table that is the output onto the vocabulary too.
pub(super) fn tied_table<'p>(config: &dyn Config, params: &'p Params) -> Option<&'p ParamEntry> {
    let tied = modules(config, params).into_iter().find(|module| module.is_output && module.tied_to.is_some())?;
    params.entries().iter().find(|entry| entry.weight == tied.weight)
}

/// The values of a parameter with what is added to it and multiplied into it, for some of its uses.
pub(super) fn merged(params: &Params, entry: &ParamEntry, end: End) -> Result<Vec<f32>, Error> {
    if let View::Compact(Compact::Int8 { .. } | Compact::Four(_) | Compact::Blocks(_)) = params.view(entry.weight) {
        return Err(Error::Int8 { name: entry.name.clone() });
    }
    let mut values = params.to_f32(entry.weight).into_owned();
    if let Some(factors) = factors_of_bias(params, entry) {
        let factors = params.get(factors);
        values.iter_mut().zip(factors).for_each(|(x, l)| *x = (f64::from(*x) * f64::from(*l)) as f32);
    }
    let width = entry.weight.cols;
    if let Some(replaced) = params.replaced_rows(entry.weight) {
        let rows = params.to_f32(replaced.rows);
        for (id, row) in replaced.ids.iter().zip(rows.chunks_exact(width)) {
            values[*id as usize * width..][..width].copy_from_slice(row);
        }
    }
    if let Some(pair) = params.lookup_pair(entry.weight).filter(|_| end != End::Products) {
        add_to_rows(params, pair, &mut values);
    }
    if end != End::Lookups {
        for pair in params.low_ranks(entry.weight) {
            add(params, entry, pair, &mut values);
        }
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

/// Whether products with a matrix, or its lookups, are changed beside it.
fn is_adapted(params: &Params, entry: &ParamEntry) -> bool {
    adapted_ends(params, entry) > 0
}

/// How many modules a matrix is that something is added to.
fn adapted_ends(params: &Params, entry: &ParamEntry) -> usize {
    let weight = entry.weight;
    let is_product =
        params.has_low_rank(weight) || params.has_scaling(weight) || params.replaced_rows(weight).is_some();
    usize::from(is_product) + usize::from(params.lookup_pair(weight).is_some())
}

/// Adds a pair to the rows of a table; sums are in f64.
fn add_to_rows(params: &Params, pair: LookupPair, values: &mut [f32]) {
    let (rank, width) = (pair.rows.cols, pair.up.rows);
    let (rows, up) = (params.to_f32(pair.rows), params.to_f32(pair.up));
    values.par_chunks_mut(width).zip(rows.par_chunks(rank)).for_each(|(values, row)| {
        for (value, up) in values.iter_mut().zip(up.chunks_exact(rank)) {
            let sum: f64 = row.iter().zip(up).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            *value = (f64::from(*value) + f64::from(pair.scale) * sum) as f32;
        }
    });
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
    let lengths = pair.inverse_lengths(params, &Cpu::default()).zip(magnitude.as_ref());
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
